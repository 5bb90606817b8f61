// SPDX-License-Identifier: GPL-2.0-or-later
//! Suspending calls: from races to explicit schedules.
//!
//! Sampling rarely leaves a task alone for as long as dozens of steps of another; and few bugs need
//! more than one or two such waits.

use super::draw::chance;
use super::preemption::{set_steps, steps};
use super::{Call, Prog, Rec, ScheduleKind};
use crate::kernel::KernelTask;
use crate::limits::{NR_TASKS, NR_USER_TASKS};
use fastrand::Rng;

/// Races become calls one after the other, in one of two ways.
pub(super) fn suspend(prog: &mut Prog, rng: &mut Rng) {
    if rng.bool() { leave(prog, rng) } else { alternate(prog, rng) }
}

/// One call is suspended somewhere until those that race with it have ended, one after the other.
///
/// Emmi, Qadeer, Rakamaric: *Delay-Bounded Scheduling*, POPL 2011: most bugs need one delay, at the right step.
pub(super) fn suspend_one(prog: &mut Prog, window: usize, rng: &mut Rng) {
    (prog.schedule, prog.seed, prog.burst) = (ScheduleKind::Explicit, 0, 1);
    let mut calls: Vec<Call> = prog.calls().copied().collect();
    calls.iter_mut().for_each(|call| call.steps = 0);
    let Some(&Call { task, concurrent: true, .. }) = calls.get(window) else {
        prog.records = calls.into_iter().map(Rec::Call).collect();
        return;
    };
    calls[window].steps = draw_steps(rng);
    let begin = calls[..window].iter().rposition(|call| !call.concurrent).map_or(0, |i| i + 1);
    let end = calls[window..].iter().position(|call| !call.concurrent).map_or(calls.len(), |i| window + i);
    // What its task does before, it, all others, and what its task does then.
    let order = |i: usize| match calls[i].task == task {
        true if i <= window => 0,
        true => 2,
        false => 1,
    };
    let mut race: Vec<usize> = (begin..end).collect();
    race.sort_by_key(|&i| order(i));
    let records = (0..begin).chain(race.iter().copied()).chain(end..calls.len());
    let mut suspended = 0_u16;
    let mut others = (begin..end).filter(|&i| calls[i].task != task).fold(0_u16, |set, i| set | 1 << calls[i].task);
    prog.records.clear();
    for i in records {
        if suspended != 0 && (i >= end || order(i) == 2) {
            resume(&mut prog.records, &mut suspended, rng);
            // Who had to wait for it goes on behind it.
            resume(&mut prog.records, &mut others, rng);
        }
        prog.records.push(Rec::Call(calls[i]));
        suspended |= u16::from(i == window) << task;
    }
    resume(&mut prog.records, &mut suspended, rng);
    resume(&mut prog.records, &mut others, rng);
}

impl Prog {
    /// The record of the one call that is suspended, up to a later record; `None`: there are others, or none.
    pub fn delayed(&self) -> Option<usize> {
        let suspends = |rec: &Rec| steps(rec).is_some_and(|steps| steps > 0);
        let mut all = self.records.iter().enumerate().filter(|(_, rec)| suspends(rec)).map(|(i, _)| i);
        let at = all.next().filter(|_| self.schedule == ScheduleKind::Explicit)?;
        let alone = all.next().is_none() && matches!(self.records[at], Rec::Call(_));
        (alone && self.resumes(at).next().is_some()).then_some(at)
    }

    /// After how many steps the call of record `at` is suspended.
    pub(crate) fn steps_of(&self, at: usize) -> u8 {
        steps(&self.records[at]).unwrap_or(0)
    }

    /// The call of record `at` is suspended after so many steps.
    pub(crate) fn delay(&mut self, at: usize, steps: u8) {
        set_steps(&mut self.records[at], steps);
    }
}

