// SPDX-License-Identifier: GPL-2.0-or-later
//! Suspending calls: from races to explicit schedules.

use super::draw::chance;
use super::{Prog, Rec, ScheduleKind};
use crate::limits::{NR_TASKS, NR_USER_TASKS};
use fastrand::Rng;

/// Races become calls one after the other, some of them suspended somewhere until the others have ended.
///
/// Sampling rarely leaves a task alone for as long as dozens of steps of another; and few bugs need
/// more than one such wait.
pub(super) fn suspend(prog: &mut Prog, rng: &mut Rng) {
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
