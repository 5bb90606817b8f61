// SPDX-License-Identifier: GPL-2.0-or-later
//! The search of `gupfuzz run`.
//!
//! Fresh programs and changed ones take turns: who reaches a (object state, site) pair for the first
//! time is kept, to be changed and spliced later.  A search that reaches nothing new for long has
//! settled on the wrong programs; it forgets everything and begins again, each time with more
//! patience, for it is the slowest searches that cost, not the typical one.

use super::corpus::{Corpus, copy};
use super::counts::Counts;
use super::single;
use crate::entry::{ArgKind, op_by_name};
use crate::fixes::Spec;
use crate::init::{Computer, Observe, Outcome, start_kernel};
use crate::limits::NR_HANDLES;
use crate::oracles::Violation;
use crate::prog::{Generator, Prog, Rec, ScheduleKind, Target, mutate, splice};
use fastrand::Rng;
use std::collections::BTreeMap;

/// Of 256 programs, those that are new from the ground up.
const FRESH: u8 = 152;
/// Of 256 changed programs, those that are spliced with another.
const SPLICED: u8 = 40;
/// Records of a changed program.
const LONG: usize = 20;
/// Executed interleavings without anything new after which a search begins again, at first.
const PATIENCE: u64 = 20_000;
/// How often it doubles.
const DOUBLINGS: u32 = 5;

/// Places in its one suspended call at which a program is tried, beside the one that was drawn.
const MOST_DELAYS: usize = 16;

/// What a search is to do.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// It ends at the first violation whose title contains this; others are collected.
    pub until: Option<String>,
    /// It leaves out these operations, by number.
    pub without: Vec<u8>,
    /// It does not end at a violation.
    pub keep_going: bool,
    /// Make a digest of all traces.
    pub digest: bool,
    /// What arguments of calls may be; empty: anything.
    pub only: &'static [Only],
    /// Kinds of violations that do not end it.
    pub ignored: &'static [&'static str],
}

/// An argument of an operation, and the words that programs may have for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Only {
    /// The operation, by name.
    pub op: &'static str,
    /// Its argument, by name.
    pub arg: &'static str,
    /// Some of the argument's words.
    pub words: &'static [&'static str],
}

/// The same in numbers.
struct Restriction {
    op: u8,
    arg: usize,
    bytes: Vec<u8>,
}

impl Restriction {
    fn new(only: &Only) -> Restriction {
        let op = op_by_name(only.op).expect("an operation of the table");
        let arg = op.args.iter().position(|desc| desc.name == only.arg).expect("an argument of it");
        let byte = |word: &&str| match op.args[arg].kind {
            ArgKind::Enum(words) => words.iter().position(|w| w == word).expect("one of its words") as u8,
            ArgKind::Handle { kind, .. } => {
                let slot = word.strip_prefix(kind.letter()).and_then(|slot| slot.parse().ok());
                slot.filter(|slot| usize::from(*slot) < NR_HANDLES).expect("a slot of its kind")
            }
            _ => panic!("{} has no words", only.arg),
        };
        Restriction { op: op.nr, arg, bytes: only.words.iter().map(byte).collect() }
    }

    /// Any other word becomes one of these.
    fn apply(&self, prog: &mut Prog) {
        for rec in &mut prog.records {
            if let Rec::Call(call) = rec
                && call.op == self.op
                && !self.bytes.contains(&call.args[self.arg])
            {
                call.args[self.arg] = self.bytes[usize::from(call.args[self.arg]) % self.bytes.len()];
            }
        }
    }
}

/// The next program of a search: a new one, or one near those that were kept.
pub(super) fn draw(prog: &mut Prog, corpus: &mut Corpus, rng: &mut Rng, generator: &mut Generator) {
    if corpus.len() == 0 || rng.u8(..) < FRESH {
        return generator.generate(prog);
    }
    copy(prog, corpus.pick(rng));
    if rng.u8(..) < SPLICED {
        splice(prog, corpus.other(rng), rng);
    }
    mutate(prog, rng, generator);
    // What is inserted adds up, and a long program costs as much as several short ones.
    let records = &mut prog.records;
    if records.len() > LONG {
        let surplus = records.len() - LONG;
        let at = rng.usize(0..=LONG);
        records.drain(at..at + surplus);
    }
}