/// Some calls are suspended somewhere until all the others have ended.
fn leave(prog: &mut Prog, rng: &mut Rng) {
    (prog.schedule, prog.seed, prog.burst) = (ScheduleKind::Explicit, 0, 1);
    let mut suspended = 0_u16;
    let mut records = Vec::with_capacity(prog.records.len() + 8);
    for rec in prog.records.drain(..) {
        let Rec::Call(mut call) = rec else { continue };
        // What comes next may still happen before the suspended ones go on.
        if !call.concurrent && suspended != 0 && chance(rng, 96) {
            call.concurrent = true;
        } else if !call.concurrent {
            resume(&mut records, &mut suspended, rng);
        }
        call.steps = 0;
        if call.concurrent && chance(rng, 112) {
            call.steps = draw_steps(rng);
            suspended |= 1 << call.task;
        }
        records.push(Rec::Call(call));
    }
    resume(&mut records, &mut suspended, rng);
    prog.records = records;
}

/// Tasks take turns: whoever is suspended goes on before the others have ended, so that two can wait for each
/// other.
fn alternate(prog: &mut Prog, rng: &mut Rng) {
    (prog.schedule, prog.seed, prog.burst) = (ScheduleKind::Explicit, 0, 1);
    let calls: Vec<Call> = prog.calls().copied().collect();
    prog.records.clear();
    for race in calls.chunk_by(|a, b| a.concurrent && b.concurrent) {
        if race[0].concurrent {
            take_turns(race, &mut prog.records, rng);
        } else {
            prog.records.push(Rec::Call(Call { steps: 0, ..race[0] }));
        }
    }
}

/// One race; its tasks are suspended three times at most.
fn take_turns(race: &[Call], records: &mut Vec<Rec>, rng: &mut Rng) {
    let (mut made, mut suspended, mut cuts) = (0_u64, 0_u16, rng.u8(1..=3));
    let mut cut = |rng: &mut Rng, of: usize| {
        let cut = cuts > 0 && rng.usize(0..of) == 0;
        cuts -= u8::from(cut);
        cut
    };
    let mut task = race[rng.usize(0..race.len())].task;
    loop {
        let left = |made: u64, task| {
            let calls = race.iter().enumerate().filter(move |(i, call)| made >> i & 1 == 0 && call.task == task);
            calls.map(|(i, _)| i)
        };
        let was_suspended = suspended >> task & 1 != 0;
        if was_suspended {
            let again = cut(rng, 2);
            records.push(Rec::Resume { task, steps: if again { draw_steps(rng) } else { 0 } });
            suspended ^= u16::from(!again) << task;
        } else if let Some(i) = left(made, task).next() {
            let suspends = cut(rng, left(made, task).count());
            records.push(Rec::Call(Call { steps: if suspends { draw_steps(rng) } else { 0 }, ..race[i] }));
            made |= 1 << i;
            suspended |= u16::from(suspends) << task;
        }
        let goes_on = suspended >> task & 1 == 0 && left(made, task).next().is_some();
        if goes_on && (!was_suspended || chance(rng, 192)) {
            continue;
        }
        // Another one's turn, if there is another.
        let ready = |task: u8| suspended >> task & 1 != 0 || left(made, task).next().is_some();
        let first = rng.u8(0..NR_USER_TASKS as u8);
        let mut others = (0..NR_USER_TASKS as u8).map(|i| (first + i) % NR_USER_TASKS as u8);
        match others.find(|other| *other != task && ready(*other)) {
            Some(other) => task = other,
            None if ready(task) => {}
            None => break,
        }
        if chance(rng, 24) {
            records.push(Rec::Resume { task: KernelTask::Disk as u8, steps: 0 });
        }
    }
    for task in NR_USER_TASKS as u8..NR_TASKS as u8 {
        if chance(rng, 96) {
            records.push(Rec::Resume { task, steps: 0 });
        }
    }
}

/// Suspended tasks go on, the disk before them or after.
fn resume(records: &mut Vec<Rec>, suspended: &mut u16, rng: &mut Rng) {
    let first = rng.u8(0..NR_TASKS as u8);
    for task in (0..NR_TASKS as u8).map(|i| (first + i) % NR_TASKS as u8) {
        let kernel_task = *suspended != 0 && task as usize >= NR_USER_TASKS;
        if *suspended >> task & 1 != 0 || kernel_task && chance(rng, 128) {
            records.push(Rec::Resume { task, steps: 0 });
        }
    }
    *suspended = 0;
}

