// SPDX-License-Identifier: GPL-2.0-or-later
//! Page faults: anonymous memory, files, copy on write.

use super::shared::*;
use super::swapin::do_swap_page;
use super::{add_mm_counter, pte_alloc, vm_normal_page};
use crate::fixes::Fix;
use crate::kernel::{enter, mutex_lock, mutex_unlock, spin_lock, spin_unlock, trylock};
use crate::mm::filemap::filemap_fault;
use crate::mm::highmem::copy_user_highpage;
use crate::mm::huge_memory::*;
use crate::mm::hugetlb::hugetlb_fault;
use crate::mm::mm_types::*;
use crate::mm::mmu_gather::flush_tlb_range;
use crate::mm::mmu_notifier::*;
use crate::mm::page_alloc::*;
use crate::mm::page_ref::get_page;
use crate::mm::pgtable::*;
use crate::mm::rmap::*;
use crate::mm::shmem::{shmem_fault, shmem_mapping};
use crate::mm::swap::put_page;
use crate::mm::swapfile::*;
use crate::mm::uaccess::copy_from_user_inatomic;
use crate::trace::{Access, Notify, Owner, Pfn, obj};

/// Handles a fault at `vmf.va` of an area; mmap_lock is held for reading.
pub(crate) async fn handle_mm_fault(k: &Kernel, vma: &Vma, vmf: Vmf) -> VmFault {
    enter!(k);
    if vma.flags.contains(VmFlags::HUGETLB) {
        return hugetlb_fault(k, vma, vmf).await;
    }
    let pmdp = PmdPtr::of(vmf.mm, vmf.va);
    let pmd = pmdp_get_lockless(k, pmdp).await;
    let ret = match pmd.none() {
        true => create_huge_pmd(k, vma, vmf, pmdp).await,
        false if pmd.is_migration() => pmd_migration_entry_wait(k, pmdp).await,
        false if pmd.is_leaf() => huge_pmd_fault(k, vma, vmf, pmdp, pmd).await,
        false => VmFault::Fallback,
    };
    if ret == VmFault::Fallback { handle_pte_fault(k, vma, vmf).await } else { ret }
}

async fn create_huge_pmd(k: &Kernel, vma: &Vma, vmf: Vmf, p: PmdPtr) -> VmFault {
    if thp_vma_allowable(vma, p) {
        return do_huge_pmd_anonymous_page(k, vma, vmf, p).await;
    }
    match vma.ops.as_ref().and_then(|ops| ops.huge_fault(k, vma, vmf)) {
        Some(fault) => fault.await,
        None => VmFault::Fallback,
    }
}

/// A leaf that does not permit the access.  Linux: wp_huge_pmd(); asks the driver, or splits.
async fn huge_pmd_fault(k: &Kernel, vma: &Vma, vmf: Vmf, p: PmdPtr, pmd: Pte) -> VmFault {
    enter!(k);
    if vma.is_anonymous() {
        return match (vmf.write || vmf.unshare) && !pmd.write() {
            true => do_huge_pmd_wp_page(k, vma, vmf, p, pmd).await,
            false => huge_pmd_set_accessed(k, p).await,
        };
    }
    if pmd.access_permitted(vmf.write) {
        return VmFault::NoPage; // somebody was faster
    }
    if let Some(ops) = &vma.ops
        && let Some(fault) = ops.huge_fault(k, vma, vmf)
    {
        let ret = fault.await;
        if ret != VmFault::Fallback {
            return ret;
        }
    }
    __split_huge_pmd(k, vma, p, None).await;
    VmFault::NoPage
}

async fn handle_pte_fault(k: &Kernel, vma: &Vma, vmf: Vmf) -> VmFault {
    enter!(k);
    let pmd = pmdp_get_lockless(k, PmdPtr::of(vmf.mm, vmf.va)).await;
    let pte = match pmd.table_nr() {
        Some(table) => ptep_get_lockless(k, PtePtr::of(k, table, vmf.va)).await,
        None => Pte::NONE,
    };
    if pte.none() {
        return match vma.is_anonymous() {
            true => do_anonymous_page(k, vma, vmf).await,
            false => do_fault(k, vma, vmf).await,
        };
    }
    if !pte.present() {
        return do_swap_page(k, vma, vmf, pte).await;
    }
    if (vmf.write || vmf.unshare) && !pte.write() {
        return do_wp_page(k, vma, vmf, pte).await;
    }
    VmFault::NoPage
}

