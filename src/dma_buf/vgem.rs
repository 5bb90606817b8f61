// SPDX-License-Identifier: GPL-2.0-or-later
//! Exporters that map ordinary pages: vgem to v5.15, udmabuf to v6.10.
//! Linux: drivers/gpu/drm/vgem/vgem_drv.c, drivers/dma-buf/udmabuf.c.
//!
//! Kept:       a fault returns the page with a reference; get_user_pages may have it, and whoever
//!             has it keeps it beyond the buffer.
//! Simplified: memory as system_heap's, so that a buffer can be a compound page.  There in every
//!             kernel, for drivers that still do so.

use super::DmaBufOps;
use super::system_heap::{SystemHeapBuffer, system_heap_dma_buf_release};
use crate::kernel::{Errno, enter};
use crate::mm::page_ref::get_page;
use crate::mm::*;
use std::rc::Rc;

/// An object.
pub(crate) struct VgemObject(pub(crate) Rc<SystemHeapBuffer>);

impl DmaBufOps for VgemObject {
    fn size(&self) -> u8 {
        self.0.size()
    }
    fn mmap<'a>(self: Rc<Self>, _: &'a Kernel, vma: &'a mut Vma) -> Boxed<'a, Result<(), Errno>> {
        vma.flags |= VmFlags::DONTEXPAND;
        vma.ops = Some(self);
        Box::pin(std::future::ready(Ok(())))
    }
    fn release<'a>(&'a self, k: &'a Kernel) -> Boxed<'a, ()> {
        Box::pin(system_heap_dma_buf_release(k, &self.0))
    }
}

impl VmOps for VgemObject {
    fn fault<'a>(&'a self, k: &'a Kernel, _: &'a Vma, vmf: Vmf) -> Boxed<'a, VmFault> {
        Box::pin(vgem_gem_fault(k, self, vmf))
    }
    fn open<'a>(&'a self, _: &'a Kernel) -> Boxed<'a, ()> {
        Box::pin(std::future::ready(()))
    }
    fn close<'a>(&'a self, _: &'a Kernel) -> Boxed<'a, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// The reference counts for the head, whichever page of the block it is.
async fn vgem_gem_fault(k: &Kernel, obj: &VgemObject, vmf: Vmf) -> VmFault {
    enter!(k);
    if vmf.pgoff >= obj.size() {
        return VmFault::Sigbus;
    }
    let PageRef { pfn, gen_ } = obj.0.page;
    let page = PageRef { pfn: pfn.add(vmf.pgoff as usize), gen_ };
    get_page(k, page.pfn).await;
    VmFault::Page(page)
}
