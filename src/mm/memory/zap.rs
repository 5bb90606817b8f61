// SPDX-License-Identifier: GPL-2.0-or-later
//! Unmapping: of an area, and of all areas that show a file.

use super::{add_mm_counter, vm_normal_page};
use crate::fixes::Fix;
use crate::kernel::{down_read, enter, spin_unlock, up_read};
use crate::limits::*;
use crate::mm::huge_memory::{__split_huge_pmd, zap_huge_pmd};
use crate::mm::hugetlb::__unmap_hugepage_range;
use crate::mm::mm_types::*;
use crate::mm::mmu_gather::*;
use crate::mm::mmu_notifier::*;
use crate::mm::page_writeback::set_page_dirty;
use crate::mm::pgtable::*;
use crate::mm::rmap::{RmapOrder, next_in_rmap_order, page_remove_rmap, rmap_order};
use crate::mm::swap::put_page;
use crate::mm::swapfile::free_swap_and_cache;
use crate::trace::Notify;
use std::ops::Range;

/// Clears the entries of pages `start..end` of an area; pages are freed by the gather.
///
/// Linux: unmap_page_range().  Holds mmap_lock, or the mapping's i_mmap_rwsem.
pub(crate) async fn unmap_page_range(k: &Kernel, tlb: &mut MmuGather, vma: &Vma, start: u8, end: u8, details: Zap) {
    enter!(k);
    if vma.flags.contains(VmFlags::HUGETLB) {
        return __unmap_hugepage_range(k, tlb, vma, start, end).await;
    }
    let mut va = start;
    while va < end {
        let p = PmdPtr::of(vma.mm, va);
        let next = (p.base() + PTRS_PER_PTE as u8).min(end);
        let from = std::mem::replace(&mut va, next);
        let mut pmd = pmdp_get_lockless(k, p).await;
        if pmd.maps_huge() {
            if next - from < HPAGE_PMD_NR as u8 {
                __split_huge_pmd(k, vma, p, None).await;
            } else if zap_huge_pmd(k, tlb, vma, p).await {
                continue;
            }
            // Split, or somebody was faster: by now there may be a table.
            pmd = pmdp_get_lockless(k, p).await;
        }
        if let Some(table) = pmd.table_nr() {
            zap_pte_range(k, tlb, vma, table, from..next, details).await;
        }
    }
}

/// Clears ptes of one table.
///
/// ```text
///   zap                          another CPU                truncation, writeback
///   1. clear a dirty pte
///   2. dirty its page
///                                a. store through its TLB
///                                                           b. take ptl: no entry, the page is as
///   3. unlock, no flush yet                                    clean as it will ever be
/// ```
///
/// So who cleared a dirty pte of a file's page flushes before ptl goes, and counts the page as mapped until
/// then (since v6.2): what nobody maps, writeback does not look for.
async fn zap_pte_range(k: &Kernel, tlb: &mut MmuGather, vma: &Vma, table: u8, range: Range<u8>, details: Zap) {
    enter!(k);
    let Range { start: mut va, end } = range;
    let start_pte = PtePtr::of(k, table, va);
    while va < end {
        let mut force_flush = false;
        let mut delayed = [None; PTRS_PER_PTE];
        pte_offset_map_lock(k, start_pte).await;
        while va < end {
            let p = PtePtr::of(k, table, va);
            va += 1;
            let pte = ptep_get(k, p);
            if !pte.present() && !pte.none() {
                zap_nonpresent_pte(k, vma, p, pte, details).await;
            }
            if !pte.present() || !should_zap_page(k, vma, va - 1, pte, details) {
                continue;
            }
            let gen_ = pte_gen(k, p);
            let pte = ptep_get_and_clear(k, p).await;
            tlb.range(va - 1, va);
            let Some(pfn) = vm_normal_page(k, vma, va - 1, pte) else {
                continue; // a pfn mapping: nobody holds a reference
            };
            let mut delay_rmap = false;
            if pte.dirty() && !k.folio_test_anon(pfn) {
                set_page_dirty(k, k.compound_head(pfn)).await;
                force_flush |= k.fixed(Fix::ZapFlushDirty);
                delay_rmap = k.fixed(Fix::ZapFlushDirty) && k.fixed(Fix::DelayRmap);
            }
            add_mm_counter(k, vma.mm, pfn, -1);
            match delay_rmap {
                true => delayed[p.i as usize] = Some(pfn),
                false => page_remove_rmap(k, pfn).await,
            }
            if tlb.remove_page(PageRef { pfn, gen_ }) {
                force_flush = true;
                break;
            }
        }
        if force_flush {
            tlb_flush_mmu_tlbonly(k, tlb).await;
            for pfn in delayed.into_iter().flatten() {
                page_remove_rmap(k, pfn).await; // tlb_flush_rmaps()
            }
        }
        spin_unlock(k, ptl(table));
        if force_flush {
            tlb_flush_mmu(k, tlb).await;
        }
    }
}

