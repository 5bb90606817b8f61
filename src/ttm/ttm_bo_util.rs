// SPDX-License-Identifier: GPL-2.0-or-later
//! How drivers move contents.  Linux: drivers/gpu/drm/ttm/ttm_bo_util.c.

use super::dma_resv::fence;
use super::sched_main::{Job, JobKind, submit_job};
use super::ttm_bo_api::*;
use super::ttm_device::TtmDevice;
use super::ttm_pool::ttm_pool_free;
use super::ttm_range_manager::ttm_range_man_free;
use super::ttm_tt::TT_PAGES;
use crate::fixes::Fix;
use crate::kernel::{Errno, enter, wait_event};
use crate::limits::*;
use crate::mm::highmem::{kernel_read, use_page};
use crate::mm::{Contents, Kernel, PageRef};
use crate::trace::{Access, Pfn, UseKind, obj};

/// Page `i` of an object in some place.
pub(crate) fn page_in(k: &Kernel, bo: &TtmBo, mem: MemType, i: usize) -> Option<PageRef> {
    match mem {
        MemType::System => bo.reserved(k).tt.pages[i].get(),
        MemType::Vram(start) => Some(PageRef { pfn: Pfn((NR_FRAMES + start as usize + i) as u8), gen_: 0 }),
    }
}

/// All pages of an object where it is, for a job.
pub(crate) fn pages_in(k: &Kernel, bo: &TtmBo) -> [PageRef; TT_PAGES] {
    places(k, bo, bo.reserved(k).mem.get())
}

fn places(k: &Kernel, bo: &TtmBo, mem: MemType) -> [PageRef; TT_PAGES] {
    std::array::from_fn(|i| {
        if i < bo.num_pages() { page_in(k, bo, mem, i).unwrap_or_default() } else { PageRef::default() }
    })
}

/// Fills an object in VRAM with zeroes.
pub(super) async fn clear_vram(k: &Kernel, bo: &TtmBo) {
    enter!(k);
    for page in &pages_in(k, bo)[..bo.num_pages()] {
        k.step(obj::data(page.pfn), Access::Write, || k.write_memory(page.pfn, Contents::default())).await;
    }
}

/// The driver's move: contents go to `to`, the old place is given up.
///
/// # Errors
/// -EBUSY: the GPU's ring is full.
pub(crate) async fn driver_move(k: &Kernel, bdev: &TtmDevice, bo: u8, to: MemType) -> Result<(), Errno> {
    match bdev.bo(bo).driver() {
        TtmDriver::Vmwgfx => {
            ttm_bo_move_memcpy(k, bdev, bo, to).await;
            Ok(())
        }
        TtmDriver::Amdgpu => ttm_bo_move_accel(k, bdev, bo, to).await,
    }
}

/// Waits for the GPU, copies with the CPU and frees the old place.
async fn ttm_bo_move_memcpy(k: &Kernel, bdev: &TtmDevice, bo: u8, to: MemType) {
    enter!(k);
    let b = bdev.bo(bo);
    ttm_bo_wait(k, bdev, bo).await;
    for i in 0..b.num_pages() {
        let from = page_in(k, b, b.reserved(k).mem.get(), i).expect("populated");
        let page = page_in(k, b, to, i).expect("populated");
        let value = kernel_read(k, from).await;
        let write = || use_page(k, page, UseKind::KernelWrite, Some(value));
        k.step(obj::data(page.pfn), Access::Write, write).await;
    }
    match b.reserved(k).mem.replace(to) {
        MemType::System => ttm_pool_free(k, bdev, b, &b.reserved(k).tt).await,
        MemType::Vram(start) => ttm_range_man_free(k, bdev, start, b.order()).await,
    }
}

/// Lets the GPU copy; the old place stays a ghost until the fence has signaled.
async fn ttm_bo_move_accel(k: &Kernel, bdev: &TtmDevice, bo: u8, to: MemType) -> Result<(), Errno> {
    enter!(k);
    let b = bdev.bo(bo);
    if b.reserved(k).ghost.is_populated() || b.reserved(k).ghost_vram.get().is_some() {
        // One ghost at a time.
        ttm_bo_wait(k, bdev, bo).await;
        ttm_bo_release_ghost(k, bdev, bo).await;
    }
    let nr = b.num_pages() as u8;
    submit_job(k, bdev, Job { kind: JobKind::Copy, bo, nr, pages: pages_in(k, b), to: places(k, b, to) }).await?;
    let r = b.reserved(k);
    r.moving.set(true);
    match r.mem.replace(to) {
        MemType::System => r.tt.hand_over(&r.ghost),
        MemType::Vram(start) => r.ghost_vram.set(Some(start)),
    }
    if k.fixed(Fix::TtmFreeBeforeFence) {
        ttm_bo_release_ghost(k, bdev, bo).await;
    }
    Ok(())
}

/// Waits for all fences of a buffer object, which is reserved.  Linux: ttm_bo.c.
pub(super) async fn ttm_bo_wait(k: &Kernel, bdev: &TtmDevice, bo: u8) {
    enter!(k);
    wait_event(k, fence(bo)).await;
    bdev.bo(bo).reserved(k).moving.set(false);
}

/// Frees the backing store a buffer object left behind; reserved and idle.
pub(super) async fn ttm_bo_release_ghost(k: &Kernel, bdev: &TtmDevice, bo: u8) {
    let b = bdev.bo(bo);
    if b.reserved(k).ghost.is_populated() {
        enter!(k);
        ttm_pool_free(k, bdev, b, &b.reserved(k).ghost).await;
    }
    if let Some(start) = b.reserved(k).ghost_vram.take() {
        ttm_range_man_free(k, bdev, start, b.order()).await;
    }
}
