// SPDX-License-Identifier: GPL-2.0-or-later
//! The device: its buffer objects, its pools, its memory, its GPU.
//! Linux: drivers/gpu/drm/ttm/ttm_device.c.

use super::dma_resv::dma_resv_test_signaled;
use super::sched_main::GpuScheduler;
use super::ttm_bo::{ttm_bo_cleanup_refs, ttm_bo_get_unless_zero, ttm_bo_put};
use super::ttm_bo_api::{TtmBo, resv};
use super::ttm_bo_util::ttm_bo_release_ghost;
use super::ttm_pool::Pools;
use super::ttm_range_manager::RangeManager;
use crate::kernel::*;
use crate::limits::*;
use crate::mm::Kernel;

/// struct ttm_device.
pub(crate) struct TtmDevice {
    bos: [TtmBo; NR_HANDLES],
    pub(super) pools: Pools,
    pub(super) vram: RangeManager,
    pub(super) sched: GpuScheduler,
}

impl TtmDevice {
    pub(crate) fn new() -> TtmDevice {
        TtmDevice {
            bos: std::array::from_fn(|slot| TtmBo::new(slot as u8)),
            pools: Pools::default(),
            vram: RangeManager::default(),
            sched: GpuScheduler::default(),
        }
    }

    pub(crate) fn reset(&self) {
        self.bos.iter().for_each(TtmBo::reset);
        self.pools.reset();
        self.vram.reset();
        self.sched.reset();
    }

    pub(crate) fn bo(&self, bo: u8) -> &TtmBo {
        &self.bos[bo as usize]
    }
}

/// The LRU of the device.
pub(super) fn lru_lock() -> Lock {
    Lock::new(LockClass::Lru, 0)
}

/// The kworker's part: frees what a signaled fence held.  Linux: ttm_device_delayed_workqueue(); v6.3
/// and later ttm_bo_delayed_delete().
///
/// An object whose last reference is just going frees all this itself.
pub(crate) async fn ttm_device_delayed_work(k: &Kernel, bdev: &TtmDevice, bo: u8) {
    enter!(k);
    if !ttm_bo_get_unless_zero(k, bdev, bo).await {
        return;
    }
    mutex_lock(k, resv(bo)).await;
    if dma_resv_test_signaled(k, bo).await {
        ttm_bo_release_ghost(k, bdev, bo).await;
        ttm_bo_cleanup_refs(k, bdev, bo).await;
    }
    mutex_unlock(k, resv(bo));
    ttm_bo_put(k, bdev, bo).await;
}
