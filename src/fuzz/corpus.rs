// SPDX-License-Identifier: GPL-2.0-or-later
//! Programs that reached something new, and which of them to change next.

use crate::prog::Prog;
use fastrand::Rng;

/// Programs kept; the oldest gives way.
const CAPACITY: usize = 256;
/// The youngest are picked more often.
const RECENT: usize = 24;
/// Who is picked in a draw between this many: the one that was picked least for its size.
const ROUNDS: usize = 3;

/// A program that was kept.
#[derive(Debug, Default)]
struct Entry {
    prog: Prog,
    /// How often it was picked.
    picks: u32,
}

/// The programs a search builds on.
#[derive(Debug, Default)]
pub(super) struct Corpus {
    /// The first `len` are in use, a ring.  Entries beyond keep their memory.
    entries: Vec<Entry>,
    len: usize,
    next: usize,
}

impl Corpus {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        (self.len, self.next) = (0, 0);
    }

    /// Keeps a program.
    pub(super) fn keep(&mut self, prog: &Prog) {
        if self.next == self.entries.len() {
            self.entries.push(Entry::default());
        }
        let entry = &mut self.entries[self.next];
        copy(&mut entry.prog, prog);
        entry.picks = 0;
        self.next = (self.next + 1) % CAPACITY;
        self.len = CAPACITY.min(self.len + 1);
    }

    /// A program to change; there has to be one.
    pub(super) fn pick(&mut self, rng: &mut Rng) -> &Prog {
        let recent = rng.bool();
        let mut best = self.any(recent, rng);
        for _ in 1..ROUNDS {
            let other = self.any(recent, rng);
            if self.cost(other) < self.cost(best) {
                best = other;
            }
        }
        let entry = &mut self.entries[best];
        entry.picks += 1;
        &entry.prog
    }

    /// A program to take parts from.
    pub(super) fn other(&self, rng: &mut Rng) -> &Prog {
        &self.entries[rng.usize(0..self.len)].prog
    }

    fn any(&self, recent: bool, rng: &mut Rng) -> usize {
        let back = rng.usize(0..if recent { RECENT.min(self.len) } else { self.len });
        (self.next + self.len - 1 - back) % self.len
    }

    /// What went into an entry already, a large one counts more.
    fn cost(&self, i: usize) -> u64 {
        let entry = &self.entries[i];
        (u64::from(entry.picks) + 1) * (entry.prog.records.len() as u64 + 8)
    }
}

/// A copy into memory that is there.
pub(super) fn copy(to: &mut Prog, from: &Prog) {
    (to.schedule, to.seed, to.burst) = (from.schedule, from.seed, from.burst);
    to.records.clear();
    to.records.extend_from_slice(&from.records);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prog(seed: u32) -> Prog {
        Prog { seed, ..Prog::default() }
    }

    #[test]
    fn the_oldest_gives_way_and_nobody_starves() {
        let mut corpus = Corpus::default();
        for seed in 0..CAPACITY as u32 + 3 {
            corpus.keep(&prog(seed));
        }
        assert_eq!(corpus.len(), CAPACITY);
        let mut rng = Rng::with_seed(1);
        let mut picked = [0_u32; CAPACITY + 3];
        for _ in 0..CAPACITY * 20 {
            picked[corpus.pick(&mut rng).seed as usize] += 1;
        }
        assert_eq!(picked[..3], [0; 3]);
        assert!(picked[3..].iter().all(|n| *n > 2), "{picked:?}");
        corpus.clear();
        corpus.keep(&prog(7));
        assert_eq!(corpus.pick(&mut rng).seed, 7);
    }

    #[test]
    fn the_young_come_first() {
        let mut corpus = Corpus::default();
        for seed in 0..100 {
            corpus.keep(&prog(seed));
        }
        let mut rng = Rng::with_seed(1);
        let young = (0..1000).filter(|_| corpus.pick(&mut rng).seed >= 100 - RECENT as u32).count();
        assert!((500..800).contains(&young), "{young}");
    }
}
