// SPDX-License-Identifier: GPL-2.0-or-later
//! Growing a corpus, and making it small: few and short programs that reach what all of them did.
//!
//! What a program reaches are the (object state, site) pairs of its interleavings.

use super::campaign::draw;
use super::corpus::Corpus;
use crate::fixes::Spec;
use crate::init::{Computer, Observe, start_kernel};
use crate::oracles::StateMap;
use crate::prog::{Generator, Prog, Target};
use fastrand::Rng;

/// A set of pairs.
#[derive(Clone, PartialEq, Eq)]
struct Pairs(Vec<u64>);

impl Pairs {
    fn new() -> Pairs {
        Pairs(vec![0; StateMap::PAIRS / 64])
    }

    fn add(&mut self, pair: usize) {
        self.0[pair / 64] |= 1 << (pair % 64);
    }

    fn add_all(&mut self, other: &Pairs) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, more)| *word |= more);
    }

    fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// How many of these another set lacks.
    fn beyond(&self, other: &Pairs) -> u32 {
        self.0.iter().zip(&other.0).map(|(word, there)| (word & !there).count_ones()).sum()
    }

    fn iter(&self) -> impl Iterator<Item = usize> {
        let bits = |word: u64| (0..64).filter(move |bit| word >> bit & 1 != 0);
        self.0.iter().enumerate().flat_map(move |(i, word)| bits(*word).map(move |bit| 64 * i + bit))
    }
}

/// What growing came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sum {
    /// Interleavings that ran.
    pub programs: u64,
    /// Programs left out as an oracle fired or the step limit was reached.
    pub unfit: u64,
    /// Programs that are kept.
    pub kept: usize,
    /// Pairs that they reach.
    pub pairs: u32,
}

/// A corpus that grows, all of it a function of target, kernel, seed and what was added.
pub struct Growth {
    computer: Computer,
    rng: Rng,
    generator: Generator,
    /// What is changed next.
    recent: Corpus,
    reached: Pairs,
    kept: Vec<(Prog, Pairs)>,
    sum: Sum,
}

impl Growth {
    /// An empty corpus.
    pub fn new(target: &'static Target, kernel: &Spec, seed: u64) -> Growth {
        let mut rng = Rng::with_seed(seed);
        let mut computer = start_kernel(kernel.fixes);
        computer.note_states();
        Growth {
            computer,
            generator: Generator::new(target, rng.u64(..)),
            rng,
            recent: Corpus::default(),
            reached: Pairs::new(),
            kept: Vec::new(),
            sum: Sum::default(),
        }
    }

    /// Adds a program if it reaches something new.
    pub fn add(&mut self, prog: &Prog) {
        let Some(pairs) = self.reach(prog) else {
            self.sum.unfit += 1;
            return;
        };
        if pairs.beyond(&self.reached) > 0 {
            self.reached.add_all(&pairs);
            self.recent.keep(prog);
            self.kept.push((prog.clone(), pairs));
        }
    }

    /// Searches for so many executed interleavings more.
    pub fn search(&mut self, programs: u64) {
        let end = self.sum.programs.saturating_add(programs);
        let mut prog = Prog::default();
        while self.sum.programs < end {
            draw(&mut prog, &mut self.recent, &mut self.rng, &mut self.generator);
            self.add(&prog);
        }
    }

    /// What was done so far.
    pub fn sum(&self) -> Sum {
        Sum { kept: self.kept.len(), pairs: self.reached.count(), ..self.sum }
    }

    /// The pairs of a program; `None` if it is not silent.
    fn reach(&mut self, prog: &Prog) -> Option<Pairs> {
        let mut pairs = Pairs::new();
        let mut silent = true;
        for i in 0..u32::from(prog.burst.max(1)) {
            self.sum.programs += 1;
            silent &= self.computer.run(prog, prog.seed.wrapping_add(i), Observe::Oracles).is_silent();
        }
        self.computer.states().drain(|pair| pairs.add(pair));
        silent.then_some(pairs)
    }

    /// The small corpus.
    pub fn finish(mut self) -> (Vec<Prog>, Sum) {
        let mut chosen = self.choose();
        self.trim(&mut chosen);
        self.reached = Pairs::new();
        chosen.iter().for_each(|(_, pairs)| self.reached.add_all(pairs));
        let sum = self.sum();
        (chosen.into_iter().map(|(prog, _)| prog).collect(), sum)
    }

