// SPDX-License-Identifier: GPL-2.0-or-later
//! What calls need and what they leave behind, as far as the system call table tells.
//!
//! Only the generator asks, to make calls that succeed more often than not.  So a guess is enough,
//! and a new operation named like its kin needs no line here.

use super::deck::Deck;
use super::{Call, Target};
use crate::entry::{ArgDesc, ArgKind, HandleKind, OPS, Op};
use fastrand::Rng;

/// What a call does to the pages it names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Effect {
    Maps,
    Unmaps,
    Moves,
    None,
}

/// A slot argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Slot {
    pub(super) arg: u8,
    pub(super) kind: HandleKind,
}

/// An operation, seen from its neighbours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) op: &'static Op,
    pub(super) weight: u8,
    pub(super) effect: Effect,
    /// Which argument is the address, which the length.
    pub(super) addr: Option<u8>,
    pub(super) len: Option<u8>,
    /// Which argument is the order of what fills the slot.
    pub(super) order: Option<u8>,
    /// Which is the protection, which says what is mapped.
    pub(super) prot: Option<u8>,
    pub(super) map: Option<u8>,
    /// A slot that has to be filled.
    pub(super) needs: Option<Slot>,
    /// A slot that is filled then.
    pub(super) fills: Option<Slot>,
    /// The slot it needs is empty then.
    pub(super) frees: bool,
    /// By argument, an index of its name among all names of arguments.
    pub(super) names: [u8; 5],
}

impl Shape {
    /// Whether it works on pages that have to be mapped.
    pub(super) fn needs_pages(&self) -> bool {
        self.addr.is_some() && self.effect != Effect::Maps
    }

    /// Whether it may need memory: all but what gives it back.
    pub(super) fn allocates(&self) -> bool {
        (self.addr.is_some() || self.needs.is_some() || self.fills.is_some())
            && !self.frees
            && self.effect != Effect::Unmaps
    }

    /// Whether it makes allocations fail.
    pub(super) fn fails(&self) -> bool {
        self.op.name == "fail_nth"
    }

    /// The protection it gives to what is mapped.
    pub(super) fn protects(&self) -> Option<usize> {
        self.prot.filter(|_| self.needs_pages()).map(usize::from)
    }

    /// Lets a call fill its slot, which is a choice where a file is mapped.
    pub(super) fn fill(&self, args: &mut [u8; 5]) {
        if let Some(i) = self.map
            && self.fills.is_some_and(|slot| slot.kind == HandleKind::File)
        {
            args[i as usize] = args[i as usize].max(1);
        }
    }

    /// Whether it takes references of pages.
    pub(super) fn takes(&self) -> bool {
        self.needs_pages() && (self.fills.is_some() || self.op.args.iter().any(|arg| arg.name == "block"))
    }

    /// Whether it may take pages, or what maps them, from others.
    pub(super) fn revokes(&self) -> bool {
        let gives = self.effect == Effect::Maps || self.fills.is_some();
        !gives && !self.takes() && !self.touches() && !self.fails()
    }

    /// The same, and it is nothing that references are for.
    pub(super) fn removes(&self) -> bool {
        self.revokes() && !self.refers()
    }

    /// Whether what the page held should be there afterwards.
    pub(super) fn keeps(&self) -> bool {
        let moves = matches!(self.effect, Effect::None | Effect::Moves);
        self.removes() && moves && self.needs.is_none() && (self.needs_pages() || self.forks() || self.reclaims())
    }

    /// Whether it does something with what is in a slot.
    pub(super) fn uses(&self) -> bool {
        self.needs.is_some() && self.addr.is_none() && self.fills.is_none() && !self.frees
    }

    /// Whether that is references of pages, not something whose pages can be mapped.
    pub(super) fn refers(&self) -> bool {
        self.uses() && self.needs.is_some_and(|slot| !slot.kind.is_mapped())
    }

    /// Whether it lets go of something that keeps pages: what is mapped, or what a slot holds.
    pub(super) fn lets_go(&self) -> bool {
        self.frees || self.effect == Effect::Unmaps
    }

    /// Whether it is about all memory, or about something that has pages, and names none of them.
    pub(super) fn names_no_page(&self) -> bool {
        let names_none = self.addr.is_none() && self.fills.is_none() && !self.frees && !self.fails() && !self.refers();
        names_none && !self.forks() && self.op.name != "execve"
    }

