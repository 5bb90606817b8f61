// SPDX-License-Identifier: GPL-2.0-or-later
//! Areas of huge pages that are never anything else (MAP_HUGETLB).  Linux: mm/hugetlb.c.
//!
//! ```text
//!   fork                                  another thread of the parent
//!   1. is the page pinned?  no, or nobody
//!      looks: share it, for reading
//!                                         2. store: it is mapped twice, so to a copy
//!                                         3. the disk writes what is pinned: for nobody
//! ```
//!
//! So who may be pinned is copied for the child at once, since v5.12, where the child's leaf of what is shared stayed
//! writable (84894e1c42e9, v5.13); since v5.19 a GUP-fast between 1's question and its answer gives back what it pinned.
//!
//! Kept:       an area is made of whole pmds, and one leaf maps a page; it has no table put aside, is on no list and
//!             counts in no rss.  A write goes on using a page that nobody else maps, however often it is referenced.
//! Simplified: the pool is empty and may grow (nr_overcommit_hugepages, MAP_NORESERVE): pages come from the buddy
//!             allocator and return there.  The page's lock keeps faults apart, not hugetlb_fault_mutex_table.
//!             MADV_DONTNEED and mremap are those of v5.18 and v5.16; both were refused before.
//! Left out:   reservations and unmap_ref_private(), files and shared mappings, migration, memory failure.

use super::highmem::copy_user_highpage;
use super::memory::page_needs_cow_for_dma;
use super::mm_types::*;
use super::mmu_gather::{MmuGather, flush_tlb_range, tlb_flush_mmu};
use super::mmu_notifier::*;
use super::page_alloc::{alloc_pages, fill};
use super::page_ref::get_page;
use super::pgtable::*;
use super::rmap::{folio_dup_anon_rmap_pmd, folio_mapcount, folio_remove_rmap_pmd, hugetlb_add_new_anon_rmap};
use super::swap::put_page;
use crate::fixes::Fix;
use crate::kernel::{Errno, enter, mutex_lock, mutex_unlock, spin_lock, spin_unlock, trylock};
use crate::limits::*;
use crate::trace::{Access, Event, Notify, Owner, Pfn, obj};

const NR: u8 = HPAGE_PMD_NR as u8;

/// Whether an address, or a length, is one of whole huge pages.
pub(crate) fn huge_page_aligned(pages: u8) -> bool {
    pages.is_multiple_of(NR)
}

/// The huge pages that hold pages `start..end`.
pub(crate) fn huge_pages(start: u8, end: u8) -> (u8, u8) {
    (start - start % NR, end.next_multiple_of(NR))
}

/// Whether an area can be cut at `va`.
///
/// # Errors
/// -EINVAL: inside of a page.
pub(crate) fn hugetlb_vm_op_split(va: u8) -> Result<(), Errno> {
    if huge_page_aligned(va) { Ok(()) } else { Err(Errno::EINVAL) }
}

/// The pmds of pages `start..end`.
fn pmds(mm: u8, start: u8, end: u8) -> impl Iterator<Item = PmdPtr> {
    assert!(huge_page_aligned(start) && huge_page_aligned(end), "an area of huge pages is cut between them");
    (start..end).step_by(HPAGE_PMD_NR).map(move |va| PmdPtr::of(mm, va))
}

/// The page behind a leaf.
fn folio_of(k: &Kernel, p: PmdPtr, pmd: Pte) -> PageRef {
    PageRef { pfn: pmd.pfn(), gen_: pmd_gens(k, p)[0] }
}

/// A page of the pool, which nobody else sees yet.
async fn alloc_hugetlb_folio(k: &Kernel, mm: u8) -> Option<PageRef> {
    enter!(k);
    alloc_pages(k, HPAGE_PMD_ORDER, true, Owner::Anon(mm)).await
}

/// Copies a page, one step for each of its small ones; `copied` hears of each.
async fn copy_user_large_folio(k: &Kernel, to: PageRef, from: PageRef, copied: impl Fn(u8)) {
    enter!(k);
    for i in 0..NR {
        let page = |folio: PageRef| PageRef { pfn: folio.pfn.add(i.into()), ..folio };
        copy_user_highpage(k, page(to), page(from)).await;
        copied(i);
    }
}

