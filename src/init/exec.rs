// SPDX-License-Identifier: GPL-2.0-or-later
//! The step loop.

use super::Observe;
use super::tasks::{Calls, Last};
use crate::entry::System;
use crate::kernel::sched::{Schedule, tasks};
use crate::kernel::{TaskId, Wait};
use crate::limits::*;
use crate::oracles::{Oracles, StateMap, Stats};
use crate::prog::Rec;
use crate::trace::{Event, Record};
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::pin::Pin;
use std::task::{Context, Waker};

/// The kernel's tasks, one bit each.
const KERNEL_TASKS: u16 = (1 << NR_TASKS) - (1 << NR_USER_TASKS);

/// Why a run is over before its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Over {
    /// An oracle fired.
    Found,
    /// Too many steps.
    Cut,
}

/// A run under way.
pub(super) struct Exec<'r, 'p, 'f> {
    pub(super) sys: &'r System,
    pub(super) calls: &'r Calls<'p>,
    pub(super) oracles: &'r mut Oracles,
    pub(super) stats: &'r mut Stats,
    pub(super) states: &'r mut StateMap,
    pub(super) tasks: [Pin<&'f mut (dyn Future<Output = ()> + 'r)>; NR_TASKS],
    pub(super) observe: Observe,
    pub(super) digest: u64,
    pub(super) depth_sum: u64,
    pub(super) over: Option<Over>,
}

