// SPDX-License-Identifier: GPL-2.0-or-later
//! The order of locks.  Linux: kernel/locking/lockdep.c, might_sleep().
//!
//! Promised to every caller, always (checked since v2.6.18): no two classes of locks are ever taken in
//! both orders, whether or not this run deadlocks; nobody takes a lock twice, returns to user space with
//! one, or sleeps while he holds a spinlock or has interrupts off.  The orders seen are those of one
//! program, so that a run does not depend on the ones before it, and those dma_resv_lockdep() primes
//! (v5.5).  The order counts from when a lock is taken or blocked on, so that a deadlock's last link is
//! known before it.
//!
//! Must catch: the above on the first run that shows both orders.
//! Must leave alone: trylocks, which wait for nobody, as the later lock of a pair; two locks of one
//! class where the kernel says that it means it (reservations, page-table locks) or where lockdep
//! does not look (the bit of a page).

mod held;

use super::{Findings, Oracle, Violation};
use crate::kernel::{LockClass, LockKind, lock_class, lock_kind, lock_name};
use crate::limits::{NR_LOCKS, NR_TASKS};
use crate::trace::{Event, Func, Record};
use held::Task;

const NR_CLASSES: usize = LockClass::Uring as usize + 1;
pub(super) struct Lockdep {
    tasks: [Task; NR_TASKS],
    /// Classes that were taken while one was held, a bit each.
    after: [u32; NR_CLASSES],
    /// Classes under which one can be taken, and there is nothing new about it and nothing wrong.
    usual: [u32; NR_CLASSES],
    /// The class of every lock.
    class: [u8; NR_LOCKS],
    /// The classes, by number.
    classes: [LockClass; NR_CLASSES],
    /// Classes that may sleep, a bit each.
    sleeping: u32,
}

impl Default for Lockdep {
    fn default() -> Lockdep {
        let mut classes = [LockClass::Mmap; NR_CLASSES];
        let mut sleeping = 0;
        for lock in 0..NR_LOCKS {
            let class = lock_class(lock as u8).0;
            classes[class as usize] = class;
            sleeping |= u32::from(lock_kind(class) == LockKind::Sleep) << class as u8;
        }
        Lockdep {
            tasks: Default::default(),
            after: [0; NR_CLASSES],
            usual: [0; NR_CLASSES],
            class: std::array::from_fn(|lock| lock_class(lock as u8).0 as u8),
            classes,
            sleeping,
        }
    }
}

/// Linux: drivers/dma-buf/dma-resv.c, dma_resv_lockdep().
const PRIMED: [(LockClass, LockClass); 2] = [(LockClass::Mmap, LockClass::Resv), (LockClass::Resv, LockClass::IMmap)];

/// Classes of which one task may hold several.
const NESTS: u32 =
    1 << LockClass::Resv as u8 | 1 << LockClass::Pte as u8 | 1 << LockClass::Pmd as u8 | 1 << LockClass::Folio as u8;

impl Oracle for Lockdep {
    fn reset(&mut self) {
        for task in &mut self.tasks {
            task.clear();
        }
        self.after = [0; NR_CLASSES];
        self.usual = [0; NR_CLASSES];
        for (held, next) in PRIMED {
            self.see(held as u8, next as u8);
        }
    }

    #[inline(always)]
    fn event(&mut self, r: &Record, found: &mut Findings) {
        if r.event.is_locking() {
            self.locking(r, found);
        } else if matches!(r.event, Event::CallEnd { .. }) && self.tasks[r.task as usize].classes != 0 {
            self.held_at_exit(r, r.task, found);
        }
    }

    fn quiescent(&mut self, _k: &crate::mm::Kernel, found: &mut Findings) {
        for task in 0..NR_TASKS as u8 {
            if let Some(held) = self.tasks[task as usize].held().next() {
                let event = Event::LockAcquired { lock: held.lock, read: false, try_: false };
                let r = Record { step: u32::MAX, task, func: held.func, site: held.func.site(), event };
                self.held_at_exit(&r, task, found);
            }
        }
    }
}

impl Lockdep {
    /// A lock is taken, if that is nothing new and nothing wrong; `false`: an event has to tell of it.
    #[inline]
    pub(super) fn acquired(&mut self, task: u8, lock: u8, try_: bool, func: Func) -> bool {
        let class = self.class[lock as usize];
        let task = &mut self.tasks[task as usize];
        if !try_ && (task.classes & !self.usual[class as usize] != 0 || task.irqs_off != 0) {
            return false;
        }
        task.push(lock, class, func);
        true
    }

