// SPDX-License-Identifier: GPL-2.0-or-later
//! Duels: programs of calls that meet.
//!
//! What a race needs is rare for calls that are drawn one by one: the page there and in some state,
//! two calls that meet at it, and afterwards somebody who looks from both ends.  So two thirds of all fresh
//! programs are made of just that, in the steps of a program that somebody would write:
//!
//! ```text
//!   map, perhaps for huge pages; populate; do something more to the page
//!   take it away  &  take references of it  &  perhaps touch it or use its frame
//!   use the references, touch the page
//! ```
//!
//! Some are not about a page but about who lets go of it last, about something that has pages, a file
//! or the disk or all memory, whichever pages these are, or about what a parent and its child have.

use super::draw::{call, chance};
use super::generate::Scene;
use super::shape::{Effect, Shape, Slot};
use crate::limits::NR_USER_TASKS;

/// Calls of a clash.
const MAX_CALLS: usize = 12;
/// Tasks of a clash.
pub(super) const LANES: usize = 3;

/// What the calls of a clash meet at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Matter {
    /// A page.
    Page,
    /// A page, and one beside it: who sees which of two stores?
    Pages,
    /// The references of a page: who is the last?
    End,
    /// An object, or all memory.
    Object,
    /// What a page holds, which is lost if nobody knows that it was written.
    Dirt,
    /// Translations of a page: who finds no entry any more has nothing to flush.
    Flush,
    /// A page that its owner writes by one way and whoever references it by another: is it still one?
    Copy,
    /// An address at which a parent and its child have pages, the same or two: whoever looks for all entries of
    /// one comes by the other's.
    Kin,
}

/// A call to be, and which task makes it.
#[derive(Clone, Copy)]
struct Turn<'a> {
    shape: &'a Shape,
    lane: u8,
}

/// The calls of a clash, those of each task in order.
pub(super) struct Turns<'a> {
    pub(super) matter: Matter,
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

    pub(super) fn shapes(&self) -> impl Iterator<Item = &'a Shape> {
        self.all.into_iter().flatten().map(|turn| turn.shape)
    }

    /// Those that need more than a task has made before in the clash: one reference too many, and who would
    /// be the last to let go is not.
    fn wanting(&self) -> impl Iterator<Item = &'a Shape> {
        let all = self.all;
        all.into_iter().enumerate().filter_map(move |(i, turn)| {
            let Turn { shape, lane } = turn?;
            let mut before = all[..i].iter().flatten().filter(move |turn| turn.lane == lane);
            let kind = |slot: Option<Slot>| slot.map(|slot| slot.kind);
            let made = shape.needs.is_some() && before.any(|turn| kind(turn.shape.fills) == kind(shape.needs));
            (!made).then_some(shape)
        })
    }
}

impl<'a> Scene<'a> {
    /// One duel, and what leads to it and comes of it.
    pub(super) fn duel(&mut self) {
        let focus = self.pool.narrow(self.rng);
        self.flat = chance(self.rng, 64);
        let turns = self.pick_turns();
        let about = |shape: &Shape| turns.shapes().next().is_none_or(|first| shape.concerns(first));
        let errand = |shape: &Shape| shape.names_no_page() && about(shape);
        if turns.matter != Matter::Object || chance(self.rng, 96) {
            self.stage(&turns);
        }
        match turns.matter {
            Matter::Object => {
                // What they are about is there because somebody has done the same before.
                let nr = turns.shapes().count();
                let again = turns.shapes().nth(self.rng.usize(0..nr.max(1)));
                self.provide_by(|shape| again.is_some_and(|again| again.op.nr == shape.op.nr), 0);
            }
            Matter::Dirt => self.clean(),
            Matter::Kin => self.part_ways(),
            // What is pinned is copied for the child while others go on writing.
            Matter::Pages if turns.shapes().any(Shape::forks) => {
                self.sweep(0, true, true);
                if chance(self.rng, 192) {
                    self.provide_by(Shape::takes, 0);
                }
            }
            Matter::Copy => {
                self.provide_by(Shape::takes, 0);
                self.protect();
            }
            Matter::Flush => {
                if chance(self.rng, 192) {
                    self.part_ways();
                }
                for task in 0..LANES as u8 {
                    self.sweep(task, false, false);
                }
            }
            _ => {}
        }
        let calm = matches!(turns.matter, Matter::Dirt | Matter::Copy | Matter::Flush | Matter::Kin);
        while chance(self.rng, if calm { 64 } else { 152 }) {
            if turns.matter == Matter::Object && chance(self.rng, 176) {
                self.provide_by(errand, 0);
            } else {
                self.condition();
            }
        }
        turns.wanting().for_each(|shape| self.provide(shape, 0));
        // References keep a page that nobody maps.
        let unmaps = match turns.matter {
            Matter::End => 144,
            _ if turns.shapes().any(Shape::names_no_page) => 48,
            _ => 0,
        };
        if chance(self.rng, unmaps) {
            self.provide_by(|shape| shape.effect == Effect::Unmaps, 0);
        }
        self.clash(&turns);
        while turns.matter == Matter::Object && chance(self.rng, 144) {
            self.provide_by(errand, 0);
        }
        self.aftermath(&turns);
        self.pool.focus(focus);
        self.flat = false;
    }

