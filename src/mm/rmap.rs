// SPDX-License-Identifier: GPL-2.0-or-later
//! How often a page is mapped.  Linux: mm/rmap.c.

use super::mm_types::*;
use crate::trace::{Access, Event, Pfn, obj};
use std::future::Future;

#[track_caller]
fn mapcount_add(k: &Kernel, pfn: Pfn, delta: i32) -> impl Future<Output = ()> {
    k.step(obj::mapcount(pfn), Access::Commute, move || {
        let frame = k.frame(pfn);
        frame.mapcount.set(frame.mapcount.get() + delta);
        k.emit(Event::Mapcount { pfn, delta, mapcount: frame.mapcount.get() });
    })
}

/// A page of the page cache is mapped once more.
#[track_caller]
pub(crate) fn page_add_file_rmap(k: &Kernel, pfn: Pfn) -> impl Future<Output = ()> {
    mapcount_add(k, pfn, 1)
}

/// The first mapping of an anonymous page that nobody else sees yet: no step.
pub(crate) fn page_add_new_anon_rmap(k: &Kernel, pfn: Pfn) {
    let frame = k.frame(pfn);
    frame.flags.set(frame.flags.get() | PageFlags::ANON | PageFlags::ANON_EXCLUSIVE);
    frame.mapcount.set(1);
    k.emit(Event::Mapcount { pfn, delta: 1, mapcount: 1 });
}

/// A page is mapped once less.
#[track_caller]
pub(crate) fn page_remove_rmap(k: &Kernel, pfn: Pfn) -> impl Future<Output = ()> {
    mapcount_add(k, pfn, -1)
}