/// After how many steps a call is suspended: a lockless walk has a dozen, a split a hundred.
pub(super) fn draw_steps(rng: &mut Rng) -> u8 {
    let most = 8 << rng.u8(0..4);
    rng.u8(1..=most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_suspended_goes_on_when_the_others_have_ended() {
        let mut rng = Rng::with_seed(2);
        for _ in 0..2000 {
            let calls: Vec<Call> = (0..rng.u8(1..=9))
                .map(|nr| Call { op: nr, task: rng.u8(0..3), concurrent: rng.u8(..) < 200, steps: 7, args: [0; 5] })
                .collect();
            let window = rng.usize(0..calls.len());
            let mut prog = Prog { records: calls.iter().copied().map(Rec::Call).collect(), ..Prog::default() };
            suspend_one(&mut prog, window, &mut rng);
            let of = |all: &[Call], task| all.iter().filter(|c| c.task == task).map(|c| c.op).collect::<Vec<_>>();
            let after: Vec<Call> = prog.calls().copied().collect();
            for task in 0..3 {
                assert_eq!(of(&after, task), of(&calls, task), "each task's calls in their order");
            }
            let who = calls[window];
            if !who.concurrent {
                assert!(after.iter().all(|call| call.steps == 0));
                continue;
            }
            let call_of = |rec: &Rec| match rec {
                Rec::Call(call) => Some(*call),
                _ => None,
            };
            let at = prog.records.iter().position(|rec| call_of(rec).is_some_and(|call| call.op == who.op)).unwrap();
            let goes_on = |rec: &Rec| matches!(rec, Rec::Resume { task, .. } if *task == who.task);
            let resumed = at + prog.records[at..].iter().position(goes_on).expect("it goes on");
            let between: Vec<u8> = prog.records[at + 1..resumed].iter().filter_map(call_of).map(|c| c.op).collect();
            let raced = |i: usize| calls[window.min(i)..=window.max(i)].iter().all(|call| call.concurrent);
            let others = (0..calls.len()).filter(|&i| raced(i) && calls[i].task != who.task);
            assert_eq!(between, others.clone().map(|i| calls[i].op).collect::<Vec<_>>());
            assert_eq!(prog.delayed(), Some(at), "the only one that is suspended");
            for i in others {
                // It may have had to wait for who was suspended.
                let goes_on = |rec: &Rec| matches!(rec, Rec::Resume { task, .. } if *task == calls[i].task);
                assert!(prog.records[resumed..].iter().any(goes_on));
            }
        }
    }

    #[test]
    fn turns_leave_out_no_call_and_nobody_suspended() {
        let mut rng = Rng::with_seed(1);
        let mut cuts = [0; 4];
        for _ in 0..2000 {
            let race: Vec<Call> = (0..rng.u8(1..=9))
                .map(|nr| Call { op: nr, task: rng.u8(0..3), concurrent: true, steps: 0, args: [0; 5] })
                .collect();
            let mut records = Vec::new();
            take_turns(&race, &mut records, &mut rng);
            let (mut suspended, mut nr) = (0_u16, 0);
            let mut calls = Vec::new();
            for rec in records {
                let (task, steps) = match rec {
                    Rec::Call(call) => {
                        assert_eq!(suspended >> call.task & 1, 0, "it would have to wait");
                        calls.push(Call { steps: 0, ..call });
                        (call.task, call.steps)
                    }
                    Rec::Resume { task, steps } => (task, steps),
                    _ => unreachable!("neither call nor resume"),
                };
                nr += usize::from(steps > 0);
                suspended = suspended & !(1 << task) | u16::from(steps > 0) << task;
            }
            assert_eq!(suspended, 0);
            cuts[nr] += 1;
            // Each task's calls in their order.
            let of = |all: &[Call], task| all.iter().filter(|c| c.task == task).copied().collect::<Vec<_>>();
            for task in 0..3 {
                assert_eq!(of(&calls, task), of(&race, task));
            }
        }
        assert!(cuts[1..].iter().all(|n| *n > 100), "{cuts:?}");
    }
}
