// SPDX-License-Identifier: GPL-2.0-or-later
//! Buffer objects: made, moved, swapped out, gutted, released.  Linux: drivers/gpu/drm/ttm/ttm_bo.c.
//!
//! ```text
//!   mover                              fault
//!   1. reserve
//!   2. unmap every mapping
//!                                      a. reserve: fails, waits
//!   3. copy, free the old pages
//!   4. unreserve
//!                                      b. map the new pages
//! ```
//!
//! Release needs no unmapping: every area holds a reference, so without references there are no
//! entries.  Pages that GUP holds are nobody's business here.

use super::dma_resv::{dma_resv_test_signaled, fence};
use super::drm_gem::drm_gem_handle_create;
use super::ttm_bo_api::*;
use super::ttm_bo_util::*;
use super::ttm_device::*;
use super::ttm_range_manager::{ttm_range_man_alloc, ttm_range_man_free};
use super::ttm_tt::*;
use crate::fixes::Fix;
use crate::kernel::*;
use crate::limits::*;
use crate::mm::memory::unmap_mapping_range;
use crate::mm::{Kernel, TTM_MAPPING};
use crate::trace::{Access, Event, Kref, obj};

/// Makes a buffer object in a free slot, and its handle; its pages come with the first fault or job.
///
/// # Errors
/// -EEXIST: the slot is taken; -ENOMEM; -ENOSPC: no VRAM.
pub(crate) async fn ttm_bo_init(k: &Kernel, bdev: &TtmDevice, bo: u8, desc: BoDesc) -> Result<(), Errno> {
    enter!(k);
    let b = bdev.bo(bo);
    let kref_init = || {
        let free = !b.refs(k).exists.replace(true);
        if free {
            wake_up(k, fence(bo));
            kref_add_now(k, bdev, bo, 1);
        }
        free
    };
    let touch = [Touch::write(obj::kref(Kref::Bo, bo)), Touch::write(obj::word(fence(bo))), Touch::default()];
    if !k.step_on(touch, Wait::Ready, kref_init).await {
        return Err(Errno::EEXIST);
    }
    b.init(desc);
    mutex_lock(k, resv(bo)).await;
    b.reserved(k).reset();
    let ret = first_placement(k, bdev, bo, desc).await;
    mutex_unlock(k, resv(bo));
    match ret {
        Ok(()) => drm_gem_handle_create(k, bdev, bo).await,
        Err(_) => ttm_bo_put(k, bdev, bo).await,
    }
    ret
}

async fn first_placement(k: &Kernel, bdev: &TtmDevice, bo: u8, desc: BoDesc) -> Result<(), Errno> {
    let b = bdev.bo(bo);
    if !desc.vram {
        return ttm_tt_create(k, b);
    }
    let to = ttm_bo_mem_space(k, bdev, bo, true).await?;
    b.reserved(k).mem.set(to);
    clear_vram(k, b).await;
    Ok(())
}

fn kref_add_now(k: &Kernel, bdev: &TtmDevice, bo: u8, refs: i32) -> i32 {
    let kref = &bdev.bo(bo).refs(k).kref;
    kref.set(kref.get() + refs);
    k.emit(Event::Kref { kind: Kref::Bo as u8, slot: bo, count: kref.get() });
    kref.get()
}

/// Adds references in a step of their own.
#[track_caller]
fn kref_add<'k>(k: &'k Kernel, bdev: &'k TtmDevice, bo: u8, refs: i32) -> impl Future<Output = i32> + 'k {
    k.step(obj::kref(Kref::Bo, bo), Access::Write, move || kref_add_now(k, bdev, bo, refs))
}

/// A reference more, for a caller that has one.
pub(crate) async fn ttm_bo_get(k: &Kernel, bdev: &TtmDevice, bo: u8) {
    enter!(k);
    if kref_add(k, bdev, bo, 1).await <= 1 {
        k.emit(Event::Bug { what: "refcount-inc-on-zero", pfn: None });
    }
}

/// A reference, unless the last one is gone (kref_get_unless_zero()).
pub(crate) async fn ttm_bo_get_unless_zero(k: &Kernel, bdev: &TtmDevice, bo: u8) -> bool {
    k.step(obj::kref(Kref::Bo, bo), Access::Write, || {
        let kref = &bdev.bo(bo).refs(k).kref;
        let alive = kref.get() > 0;
        kref.set(kref.get() + alive as i32);
        alive
    })
    .await
}

/// A reference less; the last one releases the object.
pub(crate) async fn ttm_bo_put(k: &Kernel, bdev: &TtmDevice, bo: u8) {
    enter!(k);
    match kref_add(k, bdev, bo, -1).await {
        0 => ttm_bo_release(k, bdev, bo).await,
        1.. => {}
        _ => k.emit(Event::Bug { what: "refcount-underflow", pfn: None }),
    }
}

