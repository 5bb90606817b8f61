// SPDX-License-Identifier: GPL-2.0-or-later
//! The tracepoints.  An event carries the values that were read or written and the generation that
//! was taken, so that an oracle decides from events alone.

use super::{Func, Obj, Site};
use crate::trace::obj::Pfn;

/// How a step touches an object.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Access {
    /// Changes nothing.
    Read,
    /// Anything else.
    Write,
    /// A blind increment: two of them in either order come to the same.
    Commute,
}

/// Whose memory a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Owner {
    /// The buddy allocator's: free.
    #[default]
    Buddy,
    /// Taken from the buddy, not yet given a meaning.
    Kernel,
    /// An anonymous page of an address space.
    Anon(u8),
    /// The page cache of a file or an exporter, by mapping number.
    File(u8),
    /// Backing store of a TTM buffer object, by slot.
    Bo(u8),
    /// In a TTM page pool, by pool type: free as far as any user is concerned.
    Pool(u8),
    /// A block that the file system on dax has given to no file.
    Blocks,
    /// Device memory.
    Dev,
}

impl Owner {
    /// Nobody may use the frame: it waits in an allocator.
    pub fn is_free(self) -> bool {
        matches!(self, Owner::Buddy | Owner::Pool(_) | Owner::Blocks)
    }
}

/// Who uses a frame, and how.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum UseKind {
    /// A load by a CPU, through its TLB or the page tables.
    Load,
    /// A store by a CPU, through its TLB or the page tables.
    Store,
    /// A device reads memory.
    DmaRead,
    /// A device writes memory.
    DmaWrite,
    /// The kernel reads contents by way of a reference (pipe, swapout).
    KernelRead,
    /// The kernel writes contents by way of a reference.
    KernelWrite,
    /// The kernel copies contents to another page: copy on write, fork.
    Copy,
    /// A reference is dropped.
    Put,
}

impl UseKind {
    /// Contents change.
    pub fn is_write(self) -> bool {
        matches!(self, UseKind::Store | UseKind::DmaWrite | UseKind::KernelWrite)
    }
    /// Contents are looked at.
    pub fn is_read(self) -> bool {
        matches!(self, UseKind::Load | UseKind::DmaRead | UseKind::KernelRead | UseKind::Copy)
    }
}

/// What kind of reference GUP took.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Pin {
    /// FOLL_GET: a plain reference.
    Get,
    /// FOLL_PIN.
    Pin,
    /// FOLL_PIN | FOLL_LONGTERM.
    Longterm,
}

/// Why entries change.  Linux: include/linux/mmu_notifier.h, enum mmu_notifier_event.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Notify {
    /// MMU_NOTIFY_UNMAP: munmap, mremap.
    Unmap,
    /// MMU_NOTIFY_CLEAR: whatever else takes entries away.
    Clear,
    /// MMU_NOTIFY_PROTECTION_VMA: mprotect.
    ProtectionVma,
    /// MMU_NOTIFY_PROTECTION_PAGE: fork, writeback.
    ProtectionPage,
}

