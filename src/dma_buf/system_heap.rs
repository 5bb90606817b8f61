// SPDX-License-Identifier: GPL-2.0-or-later
//! The heap that user space allocates dma-bufs from.  Linux: drivers/dma-buf/heaps/system_heap.c.
//!
//! Kept:       compound pages, mapped as page frames at mmap and never by a fault.
//! Simplified: a buffer is one block.
//! Left out:   smaller orders when large ones run out.

use super::DmaBufOps;
use crate::kernel::{Errno, enter};
use crate::mm::memory::remap_pfn_range;
use crate::mm::page_alloc::{__free_pages, alloc_pages, fill};
use crate::mm::*;
use crate::trace::Owner;
use std::rc::Rc;

/// A buffer: one compound page.
pub(crate) struct SystemHeapBuffer {
    pub(super) page: PageRef,
    order: u8,
}

/// Makes a buffer of `1 << order` zeroed pages.
///
/// # Errors
/// -ENOMEM.
pub(crate) async fn system_heap_allocate(k: &Kernel, mapping: u8, order: u8) -> Result<Rc<SystemHeapBuffer>, Errno> {
    enter!(k);
    let page = alloc_pages(k, order, true, Owner::File(mapping)).await.ok_or(Errno::ENOMEM)?;
    for i in 0..1 << order {
        fill(k, PageRef { pfn: page.pfn.add(i), ..page }, 0);
    }
    Ok(Rc::new(SystemHeapBuffer { page, order }))
}

pub(super) async fn system_heap_dma_buf_release(k: &Kernel, buffer: &SystemHeapBuffer) {
    enter!(k);
    __free_pages(k, buffer.page, buffer.order).await;
}

async fn system_heap_mmap(k: &Kernel, buffer: &SystemHeapBuffer, vma: &mut Vma) -> Result<(), Errno> {
    enter!(k);
    vma.flags |= VmFlags::IO | VmFlags::PFNMAP | VmFlags::DONTEXPAND;
    remap_pfn_range(k, vma, vma.start, buffer.page.pfn, vma.end - vma.start).await
}

impl DmaBufOps for SystemHeapBuffer {
    fn size(&self) -> u8 {
        1 << self.order
    }
    fn mmap<'a>(self: Rc<Self>, k: &'a Kernel, vma: &'a mut Vma) -> Boxed<'a, Result<(), Errno>> {
        Box::pin(async move { system_heap_mmap(k, &self, vma).await })
    }
    fn release<'a>(&'a self, k: &'a Kernel) -> Boxed<'a, ()> {
        Box::pin(system_heap_dma_buf_release(k, self))
    }
}
