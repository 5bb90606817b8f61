// SPDX-License-Identifier: GPL-2.0-or-later
//! Write faults of shared mappings: the file system is asked first.  Linux: mm/memory.c.

use crate::kernel::{enter, mutex_unlock, spin_lock, spin_unlock};
use crate::mm::mm_types::*;
use crate::mm::mmu_gather::flush_tlb_range;
use crate::mm::page_ref::get_page;
use crate::mm::page_writeback::set_page_dirty;
use crate::mm::pgtable::*;
use crate::mm::swap::put_page;

/// vma_needs_dirty_tracking(): its file wants to know who writes.
pub(crate) fn vma_needs_dirty_tracking(k: &Kernel, vma: &Vma) -> bool {
    vma.flags.contains(VmFlags::SHARED) && vma.ops.is_none() && k.a_ops(vma.mapping).is_some()
}

/// Asks the file system; the page is locked afterwards.  False: it is not the file's any more.
pub(super) async fn do_page_mkwrite(k: &Kernel, vma: &Vma, page: PageRef) -> bool {
    enter!(k);
    match k.a_ops(vma.mapping) {
        Some(ops) => ops.page_mkwrite(k, page).await,
        None => false,
    }
}

/// The page was made writable: it is as good as written to.  Unlocks it.
pub(super) async fn fault_dirty_shared_page(k: &Kernel, page: PageRef) {
    enter!(k);
    set_page_dirty(k, page.pfn).await;
    mutex_unlock(k, folio_lock(page.pfn));
}

/// A write to a page of a file that is mapped without write permission; ptl is held and goes.
pub(super) async fn wp_page_shared(k: &Kernel, vma: &Vma, vmf: Vmf, p: PtePtr, orig: Pte) -> VmFault {
    enter!(k);
    let page = PageRef { pfn: orig.pfn(), gen_: pte_gen(k, p) };
    get_page(k, page.pfn).await;
    spin_unlock(k, ptl(p.table));
    if do_page_mkwrite(k, vma, page).await {
        // finish_mkwrite_fault()
        spin_lock(k, ptl(p.table)).await;
        let same = ptep_get(k, p) == orig;
        if same {
            set_pte_at(k, p, orig.mkwrite(true).mkdirty().mkyoung()).await;
        }
        spin_unlock(k, ptl(p.table));
        if same {
            flush_tlb_range(k, vmf.mm, vmf.va, vmf.va + 1).await;
            fault_dirty_shared_page(k, page).await;
        } else {
            mutex_unlock(k, folio_lock(page.pfn));
        }
    }
    put_page(k, page).await;
    VmFault::NoPage
}
