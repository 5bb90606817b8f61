// SPDX-License-Identifier: GPL-2.0-or-later
//! Mapping buffer objects into user space.  Linux: drivers/gpu/drm/ttm/ttm_bo_vm.c,
//! drivers/gpu/drm/vmwgfx/vmwgfx_page_dirty.c.
//!
//! Entries are of page frames, not pages: special ptes.  The huge entries of v5.7 to v5.15 had no
//! bit to say so, and GUP-fast took them for pages.

use super::dma_resv::dma_resv_test_signaled;
use super::ttm_bo::*;
use super::ttm_bo_api::*;
use super::ttm_bo_util::{page_in, ttm_bo_wait};
use super::ttm_device::TtmDevice;
use super::ttm_tt::ttm_tt_populate;
use crate::fixes::Fix;
use crate::kernel::*;
use crate::limits::*;
use crate::mm::huge_memory::vmf_insert_pfn_pmd_prot;
use crate::mm::memory::{PfnT, vmf_insert_mixed_prot, vmf_insert_pfn_prot};
use crate::mm::pgtable::PmdPtr;
use crate::mm::*;
use crate::trace::Pfn;
use std::rc::Rc;

/// vm_ops of an area that shows a buffer object.
pub(crate) struct TtmVmOps {
    bdev: Rc<TtmDevice>,
    bo: u8,
}

/// Makes an area show a buffer object; the caller's reference becomes the area's.
///
/// # Errors
/// -EINVAL: longer than the object, or a private mapping of page frames.
pub(crate) fn ttm_bo_mmap_obj(k: &Kernel, bdev: &Rc<TtmDevice>, bo: u8, vma: &mut Vma) -> Result<(), Errno> {
    let b = bdev.bo(bo);
    if (vma.end - vma.start) as usize > b.num_pages() {
        return Err(Errno::EINVAL);
    }
    let pfnmap = match k.fixed(Fix::TtmVmPfnmap) {
        true if vma.flags.is_cow() => return Err(Errno::EINVAL),
        true => true,
        false => b.driver() == TtmDriver::Vmwgfx && !vma.flags.is_cow(),
    };
    vma.flags |= VmFlags::IO | VmFlags::DONTEXPAND | if pfnmap { VmFlags::PFNMAP } else { VmFlags::MIXEDMAP };
    vma.mapping = TTM_MAPPING;
    vma.pgoff = bo * FILE_PAGES as u8;
    vma.ops = Some(Rc::new(TtmVmOps { bdev: bdev.clone(), bo }));
    Ok(())
}

impl VmOps for TtmVmOps {
    fn fault<'a>(&'a self, k: &'a Kernel, vma: &'a Vma, vmf: Vmf) -> Boxed<'a, VmFault> {
        Box::pin(ttm_bo_vm_fault(k, &self.bdev, self.bo, vma, vmf, false))
    }

    fn huge_fault<'a>(&'a self, k: &'a Kernel, vma: &'a Vma, vmf: Vmf) -> Option<Boxed<'a, VmFault>> {
        let wired = self.bdev.bo(self.bo).driver() == TtmDriver::Vmwgfx && !k.fixed(Fix::TtmNoHugeFaults);
        wired.then(|| -> Boxed<'a, VmFault> { Box::pin(ttm_bo_vm_fault(k, &self.bdev, self.bo, vma, vmf, true)) })
    }

    fn open<'a>(&'a self, k: &'a Kernel) -> Boxed<'a, ()> {
        Box::pin(async move {
            if !k.fixed(Fix::TtmOpenNoRef) {
                ttm_bo_get(k, &self.bdev, self.bo).await;
            }
        })
    }

    fn close<'a>(&'a self, k: &'a Kernel) -> Boxed<'a, ()> {
        Box::pin(ttm_bo_put(k, &self.bdev, self.bo))
    }
}

/// A fault in an area; mmap_lock is held for reading, and dropped where the answer is Retry.
async fn ttm_bo_vm_fault(k: &Kernel, bdev: &TtmDevice, bo: u8, vma: &Vma, vmf: Vmf, huge: bool) -> VmFault {
    enter!(k);
    if let Err(ret) = ttm_bo_vm_reserve(k, bdev, bo, vmf).await {
        return ret;
    }
    let b = bdev.bo(bo);
    if b.reserved(k).moving.get() && !dma_resv_test_signaled(k, bo).await {
        if vmf.allow_retry {
            ttm_bo_get(k, bdev, bo).await;
            up_read(k, mmap_lock(vmf.mm));
            ttm_bo_wait(k, bdev, bo).await;
            if k.fixed(Fix::TtmFaultRelock) {
                down_read(k, mmap_lock(vmf.mm)).await;
            }
            mutex_unlock(k, resv(bo));
            ttm_bo_put(k, bdev, bo).await;
            return if k.fixed(Fix::TtmFaultRelock) { VmFault::NoPage } else { VmFault::Retry };
        }
        ttm_bo_wait(k, bdev, bo).await;
    }
    let ret = ttm_bo_vm_fault_reserved(k, bdev, bo, vma, vmf, huge).await;
    mutex_unlock(k, resv(bo));
    ret
}

