// SPDX-License-Identifier: GPL-2.0-or-later
//! Fences of a buffer object.  Linux: drivers/dma-buf/dma-resv.c, drivers/dma-buf/dma-fence.c.
//!
//! Simplified: an object has one exclusive fence for all its jobs, a count and a word to wait for.

use super::ttm_bo_api::resv;
use super::ttm_device::TtmDevice;
use crate::kernel::*;
use crate::mm::Kernel;
use crate::trace::obj;
use std::future::Future;

/// The word that is set while a buffer object has no unsignaled fence.
pub(super) fn fence(bo: u8) -> u8 {
    WORD_FENCE + bo
}

/// Adds the fence of a job; in a step that announces the word.
pub(super) fn dma_resv_add_fence(k: &Kernel, bdev: &TtmDevice, bo: u8) {
    k.assert_held(resv(bo));
    let jobs = bdev.bo(bo).jobs(k);
    jobs.set(jobs.get() + 1);
}

/// A job is done.
pub(super) async fn dma_fence_signal(k: &Kernel, bdev: &TtmDevice, bo: u8, retire: impl FnOnce() + Unpin) {
    enter!(k);
    let touch = [Touch::write(obj::word(fence(bo))), Touch::write(obj::word(WORD_GPU)), Touch::default()];
    k.step_on(touch, Wait::Ready, || {
        retire();
        let jobs = bdev.bo(bo).jobs(k);
        jobs.set(jobs.get() - 1);
        if jobs.get() == 0 {
            wake_up(k, fence(bo));
        }
    })
    .await;
    queue_work(k, WorkFunc::TtmDelayedDelete, bo).await;
}

/// Whether a buffer object has no unsignaled fence.
#[track_caller]
pub(super) fn dma_resv_test_signaled(k: &Kernel, bo: u8) -> impl Future<Output = bool> {
    word_is_set(k, fence(bo))
}