/// A tracepoint.
#[expect(missing_docs, reason = "the line of a variant names its fields")]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Event {
    /// A task begins call number `call` of the program.
    CallBegin { call: u8, op: u8, args: [u8; 5], mm: u8 },
    /// A task ends a call: what it returns, negative an errno.
    CallEnd { call: u8, ret: i32 },
    /// A kernel task begins what call number `call` left to it; 255: no call did.
    Work { call: u8 },
    /// A step is taken: the first object it announced.
    Step { obj: Obj, access: Access },

    /// A task blocks on a lock that others hold.
    LockContended { lock: u8, read: bool },
    /// A task took a lock; `try_`: by a trylock, which never blocks.
    LockAcquired { lock: u8, read: bool, try_: bool },
    /// A task released a lock.
    LockRelease { lock: u8, read: bool },
    /// Interrupts of the task's CPU go off (`off`) or on.
    Irq { off: bool },
    /// The task may sleep here.
    MightSleep,
    /// Nothing can run although calls, or work of kernel tasks, are unended.
    Deadlock { tasks: u16 },

    /// A block leaves the buddy allocator, or a TTM pool.
    Alloc { pfn: Pfn, order: u8, gen_: u16, owner: Owner },
    /// A block goes back to the buddy allocator, or into a TTM pool: generation `gen_` of it ends.
    Free { pfn: Pfn, order: u8, gen_: u16, owner: Owner, refcount: i32, mapcount: i32 },
    /// The frame's owner becomes known or changes; the generation stays.
    Own { pfn: Pfn, order: u8, owner: Owner },
    /// References are added.
    Get { pfn: Pfn, refs: i32, refcount: i32 },
    /// References are dropped; `refcount`: what is left.
    Put { pfn: Pfn, refs: i32, refcount: i32 },
    /// The page is mapped once more, or once less; `entire`: all of a compound page, by a leaf.
    Mapcount { pfn: Pfn, delta: i32, mapcount: i32, entire: bool },
    /// The block is one compound page from here on (`whole`), or each of its pages is one again.
    Compound { pfn: Pfn, order: u8, whole: bool },
    /// GUP hands out the page behind `va`, of which it took generation `took`; `entry`: the generation
    /// that the entry it went by was made for.
    GupPin { mm: u8, va: u8, pfn: Pfn, took: u16, entry: u16, kind: Pin, write: bool },
    /// A GUP reference goes; `pfn` and `took` as handed out.
    GupUnpin { pfn: Pfn, took: u16, kind: Pin },

    /// Somebody uses a frame of which it took generation `took`.
    Use { kind: UseKind, pfn: Pfn, took: u16, now: u16, owner: Owner, value: u8, written: u16, at: Option<(u8, u8)> },
    /// The kernel fills a page it owns: zeroes or a copy.
    Fill { pfn: Pfn, value: u8, gen_: u16 },

    /// The file system is asked: somebody is about to write to a page of a file by a shared mapping.
    PageMkwrite { pfn: Pfn },
    /// A page of a file on a disk gets dirty; `buffers`: the file system has some for it.
    PageDirty { pfn: Pfn, buffers: bool },
    /// A page of a file moves, and all that is known of it.
    FolioMigrate { from: Pfn, to: Pfn },
    /// The file system reads or writes (`write`) a block of its own by the block's buffer, which is in `pfn`.
    Metadata { block: u8, pfn: Pfn, value: u8, write: bool },
    /// A page of a file is clean, and mapped without write permission, as it is about to be written.
    PageClean { pfn: Pfn },

    /// An entry now maps `nr` frames from `pfn` at `va`.
    Map { mm: u8, va: u8, pfn: Pfn, nr: u8, gen_: u16, anon: bool, write: bool, special: bool },
    /// An entry maps `nr` frames from `pfn` at `va` no longer.
    Unmap { mm: u8, va: u8, pfn: Pfn, nr: u8, anon: bool, write: bool, special: bool },
    /// A page table is used through a pointer taken when it had generation `took`.
    TableUse { table: u8, took: u16, now: u16 },
    /// A page table begins (`live`) or ends.
    Table { table: u8, mm: u8, live: bool },
    /// The pmd of page `va` points to a page table from here on (`live`), or no more.
    PmdTable { mm: u8, va: u8, live: bool },
    /// A CPU caches a translation.
    TlbFill { cpu: u8, mm: u8, va: u8, pfn: Pfn, gen_: u16, write: bool },
    /// A CPU forgets its translations of `start..end`.
    TlbFlush { cpu: u8, mm: u8, start: u8, end: u8 },
    /// Secondary MMUs are told that entries of pages `start..end` are about to change (`begin`), or have.
    Notify { mm: u8, start: u8, end: u8, kind: Notify, begin: bool },
    /// Object `nr` of a device now reaches page `va` of `mm` as a frame of which generation `took` was
    /// looked up.
    SecondaryMap { nr: u8, mm: u8, va: u8, pfn: Pfn, took: u16, now: u16 },
    /// Object `nr` of a device reaches nothing any more.
    SecondaryUnmap { nr: u8 },
    /// The present task begins to copy `parent` into the new address space `child`.
    ForkBegin { parent: u8, child: u8 },
    /// Page `va` of `parent` is copied at once, whatever is written there from here on.
    ForkCopy { parent: u8, va: u8 },
    /// `child` holds what `parent` held, and gets its first thread.
    ForkEnd { parent: u8, child: u8 },
    /// An address space ends: what its counters say.
    MmExit { mm: u8, rss_anon: i32, rss_file: i32, pgtables: i32 },

    /// An I/O request of `nr` pages leaves for the disk (`done` false), or is released.
    Bio { slot: u8, nr: u8, write: bool, done: bool },
    /// A buffer object's reference count.
    Kref { kind: u8, slot: u8, count: i32 },
    /// A kernel BUG_ON or VM_BUG_ON_PAGE fires.
    Bug { what: &'static str, pfn: Option<Pfn> },
}

impl Event {
    /// Locks, interrupts, sleep: nothing about memory.
    #[inline]
    pub(crate) fn is_locking(&self) -> bool {
        matches!(
            self,
            Event::LockContended { .. }
                | Event::LockAcquired { .. }
                | Event::LockRelease { .. }
                | Event::Irq { .. }
                | Event::MightSleep
        )
    }
}

/// An event with who and where.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// The step it belongs to.
    pub step: u32,
    /// The task that took the step.
    pub task: u8,
    /// The innermost modelled function.
    pub func: Func,
    /// The place in the model.
    pub site: Site,
    /// What happened.
    pub event: Event,
}
