// SPDX-License-Identifier: GPL-2.0-or-later
//! No oracle: which (object state, site) pairs were ever reached, to tell new behaviour from old.
//!
//! Only objects an oracle watches count, frames and entries, and only what they are, not which.

use crate::entry::System;
use crate::kernel::Touch;
use crate::limits::NR_FRAMES;
use crate::mm::pgtable::{PmdPtr, peek_pmd, peek_pte};
use crate::trace::{Owner, Pfn, Site};
use std::cell::Cell;

const BITS: usize = 1 << 17;

/// A set of pairs, hashed.
#[derive(Clone, Debug)]
pub struct StateMap {
    seen: Box<[Cell<u64>; BITS / 64]>,
    new: Cell<u32>,
}

impl Default for StateMap {
    fn default() -> StateMap {
        StateMap { seen: Box::new([const { Cell::new(0) }; BITS / 64]), new: Cell::new(0) }
    }
}

impl StateMap {
    /// Pairs are numbers below this.
    pub const PAIRS: usize = BITS;

    /// How many pairs were new since the last time this was asked.
    pub fn take_new(&self) -> u32 {
        self.new.take()
    }

    /// How many pairs were ever reached.
    pub fn reached(&self) -> u32 {
        self.seen.iter().map(|word| word.get().count_ones()).sum()
    }

    /// Hands every pair to `f`, as a number below [`StateMap::PAIRS`], and forgets them all.
    pub fn drain(&self, mut f: impl FnMut(usize)) {
        for (i, word) in self.seen.iter().enumerate() {
            let mut bits = word.take();
            while bits != 0 {
                f(64 * i + bits.trailing_zeros() as usize);
                bits &= bits - 1;
            }
        }
        self.new.set(0);
    }

    /// Forgets all pairs.
    pub fn clear(&self) {
        self.drain(|_| ());
    }

    /// Whether an object that a step touched is of interest.
    #[inline]
    pub(crate) fn watches(touch: Touch) -> bool {
        touch.obj().is_watched()
    }

    /// A step at `site` touched an object that is watched: what state is it in now?
    ///
    /// How deep the call was tells most callers of a helper apart, and costs nothing to know.
    #[inline(never)]
    pub(crate) fn note(&self, s: &System, touch: Touch, site: Site, depth: u8) {
        let obj = touch.obj();
        let state = if let Some(pfn) = obj.pfn() {
            frame_state(s, Pfn(pfn))
        } else if let Some((table, i)) = obj.pte_index() {
            0x10_0000 | u32::from(peek_pte(s, table, i).kind())
        } else if let Some((mm, i)) = obj.pmd_index() {
            0x20_0000 | u32::from(peek_pmd(s, PmdPtr { mm, i }).kind())
        } else {
            return;
        };
        let hash = site.hash_with(state | u32::from(depth) << 24) >> (64 - BITS.trailing_zeros());
        let (word, bit) = (&self.seen[hash as usize / 64], 1 << (hash % 64));
        if word.get() & bit == 0 {
            word.set(word.get() | bit);
            self.new.set(self.new.get() + 1);
        }
    }
}

fn frame_state(s: &System, pfn: Pfn) -> u32 {
    if pfn.index() >= NR_FRAMES {
        return 0x30_0000;
    }
    let page = s.peek_page(pfn);
    let owner = match page.owner {
        Owner::Buddy => 0,
        Owner::Kernel => 1,
        Owner::Anon(_) => 2,
        Owner::File(_) => 3,
        Owner::Bo(_) => 4,
        Owner::Pool(_) => 5,
        Owner::Dev => 6,
        Owner::Blocks => 7,
    };
    // None, one, two, some, or so many that the page may pass for pinned.
    let refs = (page.refcount.clamp(-1, 3) + 1) as u32 + u32::from(page.refcount >= 1024);
    let mapped = page.mapcount.clamp(0, 2) as u32;
    owner | refs << 3 | mapped << 6 | u32::from(page.flags.bits()) << 8
}
