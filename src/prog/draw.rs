// SPDX-License-Identifier: GPL-2.0-or-later
//! Drawing the arguments of a call from the little that its program is about.

use super::shape::{Effect, Menu, Shape};
use super::world::{World, pages};
use super::{Call, Prog};
use crate::entry::{ArgKind, HandleKind};
use crate::limits::*;
use fastrand::Rng;

/// What the calls of one program share: a few addresses and slots, and a taste for some values.
#[derive(Debug)]
pub(super) struct Pool {
    bases: [u8; 4],
    nr_bases: u8,
    /// The page that so many of 256 calls are about, if it is mapped.
    page: u8,
    focus: u16,
    nr_slots: u8,
    /// Files, one bit each: mostly of one file system.
    files: u8,
    /// By the name of an argument, the value most calls have.
    taste: [u8; Menu::NAMES],
}

/// True n times of 256.
pub(super) fn chance(rng: &mut Rng, n: u16) -> bool {
    u16::from(rng.u8(..)) < n
}

/// Any of the bits that are set; there has to be one.
fn any_bit(rng: &mut Rng, mut set: u64) -> u8 {
    for _ in 0..rng.u32(0..set.count_ones()) {
        set &= set - 1;
    }
    set.trailing_zeros() as u8
}

/// Files of one program: some in shmem, those on a disk, those on dax, or any two.
fn draw_files(rng: &mut Rng) -> u8 {
    const { assert!(FIRST_DAX_FILE + NR_DAX_FILES == NR_HANDLES) };
    let some = |first: usize, nr: usize| (((1_u32 << nr) - 1) << first) as u8;
    match rng.u8(0..16) {
        0..6 => some(0, 2),
        6..11 => some(FIRST_EXT4_FILE, NR_EXT4_FILES),
        11..14 => some(FIRST_DAX_FILE, NR_DAX_FILES),
        _ => 1 << rng.usize(0..NR_HANDLES) | 1 << rng.usize(0..NR_HANDLES),
    }
}

impl Pool {
    /// A pool for a new program.
    pub(super) fn draw(menu: &Menu, rng: &mut Rng) -> Pool {
        let mut pool = Pool {
            bases: [0; 4],
            page: 0,
            focus: 128,
            nr_bases: [1, 1, 2, 2, 2, 2, 3, 3][rng.usize(0..8)],
            nr_slots: [1, 2, 2, 2, 2, 2, 2, 3][rng.usize(0..8)],
            files: draw_files(rng),
            taste: [0; Menu::NAMES],
        };
        for base in &mut pool.bases {
            // Neither the first pmd nor the last ones: two of them have to fit behind.
            *base = rng.u8(1..14) * HPAGE_PMD_NR as u8;
            if chance(rng, 24) {
                *base += rng.u8(0..HPAGE_PMD_NR as u8);
            }
        }
        pool.page = pool.bases[0];
        if chance(rng, 64) {
            pool.page += rng.u8(0..HPAGE_PMD_NR as u8);
        }
        for (taste, (values, best, chance_of_256)) in pool.taste.iter_mut().zip(&menu.tastes) {
            *taste = if chance(rng, *chance_of_256) { *best } else { rng.u8(0..*values) };
        }
        pool
    }

    /// The pool of a program that is there.
    pub(super) fn of(menu: &Menu, prog: &Prog, rng: &mut Rng) -> Pool {
        let mut pool = Pool::draw(menu, rng);
        let mut nr = 0;
        let mut files = 0;
        for call in prog.calls() {
            let shape = menu.shape(call);
            for (name, arg) in shape.names.iter().zip(call.args).take(shape.op.args.len()) {
                pool.taste[*name as usize] = arg;
            }
            for (desc, arg) in shape.op.args.iter().zip(call.args) {
                if matches!(desc.kind, ArgKind::Handle { kind: HandleKind::File, .. }) {
                    files |= 1 << arg;
                }
            }
            let Some(addr) = shape.addr.map(|i| call.args[i as usize]) else { continue };
            if shape.needs_pages() && chance(rng, 96) {
                pool.page = addr;
            }
            if shape.effect == Effect::Maps && !pool.bases[..nr].contains(&addr) && nr < pool.bases.len() {
                pool.bases[nr] = addr;
                nr += 1;
            }
        }
        pool.nr_bases = pool.nr_bases.max(nr as u8);
        if files != 0 && !chance(rng, 64) {
            pool.files = files;
        }
        pool
    }

    /// Has everything be about one page: where things are mapped, or behind it.
    pub(super) fn narrow(&mut self, rng: &mut Rng) -> u16 {
        self.page = self.bases[0];
        if chance(rng, 160) {
            self.page += rng.u8(0..HPAGE_PMD_NR as u8);
        }
        self.nr_bases = self.nr_bases.min(2);
        self.focus(240)
    }

    /// The page that calls are about.
    pub(super) fn page(&self) -> u8 {
        self.page
    }

    /// Has nearly all calls be about one page, until told otherwise; returns what was.
    pub(super) fn focus(&mut self, focus: u16) -> u16 {
        std::mem::replace(&mut self.focus, focus)
    }

