// SPDX-License-Identifier: GPL-2.0-or-later
//! Advice.  Linux: mm/madvise.c.

use super::huge_memory::*;
use super::hugetlb::huge_page_aligned;
use super::memory::{Zap, vm_normal_page, zap_page_range_single};
use super::mm_types::*;
use super::mmap::*;
use super::mmu_gather::*;
use super::mmu_notifier::*;
use super::pgtable::*;
use super::swapfile::{free_swap_and_cache, try_to_free_swap};
use super::vmscan::*;
use crate::kernel::{Errno, down_read, down_write, enter, mutex_unlock, spin_lock, spin_unlock, trylock};
use crate::kernel::{up_read, up_write};
use crate::limits::*;
use crate::trace::{Access, Notify, obj};
use std::ops::Range;

/// MADV_DONTNEED: the contents of pages `start..end` are not needed any more.
///
/// # Errors
/// -EINVAL: an area holds page frames (VM_PFNMAP), or the range begins inside of a hugetlb page; -ENOMEM: not all of
/// the range is mapped.
pub(crate) async fn madvise_dontneed(k: &Kernel, start: u8, end: u8) -> Result<(), Errno> {
    enter!(k);
    let mm = k.current_mm();
    down_read(k, mmap_lock(mm)).await;
    let mut ret = Ok(());
    let mut va = start;
    while va < end {
        let Some(vma) = find_vma_from(k, mm, va).filter(|vma| vma.start < end) else {
            ret = Err(Errno::ENOMEM);
            break;
        };
        if vma.flags.contains(VmFlags::PFNMAP) {
            ret = Err(Errno::EINVAL);
            break;
        }
        if vma.start > va {
            ret = Err(Errno::ENOMEM);
        }
        let (from, to) = (va.max(vma.start), end.min(vma.end));
        va = to;
        match vma.flags.contains(VmFlags::HUGETLB) {
            true if !huge_page_aligned(from) => ret = Err(Errno::EINVAL),
            true => zap_page_range_single(k, &vma, from, to - to % HPAGE_PMD_NR as u8, Zap::ALL).await,
            false => zap_page_range_single(k, &vma, from, to, Zap::ALL).await,
        }
        if ret == Err(Errno::EINVAL) {
            break;
        }
    }
    up_read(k, mmap_lock(mm));
    ret
}

/// MADV_DONTFORK and MADV_DOFORK: whether a child gets pages `start..end`; MADV_HUGEPAGE and
/// MADV_NOHUGEPAGE: whether their faults may bring huge pages.  `set` or not the flag that says so.
///
/// # Errors
/// -EINVAL: MADV_DOFORK of an area that a driver maps (VM_IO); -ENOMEM: not all of the range is
/// mapped, or too many areas.
pub(crate) async fn madvise_flag(k: &Kernel, start: u8, end: u8, flag: VmFlags, set: bool) -> Result<(), Errno> {
    enter!(k);
    let mm = k.current_mm();
    down_write(k, mmap_lock(mm)).await;
    let ret = madvise_vma_behavior(k, mm, start, end, flag, set).await;
    up_write(k, mmap_lock(mm));
    ret
}

async fn madvise_vma_behavior(k: &Kernel, mm: u8, start: u8, end: u8, flag: VmFlags, set: bool) -> Result<(), Errno> {
    enter!(k);
    split_vmas(k, mm, start, end).await?;
    let mut va = start;
    while va < end {
        let vma = find_vma(k, mm, va).ok_or(Errno::ENOMEM)?;
        if flag == VmFlags::DONTCOPY && !set && vma.flags.contains(VmFlags::IO) {
            return Err(Errno::EINVAL);
        }
        set_vm_flags(k, &vma, if set { vma.flags | flag } else { vma.flags - flag });
        va = vma.end;
    }
    Ok(())
}

/// The area of page `va` of the current address space, if it is one to advise.
fn madvise_vma(k: &Kernel, va: u8, suits: impl Fn(&Vma) -> bool) -> Result<Vma, Errno> {
    let vma = find_vma(k, k.current_mm(), va).ok_or(Errno::ENOMEM)?;
    if suits(&vma) { Ok(vma) } else { Err(Errno::EINVAL) }
}