fn make_huge_pte(vma: &Vma, folio: PageRef, write: bool) -> Pte {
    let pmd = Pte::page(folio.pfn).mkhuge().mkaccessible(vma.flags.contains(VmFlags::READ));
    if write { pmd.mkdirty().mkwrite(vma.flags.contains(VmFlags::WRITE)) } else { pmd }
}

/// A fault in an area of huge pages; mmap_lock is held for reading.
pub(crate) async fn hugetlb_fault(k: &Kernel, vma: &Vma, vmf: Vmf) -> VmFault {
    enter!(k);
    let p = PmdPtr::of(vmf.mm, vmf.va);
    let orig = pmdp_get_lockless(k, p).await;
    assert!(!orig.is_table(), "an area of huge pages has no tables");
    if orig.none() {
        return hugetlb_no_page(k, vma, vmf, p).await;
    }
    if !(vmf.write || vmf.unshare) || orig.write() {
        return VmFault::NoPage; // the MMU sets its bits
    }
    spin_lock(k, page_table_lock(p.mm)).await;
    if pmdp_get(k, p) != orig {
        spin_unlock(k, page_table_lock(p.mm));
        return VmFault::NoPage;
    }
    let folio = folio_of(k, p, orig);
    if !trylock(k, folio_lock(folio.pfn)).await {
        spin_unlock(k, page_table_lock(p.mm));
        // folio_wait_locked(): who has it locked is about to change who maps it.
        mutex_lock(k, folio_lock(folio.pfn)).await;
        mutex_unlock(k, folio_lock(folio.pfn));
        return VmFault::NoPage;
    }
    get_page(k, folio.pfn).await;
    let ret = hugetlb_wp(k, vma, vmf, p).await;
    mutex_unlock(k, folio_lock(folio.pfn));
    put_page(k, folio).await;
    spin_unlock(k, page_table_lock(p.mm));
    ret
}

/// Maps a page where none is yet: for reading, and then the write goes on as any other.
async fn hugetlb_no_page(k: &Kernel, vma: &Vma, vmf: Vmf, p: PmdPtr) -> VmFault {
    enter!(k);
    let folio = alloc_hugetlb_folio(k, vmf.mm).await;
    if let Some(folio) = folio {
        (0..HPAGE_PMD_NR).for_each(|i| fill(k, PageRef { pfn: folio.pfn.add(i), ..folio }, 0));
    }
    k.set_vma_anon(vma.mm, vma.start);
    spin_lock(k, page_table_lock(p.mm)).await;
    let none = pmdp_get(k, p).none();
    let mut ret = if folio.is_none() && none { VmFault::Sigbus } else { VmFault::NoPage };
    if none && let Some(folio) = folio {
        hugetlb_add_new_anon_rmap(k, folio.pfn, vma, p.base());
        set_pmd_at(k, p, make_huge_pte(vma, folio, false)).await;
        if vmf.write {
            ret = hugetlb_wp(k, vma, vmf, p).await;
        }
    }
    spin_unlock(k, page_table_lock(p.mm));
    if !none && let Some(folio) = folio {
        put_page(k, folio).await;
    }
    ret
}

/// Whether a write fault may go on using a page: nobody else maps it, on every release.  References, but the fault's
/// own, do not count, so that a child that left one behind sees what is written then.
async fn can_reuse(k: &Kernel, head: Pfn) -> bool {
    let exclusive_era = k.fixed(Fix::WpReuseExclusive);
    let exclusive = exclusive_era && k.page_anon_exclusive(head);
    let reuse = match exclusive_era && k.fixed(Fix::HugetlbWpExclusive) {
        true => exclusive || k.step(obj::page(head, 1), Access::Read, || k.page_count(head)).await <= 2,
        false => folio_mapcount(k, head).await == 1,
    };
    if reuse && exclusive_era && !exclusive {
        k.step(obj::page(head, 1), Access::Write, || k.set_page_anon_exclusive(head, true)).await;
    }
    reuse
}

