// SPDX-License-Identifier: GPL-2.0-or-later
//! Memory that breaks.  Linux: mm/memory-failure.c.
//!
//! Promised to nobody who has pinned the page, nor to who maps it: entries say that it is broken, and
//! who goes by them gets SIGBUS; who holds a reference goes on using what is left of it.
//!
//! ```text
//!   page                    entries                          page itself
//!   anonymous               broken, pinned or not            is kept
//!   in the swap cache       of swap; pinned: they stay,      dirty: stays there, faults get SIGBUS
//!                           and so does the page (MF_FAILED) clean: leaves, and is read again
//!   of a file               broken if it was dirty           leaves the page cache, whoever holds it
//!   of shmem                broken                           stays in the page cache, faults get SIGBUS
//!   huge                    is split first; held by others: all stays (MF_FAILED).  Since v5.16 of shmem, too
//!                           (4966455d9100 mm: hwpoison: handle non-anonymous THP correctly), here on every release
//! ```
//!
//! Kept:       the page is poisoned, locked, taken from all who map it, and never used for anything else:
//!             the one reference that is kept sees to that.
//! Simplified: nobody is killed; a load or store fails.  All is mended in the end (unpoison_memory()), a page of a
//!             huge one that cannot be split at once.
//! Left out:   pages of drivers, of devices and of hugetlb; copying from a broken page just works; before v5.16
//!             (a76054266661 mm: shmem: don't truncate page if memory failure happens) shmem lost its page like
//!             other files.

use super::filemap;
use super::gup::*;
use super::huge_memory::split_huge_page;
use super::mm_types::*;
use super::page_writeback::{folio_cancel_dirty, folio_mkclean_dirty};
use super::rmap::{page_mapcount, try_to_unmap, unmap_poisoned_folio};
use super::shmem::shmem_mapping;
use super::swap_state::delete_from_swap_cache;
use super::swapfile;
use super::truncate::truncate_inode_folio;
use crate::fixes::Fix;
use crate::kernel::{Errno, enter, mutex_lock, mutex_unlock};
use crate::limits::NR_FRAMES;
use crate::trace::{Access, Pfn, Pin, obj};

/// MADV_HWPOISON: pages `start..end` of the current address space break.  Linux: mm/madvise.c.
///
/// # Errors
/// Those of GUP, and of [`memory_failure`].
pub(crate) async fn madvise_inject_error(k: &Kernel, start: u8, end: u8) -> Result<(), Errno> {
    enter!(k);
    for va in start..end {
        let mut pages = Pages::default();
        get_user_pages_fast(k, va, 1, Foll::GET, &mut pages).await?;
        memory_failure(k, pages.as_slice()[0]).await?;
    }
    Ok(())
}

/// A page breaks; the caller's reference is ours (MF_COUNT_INCREASED).
///
/// # Errors
/// -EHWPOISON: it is broken already, or of a huge page that cannot be split (to v6.10 -EBUSY); -EBUSY: it is
/// still mapped or referenced (MF_FAILED), or of a kind that is left out (MF_IGNORED).
async fn memory_failure(k: &Kernel, page: PageRef) -> Result<(), Errno> {
    enter!(k);
    let pfn = page.pfn;
    let poison = || {
        let broken = k.folio_test(pfn, PageFlags::HWPOISON);
        k.folio_assign(pfn, PageFlags::HWPOISON, true);
        broken
    };
    if k.step(obj::page(pfn, 1), Access::Write, poison).await {
        unpin_user_page(k, page, Pin::Get).await;
        return Err(Errno::EHWPOISON);
    }
    if !try_to_split_thp_page(k, page).await {
        forget(k, page).await;
        return Err(Errno::EHWPOISON);
    }
    mutex_lock(k, folio_lock(pfn)).await;
    if !test(k, pfn, PageFlags::LRU | PageFlags::WRITEBACK).await && !of_shmem(k, pfn) {
        // Nobody knows what it is: a driver's, or off the list for a moment.
        mutex_unlock(k, folio_lock(pfn));
        forget(k, page).await;
        return Err(Errno::EBUSY);
    }
    folio_wait_writeback(k, pfn).await;
    let ret = match hwpoison_user_mappings(k, page).await {
        true => identify_page_state(k, page).await,
        false => Err(Errno::EBUSY),
    };
    mutex_unlock(k, folio_lock(pfn));
    ret
}

/// It is not broken after all.
async fn forget(k: &Kernel, page: PageRef) {
    k.step(obj::page(page.pfn, 1), Access::Write, || k.folio_assign(page.pfn, PageFlags::HWPOISON, false)).await;
    unpin_user_page(k, page, Pin::Get).await;
}

async fn test(k: &Kernel, pfn: Pfn, flags: PageFlags) -> bool {
    k.step(obj::page(pfn, 1), Access::Read, || k.folio_test(pfn, flags)).await
}

