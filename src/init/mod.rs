// SPDX-License-Identifier: GPL-2.0-or-later
//! start_kernel(): boots the machine, owns the tasks' futures, runs one program step by step, feeds
//! the oracles and gathers the outcome.  Linux: init/main.c.

mod drive;
mod ears;
mod epilogue;
mod exec;
mod meeting;
mod tasks;

use crate::entry::System;
use crate::fixes::{Fix, FixSet};
use crate::kernel::Draw;
use crate::kernel::sched::{Bytes, Pos};
use crate::limits::*;
use crate::oracles::{StateMap, Violation};
use crate::prog::{Prog, Rec, ScheduleKind};
use crate::trace::{Func, Record};
pub use drive::Drive;
use ears::{Ears, Notes};
use exec::Exec;
pub use meeting::Delays;
use meeting::Meeting;
use std::cell::RefCell;
use std::rc::Rc;
use tasks::Places;

/// How much a run observes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Observe {
    /// Nothing: the bare cost of running.
    Bare,
    /// Events go to the oracles and are forgotten.
    #[default]
    Oracles,
    /// As before, and a digest of all events is made.
    Digest,
    /// Events are kept to the end of the run, with call stacks.
    Keep,
}

/// What a run came to.
#[derive(Debug)]
pub enum Verdict {
    /// No oracle fired.
    Silent,
    /// One did.
    Violation(Box<Violation>),
    /// The step limit was reached: neither.
    Cut,
}

/// A run.
#[derive(Debug)]
pub struct Outcome {
    /// What it came to.
    pub verdict: Verdict,
    /// The seed it ran under.
    pub seed: u32,
    /// Steps taken.
    pub steps: u32,
    /// Those of them that the program's records made; the others are the epilogue's.
    pub own_steps: u32,
    /// Calls that ended, and how many of them succeeded.
    pub calls: u32,
    /// Calls that did not return an errno.
    pub succeeded: u32,
    /// A page was unmapped while GUP references to it were alive.
    pub pin_across_unmap: bool,
    /// Sum of call depths over all steps; divided by `steps`: the mean.
    pub depth_sum: u64,
    /// Of all events, with [`Observe::Digest`] or [`Observe::Keep`].
    pub digest: u64,
}

impl Outcome {
    /// Whether no oracle fired and the run came to its end.
    pub fn is_silent(&self) -> bool {
        matches!(self.verdict, Verdict::Silent)
    }

    /// The violation, if there is one.
    pub fn violation(&self) -> Option<&Violation> {
        match &self.verdict {
            Verdict::Violation(v) => Some(v),
            _ => None,
        }
    }

    /// The same, to keep.
    pub fn into_violation(self) -> Option<Violation> {
        match self.verdict {
            Verdict::Violation(v) => Some(*v),
            _ => None,
        }
    }
}

/// A machine that can be booted again and again.
pub struct Computer {
    sys: Rc<System>,
    places: Places,
    ears: Rc<RefCell<Ears>>,
    states: Rc<StateMap>,
    notes: bool,
    fixes: FixSet,
    /// Of the last run that asked for it.
    meeting: Box<Meeting>,
}

/// A machine with the given kernel.
pub fn start_kernel(fixes: FixSet) -> Computer {
    let sys = Rc::new(System::new(fixes));
    let ears = Rc::new(RefCell::new(Ears::default()));
    sys.trace.listen(Box::new(ears.clone()), ears.borrow().oracles.found());
    let states = Rc::new(StateMap::default());
    sys.set_onlooker(Box::new(Notes { sys: Rc::downgrade(&sys), states: states.clone() }));
    let (places, meeting) = (Places::new(&sys), Box::default());
    Computer { places, sys, ears, states, notes: false, fixes, meeting }
}

impl Computer {
    /// From here on runs note what states objects are in after each step, as feedback for a search.
    pub fn note_states(&mut self) {
        self.notes = true;
    }

