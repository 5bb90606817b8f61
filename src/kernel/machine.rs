// SPDX-License-Identifier: GPL-2.0-or-later
//! The machine: what every task waits for, which CPU is in which state, who holds which lock.
//!
//! It holds the *state* of tasks; their futures live in `init`.

use super::locking::LockState;
use super::step::{Touch, Unannounced};
use super::workqueue::WorkQueue;
use crate::arch::Cpu;
use crate::fixes::{Fix, FixSet};
use crate::limits::*;
use crate::trace::{Event, Func, Record, Site, Trace, obj};
use std::cell::{Cell, RefCell};

/// A task: 0..8 user tasks, then the kernel's own.
pub type TaskId = u8;

/// The tasks the kernel starts at boot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum KernelTask {
    /// Carries out I/O requests.
    Disk = NR_USER_TASKS as u8,
    /// Carries out jobs of the GPU and signals their fences.
    Gpu,
    /// Runs work items.
    Kworker,
    /// Runs RCU callbacks after a grace period.
    Rcu,
}

const KERNEL_TASK_NAMES: [&str; NR_TASKS - NR_USER_TASKS] = ["disk", "gpu", "kworker", "rcu"];
const USER_TASK_NAMES: [&str; NR_USER_TASKS] = ["0", "1", "2", "3", "4", "5", "6", "7"];

/// The name of a task as programs write it.
pub fn task_name(task: TaskId) -> &'static str {
    match USER_TASK_NAMES.get(task as usize) {
        Some(name) => name,
        None => KERNEL_TASK_NAMES[task as usize - NR_USER_TASKS],
    }
}

/// What a pending access waits for, as data that the step loop tests in constant time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wait {
    /// For nothing: the step can be taken.
    Ready,
    /// For a lock to be free, or free of writers.
    Lock { lock: u8, read: bool },
    /// For a word to be set.
    Event(u8),
    /// For CPUs to leave the interrupts-off sections they were in.
    Acks,
    /// For the program's next call.
    NextCall,
}

/// Where priorities of pending accesses come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Draw {
    /// From a hash of seed, call and access: partial order sampling.
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
    /// How often the pending access was drawn again.
    pub(super) redraws: Cell<u16>,
    /// What distinguishes the draws of this call: its salt, operation and task.
    pub(super) salt: Cell<u32>,
    pub(super) call: Cell<u8>,
    pub(super) depth: Cell<u8>,
    pub(super) stack: [Cell<Func>; MAX_CALL_DEPTH],
}

/// Tasks, CPUs, locks, deferred work, the trace and the fixes in force.
pub struct Machine {
    pub(crate) trace: Trace,
    fixes: Cell<FixSet>,
    current: Cell<TaskId>,
    steps: Cell<u32>,
    draw: Cell<Draw>,
    pub(crate) overrides: RefCell<Vec<Override>>,
    pub(super) tasks: [Task; NR_TASKS],
    pub(crate) cpus: [Cpu; NR_TASKS],
    pub(super) locks: [Cell<LockState>; NR_LOCKS],
    pub(super) words: [Cell<u32>; NR_WAIT_WORDS],
    pub(super) works: WorkQueue,
    pub(super) rcu: WorkQueue,
    /// Which of a task's next allocations fail: bit 0 the next.
    fail_nth: [Cell<u32>; NR_TASKS],
    /// Tasks that have a pending access, one bit each.
    awake: Cell<u16>,
    /// Those of them whose pending access can be taken; kept up to date where that changes.
    enabled: Cell<u16>,
    /// Those of them that wait for something: a lock, a word, CPUs.
    waiters: Cell<u16>,
    /// Tasks whose `priorities` are drawn; others are when somebody asks.
    drawn: Cell<u16>,
    priorities: [Cell<u32>; NR_TASKS],
    /// What the pending access of a task touches, as a signature; see [`Touch::signature`].
    pub(super) signatures: [Cell<u64>; NR_TASKS],
    pub(super) also: Unannounced,
}