/// Reserves the object.  The order is the other way round, so it may not wait under mmap_lock at first.
async fn ttm_bo_vm_reserve(k: &Kernel, bdev: &TtmDevice, bo: u8, vmf: Vmf) -> Result<(), VmFault> {
    enter!(k);
    if trylock(k, resv(bo)).await {
        return Ok(());
    }
    if vmf.allow_retry {
        ttm_bo_get(k, bdev, bo).await;
        up_read(k, mmap_lock(vmf.mm));
        mutex_lock(k, resv(bo)).await;
        mutex_unlock(k, resv(bo));
        ttm_bo_put(k, bdev, bo).await;
        return Err(VmFault::Retry);
    }
    mutex_lock(k, resv(bo)).await;
    Ok(())
}

async fn ttm_bo_vm_fault_reserved(k: &Kernel, bdev: &TtmDevice, bo: u8, vma: &Vma, vmf: Vmf, huge: bool) -> VmFault {
    enter!(k);
    let b = bdev.bo(bo);
    let first = (vmf.pgoff - bo * FILE_PAGES as u8) as usize;
    if first >= b.num_pages() {
        return VmFault::Sigbus;
    }
    if b.reserved(k).mem.get() == MemType::System && ttm_tt_populate(k, bdev, bo).await.is_err() {
        return VmFault::Oom;
    }
    // What vm_page_prot allows: a private mapping is written by way of a copy.
    let write = vma.flags.contains(VmFlags::WRITE | VmFlags::SHARED);
    if huge {
        return ttm_bo_vm_insert_huge(k, b, vma, vmf, first, write).await;
    }
    let mut pages = [PageRef::default(); TTM_BO_VM_NUM_PREFAULT];
    let nr = (b.num_pages() - first).min(TTM_BO_VM_NUM_PREFAULT).min((vma.end - vmf.va) as usize);
    for (i, page) in pages[..nr].iter_mut().enumerate() {
        *page = page_in(k, b, b.reserved(k).mem.get(), first + i).expect("populated");
    }
    for (i, page) in pages[..nr].iter().enumerate() {
        let unreserved = i > 0 && k.fixed(Fix::TtmPrefaultUnreserved);
        if unreserved {
            mutex_unlock(k, resv(bo));
        }
        let ret = ttm_insert(k, vma, vmf.va + i as u8, page.pfn, write).await;
        if unreserved {
            mutex_lock(k, resv(bo)).await;
        }
        if ret != VmFault::NoPage {
            break; // the CPU comes again, if it was the page that it wants
        }
    }
    VmFault::NoPage
}

/// One pte.
async fn ttm_insert(k: &Kernel, vma: &Vma, va: u8, pfn: Pfn, write: bool) -> VmFault {
    match vma.flags.contains(VmFlags::MIXEDMAP) {
        true => vmf_insert_mixed_prot(k, vma, va, PfnT::dev(pfn), write).await,
        false => vmf_insert_pfn_prot(k, vma, va, pfn, write).await,
    }
}

/// A huge entry, if the object is contiguous and aligned there.
///
/// While TTM had huge faults (v5.7 to v5.15) nobody looked whether the entry ends inside the area, or
/// whether address and offset in the object are aligned alike.
async fn ttm_bo_vm_insert_huge(k: &Kernel, bo: &TtmBo, vma: &Vma, vmf: Vmf, offset: usize, write: bool) -> VmFault {
    enter!(k);
    let base = PmdPtr::of(vmf.mm, vmf.va).base();
    let first = offset - offset % HPAGE_PMD_NR;
    let fits = base + HPAGE_PMD_NR as u8 <= vma.end && offset - first == (vmf.va - base) as usize;
    if !fits && (k.fixed(Fix::TtmHugeFits) || k.fixed(Fix::TtmOrderedPtes)) {
        return VmFault::Fallback;
    }
    let mem = bo.reserved(k).mem.get();
    let page = |i| (first + i < bo.num_pages()).then(|| page_in(k, bo, mem, first + i)).flatten();
    let Some(PageRef { pfn, .. }) = page(0) else {
        return VmFault::Fallback;
    };
    let contiguous = (0..HPAGE_PMD_NR).all(|i| page(i).is_some_and(|p| p.pfn == pfn.add(i)));
    if !contiguous || pfn.index() % HPAGE_PMD_NR != 0 || vma.flags.is_cow() {
        return VmFault::Fallback;
    }
    if k.fixed(Fix::TtmOrderedPtes) {
        for i in 0..HPAGE_PMD_NR {
            ttm_insert(k, vma, base + i as u8, pfn.add(i), write).await;
        }
        return VmFault::NoPage;
    }
    let pfn = PfnT { map: k.fixed(Fix::TtmPfnMapDev), ..PfnT::dev(pfn) };
    match vmf_insert_pfn_pmd_prot(k, vma, base, pfn, write).await {
        VmFault::NoPage => VmFault::NoPage,
        _ => VmFault::Fallback,
    }
}
