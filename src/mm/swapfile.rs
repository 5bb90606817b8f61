// SPDX-License-Identifier: GPL-2.0-or-later
//! Slots of the swap device: who counts on which.  Linux: mm/swapfile.c.
//!
//! Kept:       a slot is used as long as an entry or the swap cache counts on it, and is used again.
//! Simplified: one device of [`NR_SWAP`] slots, one lock, no clusters and no per-cpu slots.

use super::mm_types::*;
use super::page_writeback::set_page_dirty;
use super::rmap::page_mapcount;
use super::swap::put_page;
use super::swap_state::*;
use crate::kernel::wait_event;
use crate::kernel::{Lock, LockClass, WORD_SWAP, enter, mutex_lock, mutex_unlock, spin_lock, spin_unlock, trylock};
use crate::limits::*;
use crate::trace::{Access, Pfn, obj};
use std::cell::Cell;

/// The swap device, and the swap cache in front of it.  Linux: struct swap_info_struct.
#[derive(Debug, Default)]
pub(crate) struct SwapInfo {
    /// Entries that count on a slot, and [`HAS_CACHE`].
    map: [Cell<u8>; NR_SWAP],
    /// What the device holds; only the disk looks.
    pub(super) media: [Cell<u8>; NR_SWAP],
    /// The swap cache; under i_pages.
    pub(super) cache: [Cell<Option<PageRef>>; NR_SWAP],
}

/// SWAP_HAS_CACHE: the swap cache counts on the slot.
const HAS_CACHE: u8 = 0x80;

/// si->lock.
fn swap_lock() -> Lock {
    Lock::new(LockClass::Swap, 0)
}

impl SwapInfo {
    pub(super) fn init(&self) {
        self.map.iter().for_each(|n| n.set(0));
        self.cache.iter().for_each(|page| page.set(None));
        self.media.iter().for_each(|byte| byte.set(0));
    }

    /// Slots that somebody counts on, for oracles.
    pub(crate) fn peek_used(&self) -> usize {
        self.map.iter().filter(|n| n.get() != 0).count()
    }
}

/// Changes what counts on a slot, and returns what does then.
async fn with_slot(k: &Kernel, slot: u8, change: impl FnOnce(u8) -> u8) -> u8 {
    spin_lock(k, swap_lock()).await;
    let map = &k.swap.map[slot as usize];
    map.set(change(map.get()));
    let count = map.get();
    spin_unlock(k, swap_lock());
    count
}

/// Takes a free slot for the swap cache; `None`: the device is full.
pub(super) async fn get_swap_page(k: &Kernel) -> Option<u8> {
    enter!(k);
    spin_lock(k, swap_lock()).await;
    let free = k.swap.map.iter().position(|n| n.get() == 0);
    if let Some(slot) = free {
        k.swap.map[slot].set(HAS_CACHE);
    }
    spin_unlock(k, swap_lock());
    free.map(|slot| slot as u8)
}

/// One entry more.
pub(crate) async fn swap_duplicate(k: &Kernel, slot: u8) {
    enter!(k);
    with_slot(k, slot, |n| n + 1).await;
}

/// The swap cache counts on a slot too, if somebody does and it does not yet.
pub(super) async fn swapcache_prepare(k: &Kernel, slot: u8) -> bool {
    enter!(k);
    let mut ours = false;
    with_slot(k, slot, |n| {
        ours = n != 0 && n & HAS_CACHE == 0;
        if ours { n | HAS_CACHE } else { n }
    })
    .await;
    ours
}

/// The swap cache counts on a slot no longer.
pub(super) async fn put_swap_page(k: &Kernel, slot: u8) {
    enter!(k);
    with_slot(k, slot, |n| n & !HAS_CACHE).await;
}

/// One entry less.
pub(crate) async fn swap_free(k: &Kernel, slot: u8) -> u8 {
    enter!(k);
    with_slot(k, slot, |n| n - 1).await
}

/// Entries that count on a slot.
async fn page_swapcount(k: &Kernel, slot: u8) -> u8 {
    with_slot(k, slot, |n| n).await & !HAS_CACHE
}

