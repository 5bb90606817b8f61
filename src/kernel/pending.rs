// SPDX-License-Identifier: GPL-2.0-or-later
//! What every task is about to do: its pending access, whether that can be taken now, and its priority.

use super::locking::LockState;
use super::machine::{Machine, TASK_SLOTS, TaskId};
use super::sched::tasks;
use super::step::Touch;
use crate::limits::*;
use crate::trace::{Event, Func, Site, obj};
use std::cell::Cell;

/// What a pending access waits for, as data that the step loop tests in constant time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wait {
    /// For nothing: the step can be taken.
    Ready,
    /// For a lock to be free, or free of writers; `nest`: lockdep does not look.
    Lock { lock: u8, read: bool, nest: bool },
    /// For a word to be set.
    Event(u8),
    /// For a word to be set, or for a signal.
    Interruptible(u8),
    /// For CPUs to leave the interrupts-off sections they were in.
    Acks,
    /// For the program's next call.
    NextCall,
}

/// Where priorities of pending accesses come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Draw {
    /// From a hash of seed, call and access: partial order sampling, with the patience of the seed.
    Pos { seed: u32 },
    /// Nobody asks for them.
    None,
}

/// An `override(n, priority)` record: what the n-th access of a call draws first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Override {
    pub(crate) call: u8,
    pub(crate) n: u8,
    pub(crate) priority: u32,
}

/// The state of a task.
pub(super) struct Task {
    pub(super) touch: Cell<[Touch; 3]>,
    pub(super) site: Cell<Site>,
    pub(super) wait: Cell<Wait>,
    /// CPUs that have yet to leave their interrupts-off section before this task goes on.
    pub(super) acks: Cell<u16>,
    /// Number of the next access in its call; the pending one is the one before.
    pub(super) n: Cell<u16>,
    /// Accesses before this one were looked at when somebody last asked for the priority.
    pub(super) looked_at: Cell<u16>,
    /// The access whose draw still holds: the pending one, or one before; the draw itself, once made.
    pub(super) since: Cell<u16>,
    pub(super) drawn: Cell<Option<u32>>,
    /// How often something conflicted with what was pending since then.
    pub(super) redraws: Cell<u16>,
    /// What distinguishes the draws of this call: its salt, operation and task.
    pub(super) salt: Cell<u32>,
    pub(super) call: Cell<u8>,
    /// The same; of a kernel task, the call that queued what it works on.
    pub(super) on_behalf: Cell<u8>,
    pub(super) depth: Cell<u8>,
    /// The functions it is inside of, from the second on; the first is none.
    pub(super) stack: [Cell<Func>; MAX_CALL_DEPTH + 1],
}

impl Task {
    /// The function it is inside of at a depth.
    #[inline]
    pub(super) fn func_at(&self, depth: u8) -> Func {
        self.stack[depth as usize % self.stack.len()].get()
    }

    /// Whether it draws again, at an access or at a conflict with it: always, or by the patience of
    /// the seed one time in two, four or eight.
    ///
    /// Drawn at each access, the priority of a task that is suspended would have to be below dozens of
    /// others for as long as some windows last.
    #[inline]
    fn lets_go(&self, seed: u32, n: u16, conflicts: u16) -> bool {
        let patience = seed % 4;
        patience == 0 || hash(!seed, self.salt.get(), u32::from(n) << 16 | u32::from(conflicts)) >> (32 - patience) == 0
    }
}

/// Which of the sets in [`Sets`].
#[derive(Clone, Copy)]
pub(super) enum Set {
    /// Tasks that have a pending access.
    Awake,
    /// Those of them whose pending access can be taken; kept up to date where that changes.
    Enabled,
    /// Those of them that wait for a lock, free or not.
    ForLock,
    /// Those of them that wait for a word or for other CPUs.
    ForEvent,
}

/// Sets of tasks, one bit a task, in one word: a step changes several at once.
#[derive(Clone, Copy, Default)]
pub(super) struct Sets(u64);

const _: () = assert!(NR_TASKS <= 16);

/// A task that is awake and can take its step.
const READY: u64 = 1 << (16 * Set::Awake as u32) | 1 << (16 * Set::Enabled as u32);

impl Sets {
    #[inline]
    fn of(self, set: Set) -> u16 {
        (self.0 >> (16 * set as u32)) as u16
    }
    #[inline]
    fn with(self, set: Set, task: TaskId) -> Sets {
        Sets(self.0 | 1 << (16 * set as u32) << task)
    }
    #[inline]
    fn less(self, set: Set, task: TaskId) -> Sets {
        Sets(self.0 & !(1 << (16 * set as u32) << task))
    }
    /// The task in none of them.
    #[inline]
    fn without(self, task: TaskId) -> Sets {
        Sets(self.0 & !(0x0001_0001_0001_0001 << task))
    }
}

