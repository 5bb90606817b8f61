// SPDX-License-Identifier: GPL-2.0-or-later
//! What a search did, in numbers.

use crate::init::{Outcome, Verdict};
use std::fmt;

/// Sums over runs.  A program, wherever programs are counted, is one executed interleaving.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Interleavings that ran.
    pub programs: u64,
    /// Their steps.
    pub steps: u64,
    /// Calls that ended.
    pub calls: u64,
    /// Calls that did not return an errno.
    pub succeeded: u64,
    /// Programs in which a page was unmapped while GUP references to it were alive.
    pub pinned: u64,
    /// Programs cut off at the step limit.
    pub cut: u64,
    /// Programs in which an oracle fired.
    pub violations: u64,
    /// Of the digests of all runs, in order; 0 unless they are made.
    pub digest: u64,
}

impl Counts {
    /// Adds a run.
    pub fn add(&mut self, outcome: &Outcome) {
        self.programs += 1;
        self.steps += u64::from(outcome.steps);
        self.calls += u64::from(outcome.calls);
        self.succeeded += u64::from(outcome.succeeded);
        self.pinned += u64::from(outcome.pin_across_unmap);
        self.cut += u64::from(matches!(outcome.verdict, Verdict::Cut));
        self.violations += u64::from(outcome.violation().is_some());
        self.digest = fold(self.digest, outcome.digest);
    }

    /// Adds what another search did, after this one.
    pub fn merge(&mut self, other: &Counts) {
        self.programs += other.programs;
        self.steps += other.steps;
        self.calls += other.calls;
        self.succeeded += other.succeeded;
        self.pinned += other.pinned;
        self.cut += other.cut;
        self.violations += other.violations;
        self.digest = fold(self.digest, other.digest);
    }
}

/// A number that depends on both and on their order.
fn fold(digest: u64, next: u64) -> u64 {
    (digest.rotate_left(7) ^ next).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// `part / of`, 0 of nothing.
fn ratio(part: u64, of: u64) -> f64 {
    part as f64 / of.max(1) as f64
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |part, of| 100.0 * ratio(part, of);
        writeln!(f, "programs               {:>12}", self.programs)?;
        writeln!(f, "steps a program        {:>12.1}", ratio(self.steps, self.programs))?;
        writeln!(f, "calls a program        {:>12.1}", ratio(self.calls, self.programs))?;
        writeln!(f, "calls that succeeded   {:>11.1}%", percent(self.succeeded, self.calls))?;
        writeln!(f, "pin across an unmap    {:>11.1}%", percent(self.pinned, self.programs))?;
        writeln!(f, "cut at the step limit  {:>11.2}%", percent(self.cut, self.programs))?;
        writeln!(f, "violations             {:>12}", self.violations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_depend_on_the_order() {
        let of = |all: [u64; 2]| all.into_iter().fold(0, fold);
        assert_ne!(of([1, 2]), of([2, 1]));
        assert_ne!(of([1, 2]), of([1, 3]));
    }

    #[test]
    fn every_sum_is_told() {
        let counts =
            Counts { programs: 8, steps: 100, calls: 16, succeeded: 12, pinned: 2, cut: 1, violations: 3, digest: 0 };
        let text = "\
programs                          8
steps a program                12.5
calls a program                 2.0
calls that succeeded          75.0%
pin across an unmap           25.0%
cut at the step limit        12.50%
violations                        3
";
        assert_eq!(counts.to_string(), text);
    }

    #[test]
    fn nothing_is_no_division_by_zero() {
        assert!(Counts::default().to_string().contains("calls that succeeded           0.0%"));
    }
}
