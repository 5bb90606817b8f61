// SPDX-License-Identifier: GPL-2.0-or-later
//! Changing programs: what comes out is a program near the one that went in.
//!
//! Every change is a function of program and random numbers only, and leaves a normalized program.

use super::bytes::{HEADER_SIZE, RECORD_SIZE};
use super::draw::{Pool, call, chance};
use super::generate::{Generator, draw_choices, generate};
use super::shape::Menu;
use super::suspension::{draw_steps, suspend};
use super::world::World;
use super::{Call, Prog, Rec, ScheduleKind};
use crate::limits::{MAX_RECORDS, NR_TASKS, NR_USER_TASKS};
use fastrand::Rng;

/// Changes a program a little.
pub fn mutate(prog: &mut Prog, rng: &mut Rng, generator: &Generator) {
    let menu = generator.menu();
    if prog.calls().next().is_none() {
        return generate(menu, prog, rng);
    }
    loop {
        change(prog, rng, menu);
        if chance(rng, 128) {
            break;
        }
    }
    prog.normalize();
}

/// Joins the first part of a program with some of another.
pub fn splice(prog: &mut Prog, other: &Prog, rng: &mut Rng) {
    let keep = rng.usize(0..=prog.records.len());
    let from = rng.usize(0..=other.records.len());
    if chance(rng, 128) {
        prog.records.truncate(keep);
        prog.records.extend_from_slice(&other.records[from..]);
    } else {
        let to = rng.usize(from..=other.records.len()).min(from + MAX_RECORDS / 8);
        prog.records.splice(keep..keep, other.records[from..to].iter().copied());
    }
    prog.normalize();
}

/// Of 256 calls of the mutator, those that make a program from the ground up, as `gupfuzz run` does.
const FRESH: u16 = 128;

/// The mutator of a fuzz target: changes the program in `data[..size]`, returns its new size.
pub fn mutate_bytes(data: &mut [u8], size: usize, max_size: usize, seed: u32, generator: &Generator) -> usize {
    let max_size = max_size.min(data.len());
    if max_size < HEADER_SIZE + RECORD_SIZE {
        return size.min(max_size);
    }
    let mut rng = Rng::with_seed(seed.into());
    let mut prog = Prog::from_input(&data[..size.min(max_size)]);
    if chance(&mut rng, FRESH) {
        generate(generator.menu(), &mut prog, &mut rng);
    } else {
        mutate(&mut prog, &mut rng, generator);
    }
    write(&mut prog, &mut data[..max_size])
}

/// The crossover of a fuzz target: writes a program of parts of two into `out`, returns its size.
pub fn crossover_bytes(data: &[u8], other: &[u8], out: &mut [u8], seed: u32) -> usize {
    if out.len() < HEADER_SIZE + RECORD_SIZE {
        return 0;
    }
    let mut prog = Prog::from_input(data);
    splice(&mut prog, &Prog::from_input(other), &mut Rng::with_seed(seed.into()));
    write(&mut prog, out)
}

/// Writes as much of a program as there is room for, returns its size.
fn write(prog: &mut Prog, out: &mut [u8]) -> usize {
    prog.records.truncate((out.len() - HEADER_SIZE) / RECORD_SIZE);
    let bytes = prog.encode();
    out[..bytes.len()].copy_from_slice(&bytes);
    bytes.len()
}

fn change(prog: &mut Prog, rng: &mut Rng, menu: &Menu) {
    match rng.u8(0..32) {
        0..6 => insert(prog, rng, menu),
        6..9 => drop_one(prog, rng),
        9..11 => duplicate(prog, rng),
        11..14 => swap(prog, rng),
        14..20 => change_arg(prog, rng, menu),
        20..22 => rename(prog, rng, menu),
        22..24 => toggle_mark(prog, rng),
        24 => race(prog, rng),
        25..27 => change_task(prog, rng),
        27..30 => reseed(prog, rng),
        30 => change_schedule(prog, rng),
        _ => change_choice(prog, rng),
    }
}

fn calls_before(prog: &Prog, at: usize) -> impl Iterator<Item = &Call> {
    prog.records[..at].iter().filter_map(|rec| if let Rec::Call(call) = rec { Some(call) } else { None })
}

/// Where some call is.
fn any_call(prog: &Prog, rng: &mut Rng) -> Option<usize> {
    let calls = || prog.records.iter().enumerate().filter(|(_, rec)| matches!(rec, Rec::Call(_)));
    let n = calls().count();
    calls().nth(if n == 0 { return None } else { rng.usize(0..n) }).map(|(i, _)| i)
}

