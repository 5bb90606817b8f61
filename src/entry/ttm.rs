// SPDX-License-Identifier: GPL-2.0-or-later
//! Buffer objects of a GPU client, as its driver's ioctls.

use super::args::*;
use super::memory::{end_of, map};
use super::{Ret, System};
use crate::kernel::*;
use crate::mm::*;
use crate::ttm::drm_gem::{drm_gem_handle_delete, drm_gem_object_lookup, peek_handles};
use crate::ttm::sched_main::{Job, JobKind, submit_job};
use crate::ttm::ttm_bo::*;
use crate::ttm::ttm_bo_api::*;
use crate::ttm::ttm_bo_util::pages_in;
use crate::ttm::ttm_bo_vm::ttm_bo_mmap_obj;
use crate::ttm::ttm_pool;
use crate::ttm::ttm_tt::ttm_tt_populate;

/// Looks a handle up and takes a reference for the call.
pub(super) async fn lookup(s: &System, bo: Bo) -> Result<u8, Errno> {
    drm_gem_object_lookup(s, &s.ttm, bo.0).await
}

pub(super) async fn ttm_bo_create(
    s: &System,
    bo: NewBo,
    order: Order,
    caching: Caching,
    placement: Placement,
    driver: Driver,
) -> Ret {
    enter!(s);
    let caching = match caching {
        Caching::Cached => TtmCaching::Cached,
        Caching::Wc => TtmCaching::WriteCombined,
        Caching::Uc => TtmCaching::Uncached,
    };
    let driver = match driver {
        Driver::Vmwgfx => TtmDriver::Vmwgfx,
        Driver::Amdgpu => TtmDriver::Amdgpu,
    };
    let desc = BoDesc { order: order.0, caching, vram: placement == Placement::Vram, driver };
    ttm_bo_init(s, &s.ttm, bo.0, desc).await.map(|()| 0)
}

/// An area that shows a buffer object; takes over the caller's reference.
async fn map_bo(s: &System, bo: u8, addr: Addr, len: Len, sharing: Sharing) -> Ret {
    let shared = if sharing == Sharing::Shared { VmFlags::SHARED } else { VmFlags::empty() };
    let flags = VmFlags::READ | VmFlags::WRITE | VmFlags::MAYWRITE | shared;
    let ret = async {
        let end = end_of(addr, len)?;
        let mut vma = Vma {
            mm: s.current_mm(),
            start: addr.0,
            end,
            flags,
            mapping: NO_MAPPING,
            pgoff: 0,
            anon_vma: false,
            ops: None,
        };
        ttm_bo_mmap_obj(s, &s.ttm, bo, &mut vma)?;
        map(s, &vma).await
    };
    let ret = ret.await;
    if ret.is_err() {
        self::put(s, bo).await;
    }
    ret
}

async fn put(s: &System, bo: u8) {
    crate::ttm::ttm_bo::ttm_bo_put(s, &s.ttm, bo).await;
}

pub(super) async fn ttm_bo_mmap(s: &System, bo: Bo, addr: Addr, len: Len, sharing: Sharing) -> Ret {
    enter!(s);
    let bo = lookup(s, bo).await?;
    map_bo(s, bo, addr, len, sharing).await
}

/// Closes the handle.
pub(super) async fn ttm_bo_put(s: &System, bo: Bo) -> Ret {
    enter!(s);
    drm_gem_handle_delete(s, &s.ttm, bo.0).await?;
    put(s, bo.0).await;
    Ok(0)
}

pub(super) async fn ttm_bo_validate(s: &System, bo: Bo, placement: Placement) -> Ret {
    enter!(s);
    let bo = lookup(s, bo).await?;
    let ret = crate::ttm::ttm_bo::ttm_bo_validate(s, &s.ttm, bo, placement == Placement::Vram).await;
    put(s, bo).await;
    ret.map(|()| 0)
}

pub(super) async fn ttm_bo_swapout(s: &System, bo: Bo) -> Ret {
    enter!(s);
    let bo = lookup(s, bo).await?;
    let ret = crate::ttm::ttm_bo::ttm_bo_swapout(s, &s.ttm, bo).await;
    put(s, bo).await;
    ret.map(|()| 0)
}

pub(super) async fn ttm_bo_evict(s: &System, bo: Bo) -> Ret {
    enter!(s);
    let bo = lookup(s, bo).await?;
    let ret = crate::ttm::ttm_bo::ttm_bo_evict(s, &s.ttm, bo).await;
    put(s, bo).await;
    ret.map(|()| 0)
}

pub(super) async fn ttm_bo_pipeline_gutting(s: &System, bo: Bo) -> Ret {
    enter!(s);
    let bo = lookup(s, bo).await?;
    let ret = crate::ttm::ttm_bo::ttm_bo_pipeline_gutting(s, &s.ttm, bo).await;
    put(s, bo).await;
    ret.map(|()| 0)
}

pub(super) async fn ttm_pool_shrink(s: &System) -> Ret {
    enter!(s);
    Ok(ttm_pool::ttm_pool_shrinker_scan(s, &s.ttm).await)
}

/// A job that reads or writes every page of the object some time later.
pub(super) async fn gpu_submit(s: &System, bo: Bo, value: Value, flags: GpuFlags) -> Ret {
    enter!(s);
    let bo = lookup(s, bo).await?;
    mutex_lock(s, resv(bo)).await;
    let b = s.ttm.bo(bo);
    let ret = match b.reserved(s).mem.get() {
        MemType::System => ttm_tt_populate(s, &s.ttm, bo).await,
        MemType::Vram(_) => Ok(()),
    };
    let ret = match ret {
        Ok(()) => {
            let kind = if flags.contains(GpuFlags::WRITE) { JobKind::Write(value.0) } else { JobKind::Read };
            let pages = pages_in(s, b);
            submit_job(s, &s.ttm, Job { kind, bo, nr: b.num_pages() as u8, pages, to: pages }).await
        }
        failed => failed,
    };
    mutex_unlock(s, resv(bo));
    put(s, bo).await;
    ret.map(|()| 0)
}

pub(super) async fn close_all(s: &System) {
    for bo in peek_handles(&s.ttm) {
        if drm_gem_handle_delete(s, &s.ttm, bo).await.is_ok() {
            put(s, bo).await;
        }
    }
}