impl Machine {
    /// The task has nothing to do until its next call.
    pub(crate) fn set_idle(&self, task: TaskId) {
        let t = self.task(task);
        t.wait.set(Wait::NextCall);
        t.touch.set(Default::default());
        self.signatures[task as usize % TASK_SLOTS].set(0);
        self.sets.set(self.sets.get().without(task));
    }

    /// Tasks that have a pending access, one bit each.
    #[inline]
    pub(crate) fn awake(&self) -> u16 {
        self.sets.get().of(Set::Awake)
    }

    /// The only door through which a step is announced.
    #[inline]
    pub(crate) fn announce(&self, site: Site, touch: [Touch; 3], wait: Wait) {
        match wait {
            Wait::Ready => self.announce_ready(site, touch),
            _ => self.announce_wait(site, touch, wait),
        }
    }

    #[inline(never)]
    fn announce_ready(&self, site: Site, touch: [Touch; 3]) {
        let task = self.current.get();
        if self.set_pending(task, site, touch, Wait::Ready) != Wait::Ready {
            self.sets.set(Sets(self.sets.get().without(task).0 | READY << task));
        }
    }

    #[inline(never)]
    fn announce_wait(&self, site: Site, touch: [Touch; 3], wait: Wait) {
        let task = self.current.get();
        self.set_pending(task, site, touch, wait);
        let (set, enabled) = match wait {
            Wait::Lock { lock, read, .. } => (Set::ForLock, self.locks[lock as usize].get().free_for(read)),
            _ => (Set::ForEvent, self.can_take(task)),
        };
        let waits = 1 << (16 * Set::Awake as u32) | 1 << (16 * set as u32);
        let enabled = u64::from(enabled) << (16 * Set::Enabled as u32);
        self.sets.set(Sets(self.sets.get().without(task).0 | (waits | enabled) << task));
    }

    /// Signature and priority are worked out when somebody asks: a task that is alone asks for neither.
    #[inline(always)]
    fn set_pending(&self, task: TaskId, site: Site, touch: [Touch; 3], wait: Wait) -> Wait {
        let t = self.task(task);
        t.site.set(site);
        t.touch.set(touch);
        t.n.set(t.n.get() + 1);
        self.signatures[task as usize % TASK_SLOTS].set(0);
        self.priorities[task as usize % TASK_SLOTS].set(None);
        t.wait.replace(wait)
    }

    /// What the pending access of `task` touches, see [`Touch::signature`].
    #[inline]
    pub(super) fn signature(&self, task: TaskId) -> u64 {
        match self.signatures[task as usize % TASK_SLOTS].get() {
            0 => self.work_out_signature(task),
            signature => signature,
        }
    }

    #[inline(never)]
    fn work_out_signature(&self, task: TaskId) -> u64 {
        let signature = Touch::signature(&self.task(task).touch.get());
        self.signatures[task as usize % TASK_SLOTS].set(signature);
        signature
    }

    /// The priority of the pending access of `task`.
    #[inline]
    pub(super) fn priority(&self, task: TaskId) -> u32 {
        self.priorities[task as usize % TASK_SLOTS].get().unwrap_or_else(|| self.work_out_priority(task))
    }

    #[inline(never)]
    fn work_out_priority(&self, task: TaskId) -> u32 {
        let Draw::Pos { seed } = self.draw.get() else { return 0 };
        let t = self.task(task);
        self.catch_up(t, seed);
        let priority = t.drawn.get().unwrap_or_else(|| self.draw(t, seed));
        t.drawn.set(Some(priority));
        self.priorities[task as usize % TASK_SLOTS].set(Some(priority));
        priority
    }

    /// Looks at the accesses since somebody asked last: whether the task drew again at one of them.
    #[inline]
    fn catch_up(&self, t: &Task, seed: u32) {
        let mut fresh = (t.looked_at.replace(t.n.get())..t.n.get()).rev();
        if let Some(n) = fresh.find(|&n| n == 0 || t.lets_go(seed, n, 0) || self.overriding(t, n).is_some()) {
            t.since.set(n);
            t.redraws.set(0);
            t.drawn.set(None);
        }
    }

    #[inline]
    fn draw(&self, t: &Task, seed: u32) -> u32 {
        let (n, redraws) = (t.since.get(), t.redraws.get());
        if redraws == 0
            && let Some(priority) = self.overriding(t, n)
        {
            return priority;
        }
        hash(seed, t.salt.get(), u32::from(n) << 16 | u32::from(redraws))
    }

    /// Something conflicts with the pending access of `task`: it is drawn again.
    pub(super) fn redraw(&self, task: TaskId) {
        let Draw::Pos { seed } = self.draw.get() else { return };
        let t = self.task(task);
        self.catch_up(t, seed);
        t.redraws.set(t.redraws.get().wrapping_add(1));
        if t.lets_go(seed, t.since.get(), t.redraws.get()) {
            t.drawn.set(None);
            self.priorities[task as usize % TASK_SLOTS].set(None);
        }
    }

