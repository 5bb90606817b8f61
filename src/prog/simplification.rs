// SPDX-License-Identifier: GPL-2.0-or-later
//! Programs near another one, with fewer calls or simpler spelling.

use super::interleaving::task_of;
use super::{Call, Prog, Rec};
use crate::entry::{ArgDesc, ArgKind, HandleKind, op};
use crate::kernel::TaskId;
use crate::limits::{HPAGE_PMD_NR, NR_USER_TASKS, TASK_SIZE};
use std::collections::BTreeSet;

/// How far a value is from the simplest one: readable and writable, everything else 0.
fn rank(desc: &ArgDesc, byte: u8) -> u32 {
    match desc.name {
        "prot" => u32::from(3 - byte.min(3)),
        _ => byte.into(),
    }
}

/// The arguments of a call: what they are and what they say.
pub(super) fn args(call: &Call) -> impl Iterator<Item = (usize, &'static ArgDesc, u8)> {
    let descs = op(call.op).map_or(&[][..], |op| op.args);
    descs.iter().zip(call.args).enumerate().map(|(i, (desc, byte))| (i, desc, byte))
}

/// How far a program is from simple spelling: arguments, tasks, marks.
pub(super) fn spelling(prog: &Prog) -> u32 {
    let calls = prog.calls().map(|call| {
        let args: u32 = args(call).map(|(_, desc, byte)| rank(desc, byte)).sum();
        args + u32::from(call.task) + u32::from(call.concurrent)
    });
    calls.sum()
}

/// Without some calls, their resumes and overrides.
pub(super) fn without(prog: &Prog, gone: impl Fn(usize, &Call) -> bool) -> Prog {
    let mut drop_of = [false; NR_USER_TASKS];
    let (mut nr, mut last) = (0, false);
    let mut prog = prog.clone();
    prog.records.retain(|rec| match rec {
        Rec::Call(call) => {
            last = gone(nr, call);
            nr += 1;
            drop_of[usize::from(call.task)] = last;
            !last
        }
        Rec::Override { .. } => !last,
        Rec::Resume { task, .. } => !drop_of.get(usize::from(*task)).copied().unwrap_or(false),
        Rec::Choices { .. } => true,
    });
    prog
}

/// Without the tail, all of a task, all of an object, parts of the program, single calls.
pub(super) fn fewer_calls(prog: &Prog) -> Vec<Prog> {
    let n = prog.calls().count();
    let mut all = Vec::new();
    let halves = || std::iter::successors(Some(n / 2), |size| Some(size / 2)).take_while(|size| *size > 1);
    for size in halves() {
        all.push(without(prog, |i, _| i >= n - size));
    }
    for task in 0..NR_USER_TASKS as TaskId {
        if prog.calls().any(|call| call.task == task) {
            all.push(without(prog, |_, call| call.task == task));
        }
    }
    for object in objects(prog) {
        all.push(without(prog, |_, call| args(call).any(|(_, desc, byte)| names(desc, byte, object))));
    }
    for size in halves() {
        for part in (0..n.div_ceil(size)).rev() {
            all.push(without(prog, |i, _| i / size == part));
        }
    }
    all.extend((0..n).rev().map(|gone| without(prog, |i, _| i == gone)));
    all
}

/// Without any two calls.
pub(super) fn fewer_pairs(prog: &Prog) -> Vec<Prog> {
    let n = prog.calls().count();
    let pairs = (0..n).rev().flat_map(|a| (0..a).rev().map(move |b| (a, b)));
    pairs.map(|(a, b)| without(prog, |i, _| i == a || i == b)).collect()
}

/// A kind of handle, and a slot.
type Object = (HandleKind, u8);

fn names(desc: &ArgDesc, byte: u8, (kind, slot): Object) -> bool {
    matches!(desc.kind, ArgKind::Handle { kind: k, .. } if k == kind) && byte == slot
}

/// What the calls name, each once, in the order of first mention.
fn objects(prog: &Prog) -> Vec<Object> {
    let mut all: Vec<Object> = Vec::new();
    for (_, desc, byte) in prog.calls().flat_map(args) {
        if let ArgKind::Handle { kind, .. } = desc.kind
            && !all.contains(&(kind, byte))
        {
            all.push((kind, byte));
        }
    }
    all
}

/// With every call changed.
fn each_call(prog: &Prog, mut change: impl FnMut(&mut Call)) -> Prog {
    let mut prog = prog.clone();
    for rec in &mut prog.records {
        if let Rec::Call(call) = rec {
            change(call);
        }
    }
    prog
}