    /// A lock is released.
    #[inline]
    pub(super) fn released(&mut self, task: u8, lock: u8) {
        self.tasks[task as usize].pop(lock);
    }

    /// A class is taken under another one.
    fn see(&mut self, held: u8, class: u8) {
        self.after[held as usize] |= 1 << class;
        // Nobody may sleep under a spinlock.
        if self.sleeping >> class & 1 == 0 || self.sleeping >> held & 1 != 0 {
            self.usual[class as usize] |= 1 << held;
        }
    }

    #[inline(always)]
    fn locking(&mut self, r: &Record, found: &mut Findings) {
        match r.event {
            Event::LockContended { lock, .. } => self.acquire(r, lock, found),
            Event::LockAcquired { lock, try_, .. } => {
                if !try_ {
                    self.acquire(r, lock, found);
                }
                self.tasks[r.task as usize].push(lock, self.class[lock as usize], r.func);
            }
            Event::LockRelease { lock, .. } => self.released(r.task, lock),
            Event::Irq { off } => {
                let irqs_off = &mut self.tasks[r.task as usize].irqs_off;
                *irqs_off = if off { *irqs_off + 1 } else { irqs_off.saturating_sub(1) };
            }
            Event::MightSleep => self.might_sleep(r, "sleeps", found),
            _ => {}
        }
    }

    fn acquire(&mut self, r: &Record, lock: u8, found: &mut Findings) {
        let class = self.class[lock as usize];
        let task = &self.tasks[r.task as usize];
        let sleeping = self.sleeping >> class & 1 != 0;
        if task.classes == 0 && task.irqs_off == 0 {
            return;
        }
        if sleeping {
            self.might_sleep(r, "may sleep for a lock", found);
        }
        let task = &self.tasks[r.task as usize];
        let mut fresh = 0u32;
        for held in task.held() {
            if held.lock == lock || held.class == class && NESTS >> class & 1 == 0 {
                let same = if held.lock == lock { "the same" } else { "another one" };
                let message = format!(
                    "task {} takes {} while it holds {same} since {}",
                    r.task,
                    self.name(class),
                    held.func.name()
                );
                found.add(Violation::new("lockdep", "recursive-locking", r, message));
            } else if held.class != class && self.after[held.class as usize] >> class & 1 == 0 {
                fresh |= 1 << held.class;
            }
        }
        if fresh != 0 {
            self.learn(r, class, fresh, found);
        }
    }

    /// `class` is taken for the first time under the classes `fresh`.
    #[cold]
    fn learn(&mut self, r: &Record, class: u8, fresh: u32, found: &mut Findings) {
        for held in (0..NR_CLASSES as u8).filter(|h| fresh >> h & 1 != 0) {
            if self.reaches(class, held)
                && let Some(path) = self.path(class, held)
            {
                let names: Vec<_> = path.iter().map(|&c| self.name(c)).collect();
                let message = format!(
                    "task {} takes {} under {}, but the order so far was {}",
                    r.task,
                    self.name(class),
                    self.name(held),
                    names.join(", ")
                );
                found.add(Violation::new("lockdep", "circular-locking", r, message));
            }
            self.see(held, class);
        }
    }

    /// Whether there is a chain of orders seen from one class to another.
    fn reaches(&self, from: u8, to: u8) -> bool {
        let (mut seen, mut fresh) = (0, self.after[from as usize]);
        while fresh & !seen != 0 {
            let next = (fresh & !seen).trailing_zeros();
            seen |= 1 << next;
            fresh |= self.after[next as usize];
        }
        seen >> to & 1 != 0
    }

    /// Shortest chain of orders seen from one class to another.
    fn path(&self, from: u8, to: u8) -> Option<Vec<u8>> {
        let mut paths = vec![vec![from]];
        let mut seen = 1u32 << from;
        let mut i = 0;
        while i < paths.len() {
            let last = *paths[i].last()?;
            if last == to {
                return Some(paths.swap_remove(i));
            }
            for next in (0..NR_CLASSES as u8).filter(|n| self.after[last as usize] >> n & 1 != 0) {
                if seen >> next & 1 == 0 {
                    seen |= 1 << next;
                    let mut path = paths[i].clone();
                    path.push(next);
                    paths.push(path);
                }
            }
            i += 1;
        }
        None
    }