/// A violation and the smallest program for it.
#[derive(Clone, Debug)]
pub struct Found {
    /// What was found.
    pub violation: Violation,
    /// One interleaving.
    pub prog: Prog,
    /// In how many programs.
    pub count: u64,
}

/// A search under way, all of it a function of target, kernel, seed and options.
pub struct Campaign {
    computer: Computer,
    target: &'static Target,
    options: Options,
    restrictions: Vec<Restriction>,
    rng: Rng,
    generator: Generator,
    corpus: Corpus,
    prog: Prog,
    counts: Counts,
    /// By title.
    found: BTreeMap<String, Found>,
    wanted: Option<String>,
    /// [`Counts::programs`] when something new was reached last.
    progress: u64,
    restarts: u32,
}

impl Campaign {
    /// A search that has not begun.
    pub fn new(target: &'static Target, kernel: &Spec, seed: u64, options: Options) -> Campaign {
        let mut rng = Rng::with_seed(seed);
        let mut computer = start_kernel(kernel.fixes);
        computer.note_states();
        Campaign {
            computer,
            target,
            generator: Generator::without(target, rng.u64(..), &options.without),
            restrictions: options.only.iter().map(Restriction::new).collect(),
            options,
            rng,
            corpus: Corpus::default(),
            prog: Prog::default(),
            counts: Counts::default(),
            found: BTreeMap::new(),
            wanted: None,
            progress: 0,
            restarts: 0,
        }
    }

    /// Goes on for so many executed interleavings, or up to the next violation that ends the search.
    pub fn run(&mut self, programs: u64) -> Option<&Found> {
        self.wanted = None;
        let end = self.counts.programs.saturating_add(programs);
        while self.wanted.is_none() && self.counts.programs < end {
            self.draw();
            self.restrictions.iter().for_each(|restriction| restriction.apply(&mut self.prog));
            self.try_one(end);
        }
        self.wanted()
    }

    /// The violation that ended the search.
    pub fn wanted(&self) -> Option<&Found> {
        self.found.get(self.wanted.as_ref()?)
    }

    /// All violations so far, by title.
    pub fn found(&self) -> &BTreeMap<String, Found> {
        &self.found
    }

    /// What was done so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Programs it builds on, pairs it has reached since it began anew, and how often it did that.
    pub fn state(&self) -> (usize, u32, u32) {
        (self.corpus.len(), self.computer.states().reached(), self.restarts)
    }

    /// The program it tries, or tried last.
    pub fn prog(&self) -> &Prog {
        &self.prog
    }

    /// The next program.
    fn draw(&mut self) {
        if self.counts.programs - self.progress > PATIENCE << self.restarts.min(DOUBLINGS) {
            self.restart();
        }
        draw(&mut self.prog, &mut self.corpus, &mut self.rng, &mut self.generator);
    }

    /// Forgets what the search has settled on.
    fn restart(&mut self) {
        self.corpus.clear();
        self.computer.states().clear();
        self.generator = Generator::without(self.target, self.rng.u64(..), &self.options.without);
        self.progress = self.counts.programs;
        self.restarts += 1;
    }

    /// Runs the program: under the seeds of its burst, or with its one delay at each place that makes a difference.
    fn try_one(&mut self, end: u64) {
        let silent = match self.prog.delayed() {
            Some(at) => self.try_delays(at, end),
            None => self.try_burst(end),
        };
        if self.computer.states().take_new() > 0 {
            self.progress = self.counts.programs;
            // What follows a violation is not reached; programs like it would find it again.
            if silent {
                self.corpus.keep(&self.prog);
            }
        }
    }

