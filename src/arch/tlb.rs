// SPDX-License-Identifier: GPL-2.0-or-later
//! A translation lookaside buffer, one entry a page of the address space.

use crate::limits::TASK_SIZE;
use crate::trace::Pfn;
use std::cell::Cell;

const _: () = assert!(TASK_SIZE <= 64, "one bit of a u64 a page");

/// A cached translation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TlbEntry {
    /// The frame.
    pub(crate) pfn: Pfn,
    /// Stores may go through.
    pub(crate) write: bool,
    /// The generation of the frame when the entry it was filled from was installed; for oracles.
    pub(crate) gen_: u16,
}

/// The translations a CPU remembers, whether or not the page tables still say so.
#[derive(Debug)]
pub(crate) struct Tlb {
    live: Cell<u64>,
    entries: [Cell<TlbEntry>; TASK_SIZE],
}

impl Default for Tlb {
    fn default() -> Tlb {
        Tlb { live: Cell::new(0), entries: std::array::from_fn(|_| Cell::default()) }
    }
}

/// The pages `start..end` as a set.
pub(crate) fn pages(start: usize, end: usize) -> u64 {
    let below = |n: usize| if n >= 64 { u64::MAX } else { (1 << n) - 1 };
    below(end) & !below(start)
}

impl Tlb {
    pub(crate) fn lookup(&self, va: usize) -> Option<TlbEntry> {
        (self.live.get() >> va & 1 != 0).then(|| self.entries[va].get())
    }

    pub(crate) fn fill(&self, va: usize, entry: TlbEntry) {
        self.live.set(self.live.get() | 1 << va);
        self.entries[va].set(entry);
    }

    /// Forgets the translations of `pages`, one bit a page; false if there were none.
    pub(crate) fn flush(&self, pages: u64) -> bool {
        let live = self.live.get();
        self.live.set(live & !pages);
        live & pages != 0
    }

    pub(crate) fn flush_all(&self) {
        self.live.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flush_forgets_its_range_and_no_more() {
        let tlb = Tlb::default();
        for va in [0, 7, 8, 63] {
            tlb.fill(va, TlbEntry { pfn: Pfn(va as u8), write: true, gen_: 1 });
        }
        tlb.flush(pages(7, 9));
        assert_eq!(tlb.lookup(0).map(|e| e.pfn), Some(Pfn(0)));
        assert_eq!(tlb.lookup(7), None);
        assert_eq!(tlb.lookup(8), None);
        tlb.flush(pages(60, 64));
        assert_eq!(tlb.lookup(63), None);
        assert_eq!(pages(0, 64), u64::MAX);
    }
}
