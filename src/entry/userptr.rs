// SPDX-License-Identifier: GPL-2.0-or-later
//! User memory of a GPU client, as its driver's ioctls.

use super::args::*;
use super::memory::end_of;
use super::{Ret, System};
use crate::drivers::{self, execbuf, handle_delete, userptr_ioctl};
use crate::kernel::enter;

pub(super) async fn userptr_create(s: &System, obj: NewUserptr, addr: Addr, len: Len, driver: UserptrDriver) -> Ret {
    enter!(s);
    let driver = match driver {
        UserptrDriver::I915 => drivers::UserptrDriver::I915,
        UserptrDriver::Xe => drivers::UserptrDriver::Xe,
    };
    userptr_ioctl(s, &s.gpu, obj.0, addr.0, end_of(addr, len)?, driver).await.map(|()| 0)
}

/// A job that reads or writes every page of the object some time later.
pub(super) async fn userptr_submit(s: &System, obj: Userptr, value: Value, flags: GpuFlags) -> Ret {
    enter!(s);
    let value = flags.contains(GpuFlags::WRITE).then_some(value.0);
    execbuf(s, &s.gpu, &s.ttm, obj.0, value).await.map(|()| 0)
}

/// Closes the handle.
pub(super) async fn userptr_put(s: &System, obj: Userptr) -> Ret {
    enter!(s);
    handle_delete(s, &s.gpu, obj.0).await.map(|()| 0)
}

pub(super) async fn close_all(s: &System) {
    enter!(s);
    for obj in s.gpu.peek_handles() {
        let closed = handle_delete(s, &s.gpu, obj).await;
        assert!(closed.is_ok(), "nobody else closes handles any more");
    }
}
