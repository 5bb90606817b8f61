// SPDX-License-Identifier: GPL-2.0-or-later
//! Handles of buffer objects.  Linux: drivers/gpu/drm/drm_gem.c.

use super::ttm_device::TtmDevice;
use crate::kernel::Errno;
use crate::limits::NR_HANDLES;
use crate::mm::Kernel;
use crate::trace::{Access, Kref, obj};
use std::future::Future;

/// Makes a handle; the caller's reference becomes the handle's.
#[track_caller]
pub(super) fn drm_gem_handle_create<'k>(k: &'k Kernel, bdev: &'k TtmDevice, bo: u8) -> impl Future<Output = ()> + 'k {
    k.step(obj::kref(Kref::Bo, bo), Access::Write, move || bdev.bo(bo).refs(k).handle.set(true))
}

/// Looks a handle up and takes a reference, in one: the handle's cannot go meanwhile.
///
/// # Errors
/// -EBADF: there is none.
pub(crate) async fn drm_gem_object_lookup(k: &Kernel, bdev: &TtmDevice, bo: u8) -> Result<u8, Errno> {
    let lookup = || {
        let refs = bdev.bo(bo).refs(k);
        let there = refs.handle.get();
        refs.kref.set(refs.kref.get() + there as i32);
        there
    };
    let there = k.step(obj::kref(Kref::Bo, bo), Access::Write, lookup).await;
    if there { Ok(bo) } else { Err(Errno::EBADF) }
}

/// Those that have a handle, at the end of a run.
pub(crate) fn peek_handles(bdev: &TtmDevice) -> impl Iterator<Item = u8> {
    (0..NR_HANDLES as u8).filter(|&bo| bdev.bo(bo).peek_handle())
}

/// Closes a handle; its reference becomes the caller's.
///
/// # Errors
/// -EBADF: there is none.
pub(crate) async fn drm_gem_handle_delete(k: &Kernel, bdev: &TtmDevice, bo: u8) -> Result<(), Errno> {
    let close = || bdev.bo(bo).refs(k).handle.replace(false);
    let there = k.step(obj::kref(Kref::Bo, bo), Access::Write, close).await;
    if there { Ok(()) } else { Err(Errno::EBADF) }
}
