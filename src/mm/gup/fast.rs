// SPDX-License-Identifier: GPL-2.0-or-later
//! The lockless path: no area is looked at, only bits of entries protect.
//!
//! Names are those of the newest kernel.  Before v6.10 `gup_fast*()` were lockless_pages_from_mm(),
//! gup_pgd_range(), gup_pte_range() and gup_huge_pmd(), before v5.18 try_grab_folio_fast(),
//! try_get_folio() and gup_put_folio() try_grab_compound_head(), try_get_compound_head() and
//! put_compound_head().

use super::*;
use crate::kernel::{irqs_disabled, local_irq_restore, local_irq_save};
use crate::mm::address_space::mapping_can_writeback;
use crate::mm::huge_memory::pfn_has_page;
use crate::mm::memremap::{get_dev_pagemap, is_fsdax_page, is_zone_device_page};
use crate::mm::pgtable::*;
use crate::mm::swap::folio_put_refs;

/// What one walk looks for.
#[derive(Clone, Copy)]
struct Walk {
    mm: u8,
    flags: Foll,
    /// Only what may be written.
    write: bool,
}

/// Pins `nr` pages from `start` of the current address space: lockless as far as that goes, then
/// the slow path for the rest.
///
/// Returns how many; fewer than asked if some could be had.  Linux: gup_fast_fallback(), which
/// pin_user_pages_fast() calls too.
///
/// # Errors
/// Those of [`get_user_pages`], if no page was had before.
pub(crate) async fn get_user_pages_fast(
    k: &Kernel,
    start: u8,
    nr: u8,
    flags: Foll,
    pages: &mut Pages,
) -> Result<(), Errno> {
    enter!(k);
    let mm = k.current_mm();
    if flags.contains(Foll::PIN) {
        k.set_has_pinned(mm).await;
    }
    // In v5.8 to read, too: what is shared would have to be copied first.
    let write = flags.contains(Foll::WRITE) || k.fixed(Fix::GupForceCow);
    gup_fast(k, Walk { mm, flags, write }, start, nr, pages).await;
    let got = pages.len();
    if got == nr {
        return Ok(());
    }
    match get_user_pages(k, start + got, nr - got, flags, pages).await {
        Err(_) if got > 0 => Ok(()),
        ret => ret,
    }
}

async fn gup_fast(k: &Kernel, w: Walk, start: u8, nr: u8, pages: &mut Pages) {
    enter!(k);
    let pin = w.flags.contains(Foll::PIN) && k.fixed(Fix::GupFastForkSeq);
    let mut seq = 0;
    if pin {
        seq = k.step(obj::write_protect_seq(w.mm), Access::Read, || k.write_protect_seq(w.mm)).await;
        if seq % 2 != 0 {
            return; // fork is write-protecting
        }
    }
    local_irq_save(k).await;
    gup_fast_pgd_range(k, w, start, start + nr, pages).await;
    local_irq_restore(k);
    if pin && k.step(obj::write_protect_seq(w.mm), Access::Read, || k.write_protect_seq(w.mm)).await != seq {
        gup_fast_unpin_user_pages(k, pages, w.flags.pin()).await;
        pages.truncate(0);
    }
    if w.flags.contains(Foll::PIN) {
        sanity_check_pinned_pages(k, pages.as_slice());
    }
}

async fn gup_fast_pgd_range(k: &Kernel, w: Walk, start: u8, end: u8, pages: &mut Pages) {
    enter!(k);
    let mut va = start;
    while va < end {
        let pmdp = PmdPtr::of(w.mm, va);
        let next = (pmdp.base() + PTRS_PER_PTE as u8).min(end);
        let pmd = pmdp_get_lockless(k, pmdp).await;
        let more = match pmd.table_nr() {
            _ if !pmd.present() => false,
            Some(table) => gup_fast_pte_range(k, w, (pmd, pmdp, table), va, next, pages).await,
            None => gup_fast_pmd_leaf(k, w, pmd, pmdp, va, next, pages).await,
        };
        if !more {
            return;
        }
        va = next;
    }
}