    /// Whether it takes pages from memory for which there may be better use.
    pub(super) fn reclaims(&self) -> bool {
        self.op.name == "reclaim"
    }

    /// Whether it writes what is dirty, and keeps it.
    pub(super) fn syncs(&self) -> bool {
        self.op.name == "fsync"
    }

    /// Which argument is what is advised.
    pub(super) fn advice(&self) -> Option<usize> {
        self.op.args.iter().position(|arg| arg.name == "advice")
    }

    /// Which argument tells what it is about: an object or one of some, if there is such an argument.
    pub(super) fn subject(&self) -> Option<u8> {
        let names_it = |arg: &ArgDesc| matches!(arg.kind, ArgKind::Handle { .. } | ArgKind::Enum(_));
        Some(self.names[self.op.args.iter().position(names_it)?])
    }

    /// Whether it can be about the same as another call: so can whatever is about all memory.
    pub(super) fn concerns(&self, other: &Shape) -> bool {
        let (subject, others) = (self.subject(), other.subject());
        subject.is_none() || others.is_none() || subject == others
    }

    /// Whether it writes to what is in a slot.
    pub(super) fn writes(&self) -> bool {
        self.uses() && self.op.args.iter().any(|arg| arg.name == "value")
    }

    /// Whether it is about huge pages.
    pub(super) fn splits(&self) -> bool {
        self.op.name.contains("huge")
    }

    /// Whether it makes a huge page of small ones.
    pub(super) fn gathers(&self) -> bool {
        self.op.name == "collapse"
    }

    /// Whether another task goes on in a copy of the address space.
    pub(super) fn forks(&self) -> bool {
        self.op.name == "fork"
    }

    /// Whether it touches one page and no more: load and store.
    pub(super) fn touches(&self) -> bool {
        self.needs_pages() && self.len.is_none() && self.needs.is_none() && self.fills.is_none()
    }

    /// Whether it touches a page to write to it.
    pub(super) fn stores(&self) -> bool {
        self.touches() && self.op.args.len() > 1
    }
}

fn shape(op: &'static Op, weight: u8, all_names: &mut Vec<&'static ArgDesc>) -> Shape {
    let find = |name| op.args.iter().position(|arg| arg.name == name).map(|i| i as u8);
    let handle = |wanted: bool| {
        op.args.iter().enumerate().find_map(|(i, arg)| match arg.kind {
            ArgKind::Handle { kind, new } if new == wanted => Some(Slot { arg: i as u8, kind }),
            _ => None,
        })
    };
    let mut names = [0; 5];
    for (id, arg) in names.iter_mut().zip(op.args) {
        *id = all_names.iter().position(|other| other.name == arg.name).unwrap_or_else(|| {
            all_names.push(arg);
            all_names.len() - 1
        }) as u8;
    }
    let object = handle(false);
    // Splicing into a pipe makes it; a file is always there, but nothing happens until it is mapped.
    let makes = op.name == "vmsplice" || op.name == "mmap";
    Shape {
        op,
        weight,
        effect: match op.name {
            "munmap" => Effect::Unmaps,
            "mremap" => Effect::Moves,
            name if name.ends_with("mmap") => Effect::Maps,
            _ => Effect::None,
        },
        addr: find("addr"),
        len: find("len").filter(|_| find("addr").is_some()),
        order: find("order"),
        prot: find("prot"),
        map: find("map"),
        needs: object.filter(|_| !makes),
        fills: handle(true).or(object.filter(|_| makes)),
        frees: ["_put", "_close", "_unregister"].iter().any(|end| op.name.ends_with(end))
            || op.name.starts_with("unpin"),
        names,
    }
}

/// Which value most calls of a program have for an argument, and in how many programs of 256.
fn favourite(desc: &ArgDesc) -> (u8, u16) {
    let last = (desc.kind.values() - 1) as u8;
    match (desc.kind, desc.name) {
        (_, "order") => (last, 160),
        // All of write, longterm and fast.
        (_, "flags") => (7, 112),
        // What is cached never sees a pool.
        (_, "caching") => (0, 64),
        (_, "prot") => (last, 192),
        (ArgKind::Enum(_) | ArgKind::OneOf(_) | ArgKind::Handle { .. }, _) => (0, 144),
        // Who is in no race of the parent's.
        (_, "child") => (3, 144),
        _ => (0, 0),
    }
}

