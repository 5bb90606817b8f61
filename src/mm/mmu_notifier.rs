// SPDX-License-Identifier: GPL-2.0-or-later
//! Secondary MMUs hear of entries that change.  Linux: mm/mmu_notifier.c.
//!
//! ```text
//!   whoever changes entries             driver
//!   1. start: the sequence is odd       a. read_begin: the sequence, not while it is odd
//!   2. callback: under the driver's     b. look the pages up
//!      lock, the object's sequence      c. under its lock: has the object's sequence changed?
//!      is that of 1                        no: map them;  yes: again from a
//!   3. change entries
//!   4. end: the last one makes it even
//! ```
//!
//! c before 2: the callback finds the mapping and undoes it.  c after 2: it tries again, and waits in
//! a until 4.
//!
//! Kept:       many ranges at a time; whoever comes or goes while the sequence is odd waits for its end.
//! Simplified: the tree is a list; a waiter may wait for the next range, too.
//! Left out:   notifiers without an interval, callbacks that may not sleep, mmu_notifier_release(): the
//!             last unmapping covers everything.

use super::mm_types::*;
use crate::kernel::*;
use crate::trace::{Access, Event, Notify, obj};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;

/// A range of one address space.  Linux: struct mmu_notifier_range.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MmuNotifierRange {
    pub(crate) mm: u8,
    pub(crate) start: u8,
    pub(crate) end: u8,
    pub(crate) event: Notify,
}

impl MmuNotifierRange {
    /// mmu_notifier_range_init().
    pub(crate) fn new(event: Notify, mm: u8, start: u8, end: u8) -> MmuNotifierRange {
        MmuNotifierRange { mm, start, end, event }
    }
}

/// Somebody who wants to hear of changes of pages `start..end`.  Linux: struct mmu_interval_notifier.
#[derive(Debug)]
pub(crate) struct MmuIntervalNotifier {
    pub(crate) mm: u8,
    pub(crate) start: u8,
    pub(crate) end: u8,
    /// Which one, for steps.
    pub(crate) nr: u8,
    /// The sequence of the last invalidation.
    invalidate_seq: Cell<u32>,
}

impl MmuIntervalNotifier {
    pub(crate) fn new(nr: u8, mm: u8, start: u8, end: u8) -> MmuIntervalNotifier {
        MmuIntervalNotifier { mm, start, end, nr, invalidate_seq: Cell::new(0) }
    }
}

/// struct mmu_interval_notifier_ops, and what it is embedded in.
pub(crate) trait MmuIntervalNotifierOps {
    fn notifier(&self) -> &MmuIntervalNotifier;
    /// ->invalidate: calls [`mmu_interval_set_seq`] under the lock that guards what depends on it.
    fn invalidate<'a>(&'a self, k: &'a Kernel, cur_seq: u32) -> Boxed<'a, ()>;
}

type Sub = Rc<dyn MmuIntervalNotifierOps>;

/// mm->notifier_subscriptions; guarded by its lock.
#[derive(Default)]
pub(crate) struct MmuNotifierSubscriptions {
    /// There are any.  Changes while nobody changes entries.
    registered: Cell<bool>,
    /// mmgrab() of those who listen: the number of the address space is in use.
    grabs: Cell<u8>,
    active_invalidate_ranges: Cell<u8>,
    /// Odd: some range invalidates something.
    invalidate_seq: Cell<u32>,
    itree: RefCell<Vec<Sub>>,
    /// What is to be inserted or removed when the sequence is even again.
    deferred_list: RefCell<Vec<Sub>>,
}

impl MmuNotifierSubscriptions {
    pub(super) fn reset(&self) {
        self.registered.set(false);
        self.grabs.set(0);
        self.active_invalidate_ranges.set(0);
        self.invalidate_seq.set(2);
        self.itree.borrow_mut().clear();
        self.deferred_list.borrow_mut().clear();
    }

    /// Nobody listens any more.
    pub(super) fn is_unused(&self) -> bool {
        self.grabs.get() == 0
    }

    fn is_invalidating(&self) -> bool {
        self.invalidate_seq.get() & 1 != 0
    }

    /// The first listener behind `after` that overlaps a range; the list is sorted by number.
    fn next(&self, range: &MmuNotifierRange, after: Option<u8>) -> Option<Sub> {
        let hears = |s: &&Sub| {
            let n = s.notifier();
            n.start < range.end && range.start < n.end && after.is_none_or(|nr| nr < n.nr)
        };
        self.itree.borrow().iter().find(hears).cloned()
    }

