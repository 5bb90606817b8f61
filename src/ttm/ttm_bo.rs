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

use super::ttm_bo_util::*;
use super::ttm_device::*;
use super::ttm_pool::ttm_pool_free;
use super::ttm_tt::*;
use crate::fixes::Fix;
use crate::kernel::*;
use crate::limits::*;
use crate::mm::memory::unmap_mapping_range;
use crate::mm::{Kernel, TTM_MAPPING};
use crate::trace::{Access, Event, Kref, obj};

/// What a buffer object is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BoDesc {
    pub(crate) order: u8,
    pub(crate) caching: TtmCaching,
    pub(crate) vram: bool,
    pub(crate) driver: TtmDriver,
}

/// Makes a buffer object in a free slot; its pages come with the first fault or job.
///
/// # Errors
/// -EEXIST: the slot is taken; -ENOMEM; -ENOSPC: no VRAM.
pub(crate) async fn ttm_bo_init(k: &Kernel, bdev: &TtmDevice, bo: u8, desc: BoDesc) -> Result<(), Errno> {
    enter!(k);
    let b = bdev.bo(bo);
    if b.life.get() != Life::None {
        return Err(Errno::EEXIST);
    }
    b.life.set(Life::Init);
    b.order.set(desc.order);
    b.caching.set(desc.caching);
    b.driver.set(desc.driver);
    b.mem.set(MemType::System);
    b.jobs.set(0);
    b.moving.set(false);
    wake_up(k, fence(bo));
    let ret = match desc.vram {
        true => ttm_vram_alloc(bdev, desc.order).map(|start| b.mem.set(MemType::Vram(start))).ok_or(Errno::ENOSPC),
        false => ttm_tt_create(k, b),
    };
    if let (Ok(()), MemType::Vram(start)) = (&ret, b.mem.get()) {
        clear_vram(k, b, start).await;
    }
    b.life.set(if ret.is_ok() { Life::Alive } else { Life::None });
    if ret.is_ok() {
        kref_add(k, bdev, bo, 1).await;
        b.handle.set(true);
    }
    ret
}

