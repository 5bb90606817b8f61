// SPDX-License-Identifier: GPL-2.0-or-later
//! Pinning user pages.  Linux: mm/gup.c.
//!
//! Kept:       the lockless path with every step another CPU can see; pin-then-look-again against
//!             clear-then-look; exact pin counts of compound pages, biased ones of small pages.
//! Simplified: two page-table levels; the slow path takes one page a round; pages are given back one
//!             by one; every compound page has an exact pin count (before v5.18 not those of order 1).
//! Left out:   FOLL_FORCE, migration of pages that must not be pinned for long.

mod fast;
mod slow;

pub(crate) use fast::get_user_pages_fast;
pub(crate) use slow::{__get_user_pages, get_user_pages};

use super::memremap::{is_fsdax_page, unused_refs};
use super::mm_types::*;
use super::page_alloc::free_the_page;
use super::page_ref::{add, sub_and_test};
use super::page_writeback::{page_dirty, set_page_dirty_lock};
use super::swap::put_page;
use crate::fixes::Fix;
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
        /// FOLL_COW: a write fault has made a private copy, even if the entry may not be written.
        const COW = 16;
        /// To write it for as long as one likes.
        const LONGTERM_WRITE = Foll::PIN.bits() | Foll::WRITE.bits() | Foll::LONGTERM.bits();
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

/// folio_has_pincount(): compound pages count their pins exactly.
fn has_pincount(k: &Kernel, head: Pfn) -> bool {
    k.page_head(head)
}

/// Takes `refs` references of `head` unless it has none: then it is on its way to the allocator.
#[track_caller]
fn folio_ref_try_add(k: &Kernel, head: Pfn, refs: i32) -> impl Future<Output = bool> {
    k.step(obj::page(head, 1), Access::Write, move || {
        let counted = k.page_count(head) > unused_refs(k, head);
        if counted {
            add(k, head, refs);
        }
        counted
    })
}

/// Makes pins of `refs` references.
#[track_caller]
fn folio_add_pins(k: &Kernel, head: Pfn, refs: i32) -> impl Future<Output = ()> {
    k.step(obj::page(head, 1), Access::Write, move || match has_pincount(k, head) {
        true => k.page_pincount_add(head, refs),
        false => add(k, head, refs * (GUP_PIN_COUNTING_BIAS - 1)),
    })
}

/// Drops `refs` references that GUP took of `folio` for `page`: of that head, whatever is the page's by now.
///
/// No page: it was not handed out.  Before v6.15 such a reference does not keep a block of a file on dax.
async fn gup_put_folio(k: &Kernel, folio: PageRef, page: Option<PageRef>, refs: i32, flags: Foll) {
    enter!(k);
    let head = folio.pfn;
    let sub_and_test = |refs| {
        let now = || PageRef { pfn: head, gen_: k.page_gen(head) };
        let page = page.unwrap_or_else(|| if is_fsdax_page(head) && !k.fixed(Fix::NoDevmap) { now() } else { folio });
        sub_and_test(k, page, head, refs)
    };
    if flags.contains(Foll::PIN) {
        // An exact pin count goes first, in an access of its own.
        let unpin = k.step(obj::page(head, 1), Access::Write, || match has_pincount(k, head) {
            true => {
                k.page_pincount_add(head, -refs);
                None
            }
            false => Some(sub_and_test(refs * GUP_PIN_COUNTING_BIAS)),
        });
        match unpin.await {
            Some(true) => return free_the_page(k, head, k.folio_order(head)).await,
            Some(false) => return,
            None => {}
        }
    }
    if k.step(obj::page(head, 1), Access::Write, || sub_and_test(refs)).await {
        free_the_page(k, head, k.folio_order(head)).await;
    }
}

/// Whether somebody holds the page with FOLL_PIN; a small page with very many references looks like it.
///
/// True may be wrong, false never is.  A negative count reads as pinned.
pub(crate) fn page_maybe_dma_pinned(k: &Kernel, pfn: Pfn) -> bool {
    let head = k.compound_head(pfn);
    match has_pincount(k, head) {
        true => k.page_pincount(head) > 0,
        false => k.page_count(head) as u32 >= GUP_PIN_COUNTING_BIAS as u32,
    }
}

/// Whether a pin for reading must not share an anonymous page: its owner's next write would copy it.
async fn gup_must_unshare(k: &Kernel, pfn: Pfn, flags: Foll) -> bool {
    let fixed = k.fixed(Fix::GupUnshare) && k.fixed(Fix::WpReuseExclusive);
    if !fixed || flags.intersection(Foll::WRITE | Foll::PIN) != Foll::PIN || !k.folio_test_anon(pfn) {
        return false;
    }
    k.step(obj::page(pfn, 1), Access::Read, || !k.page_anon_exclusive(pfn)).await
}

/// PageAnonExclusive() of the page or, as long as leaves map it, of the head.
fn folio_exclusive(k: &Kernel, pfn: Pfn) -> bool {
    k.page_anon_exclusive(pfn) || k.page_anon_exclusive(k.compound_head(pfn))
}

/// A pinned anonymous page is one address space's alone.
fn sanity_check_pinned_pages(k: &Kernel, pages: &[PageRef]) {
    let shared = |p: &&PageRef| k.page_gen(p.pfn) == p.gen_ && k.folio_test_anon(p.pfn) && !folio_exclusive(k, p.pfn);
    if k.fixed(Fix::WpReuseExclusive)
        && let Some(page) = pages.iter().find(shared)
    {
        k.emit(Event::Bug { what: "vm-bug-on-pinned-page-shared", pfn: Some(page.pfn) });
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
    if pin != Pin::Get {
        sanity_check_pinned_pages(k, &[page]);
    }
    unpin_one(k, page, pin).await;
}

async fn unpin_one(k: &Kernel, page: PageRef, pin: Pin) {
    k.emit(Event::GupUnpin { pfn: page.pfn, took: page.gen_, kind: pin });
    if pin == Pin::Get {
        return put_page(k, page).await;
    }
    let head = k.step(obj::page(page.pfn, 1), Access::Read, || k.compound_head(page.pfn)).await;
    gup_put_folio(k, PageRef { pfn: head, gen_: page.gen_ }, Some(page), 1, Foll::PIN).await;
}

/// As [`unpin_user_pages`], of pages that a fork may have shared meanwhile: no sanity check.
async fn gup_fast_unpin_user_pages(k: &Kernel, pages: &Pages, pin: Pin) {
    enter!(k);
    for &page in pages.as_slice() {
        unpin_one(k, page, pin).await;
    }
}

/// Gives pages back.
pub(crate) async fn unpin_user_pages(k: &Kernel, pages: &Pages, pin: Pin) {
    enter!(k);
    for &page in pages.as_slice() {
        unpin_user_page(k, page, pin).await;
    }
}

/// As [`unpin_user_pages`]; dirties the pages first if they were written to, so that nobody takes them for
/// clean who finds them unpinned.
pub(crate) async fn unpin_user_pages_dirty_lock(k: &Kernel, pages: &Pages, pin: Pin, make_dirty: bool) {
    enter!(k);
    for &page in pages.as_slice() {
        if make_dirty && !page_dirty(k, page.pfn).await {
            set_page_dirty_lock(k, page.pfn).await;
        }
        unpin_user_page(k, page, pin).await;
    }
}
