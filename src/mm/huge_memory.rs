// SPDX-License-Identifier: GPL-2.0-or-later
//! Huge entries of drivers.  Linux: mm/huge_memory.c.
//!
//! Left out: transparent huge pages of anonymous memory.

use super::memory::{PfnT, vm_normal_page_pmd};
use super::mm_types::*;
use super::mmu_gather::{MmuGather, flush_tlb_range};
use super::mmu_notifier::*;
use super::pgtable::*;
use crate::fixes::Fix;
use crate::kernel::{enter, spin_lock, spin_unlock};
use crate::limits::*;
use crate::trace::{Event, Notify};

/// Maps a block of page frames with one entry, from a huge fault handler.
///
/// The devmap bit needs PFN_DEV and PFN_MAP, while there is one.  Before [`Fix::PmdSpecial`] nothing else tells such an
/// entry from an ordinary huge page.
pub(crate) async fn vmf_insert_pfn_pmd_prot(k: &Kernel, vma: &Vma, va: u8, pfn: PfnT, write: bool) -> VmFault {
    enter!(k);
    let pfnmap = vma.flags.contains(VmFlags::PFNMAP);
    let mixed = vma.flags.contains(VmFlags::MIXEDMAP);
    if (!pfnmap && !mixed && !pfn.devmap(k)) || (pfnmap && (mixed || vma.flags.is_cow())) {
        k.emit(Event::Bug { what: "bug-on-pfnmap-pmd", pfn: Some(pfn.pfn) });
        return VmFault::Sigbus;
    }
    // Where the entry ends is the caller's business, to this day.
    if !vma.contains(va) {
        return VmFault::Sigbus;
    }
    let p = PmdPtr::of(vma.mm, va);
    // As arch_needs_pgtable_deposit() on powerpc; elsewhere only anonymous memory has one.
    let Some(table) = pte_alloc_one(k, vma.mm, p.base()).await else {
        return VmFault::Oom;
    };
    spin_lock(k, page_table_lock(vma.mm)).await;
    let old = pmdp_get(k, p);
    let mut unused = Some(table);
    if old.none() {
        let entry = Pte::page(pfn.pfn).mkhuge();
        let entry = match (pfn.devmap(k), k.fixed(Fix::PmdSpecial)) {
            (true, _) => entry.mkdevmap(k),
            (false, true) => entry.mkspecial(k),
            (false, false) => entry,
        };
        set_pmd_at(k, p, if write { entry.mkwrite(true).mkdirty() } else { entry }).await;
        if let Some(table) = unused.take() {
            pgtable_trans_huge_deposit(k, p, table);
            inc_nr_ptes(k, p.mm, 1);
        }
    } else if write && old.is_leaf() && old.pfn() == pfn.pfn {
        set_pmd_at(k, p, old.mkwrite(true).mkdirty().mkyoung()).await;
    }
    spin_unlock(k, page_table_lock(vma.mm));
    if let Some(table) = unused {
        pte_free(k, table).await;
    }
    VmFault::NoPage
}

/// Frees the table that was put aside.  Nobody ever walked it.
async fn zap_deposited_table(k: &Kernel, p: PmdPtr) {
    if let Some(table) = pgtable_trans_huge_withdraw(k, p) {
        pte_free(k, table).await;
        inc_nr_ptes(k, p.mm, -1);
    }
}

/// Clears a leaf; false if there is none any more.  A driver's has no reference, mapcount or rss to give back.
pub(crate) async fn zap_huge_pmd(k: &Kernel, tlb: &mut MmuGather, vma: &Vma, p: PmdPtr) -> bool {
    enter!(k);
    spin_lock(k, page_table_lock(p.mm)).await;
    let found = pmdp_get(k, p).is_leaf();
    if found {
        let pmd = pmdp_huge_get_and_clear(k, p).await;
        tlb.range(p.base(), p.base() + HPAGE_PMD_NR as u8);
        if !k.fixed(Fix::ZapKeepsDeposit) {
            zap_deposited_table(k, p).await;
        }
        if !vma.is_special_huge()
            && let Some(pfn) = vm_normal_page_pmd(k, vma, pmd)
        {
            k.emit(Event::Bug { what: "vm-bug-on-huge-page", pfn: Some(pfn) });
        }
    }
    spin_unlock(k, page_table_lock(p.mm));
    found
}

