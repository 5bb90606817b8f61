// SPDX-License-Identifier: GPL-2.0-or-later
//! Explicit programs near another one, with fewer or shorter runs of a task.

use super::interleaving::{Turn, task_of};
use super::{Prog, Rec, ScheduleKind};
use crate::limits::NR_USER_TASKS;

/// Steps of a run, 0: to its end.
pub(super) fn steps(rec: &Rec) -> Option<u8> {
    match rec {
        Rec::Call(call) => Some(call.steps),
        Rec::Resume { steps, .. } => Some(*steps),
        Rec::Override { .. } | Rec::Choices { .. } => None,
    }
}

/// Sets the steps of a run.
pub(super) fn set_steps(rec: &mut Rec, n: u8) {
    match rec {
        Rec::Call(call) => call.steps = n,
        Rec::Resume { steps, .. } => *steps = n,
        Rec::Override { .. } | Rec::Choices { .. } => {}
    }
}

/// A program with its records changed.
fn edited(prog: &Prog, edit: impl FnOnce(&mut Vec<Rec>)) -> Prog {
    let mut prog = prog.clone();
    edit(&mut prog.records);
    prog
}

/// Removes records, by index in ascending order.
fn remove(records: &mut Vec<Rec>, all: &[usize]) {
    for &i in all.iter().rev() {
        records.remove(i);
    }
}

/// One run of both, steps added up.
fn joined(a: u8, b: u8) -> u8 {
    if a == 0 || b == 0 { 0 } else { a.saturating_add(b) }
}

/// By how many steps a run is made longer or shorter.
const NEAR: u8 = 8;

/// Each run some steps longer or shorter.
pub(super) fn near(prog: &Prog) -> impl Iterator<Item = Prog> + '_ {
    let explicit = prog.schedule == ScheduleKind::Explicit;
    let runs = prog.records.iter().map(steps).enumerate().take(if explicit { prog.records.len() } else { 0 });
    let suspended = runs.filter_map(|(i, n)| Some((i, n.filter(|n| *n > 0)?)));
    suspended.flat_map(move |(i, n)| {
        let others = (1..=NEAR).flat_map(move |d| [n.checked_add(d), n.checked_sub(d).filter(|n| *n > 0)]);
        others.flatten().map(move |n| edited(prog, |records| set_steps(&mut records[i], n)))
    })
}

/// A call is not suspended, or less often, or never goes on; a kernel task does not run.
pub(super) fn fewer_runs(prog: &Prog) -> Vec<Prog> {
    let mut all = Vec::new();
    for i in 0..prog.records.len() {
        let Some(n) = steps(&prog.records[i]) else { continue };
        let later: Vec<usize> = prog.resumes(i).collect();
        // To its end at once.
        if n > 0 || !later.is_empty() {
            all.push(edited(prog, |records| {
                set_steps(&mut records[i], 0);
                remove(records, &later);
            }));
        }
        if let Some(&next) = later.first() {
            let sum = joined(n, steps(&prog.records[next]).unwrap_or(0));
            // With the next run now.
            all.push(edited(prog, |records| {
                set_steps(&mut records[i], sum);
                records.remove(next);
            }));
            // Now nothing, all with the next run.
            all.push(edited(prog, |records| {
                records[next] = records[i];
                set_steps(&mut records[next], sum);
                records.remove(i);
            }));
            // All with the last run.
            all.push(edited(prog, |records| {
                let last = *later.last().expect("it has a first");
                records[last] = records[i];
                set_steps(&mut records[last], 0);
                remove(records, &later[..later.len() - 1]);
                records.remove(i);
            }));
        }
        if matches!(prog.records[i], Rec::Resume { .. }) {
            all.push(edited(prog, |records| remove(records, &[i])));
        }
    }
    all
}

/// Largest program whose runs are moved to any place, not only beside runs of the same task.
const SMALL: usize = 24;

/// A run comes earlier or later; those of a task stay in order.
pub(super) fn moves(prog: &Prog) -> Vec<Prog> {
    let n = prog.records.len();
    let mut all = Vec::new();
    for i in 0..n {
        let task = task_of(&prog.records[i]);
        let own = |j: &usize| task_of(&prog.records[*j]) == task;
        let first = (0..i).rfind(own).map_or(0, |j| j + 1);
        let last = (i + 1..n).find(own).map_or(n - 1, |j| j - 1);
        for j in first..=last {
            if j != i && (n <= SMALL || j == first || j == last) {
                all.push(edited(prog, |records| {
                    let rec = records.remove(i);
                    records.insert(j, rec);
                }));
            }
        }
    }
    all.retain(|p| p.switches() < prog.switches());
    all
}

/// Runs with fewer steps, the shortest first.
pub(super) fn shorter_runs(prog: &Prog) -> Vec<Prog> {
    let mut all = Vec::new();
    for i in 0..prog.records.len() {
        for n in 0..steps(&prog.records[i]).unwrap_or(0) {
            all.push(edited(prog, |records| set_steps(&mut records[i], n)));
        }
    }
    all
}

/// The same calls, each to its end; kernel tasks run where they did.
pub(super) fn serial(prog: &Prog) -> Prog {
    edited(prog, |records| {
        records.retain(|rec| !matches!(rec, Rec::Resume { task, .. } if usize::from(*task) < NR_USER_TASKS));
        for rec in records {
            if matches!(rec, Rec::Call(_)) {
                set_steps(rec, 0);
            }
        }
    })
}

/// How many steps each record of a serial program took; 0 for kernel tasks.
pub(super) fn lengths(serial: &Prog, turns: &[Turn]) -> Vec<u8> {
    let mut steps: [Vec<u8>; NR_USER_TASKS] = Default::default();
    let mut count = [0_u8; NR_USER_TASKS];
    for turn in turns {
        let t = usize::from(turn.task);
        if t < NR_USER_TASKS {
            count[t] = count[t].saturating_add(1);
            if turn.ends {
                steps[t].push(std::mem::take(&mut count[t]));
            }
        }
    }
    let mut steps = steps.map(Vec::into_iter);
    let lengths = serial.records.iter().map(|rec| match rec {
        Rec::Call(call) => steps[usize::from(call.task)].next().unwrap_or(0),
        _ => 0,
    });
    lengths.collect()
}

/// The call at `at` is suspended after each of its steps, for each number of records behind it.
pub(super) fn interrupted(serial: &Prog, at: usize, length: u8) -> impl Iterator<Item = Prog> + '_ {
    let task = task_of(&serial.records[at]);
    let others = serial.records[at + 1..].iter().take_while(move |rec| task_of(rec) != task).count();
    (1..length).flat_map(move |n| {
        (at + 1..=at + others).map(move |end| {
            edited(serial, |records| {
                set_steps(&mut records[at], n);
                if end + 1 < records.len() {
                    records.insert(end + 1, Rec::Resume { task: task.unwrap_or_default(), steps: 0 });
                }
            })
        })
    })
}
