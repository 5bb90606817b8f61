// SPDX-License-Identifier: GPL-2.0-or-later
//! Duels: programs about one page, one call that takes it away and one that takes references of it.
//!
//! What a race needs is rare for calls that are drawn one by one: the page there and in some state,
//! two calls that meet at it, and afterwards somebody who looks from both ends.  So half of all fresh
//! programs are made of just that, in the steps of a program that somebody would write:
//!
//! ```text
//!   map, perhaps for huge pages; populate; do something more to the page
//!   take it away  &  take references of it  &  perhaps touch it or use its frame
//!   use the references, touch the page
//! ```

use super::Call;
use super::draw::{call, chance};
use super::generate::{ALL_PROT, Scene};
use super::shape::{Effect, Shape, Slot};
use crate::entry::{ArgKind, HandleKind};
use crate::limits::{HPAGE_PMD_NR, NR_USER_TASKS};

/// Calls of a clash.
const MAX_CALLS: usize = 9;
/// Tasks of a clash.
const LANES: usize = 3;

/// A call to be, and which task makes it.
#[derive(Clone, Copy)]
struct Turn<'a> {
    shape: &'a Shape,
    lane: u8,
}

/// The calls of a clash, those of each task in order.
struct Turns<'a> {
    all: [Option<Turn<'a>>; MAX_CALLS],
    nr: usize,
}

impl<'a> Turns<'a> {
    fn push(&mut self, shape: Option<&'a Shape>, lane: u8) {
        if let Some(shape) = shape
            && self.nr < MAX_CALLS
        {
            self.all[self.nr] = Some(Turn { shape, lane });
            self.nr += 1;
        }
    }

    fn shapes(&self) -> impl Iterator<Item = &'a Shape> {
        self.all.into_iter().flatten().map(|turn| turn.shape)
    }
}

impl<'a> Scene<'a> {
    /// One duel, and what leads to it and comes of it.
    pub(super) fn duel(&mut self) {
        let focus = self.pool.narrow(self.rng);
        let turns = self.pick_turns();
        self.stage(&turns);
        while chance(self.rng, 152) {
            self.condition();
        }
        turns.shapes().for_each(|shape| self.provide(shape, 0));
        self.clash(&turns);
        self.aftermath(&turns);
        self.pool.focus(focus);
    }

