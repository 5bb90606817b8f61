// SPDX-License-Identifier: GPL-2.0-or-later
//! Devices that reach user memory by page tables of their own.  Linux: drivers/gpu/drm/.

mod drm_gpuvm;
mod i915_gem_userptr;
mod xe_userptr;

pub(crate) use drm_gpuvm::{Gpu, UserptrDriver, execbuf, handle_delete, userptr_ioctl};
