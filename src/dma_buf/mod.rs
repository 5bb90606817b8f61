// SPDX-License-Identifier: GPL-2.0-or-later
//! Buffers that drivers share, and how user space maps them.  Linux: drivers/dma-buf/dma-buf.c.
//!
//! Kept:       a reference for the descriptor, for each area and for each call under way; how each
//!             exporter maps its pages: as pages with references, or as page frames without.
//! Simplified: the buffer is its file; the last reference releases at once, not when its task
//!             returns to user space.
//! Left out:   attachments, fences, access from the CPU by the kernel.

pub(crate) mod drm_gem_shmem_helper;
pub(crate) mod drm_prime;
pub(crate) mod system_heap;
pub(crate) mod vgem;

use crate::fixes::Fix;
use crate::kernel::{Errno, enter};
use crate::limits::MAX_MAP_COUNT;
use crate::mm::mmap::{do_munmap, vma_link};
use crate::mm::*;
use crate::trace::{Access, Event, Kref, obj};
use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;

/// What an exporter does.  Linux: include/linux/dma-buf.h, struct dma_buf_ops.
pub(crate) trait DmaBufOps {
    /// In pages.
    fn size(&self) -> u8;
    /// ->mmap: sets flags and operations of a new area that is in no list yet, mmap_lock held for writing.
    fn mmap<'a>(self: Rc<Self>, k: &'a Kernel, vma: &'a mut Vma) -> Boxed<'a, Result<(), Errno>>;
    /// ->release: the last reference is gone.
    fn release<'a>(&'a self, k: &'a Kernel) -> Boxed<'a, ()>;
}

/// A buffer that its exporter shares.
pub(crate) struct DmaBuf {
    /// The descriptor it was made for; others may get that number once it is closed.
    slot: u8,
    ops: Rc<dyn DmaBufOps>,
    /// Of its file.
    refcount: Cell<i32>,
}

impl DmaBuf {
    /// A reference more or less, in the present step; returns what is left.
    fn ref_add(&self, k: &Kernel, refs: i32) -> i32 {
        assert!(self.refcount.get() > 0, "a released dma-buf is used");
        self.refcount.set(self.refcount.get() + refs);
        k.emit(Event::Kref { kind: Kref::DmaBuf as u8, slot: self.slot, count: self.refcount.get() });
        self.refcount.get()
    }

    /// A reference for whoever found the buffer by its descriptor, in the step in which he found it.
    pub(crate) fn get_now(&self, k: &Kernel) {
        self.ref_add(k, 1);
    }
}

/// Makes a buffer of what an exporter has; the caller has the first reference.
pub(crate) fn dma_buf_export(k: &Kernel, slot: u8, ops: Rc<dyn DmaBufOps>) -> Rc<DmaBuf> {
    k.emit(Event::Kref { kind: Kref::DmaBuf as u8, slot, count: 1 });
    Rc::new(DmaBuf { slot, ops, refcount: Cell::new(1) })
}

/// A reference more, for a caller that holds one already.
#[track_caller]
fn get_dma_buf(k: &Kernel, buf: &DmaBuf) -> impl Future<Output = ()> {
    k.step(obj::kref(Kref::DmaBuf, buf.slot), Access::Commute, || buf.get_now(k))
}

/// Drops a reference; with the last one the exporter releases its pages.
pub(crate) async fn dma_buf_put(k: &Kernel, buf: &DmaBuf) {
    enter!(k);
    if k.step(obj::kref(Kref::DmaBuf, buf.slot), Access::Write, || buf.ref_add(k, -1) == 0).await {
        buf.ops.release(k).await;
    }
}

/// Lets the exporter map its buffer.
///
/// An area of page frames (VM_PFNMAP) can hold no page with references: no user of the mapping can
/// get hold of the memory behind the exporter's back.  [`Fix::DmaBufPfnmap`] makes that a rule.
///
/// # Errors
/// -EINVAL: the area is longer than the buffer, or of the wrong kind; those of the exporter.
async fn dma_buf_mmap_internal(k: &Kernel, buf: &DmaBuf, vma: &mut Vma) -> Result<(), Errno> {
    enter!(k);
    if vma.end - vma.start > buf.ops.size() {
        return Err(Errno::EINVAL);
    }
    buf.ops.clone().mmap(k, vma).await?;
    if k.fixed(Fix::DmaBufPfnmap) && !vma.flags.contains(VmFlags::PFNMAP) {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

/// Maps a buffer in place of whatever was there (MAP_FIXED); mmap_lock is held for writing.
///
/// Linux: mm/mmap.c, mmap_region().  The exporter sees the area before it is in the list.  One that
/// is refused goes the way of all areas: entries, tables, references.
///
/// # Errors
/// -ENOMEM: too many areas; those of [`dma_buf_mmap_internal`].
pub(crate) async fn mmap_region(k: &Kernel, buf: &Rc<DmaBuf>, mut vma: Vma) -> Result<(), Errno> {
    enter!(k);
    do_munmap(k, vma.mm, vma.start, vma.end).await?;
    if k.vmas(vma.mm).len() >= MAX_MAP_COUNT {
        return Err(Errno::ENOMEM);
    }
    get_dma_buf(k, buf).await;
    vma.mapping = DMA_BUF_MAPPING + buf.slot;
    let ret = dma_buf_mmap_internal(k, buf, &mut vma).await;
    vma.ops = Some(Rc::new(MappedDmaBuf { file: buf.clone(), ops: vma.ops.take() }));
    vma_link(k, &vma).await;
    if ret.is_err() {
        let gone = do_munmap(k, vma.mm, vma.start, vma.end).await;
        assert!(gone.is_ok(), "nothing has to be split");
    }
    ret
}

/// What an area knows of a mapped buffer: vma->vm_file and vma->vm_ops.
struct MappedDmaBuf {
    file: Rc<DmaBuf>,
    /// The exporter's.
    ops: Option<Rc<dyn VmOps>>,
}

impl VmOps for MappedDmaBuf {
    fn fault<'a>(&'a self, k: &'a Kernel, vma: &'a Vma, vmf: Vmf) -> Boxed<'a, VmFault> {
        match &self.ops {
            Some(ops) => ops.fault(k, vma, vmf),
            None => Box::pin(std::future::ready(VmFault::Sigbus)),
        }
    }

    fn huge_fault<'a>(&'a self, k: &'a Kernel, vma: &'a Vma, vmf: Vmf) -> Option<Boxed<'a, VmFault>> {
        self.ops.as_ref().and_then(|ops| ops.huge_fault(k, vma, vmf))
    }

    fn open<'a>(&'a self, k: &'a Kernel) -> Boxed<'a, ()> {
        Box::pin(async {
            get_dma_buf(k, &self.file).await;
            if let Some(ops) = &self.ops {
                ops.open(k).await;
            }
        })
    }

    fn close<'a>(&'a self, k: &'a Kernel) -> Boxed<'a, ()> {
        Box::pin(async {
            if let Some(ops) = &self.ops {
                ops.close(k).await;
            }
            dma_buf_put(k, &self.file).await;
        })
    }
}