    fn insert(&self, sub: &Sub) {
        let mut itree = self.itree.borrow_mut();
        let at = itree.partition_point(|s| s.notifier().nr < sub.notifier().nr);
        itree.insert(at, sub.clone());
    }

    /// Takes it out of a list; false: it was not there.
    fn remove(list: &RefCell<Vec<Sub>>, nr: u8) -> bool {
        let mut list = list.borrow_mut();
        let at = list.iter().position(|s| s.notifier().nr == nr);
        at.map(|at| list.remove(at)).is_some()
    }
}

fn subscriptions(k: &Kernel, mm: u8) -> &MmuNotifierSubscriptions {
    k.assert_held(subscriptions_lock(mm));
    &k.mm(mm).subscriptions
}

/// The lock of an address space's listeners.
fn subscriptions_lock(mm: u8) -> Lock {
    Lock::new(LockClass::MmuNotifier, mm as usize)
}

/// The word that is set while no range invalidates anything.
fn wq(mm: u8) -> u8 {
    WORD_MMU_NOTIFIER + mm
}

/// Whoever changes entries holds mmap_lock or an rmap lock, and so has what it sees here to the end.
fn mm_has_notifiers(k: &Kernel, mm: u8) -> bool {
    k.mm(mm).subscriptions.registered.get()
}

/// Before the first entry changes.  May sleep.
pub(crate) async fn mmu_notifier_invalidate_range_start(k: &Kernel, range: &MmuNotifierRange) {
    enter!(k);
    k.emit(Event::MightSleep);
    if mm_has_notifiers(k, range.mm) {
        mn_itree_invalidate(k, range).await;
    }
    // From here on entries may change.
    emit(k, range, true);
}

/// After the last entry has changed.
pub(crate) async fn mmu_notifier_invalidate_range_end(k: &Kernel, range: &MmuNotifierRange) {
    emit(k, range, false); // names who is done with the range
    enter!(k);
    if mm_has_notifiers(k, range.mm) {
        mn_itree_inv_end(k, range.mm).await;
    }
}

fn emit(k: &Kernel, range: &MmuNotifierRange, begin: bool) {
    let MmuNotifierRange { mm, start, end, event: kind } = *range;
    k.emit(Event::Notify { mm, start, end, kind, begin });
}

async fn mn_itree_invalidate(k: &Kernel, range: &MmuNotifierRange) {
    enter!(k);
    spin_lock(k, subscriptions_lock(range.mm)).await;
    let subs = subscriptions(k, range.mm);
    subs.active_invalidate_ranges.set(subs.active_invalidate_ranges.get() + 1);
    let mut next = subs.next(range, None);
    if next.is_some() {
        make_odd(k, range.mm);
    }
    let cur_seq = subs.invalidate_seq.get();
    spin_unlock(k, subscriptions_lock(range.mm));
    while let Some(sub) = next {
        sub.invalidate(k, cur_seq).await;
        // While the sequence is odd nobody changes the tree.
        next = k.mm(range.mm).subscriptions.next(range, Some(sub.notifier().nr));
    }
}

fn make_odd(k: &Kernel, mm: u8) {
    let seq = &subscriptions(k, mm).invalidate_seq;
    seq.set(seq.get() | 1);
    clear_word(k, wq(mm));
}

async fn mn_itree_inv_end(k: &Kernel, mm: u8) {
    enter!(k);
    spin_lock(k, subscriptions_lock(mm)).await;
    let subs = subscriptions(k, mm);
    subs.active_invalidate_ranges.set(subs.active_invalidate_ranges.get() - 1);
    if subs.active_invalidate_ranges.get() == 0 && subs.is_invalidating() {
        subs.invalidate_seq.set(subs.invalidate_seq.get() + 1);
        for sub in subs.deferred_list.take() {
            if !MmuNotifierSubscriptions::remove(&subs.itree, sub.notifier().nr) {
                subs.insert(&sub);
            }
        }
        wake_up(k, wq(mm));
    }
    spin_unlock(k, subscriptions_lock(mm));
}

/// The first listener of an address space: nobody may be between start and end meanwhile.
async fn mmu_notifier_register(k: &Kernel, mm: u8) {
    enter!(k);
    down_write(k, mmap_lock(mm)).await;
    if !mm_has_notifiers(k, mm) {
        let locks = mm_take_all_locks(k, mm).await;
        k.mm(mm).subscriptions.registered.set(true);
        wake_up(k, wq(mm));
        locks.into_iter().rev().for_each(|lock| up_write(k, lock));
    }
    up_write(k, mmap_lock(mm));
}

