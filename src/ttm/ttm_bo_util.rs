// SPDX-License-Identifier: GPL-2.0-or-later
//! How drivers move contents.  Linux: drivers/gpu/drm/ttm/ttm_bo_util.c.

use super::ttm_device::*;
use super::ttm_pool::ttm_pool_free;
use super::ttm_tt::TT_PAGES;
use crate::fixes::Fix;
use crate::kernel::{Errno, enter};
use crate::limits::*;
use crate::mm::highmem::{kernel_read, use_page};
use crate::mm::{Contents, Kernel, PageRef};
use crate::trace::{Access, Pfn, UseKind, obj};

/// Page `i` of an object in some place.
pub(crate) fn page_in(bo: &TtmBo, mem: MemType, i: usize) -> Option<PageRef> {
    match mem {
        MemType::System => bo.tt.pages[i].get(),
        MemType::Vram(start) => Some(PageRef { pfn: Pfn((NR_FRAMES + start as usize + i) as u8), gen_: 0 }),
    }
}

/// All pages of an object in some place, for a job.
pub(crate) fn pages_in(bo: &TtmBo, mem: MemType) -> [PageRef; TT_PAGES] {
    std::array::from_fn(
        |i| if i < bo.num_pages() { page_in(bo, mem, i).unwrap_or_default() } else { PageRef::default() },
    )
}

/// Fills a block of VRAM with zeroes.
pub(crate) async fn clear_vram(k: &Kernel, bo: &TtmBo, start: u8) {
    enter!(k);
    for page in &pages_in(bo, MemType::Vram(start))[..bo.num_pages()] {
        k.step(obj::data(page.pfn), Access::Write, || k.write_memory(page.pfn, Contents::default())).await;
    }
}

/// The driver's move: contents go to `to`, the old place is given up.
///
/// # Errors
/// -EBUSY: the GPU's ring is full.
pub(crate) async fn driver_move(k: &Kernel, bdev: &TtmDevice, bo: u8, to: MemType) -> Result<(), Errno> {
    match bdev.bo(bo).driver.get() {
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
        let from = page_in(b, b.mem.get(), i).expect("populated");
        let page = page_in(b, to, i).expect("populated");
        let value = kernel_read(k, from).await;
        let write = || use_page(k, page, UseKind::KernelWrite, Some(value));
        k.step(obj::data(page.pfn), Access::Write, write).await;
    }
    match b.mem.replace(to) {
        MemType::System => ttm_pool_free(k, bdev, b, &b.tt).await,
        MemType::Vram(start) => ttm_vram_free(bdev, start, b.order.get()),
    }
}

/// Lets the GPU copy; the old place stays a ghost until the fence has signaled.
async fn ttm_bo_move_accel(k: &Kernel, bdev: &TtmDevice, bo: u8, to: MemType) -> Result<(), Errno> {
    enter!(k);
    let b = bdev.bo(bo);
    if b.ghost.is_populated() || b.ghost_vram.get().is_some() {
        // One ghost at a time.
        ttm_bo_wait(k, bdev, bo).await;
        ttm_bo_release_ghost(k, bdev, bo).await;
    }
    let from = b.mem.get();
    let job = Job { kind: JobKind::Copy, bo, nr: b.num_pages() as u8, pages: pages_in(b, from), to: pages_in(b, to) };
    submit_job(k, bdev, job).await?;
    b.moving.set(true);
    match b.mem.replace(to) {
        MemType::System => b.tt.hand_over(&b.ghost),
        MemType::Vram(start) => b.ghost_vram.set(Some(start)),
    }
    if k.fixed(Fix::TtmFreeBeforeFence) {
        ttm_bo_release_ghost(k, bdev, bo).await;
    }
    Ok(())
}
