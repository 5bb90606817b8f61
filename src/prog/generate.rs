// SPDX-License-Identifier: GPL-2.0-or-later
//! Generating programs.
//!
//! Groce, Zhang, Eide, Chen, Regehr: *Swarm Testing*, ISSTA 2012.  Each program leaves out some
//! operations and weighs the others anew; what all programs have in common none of them explores
//! deeply.  Within a program, addresses and slots come from a small pool, so that calls meet, and
//! what a call needs is made before it, so that most calls succeed.
//!
//! The shape of a program: one task sets the scene, then two to five calls of two to four tasks
//! race, and so on until it is long enough.

use super::deck::Deck;
use super::draw::{Pool, call, chance};
use super::shape::{Effect, Menu, Shape};
use super::suspension::{suspend, suspend_one};
use super::world::World;
use super::{Call, Prog, Rec, ScheduleKind, Target};
use crate::entry::HandleKind;
use crate::limits::{MAX_CALLS, NR_USER_TASKS};
use fastrand::Rng;

/// Makes programs for a target; the same seed makes the same ones.
#[derive(Debug)]
pub struct Generator {
    menu: Menu,
    rng: Rng,
}

impl Generator {
    /// A generator for a target.
    pub fn new(target: &'static Target, seed: u64) -> Generator {
        Generator::without(target, seed, &[])
    }

    /// A generator for a target that draws none of these operations.
    pub fn without(target: &'static Target, seed: u64, without: &[u8]) -> Generator {
        Generator { menu: Menu::new(target, without), rng: Rng::with_seed(seed) }
    }

    /// Replaces a program by a new one.
    pub fn generate(&mut self, prog: &mut Prog) {
        generate(&self.menu, prog, &mut self.rng);
    }

    pub(super) fn menu(&self) -> &Menu {
        &self.menu
    }
}

/// Replaces a program by a new one.
pub(super) fn generate(menu: &Menu, prog: &mut Prog, rng: &mut Rng) {
    prog.records.clear();
    let length = match rng.u8(0..16) {
        0..8 => rng.usize(2..=8),
        8..15 => rng.usize(4..=16),
        _ => rng.usize(16..=32),
    };
    let mut scene = Scene {
        menu,
        deck: swarm(menu, rng),
        pool: Pool::draw(menu, rng),
        world: World::default(),
        tasks: rng.u8(2..=4),
        length,
        flat: false,
        huge: false,
        window: None,
        prog,
        rng,
    };
    scene.play();
    let window = scene.window;
    draw_schedule(prog, window, rng);
}

/// Some of the operations, with weights of their own.
fn swarm(menu: &Menu, rng: &mut Rng) -> Deck {
    let mut deck = Deck::default();
    if chance(rng, 64) {
        // A handful, and whatever they need.
        for _ in 0..rng.u8(3..=7) {
            deck.add(menu.index(menu.pick(rng)), 1);
        }
        return deck;
    }
    let all = chance(rng, 16);
    // Half of the programs leave out most: what needs two operations at once then meets often.
    let range = if chance(rng, 128) { 32 } else { 96 };
    for (i, shape) in menu.shapes.iter().enumerate().filter(|(_, shape)| shape.weight > 0) {
        // The heaviest stay in four of five programs, the lightest in one of three.
        if all || rng.u8(0..range) < shape.weight / 2 + shape.weight / 4 + 10 {
            deck.add(i, rng.u8(shape.weight / 4..=shape.weight).max(1));
        }
    }
    if deck.is_empty() {
        deck.add(menu.index(menu.pick(rng)), 1);
    }
    deck
}

/// Mostly partial order sampling.
fn draw_schedule(prog: &mut Prog, window: Option<usize>, rng: &mut Rng) {
    let kind = rng.u8(..);
    if let Some(call) = window.filter(|_| chance(rng, WINDOWS)) {
        suspend_one(prog, call, rng);
    } else if kind < 64 {
        suspend(prog, rng);
    } else if kind >= 232 {
        (prog.schedule, prog.seed, prog.burst) = (ScheduleKind::Bytes, 0, 1);
        for _ in 0..rng.u8(0..4) {
            prog.records.push(draw_choices(rng));
        }
    } else {
        prog.schedule = ScheduleKind::Pos;
        prog.seed = rng.u32(..);
        prog.burst = [1, 1, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 8, 8][rng.usize(0..16)];
    }
}

/// A full record of choices.
pub(super) fn draw_choices(rng: &mut Rng) -> Rec {
    let [bytes @ .., _, _] = rng.u64(..).to_le_bytes();
    Rec::Choices { len: 6, bytes }
}

