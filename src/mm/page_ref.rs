// SPDX-License-Identifier: GPL-2.0-or-later
//! Reference counts.  Linux: include/linux/page_ref.h, mm.h.

use super::mm_types::*;
use crate::trace::{Access, Event, Pfn, UseKind, obj};
use std::future::Future;

/// A reference more, for a caller that holds one already.
#[track_caller]
pub(crate) fn get_page(k: &Kernel, pfn: Pfn) -> impl Future<Output = ()> {
    let head = k.compound_head(pfn);
    k.step(obj::page(head, 1), Access::Commute, move || {
        if k.peek_page(head).refcount <= 0 {
            k.emit(Event::Bug { what: "vm-bug-on-get-page", pfn: Some(head) });
        }
        add(k, head, 1);
    })
}

/// `refs` references more at once; false if there are none, so that the caller's own counts elsewhere.
#[track_caller]
pub(crate) fn folio_ref_add(k: &Kernel, pfn: Pfn, refs: i32) -> impl Future<Output = bool> {
    let head = k.compound_head(pfn);
    k.step(obj::page(head, 1), Access::Write, move || {
        let counted = k.page_count(head) > 0;
        if counted {
            add(k, head, refs);
        }
        counted
    })
}

/// Adds references in the present step.
pub(super) fn add(k: &Kernel, head: Pfn, refs: i32) {
    let refcount = k.page_ref_add(head, refs);
    k.emit(Event::Get { pfn: head, refs, refcount });
}

/// Drops references of the page's own count; true if they were the last.
#[track_caller]
pub(crate) fn put_page_testzero(k: &Kernel, page: PageRef, refs: i32) -> impl Future<Output = bool> {
    k.step(obj::page(page.pfn, 1), Access::Write, move || sub_and_test(k, page, page.pfn, refs))
}

/// As [`put_page_testzero`], on the head as it is at that moment; the head, if they were the last.
#[track_caller]
pub(crate) fn folio_put_testzero(k: &Kernel, page: PageRef, refs: i32) -> impl Future<Output = Option<Pfn>> {
    let head = k.compound_head(page.pfn);
    k.step(obj::page(head, 1), Access::Write, move || sub_and_test(k, page, head, refs).then_some(head))
}

pub(super) fn sub_and_test(k: &Kernel, page: PageRef, head: Pfn, refs: i32) -> bool {
    put_uses(k, page);
    let refcount = k.page_ref_add(head, -refs);
    k.emit(Event::Put { pfn: head, refs, refcount });
    refcount == 0
}

/// Tells the oracles that a reference of generation `page.gen_` goes.
fn put_uses(k: &Kernel, page: PageRef) {
    let Page { gen_: now, owner, .. } = k.peek_page(page.pfn);
    let Contents { value, written } = k.peek_memory(page.pfn);
    k.emit(Event::Use { kind: UseKind::Put, pfn: page.pfn, took: page.gen_, now, owner, value, written, at: None });
}
