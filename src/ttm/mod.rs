// SPDX-License-Identifier: GPL-2.0-or-later
//! Buffer objects of GPUs.  Linux: drivers/gpu/drm/ttm/.
//!
//! Kept:       what faults, moves, swaps and frees backing store, in its order; the page pools.
//! Simplified: a buffer object is a slot of the device; one exclusive fence each, for all its jobs.
//! Left out:   the LRU's order (a call names its victim), ww_mutex tickets, TTM_PL_TT.

pub(crate) mod dma_resv;
pub(crate) mod drm_gem;
pub(crate) mod drm_gem_ttm_helper;
pub(crate) mod sched_main;
pub(crate) mod ttm_bo;
pub(crate) mod ttm_bo_api;
pub(crate) mod ttm_bo_util;
pub(crate) mod ttm_bo_vm;
pub(crate) mod ttm_device;
pub(crate) mod ttm_pool;
pub(crate) mod ttm_range_manager;
pub(crate) mod ttm_tt;

pub(crate) use ttm_device::{TtmDevice, ttm_device_delayed_work};
