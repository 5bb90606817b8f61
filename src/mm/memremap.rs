// SPDX-License-Identifier: GPL-2.0-or-later
//! Device memory with struct pages.  Linux: mm/memremap.c.
//!
//! Simplified: one pgmap, of the last frames.

use super::mm_types::*;
use crate::limits::*;
use crate::trace::{Access, Kref, Pfn, obj};
use std::cell::Cell;
use std::future::Future;

/// The first frame of the dax device.
pub(crate) const DEVDAX_START: Pfn = Pfn((NR_FRAMES - NR_DEVDAX) as u8);

/// The pgmap: lives as long as the machine.
#[derive(Debug, Default)]
pub(crate) struct DevPagemap {
    refs: Cell<i32>,
}

impl DevPagemap {
    /// At boot.
    pub(super) fn init(&self) {
        self.refs.set(0);
    }
}

/// Takes a reference to the pgmap that a frame belongs to; false if it belongs to none.
#[track_caller]
pub(crate) fn get_dev_pagemap(k: &Kernel, pfn: Pfn) -> impl Future<Output = bool> {
    k.step(obj::kref(Kref::PgMap, 0), Access::Write, move || {
        let found = pfn >= DEVDAX_START && pfn.valid();
        k.pgmap.refs.set(k.pgmap.refs.get() + found as i32);
        found
    })
}

/// Drops such a reference.
#[track_caller]
pub(crate) fn put_dev_pagemap(k: &Kernel) -> impl Future<Output = ()> {
    k.step(obj::kref(Kref::PgMap, 0), Access::Commute, move || k.pgmap.refs.set(k.pgmap.refs.get() - 1))
}
