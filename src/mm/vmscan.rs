// SPDX-License-Identifier: GPL-2.0-or-later
//! Reclaim.  Linux: mm/vmscan.c.
//!
//! Kept:       the order of shrink_folio_list(), every step of which another CPU can see; where pins are
//!             looked at; a page that cannot go stays where the steps before have brought it.
//! Simplified: one list, in order of page frames; no young bits: every page is cold unless it is active.
//! Simplified: a huge page is split first, as if there were no room for it in swap (no THP_SWAP), and its tails are
//!             for the next call.
//! Left out:   huge pages that nobody needs (MADV_FREE), until somebody else splits them; memory cgroups, lru_gen, demotion, kswapd: reclaim is a call of the program.

use super::gup::page_maybe_dma_pinned;
use super::huge_memory::{can_split_folio, split_huge_page};
use super::mm_types::*;
use super::page_alloc::free_the_page;
use super::page_io::swap_writepage;
use super::page_ref::add;
use super::rmap::try_to_unmap;
use super::swap::put_page;
use super::swap_state::*;
use super::swapfile::put_swap_page;
use crate::fixes::Fix;
use crate::kernel::{enter, mutex_unlock, spin_lock, spin_unlock, trylock};
use crate::limits::*;
use crate::trace::{Access, Event, Pfn, obj};

/// Pages off the list, at most [`BIO_MAX_VECS`], each with a reference.
#[derive(Default)]
pub(crate) struct Isolated {
    pages: [PageRef; BIO_MAX_VECS],
    nr: u8,
}

impl Isolated {
    pub(crate) fn is_full(&self) -> bool {
        self.nr as usize == BIO_MAX_VECS
    }
    pub(crate) fn push(&mut self, page: PageRef) {
        self.pages[self.nr as usize] = page;
        self.nr += 1;
    }
    pub(crate) fn as_slice(&self) -> &[PageRef] {
        &self.pages[..self.nr as usize]
    }
}

/// Takes a page off the list, and references it; false: somebody else did, or it is on its way out.
///
/// `active`: an active page too; else it is made inactive and stays.
pub(crate) async fn folio_isolate_lru(k: &Kernel, pfn: Pfn, active: bool) -> bool {
    enter!(k);
    k.step(obj::page(pfn, 1), Access::Write, || {
        if k.page_count(pfn) <= 0 || !k.folio_test(pfn, PageFlags::LRU) {
            return false;
        }
        let was_active = k.folio_test(pfn, PageFlags::ACTIVE);
        k.folio_assign(pfn, PageFlags::ACTIVE, false);
        if was_active && !active {
            return false;
        }
        add(k, pfn, 1);
        k.folio_assign(pfn, PageFlags::LRU, false);
        true
    })
    .await
}

/// Puts a page back on the list.
pub(crate) async fn folio_putback_lru(k: &Kernel, page: PageRef) {
    enter!(k);
    k.step(obj::page(page.pfn, 1), Access::Write, || k.folio_assign(page.pfn, PageFlags::LRU, true)).await;
    put_page(k, page).await;
}

/// Reclaims up to `nr` pages; returns how many.  Linux: memory.reclaim, shrink_inactive_list().
pub(crate) async fn shrink_inactive_list(k: &Kernel, nr: u8) -> u32 {
    enter!(k);
    let mut list = Isolated::default();
    for pfn in (0..NR_FRAMES as u8).map(Pfn) {
        if list.nr < nr && k.peek_page(pfn).flags.contains(PageFlags::LRU) && folio_isolate_lru(k, pfn, false).await {
            list.push(PageRef { pfn, gen_: k.page_gen(pfn) });
        }
    }
    shrink_folio_list(k, list.as_slice()).await
}

/// Reclaims isolated pages; what cannot go is put back.  Returns how many went.
pub(crate) async fn shrink_folio_list(k: &Kernel, list: &[PageRef]) -> u32 {
    enter!(k);
    let mut reclaimed = 0;
    for &page in list {
        if trylock(k, folio_lock(page.pfn)).await {
            match shrink_folio(k, page).await {
                Shrunk::Freed => {
                    reclaimed += 1;
                    continue;
                }
                Shrunk::Activate => {
                    k.step(obj::page(page.pfn, 1), Access::Write, || k.folio_assign(page.pfn, PageFlags::ACTIVE, true))
                        .await;
                    mutex_unlock(k, folio_lock(page.pfn));
                }
                Shrunk::Keep => mutex_unlock(k, folio_lock(page.pfn)),
                Shrunk::Unlocked => {}
            }
        }
        folio_putback_lru(k, page).await;
    }
    reclaimed
}

/// What became of a page.
enum Shrunk {
    Freed,
    /// activate_locked, keep_locked, keep.
    Activate,
    Keep,
    Unlocked,
}

