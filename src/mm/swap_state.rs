// SPDX-License-Identifier: GPL-2.0-or-later
//! Pages that have a slot of the swap device.  Linux: mm/swap_state.c.
//!
//! ```text
//!   reclaim                                  fault
//!   1. put the page into the swap cache
//!   2. swap entries for its ptes
//!                                            a. find the page in the swap cache: map it again
//!   3. nobody but us references it?
//!      take it out, free it
//! ```
//!
//! Left out: read-ahead, shadow entries.

use super::mm_types::*;
use super::page_alloc::alloc_pages;
use super::page_io::swap_readpage;
use super::page_ref::{add, get_page};
use super::page_writeback::set_page_dirty;
use super::swap::put_page;
use super::swapfile::*;
use crate::kernel::{Lock, LockClass, NR_MAPPINGS, enter, mutex_lock, mutex_unlock, spin_lock, spin_unlock};
use crate::trace::{Access, Owner, obj};

/// i_pages of swapper_spaces.
pub(super) fn swapper_pages() -> Lock {
    Lock::new(LockClass::IPages, NR_MAPPINGS)
}

/// Gives a locked anonymous page a slot; false: there is none.
pub(super) async fn add_to_swap(k: &Kernel, page: PageRef) -> bool {
    enter!(k);
    let Some(slot) = get_swap_page(k).await else {
        return false;
    };
    add_to_swap_cache(k, page, slot).await;
    set_page_dirty(k, page.pfn).await;
    true
}

async fn add_to_swap_cache(k: &Kernel, page: PageRef, slot: u8) {
    enter!(k);
    spin_lock(k, swapper_pages()).await;
    k.step(obj::page(page.pfn, 1), Access::Write, || __add_to_swap_cache(k, page, slot)).await;
    spin_unlock(k, swapper_pages());
}

/// Puts a locked page in, with a reference; i_pages is held.
pub(super) fn __add_to_swap_cache(k: &Kernel, page: PageRef, slot: u8) {
    k.assert_held(swapper_pages());
    add(k, page.pfn, 1);
    k.set_folio_swap(page.pfn, slot);
    k.folio_assign(page.pfn, PageFlags::SWAPCACHE, true);
    k.swap.cache[slot as usize].set(Some(page));
}

/// Takes a locked page out; i_pages is held.
pub(super) fn __delete_from_swap_cache(k: &Kernel, page: PageRef) -> u8 {
    k.assert_held(swapper_pages());
    let slot = k.folio_swap(page.pfn);
    k.folio_assign(page.pfn, PageFlags::SWAPCACHE, false);
    k.swap.cache[slot as usize].set(None);
    slot
}

/// Takes a locked page out, and drops the swap cache's reference.
pub(super) async fn delete_from_swap_cache(k: &Kernel, page: PageRef) {
    enter!(k);
    spin_lock(k, swapper_pages()).await;
    let slot = k.step(obj::page(page.pfn, 1), Access::Write, || __delete_from_swap_cache(k, page)).await;
    spin_unlock(k, swapper_pages());
    put_swap_page(k, slot).await;
    put_page(k, page).await;
}

/// The page that has a slot, with a reference.
pub(crate) async fn swap_cache_get_folio(k: &Kernel, slot: u8) -> Option<PageRef> {
    enter!(k);
    spin_lock(k, swapper_pages()).await;
    let found = k.swap.cache[slot as usize].get();
    if let Some(page) = found {
        get_page(k, page.pfn).await;
    }
    spin_unlock(k, swapper_pages());
    found
}

/// Reads a slot into a page of the swap cache, which is returned with a reference.
///
/// # Errors
/// VM_FAULT_OOM; VM_FAULT_NOPAGE: somebody else reads it, or nobody needs it any more.
pub(crate) async fn read_swap_cache_async(k: &Kernel, slot: u8, mm: u8) -> Result<PageRef, VmFault> {
    enter!(k);
    let page = alloc_pages(k, 0, false, Owner::Anon(mm)).await.ok_or(VmFault::Oom)?;
    mutex_lock(k, folio_lock(page.pfn)).await;
    let ours = swapcache_prepare(k, slot).await;
    if ours {
        add_to_swap_cache(k, page, slot).await;
        swap_readpage(k, slot).await;
    }
    mutex_unlock(k, folio_lock(page.pfn));
    if !ours {
        put_page(k, page).await;
        return Err(VmFault::NoPage);
    }
    Ok(page)
}
