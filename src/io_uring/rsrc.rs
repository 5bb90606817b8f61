// SPDX-License-Identifier: GPL-2.0-or-later
//! Registered buffers: pages pinned for as long as user space likes.  Linux: io_uring/rsrc.c.
//!
//! Kept:       always FOLL_WRITE | FOLL_LONGTERM, slow or lockless by kernel; all pages or none;
//!             a buffer in use by a request stays pinned.
//! Simplified: one ring; unregistering waits for requests, as up to v6.12; shmem may be registered on every
//!             release, as since v5.14.

use crate::fixes::Fix;
use crate::kernel::*;
use crate::limits::*;
use crate::mm::gup::*;
use crate::mm::mmap::find_vma;
use crate::mm::*;
use std::cell::Cell;

/// A registered buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct IoMappedUbuf {
    pub(super) pages: Pages,
    /// It is being unregistered: no new request may use it, and the slot is not free yet.
    pub(super) quiesce: bool,
}

/// A ring.
#[derive(Debug)]
pub(crate) struct IoRingCtx {
    /// Guarded by uring_lock.
    user_bufs: [Cell<Option<IoMappedUbuf>>; NR_HANDLES],
}

pub(super) const URING_LOCK: Lock = Lock::new(LockClass::Uring, 0);
const FOLL: Foll = Foll::PIN.union(Foll::WRITE).union(Foll::LONGTERM);

impl IoRingCtx {
    pub(crate) fn new() -> IoRingCtx {
        IoRingCtx { user_bufs: std::array::from_fn(|_| Cell::new(None)) }
    }

    pub(crate) fn reset(&self) {
        self.user_bufs.iter().for_each(|b| b.set(None));
    }

    /// The buffers there are.  For when nothing else runs any more.
    pub(crate) fn registered(&self) -> impl Iterator<Item = u8> {
        (0..NR_HANDLES as u8).filter(|&buf| self.user_bufs[buf as usize].get().is_some())
    }

    pub(super) fn user_buf(&self, k: &Machine, buf: u8) -> &Cell<Option<IoMappedUbuf>> {
        k.assert_held(URING_LOCK);
        &self.user_bufs[buf as usize]
    }
}

/// The word that is set while no request uses a buffer: io_rsrc_node's count.
pub(super) fn node(buf: u8) -> u8 {
    WORD_RSRC + buf
}

/// Pins `nr` pages from `start` of the current address space as buffer `buf`; returns `nr`.
///
/// # Errors
/// -EEXIST: the slot is in use; those of get_user_pages(); -EFAULT: not all pages could be had.
pub(crate) async fn io_sqe_buffer_register(
    k: &Kernel,
    ctx: &IoRingCtx,
    buf: u8,
    start: u8,
    nr: u8,
) -> Result<u32, Errno> {
    enter!(k);
    mutex_lock(k, URING_LOCK).await;
    let ret = match ctx.user_buf(k, buf).get() {
        Some(_) => Err(Errno::EEXIST),
        None => io_pin_pages(k, start, nr).await,
    };
    let ret = ret.map(|pages| {
        wake_up(k, node(buf)); // no request uses it, nobody waits
        ctx.user_buf(k, buf).set(Some(IoMappedUbuf { pages, quiesce: false }));
        nr.into()
    });
    mutex_unlock(k, URING_LOCK);
    ret
}

async fn io_pin_pages(k: &Kernel, start: u8, nr: u8) -> Result<Pages, Errno> {
    enter!(k);
    let mut pages = Pages::default();
    match k.fixed(Fix::IoUringPinFast) {
        true => get_user_pages_fast(k, start, nr, FOLL, &mut pages).await?,
        false => io_pin_vmas(k, start, nr, &mut pages).await?,
    }
    if pages.len() < nr {
        unpin_user_pages(k, &pages, FOLL.pin()).await;
        return Err(Errno::EFAULT);
    }
    Ok(pages)
}

/// Up to v6.4 io_uring looks at the areas itself; since v6.5 GUP does, and asks fewer files.
///
/// # Errors
/// Those of get_user_pages(); -EOPNOTSUPP: an area of a file other than shmem.
async fn io_pin_vmas(k: &Kernel, start: u8, nr: u8, pages: &mut Pages) -> Result<(), Errno> {
    let mm = k.current_mm();
    k.set_has_pinned(mm).await;
    down_read(k, mmap_lock(mm)).await;
    let mut ret = __get_user_pages(k, mm, start, nr, FOLL, pages).await;
    let refuses = k.fixed(Fix::IoUringNoFile) && !k.fixed(Fix::LongtermNoFile);
    if refuses && ret.is_ok() && (start..start + nr).any(|va| find_vma(k, mm, va).is_some_and(|v| is_of_file(k, &v))) {
        ret = Err(Errno::EOPNOTSUPP);
    }
    up_read(k, mmap_lock(mm));
    if ret.is_err() {
        unpin_user_pages(k, pages, FOLL.pin()).await;
    }
    ret
}

/// vma->vm_file, and it is no shmem: a device, a dma-buf, or a file that must be asked before it is written to.
fn is_of_file(k: &Kernel, vma: &Vma) -> bool {
    vma.ops.is_some() || k.a_ops(vma.mapping).is_some()
}

/// Unpins the pages of a buffer, after the last request on it is done; returns how many.
///
/// ```text
///   unregister                        request
///                                     1. take uring_lock, find the buffer
///   a. hide the buffer                2. count the request, submit it
///   b. drop uring_lock, wait          3. the disk writes into the pages
///   c. unpin the pages                4. the interrupt counts it out
/// ```
///
/// # Errors
/// -EBADF: there is none, or somebody else is at it.
pub(crate) async fn io_sqe_buffer_unregister(k: &Kernel, ctx: &IoRingCtx, buf: u8) -> Result<u32, Errno> {
    enter!(k);
    mutex_lock(k, URING_LOCK).await;
    let Some(imu) = ctx.user_buf(k, buf).get().filter(|imu| !imu.quiesce) else {
        mutex_unlock(k, URING_LOCK);
        return Err(Errno::EBADF);
    };
    ctx.user_buf(k, buf).set(Some(IoMappedUbuf { quiesce: true, ..imu }));
    io_rsrc_ref_quiesce(k, buf).await;
    // Nobody else says that the disk wrote to the pages: MADV_FREE takes them for clean, to this day.
    unpin_user_pages_dirty_lock(k, &imu.pages, FOLL.pin(), k.fixed(Fix::IoUringUnpinDirty)).await;
    ctx.user_buf(k, buf).set(None);
    mutex_unlock(k, URING_LOCK);
    Ok(imu.pages.len().into())
}

async fn io_rsrc_ref_quiesce(k: &Kernel, buf: u8) {
    enter!(k);
    mutex_unlock(k, URING_LOCK);
    wait_event(k, node(buf)).await;
    mutex_lock(k, URING_LOCK).await;
}
