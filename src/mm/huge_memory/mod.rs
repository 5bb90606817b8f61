// SPDX-License-Identifier: GPL-2.0-or-later
//! Huge entries, of anonymous memory and of drivers.  Linux: mm/huge_memory.c.
//!
//! Kept:       a leaf of anonymous memory is one reference, and a page table is put aside for its split.
//! Simplified: transparent_hugepage/enabled is `madvise`; a split adds its map counts in one step.
//! Left out:   the huge zero page, leaves of huge pages of files, the queue of deferred splits.

mod advice;
mod migration;
mod split;

pub(crate) use advice::*;
pub(crate) use migration::*;
pub(crate) use split::{can_split_folio, split_huge_page, split_huge_page_to_list, split_huge_pages_pid};

use crate::fixes::Fix;
use crate::kernel::{Errno, enter, mutex_unlock, spin_lock, spin_unlock, trylock};
use crate::limits::*;
use crate::mm::memory::{PfnT, page_needs_cow_for_dma, vm_normal_page_pmd};
use crate::mm::mm_types::*;
use crate::mm::mmu_gather::{MmuGather, flush_tlb_range, tlb_flush_mmu};
use crate::mm::mmu_notifier::*;
use crate::mm::page_alloc::*;
use crate::mm::page_ref::{folio_ref_add, get_page};
use crate::mm::page_writeback::set_page_dirty;
use crate::mm::pgtable::*;
use crate::mm::rmap::*;
use crate::mm::swap::put_page;
use crate::trace::{Access, Event, Notify, Owner, Pfn, obj};
use std::future::Future;

/// Whether a fault may bring a huge page: the area asks for them and covers all of the pmd.
pub(crate) fn thp_vma_allowable(vma: &Vma, p: PmdPtr) -> bool {
    vma.is_anonymous() && vma.flags.contains(VmFlags::HUGEPAGE) && thp_vma_suitable(vma, p)
}

/// Whether an area covers all of a pmd.
pub(crate) fn thp_vma_suitable(vma: &Vma, p: PmdPtr) -> bool {
    vma.start <= p.base() && p.base() + HPAGE_PMD_NR as u8 <= vma.end
}

/// A new huge page, cleared, which nobody else sees yet.
async fn vma_alloc_anon_folio_pmd(k: &Kernel, mm: u8) -> Option<PageRef> {
    enter!(k);
    let folio = alloc_pages(k, HPAGE_PMD_ORDER, true, Owner::Anon(mm)).await?;
    for i in 0..HPAGE_PMD_NR {
        fill(k, PageRef { pfn: folio.pfn.add(i), ..folio }, 0);
    }
    Some(folio)
}

/// Maps a huge page where no table is yet; ptes are the fallback.
pub(crate) async fn do_huge_pmd_anonymous_page(k: &Kernel, vma: &Vma, vmf: Vmf, p: PmdPtr) -> VmFault {
    enter!(k);
    k.set_vma_anon(vma.mm, vma.start);
    let Some(folio) = vma_alloc_anon_folio_pmd(k, vmf.mm).await else {
        return VmFault::Fallback;
    };
    let Some(table) = pte_alloc_one(k, vmf.mm, p.base()).await else {
        put_page(k, folio).await;
        return VmFault::Oom;
    };
    spin_lock(k, page_table_lock(vmf.mm)).await;
    if !pmdp_get(k, p).none() {
        spin_unlock(k, page_table_lock(vmf.mm));
        pte_free(k, table).await;
        put_page(k, folio).await;
        return VmFault::NoPage;
    }
    map_anon_folio_pmd(k, vma, p, folio, table).await;
    spin_unlock(k, page_table_lock(vmf.mm));
    VmFault::NoPage
}

/// Maps a huge page that nobody else sees yet; `table` is put aside.
pub(crate) async fn map_anon_folio_pmd(k: &Kernel, vma: &Vma, p: PmdPtr, folio: PageRef, table: u8) {
    page_add_new_anon_rmap(k, folio.pfn, vma, p.base());
    pgtable_trans_huge_deposit(k, p, table);
    let write = vma.flags.contains(VmFlags::WRITE);
    let entry = Pte::page(folio.pfn).mkhuge().mkdirty().mkwrite(write).mkaccessible(vma.flags.contains(VmFlags::READ));
    set_pmd_at(k, p, entry).await;
    add_mm_counter(k, p.mm, folio.pfn, HPAGE_PMD_NR as i32);
    inc_nr_ptes(k, p.mm, 1);
}