/// A write to a page that is mapped for reading, or a pin of it that may not share.  The page-table lock is held, and is
/// again in the end; the page is locked and the caller has a reference, or has just mapped it and reuses it.
/// To v5.18 hugetlb_cow().
async fn hugetlb_wp(k: &Kernel, vma: &Vma, vmf: Vmf, p: PmdPtr) -> VmFault {
    enter!(k);
    let pmd = pmdp_get(k, p);
    let old = folio_of(k, p, pmd);
    if can_reuse(k, old.pfn).await {
        if !vmf.unshare {
            // set_huge_ptep_maybe_writable()
            let to: fn(Pte) -> Pte = match vma.flags.contains(VmFlags::WRITE) {
                true => |pmd| pmd.mkyoung().mkdirty().mkwrite(true),
                false => |pmd| pmd.mkyoung().mkdirty(),
            };
            pmdp_modify(k, p, to).await;
        }
        return VmFault::NoPage;
    }
    spin_unlock(k, page_table_lock(p.mm));
    let Some(new) = alloc_hugetlb_folio(k, vmf.mm).await else {
        spin_lock(k, page_table_lock(p.mm)).await;
        return VmFault::Sigbus;
    };
    k.set_vma_anon(vma.mm, vma.start);
    copy_user_large_folio(k, new, old, |_| ()).await;
    let range = MmuNotifierRange::new(Notify::Clear, p.mm, p.base(), p.base() + NR);
    mmu_notifier_invalidate_range_start(k, &range).await;
    spin_lock(k, page_table_lock(p.mm)).await;
    let mut unused = new;
    if pmdp_get(k, p) == pmd {
        // huge_ptep_clear_flush()
        pmdp_huge_get_and_clear(k, p).await;
        flush_tlb_range(k, p.mm, p.base(), p.base() + NR).await;
        folio_remove_rmap_pmd(k, old.pfn).await;
        hugetlb_add_new_anon_rmap(k, new.pfn, vma, p.base());
        set_pmd_at(k, p, make_huge_pte(vma, new, !vmf.unshare)).await;
        unused = old;
    }
    spin_unlock(k, page_table_lock(p.mm));
    mmu_notifier_invalidate_range_end(k, &range).await;
    put_page(k, unused).await;
    spin_lock(k, page_table_lock(p.mm)).await;
    VmFault::NoPage
}

/// Copies the entries of `src` to `dst`.  Both mmap_locks are held for writing.
///
/// # Errors
/// -ENOMEM.
pub(crate) async fn copy_hugetlb_page_range(k: &Kernel, dst: &Vma, src: &Vma) -> Result<(), Errno> {
    enter!(k);
    let range = MmuNotifierRange::new(Notify::Clear, src.mm, src.start, src.end);
    mmu_notifier_invalidate_range_start(k, &range).await;
    let seq = k.fixed(Fix::HugetlbForkSeq) && k.fixed(Fix::GupFastForkSeq);
    let raw_write_seqcount =
        || k.step(obj::write_protect_seq(src.mm), Access::Write, || k.write_protect_seq_inc(src.mm));
    if seq {
        raw_write_seqcount().await;
    }
    let mut ret = Ok(());
    for p in pmds(src.mm, src.start, src.end) {
        ret = copy_hugetlb_page(k, dst, src, p).await;
        if ret.is_err() {
            break;
        }
    }
    if seq {
        raw_write_seqcount().await;
    }
    mmu_notifier_invalidate_range_end(k, &range).await;
    ret
}