/// Clears an entry whose page is elsewhere: in swap, under migration, with a device, or broken.
async fn zap_nonpresent_pte(k: &Kernel, vma: &Vma, p: PtePtr, pte: Pte, details: Zap) {
    enter!(k);
    if let Some(slot) = pte.swap_slot() {
        if details.even_cows {
            ptep_get_and_clear(k, p).await;
            free_swap_and_cache(k, slot).await;
        }
        return;
    }
    if pte.is_migration() || pte.is_device_private() {
        if !details.even_cows && k.folio_test_anon(pte.pfn()) {
            return;
        }
        add_mm_counter(k, vma.mm, pte.pfn(), -1);
    }
    if pte.is_device_private() {
        let page = PageRef { pfn: pte.pfn(), gen_: pte_gen(k, p) };
        ptep_get_and_clear(k, p).await;
        page_remove_rmap(k, page.pfn).await;
        return put_page(k, page).await; // no CPU has a translation
    }
    if pte.is_hwpoison() && !details.even_cows {
        return;
    }
    ptep_get_and_clear(k, p).await;
}

/// Page frames and pages of files always, private copies if the caller wants them too.
fn should_zap_page(k: &Kernel, vma: &Vma, va: u8, pte: Pte, details: Zap) -> bool {
    details.even_cows || vm_normal_page(k, vma, va, pte).is_none_or(|pfn| !k.folio_test_anon(pfn))
}

/// What to leave alone.  Linux: struct zap_details.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Zap {
    /// Private copies of file pages go too.
    even_cows: bool,
}

impl Zap {
    /// Everything goes.
    pub(crate) const ALL: Zap = Zap { even_cows: true };
}

/// Unmaps a range of one area, with a gather of its own.
pub(crate) async fn zap_page_range_single(k: &Kernel, vma: &Vma, start: u8, end: u8, details: Zap) {
    enter!(k);
    let mut tlb = tlb_gather_mmu(k, vma.mm).await;
    let range = MmuNotifierRange::new(Notify::Clear, vma.mm, start, end);
    if !k.fixed(Fix::NotifierStartLate) {
        mmu_notifier_invalidate_range_start(k, &range).await;
    }
    unmap_page_range(k, &mut tlb, vma, start, end, details).await;
    if k.fixed(Fix::NotifierStartLate) {
        mmu_notifier_invalidate_range_start(k, &range).await;
    }
    mmu_notifier_invalidate_range_end(k, &range).await;
    tlb_finish_mmu(k, tlb).await;
}

/// Unmaps pages `start..end` of a mapping from every area that shows them; `even_cows`: private
/// copies too.
pub(crate) async fn unmap_mapping_range(k: &Kernel, mapping: u8, start: u8, end: u8, even_cows: bool) {
    enter!(k);
    down_read(k, i_mmap_rwsem(mapping)).await;
    let mut after = None;
    while let Some(vma) = mapping_next_vma(k, mapping, start, end, after) {
        after = Some(rmap_order(k, &vma));
        let first = vma.start + start.saturating_sub(vma.pgoff);
        let last = vma.end.min(vma.start + (end - vma.pgoff.min(end)));
        zap_page_range_single(k, &vma, first, last, Zap { even_cows }).await;
    }
    up_read(k, i_mmap_rwsem(mapping));
}

/// Whether any area shows a page of a mapping; lockless in the kernel.
pub(crate) async fn mapping_mapped(k: &Kernel, mapping: u8) -> bool {
    down_read(k, i_mmap_rwsem(mapping)).await;
    let mapped = mapping_next_vma(k, mapping, 0, u8::MAX, None).is_some();
    up_read(k, i_mmap_rwsem(mapping));
    mapped
}

/// The next area behind `after` that shows some of pages `start..end`.  Linux: vma_interval_tree_iter_next().
pub(crate) fn mapping_next_vma(k: &Kernel, mapping: u8, start: u8, end: u8, after: Option<RmapOrder>) -> Option<Vma> {
    let shows = |v: &Vma| v.mapping == mapping && v.pgoff < end && v.pgoff + (v.end - v.start) > start;
    next_in_rmap_order(k, i_mmap_rwsem(mapping), after, shows)
}
