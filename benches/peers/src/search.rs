// SPDX-License-Identifier: GPL-2.0-or-later
//! Executions and CPU to the first violation.

use gupfuzz::oracles::Violation;
use std::collections::BTreeMap;

/// How long one turn of a search takes at most.
pub struct Slice {
    pub finds: usize,
    pub seconds: f64,
}

/// What a search came to.
#[derive(Default)]
pub struct Finds {
    /// Executions that each violation took.
    pub found: Vec<u32>,
    /// Executions since the last.
    since: u32,
    /// CPU seconds, of all turns.
    seconds: f64,
    /// What was found, and how often.
    pub titles: BTreeMap<String, u32>,
}

impl Finds {
    /// There was one execution more.
    pub fn executed(&mut self, violation: Option<&Violation>) {
        self.since += 1;
        if let Some(violation) = violation {
            self.found.push(std::mem::take(&mut self.since));
            *self.titles.entry(violation.title()).or_default() += 1;
        }
    }

    pub fn used(&mut self, seconds: f64) {
        self.seconds += seconds;
    }

    pub fn all(&self) -> u32 {
        self.found.iter().sum::<u32>() + self.since
    }

    /// Executions a violation: the mean, which counts those in vain at the end, too.  Of a search that
    /// found nothing at least that many.
    pub fn executions(&self) -> f64 {
        f64::from(self.all()) / self.found.len().max(1) as f64
    }

    /// CPU milliseconds a violation.
    pub fn cpu(&self) -> f64 {
        self.seconds * 1e3 / self.found.len().max(1) as f64
    }
}