/// Shares one page, or copies it without the locks; once more if its entry is another one by then.
async fn copy_hugetlb_page(k: &Kernel, dst: &Vma, src: &Vma, p: PmdPtr) -> Result<(), Errno> {
    if pmdp_get_lockless(k, p).await.none() {
        return Ok(());
    }
    let dst_p = PmdPtr { mm: dst.mm, ..p };
    loop {
        spin_lock(k, page_table_lock(dst.mm)).await;
        spin_lock(k, page_table_lock(src.mm)).await;
        let pmd = pmdp_get(k, p);
        let folio = folio_of(k, p, pmd);
        get_page(k, folio.pfn).await;
        let shared = hugetlb_try_dup_anon_rmap(k, src, folio.pfn).await;
        if shared || k.fixed(Fix::ForkSnapshot) && pmd.write() {
            pmdp_modify(k, p, |pmd| pmd.mkwrite(false)).await;
        }
        if shared {
            let to = if k.fixed(Fix::HugetlbForkWrprotect) { pmdp_get(k, p) } else { pmd };
            move_pmd_at(k, dst_p, to, pmd_gens(k, p)).await;
        } else if k.fixed(Fix::ForkSnapshot) && pmd.write() {
            flush_tlb_range(k, src.mm, p.base(), p.base() + NR).await;
        }
        let pmd = pmdp_get(k, p);
        spin_unlock(k, page_table_lock(src.mm));
        spin_unlock(k, page_table_lock(dst.mm));
        if shared {
            return Ok(());
        }
        let new = alloc_hugetlb_folio(k, dst.mm).await;
        if let Some(new) = new {
            let copied = |i| k.emit(Event::ForkCopy { parent: src.mm, va: p.base() + i });
            copy_user_large_folio(k, new, folio, copied).await;
        }
        put_page(k, folio).await;
        let new = new.ok_or(Errno::ENOMEM)?; // -ENOSPC, which dup_mm() does not hand on
        spin_lock(k, page_table_lock(dst.mm)).await;
        spin_lock(k, page_table_lock(src.mm)).await;
        let same = pmdp_get(k, p) == pmd;
        if same {
            // hugetlb_install_folio()
            hugetlb_add_new_anon_rmap(k, new.pfn, dst, p.base());
            set_pmd_at(k, dst_p, make_huge_pte(dst, new, true)).await;
        }
        spin_unlock(k, page_table_lock(src.mm));
        spin_unlock(k, page_table_lock(dst.mm));
        if same {
            return Ok(());
        }
        put_page(k, new).await;
    }
}

/// The child maps the page, too; false: it may be pinned.
async fn hugetlb_try_dup_anon_rmap(k: &Kernel, src: &Vma, head: Pfn) -> bool {
    enter!(k);
    if page_needs_cow_for_dma(k, src, head).await {
        return false;
    }
    folio_dup_anon_rmap_pmd(k, head).await;
    true
}

/// Clears the leaves of pages `start..end` of an area; pages are freed by the gather.
pub(crate) async fn __unmap_hugepage_range(k: &Kernel, tlb: &mut MmuGather, vma: &Vma, start: u8, end: u8) {
    enter!(k);
    for p in pmds(vma.mm, start, end) {
        if pmdp_get_lockless(k, p).await.none() {
            continue;
        }
        spin_lock(k, page_table_lock(p.mm)).await;
        let pmd = pmdp_get(k, p);
        let folio = folio_of(k, p, pmd);
        if !pmd.none() {
            pmdp_huge_get_and_clear(k, p).await;
            tlb.range(p.base(), p.base() + NR);
            folio_remove_rmap_pmd(k, folio.pfn).await;
        }
        spin_unlock(k, page_table_lock(p.mm));
        if !pmd.none() && tlb.remove_page(folio) {
            tlb_flush_mmu(k, tlb).await;
        }
    }
}

/// Changes the protection of an area; nothing becomes writable without a fault.  The caller flushes.
pub(crate) async fn hugetlb_change_protection(k: &Kernel, vma: &Vma, flags: VmFlags) {
    enter!(k);
    for p in pmds(vma.mm, vma.start, vma.end) {
        if pmdp_get_lockless(k, p).await.none() {
            continue;
        }
        spin_lock(k, page_table_lock(p.mm)).await;
        if !pmdp_get(k, p).none() {
            let gens = pmd_gens(k, p);
            let pmd = pmdp_huge_get_and_clear(k, p).await;
            move_pmd_at(k, p, pmd.mkaccessible(flags.contains(VmFlags::READ)).mkwrite(false), gens).await;
        }
        spin_unlock(k, page_table_lock(p.mm));
    }
}
