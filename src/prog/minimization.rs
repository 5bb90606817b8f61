// SPDX-License-Identifier: GPL-2.0-or-later
//! Making a program small that shows something, so that a person can read it.
//!
//! Every pass proposes programs that cost less than the best so far; the first that still shows it
//! is the best from then on, until no pass proposes one that does.  So the result is a fixed point,
//! never larger than what went in, and the same each time.
//!
//! A call that goes away, or an argument that changes, shifts the steps of what it raced with.  A
//! proposal that fails as it stands is therefore tried again with its runs a little longer or
//! shorter, and then as a race under some seeds: whatever interleaving shows it is taken over.

use super::interleaving::Turn;
use super::{Prog, Rec, ScheduleKind, preemption, simplification, substitution};
use std::collections::BTreeSet;

/// Runs programs for the minimizer, and knows what it is looking for.
pub trait Judge {
    /// Whether one interleaving of a program shows it; `false` from some moment on: enough.
    fn shows(&mut self, prog: &Prog) -> bool;
    /// Who took which step of the program, its epilogue left out.
    fn turns(&mut self, prog: &Prog) -> Vec<Turn>;
    /// This is the best so far.
    fn better(&mut self, prog: &Prog);
}

/// What makes a program hard to read, the worst first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Cost {
    calls: usize,
    switches: usize,
    records: usize,
    spelling: u32,
    steps: u32,
}

impl Cost {
    fn of(prog: &Prog) -> Cost {
        let explicit = prog.schedule == ScheduleKind::Explicit;
        let steps = prog.records.iter().map(|rec| match rec {
            Rec::Call(call) if explicit => u32::from(call.steps),
            Rec::Resume { steps, .. } => u32::from(*steps),
            _ => 0,
        });
        Cost {
            calls: prog.calls().count(),
            switches: if explicit { prog.switches() } else { 0 },
            records: prog.records.len(),
            spelling: simplification::spelling(prog),
            steps: steps.sum(),
        }
    }
}

/// How hard to try to make a proposal work.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Effort {
    /// As it stands.
    Once,
    /// Also with a run longer or shorter.
    Near,
    /// Also under other seeds.
    Seeds,
}

/// Seeds a proposal is tried under.
const SEEDS: u32 = 64;
/// Seeds a program is tried under whose own interleaving has too many switches to be written down.
const MANY_SEEDS: u32 = 1024;

/// The program made small; one that does not show what it is to show comes back as it is.
pub fn minimize(prog: &Prog, judge: &mut dyn Judge) -> Prog {
    let mut work = Minimizer { judge, best: prog.clone(), cost: Cost::of(prog), failed: BTreeSet::new() };
    if !work.judge.shows(prog) {
        return work.best;
    }
    if prog.schedule != ScheduleKind::Explicit {
        work.drop_calls();
        if !work.make_explicit() {
            return work.best;
        }
    }
    work.tidy();
    loop {
        let before = work.cost;
        work.drop_calls();
        work.pass(preemption::fewer_runs, Effort::Near);
        work.pass(preemption::moves, Effort::Near);
        work.preempt_once();
        work.pass(simplification::tasks, Effort::Near);
        work.pass(simplification::names_of, Effort::Near);
        work.pass(simplification::arguments, Effort::Near);
        work.pass(preemption::shorter_runs, Effort::Once);
        if work.cost == before {
            // The longest pass, for what is small already.
            work.pass(substitution::one_for_two, Effort::Once);
        }
        if work.cost == before {
            return work.best;
        }
    }
}

struct Minimizer<'j> {
    judge: &'j mut dyn Judge,
    best: Prog,
    cost: Cost,
    /// Hashes of programs that do not show it.
    failed: BTreeSet<u64>,
}

