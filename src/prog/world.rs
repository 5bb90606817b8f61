// SPDX-License-Identifier: GPL-2.0-or-later
//! The world of a program in the making: what there is after the calls so far.

use super::Call;
use super::shape::{Effect, Menu, Shape};
use crate::entry::HandleKind;
use crate::limits::{HPAGE_PMD_NR, NR_HANDLES, TASK_SIZE};

const _: () = assert!(TASK_SIZE <= 64 && NR_HANDLES <= 8, "World has one bit each");

/// What the calls so far have left, if they succeeded and in this order.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct World {
    /// Pages that are mapped, one bit a page.
    pub(super) mapped: u64,
    /// Slots that are filled, one bit a slot, by kind.
    filled: [u8; HandleKind::COUNT],
    /// Pages of what is in a slot; 0: unknown.
    sizes: [[u8; NR_HANDLES]; HandleKind::COUNT],
    /// Slots that a racing call is about to fill.
    reserved: [u8; HandleKind::COUNT],
    /// The last task that went on in a copy of an address space.
    pub(super) child: Option<u8>,
}

impl World {
    pub(super) fn after<'c>(menu: &Menu, calls: impl Iterator<Item = &'c Call>) -> World {
        let mut world = World::default();
        calls.for_each(|call| world.apply(menu.shape(call), call));
        world
    }

    /// Slots of a kind that are filled.
    pub(super) fn filled(&self, kind: HandleKind) -> u8 {
        self.filled[kind as usize]
    }

    /// Slots of a kind that are filled, or will be.
    pub(super) fn busy(&self, kind: HandleKind) -> u8 {
        self.filled(kind) | self.reserved[kind as usize]
    }

    /// Pages of the object a call is about; `None`: it is not, or they are unknown.
    pub(super) fn size(&self, shape: &Shape, args: &[u8; 5]) -> Option<u8> {
        let slot = shape.needs?;
        Some(self.sizes[slot.kind as usize][args[slot.arg as usize] as usize]).filter(|size| *size > 0)
    }

    /// A call that races with those drawn next: they see it only in the slots they would fill.
    pub(super) fn reserve(&mut self, shape: &Shape, call: &Call) {
        if let Some(slot) = shape.fills {
            self.reserved[slot.kind as usize] |= 1 << call.args[slot.arg as usize];
        }
    }

    /// Whether a call of this shape can succeed.
    pub(super) fn feasible(&self, shape: &Shape) -> bool {
        shape.needs.is_none_or(|slot| self.filled(slot.kind) != 0) && (!shape.needs_pages() || self.mapped != 0)
    }

    pub(super) fn apply(&mut self, shape: &Shape, call: &Call) {
        let arg = |i: u8| call.args[i as usize];
        if shape.forks() {
            self.child = Some(arg(0));
        }
        if let Some(addr) = shape.addr {
            // Lengths begin with 1.
            let pages = pages(arg(addr), shape.len.map_or(1, |len| arg(len) + 1));
            match shape.effect {
                Effect::Maps => self.mapped |= pages,
                Effect::Unmaps => self.mapped &= !pages,
                Effect::Moves => {
                    let to = call.args[shape.op.args.len() - 1];
                    self.mapped = self.mapped & !pages | pages >> arg(addr) << to;
                }
                Effect::None => {}
            }
        }
        let anonymous = shape.map.is_some_and(|i| arg(i) == 0);
        if let Some(slot) = shape.fills.filter(|slot| slot.kind != HandleKind::File || !anonymous) {
            self.filled[slot.kind as usize] |= 1 << arg(slot.arg);
            self.sizes[slot.kind as usize][arg(slot.arg) as usize] = shape.order.map_or(0, |order| 1 << arg(order));
        }
        if let Some(slot) = shape.needs.filter(|_| shape.frees) {
            self.filled[slot.kind as usize] &= !(1 << arg(slot.arg));
        }
    }
}

/// The bits of some pages.
pub(super) fn pages(addr: u8, len: u8) -> u64 {
    const { assert!(HPAGE_PMD_NR * 2 < 64) };
    (((1_u128 << len) - 1) << addr) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prog::TARGETS;

    #[test]
    fn a_world_follows_the_calls() {
        let prog = crate::prog::Script::parse(
            "0: ttm_bo_create(bo=b1)\n0: ttm_bo_mmap(bo=b1, addr=va8, len=4)\n0: mremap(addr=va8, len=2, new=va63)\n\
             0: munmap(addr=va10, len=1)\n0: mmap(addr=va20, map=anon, file=f1)\n0: munmap(addr=va20)\n\
             0: mmap(addr=va20, map=shared, file=f2)\n0: munmap(addr=va20)\n0: ttm_bo_create(bo=b0)\n0: ttm_bo_put(bo=b1)\n",
        );
        let prog = prog.expect("a program").prog;
        let world = World::after(&Menu::new(&TARGETS[0], &[]), prog.calls());
        assert_eq!(world.mapped, 1 << 63 | 1 << 11);
        assert_eq!(world.filled(HandleKind::Bo), 1);
        assert_eq!(world.filled(HandleKind::File), 1 << 2);
    }
}