impl Machine {
    pub(crate) fn new(fixes: FixSet) -> Machine {
        Machine {
            trace: Trace::new(),
            fixes: Cell::new(fixes),
            current: Cell::new(0),
            steps: Cell::new(0),
            draw: Cell::new(Draw::None),
            overrides: RefCell::default(),
            tasks: std::array::from_fn(|_| Task {
                touch: Cell::default(),
                site: Cell::new(Func::IDLE.site()),
                wait: Cell::new(Wait::NextCall),
                acks: Cell::new(0),
                n: Cell::new(0),
                redraws: Cell::new(0),
                salt: Cell::new(0),
                call: Cell::new(0),
                depth: Cell::new(0),
                stack: std::array::from_fn(|_| Cell::new(Func::IDLE)),
            }),
            cpus: std::array::from_fn(|_| Cpu::default()),
            locks: std::array::from_fn(|_| Cell::default()),
            words: std::array::from_fn(|_| Cell::new(0)),
            works: WorkQueue::default(),
            rcu: WorkQueue::default(),
            fail_nth: std::array::from_fn(|_| Cell::new(0)),
            awake: Cell::new(0),
            enabled: Cell::new(0),
            waiters: Cell::new(0),
            drawn: Cell::new(0),
            priorities: std::array::from_fn(|_| Cell::new(0)),
            signatures: std::array::from_fn(|_| Cell::new(0)),
            also: Unannounced::default(),
        }
    }

    /// Back to the state after boot.
    pub(crate) fn reset(&self, fixes: FixSet, draw: Draw) {
        self.fixes.set(fixes);
        self.current.set(0);
        self.steps.set(0);
        self.also.clear();
        for set in [&self.awake, &self.enabled, &self.waiters, &self.drawn] {
            set.set(0);
        }
        self.signatures.iter().for_each(|s| s.set(0));
        self.draw.set(draw);
        self.overrides.borrow_mut().clear();
        for task in &self.tasks {
            task.touch.set(Default::default());
            task.wait.set(Wait::NextCall);
            task.acks.set(0);
            task.n.set(0);
            task.salt.set(0);
            task.call.set(0);
            task.redraws.set(0);
            task.depth.set(0);
        }
        for cpu in &self.cpus {
            cpu.reset();
        }
        self.locks.iter().for_each(|l| l.set(LockState::default()));
        self.words.iter().for_each(|w| w.set(0));
        self.works.reset();
        self.rcu.reset();
        self.fail_nth.iter().for_each(|n| n.set(0));
    }

    /// Whether a fix is in force.
    #[inline]
    pub(crate) fn fixed(&self, fix: Fix) -> bool {
        self.fixes.get().has(fix)
    }

    /// The task that takes the present step.
    #[inline]
    pub(crate) fn current(&self) -> TaskId {
        self.current.get()
    }

    pub(crate) fn set_current(&self, task: TaskId) {
        self.current.set(task);
    }

    /// Steps taken since boot.
    pub(crate) fn steps(&self) -> u32 {
        self.steps.get()
    }

    /// A step of `task` begins.
    #[inline]
    pub(crate) fn begin_step(&self, task: TaskId) {
        self.current.set(task);
        self.steps.set(self.steps.get() + 1);
        self.also.clear();
    }

    /// A tracepoint.
    #[inline]
    #[track_caller]
    pub(crate) fn emit(&self, event: Event) {
        if self.trace.is_on() {
            self.emit_at(Site::here(), event);
        }
    }

    #[inline]
    pub(crate) fn emit_at(&self, site: Site, event: Event) {
        if self.trace.is_on() {
            self.record(site, event);
        }
    }

    #[inline(never)]
    fn record(&self, site: Site, event: Event) {
        let task = self.current.get();
        self.trace.push(Record { step: self.steps.get(), task, func: self.func(task), site, event });
        if self.trace.keeps() {
            self.trace.push_stack(self.stack(task));
        }
    }

    /// The innermost modelled function of a task.
    #[inline]
    pub(crate) fn func(&self, task: TaskId) -> Func {
        let t = &self.tasks[task as usize];
        match t.depth.get() {
            0 => Func::IDLE,
            depth => t.stack[(depth as usize - 1).min(MAX_CALL_DEPTH - 1)].get(),
        }
    }

