// SPDX-License-Identifier: GPL-2.0-or-later
//! Areas of an address space.  Linux: mm/mmap.c.
//!
//! Kept:       an area stays visible to unmap_mapping_range() until its entries are gone.
//! Left out:   merging, accounting, stacks.

use super::fork::{mm_alloc, mmput};
use super::huge_memory::vma_adjust_trans_huge;
use super::hugetlb::hugetlb_vm_op_split;
use super::memory::{Zap, unmap_page_range};
use super::mm_types::*;
use super::mmu_gather::*;
use super::mmu_notifier::*;
use super::pgtable::*;
use crate::fixes::Fix;
use crate::kernel::{Errno, down_write, enter, spin_lock, spin_unlock, up_write};
use crate::limits::*;
use crate::trace::{Access, Event, Notify, obj};

/// The area that holds page `va`.  mmap_lock is held.
pub(crate) fn find_vma(k: &Kernel, mm: u8, va: u8) -> Option<Vma> {
    k.vmas(mm).iter().find(|v| v.contains(va)).cloned()
}

/// The first area that begins at or behind `va`, or holds it.  mmap_lock is held.
pub(crate) fn find_vma_from(k: &Kernel, mm: u8, va: u8) -> Option<Vma> {
    k.vmas(mm).iter().find(|v| v.end > va).cloned()
}

/// Changes the list of areas under the locks its readers take.
async fn change_vmas(k: &Kernel, vma: &Vma, change: impl FnOnce(&mut Vec<Vma>)) {
    if vma.mapping != NO_MAPPING {
        down_write(k, i_mmap_rwsem(vma.mapping)).await;
    }
    if let Some(anon_vma) = vma.anon_vma(k) {
        down_write(k, anon_vma_rwsem(anon_vma)).await;
    }
    change(&mut k.vmas_mut(vma.mm));
    if let Some(anon_vma) = vma.anon_vma(k) {
        up_write(k, anon_vma_rwsem(anon_vma));
    }
    if vma.mapping != NO_MAPPING {
        up_write(k, i_mmap_rwsem(vma.mapping));
    }
}

/// vm_flags_reset(): mmap_lock is held for writing.
pub(crate) fn set_vm_flags(k: &Kernel, vma: &Vma, flags: VmFlags) {
    let mut vmas = k.vmas_mut(vma.mm);
    let slot = vmas.iter_mut().find(|v| v.start == vma.start).expect("the area is in the list");
    slot.flags = flags;
}

fn room_for(k: &Kernel, mm: u8) -> Result<(), Errno> {
    if k.vmas(mm).len() < MAX_MAP_COUNT { Ok(()) } else { Err(Errno::ENOMEM) }
}

/// Puts a new area into the list, sorted.  Linux: vma_link().
pub(crate) async fn vma_link(k: &Kernel, vma: &Vma) {
    enter!(k);
    change_vmas(k, vma, |vmas| {
        let at = vmas.partition_point(|v| v.start < vma.start);
        vmas.insert(at, vma.clone());
    })
    .await;
}

/// Maps an area in place of whatever was there (MAP_FIXED).  mmap_lock is held for writing.
///
/// # Errors
/// -ENOMEM: too many areas.
pub(crate) async fn mmap_region(k: &Kernel, vma: &Vma) -> Result<(), Errno> {
    enter!(k);
    do_munmap(k, vma.mm, vma.start, vma.end).await?;
    room_for(k, vma.mm)?;
    vma_link(k, vma).await;
    Ok(())
}

/// Cuts an area in two at `va`, unless it begins or ends there.
async fn split_vma(k: &Kernel, vma: &Vma, va: u8) -> Result<(), Errno> {
    enter!(k);
    if va <= vma.start || va >= vma.end {
        return Ok(());
    }
    room_for(k, vma.mm)?;
    if vma.flags.contains(VmFlags::HUGETLB) {
        hugetlb_vm_op_split(va)?;
    }
    vma_adjust_trans_huge(k, vma, va).await;
    if let Some(ops) = &vma.ops {
        ops.open(k).await;
    }
    change_vmas(k, vma, |vmas| {
        let i = vmas.iter().position(|v| v.start == vma.start).expect("the area is in the list");
        let mut back = vmas[i].clone();
        back.pgoff = back.pgoff_of(va);
        back.start = va;
        vmas[i].end = va;
        vmas.insert(i + 1, back);
    })
    .await;
    Ok(())
}

/// Cuts areas so that each lies inside or outside of `start..end`.
///
/// # Errors
/// -ENOMEM: too many areas; -EINVAL: inside of a hugetlb page.
pub(crate) async fn split_vmas(k: &Kernel, mm: u8, start: u8, end: u8) -> Result<(), Errno> {
    for va in [start, end] {
        if let Some(vma) = find_vma_from(k, mm, va) {
            split_vma(k, &vma, va).await?;
        }
    }
    Ok(())
}