/// Somebody was faster, or is about to change the leaf.
pub(crate) async fn huge_pmd_set_accessed(k: &Kernel, p: PmdPtr) -> VmFault {
    enter!(k);
    spin_lock(k, page_table_lock(p.mm)).await;
    spin_unlock(k, page_table_lock(p.mm));
    VmFault::NoPage
}

/// A write to a huge page that is mapped without write permission, or a pin of it that may not share:
/// goes on using it if it is ours alone, splits the leaf otherwise.
///
/// Other references counted since v5.18 only, so in the mapcount era for longer than of small pages.
pub(crate) async fn do_huge_pmd_wp_page(k: &Kernel, vma: &Vma, vmf: Vmf, p: PmdPtr, orig: Pte) -> VmFault {
    enter!(k);
    let head = orig.pfn();
    spin_lock(k, page_table_lock(p.mm)).await;
    if pmdp_get(k, p) != orig {
        spin_unlock(k, page_table_lock(p.mm));
        return VmFault::NoPage;
    }
    let exclusive_era = k.fixed(Fix::WpReuseExclusive);
    let mut reuse = exclusive_era && k.page_anon_exclusive(head);
    // Who finds it locked waits in the kernel; here he copies.
    if !reuse && trylock(k, folio_lock(head)).await {
        reuse = match exclusive_era {
            true => k.step(obj::page(head, 1), Access::Read, || k.page_count(head)).await == 1,
            false => folio_mapcount(k, head).await == 1,
        };
        if reuse && exclusive_era {
            k.step(obj::page(head, 1), Access::Write, || k.set_page_anon_exclusive(head, true)).await;
        }
        mutex_unlock(k, folio_lock(head));
    }
    if reuse && !vmf.unshare {
        // maybe_pmd_mkwrite()
        let to: fn(Pte) -> Pte = match vma.flags.contains(VmFlags::WRITE) {
            true => |pmd| pmd.mkyoung().mkdirty().mkwrite(true),
            false => |pmd| pmd.mkyoung().mkdirty(),
        };
        pmdp_modify(k, p, to).await;
    }
    spin_unlock(k, page_table_lock(p.mm));
    if reuse {
        return VmFault::NoPage;
    }
    __split_huge_pmd(k, vma, p, None).await;
    VmFault::Fallback
}

/// Shares a huge page with a child, unless the page may be pinned: then the leaf is split, and its
/// ptes are there to be copied (false).  Both mmap_locks are held for writing.
///
/// # Errors
/// -ENOMEM.
pub(crate) async fn copy_huge_pmd(k: &Kernel, dst: &Vma, src: &Vma, va: u8) -> Result<bool, Errno> {
    enter!(k);
    let (dst_p, src_p) = (PmdPtr::of(dst.mm, va), PmdPtr::of(src.mm, va));
    let table = pte_alloc_one(k, dst.mm, src_p.base()).await.ok_or(Errno::ENOMEM)?;
    spin_lock(k, page_table_lock(dst.mm)).await;
    spin_lock(k, page_table_lock(src.mm)).await;
    let pmd = pmdp_get(k, src_p);
    let head = pmd.pfn();
    let keep = k.fixed(Fix::ForkSplitPinned) && pmd.is_leaf() && page_needs_cow_for_dma(k, src, head).await;
    let share = pmd.is_leaf() && !keep;
    if pmd.is_migration() {
        copy_pmd_migration(k, dst_p, src_p, table).await;
    } else if share {
        get_page(k, head).await;
        folio_dup_anon_rmap_pmd(k, head).await;
        add_mm_counter(k, dst.mm, head, HPAGE_PMD_NR as i32);
        inc_nr_ptes(k, dst.mm, 1);
        pgtable_trans_huge_deposit(k, dst_p, table);
        pmdp_modify(k, src_p, |pmd| pmd.mkwrite(false)).await;
        move_pmd_at(k, dst_p, pmdp_get(k, src_p), pmd_gens(k, src_p)).await;
    }
    spin_unlock(k, page_table_lock(src.mm));
    spin_unlock(k, page_table_lock(dst.mm));
    let copied = share || pmd.is_migration();
    if !copied {
        pte_free(k, table).await;
        __split_huge_pmd(k, src, src_p, None).await;
    }
    Ok(copied)
}

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

