// SPDX-License-Identifier: GPL-2.0-or-later
//! A buffer object, and who may look at which part of it.
//! Linux: include/drm/ttm/ttm_bo_api.h (v6.3 and later ttm_bo.h), include/drm/ttm/ttm_caching.h.

use super::dma_resv::fence;
use super::ttm_device::lru_lock;
use super::ttm_tt::Tt;
use crate::kernel::*;
use crate::mm::Kernel;
use crate::trace::{Access, Kref, obj};
use std::cell::Cell;

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

/// What a buffer object is made of.  Never changes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BoDesc {
    pub(crate) order: u8,
    pub(crate) caching: TtmCaching,
    pub(crate) vram: bool,
    pub(crate) driver: TtmDriver,
}

/// struct ttm_buffer_object.
#[derive(Debug, Default)]
pub(crate) struct TtmBo {
    slot: u8,
    desc: Cell<BoDesc>,
    /// Looked at in steps that announce the kref.
    refs: References,
    /// Jobs that have not signaled.  Looked at in steps that announce the fence's word.
    jobs: Cell<u8>,
    /// Guarded by the reservation.
    reserved: Reserved,
    /// Waits for its fence to be destroyed.  Guarded by lru_lock.
    deleted: Cell<bool>,
}

/// Who knows a buffer object.
#[derive(Debug, Default)]
pub(super) struct References {
    /// The slot is in use.
    pub(super) exists: Cell<bool>,
    /// User space has a handle to it.
    pub(super) handle: Cell<bool>,
    pub(super) kref: Cell<i32>,
}

/// What the reservation guards.
#[derive(Debug, Default)]
pub(crate) struct Reserved {
    pub(crate) mem: Cell<MemType>,
    pub(crate) tt: Tt,
    /// Backing store a job may still use, until the fence signals.
    pub(crate) ghost: Tt,
    /// A VRAM block a job may still use.
    pub(crate) ghost_vram: Cell<Option<u8>>,
    /// The last job moves the object.
    pub(crate) moving: Cell<bool>,
}

impl Reserved {
    pub(super) fn reset(&self) {
        self.mem.set(MemType::System);
        self.tt.reset();
        self.ghost.reset();
        self.ghost_vram.set(None);
        self.moving.set(false);
    }
}

impl TtmBo {
    pub(super) fn new(slot: u8) -> TtmBo {
        TtmBo { slot, ..TtmBo::default() }
    }

    pub(super) fn reset(&self) {
        self.refs.exists.set(false);
        self.refs.handle.set(false);
        self.refs.kref.set(0);
        self.jobs.set(0);
        self.reserved.reset();
        self.deleted.set(false);
    }

    pub(super) fn init(&self, desc: BoDesc) {
        self.desc.set(desc);
    }

    pub(crate) fn num_pages(&self) -> usize {
        1 << self.desc.get().order
    }

    pub(super) fn order(&self) -> u8 {
        self.desc.get().order
    }

    pub(super) fn caching(&self) -> TtmCaching {
        self.desc.get().caching
    }

    pub(super) fn driver(&self) -> TtmDriver {
        self.desc.get().driver
    }

    pub(super) fn peek_handle(&self) -> bool {
        self.refs.handle.get()
    }

    #[track_caller]
    pub(super) fn refs(&self, k: &Kernel) -> &References {
        k.assert_announced(obj::kref(Kref::Bo, self.slot), Access::Write);
        &self.refs
    }

    #[track_caller]
    pub(super) fn jobs(&self, k: &Kernel) -> &Cell<u8> {
        k.assert_announced(obj::word(fence(self.slot)), Access::Write);
        &self.jobs
    }

    /// What the reservation guards, for whoever holds it.
    #[track_caller]
    pub(crate) fn reserved(&self, k: &Kernel) -> &Reserved {
        k.assert_held(resv(self.slot));
        &self.reserved
    }

    #[track_caller]
    pub(super) fn deleted(&self, k: &Kernel) -> &Cell<bool> {
        k.assert_held(lru_lock());
        &self.deleted
    }
}

/// bo->base.resv.
pub(crate) fn resv(bo: u8) -> Lock {
    Lock::new(LockClass::Resv, bo as usize)
}
