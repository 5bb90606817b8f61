// SPDX-License-Identifier: GPL-2.0-or-later
//! Pipes whose buffers are pages of user space.  Linux: fs/pipe.c.
//!
//! Kept:       a buffer is plain references, as long as nobody reads it: no pin says so.
//! Simplified: a buffer is a page, and a read takes a whole one.
//! Left out:   waiting for a writer or for room; write(), whose pages are the pipe's own; stealing.

use crate::kernel::*;
use crate::limits::*;
use crate::mm::highmem::kernel_read;
use crate::mm::swap::folio_put_refs;
use crate::mm::*;
use crate::trace::{Event, Pin};
use std::cell::Cell;

/// A page in a pipe.
#[derive(Clone, Copy, Debug)]
pub(super) struct PipeBuffer {
    pub(super) page: PageRef,
    /// References of it, as many as there were splices.
    pub(super) refs: i32,
}

/// A pipe.
#[derive(Debug)]
pub(crate) struct PipeInodeInfo {
    pub(super) mutex: Lock,
    /// Somebody has it open.  This and all else is guarded by the mutex.
    open: Cell<bool>,
    bufs: [Cell<Option<PipeBuffer>>; BIO_MAX_VECS],
    /// Where the oldest buffer is, and how many there are.
    tail: Cell<u8>,
    nrbufs: Cell<u8>,
}

impl PipeInodeInfo {
    pub(crate) fn new(i: usize) -> PipeInodeInfo {
        PipeInodeInfo {
            mutex: Lock::new(LockClass::Pipe, i),
            open: Cell::new(false),
            bufs: std::array::from_fn(|_| Cell::new(None)),
            tail: Cell::new(0),
            nrbufs: Cell::new(0),
        }
    }

    pub(crate) fn reset(&self) {
        self.open.set(false);
        self.tail.set(0);
        self.nrbufs.set(0);
    }

    /// Somebody has it open.  For when nothing else runs any more.
    pub(crate) fn is_open(&self) -> bool {
        self.open.get()
    }

    pub(super) fn open(&self, k: &Machine) {
        k.assert_held(self.mutex);
        self.open.set(true);
    }

    pub(super) fn is_full(&self, k: &Machine) -> bool {
        k.assert_held(self.mutex);
        self.nrbufs.get() as usize == BIO_MAX_VECS
    }

    /// Puts a buffer behind the others.
    pub(super) fn push(&self, k: &Machine, buf: PipeBuffer) {
        assert!(!self.is_full(k));
        let nr = self.nrbufs.get();
        self.bufs[(self.tail.get() + nr) as usize % BIO_MAX_VECS].set(Some(buf));
        self.nrbufs.set(nr + 1);
    }

    /// Takes the oldest buffer.
    fn pop(&self, k: &Machine) -> Option<PipeBuffer> {
        k.assert_held(self.mutex);
        let (tail, nr) = (self.tail.get(), self.nrbufs.get().checked_sub(1)?);
        self.tail.set((tail + 1) % BIO_MAX_VECS as u8);
        self.nrbufs.set(nr);
        self.bufs[tail as usize].get()
    }
}

/// Reads the oldest buffer and drops it.
///
/// # Errors
/// -EBADF: nobody has opened the pipe; -EAGAIN: it is empty.
pub(crate) async fn pipe_read(k: &Kernel, pipe: &PipeInodeInfo) -> Result<u8, Errno> {
    enter!(k);
    mutex_lock(k, pipe.mutex).await;
    let ret = match pipe.pop(k) {
        None if !pipe.open.get() => Err(Errno::EBADF),
        None => Err(Errno::EAGAIN),
        Some(buf) => {
            let value = kernel_read(k, buf.page).await;
            pipe_buf_release(k, buf).await;
            Ok(value)
        }
    };
    mutex_unlock(k, pipe.mutex);
    ret
}

/// Closes a pipe; what it holds goes.
///
/// # Errors
/// -EBADF: nobody has opened it.
pub(crate) async fn pipe_release(k: &Kernel, pipe: &PipeInodeInfo) -> Result<(), Errno> {
    enter!(k);
    mutex_lock(k, pipe.mutex).await;
    let open = pipe.open.replace(false);
    while let Some(buf) = pipe.pop(k) {
        pipe_buf_release(k, buf).await;
    }
    mutex_unlock(k, pipe.mutex);
    if open { Ok(()) } else { Err(Errno::EBADF) }
}

pub(super) async fn pipe_buf_release(k: &Kernel, buf: PipeBuffer) {
    enter!(k);
    let PageRef { pfn, gen_: took } = buf.page;
    k.emit(Event::GupUnpin { pfn, took, kind: Pin::Get });
    folio_put_refs(k, buf.page, buf.refs).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixes::FixSet;
    use crate::trace::Pfn;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    /// Takes a lock that nobody holds.
    fn take(k: &Machine, l: Lock) {
        let mut lock = pin!(mutex_lock(k, l));
        let mut context = Context::from_waker(Waker::noop());
        assert!(lock.as_mut().poll(&mut context).is_pending());
        assert_eq!(lock.as_mut().poll(&mut context), Poll::Ready(()));
    }

    #[test]
    fn the_ring_is_first_in_first_out_across_its_end() {
        let k = Kernel::new(FixSet::newest());
        k.reset(FixSet::newest(), Draw::None);
        let pipe = PipeInodeInfo::new(3);
        take(&k, pipe.mutex);
        let push = |n: u8| pipe.push(&k, PipeBuffer { page: PageRef { pfn: Pfn(n), gen_: 0 }, refs: 1 });
        let pop = || pipe.pop(&k).map(|buf| buf.page.pfn.0);
        (0..6).for_each(push);
        assert_eq!([pop(), pop(), pop()], [Some(0), Some(1), Some(2)]);
        (6..11).for_each(push);
        assert!(pipe.is_full(&k));
        assert_eq!((3..11).map(Some).collect::<Vec<_>>(), (3..11).map(|_| pop()).collect::<Vec<_>>());
        assert_eq!(pop(), None);
    }

    #[test]
    #[should_panic(expected = "pipe_mutex is not held")]
    fn nobody_looks_without_the_mutex() {
        let k = Kernel::new(FixSet::newest());
        PipeInodeInfo::new(0).is_full(&k);
    }
}