/// One locked page.
///
/// ```text
///   reclaim                                   whoever holds a reference
///   1. unmap it, everywhere
///                                             reads and writes the page
///   2. more references than ours? keep it:
///      it stays unmapped
/// ```
async fn shrink_folio(k: &Kernel, page: PageRef) -> Shrunk {
    let pfn = page.pfn;
    if test(k, pfn, PageFlags::WRITEBACK).await {
        return Shrunk::Keep;
    }
    if k.fixed(Fix::ShrinkSkipPinned) && folio_maybe_dma_pinned(k, pfn).await {
        return Shrunk::Keep;
    }
    if test(k, pfn, PageFlags::SWAPBACKED).await && !test(k, pfn, PageFlags::SWAPCACHE).await {
        if k.fixed(Fix::SwapNoPinned) && folio_maybe_dma_pinned(k, pfn).await {
            return Shrunk::Keep;
        }
        // A huge page stays one if somebody holds it otherwise than by an entry.
        if k.page_head(pfn) && !(can_split_folio(k, pfn).await && split_huge_page(k, page, pfn).await.is_ok()) {
            return Shrunk::Activate;
        }
        if !add_to_swap(k, page).await {
            return Shrunk::Activate;
        }
    }
    if k.page_head(pfn) {
        return Shrunk::Keep;
    }
    if folio_mapped(k, pfn).await {
        try_to_unmap(k, page).await;
        if folio_mapped(k, pfn).await {
            return Shrunk::Activate;
        }
    }
    // Nobody can pin it any more; since v6.4.
    if k.fixed(Fix::ReclaimPinAfterUnmap) && folio_maybe_dma_pinned(k, pfn).await {
        return Shrunk::Activate;
    }
    if test(k, pfn, PageFlags::DIRTY).await {
        return match k.folio_test_anon(pfn) {
            true => pageout(k, page).await,
            false => Shrunk::Activate, // the flusher writes files
        };
    }
    if test(k, pfn, PageFlags::PRIVATE).await && !filemap_release_folio(k, page).await {
        return Shrunk::Activate;
    }
    match remove_mapping(k, page).await {
        true => {
            mutex_unlock(k, folio_lock(pfn));
            free_the_page(k, pfn, 0).await;
            Shrunk::Freed
        }
        false => Shrunk::Keep,
    }
}

async fn test(k: &Kernel, pfn: Pfn, flag: PageFlags) -> bool {
    k.step(obj::page(pfn, 1), Access::Read, || k.folio_test(pfn, flag)).await
}

async fn folio_mapped(k: &Kernel, pfn: Pfn) -> bool {
    k.step(obj::mapcount(pfn), Access::Read, || k.page_mapcount(pfn) > 0).await
}

async fn folio_maybe_dma_pinned(k: &Kernel, pfn: Pfn) -> bool {
    k.step(obj::page(pfn, 1), Access::Read, || page_maybe_dma_pinned(k, pfn)).await
}

/// Begins to write a page to the device, if nobody but the swap cache and us references it.
async fn pageout(k: &Kernel, page: PageRef) -> Shrunk {
    enter!(k);
    let pfn = page.pfn;
    // is_page_cache_freeable(); and what has no mapping, nor a slot, stays.
    let freeable = || k.page_count(pfn) == 2 && k.folio_test(pfn, PageFlags::SWAPCACHE);
    if !k.step(obj::page(pfn, 1), Access::Read, freeable).await {
        return Shrunk::Keep;
    }
    // clear_page_dirty_for_io()
    k.step(obj::page(pfn, 1), Access::Write, || k.folio_assign_dirty(pfn, false)).await;
    swap_writepage(k, page).await;
    Shrunk::Unlocked // under writeback: another time
}

/// Asks the file system for a page's buffers.
async fn filemap_release_folio(k: &Kernel, page: PageRef) -> bool {
    enter!(k);
    match k.a_ops(k.folio_mapping(page.pfn)) {
        Some(ops) => ops.release_folio(k, page).await,
        None => false,
    }
}

/// Takes a clean page from whoever finds it, if nobody references it.  Linux: __remove_mapping().
async fn remove_mapping(k: &Kernel, page: PageRef) -> bool {
    enter!(k);
    let pfn = page.pfn;
    if !k.folio_test_anon(pfn) {
        return remove_file_mapping(k, page).await;
    }
    if !test(k, pfn, PageFlags::SWAPCACHE).await {
        // Lazily freed: ours is the last reference, or somebody has one.
        let freeze = || !k.folio_test(pfn, PageFlags::SWAPBACKED) && freeze_clean(k, pfn, 1);
        return k.step(obj::page(pfn, 1), Access::Write, freeze).await;
    }
    spin_lock(k, swapper_pages()).await;
    let removed =
        k.step(obj::page(pfn, 1), Access::Write, || freeze_clean(k, pfn, 2).then(|| __delete_from_swap_cache(k, page)));
    let removed = removed.await;
    spin_unlock(k, swapper_pages());
    if let Some(slot) = removed {
        put_swap_page(k, slot).await;
    }
    removed.is_some()
}

/// As [`remove_mapping`], of a page of a file.
async fn remove_file_mapping(k: &Kernel, page: PageRef) -> bool {
    let (pfn, mapping) = (page.pfn, k.folio_mapping(page.pfn));
    if mapping == NO_MAPPING {
        return false; // truncated: whoever still holds it frees it
    }
    spin_lock(k, i_pages(mapping)).await;
    let removed = k.step(obj::page(pfn, 1), Access::Write, || freeze_clean(k, pfn, 2)).await;
    if removed {
        k.xa_store(mapping, k.folio_index(pfn), None);
        k.set_folio_mapping(pfn, mapping, None);
    }
    spin_unlock(k, i_pages(mapping));
    removed
}

/// Takes the reference count from `refs` to 0, unless there are more, or the page is dirty.
fn freeze_clean(k: &Kernel, pfn: Pfn, refs: i32) -> bool {
    let frozen = k.page_ref_freeze(pfn, refs);
    if frozen && k.folio_test_dirty(pfn) {
        k.page_ref_unfreeze(pfn, refs);
        return false;
    }
    if frozen {
        k.emit(Event::Put { pfn, refs, refcount: 0 });
    }
    frozen
}
