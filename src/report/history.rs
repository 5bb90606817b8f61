// SPDX-License-Identifier: GPL-2.0-or-later
//! Questions to the kept trace: which call, which life of a frame, which place of a function.

use crate::entry::op;
use crate::kernel::task_name;
use crate::limits::NR_USER_TASKS;
use crate::oracles::Violation;
use crate::prog::{Call, Prog, Rec};
use crate::trace::{Event, Func, Owner, Pfn, Record, Site, UseKind};
use std::fmt;

/// A function, and where in it.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
pub struct Place {
    /// The kernel's name of the function.
    pub func: &'static str,
    /// It took its last step at the n-th of its places, by line, from 1; 0: it took none in this call.
    pub nth: usize,
    /// The different places at which it took steps in this run.
    pub of: usize,
    /// That place, or where the function begins.
    #[cfg_attr(feature = "cli", serde(serialize_with = "super::display"))]
    pub site: Site,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{:#x}/{:#x}", self.func, self.nth, self.of)
    }
}

/// Who did something to the frame, and on whose behalf.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
pub struct Origin {
    /// `Allocated`, `Freed`, `Pinned`.
    pub what: &'static str,
    /// Who.
    pub task: u8,
    /// When.
    pub step: u32,
    /// The functions, innermost first.
    pub funcs: Vec<&'static str>,
    /// The call, or the name of a kernel task.
    pub call: String,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} by task {}:", self.what, self.task)?;
        let funcs = self.funcs.iter().map(|func| format!("{func} <- ")).collect::<String>();
        write!(f, " {funcs}{}   step {}", self.call, self.step)
    }
}

/// A life of a frame: the events (as indices) that began and ended its generation.
#[derive(Clone, Copy, Default)]
pub(super) struct Life {
    pub(super) begin: Option<usize>,
    pub(super) end: Option<usize>,
}

/// The trace of a run that ended in a violation.
pub(super) struct History<'t> {
    pub(super) records: &'t [Record],
    stacks: &'t [Vec<Func>],
    prog: &'t Prog,
    /// The record that gave it away, or the last.
    pub(super) here: usize,
    /// The record that shows the function that is blamed.
    scene: usize,
    /// Found when everything was closed, not in the step of the record.
    pub(super) at_end: bool,
}

/// An allocation or free that covers the frame.
fn covers(event: &Event, pfn: Pfn) -> bool {
    match *event {
        Event::Alloc { pfn: first, order, .. } | Event::Free { pfn: first, order, .. } => {
            (first.0..first.0 + (1 << order)).contains(&pfn.0)
        }
        _ => false,
    }
}

