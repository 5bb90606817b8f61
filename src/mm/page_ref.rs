// SPDX-License-Identifier: GPL-2.0-or-later
//! Reference counts.  Linux: include/linux/page_ref.h, mm.h.

use super::memremap::counted;
use super::mm_types::*;
use crate::kernel::{Touch, Wait};
use crate::trace::{Access, Event, Pfn, UseKind, obj};
use std::future::Future;

/// A step on the head of a page that the caller holds.
///
/// The head is looked up when the step is announced, and the page it is of announced with it: a
/// reference keeps the two together.
#[track_caller]
fn head_step<R>(k: &Kernel, pfn: Pfn, access: Access, act: impl FnOnce(Pfn) -> R + Unpin) -> impl Future<Output = R> {
    let head = k.compound_head(pfn);
    let tail = if head == pfn { Touch::default() } else { Touch::read(obj::page(pfn, 1)) };
    let touch = [Touch::new(obj::page(head, 1), access), tail, Touch::default()];
    k.step_on(touch, Wait::Ready, move || act(head))
}

/// A reference more, for a caller that holds one already.
#[track_caller]
pub(crate) fn get_page(k: &Kernel, pfn: Pfn) -> impl Future<Output = ()> {
    head_step(k, pfn, Access::Commute, move |head| {
        if k.peek_page(head).refcount <= 0 {
            k.emit(Event::Bug { what: "vm-bug-on-get-page", pfn: Some(head) });
        }
        add(k, head, 1);
    })
}

/// `refs` references more at once; false if there are none, so that the caller's own counts elsewhere.
#[track_caller]
pub(crate) fn folio_ref_add(k: &Kernel, pfn: Pfn, refs: i32) -> impl Future<Output = bool> {
    head_step(k, pfn, Access::Write, move |head| {
        let counted = k.page_count(head) > 0;
        if counted {
            add(k, head, refs);
        }
        counted
    })
}

/// Adds references in the present step.
pub(crate) fn add(k: &Kernel, head: Pfn, refs: i32) {
    let refcount = k.page_ref_add(head, refs);
    counted(k, head, refcount);
    k.emit(Event::Get { pfn: head, refs, refcount });
}

/// Drops references of the page's own count; true if they were the last.
#[track_caller]
pub(crate) fn put_page_testzero(k: &Kernel, page: PageRef, refs: i32) -> impl Future<Output = bool> {
    k.step(obj::page(page.pfn, 1), Access::Write, move || sub_and_test(k, page, page.pfn, refs))
}

/// As [`put_page_testzero`], on the head; that, if they were the last.
#[track_caller]
pub(crate) fn folio_put_testzero(k: &Kernel, page: PageRef, refs: i32) -> impl Future<Output = Option<Pfn>> {
    head_step(k, page.pfn, Access::Write, move |head| sub_and_test(k, page, head, refs).then_some(head))
}

pub(super) fn sub_and_test(k: &Kernel, page: PageRef, head: Pfn, refs: i32) -> bool {
    put_uses(k, page);
    let refcount = k.page_ref_add(head, -refs);
    counted(k, head, refcount);
    k.emit(Event::Put { pfn: head, refs, refcount });
    refcount == 0
}

/// Tells the oracles that a reference of generation `page.gen_` goes.
fn put_uses(k: &Kernel, page: PageRef) {
    let Page { gen_: now, owner, .. } = k.peek_page(page.pfn);
    let Contents { value, written } = k.peek_memory(page.pfn);
    k.emit(Event::Use { kind: UseKind::Put, pfn: page.pfn, took: page.gen_, now, owner, value, written, at: None });
}