    /// Whether there was no violation under the seeds of the burst.
    fn try_burst(&mut self, end: u64) -> bool {
        let burst = match self.prog.schedule {
            ScheduleKind::Pos => u32::from(self.prog.burst.max(1)),
            _ => 1,
        };
        let mut silent = true;
        for i in 0..burst {
            let seed = self.prog.seed.wrapping_add(i);
            let outcome = self.computer.run(&self.prog, seed, self.observe());
            silent &= self.judge(outcome, seed);
            if self.wanted.is_some() || self.counts.programs == end {
                break;
            }
        }
        silent
    }

    /// Suspends the call of record `at` wherever it makes a difference, as the first run tells; whether there
    /// was no violation.  The program stays as it was tried last: kept with the place that was new, it leads to
    /// slow bugs later.
    fn try_delays(&mut self, at: usize, end: u64) -> bool {
        let (outcome, mut delays) = self.computer.run_delayed(&self.prog, at, self.observe());
        let mut silent = self.judge(outcome, 0);
        let tried = self.prog.steps_of(at);
        let tried = delays.iter().find(|steps| *steps >= tried);
        tried.into_iter().for_each(|steps| delays.remove(steps));
        for left in (1..=delays.count()).rev().take(MOST_DELAYS) {
            if !silent || self.counts.programs == end {
                break;
            }
            let steps = delays.iter().nth(self.rng.usize(0..left)).expect("so many are left");
            delays.remove(steps);
            self.prog.delay(at, steps);
            let outcome = self.computer.run(&self.prog, 0, self.observe());
            silent = self.judge(outcome, 0);
        }
        silent
    }

    fn observe(&self) -> Observe {
        if self.options.digest { Observe::Digest } else { Observe::Oracles }
    }

    /// What a run of the program came to; whether there was no violation.
    fn judge(&mut self, outcome: Outcome, seed: u32) -> bool {
        self.counts.add(&outcome);
        let violation = outcome.into_violation();
        let silent = violation.is_none();
        if let Some(violation) = violation {
            self.note(violation, seed);
        }
        silent
    }

    /// Notes a violation under a seed.
    #[cold]
    fn note(&mut self, violation: Violation, seed: u32) {
        let title = violation.title();
        let ends = match &self.options.until {
            Some(text) => title.contains(text.as_str()),
            None => !self.options.ignored.contains(&violation.kind),
        } && !self.prog.calls().any(|call| self.options.without.contains(&call.op));
        if ends && !self.options.keep_going {
            self.wanted = Some(title.clone());
        }
        let size = self.prog.records.len();
        match self.found.get_mut(&title) {
            Some(found) => {
                found.count += 1;
                // The one that ended the search is shown, whatever its size.
                if size < found.prog.records.len() || self.wanted.is_some() {
                    (found.prog, found.violation) = (single(&self.prog, seed), violation);
                }
            }
            None => {
                let found = Found { violation, prog: single(&self.prog, seed), count: 1 };
                self.found.insert(title, found);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_reaches_nothing_new_begins_again_and_goes_on() {
        static FEW: Target = Target { name: "few", about: "little to reach", weights: &[("mmap", 1), ("load", 2)] };
        let only = &[Only { op: "mmap", arg: "map", words: &["anon"] }];
        let options = Options { only, ..Options::default() };
        let mut campaign = Campaign::new(&FEW, &Spec::default(), 1, options);
        let mut reached = (0, 0);
        while campaign.state().2 == 0 {
            reached = (campaign.state().0, campaign.state().1);
            campaign.run(500);
            assert!(campaign.counts().programs < 20 * PATIENCE, "{:?}", campaign.state());
        }
        let begin = campaign.counts().programs;
        assert!(begin > PATIENCE && reached.0 > 0 && reached.1 > 0, "{reached:?} after {begin}");
        campaign.run(PATIENCE / 2);
        let (kept, pairs, restarts) = campaign.state();
        assert_eq!(campaign.counts().programs, begin + PATIENCE / 2);
        assert!(kept > 0 && pairs > reached.1 / 2 && pairs <= reached.1, "{kept}, {pairs} of {reached:?}");
        // The second time it is more patient.
        campaign.run(PATIENCE);
        assert_eq!((restarts, campaign.state().2), (1, 1));
    }
}
