// SPDX-License-Identifier: GPL-2.0-or-later
//! What takes the place of the entries of a huge page that moves.  Linux: mm/rmap.c, mm/page_vma_mapped.c.
//!
//! An area maps it by a leaf, by ptes, or by some of them; a leaf is one entry, and moves as one.

use super::*;
use crate::limits::PTRS_PER_PTE;
use std::ops::Range;

/// As [`page_add_new_anon_rmap`], of a page of hugetlb.
pub(crate) fn hugetlb_add_new_anon_rmap(k: &Kernel, head: Pfn, vma: &Vma, va: u8) {
    page_add_new_anon_rmap(k, head, vma, va);
    k.init_hugetlb(head);
}

/// Takes a huge page from pages `range` of one area, all of which are its own; false: the walk ends.
pub(super) async fn unmap_folio_range(k: &Kernel, folio: PageRef, vma: &Vma, range: Range<u8>, what: Ttu) -> bool {
    let Range { start: mut va, end } = range;
    while va < end {
        let p = PmdPtr::of(vma.mm, va);
        let next = end.min(p.base() + PTRS_PER_PTE as u8);
        let pmd = pmdp_get_lockless(k, p).await;
        if pmd.is_leaf() && pmd.pfn() == folio.pfn {
            match set_pmd_migration_entry(k, p, folio).await {
                Some(true) => {}
                Some(false) => return false,
                None => continue, // split under us: its ptes are there
            }
        } else if let Some(table) = pmd.table_nr()
            && !unmap_folio_ptes(k, folio, vma, table, va..next, what).await
        {
            return false;
        }
        va = next;
    }
    true
}

/// As [`unmap_folio_range`], of what one page table maps.
async fn unmap_folio_ptes(k: &Kernel, folio: PageRef, vma: &Vma, table: u8, range: Range<u8>, what: Ttu) -> bool {
    let index = k.folio_anon_vma(folio.pfn).1;
    let mut more = true;
    spin_lock(k, ptl(table)).await;
    for va in range {
        let p = PtePtr::of(k, table, va);
        let pte = ptep_get(k, p);
        let page = PageRef { pfn: folio.pfn.add((vma.pgoff_of(va) - index) as usize), ..folio };
        if pte.present() && !pte.special() && pte.pfn() == page.pfn {
            more = unmap_pte(k, page, vma, va, p, what).await;
            if !more {
                break;
            }
        }
    }
    spin_unlock(k, ptl(table));
    more
}