/// One entry less, and nobody comes back for it: nor does the swap cache need the page then.
pub(crate) async fn free_swap_and_cache(k: &Kernel, slot: u8) {
    enter!(k);
    if swap_free(k, slot).await == HAS_CACHE
        && let Some(page) = swap_cache_get_folio(k, slot).await
    {
        free_swap_cache(k, page).await;
        put_page(k, page).await;
    }
}

/// Takes a page that nobody maps out of the swap cache, if that is easy.  Linux: mm/swap_state.c.
pub(crate) async fn free_swap_cache(k: &Kernel, page: PageRef) {
    enter!(k);
    let pfn = page.pfn;
    let cached = k.step(obj::page(pfn, 1), Access::Read, || k.folio_test(pfn, PageFlags::SWAPCACHE));
    if cached.await
        && k.step(obj::mapcount(pfn), Access::Read, || k.page_mapcount(pfn) == 0).await
        && trylock(k, folio_lock(pfn)).await
    {
        try_to_free_swap(k, page).await;
        mutex_unlock(k, folio_lock(pfn));
    }
}

/// Takes a locked page out of the swap cache if no entry counts on its slot; it is dirty again then.
pub(crate) async fn try_to_free_swap(k: &Kernel, page: PageRef) -> bool {
    enter!(k);
    if swapcache_busy(k, page.pfn).await || page_swapcount(k, k.folio_swap(page.pfn)).await > 0 {
        return false;
    }
    delete_from_swap_cache(k, page).await;
    set_page_dirty(k, page.pfn).await;
    true
}

/// Not in the swap cache, or on its way to the device.
async fn swapcache_busy(k: &Kernel, pfn: Pfn) -> bool {
    let busy = || !k.folio_test(pfn, PageFlags::SWAPCACHE) || k.folio_test(pfn, PageFlags::WRITEBACK);
    k.step(obj::page(pfn, 1), Access::Read, busy).await
}

/// Whether a locked page has one user, be it mapped or swapped out; to v5.17.
///
/// It leaves the swap cache then.  References do not count.
///
/// Its entry changes only later: a second fault that has read the entry finds no page, and reads the slot, which perhaps
/// was never written.  It throws away what it got, for the entry is another by then.
pub(crate) async fn reuse_swap_page(k: &Kernel, page: PageRef) -> bool {
    enter!(k);
    let pfn = page.pfn;
    let mapped = page_mapcount(k, pfn).await;
    let cached = k.step(obj::page(pfn, 1), Access::Read, || k.folio_test(pfn, PageFlags::SWAPCACHE)).await;
    let swapped = if cached { page_swapcount(k, k.folio_swap(pfn)).await } else { 0 };
    if mapped + i32::from(swapped) > 1 {
        return false;
    }
    if cached && mapped + i32::from(swapped) == 1 && !swapcache_busy(k, pfn).await {
        delete_from_swap_cache(k, page).await;
        set_page_dirty(k, pfn).await;
    }
    true
}

/// All is closed: what the swap cache still holds goes.  Linux: swapoff(2), try_to_unuse().
pub(crate) async fn try_to_unuse(k: &Kernel) {
    enter!(k);
    for slot in 0..NR_SWAP as u8 {
        if let Some(page) = swap_cache_get_folio(k, slot).await {
            mutex_lock(k, folio_lock(page.pfn)).await;
            folio_wait_writeback(k, page.pfn, slot).await;
            try_to_free_swap(k, page).await;
            mutex_unlock(k, folio_lock(page.pfn));
            put_page(k, page).await;
        }
    }
}

/// Waits until the device has a page of the swap cache; the page is locked.
pub(super) async fn folio_wait_writeback(k: &Kernel, pfn: Pfn, slot: u8) {
    if k.step(obj::page(pfn, 1), Access::Read, || k.folio_test(pfn, PageFlags::WRITEBACK)).await {
        wait_event(k, WORD_SWAP + slot).await;
    }
}
