// SPDX-License-Identifier: GPL-2.0-or-later
//! The step loop: whose step is next, and for how long.
//!
//! A task that it picks goes on by itself as long as it would be picked again ([`Turn`]).  The loop is for all that is
//! more than the next step of a call: another task's turn, a call that begins or has ended, nobody who can run, the
//! end of the run.

use super::Observe;
use super::ears::Ears;
use super::meeting::Meeting;
use super::tasks::{Kind, Now, Places, User};
use crate::entry::{Ret, System};
use crate::kernel::sched::{Schedule, tasks};
use crate::kernel::{KernelTask, TaskId, Touch, Turn, WORD_DISK, Wait};
use crate::limits::*;
use crate::prog::Rec;
use crate::trace::{Event, Site, obj};
use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;
use std::task::Poll;

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
pub(super) struct Exec<'r, 'p> {
    pub(super) sys: &'r Rc<System>,
    pub(super) records: &'p [Rec],
    pub(super) ears: &'r RefCell<Ears>,
    pub(super) places: &'r mut Places,
    pub(super) users: [User<'p>; NR_USER_TASKS],
    pub(super) observe: Observe,
    pub(super) ended: u32,
    pub(super) succeeded: u32,
    pub(super) over: Option<Over>,
    /// The record of the call that is suspended, if it is of interest whom it meets.
    pub(super) meeting: Option<(usize, &'r mut Meeting)>,
}

impl Exec<'_, '_> {
    /// Polls a task: it acts on its pending access, if it has one, and announces the next, on which it acts at once while
    /// it is its turn.
    #[inline]
    pub(super) fn poll(&mut self, t: TaskId) {
        match self.places.poll(t) {
            Some(Poll::Pending) => {}
            Some(Poll::Ready(ret)) => self.leave(t, ret),
            None => self.enter(t),
        }
        self.listen();
    }

    /// A user task that is inside of nothing enters the kernel, or says what it would enter it for.
    #[inline(never)]
    fn enter(&mut self, t: TaskId) {
        let user = &mut self.users[t as usize];
        let Now::Enters(number, call) = user.now else { return self.next(t) };
        user.now = Now::Calls(number, call);
        let mm = self.sys.current_mm();
        self.sys.emit(Event::CallBegin { call: number, op: call.op, args: call.args, mm });
        self.go_into(t, Kind::Call(call.op), call.args);
    }

    fn go_into(&mut self, t: TaskId, kind: Kind, args: [u8; 5]) {
        self.places.enter(t, self.sys, kind, args);
        if let Some(Poll::Ready(ret)) = self.places.poll(t) {
            self.leave(t, ret);
        }
    }

    /// A call has ended, or all there was to do; what is next?
    #[inline(never)]
    fn leave(&mut self, t: TaskId, ret: Ret) {
        assert!((t as usize) < NR_USER_TASKS, "task {t} returned");
        match std::mem::take(&mut self.users[t as usize].now) {
            Now::Calls(number, call) => {
                self.places.leave(t, Kind::Call(call.op));
                self.ended += 1;
                self.succeeded += ret.is_ok() as u32;
                let ret = ret.map_or_else(|errno| -(errno as i32), |value| value as i32);
                self.sys.emit(Event::CallEnd { call: number, ret });
            }
            Now::Ends(last) => {
                self.places.leave(t, Kind::Last(last));
                assert!(ret.is_ok(), "leaving an address space needs no memory");
            }
            now => unreachable!("task {t} was inside of nothing: {now:?}"),
        }
        self.next(t);
    }

    fn next(&mut self, t: TaskId) {
        let user = &mut self.users[t as usize];
        user.now = user.take(t, self.records);
        match user.now {
            Now::Enters(number, call) => {
                let salt = u32::from(call.steps) | u32::from(call.op) << 8 | u32::from(t) << 16;
                self.sys.begin_call(t, number, salt);
                // Entering the kernel is a step: what a call does first, looking a handle up, say,
                // is ordered by the schedule like everything else.
                let touch = Touch::write(obj::counter(obj::CALLS_BEGUN));
                self.sys.announce(Site::here(), [touch, Touch::NONE, Touch::NONE], Wait::Ready);
            }
            Now::Ends(last) => {
                self.sys.begin_call(t, u8::MAX, 0);
                self.go_into(t, Kind::Last(last), [0; 5]);
            }
            _ => self.sys.set_idle(t),
        }
    }

    /// The run is over as soon as an oracle fires.
    #[inline]
    pub(super) fn listen(&mut self) {
        if self.sys.trace.is_over() && self.over.is_none() {
            self.over = Some(Over::Found);
        }
    }

    /// Takes one step, and those that follow in the same call while it is still its turn.
    #[inline]
    fn step(&mut self, t: TaskId, turn: Turn) {
        self.sys.begin_turn(t, turn);
        self.poll(t);
        self.sys.end_turn();
        if self.sys.steps() >= MAX_STEPS && self.over.is_none() {
            self.over = Some(Over::Cut);
        }
    }

    /// Takes one step, after which nobody draws again.
    #[inline]
    pub(super) fn step_once(&mut self, t: TaskId) {
        self.step(t, Turn::Once);
    }

    /// Takes one step and, where no meeting is looked for, those that follow in the same call: `most` in all, as long as
    /// `t` can and none of `company` can.
    fn steps_alone(&mut self, t: TaskId, most: u32, company: u16) {
        let turn = match self.meeting {
            None => Turn::Alone { steps: most.min(self.steps_left()), company },
            Some(_) => Turn::Once,
        };
        self.step(t, turn);
    }

    /// Up to where the run is cut.
    fn steps_left(&self) -> u32 {
        MAX_STEPS - self.sys.steps()
    }

    /// All that `t` can do until another could do something.
    #[inline]
    pub(super) fn steps_only(&mut self, t: TaskId) {
        self.steps_alone(t, u32::MAX, !(1 << t));
    }

    /// Kernel tasks go to sleep until there is work.
    pub(super) fn boot(&mut self) {
        for t in tasks(KERNEL_TASKS) {
            self.sys.set_current(t);
            self.poll(t);
        }
    }

    /// User tasks that have not ended all their calls.
    pub(super) fn busy(&self) -> u16 {
        self.sys.awake() & !KERNEL_TASKS
    }

    /// Kernel tasks that wait for something else than work.
    pub(super) fn stuck(&self) -> u16 {
        let at_rest = |t: TaskId| self.sys.waits_for(t) == Wait::Event(WORD_DISK + t - KernelTask::Disk as u8);
        tasks(KERNEL_TASKS).filter(|&t| !at_rest(t)).fold(0, |set, t| set | 1 << t)
    }

    /// Lets tasks that wait for a call have those of some records; they have had all before.
    fn allow(&mut self, set: u16, records: Range<usize>) {
        tasks(set).for_each(|t| self.allow_task(t, &records));
    }

    fn allow_task(&mut self, t: TaskId, records: &Range<usize>) {
        let waits = self.sys.waits_for(t) == Wait::NextCall;
        self.users[t as usize].allow(records, waits);
        if waits && self.over.is_none() {
            self.sys.set_current(t);
            self.next(t);
        }
    }

    /// Nothing can run, and calls are unended, or work: somebody is interrupted, or that is how it stays.
    pub(super) fn deadlock(&mut self, blocked: u16) {
        if self.sys.interrupt() {
            return;
        }
        self.sys.set_current(blocked.trailing_zeros() as TaskId);
        self.sys.emit(Event::Deadlock { tasks: blocked });
        self.listen();
        assert!(self.over.is_some() || self.observe == Observe::Bare, "an oracle hears of a deadlock");
        self.over = self.over.or(Some(Over::Cut));
    }

    /// Runs all records, round by round.
    pub(super) fn rounds(&mut self, sched: &mut impl Schedule) {
        let mut next = 0;
        while self.next_race(&mut next) {
            self.round(sched);
        }
    }

    /// Makes calls from record `next` on up to those that race, and lets these begin; `false`: there are
    /// none, or the run is over.
    pub(super) fn next_race(&mut self, next: &mut usize) -> bool {
        let records = self.records;
        while *next < records.len() && self.over.is_none() {
            let Rec::Call(call) = records[*next] else {
                *next += 1;
                continue;
            };
            if !call.concurrent {
                *next += 1;
                self.allow_task(call.task, &(*next - 1..*next));
                self.round_of_one(call.task);
                continue;
            }
            let (first, mut set) = (*next, 0);
            while let Some(record) = records.get(*next) {
                match record {
                    Rec::Call(call) if !call.concurrent => break,
                    Rec::Call(call) => set |= 1 << call.task,
                    _ => {}
                }
                *next += 1;
            }
            self.allow(set, first..*next);
            return true;
        }
        false
    }

    /// Calls race, and kernel tasks with them, until the calls have ended.
    fn round(&mut self, sched: &mut impl Schedule) {
        loop {
            let (set, active) = self.racing();
            if set == 0 {
                return;
            }
            let t = sched.pick(self.sys, set);
            self.step(t, sched.turn(self.steps_left(), active));
        }
    }

    /// Tasks of which the schedule picks one, none when the round is over; and those that are in it.
    #[inline]
    pub(super) fn racing(&mut self) -> (u16, u16) {
        let busy = self.busy();
        if busy == 0 || self.over.is_some() {
            return (0, 0);
        }
        let active = busy | KERNEL_TASKS;
        if self.sys.enabled() & active == 0 {
            self.deadlock(busy);
        }
        // None, unless somebody was interrupted.
        (self.sys.enabled() & active, active)
    }

    /// One call; kernel tasks run while it is blocked.
    fn round_of_one(&mut self, t: TaskId) {
        while self.over.is_none() {
            match self.next_for(t) {
                Some(next) if next == t => self.steps_alone(t, u32::MAX, 0),
                _ if self.busy() == 0 => return,
                Some(next) => self.step_once(next),
                None => self.deadlock(self.busy()),
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
    pub(super) fn explicit(&mut self) {
        for (i, record) in self.records.iter().enumerate() {
            if self.over.is_some() {
                return;
            }
            if let Some((at, meeting)) = &mut self.meeting {
                meeting.next(self.records, i, *at);
            }
            match *record {
                Rec::Call(call) => {
                    let suspended = self.sys.waits_for(call.task) != Wait::NextCall;
                    self.allow_task(call.task, &(i..i + 1));
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
            if let Some((_, meeting)) = &mut self.meeting {
                meeting.step(next == t, &self.sys.pending(next).0);
            }
            if next == t {
                let before = self.sys.steps();
                self.steps_alone(t, left, 0);
                left -= self.sys.steps() - before;
            } else {
                self.step_once(next);
            }
        }
    }
}