/// All operations, as a target weighs them.
#[derive(Debug)]
pub(super) struct Menu {
    pub(super) shapes: Vec<Shape>,
    /// By the name of an argument: number of values, and [`favourite`].
    pub(super) tastes: Vec<(u8, u8, u16)>,
    /// Each operation as often as it weighs.
    deck: Deck,
    by_nr: [u8; 256],
}

impl Menu {
    /// Different names of arguments the table may have.
    pub(super) const NAMES: usize = 32;
    /// Operations the table may have.
    pub(super) const OPS: usize = 64;

    /// The operations of a target, less those of `without`.
    pub(super) fn new(target: &Target, without: &[u8]) -> Menu {
        let weight = |op: &Op| match target.weights.iter().find(|(name, _)| *name == op.name) {
            Some((_, weight)) if !without.contains(&op.nr) => *weight,
            _ => 0,
        };
        let mut names = Vec::new();
        let shapes: Vec<Shape> = OPS.iter().map(|op| shape(op, weight(op), &mut names)).collect();
        assert!(names.len() <= Menu::NAMES && shapes.len() <= Menu::OPS);
        let tastes = names.iter().map(|desc| {
            let (best, chance) = favourite(desc);
            (desc.kind.values().min(255) as u8, best, chance)
        });
        let mut deck = Deck::default();
        let mut by_nr = [0; 256];
        for (i, shape) in shapes.iter().enumerate() {
            by_nr[shape.op.nr as usize] = i as u8;
            deck.add(i, shape.weight);
        }
        Menu { tastes: tastes.collect(), shapes, deck, by_nr }
    }

    /// Where a shape is in `shapes`.
    pub(super) fn index(&self, shape: &Shape) -> usize {
        self.by_nr[shape.op.nr as usize].into()
    }

    pub(super) fn shape(&self, call: &Call) -> &Shape {
        &self.shapes[self.by_nr[call.op as usize] as usize]
    }

    /// Any operation of the target.
    pub(super) fn pick(&self, rng: &mut Rng) -> &Shape {
        &self.shapes[self.deck.draw(rng)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prog::TARGETS;

    #[test]
    fn the_table_tells_what_calls_need() {
        let menu = Menu::new(&TARGETS[0], &[]);
        let get = |name: &str| *menu.shapes.iter().find(|s| s.op.name == name).expect("in the table");
        let kinds = |name: &str| {
            let s = get(name);
            (s.needs.map(|s| s.kind), s.fills.map(|s| s.kind), s.frees)
        };
        assert_eq!(kinds("mmap"), (None, Some(HandleKind::File), false));
        assert_eq!(kinds("ftruncate"), (Some(HandleKind::File), None, false));
        assert_eq!(kinds("ttm_bo_create"), (None, Some(HandleKind::Bo), false));
        assert_eq!(kinds("ttm_bo_mmap"), (Some(HandleKind::Bo), None, false));
        assert_eq!(kinds("dma_buf_export"), (Some(HandleKind::Bo), Some(HandleKind::DmaBuf), false));
        assert_eq!(kinds("vmsplice"), (None, Some(HandleKind::Pipe), false));
        for (name, kind) in [
            ("ttm_bo_put", HandleKind::Bo),
            ("dma_buf_put", HandleKind::DmaBuf),
            ("pipe_close", HandleKind::Pipe),
            ("unpin_user_pages", HandleKind::Pins),
            ("io_uring_unregister", HandleKind::Buf),
        ] {
            assert_eq!(kinds(name), (Some(kind), None, true), "{name}");
        }
        let effects = |e| menu.shapes.iter().filter(|s| s.effect == e).map(|s| s.op.name).collect::<Vec<_>>();
        assert_eq!(effects(Effect::Maps), ["mmap", "devdax_mmap", "ttm_bo_mmap", "dma_buf_mmap", "hugetlb_mmap"]);
        let touches: Vec<_> = menu.shapes.iter().filter(|s| s.touches()).map(|s| s.op.name).collect();
        assert_eq!(touches, ["load", "store"]);
        for kind in [HandleKind::Bo, HandleKind::Pipe, HandleKind::DmaBuf, HandleKind::Pins, HandleKind::Buf] {
            assert!(menu.shapes.iter().any(|s| s.fills.is_some_and(|slot| slot.kind == kind)), "{kind:?}");
        }
    }
}