/// Adds references in a step of their own.
#[track_caller]
fn kref_add<'k>(k: &'k Kernel, bdev: &'k TtmDevice, bo: u8, refs: i32) -> impl Future<Output = i32> + 'k {
    k.step(obj::kref(Kref::Bo, bo), Access::Write, move || {
        let kref = &bdev.bo(bo).kref;
        kref.set(kref.get() + refs);
        k.emit(Event::Kref { kind: Kref::Bo as u8, slot: bo, count: kref.get() });
        kref.get()
    })
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
    let kref = &bdev.bo(bo).kref;
    k.step(obj::kref(Kref::Bo, bo), Access::Write, || {
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

/// The last reference is gone: backing store goes now, or when the fence has signaled.
async fn ttm_bo_release(k: &Kernel, bdev: &TtmDevice, bo: u8) {
    enter!(k);
    let b = bdev.bo(bo);
    b.life.set(Life::Dying);
    if dma_resv_test_signaled(k, bo).await && trylock(k, resv(bo)).await {
        ttm_bo_release_ghost(k, bdev, bo).await;
        ttm_bo_cleanup_memtype_use(k, bdev, bo).await;
        mutex_unlock(k, resv(bo));
        ttm_bo_destroy(k, bdev, bo);
        return;
    }
    b.deleted.set(true);
    queue_work(k, WorkFunc::TtmDelayedDelete, bo).await;
}

/// Frees the backing store; reserved and idle.
pub(crate) async fn ttm_bo_cleanup_memtype_use(k: &Kernel, bdev: &TtmDevice, bo: u8) {
    enter!(k);
    let b = bdev.bo(bo);
    k.assert_held(resv(bo));
    ttm_tt_destroy(k, bdev, b).await;
    if let MemType::Vram(start) = b.mem.get() {
        ttm_vram_free(bdev, start, b.order.get());
    }
}

/// The slot is free again.
pub(crate) fn ttm_bo_destroy(_k: &Kernel, bdev: &TtmDevice, bo: u8) {
    bdev.bo(bo).life.set(Life::None);
}

/// Removes every mapping of the object; areas fault again.
pub(crate) async fn ttm_bo_unmap_virtual(k: &Kernel, bo: u8) {
    enter!(k);
    let start = bo * FILE_PAGES as u8;
    unmap_mapping_range(k, TTM_MAPPING, start, start + FILE_PAGES as u8, true).await;
}

/// Moves an object, which is reserved, to VRAM or to system memory.
///
/// # Errors
/// -ENOMEM, -ENOSPC, -EBUSY: the GPU's ring is full.
pub(crate) async fn ttm_bo_handle_move_mem(k: &Kernel, bdev: &TtmDevice, bo: u8, vram: bool) -> Result<(), Errno> {
    enter!(k);
    let late = k.fixed(Fix::TtmMoveUnmapLate);
    if !k.fixed(Fix::TtmMoveNoUnmap) && !late {
        ttm_bo_unmap_virtual(k, bo).await;
    }
    let ret = move_to(k, bdev, bo, vram).await;
    if late {
        ttm_bo_unmap_virtual(k, bo).await;
    }
    ret
}

async fn move_to(k: &Kernel, bdev: &TtmDevice, bo: u8, vram: bool) -> Result<(), Errno> {
    let b = bdev.bo(bo);
    match (b.mem.get(), vram) {
        (MemType::System, true) => {
            let start = ttm_vram_alloc(bdev, b.order.get()).ok_or(Errno::ENOSPC)?;
            // Nothing to copy from an object without pages; but VRAM must not show others' data.
            let ret = match ttm_tt_populate(k, bdev, bo).await {
                Ok(()) => driver_move(k, bdev, bo, MemType::Vram(start)).await,
                Err(errno) => Err(errno),
            };
            if ret.is_err() {
                ttm_vram_free(bdev, start, b.order.get());
            }
            ret
        }
        (MemType::Vram(_), false) => {
            ttm_tt_populate(k, bdev, bo).await?;
            driver_move(k, bdev, bo, MemType::System).await
        }
        _ => Ok(()),
    }
}

/// Puts an object where a client wants it.
///
/// # Errors
/// Those of [`ttm_bo_handle_move_mem`].
pub(crate) async fn ttm_bo_validate(k: &Kernel, bdev: &TtmDevice, bo: u8, vram: bool) -> Result<(), Errno> {
    enter!(k);
    mutex_lock(k, resv(bo)).await;
    let there = matches!(bdev.bo(bo).mem.get(), MemType::Vram(_)) == vram;
    let ret = if there { Ok(()) } else { ttm_bo_handle_move_mem(k, bdev, bo, vram).await };
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
    let ret = match bdev.bo(bo).mem.get() {
        MemType::Vram(_) => ttm_bo_handle_move_mem(k, bdev, bo, false).await,
        MemType::System => Err(Errno::EINVAL),
    };
    mutex_unlock(k, resv(bo));
    ret
}

/// Whoever takes a victim off the LRU may not wait for it.
async fn ttm_lru_trylock(k: &Kernel, bo: u8) -> bool {
    let lru_lock = Lock::new(LockClass::Lru, 0);
    spin_lock(k, lru_lock).await;
    let reserved = trylock(k, resv(bo)).await;
    spin_unlock(k, lru_lock);
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
    if b.mem.get() != MemType::System {
        ttm_bo_handle_move_mem(k, bdev, bo, false).await?;
    }
    ttm_bo_wait(k, bdev, bo).await;
    if !b.tt.is_populated() {
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
    if b.driver.get() != TtmDriver::Amdgpu || !k.fixed(Fix::AmdgpuDiscardable) {
        return Err(Errno::EOPNOTSUPP);
    }
    if !ttm_lru_trylock(k, bo).await {
        return Err(Errno::EBUSY);
    }
    ttm_bo_wait(k, bdev, bo).await;
    if k.fixed(Fix::TtmGuttingUnmap) {
        ttm_bo_unmap_virtual(k, bo).await;
    }
    if b.tt.is_populated() {
        ttm_pool_free(k, bdev, b, &b.tt).await;
    }
    b.tt.swapped.set(false);
    if let MemType::Vram(start) = b.mem.replace(MemType::System) {
        ttm_vram_free(bdev, start, b.order.get());
    }
    mutex_unlock(k, resv(bo));
    Ok(())
}
