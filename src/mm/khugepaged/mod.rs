// SPDX-License-Identifier: GPL-2.0-or-later
//! Putting small pages together to a huge one.  Linux: mm/khugepaged.c.
//!
//! ```text
//!   khugepaged                                GUP-fast
//!                                             1. read the pmd: a table
//!   a. clear the pmd, flush
//!   b. wait for all that have interrupts off
//!   c. look at the reference counts           2. read the pte, take a reference
//!   d. copy, drop the old pages               3. read pmd and pte again, or drop
//! ```
//!
//! The ptes stay as they are until d.  So 2 after c is seen by neither, but for b or the pmd in 3.
//!
//! Kept:       an area is looked at again under mmap_lock for writing; what cannot be had is put back.
//!             Reference counts are looked at twice: by the scan, before anybody is told, and in c.
//! Simplified: a call collapses what it names, be it khugepaged's scan or MADV_COLLAPSE (v6.1).
//! Left out:   swapped pages, isolation from the LRU: the page's lock is enough.

mod file;

use super::highmem::{clear_user_highpage, copy_user_highpage};
use super::huge_memory::*;
use super::memory::vm_normal_page;
use super::mm_types::*;
use super::mmap::find_vma;
use super::mmu_gather::{flush_tlb_range, tlb_remove_table_sync_one};
use super::mmu_notifier::*;
use super::page_alloc::alloc_pages;
use super::pgtable::*;
use super::rmap::{folio_mapcount, page_remove_rmap};
use super::swap::put_page;
use crate::fixes::Fix;
use crate::kernel::*;
use crate::limits::*;
use crate::trace::{Access, Notify, Owner, Pfn, obj};

/// What the ptes map, and the heads of these pages, which are locked.
#[derive(Default)]
struct Isolated {
    ptes: [(Pte, u16); HPAGE_PMD_NR],
    heads: [Pfn; HPAGE_PMD_NR],
    nr: usize,
}

impl Isolated {
    fn heads(&self) -> &[Pfn] {
        &self.heads[..self.nr]
    }
}

/// Collapses the pmd that holds page `addr` of the current address space, or the pages of the file that it shows.
///
/// # Errors
/// Of a file those of [`file::hpage_collapse_scan_file`].
/// -EINVAL: no anonymous memory all over the pmd, no table, or no writable page; -EAGAIN: some page is
/// locked, moves, or is referenced by more than entries; -ENOMEM.
pub(crate) async fn collapse_huge_page(k: &Kernel, addr: u8) -> Result<(), Errno> {
    enter!(k);
    let mm = k.current_mm();
    let p = PmdPtr::of(mm, addr);
    down_read(k, mmap_lock(mm)).await;
    if let Some((mapping, index)) = file::file_area(k, p) {
        up_read(k, mmap_lock(mm));
        return file::hpage_collapse_scan_file(k, p, mapping, index).await;
    }
    let ret = match (hugepage_vma_revalidate(k, p), find_pmd_or_thp_or_none(k, p).await) {
        (Ok(vma), Ok(Some(table))) => hpage_collapse_scan_pmd(k, &vma, p, table).await.map(|()| true),
        (Ok(_), Ok(None)) => Ok(false),
        (Err(errno), _) | (_, Err(errno)) => Err(errno),
    };
    up_read(k, mmap_lock(mm));
    if !ret? {
        return Ok(());
    }
    let folio = alloc_pages(k, HPAGE_PMD_ORDER, true, Owner::Anon(mm)).await.ok_or(Errno::ENOMEM)?;
    down_write(k, mmap_lock(mm)).await;
    let ret = match (hugepage_vma_revalidate(k, p), find_pmd_or_thp_or_none(k, p).await) {
        (Ok(vma), Ok(Some(table))) => collapse_table(k, &vma, p, table, folio).await,
        (Ok(_), Ok(None)) => Err(Errno::EINVAL),
        (Err(errno), _) | (_, Err(errno)) => Err(errno),
    };
    up_write(k, mmap_lock(mm));
    if ret.is_err() {
        put_page(k, folio).await;
    }
    ret
}

/// The area, if it is anonymous memory all over the pmd.  mmap_lock is held.
fn hugepage_vma_revalidate(k: &Kernel, p: PmdPtr) -> Result<Vma, Errno> {
    find_vma(k, p.mm, p.base())
        .filter(|vma| thp_vma_suitable(vma, p) && vma.is_anonymous() && vma.anon_vma)
        .ok_or(Errno::EINVAL)
}

/// The table that the pmd points to; `None`: it is a leaf already.
async fn find_pmd_or_thp_or_none(k: &Kernel, p: PmdPtr) -> Result<Option<u8>, Errno> {
    enter!(k);
    let pmd = pmdp_get_lockless(k, p).await;
    if pmd.is_leaf() { Ok(None) } else { pmd.table_nr().map(Some).ok_or(Errno::EINVAL) }
}

/// Whether it is worth a try: no page is elsewhere, or referenced by more than entries.
async fn hpage_collapse_scan_pmd(k: &Kernel, vma: &Vma, p: PmdPtr, table: u8) -> Result<(), Errno> {
    enter!(k);
    let (mut writable, mut suitable) = (false, true);
    spin_lock(k, ptl(table)).await;
    for va in p.base()..p.base() + HPAGE_PMD_NR as u8 {
        let pte = ptep_get(k, PtePtr::of(k, table, va));
        if pte.none() {
            continue;
        }
        let pfn = if pte.present() { vm_normal_page(k, vma, va, pte) } else { None };
        writable |= pte.write();
        suitable = match pfn {
            Some(pfn) => !k.fixed(Fix::CollapseScanCount) || is_refcount_suitable(k, k.compound_head(pfn)).await,
            None => false,
        };
        if !suitable {
            break;
        }
    }
    spin_unlock(k, ptl(table));
    match (suitable, writable) {
        (false, _) => Err(Errno::EAGAIN),
        (true, false) => Err(Errno::EINVAL),
        (true, true) => Ok(()),
    }
}