/// Changes some call in place.
fn with_call(prog: &mut Prog, rng: &mut Rng, change: impl FnOnce(&mut Call, &mut Rng)) {
    if let Some(i) = any_call(prog, rng)
        && let Rec::Call(call) = &mut prog.records[i]
    {
        change(call, rng);
    }
}

fn insert(prog: &mut Prog, rng: &mut Rng, menu: &Menu) {
    let at = rng.usize(0..=prog.records.len());
    let near = calls_before(prog, at).last().copied();
    let world = World::after(menu, calls_before(prog, at));
    let pool = Pool::of(menu, prog, rng);
    let mut shape = menu.pick(rng);
    for _ in 0..4 {
        if world.feasible(shape) {
            break;
        }
        shape = menu.pick(rng);
    }
    let mut new = call(shape, &pool, &world, 0, rng);
    if prog.schedule == ScheduleKind::Explicit {
        new.steps = 0;
    }
    if let Some(near) = near {
        let other = rng.u8(0..4);
        new.task = if chance(rng, 128) { near.task } else { other };
        new.concurrent = near.concurrent && chance(rng, 192);
    }
    prog.records.insert(at, Rec::Call(new));
}

/// Drops a record, a call with the overrides of it.
fn drop_one(prog: &mut Prog, rng: &mut Rng) {
    if prog.records.len() < 2 {
        return;
    }
    let at = rng.usize(0..prog.records.len());
    let end = match prog.records[at] {
        Rec::Call(_) => {
            at + 1 + prog.records[at + 1..].iter().take_while(|r| matches!(r, Rec::Override { .. })).count()
        }
        _ => at + 1,
    };
    prog.records.drain(at..end);
}

fn duplicate(prog: &mut Prog, rng: &mut Rng) {
    let Some(from) = any_call(prog, rng) else { return };
    let to = if chance(rng, 128) { from + 1 } else { rng.usize(0..=prog.records.len()) };
    let mut rec = prog.records[from];
    if let Rec::Call(call) = &mut rec
        && chance(rng, 128)
    {
        (call.task, call.steps) = (rng.u8(0..4), rng.u8(..));
    }
    prog.records.insert(to, rec);
}

fn swap(prog: &mut Prog, rng: &mut Rng) {
    let n = prog.records.len();
    if n < 2 {
        return; // none is left of a program of one call with its overrides
    }
    let a = rng.usize(0..n);
    let b = if chance(rng, 192) { (a + 1) % n } else { rng.usize(0..n) };
    prog.records.swap(a, b);
}

/// Draws an argument as the generator would, takes it from another call, or moves it by one.
fn change_arg(prog: &mut Prog, rng: &mut Rng, menu: &Menu) {
    let Some(at) = any_call(prog, rng) else { return };
    let Rec::Call(mut call) = prog.records[at] else { return };
    let shape = menu.shape(&call);
    if shape.op.args.is_empty() {
        return;
    }
    let i = rng.usize(0..shape.op.args.len());
    let kind = shape.op.args[i].kind;
    let values = kind.values();
    let byte = match rng.u8(0..8) {
        0..3 => like(prog, rng, menu, shape.names[i]).unwrap_or(0),
        3..6 => {
            let world = World::after(menu, calls_before(prog, at));
            Pool::of(menu, prog, rng).arg(shape, i, &call.args, &world, rng)
        }
        6 => (usize::from(call.args[i]) + if rng.bool() { 1 } else { values - 1 }).rem_euclid(values) as u8,
        _ => rng.u8(..),
    };
    call.args[i] = kind.normalize(byte);
    prog.records[at] = Rec::Call(call);
}

/// The value some call of the program has for an argument of this name.
fn like(prog: &Prog, rng: &mut Rng, menu: &Menu, name: u8) -> Option<u8> {
    let values = || {
        prog.calls().flat_map(|call| {
            let shape = menu.shape(call);
            let args = shape.names.into_iter().zip(call.args).take(shape.op.args.len());
            args.filter(|(n, _)| *n == name).map(|(_, arg)| arg)
        })
    };
    let n = values().count();
    if n == 0 { None } else { values().nth(rng.usize(0..n)) }
}