/// MADV_PAGEOUT and MADV_COLD: pages `start..end` go, or are the next to go.
///
/// # Errors
/// -EINVAL: an area holds page frames or hugetlb pages; -ENOMEM: not all of the range is mapped.
pub(crate) async fn madvise_cold(k: &Kernel, start: u8, end: u8, pageout: bool) -> Result<(), Errno> {
    enter!(k);
    let mm = k.current_mm();
    down_read(k, mmap_lock(mm)).await;
    let mut ret = Ok(());
    let mut va = start;
    while va < end && ret.is_ok() {
        match madvise_vma(k, va, |vma| !vma.flags.intersects(VmFlags::PFNMAP | VmFlags::HUGETLB)) {
            Ok(vma) => va = madvise_cold_or_pageout_pmd_range(k, &vma, va, end, pageout).await,
            Err(errno) => ret = Err(errno),
        }
    }
    up_read(k, mmap_lock(mm));
    ret
}

/// As far as one page table goes, and the area; returns how far.
async fn madvise_cold_or_pageout_pmd_range(k: &Kernel, vma: &Vma, va: u8, end: u8, pageout: bool) -> u8 {
    let p = PmdPtr::of(vma.mm, va);
    let next = end.min(vma.end).min(p.base() + PTRS_PER_PTE as u8);
    let mut pmd = pmdp_get_lockless(k, p).await;
    let whole = next - va == HPAGE_PMD_NR as u8;
    if pmd.is_leaf() && vma.is_anonymous() {
        if whole && let Some(folio) = madvise_cold_or_pageout_pmd(k, p, pageout).await {
            shrink_folio_list(k, &[folio]).await;
        } else if !whole {
            split_leaf(k, p, true).await;
            pmd = pmdp_get_lockless(k, p).await;
        }
    }
    if let Some(table) = pmd.table_nr() {
        madvise_cold_or_pageout_pte_range(k, vma, table, va..next, pageout).await;
    }
    next
}

async fn madvise_cold_or_pageout_pte_range(k: &Kernel, vma: &Vma, table: u8, range: Range<u8>, pageout: bool) {
    enter!(k);
    let mut list = Isolated::default();
    let (start, end) = (range.start, range.end);
    let mut aged = false;
    spin_lock(k, ptl(table)).await;
    for va in range {
        let p = PtePtr::of(k, table, va);
        let pte = ptep_get(k, p);
        let normal = pte.present().then(|| vm_normal_page(k, vma, va, pte)).flatten();
        // What ptes map of huge pages would have to be split.
        let Some(pfn) = normal.filter(|&pfn| !k.page_head(k.compound_head(pfn))) else {
            continue;
        };
        // Others may need it; since v5.9.
        if k.step(obj::mapcount(pfn), Access::Read, || k.page_mapcount(pfn)).await != 1 {
            continue;
        }
        if !pageout {
            if pte.young() {
                ptep_modify(k, p, Pte::mkold).await; // since v6.10 one access
                aged = true;
            }
            k.step(obj::page(pfn, 1), Access::Write, || k.folio_assign(pfn, PageFlags::ACTIVE, false)).await;
        } else if !list.is_full() && folio_isolate_lru(k, pfn, true).await {
            list.push(PageRef { pfn, gen_: k.page_gen(pfn) });
        }
    }
    spin_unlock(k, ptl(table));
    if aged {
        flush_tlb_range(k, vma.mm, start, end).await; // tlb_finish_mmu()
    }
    shrink_folio_list(k, list.as_slice()).await; // reclaim_pages()
}

