// SPDX-License-Identifier: GPL-2.0-or-later
//! Moving mappings.  Linux: mm/mremap.c.
//!
//! Simplified: always MREMAP_MAYMOVE | MREMAP_FIXED, the length stays.

use super::huge_memory::{__split_huge_pmd, move_huge_pmd};
use super::hugetlb::huge_page_aligned;
use super::memory::pte_alloc;
use super::mm_types::*;
use super::mmap::*;
use super::mmu_gather::flush_tlb_range;
use super::mmu_notifier::*;
use super::pgtable::*;
use crate::fixes::Fix;
use crate::kernel::{Errno, down_write, enter, spin_lock, spin_unlock, up_write};
use crate::limits::*;
use crate::trace::Notify;

/// Moves `len` pages from `addr` to `new`.
///
/// # Errors
/// -EINVAL: the ranges overlap, or begin or end inside of a hugetlb page; -EFAULT: no single area there; -ENOMEM.
pub(crate) async fn mremap_to(k: &Kernel, addr: u8, len: u8, new: u8) -> Result<(), Errno> {
    enter!(k);
    if addr < new + len && new < addr + len {
        return Err(Errno::EINVAL);
    }
    let mm = k.current_mm();
    down_write(k, mmap_lock(mm)).await;
    let ret = move_vma(k, mm, addr, len, new).await;
    up_write(k, mmap_lock(mm));
    ret
}

async fn move_vma(k: &Kernel, mm: u8, addr: u8, len: u8, new: u8) -> Result<(), Errno> {
    enter!(k);
    let vma = find_vma(k, mm, addr).filter(|vma| addr + len <= vma.end).ok_or(Errno::EFAULT)?;
    if vma.flags.contains(VmFlags::HUGETLB) && ![addr, len, new].into_iter().all(huge_page_aligned) {
        return Err(Errno::EINVAL); // it rounds the length up, instead
    }
    do_munmap(k, mm, new, new + len).await?;
    if k.vmas(mm).len() + 3 > MAX_MAP_COUNT {
        return Err(Errno::ENOMEM);
    }
    if let Some(ops) = &vma.ops {
        ops.open(k).await;
    }
    let copy = Vma { start: new, end: new + len, pgoff: vma.pgoff_of(addr), ..vma.clone() };
    vma_link(k, &copy).await;
    let moved = move_page_tables(k, &vma, addr, new, len, false).await;
    if moved.is_err() {
        // What was moved goes back, and the new area goes.
        let back = move_page_tables(k, &copy, new, addr, len, true).await;
        assert!(back.is_ok(), "the old tables are still there");
        do_munmap(k, mm, new, new + len).await?;
        return moved;
    }
    do_munmap(k, mm, addr, addr + len).await
}

/// Moves entries; whoever looks for the pages by their mapping must find them in one place or the other.
async fn move_page_tables(k: &Kernel, vma: &Vma, addr: u8, new: u8, len: u8, back: bool) -> Result<(), Errno> {
    enter!(k);
    // An rmap walk visits areas by address: it would pass a lower target before it is filled.
    let need_rmap_locks = new < addr;
    let range = MmuNotifierRange::new(Notify::Unmap, vma.mm, addr, addr + len);
    mmu_notifier_invalidate_range_start(k, &range).await;
    if need_rmap_locks {
        take_rmap_locks(k, vma).await;
    }
    let ret = move_entries(k, vma, addr, new, len, back).await;
    if need_rmap_locks {
        drop_rmap_locks(k, vma);
    }
    mmu_notifier_invalidate_range_end(k, &range).await;
    if !k.fixed(Fix::MremapFlush) {
        flush_tlb_range(k, vma.mm, addr, addr + len).await;
    }
    ret
}

async fn take_rmap_locks(k: &Kernel, vma: &Vma) {
    if vma.mapping != NO_MAPPING {
        down_write(k, i_mmap_rwsem(vma.mapping)).await;
    }
    if let Some(anon_vma) = vma.anon_vma(k) {
        down_write(k, anon_vma_rwsem(anon_vma)).await;
    }
}

fn drop_rmap_locks(k: &Kernel, vma: &Vma) {
    if let Some(anon_vma) = vma.anon_vma(k) {
        up_write(k, anon_vma_rwsem(anon_vma));
    }
    if vma.mapping != NO_MAPPING {
        up_write(k, i_mmap_rwsem(vma.mapping));
    }
}

async fn move_entries(k: &Kernel, vma: &Vma, addr: u8, new: u8, len: u8, back: bool) -> Result<(), Errno> {
    let huge = HPAGE_PMD_NR as u8;
    let mut done = 0;
    while done < len {
        let (from, to) = (addr + done, new + done);
        let (old_p, new_p) = (PmdPtr::of(vma.mm, from), PmdPtr::of(vma.mm, to));
        // As far as both addresses stay in one table.
        let extent = (huge - from % huge).min(huge - to % huge).min(len - done);
        done += extent;
        let mut pmd = pmdp_get_lockless(k, old_p).await;
        if pmd.maps_huge() {
            if extent == huge && move_huge_pmd(k, old_p, new_p).await {
                continue;
            }
            __split_huge_pmd(k, vma, old_p, None).await;
            pmd = pmdp_get_lockless(k, old_p).await;
        }
        let Some(old) = pmd.table_nr() else {
            continue;
        };
        // The kernel would allocate here, too; but nothing came from where there is no table.
        if back && pmdp_get_lockless(k, new_p).await.table_nr().is_none() {
            continue;
        }
        match pte_alloc(k, vma.mm, to).await {
            Ok(Some(table)) => move_ptes(k, vma.mm, (old, from), (table, to), extent).await,
            Ok(None) => {}
            Err(_) => return Err(Errno::ENOMEM),
        }
    }
    Ok(())
}

/// Moves ptes under both locks.
///
/// ```text
///   mremap                       another CPU           another unmapper
///   1. move the pte
///   2. unlock, no flush yet
///                                                      a. unmap the new address, flush it, free
///                                b. store through its TLB of the old address
/// ```
///
/// So the old address is flushed before the locks go.
async fn move_ptes(k: &Kernel, mm: u8, old: (u8, u8), new: (u8, u8), nr: u8) {
    enter!(k);
    spin_lock(k, ptl(old.0)).await;
    if new.0 != old.0 {
        spin_lock(k, ptl(new.0)).await;
    }
    let mut moved = false;
    for i in 0..nr {
        let from = PtePtr::of(k, old.0, old.1 + i);
        if ptep_get(k, from).none() {
            continue;
        }
        let gen_ = pte_gen(k, from);
        let pte = ptep_get_and_clear(k, from).await;
        move_pte_at(k, PtePtr::of(k, new.0, new.1 + i), pte, gen_).await;
        moved = true;
    }
    if moved && k.fixed(Fix::MremapFlush) {
        flush_tlb_range(k, mm, old.1, old.1 + nr).await;
    }
    if new.0 != old.0 {
        spin_unlock(k, ptl(new.0));
    }
    spin_unlock(k, ptl(old.0));
}
