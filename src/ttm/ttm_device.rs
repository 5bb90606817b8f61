// SPDX-License-Identifier: GPL-2.0-or-later
//! The device: its buffer objects, its pools, its GPU.
//! Linux: drivers/gpu/drm/ttm/ttm_device.c, include/drm/ttm/ttm_bo_api.h.

use super::ttm_bo::{ttm_bo_cleanup_memtype_use, ttm_bo_destroy};
use super::ttm_pool::{Pools, ttm_pool_free};
use super::ttm_tt::{TT_PAGES, Tt};
use crate::fixes::Fix;
use crate::kernel::*;
use crate::limits::*;
use crate::mm::highmem::use_page;
use crate::mm::{Kernel, PageRef};
use crate::trace::{Access, UseKind, obj};
use std::cell::Cell;
use std::future::Future;

/// How the CPU maps pages; the pools are keyed by it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum TtmCaching {
    #[default]
    Cached,
    WriteCombined,
    Uncached,
}

/// mem_type of a resource.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum MemType {
    /// TTM_PL_SYSTEM.
    #[default]
    System,
    /// TTM_PL_VRAM; the first page of its block.
    Vram(u8),
}

/// Whose buffer object: what its driver does differently.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum TtmDriver {
    /// Wires huge faults, maps VM_PFNMAP unless copied on write, moves by memcpy.
    #[default]
    Vmwgfx,
    /// No huge faults; moves by a job of the GPU.
    Amdgpu,
}

/// A buffer object's life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Life {
    /// The slot is free.
    #[default]
    None,
    /// Being made.
    Init,
    Alive,
    /// Its last reference is gone, its backing store maybe not yet.
    Dying,
}

/// struct ttm_buffer_object.  Guarded by its reservation unless said otherwise.
#[derive(Debug, Default)]
pub(crate) struct TtmBo {
    pub(crate) life: Cell<Life>,
    /// User space has a handle to it.
    pub(crate) handle: Cell<bool>,
    /// Lockless: whoever holds or looks for a reference.
    pub(crate) kref: Cell<i32>,
    pub(crate) order: Cell<u8>,
    pub(crate) driver: Cell<TtmDriver>,
    pub(crate) caching: Cell<TtmCaching>,
    pub(crate) mem: Cell<MemType>,
    pub(crate) tt: Tt,
    /// Backing store a job may still use, until the fence signals.
    pub(crate) ghost: Tt,
    /// A VRAM block a job may still use.
    pub(crate) ghost_vram: Cell<Option<u8>>,
    /// The last job moves the object.
    pub(crate) moving: Cell<bool>,
    /// Waits for its fence to be destroyed.
    pub(crate) deleted: Cell<bool>,
    /// Jobs that have not signaled.
    pub(crate) jobs: Cell<u8>,
}

impl TtmBo {
    pub(crate) fn num_pages(&self) -> usize {
        1 << self.order.get()
    }
}

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

/// struct ttm_device.
pub(crate) struct TtmDevice {
    pub(crate) bos: [TtmBo; NR_HANDLES],
    pub(crate) pools: Pools,
    /// VRAM in use, one bit a page.
    pub(crate) vram: Cell<u32>,
    jobs: [Cell<Option<Job>>; NR_JOBS],
    ring: WorkQueue,
}

impl TtmDevice {
    pub(crate) fn new() -> TtmDevice {
        TtmDevice {
            bos: Default::default(),
            pools: Pools::default(),
            vram: Cell::new(0),
            jobs: Default::default(),
            ring: WorkQueue::default(),
        }
    }

    pub(crate) fn reset(&self) {
        for bo in &self.bos {
            bo.life.set(Life::None);
            bo.handle.set(false);
            bo.kref.set(0);
            bo.tt.reset();
            bo.ghost.reset();
            bo.ghost_vram.set(None);
            bo.moving.set(false);
            bo.deleted.set(false);
            bo.jobs.set(0);
        }
        self.pools.reset();
        self.vram.set(0);
        self.jobs.iter().for_each(|j| j.set(None));
        self.ring.reset();
    }

    pub(crate) fn bo(&self, bo: u8) -> &TtmBo {
        &self.bos[bo as usize]
    }
}

/// bo->base.resv.
pub(crate) fn resv(bo: u8) -> Lock {
    Lock::new(LockClass::Resv, bo as usize)
}

/// The word that is set while a buffer object has no unsignaled fence.
pub(crate) fn fence(bo: u8) -> u8 {
    WORD_FENCE + bo
}