    /// One that takes pages away, one that takes references of them, or another of the first kind, each with
    /// something before or behind it; and perhaps a third who only touches them.
    fn pick_turns(&mut self) -> Turns<'a> {
        let mut turns = Turns { all: [None; MAX_CALLS], nr: 0 };
        let taken = chance(self.rng, 176);
        let first = self.rng.u8(0..LANES as u8);
        for lane in (0..LANES as u8).map(|i| (first + i) % LANES as u8) {
            match lane {
                2 if chance(self.rng, 112) => {}
                2 => {
                    turns.push(self.any(Shape::touches), lane);
                    while chance(self.rng, 96) {
                        turns.push(self.any(Shape::touches), lane);
                    }
                }
                _ => {
                    if chance(self.rng, 40) {
                        turns.push(self.any(Shape::touches), lane);
                    }
                    let takes = taken && lane == 1;
                    turns.push(self.any(if takes { Shape::takes } else { Shape::removes }), lane);
                    match self.rng.u8(0..16) {
                        0..5 => turns.push(self.any(Shape::touches), lane),
                        5..6 => turns.push(self.any(Shape::removes), lane),
                        6..7 => {
                            turns.push(self.any(|shape| shape.effect == Effect::Maps), lane);
                            turns.push(self.any(Shape::touches), lane);
                        }
                        7..8 => turns.push(self.any(Shape::uses), lane),
                        _ => {}
                    }
                }
            }
        }
        turns
    }

    /// They race for the page; none sees what another does.
    fn clash(&mut self, turns: &Turns<'a>) {
        let before = &mut self.world.clone();
        let first = if chance(self.rng, 208) { 0 } else { self.rng.u8(0..NR_USER_TASKS as u8) };
        for turn in turns.all.iter().flatten() {
            let task = (first + turn.lane) % NR_USER_TASKS as u8;
            // What touches another page may get the frame of this one.
            let elsewhere = turn.shape.touches() && chance(self.rng, 48);
            let focus = self.pool.focus(if elsewhere { 0 } else { 240 });
            let call = Call { concurrent: true, ..call(turn.shape, &self.pool, before, task, self.rng) };
            self.pool.focus(focus);
            before.reserve(turn.shape, &call);
            self.push(turn.shape, call);
        }
    }

    /// Maps the page, of the kind of object that the calls are about, and populates it.
    fn stage(&mut self, turns: &Turns<'a>) {
        let maps = |shape: &Shape, kind: HandleKind| {
            let maps_it = |slot: Option<Slot>| slot.is_some_and(|slot| slot.kind == kind);
            shape.effect == Effect::Maps && (maps_it(shape.needs) || maps_it(shape.fills))
        };
        let splits = turns.shapes().any(Shape::splits);
        let huge = chance(self.rng, if splits { 224 } else { 48 });
        let mut kinds = turns.shapes().filter_map(|shape| shape.needs.map(|slot| slot.kind));
        let mapping = kinds.find_map(|kind| Some((self.any(|shape| maps(shape, kind))?, kind)));
        match mapping.filter(|_| !huge) {
            Some((shape, kind)) => self.map(shape, shape.fills.is_some_and(|slot| slot.kind == kind), false),
            None => {
                let anonymous = huge && chance(self.rng, 224);
                let wanted = |shape: &Shape| shape.effect == Effect::Maps && (!anonymous || shape.map.is_some());
                if let Some(shape) = self.any(wanted).or_else(|| self.any(|shape| shape.effect == Effect::Maps)) {
                    self.map(shape, false, anonymous);
                }
            }
        }
        if huge {
            self.advise_huge();
        }
        // Another area, to which frames can go, or which what is mapped reaches into.
        if chance(self.rng, 64)
            && let Some(shape) = self.any(|shape| shape.effect == Effect::Maps)
        {
            self.map(shape, false, false);
        }
        let (sweep, stores) = (chance(self.rng, 96), chance(self.rng, 208));
        self.sweep(0, sweep, stores);
        if huge && chance(self.rng, if splits { 144 } else { 96 }) {
            self.part();
        }
        for task in 0..LANES as u8 {
            if chance(self.rng, 96) {
                self.sweep(task, false, false);
            }
        }
    }

    /// Does something to another page of a huge one, which then is mapped by ptes.
    fn part(&mut self) {
        let shape = self.any(|shape| shape.len.is_some() && shape.removes() && !shape.splits());
        let Some(shape) = shape else { return };
        let mut call = self.draw(shape, 0);
        if let (Some(addr), Some(len)) = (shape.addr, shape.len) {
            call.args[addr as usize] ^= self.rng.u8(1..HPAGE_PMD_NR as u8);
            call.args[len as usize] = 0;
            self.push(shape, call);
        }
    }

    /// Maps something, an object that is there or a file if it has to be, and perhaps closes it.
    fn map(&mut self, shape: &'a Shape, filled: bool, anonymous: bool) {
        self.provide(shape, 0);
        let mut call = self.draw(shape, 0);
        if filled {
            shape.fill(&mut call.args);
        }
        if let Some(i) = shape.map.filter(|_| anonymous) {
            call.args[i as usize] = 0;
        }
        if let Some(i) = shape.prot.filter(|_| chance(self.rng, 224)) {
            call.args[i as usize] = ALL_PROT;
        }
        self.push(shape, call);
        if let Some(slot) = shape.needs.filter(|_| chance(self.rng, 40))
            && let Some(close) = self.any(|s| s.frees && s.needs.is_some_and(|s| s.kind == slot.kind))
            && let Some(closed) = close.needs
        {
            let mut closing = self.draw(close, 0);
            closing.args[closed.arg as usize] = call.args[slot.arg as usize];
            self.push(close, closing);
        }
    }

    /// Whoever wants huge pages has to say so before the first touch.
    fn advise_huge(&mut self) {
        let word = |shape: &Shape| shape.op.args.iter().position(|arg| arg.name == "advice");
        let Some(shape) = self.any(|shape| word(shape).is_some()) else { return };
        let mut call = self.draw(shape, 0);
        if let (Some(addr), Some(len), Some(advice)) = (shape.addr, shape.len, word(shape)) {
            call.args[addr as usize] -= call.args[addr as usize] % HPAGE_PMD_NR as u8;
            call.args[len as usize] = HPAGE_PMD_NR as u8 - 1;
            call.args[advice] = shape.op.args[advice].kind.byte_of("hugepage").unwrap_or(0);
            self.push(shape, call);
        }
    }

    /// Touches the page, or every page around it that is mapped, in the order of their addresses.
    fn sweep(&mut self, task: u8, all: bool, stores: bool) {
        let shape = self.any(|shape| shape.touches() && (shape.op.args.len() > 1) == stores);
        let Some(shape) = shape.or_else(|| self.any(Shape::touches)) else { return };
        let Some(addr) = shape.addr else { return };
        let mut call = self.draw(shape, task);
        let page = call.args[addr as usize];
        let first = if all { page - page % HPAGE_PMD_NR as u8 } else { page };
        for page in first..=if all { first | (HPAGE_PMD_NR as u8 - 1) } else { page } {
            if self.world.mapped >> page & 1 != 0 {
                call = self.draw(shape, task);
                call.args[addr as usize] = page;
                self.push(shape, call);
            }
        }
    }

    /// Does something more to the page, and perhaps touches it again.
    fn condition(&mut self) {
        let task = if chance(self.rng, 208) { 0 } else { self.rng.u8(0..self.tasks) };
        let forks = chance(self.rng, 40);
        let conditions = |shape: &Shape| {
            let same = matches!(shape.effect, Effect::None | Effect::Moves) && !shape.touches();
            same && !shape.fails() && !shape.frees && (!forks || shape.forks())
        };
        if let Some(shape) = self.any(conditions) {
            self.provide(shape, task);
            let mut call = self.draw(shape, task);
            // Each of the words, not the one that most calls of the program have.
            for (desc, byte) in shape.op.args.iter().zip(&mut call.args) {
                if matches!(desc.kind, ArgKind::Enum(_)) && chance(self.rng, 128) {
                    *byte = desc.kind.normalize(self.rng.u8(..));
                }
            }
            self.push(shape, call);
            self.unprotect(shape, call);
        }
        if chance(self.rng, 112) {
            self.sweep(task, false, true);
        }
    }

    /// Who looks, and where: the references that were taken at one end, the page at the other.
    fn aftermath(&mut self, turns: &Turns<'a>) {
        let task = self.looker();
        if chance(self.rng, 96) {
            self.sweep(task, false, true);
        }
        let kinds = turns.shapes().filter_map(|shape| shape.fills.map(|slot| slot.kind));
        for kind in kinds.filter(|kind| *kind != HandleKind::File) {
            if chance(self.rng, 192) {
                self.provide_by(|shape| shape.uses() && shape.needs.is_some_and(|slot| slot.kind == kind), task);
            }
        }
        if chance(self.rng, 64) {
            let (world, task) = (self.world, self.looker());
            let more = |shape: &Shape| shape.uses() || shape.removes();
            self.provide_by(|shape| more(shape) && world.feasible(shape), task);
        }
        if chance(self.rng, 224) {
            let (task, all) = (self.looker(), chance(self.rng, 64));
            self.sweep(task, all, false);
        }
    }

    /// Mostly the task that set the scene, often a child.
    fn looker(&mut self) -> u8 {
        match self.world.child {
            Some(child) if chance(self.rng, 96) => child,
            _ if chance(self.rng, 192) => 0,
            _ => self.rng.u8(0..self.tasks),
        }
    }
}