/// Pins the pages behind `start..end` of one page table without a lock.
///
/// ```text
///   GUP-fast                              whoever changes the pte
///   1. read the pte
///   2. take a reference                   a. clear the pte
///   3. read pmd and pte again, or drop    b. look at the reference count
/// ```
///
/// Whichever of 2 and a comes first, 3 or b sees the other.  Interrupts are off, so that the table
/// cannot go; the page can, and its frame may be somebody else's by 2.
///
/// The pmd is for khugepaged, which takes away a table with its ptes in place.
///
/// An architecture without a special bit cannot tell a page frame from a page, and takes no pte.
async fn gup_fast_pte_range(
    k: &Kernel,
    w: Walk,
    (pmd, pmdp, table): (Pte, PmdPtr, u8),
    start: u8,
    end: u8,
    pages: &mut Pages,
) -> bool {
    enter!(k);
    assert!(irqs_disabled(k));
    if !k.fixed(Fix::PteSpecial) {
        return false; // nothing would tell a page from a page frame
    }

    for va in start..end {
        let ptep = PtePtr::of(k, table, va);
        let pte = ptep_get_lockless(k, ptep).await;
        let mut entry = pte_gen(k, ptep);

        if !pte.access_permitted(w.write) {
            return false;
        }
        if pte.devmap() {
            if w.flags.contains(Foll::LONGTERM) || !get_dev_pagemap(pte.pfn()) {
                return false; // could be file system dax: the slow path knows
            }
        } else if pte.special() {
            return false; // a page frame, not a page
        }
        if !pfn_has_page(k, pte.pfn()) {
            return false;
        }
        let Some((folio, page)) = try_grab_folio_fast(k, pte.pfn(), 1, w.flags).await else {
            return false;
        };
        if k.fixed(Fix::GupRecheckPmd) && pmd != pmdp_get_lockless(k, pmdp).await {
            gup_put_folio(k, folio, None, 1, w.flags).await;
            return false;
        }
        if k.fixed(Fix::GupFastRecheckPte) {
            if pte != ptep_get_lockless(k, ptep).await {
                gup_put_folio(k, folio, None, 1, w.flags).await;
                return false;
            }
            entry = pte_gen(k, ptep);
        }
        if k.compound_head(page.pfn) != folio.pfn {
            k.emit(Event::Bug { what: "vm-bug-on-compound-head", pfn: Some(page.pfn) }); // to v5.17
        }
        if !gup_fast_folio_allowed(k, folio.pfn, w.flags).await {
            gup_put_folio(k, folio, None, 1, w.flags).await;
            return false;
        }
        if !pte.write() && gup_must_unshare(k, page.pfn, w.flags).await {
            gup_put_folio(k, folio, None, 1, w.flags).await;
            return false;
        }
        record_page(k, pages, (w.mm, va), page, entry, w.flags);
    }
    true
}

/// Pins the pages behind `start..end` of a leaf: all their references go to the head of the first page.
///
/// A leaf without a special or devmap bit counts as a compound page, whatever it is.
async fn gup_fast_pmd_leaf(k: &Kernel, w: Walk, pmd: Pte, pmdp: PmdPtr, start: u8, end: u8, pages: &mut Pages) -> bool {
    enter!(k);
    let mut entries = pmd_gens(k, pmdp);
    if !pmd.access_permitted(w.write) {
        return false;
    }
    if pmd.special() && k.fixed(Fix::PmdSpecial) {
        return false;
    }
    if pmd.devmap() {
        // The dax device has no huge entries here, and nobody else a pgmap: gup_fast_devmap_pmd_leaf()
        // gets none.
        return false;
    }
    if !pfn_has_page(k, pmd.pfn()) {
        return false;
    }
    let refs = (end - start) as i32;
    let Some((folio, _)) = try_grab_folio_fast(k, pmd.pfn(), refs, w.flags).await else {
        return false;
    };
    let mut taken = Pages::default();
    for va in start..end {
        let pfn = pmd.pfn().add((va - pmdp.base()) as usize);
        taken.push(PageRef { pfn, gen_: k.page_gen(pfn) });
    }
    if k.fixed(Fix::GupFastRecheckPte) {
        if pmd != pmdp_get_lockless(k, pmdp).await {
            gup_put_folio(k, folio, None, refs, w.flags).await;
            return false;
        }
        entries = pmd_gens(k, pmdp);
    }
    if !pmd.write() && gup_must_unshare(k, pmd.pfn(), w.flags).await {
        gup_put_folio(k, folio, None, refs, w.flags).await;
        return false;
    }
    for (va, &page) in (start..end).zip(taken.as_slice()) {
        record_page(k, pages, (w.mm, va), page, entries[(va - pmdp.base()) as usize], w.flags);
    }
    true
}

