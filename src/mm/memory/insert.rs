// SPDX-License-Identifier: GPL-2.0-or-later
//! How drivers put pages and page frames into areas.

use super::{add_mm_counter, pte_alloc};
use crate::fixes::Fix;
use crate::kernel::{Errno, enter, spin_lock, spin_unlock};
use crate::mm::mm_types::*;
use crate::mm::page_ref::get_page;
use crate::mm::pgtable::*;
use crate::mm::rmap::page_add_file_rmap;
use crate::trace::{Access, Event, Pfn, obj};

/// A frame number and what it says of itself.  Linux: include/linux/pfn_t.h.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PfnT {
    pub(crate) pfn: Pfn,
    /// PFN_DEV: no page to reference.
    pub(crate) dev: bool,
    /// PFN_MAP: but there is a struct page, some pgmap's.
    pub(crate) map: bool,
}

impl PfnT {
    /// PFN_DEV.
    pub(crate) fn dev(pfn: Pfn) -> PfnT {
        PfnT { pfn, dev: true, map: false }
    }
    /// pfn_t_devmap(): both bits.  [`Fix::NoDevmap`]: neither means anything.
    pub(crate) fn devmap(self, k: &Kernel) -> bool {
        self.dev && self.map && !k.fixed(Fix::NoDevmap)
    }
}

/// Puts an entry for a page frame without a reference.  An occupied slot is left alone.
async fn insert_pfn(k: &Kernel, vma: &Vma, va: u8, pfn: PfnT, write: bool) -> VmFault {
    enter!(k);
    let table = match pte_alloc(k, vma.mm, va).await {
        Ok(Some(table)) => table,
        Ok(None) => return VmFault::NoPage,
        Err(oom) => return oom,
    };
    let p = PtePtr::of(k, table, va);
    spin_lock(k, ptl(table)).await;
    if ptep_get(k, p).none() {
        let pte = Pte::page(pfn.pfn);
        let pte = if pfn.devmap(k) { pte.mkdevmap(k) } else { pte.mkspecial(k) };
        set_pte_at(k, p, if write { pte.mkwrite(true).mkdirty() } else { pte }).await;
    }
    spin_unlock(k, ptl(table));
    VmFault::NoPage
}

/// Whether the area may hold page frames at all; a kernel BUG otherwise.
fn bug_on(k: &Kernel, wrong: bool, what: &'static str, pfn: Pfn) -> bool {
    if wrong {
        k.emit(Event::Bug { what, pfn: Some(pfn) });
    }
    wrong
}

/// Puts a page frame into a VM_PFNMAP or VM_MIXEDMAP area, from a fault handler.
pub(crate) async fn vmf_insert_pfn_prot(k: &Kernel, vma: &Vma, va: u8, pfn: Pfn, write: bool) -> VmFault {
    enter!(k);
    let pfnmap = vma.flags.contains(VmFlags::PFNMAP);
    let mixed = vma.flags.contains(VmFlags::MIXEDMAP);
    if bug_on(k, pfnmap == mixed, "bug-on-pfnmap", pfn)
        || bug_on(k, pfnmap && vma.flags.is_cow(), "bug-on-pfnmap-cow", pfn)
        || bug_on(k, mixed && pfn.valid(), "bug-on-mixedmap-pfn", pfn)
        || !vma.contains(va)
    {
        return VmFault::Sigbus;
    }
    insert_pfn(k, vma, va, PfnT { pfn, dev: false, map: false }, write).await
}

/// Puts a page frame into a VM_MIXEDMAP area.
///
/// Where the architecture has no special bit, a frame with a struct page is inserted as a page,
/// reference and all.
pub(crate) async fn vmf_insert_mixed_prot(k: &Kernel, vma: &Vma, va: u8, pfn: PfnT, write: bool) -> VmFault {
    enter!(k);
    let mixed_ok = vma.flags.contains(VmFlags::MIXEDMAP) || pfn.devmap(k);
    if bug_on(k, !mixed_ok, "bug-on-mixedmap", pfn.pfn) || !vma.contains(va) {
        return VmFault::Sigbus;
    }
    if !k.fixed(Fix::PteSpecial) && !pfn.devmap(k) && pfn.pfn.valid() {
        return vmf_insert_page_mkwrite(k, vma, va, pfn.pfn, write).await;
    }
    insert_pfn(k, vma, va, pfn, write).await
}

