// SPDX-License-Identifier: GPL-2.0-or-later
//! Programs near another one, in which one call does what two did.
//!
//! What a fuzzer finds often takes the long way: unmap, then free, where one swapout does both.
//! So any operation is tried in the place of two calls, with what the program names anyway.

use super::preemption::{set_steps, steps};
use super::simplification::{args, without};
use super::{Call, Prog, Rec};
use crate::entry::{ArgDesc, ArgKind, HandleKind, OPS, Op};

/// Largest program, in calls, of which every pair is replaced: each costs some hundred runs.
const FEW_CALLS: usize = 8;
/// Most values of a word of which each is tried.
const FEW_WORDS: usize = 8;

/// One call of any operation in the place of two, to its end or suspended where the one it replaces was.
pub(super) fn one_for_two(prog: &Prog) -> Vec<Prog> {
    let n = prog.calls().count();
    let mut all = Vec::new();
    if n > FEW_CALLS {
        return all;
    }
    let calls = calls_of(prog);
    for gone in (0..n).rev() {
        let rest = without(prog, |i, _| i == gone);
        for at in (0..rest.records.len()).rev() {
            let Rec::Call(old) = rest.records[at] else { continue };
            let whole = (steps(&rest.records[at]) != Some(0)).then(|| to_its_end(&rest, at));
            for &call in calls.iter().filter(|call| (call.op, call.args) != (old.op, old.args)) {
                for (prog, at) in whole.iter().map(|(prog, at)| (prog, *at)).chain([(&rest, at)]) {
                    all.push(with_call(prog, at, call));
                }
            }
        }
    }
    all
}

/// The call of a record is never suspended; and where it is then.
fn to_its_end(prog: &Prog, at: usize) -> (Prog, usize) {
    let mut whole = prog.clone();
    set_steps(&mut whole.records[at], 0);
    let later: Vec<usize> = prog.resumes(at).collect();
    for i in later.into_iter().rev() {
        whole.records.remove(i);
    }
    (whole, at)
}

/// With another operation in the place of a call; it keeps task, steps and mark.
fn with_call(prog: &Prog, at: usize, new: Call) -> Prog {
    let mut prog = prog.clone();
    if let Rec::Call(call) = &mut prog.records[at] {
        (call.op, call.args) = (new.op, new.args);
    }
    prog
}

/// Every operation, with the objects, addresses and numbers that the program names.
fn calls_of(prog: &Prog) -> Vec<Call> {
    let mut all = Vec::new();
    for op in OPS {
        let choices: Vec<Vec<u8>> = op.args.iter().map(|desc| values(prog, desc)).collect();
        products(op, &choices, &mut all);
    }
    all
}

/// Every combination of some values; none if an argument has none.
fn products(op: &Op, choices: &[Vec<u8>], all: &mut Vec<Call>) {
    let number: usize = choices.iter().map(Vec::len).product();
    for mut nth in 0..number {
        let mut call = Call { op: op.nr, task: 0, concurrent: false, steps: 0, args: [0; 5] };
        for (arg, values) in call.args.iter_mut().zip(choices) {
            *arg = values[nth % values.len()];
            nth /= values.len();
        }
        all.push(call);
    }
}

/// What an argument may be: what the program says of its like, any word, else the simplest value; no
/// object that nobody makes.
fn values(prog: &Prog, desc: &ArgDesc) -> Vec<u8> {
    let like = |other: &ArgDesc| match (desc.kind, other.kind) {
        (ArgKind::Handle { kind, .. }, ArgKind::Handle { kind: other, .. }) => kind == other,
        (ArgKind::Addr, ArgKind::Addr) => true,
        _ => desc.name == other.name && desc.kind == other.kind,
    };
    let mut values: Vec<u8> =
        prog.calls().flat_map(args).filter(|(_, other, _)| like(other)).map(|(.., byte)| byte).collect();
    match desc.kind {
        ArgKind::Enum(words) if words.len() <= FEW_WORDS => values = (0..words.len() as u8).collect(),
        ArgKind::Handle { kind, new } if new || matches!(kind, HandleKind::File | HandleKind::Pipe) => values.push(0),
        ArgKind::Handle { .. } => {}
        _ if values.is_empty() => values.push(0),
        _ => {}
    }
    values.sort_unstable();
    values.dedup();
    values
}