    /// Greedy: always who adds most for its size, until nobody adds anything.
    fn choose(&mut self) -> Vec<(Prog, Pairs)> {
        let mut left = std::mem::take(&mut self.kept);
        let mut covered = Pairs::new();
        let mut chosen = Vec::new();
        loop {
            left.retain(|(_, pairs)| pairs.beyond(&covered) > 0);
            let worth = |(prog, pairs): &(Prog, Pairs)| pairs.beyond(&covered) * 64 / (prog.records.len() as u32 + 4);
            let Some(best) = (0..left.len()).max_by_key(|i| (worth(&left[*i]), usize::MAX - i)) else { break };
            let best = left.swap_remove(best);
            covered.add_all(&best.1);
            chosen.push(best);
        }
        chosen
    }

    /// Programs lose the interleavings and records that they do not need for what only they reach, and go
    /// if that is nothing.
    fn trim(&mut self, chosen: &mut Vec<(Prog, Pairs)>) {
        retain_needed(chosen, |prog, pairs, own| self.shorten(prog, pairs, own));
        // A program that was shortened may reach more than before, and others are needed no longer.
        retain_needed(chosen, |_, _, _| ());
    }

    /// Shortens a program that is to go on reaching `own`.
    fn shorten(&mut self, prog: &mut Prog, pairs: &mut Pairs, own: &Pairs) {
        let mut replace = |prog: &mut Prog, small: Prog| {
            let reached = self.reach(&small).filter(|reached| own.beyond(reached) == 0);
            reached.is_some_and(|reached| {
                (*prog, *pairs) = (small, reached);
                true
            })
        };
        while prog.burst > 1 && replace(prog, Prog { burst: prog.burst / 2, ..prog.clone() }) {}
        let mut at = prog.records.len();
        while at > 0 {
            at = prog.records.len().min(at) - 1;
            let mut small = prog.clone();
            small.records.remove(at);
            small.normalize();
            replace(prog, small);
        }
    }
}

/// Keeps programs that reach what no other does, each told what that is and changed meanwhile.
fn retain_needed(chosen: &mut Vec<(Prog, Pairs)>, mut change: impl FnMut(&mut Prog, &mut Pairs, &Pairs)) {
    let mut holders = vec![0_u32; StateMap::PAIRS];
    chosen.iter().flat_map(|(_, pairs)| pairs.iter()).for_each(|pair| holders[pair] += 1);
    chosen.retain_mut(|(prog, pairs)| {
        let mut own = Pairs::new();
        for pair in pairs.iter() {
            holders[pair] -= 1;
            if holders[pair] == 0 {
                own.add(pair);
            }
        }
        if own.count() == 0 {
            return false;
        }
        change(prog, pairs, &own);
        pairs.iter().for_each(|pair| holders[pair] += 1);
        true
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prog::target;

    fn grown() -> (Vec<Prog>, Sum) {
        let mut growth = Growth::new(target("mm").unwrap(), &Spec::default(), 3);
        growth.search(2000);
        growth.finish()
    }

    #[test]
    fn few_programs_reach_what_all_did_and_none_is_idle() {
        let mut growth = Growth::new(target("mm").unwrap(), &Spec::default(), 3);
        growth.search(2000);
        let (all, before) = (growth.kept.len(), growth.sum());
        let (progs, after) = growth.finish();
        assert!(before.pairs > 500 && after.pairs >= before.pairs, "{before:?} {after:?}");
        assert!(!progs.is_empty() && progs.len() < all, "{} of {all}", progs.len());
        for out in 0..progs.len() {
            let mut others = Growth::new(target("mm").unwrap(), &Spec::default(), 3);
            progs.iter().enumerate().filter(|(i, _)| *i != out).for_each(|(_, prog)| others.add(prog));
            let without = others.sum().pairs;
            others.add(&progs[out]);
            assert!(others.sum().pairs > without, "not needed:\n{}", progs[out]);
        }
    }

    #[test]
    fn growing_again_is_the_same() {
        assert_eq!(grown(), grown());
    }

    #[test]
    fn what_shows_a_violation_is_left_out() {
        let text = include_str!("../../corpus/stories/ttm_huge_fault_dio.prog");
        let prog = crate::prog::Script::parse(text).unwrap().prog;
        for (kernel, kept) in [("v5.12", 0), ("newest", 1)] {
            let mut growth = Growth::new(target("ttm").unwrap(), &kernel.parse().unwrap(), 0);
            growth.add(&prog);
            assert_eq!((growth.kept.len(), growth.sum().unfit), (kept, 1 - kept as u64), "{kernel}");
        }
    }
}
