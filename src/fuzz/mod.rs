// SPDX-License-Identifier: GPL-2.0-or-later
//! The fuzz targets as plain functions, and the search of `gupfuzz run`; no engine is named here.

mod bisection;
mod campaign;
mod corpus;
mod counts;
mod coverage;
mod growth;
pub mod matrix;
mod minimized;

pub use bisection::{Bisection, Change, Finding, Row, bisect};
pub use campaign::{Campaign, Found, Only, Options};
pub use counts::Counts;
pub use coverage::{Coverage, FixCoverage, Place};
pub use growth::{Growth, Sum};
pub use minimized::{Minimized, Progress, minimize, turns};

use crate::entry::op_by_name;
use crate::fixes::Spec;
use crate::init::{Computer, Observe, Outcome, Verdict, start_kernel};
use crate::oracles::Violation;
use crate::prog::{Prog, ScheduleKind};
use crate::report::{Report, Run, Story};
use crate::trace::{Func, Pfn, Record};

/// A machine and the memory its inputs are decoded into: what a fuzz target owns.
pub struct Fuzzer {
    computer: Computer,
    prog: Prog,
    until: Option<String>,
    without: Vec<u8>,
    programs: u64,
}

impl Fuzzer {
    /// A target on a kernel.
    pub fn new(kernel: &Spec) -> Fuzzer {
        let computer = start_kernel(kernel.fixes);
        Fuzzer { computer, prog: Prog::default(), until: None, without: Vec::new(), programs: 0 }
    }

    /// Only violations with `title` in their title count.
    pub fn until(&mut self, title: String) {
        self.until = Some(title);
    }

    /// Violations of programs that have one of these operations do not count.
    ///
    /// # Errors
    /// A name that is no operation's.
    pub fn without<'n>(&mut self, names: impl Iterator<Item = &'n str>) -> Result<(), &'n str> {
        for name in names {
            self.without.push(op_by_name(name).ok_or(name)?.nr);
        }
        Ok(())
    }

    /// Runs an input under every seed of its burst, up to the first violation that counts; the seed
    /// it fired under.
    ///
    /// Input that is no text costs no allocation unless an oracle fires.
    pub fn run_input(&mut self, data: &[u8]) -> Option<(Violation, u32)> {
        self.prog.read_input(data);
        if !self.without.is_empty() && self.prog.calls().any(|call| self.without.contains(&call.op)) {
            return None;
        }
        for i in 0..u32::from(self.prog.burst.max(1)) {
            let seed = self.prog.seed.wrapping_add(i);
            self.programs += 1;
            let found = self.computer.run(&self.prog, seed, Observe::Oracles).into_violation();
            if let Some(v) = found
                && self.until.as_ref().is_none_or(|until| v.title().contains(until.as_str()))
            {
                return Some((v, seed));
            }
        }
        None
    }

    /// Interleavings that ran.
    pub fn programs(&self) -> u64 {
        self.programs
    }

    /// The program the last input was.
    pub fn prog(&self) -> &Prog {
        &self.prog
    }

    /// The machine, to look at what it reached, or to run the program again.
    pub fn computer(&mut self) -> &mut Computer {
        &mut self.computer
    }
}

/// One interleaving and all that happened in it.
pub struct Replay {
    /// The program with the seed that ran, its burst taken apart.
    pub prog: Prog,
    /// What it came to.
    pub outcome: Outcome,
    /// Its events.
    pub records: Vec<Record>,
    /// The call stack of each event, innermost last.
    pub stacks: Vec<Vec<Func>>,
}

/// Runs one interleaving of a program and keeps its events.
pub fn replay(computer: &mut Computer, prog: &Prog, seed: u32) -> Replay {
    let outcome = computer.run(prog, seed, Observe::Keep);
    let (records, stacks) = computer.take_trace();
    Replay { prog: single(prog, seed), outcome, records, stacks }
}

/// Explains the violation of an interleaving; `file` is where the program is.
pub fn explain(run: &Replay, kernel: &Spec, file: &str) -> Option<Report> {
    let violation = run.outcome.violation()?;
    Some(Report::new(violation, &run.records, &run.stacks, &run.prog, &kernel.to_string(), file))
}

/// What a fuzz target prints of a violation, for people and for collectors of crashes.
///
/// The title comes first, for ClusterFuzz takes it for the state of the crash unless a kernel's report
/// was before it.  Then the report under the name of KASAN, whichever checker it was: collectors parse
/// that one best.  Then the program.
pub fn crash_text(run: &Replay, kernel: &Spec) -> Option<String> {
    let report = Report { checker: "KASAN", ..explain(run, kernel, "crash.prog")? };
    let program = format!("# crash.prog, one interleaving of the input\nkernel: {kernel}\n{}", run.prog);
    Some(format!("ASSERTION FAILED: {}\n{report}\n{program}", report.title))
}

/// Tells an interleaving step by step; of the page of its violation, else of frame `pfn`, else of the
/// one with which most happened.
pub fn story(run: &Replay, kernel: &Spec, file: &str, pfn: Option<Pfn>) -> Story {
    let Replay { prog, outcome, records, stacks } = run;
    let (violation, cut) = (outcome.violation(), matches!(outcome.verdict, Verdict::Cut));
    Story::new(&Run { violation, cut, records, stacks, prog, kernel: &kernel.to_string(), file }, pfn)
}

/// The seed of one of many searches that share a seed.
pub fn job_seed(seed: u64, job: u16) -> u64 {
    seed ^ u64::from(job).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The program that is one interleaving of another.
pub fn single(prog: &Prog, seed: u32) -> Prog {
    let mut prog = prog.clone();
    if prog.schedule == ScheduleKind::Pos {
        (prog.seed, prog.burst) = (seed, 1);
    }
    prog
}
