// SPDX-License-Identifier: GPL-2.0-or-later
//! Device memory, in blocks.  Linux: drivers/gpu/drm/ttm/ttm_range_manager.c.

use super::ttm_device::TtmDevice;
use crate::kernel::*;
use crate::limits::*;
use crate::mm::Kernel;
use std::cell::Cell;

/// What of VRAM is in use.
#[derive(Debug, Default)]
pub(crate) struct RangeManager {
    /// One bit a page.  Guarded by the lock.
    used: Cell<u32>,
}

impl RangeManager {
    pub(super) fn reset(&self) {
        self.used.set(0);
    }

    fn used(&self, k: &Kernel) -> &Cell<u32> {
        k.assert_held(rman_lock());
        &self.used
    }
}

fn rman_lock() -> Lock {
    Lock::new(LockClass::Rman, 0)
}

/// The bits of a block.
fn block(start: u8, order: u8) -> u32 {
    ((1 << (1 << order)) - 1) << start
}

/// Takes a block of VRAM; returns its first page.
pub(super) async fn ttm_range_man_alloc(k: &Kernel, bdev: &TtmDevice, order: u8) -> Option<u8> {
    enter!(k);
    spin_lock(k, rman_lock()).await;
    let used = bdev.vram.used(k);
    let start = (0..NR_IOMEM as u8).step_by(1 << order).find(|&start| used.get() & block(start, order) == 0);
    if let Some(start) = start {
        used.set(used.get() | block(start, order));
    }
    spin_unlock(k, rman_lock());
    start
}

/// Gives a block of VRAM back.
pub(super) async fn ttm_range_man_free(k: &Kernel, bdev: &TtmDevice, start: u8, order: u8) {
    enter!(k);
    spin_lock(k, rman_lock()).await;
    let used = bdev.vram.used(k);
    assert_eq!(used.get() & block(start, order), block(start, order), "the block is in use");
    used.set(used.get() & !block(start, order));
    spin_unlock(k, rman_lock());
}