    /// The arguments of a call.
    pub(super) fn args(&self, shape: &Shape, world: &World, rng: &mut Rng) -> [u8; 5] {
        let mut args = [0; 5];
        for i in 0..shape.op.args.len() {
            args[i] = self.arg(shape, i, &args, world, rng);
        }
        args
    }

    /// One argument; those before it are there.
    pub(super) fn arg(&self, shape: &Shape, i: usize, before: &[u8; 5], world: &World, rng: &mut Rng) -> u8 {
        let desc = &shape.op.args[i];
        let byte = match desc.kind {
            ArgKind::Addr if shape.addr == Some(i as u8) && shape.needs_pages() => self.mapped_page(shape, world, rng),
            ArgKind::Addr => self.free_base(world, rng),
            _ if shape.len == Some(i as u8) => self.len(shape, before, world, rng),
            ArgKind::Handle { kind, new } => {
                let pool = if kind == HandleKind::File { self.files } else { (1 << self.nr_slots) - 1 };
                let good = match (kind, new) {
                    // What is mapped may be a file that nobody has mapped before.
                    (HandleKind::File, _) if shape.effect == Effect::Maps => pool,
                    (_, true) => !world.busy(kind),
                    (_, false) => world.filled(kind),
                };
                let slots = match (pool & good, good) {
                    _ if chance(rng, 8) => pool,
                    (0, 0) => pool,
                    (0, good) => good,
                    (slots, _) => slots,
                };
                any_bit(rng, slots.into())
            }
            // Contents are told apart by their value.
            ArgKind::Num { max: 255, .. } => rng.u8(..),
            // The first allocations of a call are those that every call has.
            _ if desc.name == "n" => rng.u16(..).trailing_zeros() as u8,
            // A file that is cut loses all: the other lengths here are files'.
            _ if desc.name == "len" && chance(rng, 160) => 0,
            // What is mapped has its protection by taste; another one is what mprotect is for.
            ArgKind::Flags(_) if desc.name == "prot" && shape.effect != Effect::Maps => rng.u8(..),
            _ if chance(rng, 208) => self.taste[shape.names[i] as usize],
            _ => rng.u8(..),
        };
        desc.kind.normalize(byte)
    }

    fn base(&self, rng: &mut Rng) -> u8 {
        self.bases[rng.usize(0..self.nr_bases as usize)]
    }

    /// Where to map: preferably where nothing is.
    fn free_base(&self, world: &World, rng: &mut Rng) -> u8 {
        // Right behind something shows what reaches past its end.
        let behind = world.mapped << 1 & !world.mapped;
        if behind != 0 && chance(rng, 32) {
            return any_bit(rng, behind);
        }
        let base = self.base(rng);
        if world.mapped >> base & 1 == 0 || chance(rng, 32) {
            return base;
        }
        self.bases.iter().copied().find(|b| world.mapped >> b & 1 == 0).unwrap_or(base)
    }

    /// What to work on: the start of what is mapped, or a page inside.
    fn mapped_page(&self, shape: &Shape, world: &World, rng: &mut Rng) -> u8 {
        let base = self.base(rng);
        if world.mapped == 0 || chance(rng, 8) {
            return base;
        }
        if world.mapped >> self.page & 1 != 0 && chance(rng, self.focus) {
            return self.page;
        }
        let starts = world.mapped & !(world.mapped << 1) | world.mapped & 1 << base;
        let start = any_bit(rng, starts);
        if shape.effect != Effect::None || chance(rng, 144) {
            return start;
        }
        let inside = start + rng.u8(0..HPAGE_PMD_NR as u8);
        if (inside as usize) < TASK_SIZE && world.mapped >> inside & 1 != 0 { inside } else { start }
    }

    /// A length as its byte: one pmd to map and unmap, a page or a few to work on.
    fn len(&self, shape: &Shape, before: &[u8; 5], world: &World, rng: &mut Rng) -> u8 {
        const PMD: u8 = HPAGE_PMD_NR as u8;
        let addr = shape.addr.map_or(0, |i| before[i as usize]);
        if shape.effect == Effect::Maps
            && let Some(size) = world.size(shape, before)
            && chance(rng, 176)
        {
            return size - 1;
        }
        let len = match (shape.effect, rng.u8(0..16)) {
            (_, 0..2) => rng.u8(1..=2 * PMD),
            (_, 2..4) | (Effect::None, 4..10) => 1,
            (Effect::None, 10..13) => 2,
            _ => PMD,
        };
        // Reaching beyond what is mapped fails most calls.
        let mapped = (world.mapped >> addr).trailing_ones() as u8;
        let fits = pages(addr, len) & !world.mapped == 0;
        let len = if shape.needs_pages() && !fits && mapped > 0 && chance(rng, 224) { mapped } else { len };
        len.min(2 * PMD) - 1
    }
}

/// A call with drawn arguments, unmarked.
pub(super) fn call(shape: &Shape, pool: &Pool, world: &World, task: u8, rng: &mut Rng) -> Call {
    let args = pool.args(shape, world, rng);
    Call { op: shape.op.nr, task, concurrent: false, steps: rng.u8(..), args }
}