fn set_task(rec: &mut Rec, new: TaskId) {
    match rec {
        Rec::Call(Call { task, .. }) | Rec::Resume { task, .. } => *task = new,
        Rec::Override { .. } | Rec::Choices { .. } => {}
    }
}

/// Two tasks are one, a call is made by the task before or behind it, tasks change their numbers.
pub(super) fn tasks(prog: &Prog) -> Vec<Prog> {
    let mut all = Vec::new();
    let used: BTreeSet<TaskId> = prog.calls().map(|call| call.task).collect();
    for &old in used.iter().rev() {
        for new in 0..old {
            let mut merged = prog.clone();
            merged.records.iter_mut().filter(|rec| task_of(rec) == Some(old)).for_each(|rec| set_task(rec, new));
            all.push(merged);
            let mut swapped = prog.clone();
            for rec in &mut swapped.records {
                match task_of(rec) {
                    Some(task) if task == old => set_task(rec, new),
                    Some(task) if task == new => set_task(rec, old),
                    _ => {}
                }
            }
            all.push(swapped);
        }
    }
    for i in 0..prog.records.len() {
        let Rec::Call(call) = prog.records[i] else { continue };
        let near = [i.checked_sub(1), Some(i + 1)].into_iter().flatten().filter_map(|j| prog.records.get(j));
        for task in near.filter_map(task_of).filter(|t| usize::from(*t) < NR_USER_TASKS && *t != call.task) {
            let mut moved = prog.clone();
            for r in prog.resumes(i).chain([i]) {
                set_task(&mut moved.records[r], task);
            }
            all.push(moved);
        }
    }
    all
}

/// Objects have lower numbers, all addresses are lower.
pub(super) fn names_of(prog: &Prog) -> Vec<Prog> {
    let mut all = Vec::new();
    for (kind, old) in objects(prog) {
        for new in 0..old {
            all.push(each_call(prog, |call| {
                let found: Vec<_> = args(call).collect();
                for (i, desc, byte) in found {
                    if names(desc, byte, (kind, old)) {
                        call.args[i] = new;
                    } else if names(desc, byte, (kind, new)) {
                        call.args[i] = old;
                    }
                }
            }));
        }
    }
    let addresses = || prog.calls().flat_map(args).filter(|(_, desc, _)| desc.kind == ArgKind::Addr).map(|a| a.2);
    let pmd = HPAGE_PMD_NR as u8;
    let lowest = addresses().min().unwrap_or(0);
    for down in (1..=lowest).rev().filter(|down| down % pmd == 0 || *down == lowest) {
        all.push(each_address(prog, |addr| addr - down));
    }
    let used: BTreeSet<u8> = addresses().map(|addr| addr / pmd).collect();
    for &old in &used {
        for new in (0..old).filter(|new| !used.contains(new)) {
            all.push(each_address(prog, |addr| if addr / pmd == old { addr - (old - new) * pmd } else { addr }));
        }
    }
    all
}

fn each_address(prog: &Prog, change: impl Fn(u8) -> u8) -> Prog {
    const { assert!(TASK_SIZE <= 256) };
    each_call(prog, |call| {
        let found: Vec<_> = args(call).collect();
        for (i, desc, byte) in found {
            if desc.kind == ArgKind::Addr {
                call.args[i] = change(byte);
            }
        }
    })
}

/// Most values of an argument of which each is tried.
const FEW: usize = 16;

/// One argument is simpler.
pub(super) fn arguments(prog: &Prog) -> Vec<Prog> {
    let mut all = Vec::new();
    for (i, rec) in prog.records.iter().enumerate() {
        let Rec::Call(call) = rec else { continue };
        for (a, desc, byte) in args(call) {
            let values = desc.kind.values().min(256);
            let mut simpler: Vec<u8> = if values <= FEW {
                (0..values as u8).collect()
            } else {
                let like = prog.calls().flat_map(args).filter(|(_, other, _)| other.name == desc.name).map(|b| b.2);
                like.chain([0, 1, byte & !(HPAGE_PMD_NR as u8 - 1)]).collect()
            };
            simpler.retain(|value| rank(desc, *value) < rank(desc, byte));
            simpler.sort_by_key(|value| rank(desc, *value));
            simpler.dedup();
            for value in simpler {
                let mut prog = prog.clone();
                if let Rec::Call(call) = &mut prog.records[i] {
                    call.args[a] = value;
                }
                all.push(prog);
            }
        }
    }
    all
}