    fn pick_turns(&mut self) -> Turns<'a> {
        let matter = match self.rng.u8(0..32) {
            0..3 => Matter::End,
            3..7 => Matter::Object,
            7..9 => Matter::Pages,
            9..15 => Matter::Dirt,
            15..18 => Matter::Copy,
            18..22 => Matter::Flush,
            22..24 => Matter::Kin,
            _ => Matter::Page,
        };
        let mut turns = Turns { matter, all: [None; MAX_CALLS], nr: 0 };
        let first = self.rng.u8(0..LANES as u8);
        let lanes = (0..LANES as u8).map(|i| (first + i) % LANES as u8);
        if matter == Matter::End {
            self.flat |= chance(self.rng, 128);
        }
        for lane in lanes {
            match (matter, lane) {
                (Matter::End, _) => self.pick_loser(&mut turns, lane),
                (Matter::Object, _) => self.pick_errand(&mut turns, lane),
                (_, 2) => self.pick_bystander(&mut turns, lane),
                (Matter::Pages, 0) if chance(self.rng, 80) => {
                    let forks = self.any(Shape::forks);
                    turns.push(forks.or_else(|| self.any(Shape::removes)), lane);
                }
                (Matter::Page | Matter::Pages, 0) => self.pick_remover(&mut turns, lane),
                (Matter::Kin, _) => turns.push(self.any(|shape| shape.keeps() && shape.needs_pages()), lane),
                (Matter::Flush, 0) => turns.push(self.any(|shape| shape.removes() && shape.needs_pages()), lane),
                (Matter::Flush, _) => self.pick_successor(&mut turns, lane),
                (Matter::Page | Matter::Pages, _) => self.pick_rival(&mut turns, lane),
                (Matter::Dirt, 0) => {
                    let advises = chance(self.rng, 64);
                    turns.push(self.any(|shape| shape.keeps() && (advises || shape.advice().is_none())), lane);
                }
                (Matter::Dirt, _) if chance(self.rng, 96) => self.pick_rival(&mut turns, lane),
                (Matter::Copy, 0) if chance(self.rng, 128) => self.pick_remover(&mut turns, lane),
                (Matter::Copy, _) if chance(self.rng, 160) => turns.push(self.any(Shape::refers), lane),
                (Matter::Dirt | Matter::Copy, _) => {}
            }
        }
        turns
    }

    /// One that lets go of the page: who has it, or who references it.
    fn pick_loser(&mut self, turns: &mut Turns<'a>, lane: u8) {
        let maps_it = |shape: &Shape| shape.needs.is_none_or(|slot| slot.kind.is_mapped());
        match lane {
            0 => turns.push(self.any(|shape| shape.lets_go() && maps_it(shape)), lane),
            1 => turns.push(self.any(|shape| shape.lets_go() && !maps_it(shape)), lane),
            _ if chance(self.rng, 96) => turns.push(self.any(Shape::lets_go), lane),
            _ => {}
        }
    }

    /// One or two calls about what the first call of all is about.
    fn pick_errand(&mut self, turns: &mut Turns<'a>, lane: u8) {
        if lane == 2 && chance(self.rng, 160) {
            return turns.push(self.any(Shape::touches).filter(|_| chance(self.rng, 128)), lane);
        }
        let first = turns.shapes().next();
        let named = first.is_none() && chance(self.rng, 128);
        let meets = |shape: &Shape| {
            let meets = first.is_none_or(|first| shape.concerns(first));
            shape.names_no_page() && meets && (!named || shape.subject().is_some())
        };
        turns.push(self.any(meets), lane);
        if chance(self.rng, 64) {
            turns.push(self.any(meets), lane);
        }
    }

    /// One that takes pages away, with something before or behind it.
    fn pick_remover(&mut self, turns: &mut Turns<'a>, lane: u8) {
        if chance(self.rng, 20) {
            return self.pick_rebirth(turns, lane);
        }
        if chance(self.rng, 40) {
            turns.push(self.any(Shape::touches), lane);
        }
        turns.push(self.any(Shape::removes), lane);
        self.pick_more(turns, lane);
    }

    /// One that takes references of them, or uses some, or another that takes pages away.
    fn pick_rival(&mut self, turns: &mut Turns<'a>, lane: u8) {
        if chance(self.rng, 40) {
            turns.push(self.any(Shape::touches), lane);
        }
        let rival = match self.rng.u8(0..16) {
            0..10 => self.any(Shape::takes),
            10..12 => self.any(Shape::refers),
            _ => None,
        };
        let rival = rival.or_else(|| self.any(Shape::removes));
        turns.push(rival, lane);
        // The life of a reference: it is taken, used, given back.
        if let Some(slot) = rival.and_then(|shape| shape.fills) {
            let of_it = |shape: &Shape| shape.needs.is_some_and(|needed| needed.kind == slot.kind);
            let (used, given_back) = if turns.matter == Matter::Dirt { (176, 144) } else { (48, 32) };
            if chance(self.rng, used) {
                turns.push(self.any(|shape| shape.refers() && of_it(shape)), lane);
            }
            if chance(self.rng, given_back) {
                turns.push(self.any(|shape| shape.frees && of_it(shape)), lane);
            }
        }
        self.pick_more(turns, lane);
    }

    /// What a task does next.
    fn pick_more(&mut self, turns: &mut Turns<'a>, lane: u8) {
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

    /// Whoever takes the page away for good, and puts another where it was.
    fn pick_successor(&mut self, turns: &mut Turns<'a>, lane: u8) {
        let discards = chance(self.rng, 176);
        let rival =
            self.any(|shape| if discards { shape.advice().is_some() } else { shape.removes() && !shape.keeps() });
        turns.push(rival, lane);
        if chance(self.rng, 208) {
            turns.push(self.any(Shape::touches), lane);
        }
    }

    /// The page goes for good, and what comes next gets its frame.
    fn pick_rebirth(&mut self, turns: &mut Turns<'a>, lane: u8) {
        turns.push(self.any(|shape| shape.effect == Effect::Unmaps), lane);
        turns.push(self.any(|shape| shape.frees && shape.needs.is_some_and(|slot| slot.kind.is_mapped())), lane);
        for _ in 0..self.rng.u8(1..=2) {
            turns.push(self.any(|shape| shape.effect == Effect::Maps), lane);
            turns.push(self.any(Shape::touches), lane);
        }
    }

    /// Perhaps a third who only touches them.
    fn pick_bystander(&mut self, turns: &mut Turns<'a>, lane: u8) {
        let (some, more) = match turns.matter {
            Matter::Pages => (232, 192),
            Matter::Flush => (232, 128),
            Matter::Dirt => (208, 24),
            _ => (144, 96),
        };
        // Who loads shows a translation that is stale, who stores makes dirty.
        let stores = match turns.matter {
            Matter::Flush => Some(false),
            Matter::Dirt => Some(true),
            _ => None,
        };
        let stores = stores.filter(|_| chance(self.rng, 192));
        let wanted = |shape: &Shape| shape.touches() && stores.is_none_or(|stores| shape.stores() == stores);
        if chance(self.rng, some) {
            turns.push(self.any(wanted), lane);
            while chance(self.rng, more) {
                turns.push(self.any(wanted), lane);
            }
        }
    }

    /// They race for the page; none sees what another does.
    fn clash(&mut self, turns: &Turns<'a>) {
        let mut worlds = [self.world; LANES];
        let first = if chance(self.rng, 208) { 0 } else { self.rng.u8(0..NR_USER_TASKS as u8) };
        let mut tasks: [u8; LANES] = std::array::from_fn(|lane| (first + lane as u8) % NR_USER_TASKS as u8);
        let kin = if turns.matter == Matter::Kin { 224 } else { 112 };
        if let Some(child) = self.world.child.filter(|_| chance(self.rng, kin)) {
            tasks[self.rng.usize(0..LANES)] = child;
        }
        let mut beside = self.rng.u8(0..2);
        let suspended = if chance(self.rng, 192) { 0 } else { 1 };
        for turn in turns.all.iter().flatten() {
            let lane = usize::from(turn.lane);
            // What touches another page may get the frame of this one.
            let elsewhere = turn.shape.touches() && chance(self.rng, 48);
            let focus = self.pool.focus(if elsewhere { 0 } else { 240 });
            let mut call = call(turn.shape, &self.pool, &worlds[lane], tasks[lane], self.rng);
            call.concurrent = true;
            self.pool.focus(focus);
            if let Some(advice) = turn.shape.advice().filter(|_| turns.matter == Matter::Flush && chance(self.rng, 192))
            {
                call.args[advice] = turn.shape.op.args[advice].kind.byte_of("dontneed").unwrap_or(0);
            }
            if let Some(addr) = turn.shape.addr.filter(|_| turns.matter == Matter::Pages && turn.shape.touches()) {
                let page = self.pool.page() ^ beside;
                beside ^= 1;
                if self.world.mapped >> page & 1 != 0 {
                    call.args[addr as usize] = page;
                }
            }
            if turn.lane == suspended {
                self.window.get_or_insert(self.len());
            }
            worlds.iter_mut().for_each(|world| world.reserve(turn.shape, &call));
            worlds[lane].apply(turn.shape, &call);
            self.push(turn.shape, call);
        }
    }
}
