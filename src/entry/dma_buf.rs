// SPDX-License-Identifier: GPL-2.0-or-later
//! dma-bufs: export, mmap and close of their descriptors.

use super::args::*;
use super::memory::end_of;
use super::{Ret, System};
use crate::dma_buf::drm_gem_shmem_helper::drm_gem_shmem_create;
use crate::dma_buf::drm_prime::{GemObject, drm_gem_prime_export};
use crate::dma_buf::system_heap::system_heap_allocate;
use crate::dma_buf::vgem::VgemObject;
use crate::dma_buf::{self, DmaBufOps};
use crate::kernel::{Errno, down_write, enter, up_write};
use crate::mm::*;
use crate::trace::{Access, Kref, obj};
use crate::ttm::drm_gem_ttm_helper::TtmGem;
use std::rc::Rc;

/// The buffer object to export, with a reference.
async fn gem_object(s: &System, bo: Bo) -> Result<Rc<dyn GemObject>, Errno> {
    let bo = super::ttm::lookup(s, bo).await?;
    Ok(Rc::new(TtmGem { bdev: s.ttm.clone(), bo }))
}

/// What the exporter makes: `order` is of the pages it allocates, `bo` the object that TTM exports.
async fn exported(
    s: &System,
    buf: NewDmaBuf,
    exporter: Exporter,
    order: Order,
    bo: Bo,
) -> Result<Rc<dyn DmaBufOps>, Errno> {
    let mapping = DMA_BUF_MAPPING + buf.0;
    Ok(match exporter {
        Exporter::Ttm => drm_gem_prime_export(gem_object(s, bo).await?),
        Exporter::Shmem => drm_gem_shmem_create(s, mapping, 1 << order.0).await?,
        Exporter::Vgem => Rc::new(VgemObject(system_heap_allocate(s, mapping, order.0).await?)),
        Exporter::SystemHeap => system_heap_allocate(s, mapping, order.0).await?,
    })
}

pub(super) async fn dma_buf_export(s: &System, buf: NewDmaBuf, exporter: Exporter, order: Order, bo: Bo) -> Ret {
    enter!(s);
    let slot = &s.dma_bufs[buf.0 as usize];
    if slot.borrow().is_some() {
        return Err(Errno::EEXIST);
    }
    let ops = exported(s, buf, exporter, order, bo).await?;
    // Somebody else may have filled the slot meanwhile.
    let fd_install = || {
        let mut slot = slot.borrow_mut();
        let free = slot.is_none();
        if free {
            *slot = Some(dma_buf::dma_buf_export(s, buf.0, ops.clone()));
        }
        free
    };
    if s.step(obj::kref(Kref::DmaBuf, buf.0), Access::Write, fd_install).await {
        return Ok(0);
    }
    ops.release(s).await;
    Err(Errno::EEXIST)
}

pub(super) async fn dma_buf_mmap(s: &System, buf: DmaBuf, addr: Addr, len: Len, map: Sharing) -> Ret {
    enter!(s);
    let end = end_of(addr, len)?;
    // fget(): nobody can drop the last reference between the look at the slot and ours.
    let fget = || s.dma_bufs[buf.0 as usize].borrow().clone().inspect(|file| file.get_now(s));
    let file = s.step(obj::kref(Kref::DmaBuf, buf.0), Access::Write, fget).await.ok_or(Errno::EBADF)?;
    let sharing = if map == Sharing::Shared { VmFlags::SHARED } else { VmFlags::empty() };
    let flags = VmFlags::READ | VmFlags::WRITE | VmFlags::MAYWRITE | sharing;
    let mm = s.current_mm();
    let vma = Vma { mm, start: addr.0, end, flags, mapping: NO_MAPPING, pgoff: 0, anon_vma: false, ops: None };
    down_write(s, mmap_lock(mm)).await;
    let ret = dma_buf::mmap_region(s, &file, vma).await;
    up_write(s, mmap_lock(mm));
    dma_buf::dma_buf_put(s, &file).await;
    ret.map(|()| 0)
}

/// Closes the descriptor.
pub(super) async fn dma_buf_put(s: &System, buf: DmaBuf) -> Ret {
    enter!(s);
    let close_fd = || s.dma_bufs[buf.0 as usize].take();
    let file = s.step(obj::kref(Kref::DmaBuf, buf.0), Access::Write, close_fd).await.ok_or(Errno::EBADF)?;
    dma_buf::dma_buf_put(s, &file).await;
    Ok(0)
}

pub(super) async fn close_all(s: &System) {
    enter!(s);
    for slot in &s.dma_bufs {
        let file = slot.take();
        if let Some(file) = file {
            dma_buf::dma_buf_put(s, &file).await;
        }
    }
}