/// The second half of collapse_huge_page(): only GUP-fast can still walk the table.
async fn collapse_table(k: &Kernel, vma: &Vma, p: PmdPtr, table: u8, folio: PageRef) -> Result<(), Errno> {
    let anon_vma = anon_vma_rwsem(k.anon_vma(vma.mm));
    down_write(k, anon_vma).await;
    let range = MmuNotifierRange::new(Notify::Clear, p.mm, p.base(), p.base() + HPAGE_PMD_NR as u8);
    mmu_notifier_invalidate_range_start(k, &range).await;
    spin_lock(k, page_table_lock(p.mm)).await;
    pmdp_collapse_flush(k, p).await;
    spin_unlock(k, page_table_lock(p.mm));
    mmu_notifier_invalidate_range_end(k, &range).await;
    if k.fixed(Fix::CollapseIpi) {
        tlb_remove_table_sync_one(k).await;
    }

    let mut isolated = Isolated::default();
    spin_lock(k, ptl(table)).await;
    let ret = __collapse_huge_page_isolate(k, vma, p, table, &mut isolated).await;
    spin_unlock(k, ptl(table));
    if ret.is_err() {
        release_pte_pages(k, &isolated);
        spin_lock(k, page_table_lock(p.mm)).await;
        set_pmd_at(k, p, Pte::table(table)).await;
        spin_unlock(k, page_table_lock(p.mm));
        up_write(k, anon_vma);
        return ret;
    }
    // All pages are locked: whoever looks for their entries by anon_vma comes later.
    up_write(k, anon_vma);

    __collapse_huge_page_copy(k, vma, p, table, folio, &isolated).await;
    spin_lock(k, page_table_lock(p.mm)).await;
    inc_nr_ptes(k, p.mm, -1);
    map_anon_folio_pmd(k, vma, p, folio, table).await;
    spin_unlock(k, page_table_lock(p.mm));
    Ok(())
}

async fn pmdp_collapse_flush(k: &Kernel, p: PmdPtr) -> Pte {
    enter!(k);
    let pmd = pmdp_huge_get_and_clear(k, p).await;
    flush_tlb_range(k, p.mm, p.base(), p.base() + HPAGE_PMD_NR as u8).await;
    pmd
}

/// Locks all pages behind a table, unless somebody has one locked, moves it or holds it by more than an entry.
async fn __collapse_huge_page_isolate(
    k: &Kernel,
    vma: &Vma,
    p: PmdPtr,
    table: u8,
    isolated: &mut Isolated,
) -> Result<(), Errno> {
    enter!(k);
    let mut writable = false;
    for va in p.base()..p.base() + HPAGE_PMD_NR as u8 {
        let ptep = PtePtr::of(k, table, va);
        let pte = ptep_get(k, ptep);
        isolated.ptes[ptep.i as usize] = (pte, pte_gen(k, ptep));
        if pte.none() {
            continue;
        }
        let pfn = if pte.present() { vm_normal_page(k, vma, va, pte) } else { None };
        let head = k.compound_head(pfn.ok_or(Errno::EAGAIN)?);
        writable |= pte.write();
        if isolated.heads().contains(&head) {
            continue;
        }
        if !trylock(k, folio_lock(head)).await {
            return Err(Errno::EAGAIN);
        }
        isolated.heads[isolated.nr] = head;
        isolated.nr += 1;
        if !k.fixed(Fix::CollapseCountEarly) && !is_refcount_suitable(k, head).await {
            return Err(Errno::EAGAIN);
        }
    }
    if writable { Ok(()) } else { Err(Errno::EINVAL) }
}

/// Whether a page is referenced by entries alone.
async fn is_refcount_suitable(k: &Kernel, head: Pfn) -> bool {
    enter!(k);
    let expected = folio_mapcount(k, head).await;
    k.step(obj::page(head, 1), Access::Read, || k.page_count(head)).await == expected
}

fn release_pte_pages(k: &Kernel, isolated: &Isolated) {
    for &head in isolated.heads() {
        mutex_unlock(k, folio_lock(head));
    }
}

/// Copies what the ptes map, and then clears them and drops the pages.
async fn __collapse_huge_page_copy(k: &Kernel, vma: &Vma, p: PmdPtr, table: u8, folio: PageRef, isolated: &Isolated) {
    enter!(k);
    for (i, (pte, gen_)) in isolated.ptes.into_iter().enumerate() {
        let to = PageRef { pfn: folio.pfn.add(i), ..folio };
        match pte.none() {
            true => clear_user_highpage(k, to).await,
            false => copy_user_highpage(k, to, PageRef { pfn: pte.pfn(), gen_ }).await,
        }
    }
    release_pte_pages(k, isolated);
    for (va, (pte, gen_)) in (p.base()..).zip(isolated.ptes).filter(|(_, (pte, _))| !pte.none()) {
        spin_lock(k, ptl(table)).await;
        ptep_get_and_clear(k, PtePtr::of(k, table, va)).await;
        add_mm_counter(k, vma.mm, pte.pfn(), -1);
        page_remove_rmap(k, pte.pfn()).await;
        spin_unlock(k, ptl(table));
        put_page(k, PageRef { pfn: pte.pfn(), gen_ }).await;
    }
}
