// SPDX-License-Identifier: GPL-2.0-or-later
//! The machine: what every task waits for, which CPU is in which state, who holds which lock.
//!
//! It holds the *state* of tasks; their futures live in `init`.

use super::locking::LockState;
use super::pending::*;
use super::step::Unannounced;
use super::turn::Turns;
use super::workqueue::{Work, WorkFunc, WorkQueue};
use crate::arch::Cpu;
use crate::fixes::{Fix, FixSet};
use crate::limits::*;
use crate::trace::{Event, Func, Record, Site, Trace};
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

/// A power of two, so that looking a task up needs no check: every step does so a dozen times.
pub(super) const TASK_SLOTS: usize = NR_TASKS.next_power_of_two();

/// Tasks, CPUs, locks, deferred work, the trace and the fixes in force.
pub struct Machine {
    pub(crate) trace: Trace,
    fixes: Cell<FixSet>,
    pub(super) current: Cell<TaskId>,
    steps: Cell<u32>,
    /// The call depths of all steps, added up.
    depth_sum: Cell<u64>,
    pub(super) turns: Turns,
    pub(super) draw: Cell<Draw>,
    overrides: RefCell<Vec<Override>>,
    /// There are any: few programs have some.
    overridden: Cell<bool>,
    pub(super) tasks: [Task; TASK_SLOTS],
    pub(super) cpus: [Cpu; TASK_SLOTS],
    pub(super) locks: [Cell<LockState>; NR_LOCKS],
    pub(super) words: [Cell<u32>; NR_WAIT_WORDS],
    /// Tasks that a signal wakes, one bit each.
    pub(super) signals: Cell<u16>,
    pub(super) works: WorkQueue,
    pub(super) rcu: WorkQueue,
    /// Submitted to the disk, not yet begun.
    pub(super) requests: WorkQueue,
    /// Which of a task's next allocations fail: bit 0 the next.
    fail_nth: [Cell<u32>; NR_TASKS],
    pub(super) sets: Cell<Sets>,
    /// Of pending accesses, worked out when somebody asks.
    pub(super) priorities: [Cell<Option<u32>>; TASK_SLOTS],
    /// See [`Machine::signature`].
    pub(super) signatures: [Cell<u64>; TASK_SLOTS],
    pub(super) also: Unannounced,
}

impl Machine {
    pub(crate) fn new(fixes: FixSet) -> Machine {
        Machine {
            trace: Trace::default(),
            fixes: Cell::new(fixes),
            current: Cell::new(0),
            steps: Cell::new(0),
            depth_sum: Cell::new(0),
            turns: Turns::default(),
            draw: Cell::new(Draw::None),
            overrides: RefCell::default(),
            overridden: Cell::new(false),
            tasks: std::array::from_fn(|_| Task {
                touch: Cell::default(),
                site: Cell::new(Func::IDLE.site()),
                wait: Cell::new(Wait::NextCall),
                acks: Cell::new(0),
                n: Cell::new(0),
                looked_at: Cell::new(0),
                since: Cell::new(0),
                drawn: Cell::new(None),
                redraws: Cell::new(0),
                salt: Cell::new(0),
                call: Cell::new(0),
                on_behalf: Cell::new(0),
                depth: Cell::new(0),
                stack: std::array::from_fn(|_| Cell::new(Func::IDLE)),
            }),
            cpus: std::array::from_fn(|_| Cpu::default()),
            locks: std::array::from_fn(|_| Cell::default()),
            words: std::array::from_fn(|_| Cell::new(0)),
            signals: Cell::new(0),
            works: WorkQueue::default(),
            rcu: WorkQueue::default(),
            requests: WorkQueue::default(),
            fail_nth: std::array::from_fn(|_| Cell::new(0)),
            sets: Cell::default(),
            priorities: std::array::from_fn(|_| Cell::new(None)),
            signatures: std::array::from_fn(|_| Cell::new(0)),
            also: Unannounced::default(),
        }
    }

    /// Back to the state after boot.
    pub(crate) fn reset(&self, fixes: FixSet, draw: Draw) {
        self.fixes.set(fixes);
        self.current.set(0);
        self.steps.set(0);
        self.depth_sum.set(0);
        self.turns.reset();
        self.also.clear();
        self.sets.set(Sets::default());
        self.signatures.iter().for_each(|s| s.set(0));
        self.draw.set(draw);
        if self.overridden.take() {
            self.overrides.borrow_mut().clear();
        }
        for task in &self.tasks {
            task.touch.set(Default::default());
            task.wait.set(Wait::NextCall);
            task.acks.set(0);
            task.n.set(0);
            task.salt.set(0);
            task.call.set(0);
            task.on_behalf.set(0);
            task.looked_at.set(0);
            task.since.set(0);
            task.drawn.set(None);
            task.redraws.set(0);
            task.depth.set(0);
            task.stack[0].set(Func::IDLE);
        }
        for cpu in &self.cpus {
            cpu.reset();
        }
        self.locks.iter().for_each(|l| l.set(LockState::default()));
        self.words.iter().for_each(|w| w.set(0));
        self.signals.set(0);
        self.works.reset();
        self.rcu.reset();
        self.requests.reset();
        self.fail_nth.iter().for_each(|n| n.set(0));
    }