impl<'t> History<'t> {
    pub(super) fn new(v: &Violation, records: &'t [Record], stacks: &'t [Vec<Func>], prog: &'t Prog) -> History<'t> {
        let same = |r: &Record| (r.step, r.task, r.event) == (v.record.step, v.record.task, v.record.event);
        let found = records.iter().rposition(same);
        let here = found.unwrap_or(records.len().saturating_sub(1));
        let shows = |r: &Record| r.func.name() == v.func && !matches!(r.event, Event::Step { .. });
        let scene = records[..records.len().min(here + 1)].iter().rposition(shows).unwrap_or(here);
        let at_end = records.last().is_some_and(|last| last.step != v.record.step);
        History { records, stacks, prog, here, scene, at_end }
    }

    /// The trace of a run without violation: all of it counts.
    pub(super) fn quiet(records: &'t [Record], stacks: &'t [Vec<Func>], prog: &'t Prog) -> History<'t> {
        let last = records.len().saturating_sub(1);
        History { records, stacks, prog, here: last, scene: last, at_end: true }
    }

    /// Who last wrote to a frame before a record.
    pub(super) fn left(&self, pfn: Pfn, before: usize) -> Option<usize> {
        self.last(before, |r| match r.event {
            Event::Use { kind, pfn: p, .. } => p == pfn && kind.is_write(),
            Event::Fill { pfn: p, .. } => p == pfn,
            _ => false,
        })
    }

    /// The functions a task was in at a record, innermost last.
    pub(super) fn stack(&self, i: usize) -> &'t [Func] {
        self.stacks.get(i).map_or(&[], Vec::as_slice)
    }

    /// The record the call trace is of.
    pub(super) fn scene(&self) -> Option<&Record> {
        self.records.get(self.scene)
    }

    /// How far the events count that led to the violation.
    pub(super) fn end(&self) -> usize {
        if self.at_end { self.records.len() } else { self.records.len().min(self.here + 1) }
    }

    /// The same, but a free that is itself the violation has not happened yet.
    fn before(&self) -> usize {
        let frees = matches!(self.records.get(self.here), Some(r) if matches!(r.event, Event::Free { .. }));
        if frees && !self.at_end { self.here } else { self.end() }
    }

    /// The last record before `end` for which `f` says so.
    pub(super) fn last(&self, end: usize, f: impl Fn(&Record) -> bool) -> Option<usize> {
        self.records[..end].iter().rposition(f)
    }

    pub(super) fn step(&self, i: usize) -> u32 {
        self.records[i].step
    }

    /// What began and ended a generation of a frame.  Generations only grow: an allocation says which
    /// one it begins, a free which one it ends.
    pub(super) fn life(&self, pfn: Pfn, gen_: u16) -> Life {
        let mut turns = (0..self.before()).filter(|&i| covers(&self.records[i].event, pfn));
        let mut life = Life::default();
        life.end = turns.find(|&i| {
            let begun = match self.records[i].event {
                Event::Alloc { gen_: begins, .. } => begins <= gen_,
                Event::Free { gen_: ends, .. } => ends < gen_,
                _ => unreachable!("these two cover frames"),
            };
            if begun {
                life.begin = Some(i);
            }
            !begun
        });
        life
    }

    /// Who owned the frame in a life of it.
    pub(super) fn owner(&self, pfn: Pfn, life: Life) -> Owner {
        let window = life.begin.unwrap_or(0)..life.end.unwrap_or(self.before());
        let owner = |r: &Record| match r.event {
            Event::Own { pfn: first, order, owner } if (first.0..first.0 + (1 << order)).contains(&pfn.0) => {
                Some(owner)
            }
            Event::Alloc { owner, .. } | Event::Free { owner, .. } if covers(&r.event, pfn) => Some(owner),
            _ => None,
        };
        self.records[window].iter().rev().find_map(owner).unwrap_or_default()
    }

    /// The call a task was in at a record.
    fn call(&self, task: u8, i: usize) -> Option<(u8, u8)> {
        self.records[..self.records.len().min(i + 1)].iter().rev().filter(|r| r.task == task).find_map(|r| {
            match r.event {
                Event::CallBegin { call, op, .. } => Some(Some((call, op))),
                // The end itself still belongs to the call.
                Event::CallEnd { .. } if !std::ptr::eq(r, &self.records[i]) => Some(None),
                _ => None,
            }
        })?
    }

    /// The call as a program writes it, or the name of a kernel task.
    pub(super) fn call_text(&self, i: usize) -> String {
        let task = self.records[i].task;
        match self.call(task, i) {
            _ if usize::from(task) >= NR_USER_TASKS => task_name(task).into(),
            Some((call, nr)) => match self.prog.records.get(usize::from(call)) {
                Some(Rec::Call(call)) if call.op == nr => print_call(call),
                _ => op_name(nr).into(),
            },
            None => "exit".into(),
        }
    }

    /// The name of what a task is doing.
    pub(super) fn comm(&self, task: u8) -> String {
        match self.call(task, self.scene) {
            _ if usize::from(task) >= NR_USER_TASKS => task_name(task).into(),
            Some((_, nr)) => op_name(nr).into(),
            None => "exit".into(),
        }
    }

    /// The functions the blamed task was in, innermost first.
    pub(super) fn call_trace(&self) -> Vec<Place> {
        let Some(stack) = self.stacks.get(self.scene) else { return Vec::new() };
        stack.iter().rev().map(|func| self.place(func)).collect()
    }

    fn place(&self, func: &Func) -> Place {
        let steps = |r: &&Record| matches!(r.event, Event::Step { .. }) && r.func == *func;
        let mut sites: Vec<Site> = Vec::new();
        for r in self.records.iter().filter(steps) {
            if !sites.contains(&r.site) {
                sites.push(r.site);
            }
        }
        sites.sort_by_key(|site| site.line());
        let task = self.records[self.scene].task;
        let begin = |r: &Record| r.task == task && matches!(r.event, Event::CallBegin { .. });
        let since = self.last(self.scene, begin).unwrap_or(0);
        let last = self.records[since..=self.scene].iter().rev().filter(|r| r.task == task).find(steps);
        let nth = last.and_then(|last| sites.iter().position(|site| *site == last.site));
        Place {
            func: func.name(),
            nth: nth.map_or(0, |i| i + 1),
            of: sites.len(),
            site: last.map_or(func.site(), |r| r.site),
        }
    }

    fn origin(&self, what: &'static str, i: usize) -> Origin {
        let Record { task, step, .. } = self.records[i];
        let funcs = self.stacks.get(i).map_or(Vec::new(), |s| s.iter().rev().map(Func::name).collect());
        Origin { what, task, step, funcs, call: self.call_text(i) }
    }

    /// The last GUP reference to generation `took` of a frame.
    pub(super) fn pin(&self, pfn: Pfn, took: u16) -> Option<usize> {
        let pins = |r: &Record| matches!(r.event, Event::GupPin { pfn: p, took: t, .. } if (p, t) == (pfn, took));
        self.last(self.end(), pins)
    }

    /// Who allocated, freed and pinned what the violation is about.
    pub(super) fn origins(&self, v: &Violation) -> Vec<Origin> {
        let Some(pfn) = v.pfn else { return Vec::new() };
        let life = self.life(pfn, v.took);
        let turn = |i: usize, again: bool| match (&self.records[i].event, again) {
            (Event::Alloc { .. }, false) => "Allocated",
            (Event::Alloc { .. }, true) => "Allocated again",
            (_, _) => "Freed",
        };
        let mut all: Vec<_> = life.begin.map(|i| self.origin(turn(i, false), i)).into_iter().collect();
        all.extend(life.end.map(|i| self.origin(turn(i, false), i)));
        let again = self.life(pfn, v.now).begin.filter(|i| ![life.begin, life.end].contains(&Some(*i)));
        all.extend(again.map(|i| self.origin(turn(i, true), i)));
        let by_translation =
            matches!(v.record.event, Event::Use { kind: UseKind::Load | UseKind::Store, .. }) && v.oracle == "kasan";
        if !by_translation {
            all.extend(self.pin(pfn, v.took).map(|i| self.origin("Pinned", i)));
        }
        all
    }
}

fn op_name(nr: u8) -> &'static str {
    op(nr).map_or("call", |op| op.name)
}

/// A call without its task and marks: the text of a program that has no other.
fn print_call(call: &Call) -> String {
    let call = Call { concurrent: false, steps: 0, ..*call };
    let prog = Prog { burst: 1, records: vec![Rec::Call(call)], ..Prog::default() }.to_string();
    let line = prog.lines().last().unwrap_or_default();
    line.split_once(": ").map_or(line, |(_, call)| call).into()
}