/// Clears a leaf, or the migration entry of one; false if there is none any more.  A driver's has no
/// reference, mapcount or rss to give back; the reference of anonymous memory goes to the gather.
pub(crate) async fn zap_huge_pmd(k: &Kernel, tlb: &mut MmuGather, vma: &Vma, p: PmdPtr) -> bool {
    enter!(k);
    spin_lock(k, page_table_lock(p.mm)).await;
    let found = pmdp_get(k, p).maps_huge();
    let mut folio = None;
    if found {
        let pmd = pmdp_huge_get_and_clear(k, p).await;
        tlb.range(p.base(), p.base() + HPAGE_PMD_NR as u8);
        if pmd.is_migration() {
            add_mm_counter(k, p.mm, pmd.pfn(), -(HPAGE_PMD_NR as i32));
        } else if !vma.is_special_huge()
            && let Some(head) = vm_normal_page_pmd(k, vma, p.base(), pmd)
        {
            if k.folio_test_anon(head) {
                folio_remove_rmap_pmd(k, head).await;
                add_mm_counter(k, p.mm, head, -(HPAGE_PMD_NR as i32));
                folio = Some(PageRef { pfn: head, gen_: pmd_gens(k, p)[0] });
            } else {
                k.emit(Event::Bug { what: "vm-bug-on-huge-page", pfn: Some(head) });
            }
        }
        if !k.fixed(Fix::ZapKeepsDeposit) {
            zap_deposited_table(k, p).await;
        }
    }
    spin_unlock(k, page_table_lock(p.mm));
    if let Some(folio) = folio
        && tlb.remove_page(folio)
    {
        tlb_flush_mmu(k, tlb).await;
    }
    found
}

/// Splits a leaf, or the migration entry of one; `of`: only a leaf of that page, which the caller has locked.
///
/// ```text
///   split of page A                               migration of page B
///                                                 1. lock B, migration entries in its place
///   a. lock A, who may map it?
///   b. a leaf of A?  no, of B, which moves
/// ```
///
/// Whatever moves is not A.  From v5.18 on b asked the migration entry for its page as if it were a leaf.
pub(crate) async fn __split_huge_pmd(k: &Kernel, vma: &Vma, p: PmdPtr, of: Option<Pfn>) {
    enter!(k);
    let range = MmuNotifierRange::new(Notify::Clear, p.mm, p.base(), p.base() + HPAGE_PMD_NR as u8);
    mmu_notifier_invalidate_range_start(k, &range).await;
    spin_lock(k, page_table_lock(p.mm)).await;
    let pmd = pmdp_get(k, p);
    if of.is_some() && pmd.is_migration() && !k.fixed(Fix::SplitPmdMigration) {
        k.emit(Event::Bug { what: "wild-memory-access", pfn: None });
    }
    if pmd.maps_huge() && of.is_none_or(|head| pmd.is_leaf() && pmd.pfn() == head) {
        __split_huge_pmd_locked(k, vma, p).await;
    }
    spin_unlock(k, page_table_lock(p.mm));
    mmu_notifier_invalidate_range_end(k, &range).await;
}

/// Device memory has no struct page to look at; the kernel would take whatever lies there.  In anonymous memory
/// it is a driver's leaf that reaches in from the area before (ttm-huge-fits).
pub(crate) fn pfn_has_page(k: &Kernel, pfn: Pfn) -> bool {
    if !pfn.valid() {
        k.emit(Event::Bug { what: "wild-memory-access", pfn: Some(pfn) });
    }
    pfn.valid()
}

