// SPDX-License-Identifier: GPL-2.0-or-later
//! The GPU: a ring of jobs, carried out one after the other.  Linux: drivers/gpu/drm/scheduler/sched_main.c.

use super::dma_resv::{dma_fence_signal, dma_resv_add_fence, fence};
use super::ttm_bo_api::resv;
use super::ttm_device::TtmDevice;
use super::ttm_tt::TT_PAGES;
use crate::fixes::Fix;
use crate::kernel::*;
use crate::mm::highmem::use_page;
use crate::mm::{Boxed, Kernel, PageRef};
use crate::trace::{Access, UseKind, obj};
use std::cell::Cell;
use std::future::Future;

/// What a job of the GPU does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum JobKind {
    #[default]
    Read,
    Write(u8),
    /// Copies `pages` to `to`.
    Copy,
}

/// A job of the GPU: the pages it was given when it was submitted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Job {
    pub(crate) kind: JobKind,
    pub(crate) bo: u8,
    pub(crate) nr: u8,
    pub(crate) pages: [PageRef; TT_PAGES],
    pub(crate) to: [PageRef; TT_PAGES],
}

/// Jobs under way.
const NR_JOBS: usize = 16;

/// The ring.  Looked at in steps that announce its word.
#[derive(Default)]
pub(crate) struct GpuScheduler {
    jobs: [Cell<Option<Job>>; NR_JOBS],
    ring: WorkQueue,
}

impl GpuScheduler {
    pub(super) fn reset(&self) {
        self.jobs.iter().for_each(|j| j.set(None));
        self.ring.reset();
    }

    #[track_caller]
    fn jobs(&self, k: &Kernel) -> &[Cell<Option<Job>>; NR_JOBS] {
        k.assert_announced(obj::word(WORD_GPU), Access::Write);
        &self.jobs
    }

    /// Puts a job into the ring; `None`: there is no room.
    fn push(&self, k: &Kernel, job: Job) -> Option<()> {
        let slot = self.jobs(k).iter().position(|j| j.get().is_none())?;
        self.jobs[slot].set(Some(job));
        self.ring.push(k.work(WorkFunc::Job, slot as u8));
        Some(())
    }
}

/// Gives a job to the GPU; its fence joins the object's reservation, which is held.
///
/// # Errors
/// -EBUSY: the ring is full.
pub(crate) async fn submit_job(k: &Kernel, bdev: &TtmDevice, job: Job) -> Result<(), Errno> {
    enter!(k);
    k.assert_held(resv(job.bo));
    let late = k.fixed(Fix::FenceInitLate);
    let touch = [Touch::write(obj::word(WORD_GPU)), Touch::write(obj::word(fence(job.bo))), Touch::default()];
    let push = || {
        bdev.sched.push(k, job)?;
        dma_resv_add_fence(k, bdev, job.bo);
        if !late {
            clear_word(k, fence(job.bo));
        }
        wake_up(k, WORD_GPU);
        Some(())
    };
    k.step_on(touch, Wait::Ready, push).await.ok_or(Errno::EBUSY)?;
    if late {
        k.step(obj::word(fence(job.bo)), Access::Write, || clear_word(k, fence(job.bo))).await;
    }
    Ok(())
}

/// What the driver does with jobs on memory that is not TTM's.  Linux: struct drm_sched_backend_ops.
pub(crate) trait DrmSchedBackendOps {
    /// ->run_job: carries out the job of object `nr` and signals its fence.
    fn run_job<'a>(&'a self, k: &'a Kernel, nr: u8) -> Boxed<'a, ()>;
}

/// Gives a driver's job to the GPU: `fence` is signaled no more, and `arm` makes the job what it is.
#[track_caller]
pub(crate) fn drm_sched_entity_push_job<'k>(
    k: &'k Kernel,
    bdev: &'k TtmDevice,
    nr: u8,
    fence: u8,
    arm: impl FnOnce() + Unpin + 'k,
) -> impl Future<Output = ()> + 'k {
    let touch = [Touch::write(obj::word(WORD_GPU)), Touch::write(obj::word(fence)), Touch::default()];
    k.step_on(touch, Wait::Ready, move || {
        arm();
        bdev.sched.ring.push(k.work(WorkFunc::Userptr, nr));
        clear_word(k, fence);
        wake_up(k, WORD_GPU);
    })
}

/// The GPU: carries out one job after the other, and signals its fence.
pub(crate) async fn gpu_main(k: &Kernel, bdev: &TtmDevice, ops: &dyn DrmSchedBackendOps) {
    let sched = &bdev.sched;
    loop {
        let work = wait_for_work(k, WORD_GPU, &sched.ring).await;
        if work.func == WorkFunc::Userptr {
            ops.run_job(k, work.arg).await;
            continue;
        }
        let slot = work.arg as usize;
        let job = sched.jobs(k)[slot].get().expect("a queued job is there");
        for i in 0..job.nr as usize {
            match job.kind {
                JobKind::Read => _ = gpu_access(k, job.pages[i], None).await,
                JobKind::Write(value) => _ = gpu_access(k, job.pages[i], Some(value)).await,
                JobKind::Copy => {
                    let value = gpu_access(k, job.pages[i], None).await;
                    gpu_access(k, job.to[i], Some(value)).await;
                }
            }
        }
        dma_fence_signal(k, bdev, job.bo, || sched.jobs(k)[slot].set(None)).await;
    }
}

/// The device reads a page, or writes it.
async fn gpu_access(k: &Kernel, page: PageRef, value: Option<u8>) -> u8 {
    enter!(k);
    let (kind, access) = match value {
        Some(_) => (UseKind::DmaWrite, Access::Write),
        None => (UseKind::DmaRead, Access::Read),
    };
    k.step(obj::data(page.pfn), access, || use_page(k, page, kind, value)).await
}