/// Whether a locked page is one of shmem, which is on no list here.
fn of_shmem(k: &Kernel, pfn: Pfn) -> bool {
    !k.folio_test_anon(pfn) && shmem_mapping(k.folio_mapping(pfn))
}

/// The page is a small one; false: somebody else holds the huge page that it is of, or it is a driver's or hugetlb's.
async fn try_to_split_thp_page(k: &Kernel, page: PageRef) -> bool {
    enter!(k);
    let head = k.compound_head(page.pfn);
    if !k.page_head(head) {
        return true;
    }
    mutex_lock(k, folio_lock(head)).await;
    // Ours must be the reference of the page that breaks: else it is free as soon as nobody maps it.
    let keep = if k.fixed(Fix::HwpoisonSplitCount) { page.pfn } else { head };
    let mut split = !k.page_head(head);
    let anon = k.folio_test_anon(head) && !k.folio_test_hugetlb(head);
    if !split && (anon || of_shmem(k, head)) {
        split = split_huge_page(k, PageRef { pfn: head, ..page }, keep).await.is_ok();
    }
    mutex_unlock(k, folio_lock(head));
    split
}

async fn folio_wait_writeback(k: &Kernel, pfn: Pfn) {
    if !k.folio_test_anon(pfn) {
        let (mapping, index) = (k.folio_mapping(pfn), k.folio_index(pfn));
        if k.a_ops(mapping).is_some() {
            filemap::folio_wait_writeback(k, pfn, mapping, index).await;
        }
    } else if test(k, pfn, PageFlags::SWAPCACHE).await {
        swapfile::folio_wait_writeback(k, pfn, k.folio_swap(pfn)).await;
    }
}

/// Takes a locked page from all who map it; false: somebody still does.
async fn hwpoison_user_mappings(k: &Kernel, page: PageRef) -> bool {
    enter!(k);
    let pfn = page.pfn;
    if page_mapcount(k, pfn).await == 0 {
        return true;
    }
    if test(k, pfn, PageFlags::SWAPCACHE).await {
        try_to_unmap(k, page).await; // what is pinned keeps its entries
    } else if k.folio_test_anon(pfn) || of_shmem(k, pfn) || folio_mkclean_dirty(k, page).await {
        unmap_poisoned_folio(k, page).await;
    } else {
        try_to_unmap(k, page).await; // clean: nobody loses anything
    }
    page_mapcount(k, pfn).await == 0
}

/// What becomes of a locked page that nobody maps.
async fn identify_page_state(k: &Kernel, page: PageRef) -> Result<(), Errno> {
    enter!(k);
    let pfn = page.pfn;
    if k.folio_test_anon(pfn) {
        if test(k, pfn, PageFlags::SWAPCACHE).await {
            return me_swapcache(k, page).await;
        }
        delete_from_lru_cache(k, pfn).await;
        return Ok(());
    }
    me_pagecache(k, page).await
}

/// me_swapcache_dirty(), me_swapcache_clean(): what is not in swap stays, so that who asks for it is told.
async fn me_swapcache(k: &Kernel, page: PageRef) -> Result<(), Errno> {
    enter!(k);
    let dirty = test(k, page.pfn, PageFlags::DIRTY).await;
    match dirty {
        true => folio_cancel_dirty(k, page.pfn).await,
        false => delete_from_swap_cache(k, page).await,
    }
    delete_from_lru_cache(k, page.pfn).await;
    has_extra_refcount(k, page.pfn, if dirty { 2 } else { 1 }).await
}

/// me_pagecache_clean(), me_pagecache_dirty(): the file is without it, and reads it again.
async fn me_pagecache(k: &Kernel, page: PageRef) -> Result<(), Errno> {
    enter!(k);
    let (mapping, index) = (k.folio_mapping(page.pfn), k.folio_index(page.pfn));
    if shmem_mapping(mapping) {
        return has_extra_refcount(k, page.pfn, 2).await; // shmem_error_remove_folio()
    }
    if k.a_ops(mapping).is_none() {
        return Err(Errno::EBUSY);
    }
    delete_from_lru_cache(k, page.pfn).await;
    truncate_inode_folio(k, mapping, index, page).await; // truncate_error_folio()
    has_extra_refcount(k, page.pfn, 1).await
}

async fn delete_from_lru_cache(k: &Kernel, pfn: Pfn) {
    k.step(obj::page(pfn, 1), Access::Write, || k.folio_assign(pfn, PageFlags::LRU | PageFlags::ACTIVE, false)).await;
}

/// Whether somebody holds the page besides those whose `refs` references we know.
async fn has_extra_refcount(k: &Kernel, pfn: Pfn, refs: i32) -> Result<(), Errno> {
    let extra = k.step(obj::page(pfn, 1), Access::Read, || k.page_count(pfn) > refs).await;
    if extra { Err(Errno::EBUSY) } else { Ok(()) }
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