/// Unmaps pages `start..end`: entries first, then the areas, then page tables, then the flush, and
/// then the areas' owners hear of it.  mmap_lock is held for writing.
///
/// # Errors
/// -ENOMEM: too many areas.
pub(crate) async fn do_munmap(k: &Kernel, mm: u8, start: u8, end: u8) -> Result<(), Errno> {
    enter!(k);
    if find_vma_from(k, mm, start).is_none_or(|vma| vma.start >= end) {
        return Ok(());
    }
    split_vmas(k, mm, start, end).await?;
    unmap_region(k, mm, start, end).await;
    Ok(())
}

async fn unmap_region(k: &Kernel, mm: u8, start: u8, end: u8) {
    enter!(k);
    let mut tlb = tlb_gather_mmu(k, mm).await;
    let mut closing = [const { None }; MAX_MAP_COUNT];
    let mut va = start;
    let mut vma_pfn = false;
    let range = MmuNotifierRange::new(Notify::Unmap, mm, start, end);
    mmu_notifier_invalidate_range_start(k, &range).await;
    while let Some(vma) = find_vma_from(k, mm, va).filter(|vma| vma.start < end) {
        unmap_page_range(k, &mut tlb, &vma, vma.start, vma.end, Zap::ALL).await;
        vma_pfn |= vma.flags.intersects(VmFlags::PFNMAP | VmFlags::MIXEDMAP);
        va = vma.end;
    }
    mmu_notifier_invalidate_range_end(k, &range).await;
    // Nobody holds a reference for these: once the area is gone from the mapping, an owner that
    // unmaps finds nothing, and frees, while our flush is still to come.
    if vma_pfn && k.fixed(Fix::MmuGatherPfnmapFlush) {
        tlb_flush_mmu_tlbonly(k, &mut tlb).await;
    }
    let mut nr = 0;
    while let Some(vma) = find_vma_from(k, mm, start).filter(|vma| vma.start < end) {
        change_vmas(k, &vma, |vmas| vmas.retain(|v| v.start != vma.start)).await;
        if let Some(ops) = vma.ops {
            closing[nr] = Some(ops);
            nr += 1;
        }
    }
    free_pgtables(k, &mut tlb, start, end).await;
    tlb_finish_mmu(k, tlb).await;
    for ops in closing.into_iter().flatten() {
        ops.close(k).await;
    }
}

/// Unhooks the page tables that no area needs any more.
async fn free_pgtables(k: &Kernel, tlb: &mut MmuGather, start: u8, end: u8) {
    enter!(k);
    let mm = tlb.mm;
    let needed = needed_tables(k, mm);
    for i in start / PTRS_PER_PTE as u8..end.div_ceil(PTRS_PER_PTE as u8) {
        let p = PmdPtr { mm, i };
        // No area needs the entry, and mmap_lock is held for writing: it is nobody else's to change, so no step.
        if needed >> i & 1 != 0 || !peek_pmd(k, p).is_table() {
            continue;
        }
        spin_lock(k, page_table_lock(mm)).await;
        let table = pmdp_get(k, p).table_nr();
        set_pmd_at(k, p, Pte::NONE).await;
        inc_nr_ptes(k, mm, -1);
        spin_unlock(k, page_table_lock(mm));
        tlb.range(p.base(), p.base() + PTRS_PER_PTE as u8);
        tlb.remove_table(table.expect("tables only go under mmap_lock held for writing"));
    }
}

/// The entries of the pmd table that lie in areas, wholly or in part, one bit each.
fn needed_tables(k: &Kernel, mm: u8) -> u16 {
    const _: () = assert!(PTRS_PER_PMD <= 16, "one bit of a u16 an entry");
    let entries = |vma: &Vma| vma.start as usize / PTRS_PER_PTE..(vma.end as usize).div_ceil(PTRS_PER_PTE);
    k.vmas(mm).iter().flat_map(entries).fold(0, |set, i| set | 1 << i)
}

/// The last task left: everything goes, and the counters must be even.
pub(super) async fn exit_mmap(k: &Kernel, mm: u8) {
    enter!(k);
    down_write(k, mmap_lock(mm)).await;
    unmap_region(k, mm, 0, TASK_SIZE as u8).await;
    up_write(k, mmap_lock(mm));
    let (rss_anon, rss_file, pgtables) = check_mm(k, mm);
    k.emit(Event::MmExit { mm, rss_anon, rss_file, pgtables });
}

/// The current task leaves its address space for a new one, or for none.
///
/// Linux: fs/exec.c, exec_mmap(); kernel/exit.c, exit_mm().
///
/// # Errors
/// -ENOMEM: all address spaces are in use.
pub(crate) async fn exec_mmap(k: &Kernel, exit: bool) -> Result<(), Errno> {
    enter!(k);
    let (task, old) = (k.current(), k.current_mm());
    let new = match exit {
        true => u8::MAX,
        false => mm_alloc(k, None).await.ok_or(Errno::ENOMEM)?,
    };
    k.step(obj::tlb(task), Access::Write, || {
        k.switch_mm(task, new);
        k.emit(Event::TlbFlush { cpu: task, mm: old, start: 0, end: TASK_SIZE as u8 });
    })
    .await;
    mmput(k, old).await;
    Ok(())
}
