// SPDX-License-Identifier: GPL-2.0-or-later
//! Which kernels have a bug, and which single changes of a kernel end it or bring it.

use crate::fixes::{Entry, FIXES, Kind, RELEASES, Spec};
use crate::init::{Observe, Outcome, Verdict, start_kernel};
use crate::prog::Prog;

/// Other interleavings that are tried before a kernel is said not to have a bug: a fix may only
/// shift the steps.
const SEEDS: u32 = 256;

/// What a program does on a kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Finding {
    /// It shows the bug.
    Shows,
    /// Another interleaving of the same calls does.
    Elsewhere,
    /// It shows another one, of this title.
    Other(String),
    /// It shows nothing.
    Silent,
    /// It reaches the step limit.
    Cut,
    /// It does not show it; the search for another interleaving that does was ended early.
    Unknown,
}

impl Finding {
    /// Whether the kernel has the bug.
    pub fn has_it(&self) -> bool {
        matches!(self, Finding::Shows | Finding::Elsewhere)
    }
}

/// A kernel, and what the program does there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// The kernel.
    pub kernel: Spec,
    /// What the program does.
    pub finding: Finding,
}

/// A kernel with one fix added or taken away.
#[derive(Clone, Debug)]
pub struct Change {
    /// The fix.
    pub entry: &'static Entry,
    /// It was added.
    pub added: bool,
    /// The changed kernel.
    pub row: Row,
}

/// Where a program shows a violation.
#[derive(Clone, Debug)]
pub struct Bisection {
    /// The kernel that was changed.
    pub base: Row,
    /// All releases, and newest.
    pub releases: Vec<Row>,
    /// The base with each fix added or taken away.
    pub changes: Vec<Change>,
}

impl Bisection {
    /// Changes after which the bug is gone, and no other in its place.
    pub fn enders(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| self.base.finding.has_it() && change.row.finding == Finding::Silent)
    }

    /// Changes after which it is there.
    pub fn bringers(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| !self.base.finding.has_it() && change.row.finding.has_it())
    }

    /// Kernels worth naming on which the program is silent: a release and one change, or fewer
    /// changes than the base has, and newest.
    pub fn silent(&self) -> impl Iterator<Item = &Spec> {
        let words = |row: &Row| row.kernel.to_string().split(' ').count();
        let most = words(&self.base).saturating_sub(1).max(2);
        let right = |change: &&Change| !(change.added && change.entry.kind == Kind::Mutant);
        let changed = self.enders().filter(right).map(|change| &change.row).filter(move |row| words(row) <= most);
        let rows = changed.chain(self.releases.last().filter(|row| row.kernel.fixes != self.base.kernel.fixes));
        let mut seen = Vec::new();
        rows.filter(move |row| {
            let new = !seen.contains(&row.kernel.fixes);
            seen.push(row.kernel.fixes);
            new && row.finding == Finding::Silent
        })
        .map(|row| &row.kernel)
    }
}

/// Runs a program that shows `title` on all releases, and on `base` with every single change; `go_on`
/// is asked before each further interleaving.
pub fn bisect(prog: &Prog, base: &Spec, title: &str, go_on: &mut dyn FnMut() -> bool) -> Bisection {
    let mut row = |kernel: Spec| Row { finding: look(prog, &kernel, title, go_on), kernel };
    let base_row = row(base.clone());
    let releases = RELEASES.iter().map(|release| release.to_string()).chain(["newest".to_owned()]);
    let releases = releases.map(|name| row(name.parse().expect("a release is a spec"))).collect();
    let changes = FIXES.iter().filter_map(|entry| {
        let kernel = changed(base, entry)?;
        Some(Change { entry, added: kernel.fixes.has(entry.fix), row: row(kernel) })
    });
    let changes = changes.collect();
    Bisection { base: base_row, releases, changes }
}

/// A kernel with a fix added that it does not have, or taken away that it has; `None`: that makes
/// no sense.
fn changed(base: &Spec, entry: &Entry) -> Option<Spec> {
    let (old, new) = if base.fixes.has(entry.fix) { ('+', '-') } else { ('-', '+') };
    let (old, text) = (format!("{old}{}", entry.name), base.to_string());
    let mut words: Vec<&str> = text.split(' ').filter(|word| *word != old).collect();
    let new = format!("{new}{}", entry.name);
    if words.len() == text.split(' ').count() {
        words.push(&new);
    }
    words.join(" ").parse().ok()
}

fn look(prog: &Prog, kernel: &Spec, title: &str, go_on: &mut dyn FnMut() -> bool) -> Finding {
    let mut computer = start_kernel(kernel.fixes);
    let shows = |outcome: &Outcome| outcome.violation().is_some_and(|v| v.title() == title);
    let own = computer.run(prog, prog.seed, Observe::Oracles);
    if shows(&own) {
        return Finding::Shows;
    }
    for other in prog.nearby(SEEDS) {
        if !go_on() {
            return Finding::Unknown;
        }
        if shows(&computer.run(&other, other.seed, Observe::Oracles)) {
            return Finding::Elsewhere;
        }
    }
    match own.verdict {
        Verdict::Silent => Finding::Silent,
        Verdict::Cut => Finding::Cut,
        Verdict::Violation(v) => Finding::Other(v.title()),
    }
}
