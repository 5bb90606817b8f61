// SPDX-License-Identifier: GPL-2.0-or-later
//! Pinning user pages.  Linux: mm/gup.c.
//!
//! Kept:       the lockless path with every step another CPU can see; pin-then-look-again against
//!             clear-then-look; exact pin counts of compound pages, biased ones of small pages.
//! Simplified: two page-table levels; the slow path takes one page a round.
//! Left out:   FOLL_FORCE, unsharing, migration of pages that must not be pinned for long.

mod fast;
mod slow;

pub(crate) use fast::get_user_pages_fast;
pub(crate) use slow::get_user_pages;

use super::mm_types::*;
use super::page_alloc::free_the_page;
use super::page_ref::{add, sub_and_test};
use crate::kernel::{Errno, enter};
use crate::limits::*;
use crate::trace::{Access, Event, Pfn, Pin, obj};
use bitflags::bitflags;
use std::future::Future;

bitflags! {
    /// How to look pages up.  Linux: include/linux/mm.h.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(crate) struct Foll: u8 {
        /// FOLL_WRITE.
        const WRITE = 1;
        /// FOLL_GET: plain references.
        const GET = 2;
        /// FOLL_PIN.
        const PIN = 4;
        /// FOLL_LONGTERM.
        const LONGTERM = 8;
    }
}

impl Foll {
    /// What kind of reference results.
    pub(crate) fn pin(self) -> Pin {
        match (self.contains(Foll::PIN), self.contains(Foll::LONGTERM)) {
            (false, _) => Pin::Get,
            (true, false) => Pin::Pin,
            (true, true) => Pin::Longterm,
        }
    }
}

/// Pages that GUP handed out, at most [`BIO_MAX_VECS`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pages {
    refs: [PageRef; BIO_MAX_VECS],
    nr: u8,
}

impl Pages {
    /// The pages, in order of address.
    pub(crate) fn as_slice(&self) -> &[PageRef] {
        &self.refs[..self.nr as usize]
    }
    pub(crate) fn len(&self) -> u8 {
        self.nr
    }
    fn truncate(&mut self, nr: u8) {
        self.nr = nr;
    }
    fn push(&mut self, page: PageRef) {
        self.refs[self.nr as usize] = page;
        self.nr += 1;
    }
}

/// What one reference of these flags adds to `_refcount` of a page.
fn weight(k: &Kernel, head: Pfn, flags: Foll) -> i32 {
    let compound = k.page_head(head);
    if flags.contains(Foll::PIN) && !compound { GUP_PIN_COUNTING_BIAS } else { 1 }
}

fn pincount_add(k: &Kernel, head: Pfn, refs: i32, flags: Foll) {
    if flags.contains(Foll::PIN) && k.page_head(head) {
        k.page_pincount_add(head, refs);
    }
}

/// Takes `refs` references of `head` unless it has none: then it is on its way to the allocator.
#[track_caller]
fn try_grab_folio(k: &Kernel, head: Pfn, refs: i32, flags: Foll) -> impl Future<Output = bool> {
    k.step(obj::page(head, 1), Access::Write, move || {
        if k.page_count(head) <= 0 {
            return false;
        }
        add(k, head, refs * weight(k, head, flags));
        pincount_add(k, head, refs, flags);
        true
    })
}

/// Drops `refs` references that [`try_grab_folio`] took, of the head as it is by now.
async fn gup_put_folio(k: &Kernel, page: PageRef, refs: i32, flags: Foll) {
    enter!(k);
    let head = k.compound_head(page.pfn);
    let last = k.step(obj::page(head, 1), Access::Write, || {
        pincount_add(k, head, -refs, flags);
        sub_and_test(k, page, head, refs * weight(k, head, flags))
    });
    if last.await {
        free_the_page(k, head, k.folio_order(head)).await;
    }
}

/// Whether somebody holds the page with FOLL_PIN; a small page with very many references looks like it.
///
/// True may be wrong, false never is.  A negative count reads as pinned.
pub(crate) fn page_maybe_dma_pinned(k: &Kernel, pfn: Pfn) -> bool {
    let head = k.compound_head(pfn);
    match k.page_head(head) {
        true => k.page_pincount(head) > 0,
        false => k.page_count(head) as u32 >= GUP_PIN_COUNTING_BIAS as u32,
    }
}

/// Says that `page` was handed out for page `va`; `entry`: the generation that the entry was made for.
fn record_page(k: &Kernel, pages: &mut Pages, (mm, va): (u8, u8), page: PageRef, entry: u16, flags: Foll) {
    pages.push(page);
    let (kind, write) = (flags.pin(), flags.contains(Foll::WRITE));
    k.emit(Event::GupPin { mm, va, pfn: page.pfn, took: page.gen_, entry, kind, write });
}

/// Gives one page back: put_page() or unpin_user_page().
///
/// The head is looked up now, not remembered: for a block that is not compound that is the page
/// itself, whoever was credited.
pub(crate) async fn unpin_user_page(k: &Kernel, page: PageRef, pin: Pin) {
    enter!(k);
    k.emit(Event::GupUnpin { pfn: page.pfn, took: page.gen_, kind: pin });
    let flags = if pin == Pin::Get { Foll::GET } else { Foll::PIN };
    gup_put_folio(k, page, 1, flags).await;
}

/// Gives pages back.
pub(crate) async fn unpin_user_pages(k: &Kernel, pages: &Pages, pin: Pin) {
    enter!(k);
    for &page in pages.as_slice() {
        unpin_user_page(k, page, pin).await;
    }
}