/// Splits a leaf: a driver's is cleared and flushed, and faults again.
pub(crate) async fn __split_huge_pmd(k: &Kernel, vma: &Vma, p: PmdPtr) {
    enter!(k);
    let range = MmuNotifierRange::new(Notify::Clear, p.mm, p.base(), p.base() + HPAGE_PMD_NR as u8);
    mmu_notifier_invalidate_range_start(k, &range).await;
    spin_lock(k, page_table_lock(p.mm)).await;
    if pmdp_get(k, p).is_leaf() {
        pmdp_huge_get_and_clear(k, p).await;
        flush_tlb_range(k, vma.mm, p.base(), p.base() + HPAGE_PMD_NR as u8).await;
        zap_deposited_table(k, p).await;
    }
    spin_unlock(k, page_table_lock(p.mm));
    mmu_notifier_invalidate_range_end(k, &range).await;
}

/// Splits the leaf that `va` lies inside of, before an area is cut there.  Linux: split_huge_pmd_address().
pub(crate) async fn vma_adjust_trans_huge(k: &Kernel, vma: &Vma, va: u8) {
    let p = PmdPtr::of(vma.mm, va);
    if va != p.base() && pmdp_get_lockless(k, p).await.is_leaf() {
        __split_huge_pmd(k, vma, p).await;
    }
}

/// Moves a leaf to another address of the same alignment; flushes before the lock goes.
pub(crate) async fn move_huge_pmd(k: &Kernel, old: PmdPtr, new: PmdPtr) -> bool {
    enter!(k);
    spin_lock(k, page_table_lock(old.mm)).await;
    let moved = pmdp_get(k, old).is_leaf() && pmdp_get(k, new).none();
    if moved {
        let gen_ = pmd_gens(k, old);
        let pmd = pmdp_huge_get_and_clear(k, old).await;
        move_pmd_at(k, new, pmd, gen_).await;
        if let Some(table) = pgtable_trans_huge_withdraw(k, old) {
            pgtable_trans_huge_deposit(k, new, table);
        }
        flush_tlb_range(k, old.mm, old.base(), old.base() + HPAGE_PMD_NR as u8).await;
    }
    spin_unlock(k, page_table_lock(old.mm));
    moved
}

/// Changes the protection of a leaf that lies in the range as a whole; false if there is none any more.
pub(crate) async fn change_huge_pmd(k: &Kernel, p: PmdPtr, read: bool, write: bool) -> bool {
    enter!(k);
    spin_lock(k, page_table_lock(p.mm)).await;
    let found = pmdp_get(k, p).is_leaf();
    if found {
        let pmd = pmdp_invalidate(k, p).await;
        // The driver has no page_mkwrite(): what it shares is writable at once.
        move_pmd_at(k, p, pmd.mkaccessible(read).mkwrite(write), pmd_gens(k, p)).await;
    }
    spin_unlock(k, page_table_lock(p.mm));
    found
}

/// Hides a leaf from the MMU, but not from the kernel, and returns what it was: from here on no CPU
/// sets its dirty bit.  Linux: mm/pgtable-generic.c.
async fn pmdp_invalidate(k: &Kernel, p: PmdPtr) -> Pte {
    enter!(k);
    let old = pmdp_modify(k, p, |pmd| pmd.mkaccessible(false)).await;
    flush_tlb_range(k, p.mm, p.base(), p.base() + HPAGE_PMD_NR as u8).await;
    old
}
