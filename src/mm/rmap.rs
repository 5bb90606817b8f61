// SPDX-License-Identifier: GPL-2.0-or-later
//! How often a page is mapped.  Linux: mm/rmap.c.

use super::mm_types::*;
use crate::trace::{Access, Event, Pfn, obj};
use std::future::Future;

#[track_caller]
fn mapcount_add(k: &Kernel, pfn: Pfn, delta: i32) -> impl Future<Output = ()> {
    k.step(obj::mapcount(pfn), Access::Commute, move || {
        let mapcount = k.page_mapcount_add(pfn, delta);
        k.emit(Event::Mapcount { pfn, delta, mapcount });
    })
}

/// A page of the page cache is mapped once more.
#[track_caller]
pub(crate) fn page_add_file_rmap(k: &Kernel, pfn: Pfn) -> impl Future<Output = ()> {
    mapcount_add(k, pfn, 1)
}

/// The first mapping of an anonymous page that nobody else sees yet: no step.
pub(crate) fn page_add_new_anon_rmap(k: &Kernel, pfn: Pfn) {
    k.init_anon(pfn);
    k.emit(Event::Mapcount { pfn, delta: 1, mapcount: 1 });
}

/// A page is mapped once less.
#[track_caller]
pub(crate) fn page_remove_rmap(k: &Kernel, pfn: Pfn) -> impl Future<Output = ()> {
    mapcount_add(k, pfn, -1)
}
