// SPDX-License-Identifier: GPL-2.0-or-later
//! Buffer objects in shared memory.  Linux: drivers/gpu/drm/drm_gem_shmem_helper.c.
//!
//! Kept:       both ways of mapping them: as pages with references into VM_MIXEDMAP, which
//!             get_user_pages may have, and since v5.16 as page frames into VM_PFNMAP.
//! Simplified: pages are there from the export to the release.
//! Left out:   caching, purging, huge entries.

use super::DmaBufOps;
use crate::fixes::Fix;
use crate::kernel::{Errno, enter};
use crate::limits::FILE_PAGES;
use crate::mm::memory::{vm_insert_page, vmf_insert_pfn_prot};
use crate::mm::page_alloc::alloc_filled;
use crate::mm::swap::put_page;
use crate::mm::*;
use crate::trace::Owner;
use std::rc::Rc;

/// An object and its pages.
pub(crate) struct DrmGemShmemObject {
    pages: [PageRef; FILE_PAGES],
    nr: u8,
}

/// Makes an object of `nr` pages.
///
/// # Errors
/// -ENOMEM.
pub(crate) async fn drm_gem_shmem_create(k: &Kernel, mapping: u8, nr: u8) -> Result<Rc<DrmGemShmemObject>, Errno> {
    enter!(k);
    let mut obj = DrmGemShmemObject { pages: [PageRef::default(); FILE_PAGES], nr: 0 };
    while obj.nr < nr {
        let Some(page) = alloc_filled(k, Owner::File(mapping), 0).await else {
            drm_gem_shmem_put_pages(k, &obj).await;
            return Err(Errno::ENOMEM);
        };
        obj.pages[obj.nr as usize] = page;
        obj.nr += 1;
    }
    Ok(Rc::new(obj))
}

async fn drm_gem_shmem_put_pages(k: &Kernel, obj: &DrmGemShmemObject) {
    enter!(k);
    for &page in &obj.pages[..obj.nr as usize] {
        put_page(k, page).await;
    }
}

impl DmaBufOps for DrmGemShmemObject {
    fn size(&self) -> u8 {
        self.nr
    }

    fn mmap<'a>(self: Rc<Self>, k: &'a Kernel, vma: &'a mut Vma) -> Boxed<'a, Result<(), Errno>> {
        Box::pin(std::future::ready(drm_gem_shmem_mmap(k, self, vma)))
    }

    fn release<'a>(&'a self, k: &'a Kernel) -> Boxed<'a, ()> {
        Box::pin(drm_gem_shmem_put_pages(k, self))
    }
}

fn drm_gem_shmem_mmap(k: &Kernel, obj: Rc<DrmGemShmemObject>, vma: &mut Vma) -> Result<(), Errno> {
    if k.fixed(Fix::ShmemHelperNoCow) && vma.flags.is_cow() {
        return Err(Errno::EINVAL);
    }
    let kind = if k.fixed(Fix::ShmemHelperInsertPfn) { VmFlags::PFNMAP } else { VmFlags::MIXEDMAP };
    vma.flags |= kind | VmFlags::DONTEXPAND;
    vma.ops = Some(obj);
    Ok(())
}

impl VmOps for DrmGemShmemObject {
    fn fault<'a>(&'a self, k: &'a Kernel, vma: &'a Vma, vmf: Vmf) -> Boxed<'a, VmFault> {
        Box::pin(drm_gem_shmem_fault(k, self, vma, vmf))
    }
    fn open<'a>(&'a self, _: &'a Kernel) -> Boxed<'a, ()> {
        Box::pin(std::future::ready(()))
    }
    fn close<'a>(&'a self, _: &'a Kernel) -> Boxed<'a, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// The kind of the area was chosen at mmap, by the same kernel.
async fn drm_gem_shmem_fault(k: &Kernel, obj: &DrmGemShmemObject, vma: &Vma, vmf: Vmf) -> VmFault {
    enter!(k);
    if vmf.pgoff >= obj.nr {
        return VmFault::Sigbus;
    }
    let page = obj.pages[vmf.pgoff as usize];
    // What vm_page_prot allows: a private mapping is written by way of a copy.
    let write = vma.flags.contains(VmFlags::WRITE | VmFlags::SHARED);
    if k.fixed(Fix::ShmemHelperInsertPfn) {
        return vmf_insert_pfn_prot(k, vma, vmf.va, page.pfn, write).await;
    }
    match vm_insert_page(k, vma, vmf.va, page.pfn, write).await {
        Ok(()) | Err(Errno::EBUSY) => VmFault::NoPage,
        Err(Errno::ENOMEM) => VmFault::Oom,
        Err(_) => VmFault::Sigbus,
    }
}