    /// An `override` record is in force from here on.
    pub(crate) fn add_override(&self, o: Override) {
        self.overridden.set(true);
        self.overrides.borrow_mut().push(o);
    }

    /// What an `override` record says that the n-th access of a task draws.
    #[inline]
    pub(super) fn overriding(&self, t: &Task, n: u16) -> Option<u32> {
        if self.overridden.get() { self.find_override(t, n) } else { None }
    }

    #[cold]
    fn find_override(&self, t: &Task, n: u16) -> Option<u32> {
        let overrides = self.overrides.borrow();
        overrides.iter().find(|o| o.call == t.call.get() && u16::from(o.n) == n).map(|o| o.priority)
    }

    /// The state of a task.
    #[inline]
    pub(super) fn task(&self, task: TaskId) -> &Task {
        &self.tasks[task as usize % TASK_SLOTS]
    }

    /// The CPU that a task runs on.
    #[inline]
    pub(super) fn cpu(&self, task: TaskId) -> &Cpu {
        &self.cpus[task as usize % TASK_SLOTS]
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

    /// The call depths of all steps since boot, added up.
    pub(crate) fn depth_sum(&self) -> u64 {
        self.depth_sum.get()
    }

    /// Counts a step of `task`, from here on the current one, and tells of it if all is told.
    #[inline]
    pub(super) fn count_step(&self, task: TaskId) {
        self.current.set(task);
        self.steps.set(self.steps.get() + 1);
        self.depth_sum.set(self.depth_sum.get() + u64::from(self.depth(task)));
        self.also.clear();
        if self.trace.is_whole() {
            self.emit_step(task);
        }
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
            self.record(self.current.get(), site, event);
        }
    }

    /// A step of the current task: of the function that takes it, not of the one that is to blame.
    #[cold]
    fn emit_step(&self, task: TaskId) {
        let (touch, site) = self.pending(task);
        self.record_in(task, self.func(task), site, Event::Step { obj: touch[0].obj(), access: touch[0].access() });
    }

    #[inline(never)]
    pub(super) fn record(&self, task: TaskId, site: Site, event: Event) {
        self.record_in(task, self.blamed(task), site, event);
    }

    #[inline]
    fn record_in(&self, task: TaskId, func: Func, site: Site, event: Event) {
        let record = Record { step: self.steps.get(), task, func, site, event };
        if self.trace.keeps() {
            self.trace.keep(record, self.stack(task));
        }
        self.trace.tell(&record);
    }

    /// The innermost modelled function of a task.
    #[inline]
    pub(crate) fn func(&self, task: TaskId) -> Func {
        let t = self.task(task);
        t.func_at(t.depth.get())
    }

    /// The innermost one that does not act for its caller; if all do, the outermost.
    #[inline]
    pub(super) fn blamed(&self, task: TaskId) -> Func {
        let t = self.task(task);
        let mut depth = t.depth.get();
        let mut func = t.func_at(depth);
        while depth > 1 && func.0.for_caller {
            depth -= 1;
            func = t.func_at(depth);
        }
        func
    }

    /// How many modelled functions a task is inside of.
    pub(crate) fn depth(&self, task: TaskId) -> u8 {
        self.task(task).depth.get()
    }

    #[cold]
    fn stack(&self, task: TaskId) -> Vec<Func> {
        let t = self.task(task);
        t.stack.iter().skip(1).take(t.depth.get() as usize).map(Cell::get).collect()
    }

    /// Begins a call of a task: its accesses are numbered anew and drawn under `salt`.
    pub(crate) fn begin_call(&self, task: TaskId, call: u8, salt: u32) {
        let t = self.task(task);
        t.call.set(call);
        t.on_behalf.set(call);
        t.salt.set(salt);
        t.n.set(0);
        t.looked_at.set(0);
    }

    /// A work item, queued by what the current task is inside of.
    pub(crate) fn work(&self, func: WorkFunc, arg: u8) -> Work {
        let t = self.task(self.current.get());
        Work { func, arg, salt: t.salt.get(), call: t.on_behalf.get() }
    }

    /// A kernel task begins to work on an item: as a call whose draws are its own.
    pub(crate) fn begin_work(&self, work: Work) {
        let task = self.current.get();
        self.begin_call(task, u8::MAX, work.salt ^ u32::from(task) << 24);
        self.task(task).on_behalf.set(work.call);
        self.emit(Event::Work { call: work.call });
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

/// A task is inside a modelled function as long as this lives; made by `enter!`.
pub(crate) struct Entered<'k> {
    machine: &'k Machine,
    task: TaskId,
}

impl<'k> Entered<'k> {
    #[inline]
    pub(crate) fn new(machine: &'k Machine, func: Func) -> Entered<'k> {
        let task = machine.current.get();
        let t = machine.task(task);
        let depth = t.depth.get() + 1;
        debug_assert!(depth as usize <= MAX_CALL_DEPTH, "no path of the kernel is that deep");
        t.stack[depth as usize % t.stack.len()].set(func);
        t.depth.set(depth);
        Entered { machine, task }
    }
}

impl Drop for Entered<'_> {
    #[inline]
    fn drop(&mut self) {
        let depth = &self.machine.task(self.task).depth;
        depth.set(depth.get().saturating_sub(1));
    }
}