/// Every lock under which somebody changes entries.  Linux: mm/vma.c.
async fn mm_take_all_locks(k: &Kernel, mm: u8) -> Vec<Lock> {
    enter!(k);
    let mut mappings: Vec<u8> = k.vmas(mm).iter().map(|vma| vma.mapping).filter(|&m| m != NO_MAPPING).collect();
    mappings.sort_unstable();
    mappings.dedup();
    let mut locks: Vec<Lock> = mappings.into_iter().map(i_mmap_rwsem).collect();
    locks.push(anon_vma_rwsem(k.anon_vma(mm)));
    for &lock in &locks {
        down_write_nest_lock(k, lock).await;
    }
    locks
}

/// Begins to listen.
pub(crate) async fn mmu_interval_notifier_insert(k: &Kernel, sub: Sub) {
    enter!(k);
    let n = sub.notifier();
    mmu_notifier_register(k, n.mm).await;
    mmgrab(k, n.mm, 1).await;
    spin_lock(k, subscriptions_lock(n.mm)).await;
    let subs = subscriptions(k, n.mm);
    if subs.active_invalidate_ranges.get() == 0 {
        // Odd, and not what the next range will have.
        n.invalidate_seq.set(subs.invalidate_seq.get() - 1);
        subs.insert(&sub);
    } else {
        if subs.is_invalidating() {
            subs.deferred_list.borrow_mut().push(sub.clone());
        } else {
            make_odd(k, n.mm);
            subs.insert(&sub);
        }
        n.invalidate_seq.set(subs.invalidate_seq.get());
    }
    spin_unlock(k, subscriptions_lock(n.mm));
}

/// Listens no more; no callback runs when this returns.  The caller holds nothing that one takes.
pub(crate) async fn mmu_interval_notifier_remove(k: &Kernel, n: &MmuIntervalNotifier) {
    enter!(k);
    spin_lock(k, subscriptions_lock(n.mm)).await;
    let subs = subscriptions(k, n.mm);
    let mut wait = false;
    if !subs.is_invalidating() {
        MmuNotifierSubscriptions::remove(&subs.itree, n.nr);
    } else if !MmuNotifierSubscriptions::remove(&subs.deferred_list, n.nr) {
        let sub = subs.itree.borrow().iter().find(|s| s.notifier().nr == n.nr).cloned();
        subs.deferred_list.borrow_mut().extend(sub);
        wait = true;
    }
    spin_unlock(k, subscriptions_lock(n.mm));
    if wait {
        wait_event(k, wq(n.mm)).await;
    }
    mmgrab(k, n.mm, -1).await;
}

/// mmgrab(), mmdrop() of a listener.
#[track_caller]
fn mmgrab(k: &Kernel, mm: u8, delta: i8) -> impl Future<Output = ()> {
    k.step(obj::mm_users(mm), Access::Write, move || {
        let grabs = &k.mm(mm).subscriptions.grabs;
        grabs.set(grabs.get().wrapping_add_signed(delta));
    })
}

/// Before pages are looked up: returns what [`mmu_interval_read_retry`] wants to know.
pub(crate) async fn mmu_interval_read_begin(k: &Kernel, n: &MmuIntervalNotifier) -> u32 {
    enter!(k);
    spin_lock(k, subscriptions_lock(n.mm)).await;
    let seq = k.step(obj::interval_seq(n.nr), Access::Read, || n.invalidate_seq.get()).await;
    let is_invalidating = seq == subscriptions(k, n.mm).invalidate_seq.get();
    spin_unlock(k, subscriptions_lock(n.mm));
    if is_invalidating {
        wait_event(k, wq(n.mm)).await;
    }
    seq
}

/// Whether what was looked up since may have changed; the driver's lock is held.
///
/// Without it the answer is a hint: mmu_interval_check_retry().
#[track_caller]
pub(crate) fn mmu_interval_read_retry(k: &Kernel, n: &MmuIntervalNotifier, seq: u32) -> impl Future<Output = bool> {
    k.step(obj::interval_seq(n.nr), Access::Read, move || n.invalidate_seq.get() != seq)
}

/// What was looked up before is void.
#[track_caller]
pub(crate) fn mmu_interval_set_seq(k: &Kernel, n: &MmuIntervalNotifier, cur_seq: u32) -> impl Future<Output = ()> {
    k.step(obj::interval_seq(n.nr), Access::Write, move || n.invalidate_seq.set(cur_seq))
}