/// The last reference is gone: backing store goes now, or when the fence has signaled.  Then the list
/// of those that wait for that has a reference, and this is called once more.
async fn ttm_bo_release(k: &Kernel, bdev: &TtmDevice, bo: u8) {
    enter!(k);
    if dma_resv_test_signaled(k, bo).await && trylock(k, resv(bo)).await {
        ttm_bo_release_ghost(k, bdev, bo).await;
        ttm_bo_cleanup_memtype_use(k, bdev, bo).await;
        mutex_unlock(k, resv(bo));
        ttm_bo_destroy(k, bdev, bo).await;
        return;
    }
    spin_lock(k, lru_lock()).await;
    bdev.bo(bo).deleted(k).set(true);
    kref_add(k, bdev, bo, 1).await;
    spin_unlock(k, lru_lock());
    queue_work(k, WorkFunc::TtmDelayedDelete, bo).await;
}

/// Frees the backing store of an object that waited for its fence; reserved and idle.
pub(super) async fn ttm_bo_cleanup_refs(k: &Kernel, bdev: &TtmDevice, bo: u8) {
    enter!(k);
    spin_lock(k, lru_lock()).await;
    let deleted = bdev.bo(bo).deleted(k).replace(false);
    spin_unlock(k, lru_lock());
    if deleted {
        ttm_bo_cleanup_memtype_use(k, bdev, bo).await;
        ttm_bo_put(k, bdev, bo).await;
    }
}

/// Frees the backing store; reserved and idle.
async fn ttm_bo_cleanup_memtype_use(k: &Kernel, bdev: &TtmDevice, bo: u8) {
    enter!(k);
    let b = bdev.bo(bo);
    ttm_tt_destroy(k, bdev, b).await;
    if let MemType::Vram(start) = b.reserved(k).mem.take() {
        ttm_range_man_free(k, bdev, start, b.order()).await;
    }
}

/// The slot is free again.
#[track_caller]
fn ttm_bo_destroy<'k>(k: &'k Kernel, bdev: &'k TtmDevice, bo: u8) -> impl Future<Output = ()> + 'k {
    k.step(obj::kref(Kref::Bo, bo), Access::Write, move || bdev.bo(bo).refs(k).exists.set(false))
}

/// Removes every mapping of the object; areas fault again.
pub(crate) async fn ttm_bo_unmap_virtual(k: &Kernel, bo: u8) {
    enter!(k);
    let start = bo * FILE_PAGES as u8;
    unmap_mapping_range(k, TTM_MAPPING, start, start + FILE_PAGES as u8, true).await;
}

/// Takes a place for an object.
///
/// # Errors
/// -ENOSPC: no VRAM.
async fn ttm_bo_mem_space(k: &Kernel, bdev: &TtmDevice, bo: u8, vram: bool) -> Result<MemType, Errno> {
    enter!(k);
    if !vram {
        return Ok(MemType::System);
    }
    ttm_range_man_alloc(k, bdev, bdev.bo(bo).order()).await.map(MemType::Vram).ok_or(Errno::ENOSPC)
}

/// Moves an object, which is reserved, to a new place that it does not have yet.
///
/// # Errors
/// -ENOMEM; -EBUSY: the GPU's ring is full.
async fn ttm_bo_handle_move_mem(k: &Kernel, bdev: &TtmDevice, bo: u8, to: MemType) -> Result<(), Errno> {
    enter!(k);
    let late = k.fixed(Fix::TtmMoveUnmapLate);
    if !k.fixed(Fix::TtmMoveNoUnmap) && !late {
        ttm_bo_unmap_virtual(k, bo).await;
    }
    // What has no pages yet gets some here: VRAM must not show what others left there.
    let ret = match ttm_tt_populate(k, bdev, bo).await {
        Ok(()) => driver_move(k, bdev, bo, to).await,
        failed => failed,
    };
    let b = bdev.bo(bo);
    if ret.is_err() && b.reserved(k).mem.get() != MemType::System {
        ttm_tt_destroy(k, bdev, b).await;
    }
    if late {
        ttm_bo_unmap_virtual(k, bo).await;
    }
    ret
}