impl Exec<'_, '_, '_> {
    /// Polls a task: it acts on its pending access, if it has one, and announces the next.
    #[inline]
    fn poll(&mut self, t: TaskId) {
        self.sys.set_current(t);
        let mut context = Context::from_waker(Waker::noop());
        let ended = self.tasks[t as usize].as_mut().poll(&mut context).is_ready();
        assert!(!ended, "task {t} returned");
        self.listen();
    }

    /// Feeds what happened to the oracles; most steps say nothing.
    #[inline]
    fn listen(&mut self) {
        if !self.sys.trace.is_drained() {
            self.feed();
        }
    }

    #[inline(never)]
    fn feed(&mut self) {
        let Exec { sys, oracles, stats, observe, digest, .. } = self;
        let digests = matches!(observe, Observe::Digest | Observe::Keep);
        sys.trace.drain(|record| {
            oracles.event(record);
            stats.event(record);
            if digests {
                *digest = with(*digest, record);
            }
        });
        if self.over.is_none() && self.oracles.found() {
            self.over = Some(Over::Found);
        }
    }

    /// Takes one step.
    fn step(&mut self, t: TaskId, active: u16, sched: &mut dyn Schedule) {
        let (touch, site) = self.sys.pending(t);
        let depth = self.sys.depth(t);
        self.sys.begin_step(t);
        self.depth_sum += u64::from(depth);
        if matches!(self.observe, Observe::Digest | Observe::Keep) {
            self.sys.emit_at(site, Event::Step { obj: touch[0].obj(), access: touch[0].access() });
        }
        self.poll(t);
        if self.observe != Observe::Bare {
            self.states.note(self.sys, &touch, site, depth);
        }
        if active != 1 << t {
            sched.taken(self.sys, t, &touch, active);
        }
        if self.sys.steps() >= MAX_STEPS && self.over.is_none() {
            self.over = Some(Over::Cut);
        }
    }

    /// Kernel tasks go to sleep until there is work.
    pub(super) fn boot(&mut self) {
        for t in tasks(KERNEL_TASKS) {
            self.poll(t);
        }
    }

    /// User tasks that have not ended all their calls.
    fn busy(&self) -> u16 {
        self.sys.awake() & !KERNEL_TASKS
    }

    /// Lets tasks that wait for a call have those up to record `limit`.
    fn allow(&mut self, set: u16, limit: usize) {
        for t in tasks(set) {
            self.calls.allow(t, limit);
            if self.sys.waits_for(t) == Wait::NextCall && self.over.is_none() {
                self.poll(t);
            }
        }
    }

    /// Nothing can run, and calls are unended.
    fn deadlock(&mut self) {
        let blocked = self.busy();
        self.sys.set_current(blocked.trailing_zeros() as TaskId);
        self.sys.emit(Event::Deadlock { tasks: blocked });
        self.listen();
        assert!(self.over.is_some() || self.observe == Observe::Bare, "an oracle hears of a deadlock");
        self.over = self.over.or(Some(Over::Cut));
    }

    /// Runs all records, round by round.
    pub(super) fn rounds(&mut self, records: &[Rec], sched: &mut dyn Schedule) {
        let mut i = 0;
        while i < records.len() && self.over.is_none() {
            let Rec::Call(call) = records[i] else {
                i += 1;
                continue;
            };
            if !call.concurrent {
                i += 1;
                self.allow(1 << call.task, i);
                self.round_of_one(call.task, sched);
                continue;
            }
            let mut set = 0;
            while let Some(record) = records.get(i) {
                match record {
                    Rec::Call(call) if !call.concurrent => break,
                    Rec::Call(call) => set |= 1 << call.task,
                    _ => {}
                }
                i += 1;
            }
            self.allow(set, i);
            self.round(sched);
        }
    }

    /// Calls race, and kernel tasks with them, until the calls have ended.
    fn round(&mut self, sched: &mut dyn Schedule) {
        loop {
            let busy = self.busy();
            if busy == 0 || self.over.is_some() {
                return;
            }
            let active = busy | KERNEL_TASKS;
            match self.sys.enabled() & active {
                0 => self.deadlock(),
                set => {
                    let t = sched.pick(self.sys, set);
                    self.step(t, active, sched);
                }
            }
        }
    }

    /// One call; kernel tasks run while it is blocked.
    fn round_of_one(&mut self, t: TaskId, sched: &mut dyn Schedule) {
        while self.busy() != 0 && self.over.is_none() {
            match self.next_for(t) {
                Some(next) => self.step(next, 1 << next, sched),
                None => self.deadlock(),
            }
        }
    }

    /// The task itself if it can run, else the first kernel task that can.
    fn next_for(&self, t: TaskId) -> Option<TaskId> {
        let enabled = self.sys.enabled();
        if enabled >> t & 1 != 0 {
            return Some(t);
        }
        tasks(enabled & KERNEL_TASKS).next()
    }

    /// Runs all records in their order: so many steps of this, so many of that.
    pub(super) fn explicit(&mut self, records: &[Rec]) {
        for (i, record) in records.iter().enumerate() {
            if self.over.is_some() {
                return;
            }
            match *record {
                Rec::Call(call) => {
                    let suspended = self.sys.waits_for(call.task) != Wait::NextCall;
                    self.allow(1 << call.task, i + 1);
                    if !suspended {
                        self.advance(call.task, call.steps);
                    }
                }
                Rec::Resume { task, steps } => self.advance(task, steps),
                Rec::Override { .. } | Rec::Choices { .. } => {}
            }
        }
    }

    /// Takes `steps` steps of a task, 0: until its call has ended or, a kernel task, it sleeps.  A
    /// blocked user task lets kernel tasks run; if that does not help it stays pending.
    fn advance(&mut self, t: TaskId, steps: u8) {
        let mut left = if steps == 0 { u32::MAX } else { u32::from(steps) };
        while left > 0 && self.sys.waits_for(t) != Wait::NextCall && self.over.is_none() {
            let next = match KERNEL_TASKS >> t & 1 {
                0 => self.next_for(t),
                _ => (self.sys.enabled() >> t & 1 != 0).then_some(t),
            };
            let Some(next) = next else {
                return;
            };
            self.step(next, 1 << next, &mut Fixed);
            left -= (next == t) as u32;
        }
    }

    /// Everything comes to its end, in a fixed round robin: calls, kernel tasks, processes, handles.
    pub(super) fn epilogue(&mut self) {
        self.drain();
        self.stats.stop();
        for t in 0..NR_USER_TASKS as TaskId {
            self.last(t, Last::Exit);
        }
        self.last(0, Last::CloseAll);
        if self.over.is_none() && self.observe != Observe::Bare {
            self.oracles.quiescent(self.sys);
            if self.oracles.found() {
                self.over = Some(Over::Found);
            }
        }
    }

    fn last(&mut self, t: TaskId, last: Last) {
        if self.over.is_none() {
            self.calls.last[t as usize].set(last);
            self.poll(t);
            self.drain();
        }
    }

    /// Round robin until calls have ended and kernel tasks sleep.
    fn drain(&mut self) {
        while self.over.is_none() {
            let mut moved = false;
            // Those that are awake now, each if it can run when it is its turn.
            let mut left = self.sys.awake();
            while left & self.sys.enabled() != 0 && self.over.is_none() {
                let t = (left & self.sys.enabled()).trailing_zeros();
                left &= u16::MAX << 1 << t;
                self.step(t as TaskId, 1 << t, &mut Fixed);
                moved = true;
            }
            match (moved, self.busy()) {
                (true, _) => {}
                (false, 0) => return,
                (false, _) => self.deadlock(),
            }
        }
    }
}

/// The schedule of whoever picks the steps himself.
struct Fixed;

impl Schedule for Fixed {
    fn pick(&mut self, _: &crate::kernel::Machine, _: u16) -> TaskId {
        unreachable!("nobody asks")
    }
    fn taken(&mut self, _: &crate::kernel::Machine, _: TaskId, _: &[crate::kernel::Touch; 3], _: u16) {}
}

/// A digest of all records up to this one.
#[cold]
fn with(digest: u64, record: &Record) -> u64 {
    let mut hasher = Fnv(digest);
    (record.step, record.task, record.site.key(), record.event).hash(&mut hasher);
    hasher.finish()
}

/// Fowler, Noll, Vo: a hash that is the same everywhere.
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
    fn write_u16(&mut self, n: u16) {
        self.write(&n.to_le_bytes());
    }
    fn write_u32(&mut self, n: u32) {
        self.write(&n.to_le_bytes());
    }
    fn write_u64(&mut self, n: u64) {
        self.write(&n.to_le_bytes());
    }
    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }
    fn write_isize(&mut self, n: isize) {
        self.write_u64(n as u64);
    }
    fn write_i32(&mut self, n: i32) {
        self.write(&n.to_le_bytes());
    }
}