/// Whether a page may be pinned without a look at its area: for long, no block of a file on dax; to write it
/// for long, not one of a file other than shmem, and so none of the dax device.
async fn gup_fast_folio_allowed(k: &Kernel, folio: Pfn, flags: Foll) -> bool {
    if flags.contains(Foll::LONGTERM) && is_fsdax_page(folio) {
        return false; // folio_is_longterm_pinnable(), since v6.15; before its entry says so
    }
    if !flags.contains(Foll::LONGTERM_WRITE) {
        return true;
    }
    if is_zone_device_page(folio) {
        return false;
    }
    if !k.fixed(Fix::LongtermNoFile) || k.folio_test_anon(folio) {
        return true;
    }
    let mapping = k.step(obj::page(folio, 1), Access::Read, || k.folio_mapping_lockless(folio)).await;
    mapping != NO_MAPPING && !mapping_can_writeback(mapping)
}

/// Takes `refs` references of the head of a page, unless it has none, and looks whether it still is
/// the head; the head and the page, with the generations the references are of.
///
/// ```text
///   GUP-fast                              whoever splits or frees the compound page
///   1. resolve the head
///                                         a. the page is none of its tails any more
///                                         b. the old head is somebody else's
///   2. take a reference: of a stranger
///   3. resolve the head again, or drop
/// ```
///
/// From v5.14 to v5.17 it gave up instead of trying again.
async fn try_get_folio(k: &Kernel, pfn: Pfn, refs: i32) -> Option<(PageRef, PageRef)> {
    loop {
        let head = k.step(obj::page(pfn, 1), Access::Read, || k.compound_head(pfn)).await;
        if !folio_ref_try_add(k, head, refs).await {
            return None;
        }
        let now = |pfn| PageRef { pfn, gen_: k.page_gen(pfn) };
        let (folio, page) = (now(head), now(pfn));
        if !k.fixed(Fix::GupRecheckHead)
            || k.step(obj::page(pfn, 1), Access::Read, || k.compound_head(pfn)).await == head
        {
            return Some((folio, page));
        }
        folio_put_refs(k, folio, refs).await;
    }
}

/// As [`try_get_folio`], and pins it for FOLL_PIN: that is another access.
///
/// Before [`Fix::GupRecheckHead`] a page without an exact pin count got all at once, by what its head
/// was before.
async fn try_grab_folio_fast(k: &Kernel, pfn: Pfn, refs: i32, flags: Foll) -> Option<(PageRef, PageRef)> {
    enter!(k);
    if !flags.contains(Foll::PIN) {
        return try_get_folio(k, pfn, refs).await;
    }
    if k.fixed(Fix::GupRecheckHead) {
        let (folio, page) = try_get_folio(k, pfn, refs).await?;
        folio_add_pins(k, folio.pfn, refs).await;
        return Some((folio, page));
    }
    let look = || if has_pincount(k, k.compound_head(pfn)) { 1 } else { GUP_PIN_COUNTING_BIAS };
    let weight = k.step(obj::page(pfn, 1), Access::Read, look).await;
    let (folio, page) = try_get_folio(k, pfn, refs * weight).await?;
    let exact = || has_pincount(k, folio.pfn).then(|| k.page_pincount_add(folio.pfn, refs));
    k.step(obj::page(folio.pfn, 1), Access::Write, exact).await;
    Some((folio, page))
}
