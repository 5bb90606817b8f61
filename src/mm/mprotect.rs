// SPDX-License-Identifier: GPL-2.0-or-later
//! Changing protection.  Linux: mm/mprotect.c.

use super::huge_memory::{__split_huge_pmd, change_huge_pmd};
use super::hugetlb::hugetlb_change_protection;
use super::memory::vma_needs_dirty_tracking;
use super::mm_types::*;
use super::mmap::*;
use super::mmu_gather::flush_tlb_range;
use super::mmu_notifier::*;
use super::pgtable::*;
use crate::fixes::Fix;
use crate::kernel::{Errno, down_write, enter, spin_lock, spin_unlock, up_write};
use crate::limits::*;
use crate::trace::Notify;

/// Changes the protection of pages `start..end`.
///
/// # Errors
/// -ENOMEM: not all of the range is mapped, or too many areas; -EINVAL: it ends inside of a hugetlb page.
pub(crate) async fn do_mprotect(k: &Kernel, start: u8, end: u8, prot: VmFlags) -> Result<(), Errno> {
    enter!(k);
    let mm = k.current_mm();
    down_write(k, mmap_lock(mm)).await;
    let ret = mprotect_fixup(k, mm, start, end, prot).await;
    up_write(k, mmap_lock(mm));
    ret
}

async fn mprotect_fixup(k: &Kernel, mm: u8, start: u8, end: u8, prot: VmFlags) -> Result<(), Errno> {
    enter!(k);
    split_vmas(k, mm, start, end).await?;
    let mut va = start;
    while va < end {
        let vma = find_vma(k, mm, va).ok_or(Errno::ENOMEM)?;
        let flags = vma.flags & !(VmFlags::READ | VmFlags::WRITE) | prot;
        if flags != vma.flags {
            set_vm_flags(k, &vma, flags);
            change_protection(k, &vma, flags).await;
        }
        va = vma.end;
    }
    Ok(())
}

/// Changes all entries of an area, then flushes.
async fn change_protection(k: &Kernel, vma: &Vma, flags: VmFlags) {
    enter!(k);
    let range = MmuNotifierRange::new(Notify::ProtectionVma, vma.mm, vma.start, vma.end);
    mmu_notifier_invalidate_range_start(k, &range).await;
    if vma.flags.contains(VmFlags::HUGETLB) {
        hugetlb_change_protection(k, vma, flags).await;
    } else {
        change_protection_range(k, vma, flags).await;
    }
    flush_tlb_range(k, vma.mm, vma.start, vma.end).await;
    mmu_notifier_invalidate_range_end(k, &range).await;
}

async fn change_protection_range(k: &Kernel, vma: &Vma, flags: VmFlags) {
    let mut va = vma.start;
    while va < vma.end {
        let p = PmdPtr::of(vma.mm, va);
        let next = (p.base() + PTRS_PER_PTE as u8).min(vma.end);
        let from = std::mem::replace(&mut va, next);
        let mut pmd = pmdp_get_lockless(k, p).await;
        if pmd.maps_huge() {
            let (read, write) = (flags.contains(VmFlags::READ), flags.contains(VmFlags::WRITE | VmFlags::SHARED));
            if next - from < HPAGE_PMD_NR as u8 {
                __split_huge_pmd(k, vma, p, None).await;
            } else if change_huge_pmd(k, p, read, write).await {
                continue;
            }
            pmd = pmdp_get_lockless(k, p).await;
        }
        if let Some(table) = pmd.table_nr() {
            change_pte_range(k, vma, table, from, next, flags).await;
        }
    }
}

async fn change_pte_range(k: &Kernel, vma: &Vma, table: u8, start: u8, end: u8, flags: VmFlags) {
    enter!(k);
    let tracked = vma_needs_dirty_tracking(k, vma);
    spin_lock(k, ptl(table)).await;
    for va in start..end {
        let p = PtePtr::of(k, table, va);
        let old = ptep_get(k, p);
        if !old.present() {
            change_nonpresent_pte(k, p, old).await;
            continue;
        }
        let new = |pte: Pte| {
            let write = flags.contains(VmFlags::WRITE) && can_change_pte_writable(k, pte, flags, tracked);
            pte.mkaccessible(flags.contains(VmFlags::READ)).mkwrite(write)
        };
        if new(old) != old {
            ptep_modify(k, p, new).await;
        }
    }
    spin_unlock(k, ptl(table));
}

/// A writable page that migrates, or is with a device, comes back write-protected.
async fn change_nonpresent_pte(k: &Kernel, p: PtePtr, old: Pte) {
    if old.is_migration() && old.write() {
        set_pte_at(k, p, Pte::migration(old.pfn(), false, k.folio_test_anon(old.pfn()))).await;
    }
    if old.is_device_private() && old.write() {
        set_pte_at(k, p, old.mkwrite(false)).await;
    }
}

/// Whether an entry may become writable without a fault: shared, and dirty if the file system must be asked
/// otherwise; or of a dirty exclusive page.
///
/// The latter came in v6.0 (64fe24a3e05e), exclusive pages in v5.19.  In between a store faulted and
/// went on using the same page: no verdict differs, and no release that one can name lies there.
fn can_change_pte_writable(k: &Kernel, pte: Pte, flags: VmFlags, tracked: bool) -> bool {
    if tracked {
        return pte.dirty();
    }
    let pfn = pte.pfn();
    let exclusive = pfn.valid() && !pte.special() && k.page_anon_exclusive(pfn);
    flags.contains(VmFlags::SHARED) || (k.fixed(Fix::WpReuseExclusive) && exclusive && pte.dirty())
}