/// A program in the making.
pub(super) struct Scene<'a> {
    menu: &'a Menu,
    deck: Deck,
    pub(super) pool: Pool,
    pub(super) world: World,
    /// How many tasks race.
    pub(super) tasks: u8,
    length: usize,
    /// All operations of the target weigh the same.
    pub(super) flat: bool,
    /// The page that a duel is about may be huge.
    pub(super) huge: bool,
    /// The call of the duel in the midst of which something may have to happen.
    pub(super) window: Option<usize>,
    prog: &'a mut Prog,
    pub(super) rng: &'a mut Rng,
}

/// Everything is allowed: the last value of a protection.
pub(super) const ALL_PROT: u8 = 3;

/// Calls that can race at once.
const MAX_RACERS: usize = 5;

/// Of 256 programs, those in which allocations fail at the beginning.
const FAILS: u16 = 20;

/// Of 256 programs, those that begin with a duel.
const DUELS: u16 = 176;

/// Of 256 programs with a duel, those in which just one call is suspended.
const WINDOWS: u16 = 56;

/// Of 256 racing calls about a page, those for which it is touched before.
const WARM: u16 = 72;

impl<'a> Scene<'a> {
    fn play(&mut self) {
        if chance(self.rng, DUELS) {
            self.duel();
            if chance(self.rng, 208) {
                return;
            }
        }
        if chance(self.rng, FAILS)
            && let Some(shape) = self.any(Shape::fails)
        {
            self.fail(shape, 0);
        }
        let races = !chance(self.rng, 24);
        while self.prog.records.len() < self.length {
            for _ in 0..self.rng.u8(1..=3) {
                self.solo();
            }
            if races {
                self.race();
            }
            self.look();
        }
        self.prog.records.truncate(MAX_CALLS);
    }

    /// A call with nothing beside it.
    fn solo(&mut self) {
        let task = if chance(self.rng, 208) { 0 } else { self.rng.u8(0..self.tasks) };
        let shape = self.pick();
        if shape.fails() {
            return self.fail(shape, task);
        }
        self.provide(shape, task);
        let call = self.draw(shape, task);
        self.push(shape, call);
        self.unprotect(shape, call);
    }

    /// What lost a protection and gets it back has other entries than what never lost it.
    pub(super) fn unprotect(&mut self, shape: &Shape, mut call: Call) {
        if let Some(i) = shape.protects()
            && chance(self.rng, 128)
        {
            call.args[i] = ALL_PROT;
            self.push(shape, call);
        }
    }

    /// A page is looked at after a race: what was lost shows only to who reads it.
    fn look(&mut self) {
        while chance(self.rng, 64) {
            let task = self.rng.u8(0..self.tasks);
            self.provide_by(Shape::touches, task);
        }
        if chance(self.rng, 96) {
            self.use_both_ends();
        }
    }

    /// That a page and a reference of it came apart shows only to who uses both.
    fn use_both_ends(&mut self) {
        let task = if chance(self.rng, 160) { 0 } else { self.rng.u8(0..self.tasks) };
        while chance(self.rng, 160) {
            self.provide_by(Shape::touches, task);
        }
        let world = self.world;
        self.provide_by(|shape| shape.uses() && world.feasible(shape), task);
        self.provide_by(Shape::touches, task);
    }

    /// Calls that run at once: what they need is made before, and none sees what another did.
    fn race(&mut self) {
        let mut racers = [self.pick(); MAX_RACERS];
        let meeting = chance(self.rng, 160);
        let nr = if meeting { self.pick_meeting(&mut racers) } else { self.pick_racers(&mut racers) };
        let racers = &racers[..nr];
        for shape in racers {
            self.provide(shape, 0);
        }

        let focus = self.pool.focus(if meeting { 224 } else { 128 });
        let mut before = self.world;
        let mut calls = [None::<Call>; MAX_RACERS];
        let first = self.rng.u8(0..NR_USER_TASKS as u8);
        let first = if chance(self.rng, 208) { 0 } else { first };
        for (i, shape) in racers.iter().enumerate() {
            let turn = if meeting || chance(self.rng, 192) { i as u8 } else { self.rng.u8(..) };
            let task = (first + turn % self.tasks) % NR_USER_TASKS as u8;
            let call = Call { concurrent: true, ..call(shape, &self.pool, &before, task, self.rng) };
            before.reserve(shape, &call);
            calls[i] = Some(call);
        }
        self.pool.focus(focus);
        for (shape, call) in racers.iter().zip(calls.into_iter().flatten()) {
            self.warm(shape, &call);
        }
        for (shape, call) in racers.iter().zip(calls.into_iter().flatten()) {
            self.push(shape, call);
        }
    }