impl Minimizer<'_> {
    /// Whether a program shows it; each is run once.
    fn shows(&mut self, prog: &Prog) -> bool {
        let hash = prog.hash64();
        if self.failed.contains(&hash) {
            return false;
        }
        let shows = self.judge.shows(prog);
        if !shows {
            self.failed.insert(hash);
        }
        shows
    }

    fn take(&mut self, prog: Prog) {
        self.cost = Cost::of(&prog);
        self.best = prog;
        self.judge.better(&self.best);
    }

    /// Takes a program that costs less and shows it.
    fn take_if(&mut self, prog: &Prog) -> bool {
        let good = Cost::of(prog) < self.cost && self.shows(prog);
        if good {
            self.take(prog.clone());
        }
        good
    }

    /// Takes a proposal, or one near it.
    fn attempt(&mut self, prog: Prog, effort: Effort) -> bool {
        if self.take_if(&prog) {
            return true;
        }
        if effort >= Effort::Near && preemption::near(&prog).any(|prog| self.take_if(&prog)) {
            return true;
        }
        effort == Effort::Seeds && self.attempt_seeds(prog)
    }

    /// Tries a proposal under other seeds, an explicit one as a race.
    fn attempt_seeds(&mut self, prog: Prog) -> bool {
        let explicit = prog.schedule == ScheduleKind::Explicit;
        let mut race = if explicit { prog.race() } else { prog };
        if race.schedule != ScheduleKind::Pos || Cost::of(&race).calls >= self.cost.calls {
            return false;
        }
        let own = race.seed;
        for seed in (0..SEEDS).filter(|seed| *seed != own || explicit) {
            race.seed = seed;
            if !self.shows(&race) {
                continue;
            }
            let found = if explicit { race.explicit(&self.judge.turns(&race)) } else { Some(race.clone()) };
            if found.is_some_and(|found| self.take_if(&found)) {
                return true;
            }
        }
        false
    }

    /// Tries what some edits propose, until none of them helps.
    fn pass(&mut self, edits: fn(&Prog) -> Vec<Prog>, effort: Effort) {
        let mut proposals = edits(&self.best);
        let (mut at, mut failures) = (0, 0);
        while failures < proposals.len() {
            at %= proposals.len();
            let proposal = std::mem::take(&mut proposals[at]);
            if self.attempt(proposal, effort) {
                (proposals, failures) = (edits(&self.best), 0);
            } else {
                (at, failures) = (at + 1, failures + 1);
            }
        }
    }

    fn drop_calls(&mut self) {
        self.pass(simplification::fewer_calls, Effort::Seeds);
        if self.best.calls().count() <= 12 {
            self.pass(simplification::fewer_pairs, Effort::Near);
        }
    }

    /// From any schedule to the explicit form.
    fn make_explicit(&mut self) -> bool {
        let turns = self.judge.turns(&self.best);
        if let Some(prog) = self.best.explicit(&turns).filter(|prog| self.judge.shows(prog)) {
            self.take(prog);
            return true;
        }
        let mut race = Prog { schedule: ScheduleKind::Pos, ..self.best.clone() };
        race.records.retain(|rec| matches!(rec, Rec::Call(_)));
        for seed in 0..MANY_SEEDS {
            race.seed = seed;
            if self.judge.shows(&race) {
                let turns = self.judge.turns(&race);
                if let Some(prog) = race.explicit(&turns).filter(|prog| self.judge.shows(prog)) {
                    self.take(prog);
                    return true;
                }
            }
        }
        false
    }

    /// Leaves out what does nothing under an explicit schedule.
    fn tidy(&mut self) {
        let mut prog = self.best.clone();
        prog.records.retain(|rec| matches!(rec, Rec::Call(_) | Rec::Resume { .. }));
        for rec in &mut prog.records {
            if let Rec::Call(call) = rec {
                call.concurrent = false;
            }
        }
        if prog != self.best && self.judge.shows(&prog) {
            self.take(prog);
        }
    }

    /// All calls to their ends one after the other, but one, which is interrupted once: at every
    /// step, for every number of calls behind it.
    fn preempt_once(&mut self) {
        if self.cost.switches < 2 && self.best.records.len() == self.cost.calls {
            return;
        }
        let serial = preemption::serial(&self.best);
        if self.take_if(&serial) {
            return;
        }
        let lengths = preemption::lengths(&serial, &self.judge.turns(&serial));
        for (at, length) in lengths.into_iter().enumerate() {
            for prog in preemption::interrupted(&serial, at, length) {
                if self.take_if(&prog) {
                    return;
                }
            }
        }
    }
}