    /// Every (object state, site) pair seen so far, of runs that note them.
    pub fn states(&self) -> &StateMap {
        &self.states
    }

    /// Boots, and runs the program under every seed of its burst: the first violation, else the first
    /// outcome that was cut, else the last.
    pub fn run_burst(&mut self, prog: &Prog, mut each: impl FnMut(&Outcome)) -> Outcome {
        let burst = u32::from(prog.burst.max(1));
        let mut cut = None;
        let mut i = 0;
        loop {
            let outcome = self.run(prog, prog.seed.wrapping_add(i), Observe::Oracles);
            each(&outcome);
            i += 1;
            if outcome.violation().is_some() {
                return outcome;
            }
            if i == burst {
                return cut.unwrap_or(outcome);
            }
            if matches!(outcome.verdict, Verdict::Cut) {
                cut.get_or_insert(outcome);
            }
        }
    }

    /// Boots, and runs one interleaving of the program.
    pub fn run(&mut self, prog: &Prog, seed: u32, observe: Observe) -> Outcome {
        let draw = if prog.schedule == ScheduleKind::Pos { Draw::Pos { seed } } else { Draw::None };
        let mut exec = self.boot(prog, draw, observe, None);
        match prog.schedule {
            ScheduleKind::Pos => exec.rounds(&mut Pos),
            ScheduleKind::Bytes => {
                let mut choices = [0; MAX_RECORDS * 6];
                let len = gather_choices(prog, &mut choices);
                exec.rounds(&mut Bytes::new(&choices[..len], prog.hash32()));
            }
            ScheduleKind::Explicit => exec.explicit(),
        }
        exec.finish(seed)
    }

    /// Boots, and runs an explicit program; also returns after how many steps of the call of record `at` it
    /// makes a difference that it is suspended until it is resumed the first time.
    pub fn run_delayed(&mut self, prog: &Prog, at: usize, observe: Observe) -> (Outcome, Delays) {
        self.meeting.reset();
        let mut exec = self.boot(prog, Draw::None, observe, Some(at));
        exec.explicit();
        let outcome = exec.finish(0);
        (outcome, self.meeting.delays())
    }

    /// Boots, and has the program's races decided outside.
    pub fn drive<'c>(&'c mut self, prog: &'c Prog, observe: Observe) -> Drive<'c> {
        Drive::new(self.boot(prog, Draw::None, observe, None))
    }

    fn boot<'c>(&'c mut self, prog: &'c Prog, draw: Draw, observe: Observe, delayed: Option<usize>) -> Exec<'c, 'c> {
        self.places.reset();
        let sys = &self.sys;
        sys.reset(self.fixes, draw);
        sys.trace.reset(observe != Observe::Bare, observe == Observe::Digest, observe == Observe::Keep);
        self.ears.borrow_mut().reset(observe);
        self.ears.borrow_mut().oracles.set_strict(self.fixes.has(Fix::PagePinStrict));
        sys.let_look(self.notes && observe != Observe::Bare);
        tasks::load_overrides(sys, prog);

        let mut exec = Exec {
            sys,
            records: &prog.records,
            ears: &self.ears,
            places: &mut self.places,
            users: Default::default(),
            observe,
            ended: 0,
            succeeded: 0,
            over: None,
            meeting: delayed.map(|at| (at, &mut *self.meeting)),
        };
        exec.boot();
        exec
    }

    /// The events of the last run, with [`Observe::Keep`], and the call stack of each.
    pub fn take_trace(&mut self) -> (Vec<Record>, Vec<Vec<Func>>) {
        self.sys.trace.take()
    }
}

fn gather_choices(prog: &Prog, choices: &mut [u8]) -> usize {
    let mut n = 0;
    for record in &prog.records {
        if let Rec::Choices { len, bytes } = record {
            let len = *len as usize;
            choices[n..n + len].copy_from_slice(&bytes[..len]);
            n += len;
        }
    }
    n
}

#[cfg(test)]
mod tests;
