// SPDX-License-Identifier: GPL-2.0-or-later
//! Pages to the swap device and back.  Linux: mm/page_io.c.
//!
//! The disk does it, later; a page stays in the swap cache meanwhile, under writeback or locked.

use super::highmem::use_page;
use super::mm_types::*;
use super::page_alloc::fill;
use super::swapfile::try_to_free_swap;
use crate::kernel::{
    Touch, WORD_SWAP, Wait, WorkFunc, clear_word, enter, local_irq_restore, local_irq_save, mutex_unlock,
};
use crate::kernel::{submit_request, wait_event, wake_up};
use crate::trace::{Access, UseKind, obj};

/// Writes a locked page, and unlocks it.
pub(super) async fn swap_writepage(k: &Kernel, page: PageRef) {
    enter!(k);
    if !try_to_free_swap(k, page).await {
        let slot = k.folio_swap(page.pfn);
        let set_page_writeback = || {
            k.folio_assign(page.pfn, PageFlags::WRITEBACK, true);
            clear_word(k, WORD_SWAP + slot);
        };
        k.step_on(page_and_word(page, slot), Wait::Ready, set_page_writeback).await;
        submit_request(k, WorkFunc::SwapWrite, slot).await;
    }
    mutex_unlock(k, folio_lock(page.pfn));
}

/// Reads a locked page, and waits for it.
pub(super) async fn swap_readpage(k: &Kernel, slot: u8) {
    enter!(k);
    k.step(obj::word(WORD_SWAP + slot), Access::Write, || clear_word(k, WORD_SWAP + slot)).await;
    submit_request(k, WorkFunc::SwapRead, slot).await;
    wait_event(k, WORD_SWAP + slot).await;
}

/// What the disk does with either.
pub(crate) async fn swap_rq(k: &Kernel, write: bool, slot: u8) {
    enter!(k);
    let page = k.swap.cache[slot as usize].get().expect("the page stays in the swap cache");
    let media = &k.swap.media[slot as usize];
    if write {
        k.step(obj::data(page.pfn), Access::Read, || media.set(use_page(k, page, UseKind::Copy, None))).await;
    } else {
        k.step(obj::data(page.pfn), Access::Write, || fill(k, page, media.get())).await;
    }
    local_irq_save(k).await;
    let end = || {
        k.folio_assign(page.pfn, PageFlags::WRITEBACK, false);
        wake_up(k, WORD_SWAP + slot);
    };
    k.step_on(page_and_word(page, slot), Wait::Ready, end).await;
    local_irq_restore(k);
}

fn page_and_word(page: PageRef, slot: u8) -> [Touch; 3] {
    [Touch::write(obj::page(page.pfn, 1)), Touch::write(obj::word(WORD_SWAP + slot)), Touch::default()]
}