/// A driver's leaf is cleared and flushed, and faults again; one of anonymous memory becomes the table
/// that was put aside for this, and its one reference one for each pte.
async fn __split_huge_pmd_locked(k: &Kernel, vma: &Vma, p: PmdPtr) {
    enter!(k);
    if !vma.is_anonymous() {
        pmdp_huge_get_and_clear(k, p).await;
        flush_tlb_range(k, vma.mm, p.base(), p.base() + HPAGE_PMD_NR as u8).await;
        zap_deposited_table(k, p).await;
        return;
    }
    if pmdp_get(k, p).is_migration() {
        return split_pmd_migration(k, p).await;
    }
    let old = pmdp_invalidate(k, p).await;
    let head = old.pfn();
    if !pfn_has_page(k, head) {
        return;
    }
    folio_ref_add(k, head, HPAGE_PMD_NR as i32 - 1).await;
    folio_add_anon_rmap_ptes(k, head).await;
    folio_remove_rmap_pmd(k, head).await;
    let table = pgtable_trans_huge_withdraw(k, p).expect("anonymous memory has a table put aside");
    let accessible = old.access_permitted(false);
    let pte = |i| if old.dirty() { Pte::page(head.add(i)).mkdirty() } else { Pte::page(head.add(i)) };
    let ptes = std::array::from_fn(|i| pte(i).mkwrite(old.write()).mkaccessible(accessible));
    pmd_populate(k, p, table, ptes).await;
}

/// Splits the leaf that `va` lies inside of, before an area is cut there.  Linux: split_huge_pmd_address().
pub(crate) async fn vma_adjust_trans_huge(k: &Kernel, vma: &Vma, va: u8) {
    let p = PmdPtr::of(vma.mm, va);
    if va != p.base() && pmdp_get_lockless(k, p).await.maps_huge() {
        __split_huge_pmd(k, vma, p, None).await;
    }
}

/// Moves a leaf, or the migration entry of one, to another address of the same alignment; flushes before the
/// lock goes.
pub(crate) async fn move_huge_pmd(k: &Kernel, old: PmdPtr, new: PmdPtr) -> bool {
    enter!(k);
    spin_lock(k, page_table_lock(old.mm)).await;
    let moved = pmdp_get(k, old).maps_huge() && pmdp_get(k, new).none();
    if moved {
        let gen_ = pmd_gens(k, old);
        let pmd = pmdp_huge_get_and_clear(k, old).await;
        move_pmd_at(k, new, pmd, gen_).await;
        if let Some(table) = pgtable_trans_huge_withdraw(k, old) {
            pgtable_trans_huge_deposit(k, new, table);
        }
        if pmd.present() {
            flush_tlb_range(k, old.mm, old.base(), old.base() + HPAGE_PMD_NR as u8).await;
        }
    }
    spin_unlock(k, page_table_lock(old.mm));
    moved
}

/// Changes the protection of a leaf that lies in the range as a whole; false if there is none any more.
pub(crate) async fn change_huge_pmd(k: &Kernel, p: PmdPtr, read: bool, write: bool) -> bool {
    enter!(k);
    spin_lock(k, page_table_lock(p.mm)).await;
    let old = pmdp_get(k, p);
    if old.is_migration() && old.write() {
        // Comes back write-protected.
        set_pmd_at(k, p, Pte::migration(old.pfn(), false, true)).await;
    } else if old.is_leaf() {
        let pmd = pmdp_invalidate(k, p).await;
        // The driver has no page_mkwrite(): what it shares is writable at once.
        move_pmd_at(k, p, pmd.mkaccessible(read).mkwrite(write), pmd_gens(k, p)).await;
    }
    spin_unlock(k, page_table_lock(p.mm));
    old.maps_huge()
}

/// Hides a leaf from the MMU, but not from the kernel, and returns what it was: from here on no CPU
/// sets its dirty bit.  Linux: mm/pgtable-generic.c.
async fn pmdp_invalidate(k: &Kernel, p: PmdPtr) -> Pte {
    enter!(k);
    let old = pmdp_modify(k, p, |pmd| pmd.mkaccessible(false)).await;
    flush_tlb_range(k, p.mm, p.base(), p.base() + HPAGE_PMD_NR as u8).await;
    old
}
