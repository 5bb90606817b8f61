// SPDX-License-Identifier: GPL-2.0-or-later
//! Our schedules.

use crate::cpu::Budget;
use crate::search::{Finds, Slice};
use crate::tasks::{Task, pick};
use gupfuzz::init::{Computer, Observe, Outcome, start_kernel};
use gupfuzz::prog::{Prog, Rec, ScheduleKind};

/// A schedule of ours and the machine that it runs on.
pub struct Ours {
    computer: Computer,
    prog: Prog,
    schedule: ScheduleKind,
    executions: u32,
}

impl Ours {
    pub fn new(task: &Task, schedule: ScheduleKind) -> Ours {
        let mut prog = task.prog.clone();
        prog.schedule = schedule;
        if schedule == ScheduleKind::Bytes {
            // One record that differs is another draw for each choice.
            prog.records.push(Rec::Choices { len: 4, bytes: [0; 6] });
        }
        Ours { computer: start_kernel(task.fixes), prog, schedule, executions: 0 }
    }

    /// One execution.
    pub fn run(&mut self, observe: Observe) -> Outcome {
        self.executions += 1;
        if self.schedule == ScheduleKind::Bytes
            && let Some(Rec::Choices { bytes, .. }) = self.prog.records.last_mut()
        {
            bytes[..4].copy_from_slice(&self.executions.wrapping_mul(0x9e37_79b9).to_le_bytes());
        }
        self.computer.run(&self.prog, self.executions, observe)
    }

    /// Executions until a violation, again and again.
    pub fn search(&mut self, finds: &mut Finds, slice: &Slice) {
        let mut budget = Budget::of(slice.seconds);
        let before = finds.found.len();
        while finds.found.len() - before < slice.finds && !budget.over() {
            let outcome = self.run(Observe::Oracles);
            finds.executed(outcome.violation());
        }
        finds.used(budget.used());
    }
}

/// CPU seconds of the epilogue of a program: executions with it, less the same ones without.
pub fn epilogue(task: &Task, observe: Observe, executions: u32) -> f64 {
    let mut computer = start_kernel(task.fixes);
    let mut all = |finish: bool| {
        let mut rng = fastrand::Rng::with_seed(3);
        crate::cpu::seconds(|| {
            for _ in 0..executions {
                let mut drive = computer.drive(&task.prog, observe);
                while drive.next_race() {
                    while drive.enabled() != 0 {
                        drive.step(pick(drive.enabled(), &mut rng));
                    }
                }
                if finish {
                    drive.finish();
                }
            }
        })
    };
    all(true);
    let without = all(false);
    (all(true) - without) / f64::from(executions)
}

/// Nothing but futures: as many boxed ones as tasks, polled by turns drawn at random, each of which adds
/// one to a number; nanoseconds a poll.
pub fn floor(tasks: usize, steps: u32) -> f64 {
    use std::future::Future;
    use std::pin::Pin;
    use std::rc::Rc;
    use std::task::{Context, Poll, Waker};
    let sum = Rc::new(std::cell::Cell::new(0u32));
    let mut context = Context::from_waker(Waker::noop());
    let mut rng = fastrand::Rng::with_seed(1);
    let mut futures: Vec<Pin<Box<dyn Future<Output = ()>>>> = Vec::new();
    for _ in 0..tasks {
        let sum = sum.clone();
        futures.push(Box::pin(async move {
            loop {
                let mut yielded = false;
                std::future::poll_fn(|_| match std::mem::replace(&mut yielded, true) {
                    false => Poll::Pending,
                    true => Poll::Ready(()),
                })
                .await;
                sum.set(sum.get().wrapping_add(1));
            }
        }));
    }
    let all = (1u16 << tasks) - 1;
    let seconds = crate::cpu::seconds(|| {
        for _ in 0..steps {
            let _ = futures[pick(all, &mut rng) as usize].as_mut().poll(&mut context);
        }
    });
    assert!(sum.get() > steps / 2);
    seconds * 1e9 / f64::from(steps)
}
