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

/// The first mapping of an anonymous page that nobody else sees yet, huge if it is compound: no step.
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

/// As [`page_dup_rmap`], by a leaf.
#[track_caller]
pub(crate) fn folio_dup_anon_rmap_pmd(k: &Kernel, head: Pfn) -> impl Future<Output = ()> {
    let touch = [Touch::write(obj::page(head, 1)), Touch::write(obj::mapcount(head)), Touch::default()];
    k.step_on(touch, Wait::Ready, move || {
        k.set_page_anon_exclusive(head, false);
        let mapcount = k.entire_mapcount_add(head, 1);
        k.emit(Event::Mapcount { pfn: head, delta: 1, mapcount });
    })
}

/// All pages of a compound page are mapped by ptes, too; what is said of the whole is said of each.
#[track_caller]
pub(crate) fn folio_add_anon_rmap_ptes(k: &Kernel, head: Pfn) -> impl Future<Output = ()> {
    let nr = 1 << k.folio_order(head);
    let touch = [Touch::write(obj::page(head, nr)), Touch::write(obj::mapcounts(head, nr)), Touch::default()];
    k.step_on(touch, Wait::Ready, move || {
        let exclusive = k.page_anon_exclusive(head);
        for pfn in (0..nr).map(|i| head.add(i)) {
            k.set_page_anon_exclusive(pfn, exclusive);
            let mapcount = k.page_mapcount_add(pfn, 1);
            k.emit(Event::Mapcount { pfn, delta: 1, mapcount });
        }
    })
}

/// A compound page is mapped by a leaf less.
#[track_caller]
pub(crate) fn folio_remove_rmap_pmd(k: &Kernel, head: Pfn) -> impl Future<Output = ()> {
    k.step(obj::mapcount(head), Access::Commute, move || {
        let mapcount = k.entire_mapcount_add(head, -1);
        k.emit(Event::Mapcount { pfn: head, delta: -1, mapcount });
    })
}

/// How many entries map a page, or any page of a compound one.
#[track_caller]
pub(crate) fn folio_mapcount(k: &Kernel, head: Pfn) -> impl Future<Output = i32> {
    let nr = 1 << k.folio_order(head);
    let total = move || k.entire_mapcount(head) + (0..nr).map(|i| k.page_mapcount(head.add(i))).sum::<i32>();
    k.step(obj::mapcounts(head, nr), Access::Read, total)
}

/// How many entries map a page.
#[track_caller]
pub(crate) fn page_mapcount(k: &Kernel, pfn: Pfn) -> impl Future<Output = i32> {
    let head = k.compound_head(pfn);
    let touch = [Touch::read(obj::mapcount(pfn)), Touch::read(obj::mapcount(head)), Touch::default()];
    k.step_on(touch, Wait::Ready, move || k.page_mapcount(pfn) + k.entire_mapcount(head))
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
