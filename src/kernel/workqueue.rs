// SPDX-License-Identifier: GPL-2.0-or-later
//! Work that somebody else does later.  Linux: kernel/workqueue.c.

use super::machine::Machine;
use super::wait::{WORD_DISK, WORD_KWORKER, wait_for_work, wake_up};
use crate::limits::NR_WORKS;
use crate::trace::{Access, obj};
use std::cell::Cell;
use std::future::Future;

/// What a work item does.  The kworker and rcu tasks know how.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum WorkFunc {
    /// Nothing; an empty slot.
    #[default]
    None,
    /// Dirty and release the pages of a request (fs/bio.rs).
    BioDirty,
    /// Destroy buffer objects whose fences have signaled (ttm/ttm_device.rs).
    TtmDelayedDelete,
    /// Free a page table (mm/mmu_gather.rs).
    FreeTable,
    /// An I/O request for the disk.
    Bio,
    /// A page to the swap device (mm/page_io.rs).
    SwapWrite,
    /// A page from the swap device.
    SwapRead,
    /// A page of a file to the disk (fs/ext4/).
    FileWrite,
    /// A page of a file from the disk.
    FileRead,
    /// Write a file's dirty pages (fs/ext4/).
    Writeback,
    /// A job for the GPU.
    Job,
    /// A job for the GPU on user memory.
    Userptr,
}

/// A work item: data, not code, so that nothing spawns a future while a program runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Work {
    pub(crate) func: WorkFunc,
    /// Slot of the object it is about.
    pub(crate) arg: u8,
    /// Of the call that queued it, so that draws stay local to a call; and which call that is.
    pub(crate) salt: u32,
    pub(crate) call: u8,
}

/// A queue in order of arrival.
#[derive(Debug)]
pub(crate) struct WorkQueue {
    items: [Cell<Work>; NR_WORKS],
    head: Cell<usize>,
    len: Cell<usize>,
}

impl Default for WorkQueue {
    fn default() -> WorkQueue {
        WorkQueue { items: std::array::from_fn(|_| Cell::default()), head: Cell::new(0), len: Cell::new(0) }
    }
}

impl WorkQueue {
    pub(crate) fn push(&self, work: Work) {
        let len = self.len.get();
        assert!(len < NR_WORKS, "more deferred work than objects");
        self.items[(self.head.get() + len) % NR_WORKS].set(work);
        self.len.set(len + 1);
    }

    pub(crate) fn pop(&self) -> Option<Work> {
        let (head, len) = (self.head.get(), self.len.get());
        if len == 0 {
            return None;
        }
        self.head.set((head + 1) % NR_WORKS);
        self.len.set(len - 1);
        Some(self.items[head].get())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len.get() == 0
    }

    /// Whether the same work waits already.
    pub(crate) fn contains(&self, func: WorkFunc, arg: u8) -> bool {
        (0..self.len.get())
            .map(|i| self.items[(self.head.get() + i) % NR_WORKS].get())
            .any(|w| w.func == func && w.arg == arg)
    }

    pub(crate) fn reset(&self) {
        self.head.set(0);
        self.len.set(0);
    }
}

/// Queues a work item, unless the same one waits already.
#[track_caller]
pub(crate) fn queue_work(k: &Machine, func: WorkFunc, arg: u8) -> impl Future<Output = ()> {
    k.step(obj::word(WORD_KWORKER), Access::Write, move || {
        if !k.works.contains(func, arg) {
            k.works.push(k.work(func, arg));
            wake_up(k, WORD_KWORKER);
        }
    })
}

/// Hands the disk a request.  Linux: block/blk-mq.c.
#[track_caller]
pub(crate) fn submit_request(k: &Machine, func: WorkFunc, arg: u8) -> impl Future<Output = ()> {
    k.step(obj::word(WORD_DISK), Access::Write, move || queue_request(k, func, arg))
}

/// As [`submit_request`]; belongs to a step that announces [`WORD_DISK`].
pub(crate) fn queue_request(k: &Machine, func: WorkFunc, arg: u8) {
    k.requests.push(k.work(func, arg));
    wake_up(k, WORD_DISK);
}

/// The disk's next request.
#[track_caller]
pub(crate) fn next_request(k: &Machine) -> impl Future<Output = Work> {
    wait_for_work(k, WORD_DISK, &k.requests)
}

/// The kworker's next item.
#[track_caller]
pub(crate) fn worker_next(k: &Machine) -> impl Future<Output = Work> {
    wait_for_work(k, WORD_KWORKER, &k.works)
}
