// SPDX-License-Identifier: GPL-2.0-or-later
//! `bisect`: which kernels have a bug, and what ends it.

use super::interrupt::Interrupt;
use super::out::{note, say};
use super::replay::{run_twice, tell_nothing};
use super::{BisectArgs, Error, Status, file, list};
use gupfuzz::fixes::Kind;
use gupfuzz::fuzz::{Bisection, Change, Finding, Row, bisect as look_everywhere};
use gupfuzz::init::start_kernel;

/// Runs a program on every kernel and prints where it shows what.
pub(super) fn bisect(args: &BisectArgs) -> Result<Status, Error> {
    let interrupt = Interrupt::catch()?;
    let (script, _) = file::read(&args.file)?;
    let (own, _) = file::kernels(&args.file, &script)?;
    let kernel = args.kernel.clone().unwrap_or(own);
    let mut computer = start_kernel(kernel.fixes);
    let (run, differs) = run_twice(&mut computer, &script.prog, script.title());
    if let Some(differs) = differs {
        return Ok(differs.tell(&args.file));
    }
    let found = run.outcome.violation().map(|v| v.title());
    let Some(title) = script.title().map(str::to_owned).or(found) else {
        tell_nothing(&run.outcome.verdict, &kernel, "there is nothing to look for");
        return Ok(Status::Silent);
    };
    let bisection = look_everywhere(&run.prog, &kernel, &title, &mut || !interrupt.pressed());
    say!("{title}");
    say!("");
    tell(&bisection);
    if interrupt.pressed() {
        note!("interrupted: `?` are kernels on which not every interleaving was tried");
    }
    Ok(match &bisection.base.finding {
        finding if finding.has_it() => Status::Violation,
        Finding::Unknown => Status::Silent,
        _ => {
            say!("not met: expected {title} on {kernel}, found {}", verdict(&bisection.base.finding));
            Status::NotMet
        }
    })
}

fn verdict(finding: &Finding) -> String {
    match finding {
        Finding::Shows => "has it".into(),
        Finding::Elsewhere => "has it, in another interleaving".into(),
        Finding::Other(title) => format!("another: {title}"),
        Finding::Silent => "silent".into(),
        Finding::Cut => "cut".into(),
        Finding::Unknown => "?".into(),
    }
}

/// The table: releases, then single changes that matter.
fn tell(bisection: &Bisection) {
    let base = &bisection.base;
    let own = (!bisection.releases.iter().any(|row| row.kernel.fixes == base.kernel.fixes)).then_some(base);
    let plain = |row: &Row| [row.kernel.to_string(), verdict(&row.finding), String::new()];
    let changes = bisection.enders().chain(bisection.bringers());
    let changes = changes.map(|change| [change.row.kernel.to_string(), verdict(&change.row.finding), meaning(change)]);
    let releases = bisection.releases.iter().chain(own).map(plain);
    list::columns(["kernel", "verdict", "what the change is"], releases.chain(changes));
}

/// What it means that a change ends or brings the bug.
fn meaning(change: &Change) -> String {
    let entry = change.entry;
    let since = entry.since.map_or_else(String::new, |release| format!(", {release}"));
    match (entry.kind, change.added != change.row.finding.has_it()) {
        (Kind::Upstream, true) => format!("upstream{since}: {}", entry.source),
        (Kind::Proposed, true) => format!("proposed, would have ended it: {}", entry.source),
        (Kind::Open, true) => format!("open, would end it: {}", entry.why),
        (Kind::Policy, _) => format!("policy{since}: {}", entry.why),
        (Kind::Mutant, _) => format!("wrong on purpose: {}", entry.why),
        (_, false) => format!("it needs this one{since}: {}", entry.source),
    }
}
