// SPDX-License-Identifier: GPL-2.0-or-later
//! How often a page is mapped.  Linux: mm/rmap.c.

use super::mm_types::*;
use crate::kernel::{Lock, Touch, Wait};
use crate::limits::NR_MMS;
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
pub(crate) fn page_add_new_anon_rmap(k: &Kernel, pfn: Pfn, vma: &Vma, va: u8) {
    k.init_anon(pfn, k.anon_vma(vma.mm), vma.pgoff_of(va));
    k.emit(Event::Mapcount { pfn, delta: 1, mapcount: 1 });
}

/// A page is mapped by a child too; it is nobody's alone any more.
#[track_caller]
pub(crate) fn page_dup_rmap(k: &Kernel, pfn: Pfn) -> impl Future<Output = ()> {
    let touch = [Touch::write(obj::page(pfn, 1)), Touch::write(obj::mapcount(pfn)), Touch::default()];
    k.step_on(touch, Wait::Ready, move || {
        k.set_page_anon_exclusive(pfn, false);
        let mapcount = k.page_mapcount_add(pfn, 1);
        k.emit(Event::Mapcount { pfn, delta: 1, mapcount });
    })
}

/// A page is mapped once less.
#[track_caller]
pub(crate) fn page_remove_rmap(k: &Kernel, pfn: Pfn) -> impl Future<Output = ()> {
    mapcount_add(k, pfn, -1)
}

/// Where an area stands among those that may map a page: by descent, address space and address.
pub(crate) type RmapOrder = (u8, u8, u8);

pub(crate) fn rmap_order(k: &Kernel, vma: &Vma) -> RmapOrder {
    (k.descent(vma.mm), vma.mm, vma.start)
}

/// The first area behind `after` for which `test` holds; `rwsem` guards those that can be it.
///
/// A child comes after its parent: fork fills its entries while somebody walks, and what the walk
/// has not found in the parent it finds in the child.
pub(crate) fn next_in_rmap_order(
    k: &Kernel,
    rwsem: Lock,
    after: Option<RmapOrder>,
    test: impl Fn(&Vma) -> bool,
) -> Option<Vma> {
    let mut best: Option<(RmapOrder, Vma)> = None;
    for mm in 0..NR_MMS as u8 {
        for vma in k.rmap_vmas(rwsem, mm).iter().filter(|v| test(v)) {
            let order = rmap_order(k, vma);
            if after.is_none_or(|a| order > a) && best.as_ref().is_none_or(|(b, _)| order < *b) {
                best = Some((order, vma.clone()));
            }
        }
    }
    best.map(|(_, vma)| vma)
}
