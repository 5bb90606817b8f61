// SPDX-License-Identifier: GPL-2.0-or-later
//! Device memory with struct pages.  Linux: mm/memremap.c.
//!
//! Simplified: one pgmap, of the last frames.

use super::mm_types::*;
use crate::limits::*;
use crate::trace::{Access, Kref, Pfn, obj};
use std::future::Future;

/// The first frame of the dax device.
pub(crate) const DEVDAX_START: Pfn = Pfn((NR_FRAMES - NR_DEVDAX) as u8);

/// Takes a reference to the pgmap that a frame belongs to; false if it belongs to none.
#[track_caller]
pub(crate) fn get_dev_pagemap(k: &Kernel, pfn: Pfn) -> impl Future<Output = bool> {
    k.step(obj::kref(Kref::PgMap, 0), Access::Write, move || {
        let found = pfn >= DEVDAX_START && pfn.valid() && k.pgmap_live.get();
        k.pgmap_refs.set(k.pgmap_refs.get() + found as i32);
        found
    })
}

/// Drops such a reference.
#[track_caller]
pub(crate) fn put_dev_pagemap(k: &Kernel) -> impl Future<Output = ()> {
    k.step(obj::kref(Kref::PgMap, 0), Access::Commute, move || k.pgmap_refs.set(k.pgmap_refs.get() - 1))
}