    /// Any operations; returns how many.
    fn pick_racers(&mut self, racers: &mut [&'a Shape; MAX_RACERS]) -> usize {
        let nr = [2, 3, 3, 4, 4, 5, 5, 5][self.rng.usize(0..8)];
        for i in 0..nr {
            // Different calls make the better race, and nobody has seen a mapping being made.
            for _ in 0..4 {
                racers[i] = self.pick();
                let again = racers[..i].iter().any(|other| other.op.nr == racers[i].op.nr);
                if !again && racers[i].effect != Effect::Maps {
                    break;
                }
            }
        }
        nr
    }

    /// One that takes pages away and one that takes references of them, or another of the first kind,
    /// and perhaps some that touch them; returns how many.
    fn pick_meeting(&mut self, racers: &mut [&'a Shape; MAX_RACERS]) -> usize {
        racers[0] = self.pick_who(Shape::revokes);
        let taken = chance(self.rng, 160);
        racers[1] = self.pick_who(if taken { Shape::takes } else { Shape::revokes });
        let mut nr = 2;
        while nr < MAX_RACERS && chance(self.rng, 112) {
            racers[nr] = if chance(self.rng, 160) { self.pick_who(Shape::touches) } else { self.pick() };
            nr += 1;
        }
        self.rng.shuffle(&mut racers[..nr]);
        nr
    }

    /// An operation for which a condition holds, of the deck if there is one.
    fn pick_who(&mut self, wanted: fn(&Shape) -> bool) -> &'a Shape {
        for _ in 0..6 {
            let shape = self.pick();
            if wanted(shape) {
                return shape;
            }
        }
        self.any(wanted).unwrap_or_else(|| self.pick())
    }

    /// Some CPU has touched the page a racing call is about, and has a translation of it.
    fn warm(&mut self, racer: &Shape, call: &Call) {
        if let Some(addr) = racer.addr.filter(|_| racer.needs_pages() && chance(self.rng, WARM))
            && let Some(shape) = self.any(Shape::touches)
        {
            let task = self.rng.u8(0..self.tasks);
            let mut touch = self.draw(shape, task);
            touch.args[shape.addr.unwrap_or(0) as usize] = call.args[addr as usize];
            self.push(shape, touch);
        }
    }

    /// Makes what a call needs, if it can be made.
    pub(super) fn provide(&mut self, shape: &Shape, task: u8) {
        if self.prog.records.len() >= MAX_CALLS || self.world.feasible(shape) || chance(self.rng, 12) {
            return;
        }
        if let Some(slot) = shape.needs.filter(|slot| self.world.filled(slot.kind) == 0) {
            self.provide_slot(slot.kind, task, false);
        }
        if shape.needs_pages() && self.world.mapped == 0 {
            self.provide_by(|s| s.effect == Effect::Maps, task);
            // By another task, too: each CPU has translations of its own.
            for toucher in [task, self.rng.u8(0..self.tasks)] {
                if chance(self.rng, 112) {
                    self.provide_by(Shape::touches, toucher);
                }
            }
        }
    }

    /// A call that fills a slot, with something of any size or as most are; returns which slot.
    pub(super) fn provide_slot(&mut self, kind: HandleKind, task: u8, any_size: bool) -> Option<u8> {
        let shape = self.any(|s| s.fills.is_some_and(|slot| slot.kind == kind))?;
        self.provide(shape, task);
        let mut call = self.draw(shape, task);
        shape.fill(&mut call.args);
        if let Some(i) = shape.order.filter(|_| any_size).map(usize::from) {
            call.args[i] = shape.op.args[i].kind.normalize(self.rng.u8(..));
        }
        self.push(shape, call);
        shape.fills.map(|slot| call.args[slot.arg as usize])
    }

    /// A call for which a condition holds.
    pub(super) fn provide_by(&mut self, wanted: impl Fn(&Shape) -> bool, task: u8) {
        if let Some(shape) = self.any(wanted) {
            self.provide(shape, task);
            let call = self.draw(shape, task);
            self.push(shape, call);
        }
    }

    /// Some operation for which a condition holds, in the deck or not.
    pub(super) fn any(&mut self, wanted: impl Fn(&Shape) -> bool) -> Option<&'a Shape> {
        let mut sum = 0;
        let mut chosen = None;
        for shape in self.menu.shapes.iter().filter(|s| s.weight > 0 && wanted(s)) {
            let weight = if self.flat { 1 } else { u32::from(shape.weight) };
            sum += weight;
            if self.rng.u32(0..sum) < weight {
                chosen = Some(shape);
            }
        }
        chosen
    }

    /// Calls so far.
    pub(super) fn len(&self) -> usize {
        self.prog.records.len()
    }

    pub(super) fn pick(&mut self) -> &'a Shape {
        &self.menu.shapes[self.deck.draw(self.rng)]
    }

    pub(super) fn draw(&mut self, shape: &Shape, task: u8) -> Call {
        call(shape, &self.pool, &self.world, task, self.rng)
    }

    pub(super) fn push(&mut self, shape: &Shape, call: Call) {
        self.world.apply(shape, &call);
        self.prog.records.push(Rec::Call(call));
    }
}