async fn do_anonymous_page(k: &Kernel, vma: &Vma, vmf: Vmf) -> VmFault {
    enter!(k);
    k.set_vma_anon(vma.mm, vma.start);
    let table = match pte_alloc(k, vmf.mm, vmf.va).await {
        Ok(Some(table)) => table,
        Ok(None) => return VmFault::NoPage,
        Err(oom) => return oom,
    };
    let Some(page) = alloc_filled(k, Owner::Anon(vmf.mm), 0).await else {
        return VmFault::Oom;
    };
    map_new_page(k, vma, vmf, table, page, true).await
}

/// Maps a page that only we hold, unless somebody was faster; takes over the reference.
async fn map_new_page(k: &Kernel, vma: &Vma, vmf: Vmf, table: u8, page: PageRef, anon: bool) -> VmFault {
    enter!(k);
    let p = PtePtr::of(k, table, vmf.va);
    spin_lock(k, ptl(table)).await;
    if !ptep_get(k, p).none() {
        spin_unlock(k, ptl(table));
        put_page(k, page).await;
        return VmFault::NoPage;
    }
    if anon {
        page_add_new_anon_rmap(k, page.pfn, vma, vmf.va);
    } else {
        page_add_file_rmap(k, page.pfn).await;
    }
    add_mm_counter(k, vmf.mm, page.pfn, 1);
    let writable = vma.flags.contains(VmFlags::WRITE) && (anon || vmf.write);
    let pte = Pte::page(page.pfn).mkwrite(writable);
    set_pte_at(k, p, if writable && vmf.write { pte.mkdirty() } else { pte }).await;
    spin_unlock(k, ptl(table));
    VmFault::NoPage
}

async fn do_fault(k: &Kernel, vma: &Vma, vmf: Vmf) -> VmFault {
    enter!(k);
    let cow = vmf.write && !vma.flags.contains(VmFlags::SHARED);
    if cow {
        k.set_vma_anon(vma.mm, vma.start);
    }
    let fault = match &vma.ops {
        Some(ops) => ops.fault(k, vma, vmf).await,
        None if k.a_ops(vma.mapping).is_some() => filemap_fault(k, vma.mapping, vmf.pgoff).await,
        None => shmem_fault(k, vma.mapping, vmf.pgoff).await,
    };
    let VmFault::Page(page) = fault else {
        return fault;
    };
    // Truncation takes the page lock too: what is locked and still in the file stays until it is mapped.
    let head = k.compound_head(page.pfn);
    mutex_lock(k, folio_lock(head)).await;
    let mut truncated = vma.ops.is_none() && k.folio_mapping(page.pfn) != vma.mapping;
    // What is left of a huge page behind the end of its file.
    if !truncated && k.page_head(head) && vma.ops.is_none() {
        spin_lock(k, i_pages(vma.mapping)).await;
        truncated = vmf.pgoff >= k.i_size_read(vma.mapping);
        spin_unlock(k, i_pages(vma.mapping));
    }
    // A broken page of another file is not the file's any more.  (Linux looks at every file's: a fault that comes
    // between the mark and the removal gets the page here.)
    let broken = || k.folio_test(page.pfn, PageFlags::HWPOISON);
    let shmem = vma.ops.is_none() && shmem_mapping(vma.mapping);
    if shmem && !truncated && k.step(obj::page(page.pfn, 1), Access::Read, broken).await {
        mutex_unlock(k, folio_lock(head));
        put_page(k, page).await;
        return VmFault::Sigbus; // VM_FAULT_HWPOISON
    }
    let mkwrite = vmf.write && !truncated && vma_needs_dirty_tracking(k, vma);
    if mkwrite {
        mutex_unlock(k, folio_lock(head));
        truncated = !do_page_mkwrite(k, vma, page).await;
    }
    let ret = match truncated {
        true => VmFault::NoPage,
        false => finish_fault(k, vma, vmf, page, cow).await,
    };
    if mkwrite && !truncated && ret == VmFault::NoPage {
        fault_dirty_shared_page(k, page).await;
    } else if !mkwrite || !truncated {
        mutex_unlock(k, folio_lock(head));
    }
    if truncated || cow || ret == VmFault::Oom {
        put_page(k, page).await;
    }
    if ret == VmFault::Oom { ret } else { VmFault::NoPage }
}