    /// How many modelled functions a task is inside of.
    pub(crate) fn depth(&self, task: TaskId) -> u8 {
        self.tasks[task as usize].depth.get()
    }

    #[cold]
    fn stack(&self, task: TaskId) -> Vec<Func> {
        let t = &self.tasks[task as usize];
        t.stack.iter().take(t.depth.get() as usize).map(Cell::get).collect()
    }

    /// Begins a call of a task: its accesses are numbered anew and drawn under `salt`.
    pub(crate) fn begin_call(&self, task: TaskId, call: u8, salt: u32) {
        let t = &self.tasks[task as usize];
        t.call.set(call);
        t.salt.set(salt);
        t.n.set(0);
    }

    /// The salt deferred work inherits from the call that queued it.
    pub(crate) fn salt(&self) -> u32 {
        self.tasks[self.current.get() as usize].salt.get()
    }

    /// The task has nothing to do until its next call.
    pub(crate) fn set_idle(&self, task: TaskId) {
        let t = &self.tasks[task as usize];
        t.wait.set(Wait::NextCall);
        t.touch.set(Default::default());
        self.signatures[task as usize].set(0);
        for set in [&self.awake, &self.enabled, &self.waiters] {
            set.set(set.get() & !(1 << task));
        }
    }

    /// Tasks that have a pending access, one bit each.
    #[inline]
    pub(crate) fn awake(&self) -> u16 {
        self.awake.get()
    }

    /// The only door through which a step is announced.
    pub(super) fn announce(&self, site: Site, touch: &[Touch; 3], wait: Wait) {
        let task = self.current.get();
        let (t, bit) = (&self.tasks[task as usize], 1 << task);
        t.site.set(site);
        t.touch.set(*touch);
        t.wait.set(wait);
        t.redraws.set(0);
        t.n.set(t.n.get() + 1);
        self.signatures[task as usize].set(Touch::signature(touch));
        self.drawn.set(self.drawn.get() & !bit);
        self.awake.set(self.awake.get() | bit);
        if wait == Wait::Ready {
            self.waiters.set(self.waiters.get() & !bit);
            self.enabled.set(self.enabled.get() | bit);
        } else {
            self.waiters.set(self.waiters.get() | bit);
            self.recheck(bit, |_| true);
        }
    }

    /// The priority of the pending access of `task`.
    #[inline]
    pub(super) fn priority(&self, task: TaskId) -> u32 {
        let priority = &self.priorities[task as usize];
        if self.drawn.get() >> task & 1 == 0 {
            self.drawn.set(self.drawn.get() | 1 << task);
            priority.set(self.draw(&self.tasks[task as usize]));
        }
        priority.get()
    }

    fn draw(&self, t: &Task) -> u32 {
        let Draw::Pos { seed } = self.draw.get() else { return 0 };
        // announce() has counted the access already.
        let (n, redraws) = (t.n.get() - 1, t.redraws.get());
        if redraws == 0 {
            let call = t.call.get();
            if let Some(o) = self.overrides.borrow().iter().find(|o| o.call == call && u16::from(o.n) == n) {
                return o.priority;
            }
        }
        hash(seed, t.salt.get(), u32::from(n) << 16 | u32::from(redraws))
    }

    /// Draws the pending access of `task` again.
    pub(super) fn redraw(&self, task: TaskId) {
        let t = &self.tasks[task as usize];
        t.redraws.set(t.redraws.get().wrapping_add(1));
        self.drawn.set(self.drawn.get() & !(1 << task));
    }

    /// Tasks whose pending access can be taken now, one bit each.
    #[inline]
    pub(crate) fn enabled(&self) -> u16 {
        debug_assert!(
            super::sched::tasks(self.awake()).all(|t| self.enabled.get() >> t & 1 == u16::from(self.can_take(t))),
            "somebody who waits was not told"
        );
        self.enabled.get()
    }