/// Lets all calls that have one value for an argument have another: unites two objects, or parts
/// an address from others.
fn rename(prog: &mut Prog, rng: &mut Rng, menu: &Menu) {
    let Some(at) = any_call(prog, rng) else { return };
    let Rec::Call(call) = prog.records[at] else { return };
    let shape = menu.shape(&call);
    if shape.op.args.is_empty() {
        return;
    }
    let i = rng.usize(0..shape.op.args.len());
    let (name, old) = (shape.names[i], call.args[i]);
    let other = rng.u8(..);
    let new = if rng.bool() { like(prog, rng, menu, name).unwrap_or(other) } else { other };
    for rec in &mut prog.records {
        let Rec::Call(call) = rec else { continue };
        let shape = menu.shape(call);
        for (j, desc) in shape.op.args.iter().enumerate() {
            if shape.names[j] == name && call.args[j] == old {
                call.args[j] = desc.kind.normalize(new);
            }
        }
    }
}

fn toggle_mark(prog: &mut Prog, rng: &mut Rng) {
    with_call(prog, rng, |call, _| call.concurrent ^= true);
}

/// Lets some calls in a row race, each in a task of its own.
fn race(prog: &mut Prog, rng: &mut Rng) {
    let Some(first) = any_call(prog, rng) else { return };
    let nr = rng.usize(2..=4);
    let calls =
        prog.records[first..].iter_mut().filter_map(|r| if let Rec::Call(call) = r { Some(call) } else { None });
    for (i, call) in calls.take(nr).enumerate() {
        call.concurrent = true;
        call.task = i as u8;
    }
}

fn change_task(prog: &mut Prog, rng: &mut Rng) {
    with_call(prog, rng, |call, rng| {
        let nr = if chance(rng, 224) { 4 } else { NR_USER_TASKS as u8 };
        call.task = rng.u8(0..nr);
    });
}

/// Draws all priorities anew, or those of one call.
fn reseed(prog: &mut Prog, rng: &mut Rng) {
    match (prog.schedule, rng.u8(0..4)) {
        (ScheduleKind::Pos, 0..2) => prog.seed = rng.u32(..),
        (ScheduleKind::Explicit, _) => {
            with_call(prog, rng, |call, rng| call.steps = if chance(rng, 64) { 0 } else { draw_steps(rng) })
        }
        _ => with_call(prog, rng, |call, rng| call.steps = rng.u8(..)),
    }
}

fn change_schedule(prog: &mut Prog, rng: &mut Rng) {
    match prog.schedule {
        ScheduleKind::Pos if chance(rng, 160) => prog.burst = 1 << rng.u8(0..4),
        ScheduleKind::Pos if chance(rng, 128) => suspend(prog, rng),
        ScheduleKind::Pos => {
            prog.schedule = ScheduleKind::Bytes;
            prog.records.push(draw_choices(rng));
        }
        ScheduleKind::Bytes | ScheduleKind::Explicit => {
            prog.records.retain(|rec| !matches!(rec, Rec::Resume { .. }));
            (prog.schedule, prog.seed, prog.burst) = (ScheduleKind::Pos, rng.u32(..), 4);
        }
    }
}

/// Adds or changes a record that only steers the schedule.
fn change_choice(prog: &mut Prog, rng: &mut Rng) {
    let n = rng.u8(0..16);
    let rec = match prog.schedule {
        ScheduleKind::Pos => Rec::Override { n, priority: rng.u32(..) },
        ScheduleKind::Bytes => draw_choices(rng),
        ScheduleKind::Explicit => Rec::Resume { task: rng.u8(0..NR_TASKS as u8), steps: n },
    };
    let same = |r: &&mut Rec| std::mem::discriminant(*r) == std::mem::discriminant(&rec);
    let old = prog.records.iter_mut().filter(same).nth(n as usize % 4);
    match old {
        Some(old) => *old = rec,
        None => {
            let at = any_call(prog, rng).map_or(0, |i| i + 1);
            prog.records.insert(at, rec);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prog::target;

    /// Dropping the one call takes its overrides along: nothing is left for the next change.
    #[test]
    fn a_call_with_overrides_survives_any_change() {
        let generator = Generator::new(target("mm").unwrap(), 0);
        let call = Call { op: 10, task: 0, concurrent: false, steps: 0, args: [0; 5] };
        for seed in 0..5000 {
            let records = vec![Rec::Call(call), Rec::Override { n: 0, priority: 0 }];
            let mut prog = Prog { records, ..Prog::default() };
            mutate(&mut prog, &mut Rng::with_seed(seed), &generator);
        }
    }
}
