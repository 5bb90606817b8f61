// SPDX-License-Identifier: GPL-2.0-or-later
//! Copying the entries of an area: fork's part.  Linux: mm/memory.c.

use super::{add_mm_counter, pte_alloc, vm_normal_page};
use crate::fixes::Fix;
use crate::kernel::{Errno, Touch, Wait, enter, spin_lock, spin_unlock};
use crate::limits::*;
use crate::mm::gup::page_maybe_dma_pinned;
use crate::mm::highmem::copy_user_highpage;
use crate::mm::huge_memory::copy_huge_pmd;
use crate::mm::hugetlb::copy_hugetlb_page_range;
use crate::mm::mm_types::*;
use crate::mm::mmu_gather::flush_tlb_range;
use crate::mm::mmu_notifier::*;
use crate::mm::page_alloc::alloc_pages;
use crate::mm::page_ref::get_page;
use crate::mm::pgtable::*;
use crate::mm::rmap::*;
use crate::mm::swap::put_page;
use crate::mm::swapfile::swap_duplicate;
use crate::trace::{Access, Event, Notify, Owner, Pfn, obj};

/// Whether a fault would not bring the entries back.
pub(crate) fn vma_needs_copy(src: &Vma) -> bool {
    src.flags.intersects(VmFlags::PFNMAP | VmFlags::MIXEDMAP) || src.anon_vma
}

/// Copies the entries of `src` to `dst`.  Both mmap_locks are held for writing.
///
/// ```text
///   fork                               GUP-fast (FOLL_PIN)
///   1. write_protect_seq: odd          a. read write_protect_seq
///   2. is the page pinned?  no         b. read the pte: writable
///   3. write-protect, share it         c. take a reference; the pte is the same
///   4. write_protect_seq: even         d. read write_protect_seq again, or drop
/// ```
///
/// c between 2 and 3 is seen by neither; d sees it.
///
/// # Errors
/// -ENOMEM.
pub(crate) async fn copy_page_range(k: &Kernel, dst: &Vma, src: &Vma) -> Result<(), Errno> {
    enter!(k);
    if src.flags.contains(VmFlags::HUGETLB) {
        return copy_hugetlb_page_range(k, dst, src).await;
    }
    let is_cow = src.flags.is_cow();
    let range = MmuNotifierRange::new(Notify::ProtectionPage, src.mm, src.start, src.end);
    if is_cow {
        mmu_notifier_invalidate_range_start(k, &range).await;
        raw_write_seqcount(k, src.mm).await;
    }
    let mut ret = Ok(());
    let mut va = src.start;
    while va < src.end && ret.is_ok() {
        let p = PmdPtr::of(src.mm, va);
        let next = (p.base() + PTRS_PER_PTE as u8).min(src.end);
        let mut pmd = pmdp_get_lockless(k, p).await;
        // A driver's leaf faults again.
        if pmd.maps_huge() && src.is_anonymous() {
            match copy_huge_pmd(k, dst, src, va).await {
                // It is copied, whatever becomes of it now.
                Ok(true) => pmd = Pte::NONE,
                Ok(false) => pmd = pmdp_get_lockless(k, p).await,
                Err(errno) => ret = Err(errno),
            }
        }
        if let (Ok(()), Some(table)) = (ret, pmd.table_nr()) {
            ret = copy_pte_range(k, dst, src, table, va, next).await;
        }
        va = next;
    }
    if is_cow {
        raw_write_seqcount(k, src.mm).await;
        mmu_notifier_invalidate_range_end(k, &range).await;
    }
    ret
}

/// raw_write_seqcount_begin() and _end(): odd between the two.
async fn raw_write_seqcount(k: &Kernel, mm: u8) {
    if k.fixed(Fix::GupFastForkSeq) {
        k.step(obj::write_protect_seq(mm), Access::Write, || k.write_protect_seq_inc(mm)).await;
    }
}

async fn copy_pte_range(k: &Kernel, dst: &Vma, src: &Vma, table: u8, start: u8, end: u8) -> Result<(), Errno> {
    enter!(k);
    let Ok(Some(dst_table)) = pte_alloc(k, dst.mm, start).await else {
        return Err(Errno::ENOMEM);
    };
    let mut prealloc = None;
    let mut va = start;
    loop {
        spin_lock(k, ptl(dst_table)).await;
        spin_lock(k, ptl(table)).await;
        while va < end && copy_pte(k, dst, src, (dst_table, table, va), &mut prealloc).await {
            va += 1;
        }
        spin_unlock(k, ptl(table));
        spin_unlock(k, ptl(dst_table));
        if va == end {
            break;
        }
        // A copy needs a page, and nobody allocates one under the lock.
        prealloc = alloc_pages(k, 0, false, Owner::Anon(dst.mm)).await;
        if prealloc.is_none() {
            return Err(Errno::ENOMEM);
        }
    }
    if let Some(page) = prealloc {
        put_page(k, page).await;
    }
    Ok(())
}

