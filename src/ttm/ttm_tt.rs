// SPDX-License-Identifier: GPL-2.0-or-later
//! Backing store in system memory.  Linux: drivers/gpu/drm/ttm/ttm_tt.c.
//!
//! Simplified: the shmem file that swapout copies to is an array in the object.

use super::ttm_bo_api::TtmBo;
use super::ttm_device::TtmDevice;
use super::ttm_pool::{ttm_pool_alloc, ttm_pool_free};
use crate::fixes::Fix;
use crate::kernel::{Errno, enter};
use crate::limits::*;
use crate::mm::highmem::{kernel_read, use_page};
use crate::mm::{Kernel, PageRef};
use crate::trace::{Access, Event, UseKind, obj};
use std::cell::Cell;

/// Pages of the largest object.
pub(crate) const TT_PAGES: usize = 1 << MAX_ORDER;

/// struct ttm_tt.
#[derive(Debug, Default)]
pub(crate) struct Tt {
    /// The structure is allocated.
    pub(crate) exists: Cell<bool>,
    pub(crate) pages: [Cell<Option<PageRef>>; TT_PAGES],
    /// Order of the block that begins at a page, plus one; 0: none does.
    pub(crate) blocks: [Cell<u8>; TT_PAGES],
    /// TTM_PAGE_FLAG_SWAPPED, and what was copied out.
    pub(crate) swapped: Cell<bool>,
    pub(crate) swap_storage: [Cell<u8>; TT_PAGES],
    /// The device can reach the pages.
    pub(crate) dma_mapped: Cell<bool>,
}

impl Tt {
    pub(crate) fn reset(&self) {
        self.exists.set(false);
        self.forget();
        self.swapped.set(false);
    }

    /// Forgets the pages.
    pub(crate) fn forget(&self) {
        self.pages.iter().for_each(|p| p.set(None));
        self.blocks.iter().for_each(|b| b.set(0));
        self.dma_mapped.set(false);
    }

    pub(crate) fn is_populated(&self) -> bool {
        self.pages[0].get().is_some()
    }

    /// Moves the pages over to another structure.
    pub(crate) fn hand_over(&self, to: &Tt) {
        for i in 0..TT_PAGES {
            to.pages[i].set(self.pages[i].take());
            to.blocks[i].set(self.blocks[i].take());
        }
        to.dma_mapped.set(self.dma_mapped.take());
    }
}

/// Makes the structure.
///
/// # Errors
/// -ENOMEM.
pub(crate) fn ttm_tt_create(k: &Kernel, bo: &TtmBo) -> Result<(), Errno> {
    enter!(k);
    if bo.reserved(k).tt.exists.get() {
        return Ok(());
    }
    if k.should_fail() {
        return Err(Errno::ENOMEM);
    }
    bo.reserved(k).tt.reset();
    bo.reserved(k).tt.exists.set(true);
    let ret = ttm_tt_init(k, &bo.reserved(k).tt);
    if ret.is_err() {
        // Who made it frees it.
        tt_kfree(k, &bo.reserved(k).tt);
    }
    ret
}

/// Allocates the page directory.
fn ttm_tt_init(k: &Kernel, tt: &Tt) -> Result<(), Errno> {
    enter!(k);
    if !k.should_fail() {
        return Ok(());
    }
    if !k.fixed(Fix::TtDestroyOnce) {
        // ttm_tt_destroy(): the driver's callback frees the structure.
        tt_kfree(k, tt);
    }
    Err(Errno::ENOMEM)
}

/// kfree() of the structure.
fn tt_kfree(k: &Kernel, tt: &Tt) {
    enter!(k);
    if !tt.exists.replace(false) {
        k.emit(Event::Bug { what: "double-free", pfn: None });
    }
}

/// Gives an object its pages, swapped in if they were out.
///
/// # Errors
/// -ENOMEM.
pub(crate) async fn ttm_tt_populate(k: &Kernel, bdev: &TtmDevice, bo: u8) -> Result<(), Errno> {
    enter!(k);
    let b = bdev.bo(bo);
    ttm_tt_create(k, b)?;
    if b.reserved(k).tt.is_populated() {
        return Ok(());
    }
    ttm_pool_alloc(k, bdev, bo).await?;
    if b.reserved(k).tt.swapped.replace(false) {
        ttm_tt_swapin(k, b).await;
    }
    Ok(())
}

async fn ttm_tt_swapin(k: &Kernel, bo: &TtmBo) {
    enter!(k);
    for i in 0..bo.num_pages() {
        let page = bo.reserved(k).tt.pages[i].get().expect("populated");
        let value = bo.reserved(k).tt.swap_storage[i].get();
        let write = || use_page(k, page, UseKind::KernelWrite, Some(value));
        k.step(obj::data(page.pfn), Access::Write, write).await;
    }
}

/// Copies all pages out, then frees them: what is written to them in between, or later, is lost.
pub(crate) async fn ttm_tt_swapout(k: &Kernel, bdev: &TtmDevice, bo: &TtmBo) {
    enter!(k);
    for i in 0..bo.num_pages() {
        let page = bo.reserved(k).tt.pages[i].get().expect("populated");
        bo.reserved(k).tt.swap_storage[i].set(kernel_read(k, page).await);
    }
    bo.reserved(k).tt.swapped.set(true);
    ttm_tt_unpopulate(k, bdev, bo).await;
}

/// Frees the pages.
pub(crate) async fn ttm_tt_unpopulate(k: &Kernel, bdev: &TtmDevice, bo: &TtmBo) {
    enter!(k, for_caller);
    if bo.reserved(k).tt.is_populated() {
        ttm_pool_free(k, bdev, bo, &bo.reserved(k).tt).await;
    }
}

/// Frees the pages and the structure.
pub(crate) async fn ttm_tt_destroy(k: &Kernel, bdev: &TtmDevice, bo: &TtmBo) {
    enter!(k);
    if bo.reserved(k).tt.exists.get() {
        ttm_tt_unpopulate(k, bdev, bo).await;
        bo.reserved(k).tt.swapped.set(false);
        tt_kfree(k, &bo.reserved(k).tt);
    }
}
