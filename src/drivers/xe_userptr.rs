// SPDX-License-Identifier: GPL-2.0-or-later
//! User memory that nobody holds for the device.  Linux: drivers/gpu/drm/xe/xe_userptr.c, xe_exec.c.
//!
//! The sequence is all there is: a page that was looked up before a range may be free after it.
//!
//! Simplified: jobs end by themselves, so that the callback waits; no preemption, no GPU faults.

use super::drm_gpuvm::*;
use crate::fixes::Fix;
use crate::kernel::*;
use crate::mm::hmm::hmm_range_fault;
use crate::mm::mmu_notifier::*;
use crate::mm::*;
use crate::ttm::TtmDevice;

/// ->invalidate: the device lets go of the pages before it returns.
pub(super) async fn vma_userptr_invalidate(k: &Kernel, u: &Userptr, cur_seq: u32) {
    enter!(k);
    mutex_lock(k, notifier_lock(u.driver)).await;
    mmu_interval_set_seq(k, &u.notifier, cur_seq).await;
    wait_event(k, u.fence()).await;
    unbind(k, u).await;
    mutex_unlock(k, notifier_lock(u.driver));
}

/// Looks the pages up, and gives the GPU its job unless they have changed since.
pub(super) async fn xe_exec_ioctl(k: &Kernel, bdev: &TtmDevice, u: &Userptr, value: Option<u8>) -> Result<(), Errno> {
    enter!(k);
    let n = &u.notifier;
    let seq = mmu_interval_read_begin(k, n).await;
    down_read(k, mmap_lock(n.mm)).await;
    let pfns = hmm_range_fault(k, n, seq, value.is_some()).await;
    up_read(k, mmap_lock(n.mm));
    let pfns = pfns?;
    if k.fixed(Fix::UserptrRetryUnlocked) && mmu_interval_read_retry(k, n, seq).await {
        return Err(Errno::EAGAIN);
    }
    mutex_lock(k, notifier_lock(u.driver)).await;
    let unchecked = k.fixed(Fix::UserptrNoRetry) || k.fixed(Fix::UserptrRetryUnlocked);
    let ret = if !unchecked && mmu_interval_read_retry(k, n, seq).await {
        Err(Errno::EAGAIN)
    } else if !word_is_set(k, u.fence()).await {
        Err(Errno::EBUSY)
    } else {
        bind_and_submit(k, bdev, u, pfns, value).await;
        Ok(())
    };
    mutex_unlock(k, notifier_lock(u.driver));
    ret
}