/// Moves an object, which is reserved, to VRAM or to system memory: first there is room, then nobody
/// has it mapped.
///
/// # Errors
/// -ENOMEM, -ENOSPC, -EBUSY: the GPU's ring is full.
async fn ttm_bo_move_buffer(k: &Kernel, bdev: &TtmDevice, bo: u8, vram: bool) -> Result<(), Errno> {
    enter!(k);
    let to = ttm_bo_mem_space(k, bdev, bo, vram).await?;
    let ret = ttm_bo_handle_move_mem(k, bdev, bo, to).await;
    if let (Err(_), MemType::Vram(start)) = (ret, to) {
        ttm_range_man_free(k, bdev, start, bdev.bo(bo).order()).await;
    }
    ret
}

/// Puts an object where a client wants it.
///
/// # Errors
/// Those of [`ttm_bo_move_buffer`].
pub(crate) async fn ttm_bo_validate(k: &Kernel, bdev: &TtmDevice, bo: u8, vram: bool) -> Result<(), Errno> {
    enter!(k);
    mutex_lock(k, resv(bo)).await;
    let there = matches!(bdev.bo(bo).reserved(k).mem.get(), MemType::Vram(_)) == vram;
    let ret = if there { Ok(()) } else { ttm_bo_move_buffer(k, bdev, bo, vram).await };
    mutex_unlock(k, resv(bo));
    ret
}

/// Makes room: an object in VRAM goes to system memory.
///
/// # Errors
/// -EBUSY: somebody has it reserved; -EINVAL: it takes no room.
pub(crate) async fn ttm_bo_evict(k: &Kernel, bdev: &TtmDevice, bo: u8) -> Result<(), Errno> {
    enter!(k);
    if !ttm_lru_trylock(k, bo).await {
        return Err(Errno::EBUSY);
    }
    let ret = match bdev.bo(bo).reserved(k).mem.get() {
        MemType::Vram(_) => ttm_bo_move_buffer(k, bdev, bo, false).await,
        MemType::System => Err(Errno::EINVAL),
    };
    mutex_unlock(k, resv(bo));
    ret
}

/// Whoever takes a victim off the LRU may not wait for it.
async fn ttm_lru_trylock(k: &Kernel, bo: u8) -> bool {
    spin_lock(k, lru_lock()).await;
    let reserved = trylock(k, resv(bo)).await;
    spin_unlock(k, lru_lock());
    reserved
}

/// Copies an object out and frees its pages.
///
/// # Errors
/// -EBUSY: somebody has it reserved; -EINVAL: it has no pages; and those of a move.
pub(crate) async fn ttm_bo_swapout(k: &Kernel, bdev: &TtmDevice, bo: u8) -> Result<(), Errno> {
    enter!(k);
    if !ttm_lru_trylock(k, bo).await {
        return Err(Errno::EBUSY);
    }
    let ret = swapout_reserved(k, bdev, bo).await;
    mutex_unlock(k, resv(bo));
    ret
}

async fn swapout_reserved(k: &Kernel, bdev: &TtmDevice, bo: u8) -> Result<(), Errno> {
    let b = bdev.bo(bo);
    if b.reserved(k).mem.get() != MemType::System {
        ttm_bo_move_buffer(k, bdev, bo, false).await?;
    }
    ttm_bo_wait(k, bdev, bo).await;
    if !b.reserved(k).tt.is_populated() {
        return Err(Errno::EINVAL);
    }
    if !k.fixed(Fix::TtmSwapoutNoUnmap) {
        ttm_bo_unmap_virtual(k, bo).await;
    }
    ttm_tt_swapout(k, bdev, b).await;
    Ok(())
}

/// Throws the backing store away, contents and all: eviction of an object that asked for it.
///
/// Upstream nobody removes the mappings before; drivers must.  See [`Fix::TtmGuttingUnmap`].
///
/// # Errors
/// -EBUSY: somebody has it reserved; -EOPNOTSUPP: the driver guts no object that can be mapped.
pub(crate) async fn ttm_bo_pipeline_gutting(k: &Kernel, bdev: &TtmDevice, bo: u8) -> Result<(), Errno> {
    enter!(k);
    let b = bdev.bo(bo);
    if b.driver() != TtmDriver::Amdgpu || !k.fixed(Fix::AmdgpuDiscardable) {
        return Err(Errno::EOPNOTSUPP);
    }
    if !ttm_lru_trylock(k, bo).await {
        return Err(Errno::EBUSY);
    }
    ttm_bo_wait(k, bdev, bo).await;
    if k.fixed(Fix::TtmGuttingUnmap) {
        ttm_bo_unmap_virtual(k, bo).await;
    }
    ttm_tt_unpopulate(k, bdev, b).await;
    b.reserved(k).tt.swapped.set(false);
    if let MemType::Vram(start) = b.reserved(k).mem.take() {
        ttm_range_man_free(k, bdev, start, b.order()).await;
    }
    mutex_unlock(k, resv(bo));
    Ok(())
}