/// Copies one entry; false: a page is needed first.
async fn copy_pte(k: &Kernel, dst: &Vma, src: &Vma, at: (u8, u8, u8), prealloc: &mut Option<PageRef>) -> bool {
    let (dst_table, table, va) = at;
    let (dst_p, src_p) = (PtePtr::of(k, dst_table, va), PtePtr::of(k, table, va));
    let pte = ptep_get(k, src_p);
    if pte.none() {
        return true;
    }
    if !pte.present() {
        copy_nonpresent_pte(k, dst, src, dst_p, src_p).await;
        return true;
    }
    if let Some(pfn) = vm_normal_page(k, src, va, pte) {
        if page_needs_cow_for_dma(k, src, pfn).await {
            if k.fixed(Fix::ForkSkipPinned) {
                return true; // as if by MADV_DONTFORK
            }
            return copy_present_page(k, dst, src, va, dst_p, src_p, prealloc).await;
        }
        get_page(k, pfn).await;
        page_dup_rmap(k, pfn).await;
        add_mm_counter(k, dst.mm, pfn, 1);
    }
    let wrprotect = src.flags.is_cow() && pte.write();
    if wrprotect {
        // The MMU may have set the dirty bit since.
        ptep_modify(k, src_p, |pte| pte.mkwrite(false)).await;
    }
    move_pte_at(k, dst_p, pte.mkwrite(pte.write() && !wrprotect), pte_gen(k, src_p)).await;
    true
}

/// Whether the child must get a copy at once: the page may be pinned, and the parent is to keep it.
///
/// Only of a page that is the parent's alone: what is shared already is not pinned, or was shared before.
pub(crate) async fn page_needs_cow_for_dma(k: &Kernel, src: &Vma, pfn: Pfn) -> bool {
    enter!(k);
    let shared = k.fixed(Fix::WpReuseExclusive) && !k.page_anon_exclusive(pfn);
    let early = match src.flags.contains(VmFlags::HUGETLB) {
        true => k.fixed(Fix::HugetlbForkEarlyCow),
        false => k.fixed(Fix::ForkEarlyCow) || k.fixed(Fix::ForkSkipPinned),
    };
    if !early || !src.flags.is_cow() || !k.folio_test_anon(pfn) || shared {
        return false;
    }
    let head = k.compound_head(pfn);
    let touch = [Touch::read(obj::has_pinned(src.mm)), Touch::read(obj::page(head, 1)), Touch::default()];
    k.step_on(touch, Wait::Ready, || k.has_pinned(src.mm) && page_maybe_dma_pinned(k, pfn)).await
}

/// Gives the child a copy; the parent keeps page and entry.
///
/// ```text
///   fork                            another thread of the parent
///   1. copy a pinned page
///                                   2. store to it, then to another page
///   3. share that other page
/// ```
///
/// The child would see the second store and not the first.
async fn copy_present_page(
    k: &Kernel,
    dst: &Vma,
    src: &Vma,
    va: u8,
    dst_p: PtePtr,
    src_p: PtePtr,
    prealloc: &mut Option<PageRef>,
) -> bool {
    enter!(k);
    let Some(copy) = prealloc.take() else {
        return false;
    };
    let pte = ptep_get(k, src_p);
    // The fault that makes it writable again relies on the page being exclusive.
    if k.fixed(Fix::ForkSnapshot) && k.fixed(Fix::WpReuseExclusive) && pte.write() {
        ptep_modify(k, src_p, |pte| pte.mkwrite(false)).await;
        flush_tlb_range(k, src.mm, va, va + 1).await;
    }
    let page = PageRef { pfn: pte.pfn(), gen_: pte_gen(k, src_p) };
    copy_user_highpage(k, copy, page).await;
    k.emit(Event::ForkCopy { parent: src.mm, va });
    page_add_new_anon_rmap(k, copy.pfn, dst, va);
    add_mm_counter(k, dst.mm, copy.pfn, 1);
    let pte = Pte::page(copy.pfn).mkwrite(dst.flags.contains(VmFlags::WRITE));
    set_pte_at(k, dst_p, pte.mkdirty()).await;
    true
}

/// Copies an entry that says where the page is meanwhile; what was the parent's alone is shared now.
async fn copy_nonpresent_pte(k: &Kernel, dst: &Vma, src: &Vma, dst_p: PtePtr, src_p: PtePtr) {
    enter!(k);
    let mut pte = ptep_get(k, src_p);
    if let Some(slot) = pte.swap_slot() {
        swap_duplicate(k, slot).await;
        if pte.exclusive() {
            pte = pte.mkexclusive(false);
            set_pte_at(k, src_p, pte).await;
        }
    }
    if pte.is_device_private() {
        get_page(k, pte.pfn()).await;
        page_dup_rmap(k, pte.pfn()).await; // nobody can have pinned it
        add_mm_counter(k, dst.mm, pte.pfn(), 1);
        if pte.write() && src.flags.is_cow() {
            pte = pte.mkwrite(false);
            set_pte_at(k, src_p, pte).await;
        }
    }
    if pte.is_migration() {
        add_mm_counter(k, dst.mm, pte.pfn(), 1);
        if src.flags.is_cow() && (pte.write() || pte.exclusive()) {
            pte = Pte::migration(pte.pfn(), false, false);
            set_pte_at(k, src_p, pte).await;
        }
    }
    set_pte_at(k, dst_p, pte).await;
}