    fn might_sleep(&self, r: &Record, how: &str, found: &mut Findings) {
        let task = &self.tasks[r.task as usize];
        let spin = task.held().find(|h| self.sleeping >> h.class & 1 == 0);
        if task.irqs_off == 0 && spin.is_none() {
            return;
        }
        let why = spin.map_or("has interrupts off".into(), |h| format!("holds {}", self.name(h.class)));
        let message = format!("task {} {how} while it {why}", r.task);
        found.add(Violation::new("lockdep", "sleep-in-atomic", r, message));
    }

    #[cold]
    fn held_at_exit(&self, r: &Record, task: u8, found: &mut Findings) {
        for held in self.tasks[task as usize].held().take(1) {
            let message =
                format!("task {task} is done and still holds {}, taken in {}", self.name(held.class), held.func.name());
            found.add(Violation::new("lockdep", "lock-held-at-exit", r, message).blame(held.func));
        }
    }

    fn name(&self, class: u8) -> &'static str {
        lock_name(self.classes[class as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{feed, title};
    use super::*;

    fn lock(class: LockClass, i: u8) -> u8 {
        (0..=u8::MAX).find(|&l| lock_class(l) == (class, i)).unwrap()
    }
    fn take(task: u8, class: LockClass, i: u8) -> [(u8, Event); 2] {
        let lock = lock(class, i);
        [
            (task, Event::LockContended { lock, read: false }),
            (task, Event::LockAcquired { lock, read: false, try_: false }),
        ]
    }
    fn try_take(task: u8, class: LockClass, i: u8) -> [(u8, Event); 1] {
        [(task, Event::LockAcquired { lock: lock(class, i), read: false, try_: true })]
    }
    fn drop_(task: u8, class: LockClass, i: u8) -> [(u8, Event); 1] {
        [(task, Event::LockRelease { lock: lock(class, i), read: false })]
    }
    /// All but the last step of taking a lock.
    fn want(task: u8, class: LockClass, i: u8) -> [(u8, Event); 1] {
        [take(task, class, i)[0]]
    }

    #[test]
    fn both_orders_are_a_cycle_even_by_way_of_a_third() {
        use LockClass::{Folio, IMmap, IPages};
        let order = [&take(0, Folio, 1)[..], &take(0, IMmap, 0), &drop_(0, IMmap, 0), &drop_(0, Folio, 1)].concat();
        let other = [&take(1, IMmap, 0)[..], &take(1, IPages, 0), &drop_(1, IPages, 0), &drop_(1, IMmap, 0)].concat();
        let third = [&take(2, IPages, 0)[..], &drop_(2, IPages, 0)].concat();
        assert_eq!(title::<Lockdep>(&[&order[..], &other, &third].concat()), "");
        let cycle = [&order[..], &other, &take(2, IMmap, 3), &want(2, Folio, 4)].concat();
        let v = feed::<Lockdep>(&cycle).unwrap();
        assert_eq!(v.title(), "circular-locking in f");
        assert_eq!(
            v.message,
            "task 2 takes folio_lock under i_mmap_rwsem, but the order so far was folio_lock, i_mmap_rwsem"
        );
    }

    #[test]
    fn mmap_lock_under_a_reservation_is_wrong_and_a_trylock_waits_for_nobody() {
        use LockClass::{Mmap, Resv};
        let blocking = [&take(0, Resv, 1)[..], &want(0, Mmap, 0)].concat();
        assert_eq!(title::<Lockdep>(&blocking), "circular-locking in f");
        let trying = [&take(0, Resv, 1)[..], &try_take(0, Mmap, 0), &drop_(0, Mmap, 0), &drop_(0, Resv, 1)].concat();
        assert_eq!(title::<Lockdep>(&trying), "");
        // What a trylock got is held like any other lock.
        let held = [&try_take(0, Resv, 1)[..], &want(0, Mmap, 0)].concat();
        assert_eq!(title::<Lockdep>(&held), "circular-locking in f");
    }

    #[test]
    fn recursion_is_caught_and_nesting_where_it_is_not_meant() {
        use LockClass::{Mmap, Pte, Resv};
        assert_eq!(title::<Lockdep>(&[&take(0, Mmap, 0)[..], &want(0, Mmap, 0)].concat()), "recursive-locking in f");
        assert_eq!(title::<Lockdep>(&[&take(0, Mmap, 0)[..], &want(0, Mmap, 1)].concat()), "recursive-locking in f");
        assert_eq!(title::<Lockdep>(&[&take(0, Resv, 0)[..], &take(0, Resv, 1)].concat()), "");
        assert_eq!(title::<Lockdep>(&[&take(0, Pte, 0)[..], &take(0, Pte, 1)].concat()), "");
        assert_eq!(title::<Lockdep>(&[&take(0, Pte, 0)[..], &want(0, Pte, 0)].concat()), "recursive-locking in f");
        assert_eq!(title::<Lockdep>(&[&take(0, Mmap, 0)[..], &want(1, Mmap, 0)].concat()), "");
    }

    #[test]
    fn nobody_sleeps_in_atomic_context() {
        use LockClass::{Folio, Mmap, Pte};
        let sleep = [(0, Event::MightSleep)];
        let (off, on) = ([(0, Event::Irq { off: true })], [(0, Event::Irq { off: false })]);
        assert_eq!(title::<Lockdep>(&[&take(0, Pte, 0)[..], &sleep].concat()), "sleep-in-atomic in f");
        assert_eq!(title::<Lockdep>(&[&off[..], &sleep].concat()), "sleep-in-atomic in f");
        assert_eq!(title::<Lockdep>(&[&off[..], &want(0, Mmap, 0)].concat()), "sleep-in-atomic in f");
        assert_eq!(title::<Lockdep>(&[&take(0, Pte, 0)[..], &try_take(0, Folio, 1)].concat()), "");
        assert_eq!(title::<Lockdep>(&[&off[..], &on, &take(0, Mmap, 0), &sleep].concat()), "");
        assert_eq!(title::<Lockdep>(&[&take(0, Pte, 0)[..], &[(1, Event::MightSleep)]].concat()), "");
    }

    /// Locks taken and released by tasks at random, most of them in the order of their classes.
    #[test]
    fn what_needs_no_event_is_what_events_are_silent_about() {
        let mut rng = fastrand::Rng::with_seed(1);
        let (mut quick, mut events, mut fired) = (0, 0, 0);
        let (mut one, mut other) = (Lockdep::default(), Lockdep::default());
        for _ in 0..300 {
            let (mut found, mut same) = (Findings::default(), Findings::default());
            one.reset();
            other.reset();
            let mut held: [Vec<u8>; 2] = Default::default();
            for step in 0..40 {
                let task = rng.u8(0..2);
                let mine = &mut held[task as usize];
                let event = match rng.u8(0..8) {
                    0 if rng.bool() => Event::Irq { off: rng.bool() },
                    0 => Event::LockContended { lock: rng.u8(..), read: false },
                    1..4 if !mine.is_empty() => {
                        let lock = mine.swap_remove(rng.usize(0..mine.len()));
                        Event::LockRelease { lock, read: false }
                    }
                    _ => {
                        let lock = rng.u8(mine.last().map_or(0, |&last| last.saturating_sub(8))..);
                        mine.push(lock);
                        Event::LockAcquired { lock, read: false, try_: rng.u8(0..4) == 0 }
                    }
                };
                let r = super::super::testing::record(step, task, "gupfuzz::mm::f::here", event);
                one.event(&r, &mut found);
                let done = match event {
                    Event::LockAcquired { lock, try_, .. } => other.acquired(task, lock, try_, r.func),
                    Event::LockRelease { lock, .. } => {
                        other.released(task, lock);
                        true
                    }
                    _ => false,
                };
                if !done {
                    other.event(&r, &mut same);
                }
                (quick, events) = (quick + u32::from(done), events + u32::from(!done));
                let title = |found: &Findings| found.violation.as_ref().map(Violation::title);
                assert_eq!(title(&found), title(&same));
                for task in 0..2 {
                    let held = |dep: &Lockdep| dep.tasks[task].held().map(|h| h.lock).collect::<Vec<_>>();
                    assert_eq!(held(&one), held(&other));
                }
                if found.violation.is_some() {
                    fired += 1;
                    break;
                }
            }
        }
        assert!(quick > 500 && events > 500 && fired > 50, "{quick} {events} {fired}");
    }

    #[test]
    fn a_call_ends_without_locks() {
        use LockClass::Mmap;
        let end = [(0, Event::CallEnd { call: 0, ret: 0 })];
        let forgot = [&take(0, Mmap, 0)[..], &end].concat();
        assert_eq!(title::<Lockdep>(&forgot), "lock-held-at-exit in f");
        assert_eq!(title::<Lockdep>(&[&take(0, Mmap, 0)[..], &drop_(0, Mmap, 0), &end].concat()), "");
        assert_eq!(title::<Lockdep>(&[&take(1, Mmap, 0)[..], &end].concat()), "");
    }
}