/// Maps a page of a file, which is locked, or a private copy of it.  Takes over the reference if it
/// maps the page itself and does not run out of memory.
async fn finish_fault(k: &Kernel, vma: &Vma, vmf: Vmf, page: PageRef, cow: bool) -> VmFault {
    enter!(k);
    let table = match pte_alloc(k, vmf.mm, vmf.va).await {
        Ok(Some(table)) => table,
        Ok(None) if cow => return VmFault::NoPage,
        Ok(None) => {
            put_page(k, page).await;
            return VmFault::NoPage;
        }
        Err(oom) => return oom,
    };
    if !cow {
        return map_new_page(k, vma, vmf, table, page, false).await;
    }
    match alloc_copy(k, vmf.mm, page).await {
        Some(copy) => map_new_page(k, vma, vmf, table, copy, true).await,
        None => VmFault::Oom,
    }
}

/// A new anonymous page with the contents of another.
async fn alloc_copy(k: &Kernel, mm: u8, from: PageRef) -> Option<PageRef> {
    let copy = alloc_pages(k, 0, false, Owner::Anon(mm)).await?;
    copy_user_highpage(k, copy, from).await;
    Some(copy)
}

/// A write to a page that is mapped without write permission, or a pin of it that may not share.
pub(super) async fn do_wp_page(k: &Kernel, vma: &Vma, vmf: Vmf, orig: Pte) -> VmFault {
    enter!(k);
    let Some(table) = pmdp_get_lockless(k, PmdPtr::of(vmf.mm, vmf.va)).await.table_nr() else {
        return VmFault::NoPage;
    };
    let p = PtePtr::of(k, table, vmf.va);
    spin_lock(k, ptl(table)).await;
    if ptep_get(k, p) != orig {
        spin_unlock(k, ptl(table));
        return VmFault::NoPage;
    }
    if vma_needs_dirty_tracking(k, vma) {
        return wp_page_shared(k, vma, vmf, p, orig).await;
    }
    let page = vm_normal_page(k, vma, vmf.va, orig);
    let reuse = match page {
        _ if vma.flags.contains(VmFlags::SHARED) => Some(true),
        None => Some(false),
        Some(pfn) => wp_can_reuse_anon_folio(k, p, orig, pfn).await,
    };
    let Some(reuse) = reuse else {
        spin_unlock(k, ptl(table));
        return VmFault::NoPage;
    };
    if reuse && vmf.unshare {
        spin_unlock(k, ptl(table));
        return VmFault::NoPage;
    }
    if reuse {
        // maybe_mkwrite(): GUP may break COW of an area that is not writable.
        let write = vma.flags.contains(VmFlags::WRITE);
        set_pte_at(k, p, orig.mkwrite(write).mkdirty().mkyoung()).await;
        spin_unlock(k, ptl(table));
        flush_tlb_range(k, vmf.mm, vmf.va, vmf.va + 1).await;
        return VmFault::NoPage;
    }
    let old = PageRef { pfn: orig.pfn(), gen_: pte_gen(k, p) };
    if let Some(pfn) = page {
        get_page(k, pfn).await;
    }
    spin_unlock(k, ptl(table));
    let ret = wp_page_copy(k, vma, vmf, p, orig, old, page).await;
    if page.is_some() {
        put_page(k, old).await;
    }
    ret
}

/// Whether a write fault may go on using an anonymous page.  The page-table lock is held.
///
/// Mapcount era (to v5.8): nobody else maps it.  Refcount era (v5.9): nobody else references it.
/// Exclusive era (v5.19): it is ours alone, however often it is referenced.
///
/// `None`: the lock was dropped and the entry has changed.
async fn wp_can_reuse_anon_folio(k: &Kernel, p: PtePtr, orig: Pte, pfn: Pfn) -> Option<bool> {
    enter!(k);
    if !k.folio_test_anon(pfn) {
        return Some(false);
    }
    if k.fixed(Fix::WpReuseExclusive) && k.page_anon_exclusive(pfn) {
        return Some(true);
    }
    let refcount_era = k.fixed(Fix::WpReuseRefcount);
    let exclusive_era = k.fixed(Fix::WpReuseExclusive);
    let head = k.compound_head(pfn);
    let count = || k.step(obj::page(head, 1), Access::Read, || k.page_count(head));
    // What else may be counted: before v5.18 (53a05ad9f21d) not even the swap cache.
    let others = || i32::from(exclusive_era && k.folio_test(head, PageFlags::SWAPCACHE));
    let few = || k.step(obj::page(head, 1), Access::Read, || k.page_count(head) <= 1 + others());
    if refcount_era && !few().await {
        return Some(false);
    }
    if !trylock(k, folio_lock(head)).await {
        if refcount_era {
            return Some(false);
        }
        if !wait_for_page(k, p, orig, pfn).await {
            return None;
        }
    }
    let folio = PageRef { pfn: head, gen_: pte_gen(k, p) };
    if exclusive_era {
        try_to_free_swap(k, folio).await;
    }
    let reuse = match refcount_era {
        true => page_mapcount(k, pfn).await == 1 && count().await == 1,
        false if head == pfn => reuse_swap_page(k, folio).await,
        false => page_mapcount(k, pfn).await == 1,
    };
    if reuse && exclusive_era {
        k.step(obj::page(pfn, 1), Access::Write, || k.set_page_anon_exclusive(pfn, true)).await;
    }
    mutex_unlock(k, folio_lock(head));
    Some(reuse)
}

