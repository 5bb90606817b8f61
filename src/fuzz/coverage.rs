// SPDX-License-Identifier: GPL-2.0-or-later
//! What programs reach: modelled functions, and conditions of fixes.
//!
//! A function is reached if something happened while a task was inside of it.  The condition of a fix
//! is reached if the program runs another way with the fix than without it: that it was asked for
//! says less, and would cost every run something.

use crate::fixes::{Entry, FIXES, Spec};
use crate::init::{Computer, Observe, start_kernel};
use crate::prog::Prog;
use std::collections::BTreeSet;

/// Where a modelled function says that it is entered: its file from its room on, and the line.
pub type Place = (&'static str, u32);

/// What programs reach.
pub struct Coverage {
    functions: BTreeSet<Place>,
    fixes: Vec<FixCoverage>,
}

/// A fix, and what programs do about it.
pub struct FixCoverage {
    /// Which fix.
    pub entry: &'static Entry,
    /// The kernel on which it matters, and the same with this one fix changed.
    pub kernels: [Spec; 2],
    /// Programs that run another way with it than without.
    pub told_apart: u32,
    /// Programs that show a violation on one of the two kernels only.
    pub shown: u32,
    computers: [Computer; 2],
}

impl FixCoverage {
    fn new(entry: &'static Entry) -> FixCoverage {
        let on: Spec = entry.on.parse().expect("the table's kernels are kernels");
        let sign = if on.fixes.has(entry.fix) { '-' } else { '+' };
        let other: Spec = format!("{on} {sign}{}", entry.name).parse().expect("and can be changed");
        let computers = [start_kernel(on.fixes), start_kernel(other.fixes)];
        FixCoverage { entry, kernels: [on, other], told_apart: 0, shown: 0, computers }
    }

    fn add(&mut self, prog: &Prog) {
        let (mut told_apart, mut shown) = (false, [false; 2]);
        for seed in seeds(prog) {
            let outcomes = self.computers.each_mut().map(|computer| computer.run(prog, seed, Observe::Digest));
            told_apart |= outcomes[0].digest != outcomes[1].digest;
            (0..2).for_each(|i| shown[i] |= outcomes[i].violation().is_some());
        }
        self.told_apart += u32::from(told_apart);
        self.shown += u32::from(shown[0] != shown[1]);
    }
}

impl Default for Coverage {
    /// Nothing yet.
    fn default() -> Coverage {
        Coverage { functions: BTreeSet::new(), fixes: FIXES.iter().map(FixCoverage::new).collect() }
    }
}

impl Coverage {
    /// Adds what a program reaches: functions on `kernel`, conditions of fixes each where it matters.
    pub fn add(&mut self, prog: &Prog, kernel: &Spec) {
        let mut computer = start_kernel(kernel.fixes);
        for seed in seeds(prog) {
            computer.run(prog, seed, Observe::Keep);
            let (_, stacks) = computer.take_trace();
            let sites = stacks.iter().flatten().map(|func| func.site());
            self.functions.extend(sites.map(|site| (site.file(), site.line())));
        }
        self.fixes.iter_mut().for_each(|fix| fix.add(prog));
    }

    /// Functions that were reached.
    pub fn functions(&self) -> &BTreeSet<Place> {
        &self.functions
    }

    /// All fixes.
    pub fn fixes(&self) -> &[FixCoverage] {
        &self.fixes
    }
}

fn seeds(prog: &Prog) -> impl Iterator<Item = u32> {
    (0..u32::from(prog.burst.max(1))).map(|i| prog.seed.wrapping_add(i))
}
