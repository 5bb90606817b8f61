// SPDX-License-Identifier: GPL-2.0-or-later
//! What leads to a duel and what comes of it: the page and its state before, who looks afterwards.

use super::draw::chance;
use super::duel::{LANES, Matter, Turns};
use super::generate::{ALL_PROT, Scene};
use super::shape::{Effect, Shape, Slot};
use crate::entry::{ArgKind, HandleKind};
use crate::limits::HPAGE_PMD_NR;

impl<'a> Scene<'a> {
    /// Maps the page, of the kind of object that the calls are about, and populates it.
    pub(super) fn stage(&mut self, turns: &Turns<'a>) {
        let maps = |shape: &Shape, kind: HandleKind| {
            let maps_it = |slot: Option<Slot>| slot.is_some_and(|slot| slot.kind == kind);
            shape.effect == Effect::Maps && (maps_it(shape.needs) || maps_it(shape.fills))
        };
        let splits = turns.shapes().any(Shape::splits);
        let huge = match turns.matter {
            _ if splits => 224,
            Matter::Dirt | Matter::Kin => 144,
            _ => 48,
        };
        let huge = chance(self.rng, huge);
        let mut kinds = turns.shapes().filter_map(|shape| shape.needs.map(|slot| slot.kind));
        let mapping = kinds.find_map(|kind| Some((self.any(|shape| maps(shape, kind))?, kind)));
        let mapping = mapping.filter(|_| !huge);
        match mapping {
            Some((shape, kind)) => self.map(shape, shape.fills.is_some_and(|slot| slot.kind == kind), false),
            None => {
                let anonymous = huge && chance(self.rng, 224);
                let wanted = |shape: &Shape| shape.effect == Effect::Maps && (!anonymous || shape.map.is_some());
                if let Some(shape) = self.any(wanted).or_else(|| self.any(|shape| shape.effect == Effect::Maps)) {
                    self.map(shape, false, anonymous);
                }
            }
        }
        // Whoever wants huge pages has to say so before the first touch.
        self.huge = huge;
        if huge {
            self.advise(0, "hugepage", true);
        }
        // Another area, to which frames can go, or which what is mapped reaches into.
        if chance(self.rng, 64) {
            let same = mapping.filter(|_| chance(self.rng, 160));
            let filled = same.is_some_and(|(shape, kind)| shape.fills.is_some_and(|slot| slot.kind == kind));
            let other = same.map(|(shape, _)| shape).or_else(|| self.any(|shape| shape.effect == Effect::Maps));
            if let Some(shape) = other {
                self.map(shape, filled, false);
            }
        }
        let (sweep, stores) = (chance(self.rng, 96), chance(self.rng, 208));
        self.sweep(0, sweep, stores);
        // What is put together of a file a second time is one already, which others have by parts.
        let file = mapping.is_some_and(|(_, kind)| kind == HandleKind::File);
        if let Some(shape) = turns.shapes().find(|shape| file && shape.gathers())
            && chance(self.rng, 160)
        {
            let call = self.draw(shape, 0);
            self.push(shape, call);
            self.sweep(0, false, false);
        }
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

    /// Advises something about the page or, as most advice is about many, about all around it.
    fn advise(&mut self, task: u8, word: &str, all: bool) {
        let Some(shape) = self.any(|shape| shape.advice().is_some()) else { return };
        let mut call = self.draw(shape, task);
        if let (Some(addr), Some(len), Some(advice)) = (shape.addr, shape.len, shape.advice()) {
            if all {
                call.args[addr as usize] -= call.args[addr as usize] % HPAGE_PMD_NR as u8;
                call.args[len as usize] = HPAGE_PMD_NR as u8 - 1;
            }
            call.args[advice] = shape.op.args[advice].kind.byte_of(word).unwrap_or(0);
            self.push(shape, call);
        }
    }

    /// The page is there, and nobody would miss what was written to it; perhaps it is written to again.
    pub(super) fn clean(&mut self) {
        // A huge page of which some is not needed is split; and it is nowhere else than in memory.
        let all = chance(self.rng, 216);
        match self.rng.u8(0..if self.huge { 3 } else { 4 }) {
            0..2 => self.advise(0, "free", all),
            2 => self.evict(0),
            _ => self.provide_by(Shape::syncs, 0),
        }
        if chance(self.rng, 144) {
            let stores = chance(self.rng, if self.huge { 48 } else { 96 });
            self.sweep(0, false, stores);
        }
    }

    /// The next write to the page has to ask: its entry lost the permission, or a child has the page, too.
    pub(super) fn protect(&mut self) {
        match self.rng.u8(0..8) {
            0..4 => {
                if let Some(shape) = self.any(|shape| shape.protects().is_some()) {
                    let mut call = self.draw(shape, 0);
                    for prot in [1, ALL_PROT] {
                        call.args[shape.protects().unwrap_or(0)] = prot;
                        self.push(shape, call);
                    }
                }
            }
            4..7 => self.part_ways(),
            _ => self.evict(0),
        }
    }

    /// A child has the page, too, until it wants another at that address.
    pub(super) fn part_ways(&mut self) {
        self.provide_by(Shape::forks, 0);
        if let Some(child) = self.world.child.filter(|_| chance(self.rng, 96)) {
            if chance(self.rng, 160) {
                self.advise(child, "dontneed", true);
            }
            self.sweep(child, false, true);
        }
    }

    /// Touches the page, or every page around it that is mapped, in the order of their addresses.
    pub(super) fn sweep(&mut self, task: u8, all: bool, stores: bool) {
        let shape = self.any(|shape| shape.touches() && shape.stores() == stores);
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
    pub(super) fn condition(&mut self) {
        let task = match self.world.child {
            Some(child) if chance(self.rng, 80) => child,
            _ if chance(self.rng, 208) => 0,
            _ => self.rng.u8(0..self.tasks),
        };
        if chance(self.rng, 32) && self.any(Shape::forks).is_some() {
            return self.part_ways();
        }
        let advises = chance(self.rng, 48);
        let conditions = |shape: &Shape| {
            let same = matches!(shape.effect, Effect::None | Effect::Moves) && !shape.touches();
            same && !shape.fails() && !shape.frees && (!advises || shape.advice().is_some())
        };
        if let Some(shape) = self.any(conditions) {
            self.provide(shape, task);
            let mut call = self.draw(shape, task);
            // Each of the words, not the one that most calls of the program have.
            for (desc, byte) in shape.op.args.iter().zip(&mut call.args) {
                if matches!(desc.kind, ArgKind::Enum(_)) && (advises || chance(self.rng, 128)) {
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
    pub(super) fn aftermath(&mut self, turns: &Turns<'a>) {
        let task = self.looker();
        // What was lost is not to be made good.
        if chance(self.rng, if turns.matter == Matter::Dirt { 24 } else { 96 }) {
            self.sweep(task, false, true);
        }
        let kinds = turns.shapes().filter_map(|shape| shape.fills.map(|slot| slot.kind));
        for kind in kinds.filter(|kind| !kind.is_mapped()) {
            let given_back = self.world.filled(kind) == 0;
            if chance(self.rng, if given_back { 16 } else { 192 }) {
                self.provide_by(|shape| shape.refers() && shape.needs.is_some_and(|slot| slot.kind == kind), task);
            }
        }
        if chance(self.rng, if turns.matter == Matter::Dirt { 224 } else { 48 }) {
            self.evict(task);
        }
        if chance(self.rng, 64) {
            let (world, task) = (self.world, self.looker());
            let more = |shape: &Shape| shape.uses() || shape.removes();
            self.provide_by(|shape| more(shape) && world.feasible(shape), task);
        }
        if chance(self.rng, 224) {
            let (task, all) = (self.looker(), turns.matter == Matter::Pages || chance(self.rng, 64));
            self.sweep(task, all, false);
        }
    }

    /// Whether a page is dirty shows when it has to leave memory.
    fn evict(&mut self, task: u8) {
        // A huge page that nobody needs has to be split before.
        if self.huge && chance(self.rng, 176) {
            self.provide_by(Shape::splits, task);
        }
        if chance(self.rng, 96) {
            return self.advise(task, "pageout", self.huge);
        }
        if let Some(shape) = self.any(Shape::reclaims) {
            let mut call = self.draw(shape, task);
            call.args[0] = shape.op.args[0].kind.normalize(u8::MAX);
            self.push(shape, call);
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