    /// Tasks whose pending access can be taken now, one bit each.
    #[inline]
    pub(crate) fn enabled(&self) -> u16 {
        let enabled = self.sets.get().of(Set::Enabled);
        debug_assert!(
            tasks(self.awake()).all(|t| enabled >> t & 1 == u16::from(self.can_take(t))),
            "somebody who waits was not told"
        );
        enabled
    }

    /// Tasks that can take their step, and those that wait for a lock.  Who sleeps for a word or for other CPUs
    /// contends for nothing until it is woken.
    #[inline]
    pub(super) fn contending(&self) -> u16 {
        let sets = self.sets.get();
        sets.of(Set::Enabled) | sets.of(Set::ForLock)
    }

    /// What the pending access of `task` waits for has changed.
    #[inline]
    fn recheck(&self, task: TaskId) {
        let sets = self.sets.get();
        self.sets.set(match self.can_take(task) {
            true => sets.with(Set::Enabled, task),
            false => sets.less(Set::Enabled, task),
        });
    }

    /// Sets who holds a lock.
    #[inline]
    pub(super) fn set_lock(&self, lock: u8, state: LockState) {
        self.locks[lock as usize].set(state);
        if self.sets.get().of(Set::ForLock) & !(1 << self.current.get()) != 0 {
            self.tell_waiters(lock, state);
        }
    }

    #[inline(never)]
    fn tell_waiters(&self, lock: u8, state: LockState) {
        for t in self.others(Set::ForLock) {
            if let Wait::Lock { lock: l, read, nest } = self.waits_for(t)
                && l == lock
            {
                let could = self.sets.get().of(Set::Enabled) >> t & 1 != 0;
                self.recheck(t);
                if could && !nest && !state.free_for(read) && self.trace.is_on() {
                    // It would have taken the lock, and somebody was faster.
                    self.record(t, self.task(t).site.get(), Event::LockContended { lock, read });
                }
            }
        }
    }

    /// Sets a word that somebody can wait for.
    pub(super) fn set_word(&self, word: u8, value: u32) {
        self.also.add(obj::word(word));
        self.words[word as usize].set(value);
        for t in self.others(Set::ForEvent) {
            if matches!(self.waits_for(t), Wait::Event(w) | Wait::Interruptible(w) if w == word) {
                self.recheck(t);
            }
        }
    }

    /// Whoever waits, but for the current task: that announces anew before it matters.
    #[inline]
    fn others(&self, set: Set) -> impl Iterator<Item = TaskId> {
        tasks(self.sets.get().of(set) & !(1 << self.current.get()))
    }

    /// CPU `cpu` is where whoever waits for it wants it to be.
    #[inline]
    pub(super) fn ack(&self, cpu: TaskId) {
        for t in tasks(self.sets.get().of(Set::ForEvent)) {
            let task = self.task(t);
            if task.wait.get() == Wait::Acks {
                task.acks.set(task.acks.get() & !(1 << cpu));
                self.recheck(t);
            }
        }
    }

    /// Whether the pending access of `task` can be taken now: a pure function of machine state.
    #[inline]
    fn can_take(&self, task: TaskId) -> bool {
        let t = self.task(task);
        match t.wait.get() {
            Wait::Ready => true,
            Wait::Lock { lock, read, .. } => self.locks[lock as usize].get().free_for(read),
            Wait::Event(word) => self.words[word as usize].get() != 0,
            Wait::Interruptible(word) => self.words[word as usize].get() != 0 || self.signals.get() >> task & 1 != 0,
            Wait::Acks => t.acks.get() == 0,
            Wait::NextCall => false,
        }
    }

    /// The first who sleeps interruptibly gets a signal; false: nobody does.
    pub(crate) fn interrupt(&self) -> bool {
        let sleeps =
            |&t: &TaskId| matches!(self.waits_for(t), Wait::Interruptible(_)) && self.signals.get() >> t & 1 == 0;
        let Some(t) = tasks(self.awake()).find(sleeps) else {
            return false;
        };
        self.signals.set(self.signals.get() | 1 << t);
        self.recheck(t);
        true
    }

    /// The current task has got its signal.
    pub(super) fn clear_signal(&self) {
        self.signals.set(self.signals.get() & !(1 << self.current.get()));
    }

    pub(crate) fn pending(&self, task: TaskId) -> ([Touch; 3], Site) {
        let t = self.task(task);
        (t.touch.get(), t.site.get())
    }

    pub(crate) fn waits_for(&self, task: TaskId) -> Wait {
        self.task(task).wait.get()
    }
}

/// Mixes the three numbers a draw depends on.
pub(crate) fn hash(a: u32, b: u32, c: u32) -> u32 {
    let x = (u64::from(a) << 32 | u64::from(b)) ^ u64::from(c).wrapping_mul(0xd6e8_feb8_6659_fd93);
    let x = (x ^ (x >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (x >> 32) as u32
}
