// SPDX-License-Identifier: GPL-2.0-or-later
//! Programs in which allocations fail, and what there has to be before, so that they matter.

use super::draw::chance;
use super::generate::Scene;
use super::shape::{Effect, Shape};
use crate::entry::HandleKind;

impl Scene<'_> {
    /// Allocations that fail, and at once a call that makes them.
    pub(super) fn fail(&mut self, shape: &Shape, task: u8) {
        let writes = self.any(|shape| shape.writes()).filter(|_| chance(self.rng, 96));
        let mut victim = writes.unwrap_or_else(|| self.pick());
        for _ in 0..4 {
            if victim.allocates() {
                break;
            }
            victim = self.pick();
        }
        self.provide(victim, task);
        // What has nothing yet allocates most, and of another size than what was given back before.
        let fresh = victim.needs.filter(|_| chance(self.rng, 160));
        if let Some(slot) = fresh
            && chance(self.rng, 128)
        {
            self.recycle(slot.kind, task);
        }
        let fresh = fresh.and_then(|slot| Some((slot.arg, self.provide_slot(slot.kind, task, true)?)));
        // Several of the first allocations, or whichever.
        let mut some = if chance(self.rng, 160) { self.rng.u8(1..16) } else { 0 };
        loop {
            let mut call = self.draw(shape, task);
            if some != 0 {
                call.args[0] = some.trailing_zeros() as u8;
                some &= some - 1;
            }
            self.push(shape, call);
            if some == 0 && chance(self.rng, 160) {
                break;
            }
        }
        let mut call = self.draw(victim, task);
        if let Some((arg, slot)) = fresh {
            call.args[arg as usize] = slot;
        }
        self.push(victim, call);
    }

    /// An object is made, used and given back: its pages are there to be taken.
    ///
    /// What a device was asked to write would be in use for a while.
    fn recycle(&mut self, kind: HandleKind, task: u8) {
        let of_it = |shape: &Shape| shape.needs.is_some_and(|slot| slot.kind == kind);
        let Some(made) = self.provide_slot(kind, task, true) else { return };
        let mut addr = None;
        let life: [&dyn Fn(&Shape) -> bool; 4] = [
            &|shape| shape.effect == Effect::Maps && of_it(shape),
            &Shape::touches,
            &|shape| shape.effect == Effect::Unmaps,
            &|shape| shape.frees && of_it(shape),
        ];
        for part in life {
            let Some(shape) = self.any(part) else { continue };
            let mut call = self.draw(shape, task);
            if let Some(slot) = shape.needs {
                call.args[slot.arg as usize] = made;
            }
            if let Some(i) = shape.addr {
                call.args[i as usize] = *addr.get_or_insert(call.args[i as usize]);
            }
            self.push(shape, call);
        }
    }
}
