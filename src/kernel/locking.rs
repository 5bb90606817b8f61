// SPDX-License-Identifier: GPL-2.0-or-later
//! Locks, explicit and without guards: a forgotten unlock must be expressible.  Linux: kernel/locking/.
//!
//! Kept:       who holds what; readers and writers; trylock never blocks.
//! Simplified: a lock is handed to whoever the schedule picks; releasing belongs to the step before it,
//!             which is known to touch the lock, too, once it was taken.
//! Left out:   fairness, wait-die of ww_mutex (nested reservations are trylocks), downgrade.

use super::machine::Machine;
use super::pending::Wait;
use super::step::Touch;
use crate::limits::*;
use crate::trace::{Event, Obj, Site, obj};
use std::future::Future;

/// Who holds a lock.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LockState {
    /// The writer's task number plus one, or 0.
    writer: u16,
    /// One bit a reading task.
    readers: u16,
}

impl LockState {
    #[inline]
    pub(super) fn free_for(self, read: bool) -> bool {
        self.writer == 0 && (read || self.readers == 0)
    }
}

/// How a lock of a class behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LockKind {
    /// Never sleeps.
    Spin,
    /// May sleep.
    Sleep,
}

macro_rules! lock_classes {
    ($($(#[$doc:meta])* $name:ident($text:literal, $kind:ident, $count:expr);)*) => {
        /// The classes of locks, in the sense of lockdep.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum LockClass { $($(#[$doc])* $name),* }

        const NAMES: &[&str] = &[$($text),*];
        const KINDS: &[LockKind] = &[$(LockKind::$kind),*];
        const COUNTS: &[usize] = &[$($count),*];
        const CLASSES: &[LockClass] = &[$(LockClass::$name),*];
    };
}

lock_classes! {
    /// `mm->mmap_lock`, by address space.
    Mmap("mmap_lock", Sleep, NR_MMS);
    /// The bit of a locked page, by frame.
    Folio("folio_lock", Sleep, NR_FRAMES);
    /// `mapping->i_mmap_rwsem`, by mapping.
    IMmap("i_mmap_rwsem", Sleep, NR_MAPPINGS);
    /// `anon_vma->rwsem`, by family of address spaces.
    AnonVma("anon_vma_rwsem", Sleep, NR_MMS);
    /// `mm->page_table_lock`, which also guards pmd entries, by address space.
    Pmd("page_table_lock", Spin, NR_MMS);
    /// The lock of a page table, by table.
    Pte("ptl", Spin, NR_TABLES);
    /// `mapping->i_pages`, by mapping; the last one is the swap cache's.
    IPages("i_pages", Spin, NR_MAPPINGS + 1);
    /// `swap_info_struct->lock`.
    Swap("swap_lock", Spin, 1);
    /// `bo->base.resv`, by buffer object.
    Resv("reservation_ww_class_mutex", Sleep, NR_HANDLES);
    /// The LRU of the TTM device.
    Lru("lru_lock", Spin, 1);
    /// The list of a TTM pool type.
    Pool("pool_lock", Spin, NR_POOL_TYPES);
    /// TTM's list of pool types.
    Shrinker("shrinker_lock", Spin, 1);
    /// The device memory of a TTM device.
    Rman("rman_lock", Spin, 1);
    /// `pipe->mutex`, by pipe.
    Pipe("pipe_mutex", Sleep, NR_HANDLES);
    /// `subscriptions->lock` of MMU notifiers, by address space.
    MmuNotifier("mmu_notifier_lock", Spin, NR_MMS);
    /// `obj->mm.lock` of user memory, later `obj->base.resv`, by object.
    Userptr("userptr_lock", Sleep, NR_HANDLES);
    /// `notifier_lock`, by driver.
    Notifier("notifier_lock", Sleep, 2);
    /// `inode->i_rwsem`, by file on a disk or on dax.
    Inode("i_rwsem", Sleep, NR_EXT4_FILES + NR_DAX_FILES);
    /// `mapping->invalidate_lock`, by file on a disk or on dax.
    Invalidate("invalidate_lock", Sleep, NR_EXT4_FILES + NR_DAX_FILES);
    /// `EXT4_I(inode)->xattr_sem`, by file on the disk.
    Xattr("xattr_sem", Sleep, NR_EXT4_FILES);
    /// `mapping->i_private_lock` of the disk's page cache.
    Private("i_private_lock", Spin, 1);
    /// `ctx->uring_lock`.
    Uring("uring_lock", Sleep, 1);
}

/// Mappings: files, the TTM device, exported buffers, and last the disk itself.
pub(crate) const NR_MAPPINGS: usize = 2 * NR_HANDLES + 2;
/// TTM pool types: two cachings, an order each.
pub(crate) const NR_POOL_TYPES: usize = 2 * (MAX_ORDER as usize + 1);

const FIRST: [u8; COUNTS.len()] = {
    let mut first = [0u8; COUNTS.len()];
    let mut i = 1;
    while i < COUNTS.len() {
        first[i] = first[i - 1] + COUNTS[i - 1] as u8;
        i += 1;
    }
    assert!(first[COUNTS.len() - 1] as usize + COUNTS[COUNTS.len() - 1] <= NR_LOCKS);
    first
};

/// A lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Lock(u8);

impl Lock {
    /// Lock number `i` of a class.
    pub(crate) const fn new(class: LockClass, i: usize) -> Lock {
        assert!(i < COUNTS[class as usize]);
        Lock(FIRST[class as usize] + i as u8)
    }
}

/// The class of a lock, and its number in the class.
pub fn lock_class(lock: u8) -> (LockClass, u8) {
    let class = FIRST.iter().rposition(|&first| first <= lock).unwrap_or(0);
    (CLASSES[class], lock - FIRST[class])
}

pub(crate) fn lock_kind(class: LockClass) -> LockKind {
    KINDS[class as usize]
}

/// The kernel's name of a class.
pub fn lock_name(class: LockClass) -> &'static str {
    NAMES[class as usize]
}

impl Machine {
    fn take(&self, site: Site, l: Lock, read: bool, try_: bool) {
        let task = self.current();
        let mut state = self.locks[l.0 as usize].get();
        debug_assert!(state.free_for(read));
        if read {
            state.readers |= 1 << task;
        } else {
            state.writer = u16::from(task) + 1;
        }
        self.set_lock(l.0, state);
        if self.trace.is_on() && !self.trace.acquired(task, l.0, try_, self.blamed(task)) {
            self.record(task, site, Event::LockAcquired { lock: l.0, read, try_ });
        }
    }

    fn release(&self, site: Site, l: Lock, read: bool) {
        let task = self.current();
        let mut state = self.locks[l.0 as usize].get();
        if read {
            assert!(state.readers >> task & 1 != 0, "task {task} releases {l:?}, which it does not hold for reading");
            state.readers &= !(1 << task);
        } else {
            assert!(state.writer == u16::from(task) + 1, "task {task} releases {l:?}, which it does not hold");
            state.writer = 0;
        }
        self.also.add(obj::lock(l.0));
        self.set_lock(l.0, state);
        if self.trace.is_on() && !self.trace.released(task, l.0) {
            self.record(task, site, Event::LockRelease { lock: l.0, read });
        }
    }

    /// The current task holds the lock, for reading or writing.
    pub(crate) fn holds(&self, l: Lock) -> bool {
        let state = self.locks[l.0 as usize].get();
        state.writer == u16::from(self.current()) + 1 || state.readers >> self.current() & 1 != 0
    }

    /// Accessors of lock-protected state say which lock, in every build.
    #[track_caller]
    pub(crate) fn assert_held(&self, l: Lock) {
        assert!(self.holds(l), "{} is not held by task {}", lock_name(lock_class(l.0).0), self.current());
    }

    /// As [`Machine::assert_held`], for writing.
    #[track_caller]
    pub(crate) fn assert_held_write(&self, l: Lock) {
        let writes = self.locks[l.0 as usize].get().writer == u16::from(self.current()) + 1;
        assert!(writes, "{} is not held for writing by task {}", lock_name(lock_class(l.0).0), self.current());
    }
}

/// A blocking acquire: lockdep hears of it at the latest when it blocks.
#[track_caller]
#[inline]
fn acquire(k: &Machine, l: Lock, read: bool, nest: bool) -> impl Future<Output = ()> {
    acquire_of(k, l, read, nest, Touch::default(), || ())
}

/// The same of a lock that is a part of something, at which the step looks, too.
#[track_caller]
#[inline]
fn acquire_of(
    k: &Machine,
    l: Lock,
    read: bool,
    nest: bool,
    of: Touch,
    look: impl FnOnce() + Unpin,
) -> impl Future<Output = ()> {
    let site = Site::here();
    if !nest && !k.locks[l.0 as usize].get().free_for(read) {
        k.emit_at(site, Event::LockContended { lock: l.0, read });
    }
    let touch = if read { Touch::read(obj::lock(l.0)) } else { Touch::write(obj::lock(l.0)) };
    let wait = Wait::Lock { lock: l.0, read, nest };
    k.step_on([touch, of, Touch::default()], wait, move || {
        k.take(site, l, read, nest);
        look();
    })
}

/// Takes a spinlock.
#[track_caller]
pub(crate) fn spin_lock(k: &Machine, l: Lock) -> impl Future<Output = ()> {
    acquire(k, l, false, false)
}

/// As [`spin_lock`], of a lock that is a part of something, at which the step looks, too.
#[track_caller]
pub(crate) fn spin_lock_of(k: &Machine, l: Lock, of: Obj, look: impl FnOnce() + Unpin) -> impl Future<Output = ()> {
    acquire_of(k, l, false, false, Touch::read(of), look)
}

/// Releases a spinlock.
#[track_caller]
pub(crate) fn spin_unlock(k: &Machine, l: Lock) {
    k.release(Site::here(), l, false);
}

/// Takes a mutex, a ww_mutex or the bit of a page.
#[track_caller]
pub(crate) fn mutex_lock(k: &Machine, l: Lock) -> impl Future<Output = ()> {
    acquire(k, l, false, false)
}

/// Releases a mutex, a ww_mutex or the bit of a page.
#[track_caller]
pub(crate) fn mutex_unlock(k: &Machine, l: Lock) {
    k.release(Site::here(), l, false);
}

/// Takes a mutex or spinlock if it is free.
#[track_caller]
pub(crate) fn trylock(k: &Machine, l: Lock) -> impl Future<Output = bool> {
    let site = Site::here();
    k.step(obj::lock(l.0), crate::trace::Access::Write, move || {
        let free = k.locks[l.0 as usize].get().free_for(false);
        if free {
            k.take(site, l, false, true);
        }
        free
    })
}

/// Takes a read-write semaphore for reading.
#[track_caller]
pub(crate) fn down_read(k: &Machine, l: Lock) -> impl Future<Output = ()> {
    acquire(k, l, true, false)
}

/// Releases a read-write semaphore held for reading.
#[track_caller]
pub(crate) fn up_read(k: &Machine, l: Lock) {
    k.release(Site::here(), l, true);
}

/// Takes a read-write semaphore for writing.
#[track_caller]
pub(crate) fn down_write(k: &Machine, l: Lock) -> impl Future<Output = ()> {
    acquire(k, l, false, false)
}

/// As [`down_write`], of several of one class in an order that the caller knows to be safe: lockdep
/// does not look.
#[track_caller]
pub(crate) fn down_write_nest_lock(k: &Machine, l: Lock) -> impl Future<Output = ()> {
    acquire(k, l, false, true)
}

/// Releases a read-write semaphore held for writing.
#[track_caller]
pub(crate) fn up_write(k: &Machine, l: Lock) {
    k.release(Site::here(), l, false);
}