    /// What some of `waiters` may wait for has changed.
    #[inline]
    fn recheck(&self, waiters: u16, waits: impl Fn(Wait) -> bool) {
        for t in super::sched::tasks(waiters) {
            if waits(self.tasks[t as usize].wait.get()) {
                self.enabled.set(self.enabled.get() & !(1 << t) | u16::from(self.can_take(t)) << t);
            }
        }
    }

    /// Sets who holds a lock.
    #[inline]
    pub(super) fn set_lock(&self, lock: u8, state: LockState) {
        self.locks[lock as usize].set(state);
        self.recheck(self.others(), |wait| matches!(wait, Wait::Lock { lock: l, .. } if l == lock));
    }

    /// Sets a word that somebody can wait for.
    pub(super) fn set_word(&self, word: u8, value: u32) {
        self.also.add(obj::word(word));
        self.words[word as usize].set(value);
        self.recheck(self.others(), |wait| wait == Wait::Event(word));
    }

    /// Whoever waits for something, but for the current task: that announces anew before it matters.
    fn others(&self) -> u16 {
        self.waiters.get() & !(1 << self.current.get())
    }

    /// CPU `cpu` is where whoever waits for it wants it to be.
    #[inline]
    pub(super) fn ack(&self, cpu: TaskId) {
        for t in super::sched::tasks(self.waiters.get()) {
            let task = &self.tasks[t as usize];
            if task.wait.get() == Wait::Acks {
                task.acks.set(task.acks.get() & !(1 << cpu));
                self.recheck(1 << t, |_| true);
            }
        }
    }

    /// Whether the pending access of `task` can be taken now: a pure function of machine state.
    #[inline]
    fn can_take(&self, task: TaskId) -> bool {
        let t = &self.tasks[task as usize];
        match t.wait.get() {
            Wait::Ready => true,
            Wait::Lock { lock, read } => self.locks[lock as usize].get().free_for(read),
            Wait::Event(word) => self.words[word as usize].get() != 0,
            Wait::Acks => t.acks.get() == 0,
            Wait::NextCall => false,
        }
    }

    pub(crate) fn pending(&self, task: TaskId) -> ([Touch; 3], Site) {
        let t = &self.tasks[task as usize];
        (t.touch.get(), t.site.get())
    }

    pub(crate) fn waits_for(&self, task: TaskId) -> Wait {
        self.tasks[task as usize].wait.get()
    }

    /// The `n`-th allocation of the current task from here on fails; several calls add up.
    pub(crate) fn set_fail_nth(&self, n: u8) {
        let nth = &self.fail_nth[self.current.get() as usize];
        nth.set(nth.get() | 1 << (n - 1));
    }

    /// Fault injection, as /proc/self/fail-nth.  Linux: lib/fault-inject.c, should_fail().
    pub(crate) fn should_fail(&self) -> bool {
        let nth = &self.fail_nth[self.current.get() as usize];
        let next = nth.get();
        nth.set(next >> 1);
        next & 1 != 0
    }
}

/// Mixes the three numbers a draw depends on.
pub(crate) fn hash(a: u32, b: u32, c: u32) -> u32 {
    let x = (u64::from(a) << 32 | u64::from(b)) ^ u64::from(c).wrapping_mul(0xd6e8_feb8_6659_fd93);
    let x = (x ^ (x >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (x >> 32) as u32
}

/// A task is inside a modelled function as long as this lives; made by `enter!`.
pub(crate) struct Entered<'k> {
    machine: &'k Machine,
    task: TaskId,
}

impl<'k> Entered<'k> {
    #[inline]
    pub(crate) fn new(machine: &'k Machine, func: Func) -> Entered<'k> {
        let task = machine.current.get();
        let t = &machine.tasks[task as usize];
        let depth = t.depth.get();
        if let Some(slot) = t.stack.get(depth as usize) {
            slot.set(func);
        }
        t.depth.set(depth + 1);
        Entered { machine, task }
    }
}

impl Drop for Entered<'_> {
    #[inline]
    fn drop(&mut self) {
        let depth = &self.machine.tasks[self.task as usize].depth;
        depth.set(depth.get().saturating_sub(1));
    }
}