/// Maps a page with a reference, from a fault handler.  An occupied slot is left alone.
pub(crate) async fn vmf_insert_page_mkwrite(k: &Kernel, vma: &Vma, va: u8, pfn: Pfn, write: bool) -> VmFault {
    if !vma.contains(va) {
        return VmFault::Sigbus;
    }
    match insert_page(k, vma, va, pfn, write).await {
        Ok(()) | Err(Errno::EBUSY) => VmFault::NoPage,
        Err(Errno::ENOMEM) => VmFault::Oom,
        Err(_) => VmFault::Sigbus,
    }
}

/// Maps a page with a reference, a mapcount and an rss of its own.
async fn insert_page(k: &Kernel, vma: &Vma, va: u8, pfn: Pfn, write: bool) -> Result<(), Errno> {
    enter!(k);
    let table = match pte_alloc(k, vma.mm, va).await {
        Ok(Some(table)) => table,
        Ok(None) => return Err(Errno::EBUSY),
        Err(_) => return Err(Errno::ENOMEM),
    };
    let p = PtePtr::of(k, table, va);
    spin_lock(k, ptl(table)).await;
    if !ptep_get(k, p).none() {
        spin_unlock(k, ptl(table));
        return Err(Errno::EBUSY);
    }
    get_page(k, pfn).await;
    add_mm_counter(k, vma.mm, pfn, 1);
    page_add_file_rmap(k, pfn).await;
    set_pte_at(k, p, if write { Pte::page(pfn).mkwrite(true) } else { Pte::page(pfn) }).await;
    spin_unlock(k, ptl(table));
    Ok(())
}

/// Maps a page that has a reference count into a VM_MIXEDMAP area.
///
/// # Errors
/// -EFAULT: outside of the area; -EINVAL for an anonymous page or one without references; -EBUSY for
/// an occupied slot; -ENOMEM.
pub(crate) async fn vm_insert_page(k: &Kernel, vma: &Vma, va: u8, pfn: Pfn, write: bool) -> Result<(), Errno> {
    enter!(k);
    if !vma.contains(va) {
        return Err(Errno::EFAULT);
    }
    let head = k.compound_head(pfn);
    let referenced = k.step(obj::page(head, 1), Access::Read, || k.page_count(head) != 0).await;
    if k.folio_test_anon(pfn) || !referenced {
        return Err(Errno::EINVAL);
    }
    insert_page(k, vma, va, pfn, write).await
}

/// Maps `nr` frames from `pfn` at `va` of a new VM_PFNMAP area; mmap_lock is held for writing.
///
/// Of a private writable one `pgoff` becomes the first frame's number: it tells frames from copies where
/// entries have no special bit.
///
/// # Errors
/// -EINVAL for a part of a private writable mapping, -ENOMEM.
pub(crate) async fn remap_pfn_range(k: &Kernel, vma: &mut Vma, va: u8, pfn: Pfn, nr: u8) -> Result<(), Errno> {
    enter!(k);
    let cow = vma.flags.is_cow();
    if cow {
        if (va, va + nr) != (vma.start, vma.end) {
            return Err(Errno::EINVAL);
        }
        vma.pgoff = pfn.0;
    }
    for i in 0..nr {
        let write = vma.flags.contains(VmFlags::WRITE) && !cow;
        let pfn = PfnT { pfn: pfn.add(i as usize), dev: false, map: false };
        if insert_pfn(k, vma, va + i, pfn, write).await == VmFault::Oom {
            return Err(Errno::ENOMEM);
        }
    }
    Ok(())
}