/// Takes the page's lock, which may sleep, so without the page table's; false: the entry has changed.
async fn wait_for_page(k: &Kernel, p: PtePtr, orig: Pte, pfn: Pfn) -> bool {
    enter!(k);
    let page = PageRef { pfn, gen_: pte_gen(k, p) };
    let head = k.compound_head(pfn);
    get_page(k, pfn).await;
    spin_unlock(k, ptl(p.table));
    mutex_lock(k, folio_lock(head)).await;
    spin_lock(k, ptl(p.table)).await;
    let same = ptep_get(k, p) == orig;
    if !same {
        mutex_unlock(k, folio_lock(head));
    }
    put_page(k, page).await;
    same
}

/// Fills the copy; false if there was nothing to read any more.
async fn __wp_page_copy_user(k: &Kernel, vmf: Vmf, copy: PageRef, from: Option<PageRef>) -> bool {
    enter!(k);
    if let Some(from) = from {
        copy_user_highpage(k, copy, from).await;
        return true;
    }
    // Nobody holds a page frame for us: only its address says that it still is there.
    let Some(value) = copy_from_user_inatomic(k, vmf.va).await else {
        return false;
    };
    k.step(obj::data(copy.pfn), Access::Write, || fill(k, copy, value)).await;
    true
}

/// Copies a page for its writer; `page`: what mm references behind the old entry.
async fn wp_page_copy(
    k: &Kernel,
    vma: &Vma,
    vmf: Vmf,
    p: PtePtr,
    orig: Pte,
    old: PageRef,
    page: Option<Pfn>,
) -> VmFault {
    enter!(k);
    k.set_vma_anon(vma.mm, vma.start);
    let Some(copy) = alloc_pages(k, 0, false, Owner::Anon(vmf.mm)).await else {
        return VmFault::Oom;
    };
    if !__wp_page_copy_user(k, vmf, copy, page.map(|_| old)).await {
        put_page(k, copy).await;
        return VmFault::NoPage;
    }
    let range = MmuNotifierRange::new(Notify::Clear, vmf.mm, vmf.va, vmf.va + 1);
    mmu_notifier_invalidate_range_start(k, &range).await;
    spin_lock(k, ptl(p.table)).await;
    if ptep_get(k, p) != orig {
        spin_unlock(k, ptl(p.table));
        mmu_notifier_invalidate_range_end(k, &range).await;
        put_page(k, copy).await;
        return VmFault::NoPage;
    }
    // Clear and flush before the new entry: no CPU may write the copy while another reads the old page.
    ptep_get_and_clear(k, p).await;
    flush_tlb_range(k, vmf.mm, vmf.va, vmf.va + 1).await;
    page_add_new_anon_rmap(k, copy.pfn, vma, vmf.va);
    add_mm_counter(k, vmf.mm, copy.pfn, 1);
    let pte = Pte::page(copy.pfn).mkwrite(vmf.write && vma.flags.contains(VmFlags::WRITE));
    set_pte_at(k, p, pte.mkdirty()).await;
    if let Some(pfn) = page {
        add_mm_counter(k, vmf.mm, pfn, -1);
        page_remove_rmap(k, pfn).await;
    }
    spin_unlock(k, ptl(p.table));
    mmu_notifier_invalidate_range_end(k, &range).await;
    if page.is_some() {
        put_page(k, old).await;
    }
    VmFault::NoPage
}
