// SPDX-License-Identifier: GPL-2.0-or-later
//! The lockless path: no area is looked at, only bits of entries protect.

use super::*;
use crate::fixes::Fix;
use crate::kernel::{irqs_disabled, local_irq_restore, local_irq_save};
use crate::mm::memremap::{get_dev_pagemap, put_dev_pagemap};
use crate::mm::pgtable::*;

/// What one walk looks for.
#[derive(Clone, Copy)]
struct Walk {
    mm: u8,
    flags: Foll,
}

/// Pins `nr` pages from `start` of the current address space: lockless as far as that goes, then
/// the slow path for the rest.
///
/// Returns how many; fewer than asked if some could be had.
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
    lockless_pages_from_mm(k, Walk { mm, flags }, start, nr, pages).await;
    let got = pages.len();
    if got == nr {
        return Ok(());
    }
    match get_user_pages(k, start + got, nr - got, flags, pages).await {
        Err(_) if got > 0 => Ok(()),
        ret => ret,
    }
}

async fn lockless_pages_from_mm(k: &Kernel, w: Walk, start: u8, nr: u8, pages: &mut Pages) {
    enter!(k);
    let pin = w.flags.contains(Foll::PIN);
    let mut seq = 0;
    if pin {
        seq = k.step(obj::write_protect_seq(w.mm), Access::Read, || k.write_protect_seq(w.mm)).await;
        if seq % 2 != 0 {
            return; // fork is write-protecting
        }
    }
    local_irq_save(k).await;
    gup_pgd_range(k, w, start, start + nr, pages).await;
    local_irq_restore(k);
    if pin && k.step(obj::write_protect_seq(w.mm), Access::Read, || k.write_protect_seq(w.mm)).await != seq {
        unpin_user_pages(k, pages, w.flags.pin()).await;
        pages.truncate(0);
    }
}

async fn gup_pgd_range(k: &Kernel, w: Walk, start: u8, end: u8, pages: &mut Pages) {
    enter!(k);
    let mut va = start;
    while va < end {
        let pmdp = PmdPtr::of(w.mm, va);
        let next = (pmdp.base() + PTRS_PER_PTE as u8).min(end);
        let pmd = pmdp_get_lockless(k, pmdp).await;
        let more = match pmd.table_nr() {
            _ if !pmd.present() => false,
            Some(table) => gup_fast_pte_range(k, w, table, va, next, pages).await,
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
///   GUP-fast                          whoever changes the pte
///   1. read the pte
///   2. take a reference               a. clear the pte
///   3. read the pte again, or drop    b. look at the reference count
/// ```
///
/// Whichever of 2 and a comes first, 3 or b sees the other.  Interrupts are off, so that the table
/// cannot go; the page can, and its frame may be somebody else's by 2.
///
/// An architecture without a special bit cannot tell a page frame from a page, and takes no pte.
async fn gup_fast_pte_range(k: &Kernel, w: Walk, table: u8, start: u8, end: u8, pages: &mut Pages) -> bool {
    enter!(k);
    assert!(irqs_disabled(k));
    if !k.fixed(Fix::PteSpecial) {
        return false; // nothing would tell a page from a page frame
    }

    for va in start..end {
        let ptep = PtePtr::of(k, table, va);
        let pte = ptep_get_lockless(k, ptep).await;
        let mut entry = pte_gen(k, ptep);

        if !pte.access_permitted(w.flags.contains(Foll::WRITE)) {
            return false;
        }
        if pte.devmap() {
            if w.flags.contains(Foll::LONGTERM) || !get_dev_pagemap(k, pte.pfn()).await {
                return false;
            }
        } else if pte.special() {
            return false; // a page frame, not a page
        }
        let grabbed = match pfn_has_page(k, pte.pfn()) {
            true => try_grab_compound_head(k, pte.pfn(), 1, w.flags).await,
            false => None,
        };
        if pte.devmap() {
            put_dev_pagemap(k).await;
        }
        let Some(page) = grabbed else {
            return false;
        };
        if k.fixed(Fix::GupFastRecheckPte) {
            if pte != ptep_get_lockless(k, ptep).await {
                gup_put_folio(k, page, 1, w.flags).await;
                return false;
            }
            entry = pte_gen(k, ptep);
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
    if !pmd.access_permitted(w.flags.contains(Foll::WRITE)) {
        return false;
    }
    if pmd.special() && k.fixed(Fix::PmdSpecial) {
        return false;
    }
    if pmd.devmap() {
        // No driver here has a pgmap of huge entries: there is nothing to pin.
        if get_dev_pagemap(k, pmd.pfn()).await {
            put_dev_pagemap(k).await;
        }
        return false;
    }
    if !pfn_has_page(k, pmd.pfn()) {
        return false;
    }
    let refs = (end - start) as i32;
    let Some(head) = try_grab_compound_head(k, pmd.pfn(), refs, w.flags).await else {
        return false;
    };
    let mut taken = Pages::default();
    for va in start..end {
        let pfn = pmd.pfn().add((va - pmdp.base()) as usize);
        taken.push(PageRef { pfn, gen_: k.page_gen(pfn) });
    }
    if k.fixed(Fix::GupFastRecheckPte) && pmd != pmdp_get_lockless(k, pmdp).await {
        gup_put_folio(k, head, refs, w.flags).await;
        return false;
    }
    let entries = pmd_gens(k, pmdp);
    for (va, &page) in (start..end).zip(taken.as_slice()) {
        record_page(k, pages, (w.mm, va), page, entries[(va - pmdp.base()) as usize], w.flags);
    }
    true
}

/// Device memory has no struct page to look at; the kernel would take whatever lies there.
fn pfn_has_page(k: &Kernel, pfn: Pfn) -> bool {
    if !pfn.valid() {
        k.emit(Event::Bug { what: "wild-memory-access", pfn: Some(pfn) });
    }
    pfn.valid()
}

/// Resolves the head, takes references of it, and looks whether it still is the head.
async fn try_grab_compound_head(k: &Kernel, pfn: Pfn, refs: i32, flags: Foll) -> Option<PageRef> {
    enter!(k);
    let head = k.step(obj::page(pfn, 1), Access::Read, || k.compound_head(pfn)).await;
    if !try_grab_folio(k, head, refs, flags).await {
        return None;
    }
    let page = PageRef { pfn, gen_: k.page_gen(pfn) };
    if head != pfn && k.step(obj::page(pfn, 1), Access::Read, || k.compound_head(pfn)).await != head {
        gup_put_folio(k, PageRef { pfn: head, gen_: k.page_gen(head) }, refs, flags).await;
        return None;
    }
    Some(page)
}