/// Gives a job to the GPU; its fence joins the object's reservation, which is held.
///
/// # Errors
/// -EBUSY: the ring is full.
pub(crate) async fn submit_job(k: &Kernel, bdev: &TtmDevice, job: Job) -> Result<(), Errno> {
    enter!(k);
    k.assert_held(resv(job.bo));
    let slot = bdev.jobs.iter().position(|j| j.get().is_none()).ok_or(Errno::EBUSY)?;
    bdev.jobs[slot].set(Some(job));
    let late = k.fixed(Fix::FenceInitLate);
    let touch = [Touch::write(obj::word(WORD_GPU)), Touch::write(obj::word(fence(job.bo))), Touch::default()];
    k.step_on(touch, Wait::Ready, || {
        let bo = bdev.bo(job.bo);
        bo.jobs.set(bo.jobs.get() + 1);
        if !late {
            clear_word(k, fence(job.bo));
        }
        bdev.ring.push(Work { func: WorkFunc::Job, arg: slot as u8, salt: k.salt() });
        wake_up(k, WORD_GPU);
    })
    .await;
    if late {
        k.step(obj::word(fence(job.bo)), Access::Write, || clear_word(k, fence(job.bo))).await;
    }
    Ok(())
}

/// The GPU: carries out one job after the other, and signals its fence.
pub(crate) async fn gpu_main(k: &Kernel, bdev: &TtmDevice) {
    loop {
        let work = wait_for_work(k, WORD_GPU, &bdev.ring).await;
        let job = bdev.jobs[work.arg as usize].get().expect("a queued job is there");
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
        bdev.jobs[work.arg as usize].set(None);
        dma_fence_signal(k, bdev, job.bo).await;
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

async fn dma_fence_signal(k: &Kernel, bdev: &TtmDevice, bo: u8) {
    enter!(k);
    let b = bdev.bo(bo);
    k.step(obj::word(fence(bo)), Access::Write, || {
        b.jobs.set(b.jobs.get() - 1);
        if b.jobs.get() == 0 {
            wake_up(k, fence(bo));
        }
    })
    .await;
    queue_work(k, WorkFunc::TtmDelayedDelete, bo).await;
}

/// Whether a buffer object has no unsignaled fence.  Linux: dma_resv_test_signaled().
#[track_caller]
pub(crate) fn dma_resv_test_signaled(k: &Kernel, bo: u8) -> impl Future<Output = bool> {
    word_is_set(k, fence(bo))
}

/// Waits for all fences of a buffer object.  Linux: ttm_bo_wait(), dma_resv_wait_timeout().
pub(crate) async fn ttm_bo_wait(k: &Kernel, bdev: &TtmDevice, bo: u8) {
    enter!(k);
    wait_event(k, fence(bo)).await;
    bdev.bo(bo).moving.set(false);
}

/// The kworker's part: frees what a signaled fence held.
pub(crate) async fn ttm_device_delayed_work(k: &Kernel, bdev: &TtmDevice, bo: u8) {
    enter!(k);
    let b = bdev.bo(bo);
    mutex_lock(k, resv(bo)).await;
    if dma_resv_test_signaled(k, bo).await {
        ttm_bo_release_ghost(k, bdev, bo).await;
        if b.deleted.replace(false) {
            ttm_bo_cleanup_memtype_use(k, bdev, bo).await;
            mutex_unlock(k, resv(bo));
            ttm_bo_destroy(k, bdev, bo);
            return;
        }
    }
    mutex_unlock(k, resv(bo));
}

/// Frees the backing store a buffer object left behind.
pub(crate) async fn ttm_bo_release_ghost(k: &Kernel, bdev: &TtmDevice, bo: u8) {
    let b = bdev.bo(bo);
    if b.ghost.is_populated() {
        enter!(k);
        ttm_pool_free(k, bdev, b, &b.ghost).await;
    }
    if let Some(start) = b.ghost_vram.take() {
        ttm_vram_free(bdev, start, b.order.get());
    }
}

/// Takes a block of VRAM.  Linux: ttm_range_manager.c.
pub(crate) fn ttm_vram_alloc(bdev: &TtmDevice, order: u8) -> Option<u8> {
    let block = (1u32 << (1 << order)) - 1;
    let start = (0..NR_IOMEM).step_by(1 << order).find(|&s| bdev.vram.get() & block << s == 0)?;
    bdev.vram.set(bdev.vram.get() | block << start);
    Some(start as u8)
}

/// Gives a block of VRAM back.
pub(crate) fn ttm_vram_free(bdev: &TtmDevice, start: u8, order: u8) {
    bdev.vram.set(bdev.vram.get() & !(((1 << (1 << order)) - 1) << start));
}
