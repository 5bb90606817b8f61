// SPDX-License-Identifier: GPL-2.0-or-later
//! Memory that breaks.  Linux: mm/memory-failure.c.
//!
//! Promised to nobody who has pinned the page, nor to who maps it: entries say that it is broken, and
//! who goes by them gets SIGBUS; who holds a reference goes on using what is left of it.
//!
//! Kept:       the page is poisoned, locked, taken from all who map it without a look at its pins, and
//!             never used for anything else: the one reference that is kept sees to that.
//! Simplified: nobody is killed; a load or store fails.  All is mended in the end (unpoison_memory()).
//! Left out:   pages of files and of the swap cache, huge pages; copying from a broken page just works.

use super::gup::*;
use super::mm_types::*;
use super::rmap::unmap_poisoned_folio;
use crate::kernel::{Errno, enter, mutex_lock, mutex_unlock};
use crate::limits::NR_FRAMES;
use crate::trace::{Access, Pfn, Pin, obj};

/// MADV_HWPOISON: pages `start..end` of the current address space break.  Linux: mm/madvise.c.
///
/// # Errors
/// Those of GUP; -EHWPOISON: a page is broken already; -EBUSY: it is of a kind that is left out.
pub(crate) async fn madvise_inject_error(k: &Kernel, start: u8, end: u8) -> Result<(), Errno> {
    enter!(k);
    for va in start..end {
        let mut pages = Pages::default();
        get_user_pages_fast(k, va, 1, Foll::GET, &mut pages).await?;
        let page = pages.as_slice()[0];
        let ret = memory_failure(k, page).await;
        if ret.is_err() {
            unpin_user_page(k, page, Pin::Get).await;
        }
        ret?;
    }
    Ok(())
}

/// A page breaks; the caller's reference is kept (MF_COUNT_INCREASED).
async fn memory_failure(k: &Kernel, page: PageRef) -> Result<(), Errno> {
    enter!(k);
    let pfn = page.pfn;
    if k.compound_head(pfn) != pfn || k.page_head(pfn) || !k.folio_test_anon(pfn) {
        return Err(Errno::EBUSY);
    }
    let poison = || {
        let broken = k.folio_test(pfn, PageFlags::HWPOISON);
        k.folio_assign(pfn, PageFlags::HWPOISON, true);
        broken
    };
    if k.step(obj::page(pfn, 1), Access::Write, poison).await {
        return Err(Errno::EHWPOISON);
    }
    mutex_lock(k, folio_lock(pfn)).await;
    let swapcache = k.step(obj::page(pfn, 1), Access::Read, || k.folio_test(pfn, PageFlags::SWAPCACHE)).await;
    if !swapcache {
        unmap_poisoned_folio(k, page).await; // hwpoison_user_mappings()
    }
    // delete_from_lru_cache()
    let off = if swapcache { PageFlags::HWPOISON } else { PageFlags::LRU };
    k.step(obj::page(pfn, 1), Access::Write, || k.folio_assign(pfn, off, false)).await;
    mutex_unlock(k, folio_lock(pfn));
    if swapcache { Err(Errno::EBUSY) } else { Ok(()) }
}

/// All is closed: broken pages are good again, and free.
pub(crate) async fn unpoison_memory(k: &Kernel) {
    enter!(k);
    for pfn in (0..NR_FRAMES as u8).map(Pfn) {
        if k.peek_page(pfn).flags.contains(PageFlags::HWPOISON) {
            k.step(obj::page(pfn, 1), Access::Write, || k.folio_assign(pfn, PageFlags::HWPOISON, false)).await;
            unpin_user_page(k, PageRef { pfn, gen_: k.page_gen(pfn) }, Pin::Get).await;
        }
    }
}