/// MADV_FREE: what pages `start..end` hold is not needed, unless they are written to again.
///
/// # Errors
/// -EINVAL: not anonymous memory; -ENOMEM: not all of the range is mapped.
pub(crate) async fn madvise_free(k: &Kernel, start: u8, end: u8) -> Result<(), Errno> {
    enter!(k);
    let mm = k.current_mm();
    down_read(k, mmap_lock(mm)).await;
    let mut ret = Ok(());
    let mut va = start;
    while va < end && ret.is_ok() {
        match madvise_vma(k, va, Vma::is_anonymous) {
            Ok(vma) => {
                let to = end.min(vma.end);
                madvise_free_single_vma(k, &vma, va, to).await;
                va = to;
            }
            Err(errno) => ret = Err(errno),
        }
    }
    up_read(k, mmap_lock(mm));
    ret
}

async fn madvise_free_single_vma(k: &Kernel, vma: &Vma, start: u8, end: u8) {
    enter!(k);
    let mut tlb = tlb_gather_mmu(k, vma.mm).await;
    let range = MmuNotifierRange::new(Notify::Clear, vma.mm, start, end);
    mmu_notifier_invalidate_range_start(k, &range).await;
    let mut va = start;
    while va < end {
        let p = PmdPtr::of(vma.mm, va);
        let next = end.min(p.base() + PTRS_PER_PTE as u8);
        let mut pmd = pmdp_get_lockless(k, p).await;
        if pmd.is_leaf() && next - va == HPAGE_PMD_NR as u8 {
            madvise_free_huge_pmd(k, &mut tlb, p).await;
        } else if pmd.is_leaf() {
            split_leaf(k, p, true).await;
            pmd = pmdp_get_lockless(k, p).await;
        }
        if let Some(table) = pmd.table_nr() {
            spin_lock(k, ptl(table)).await;
            for va in va..next {
                madvise_free_pte(k, &mut tlb, PtePtr::of(k, table, va), va).await;
            }
            spin_unlock(k, ptl(table));
        }
        va = next;
    }
    mmu_notifier_invalidate_range_end(k, &range).await;
    tlb_finish_mmu(k, tlb).await;
}

/// One entry of madvise_free_pte_range().
async fn madvise_free_pte(k: &Kernel, tlb: &mut MmuGather, p: PtePtr, va: u8) {
    let pte = ptep_get(k, p);
    if let Some(slot) = pte.swap_slot() {
        ptep_get_and_clear(k, p).await;
        free_swap_and_cache(k, slot).await;
    }
    if !pte.present() || k.page_head(k.compound_head(pte.pfn())) {
        return; // a huge page would have to be split
    }
    let page = PageRef { pfn: pte.pfn(), gen_: pte_gen(k, p) };
    let unclean = || k.folio_test(page.pfn, PageFlags::SWAPCACHE | PageFlags::DIRTY);
    if k.step(obj::page(page.pfn, 1), Access::Read, unclean).await && !clean_lazyfree(k, page).await {
        return;
    }
    if pte.dirty() {
        let pte = ptep_get_and_clear(k, p).await;
        set_pte_at(k, p, pte.mkclean()).await;
        tlb.range(va, va + 1);
    }
    // folio_mark_lazyfree()
    k.step(obj::page(page.pfn, 1), Access::Write, || {
        if !k.folio_test(page.pfn, PageFlags::SWAPCACHE) {
            k.folio_assign(page.pfn, PageFlags::SWAPBACKED | PageFlags::ACTIVE, false);
        }
    })
    .await;
}

/// Nobody else maps it, nor is it in swap, nor dirty; false: it is, and stays as it is.
async fn clean_lazyfree(k: &Kernel, page: PageRef) -> bool {
    let pfn = page.pfn;
    if !trylock(k, folio_lock(pfn)).await {
        return false;
    }
    let mut clean = k.step(obj::mapcount(pfn), Access::Read, || k.page_mapcount(pfn)).await == 1;
    let cached = || k.folio_test(pfn, PageFlags::SWAPCACHE);
    if clean && k.step(obj::page(pfn, 1), Access::Read, cached).await {
        clean = try_to_free_swap(k, page).await;
    }
    if clean {
        k.step(obj::page(pfn, 1), Access::Write, || k.folio_assign_dirty(pfn, false)).await;
    }
    mutex_unlock(k, folio_lock(pfn));
    clean
}
