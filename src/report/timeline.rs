// SPDX-License-Identifier: GPL-2.0-or-later
//! Who did what when: one row a step, one column a task.
//!
//! Only steps that touch what the violation is about, from when that began: a frame, a page table, or
//! locks.  Of more than [`MAX_ROWS`] rows those that tell least are left out, oldest first.

use super::history::History;
use super::task as name_of;
use super::words::{self, Scan};
use crate::oracles::Violation;
use crate::trace::{Event, Obj, Pfn};
use std::fmt;

/// Rows of a timeline.
const MAX_ROWS: usize = 30;

/// A step.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
pub struct Row {
    /// Its number.
    pub step: u32,
    /// Who took it.
    pub task: u8,
    /// What it did.
    pub text: String,
    /// It is the one that gave the violation away.
    pub here: bool,
    /// How much it tells: 3 is most.
    #[cfg_attr(feature = "cli", serde(skip))]
    pub(super) weight: u8,
}

/// The steps that matter.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
pub struct Timeline {
    /// In order.
    pub rows: Vec<Row>,
    /// How many more there were.
    pub left_out: usize,
}

/// What the steps are to touch.
#[derive(Clone, Copy)]
pub(super) enum Subject {
    /// A frame, and the page of the address space that should show it.
    Frame(Pfn, Option<(u8, u8)>),
    Table(u8),
    Locks,
    Nothing,
}

/// What a violation is about.
pub(super) fn subject(v: &Violation) -> Subject {
    match (v.pfn, v.record.event) {
        (_, Event::TableUse { table, .. } | Event::Table { table, .. }) => Subject::Table(table),
        (Some(pfn), Event::Use { at, .. }) if v.kind == "lost-write" => Subject::Frame(pfn, at),
        (Some(pfn), _) => Subject::Frame(pfn, None),
        (None, _) if matches!(v.oracle, "lockdep" | "hung_task") => Subject::Locks,
        (None, _) => Subject::Nothing,
    }
}

pub(super) fn new(h: &History<'_>, v: &Violation) -> Timeline {
    let subject = subject(v);
    let from = match subject {
        Subject::Frame(pfn, _) => {
            let begin = h.life(pfn, v.took).begin.unwrap_or(0);
            // What leaks was there before.
            if v.kind == "data-leak" { h.left(pfn, begin).unwrap_or(begin) } else { begin }
        }
        _ => 0,
    };
    trim(rows(h, subject, from, Some(v.kind)))
}

/// The timeline of a frame in a run without violation.
pub(super) fn of_frame(h: &History<'_>, pfn: Pfn) -> Timeline {
    trim(rows(h, Subject::Frame(pfn, None), 0, None))
}

/// All steps that touch the subject, from a record on; `kind` is said of the one that is a violation
/// and has no words of its own.
pub(super) fn rows(h: &History<'_>, subject: Subject, from: usize, kind: Option<&str>) -> Vec<Row> {
    let mut scan = Scan::default();
    let mut rows: Vec<Row> = Vec::new();
    let mut entry = Obj::NONE;
    for (i, r) in h.records[..h.end()].iter().enumerate() {
        if let Event::Step { obj, .. } = r.event {
            entry = obj;
        }
        let text = match subject {
            Subject::Frame(pfn, at) => scan.frame(r, pfn, entry).or_else(|| words::elsewhere(r, at?)),
            Subject::Table(table) => words::of_table(r, table),
            Subject::Locks => words::of_locks(r),
            Subject::Nothing => None,
        };
        let here = i == h.here && !h.at_end;
        let (weight, text) = match (text, kind) {
            (Some(text), _) => text,
            (None, Some(kind)) if here && !matches!(subject, Subject::Nothing) => (3, kind.into()),
            _ => continue,
        };
        if i < from {
            continue;
        }
        match rows.last_mut() {
            Some(row) if (row.step, row.task) == (r.step, r.task) => row.add(weight, text),
            _ => rows.push(Row { step: r.step, task: r.task, text, here: false, weight }),
        }
        if let Some(row) = rows.last_mut() {
            row.here |= here;
        }
    }
    rows
}

fn trim(mut rows: Vec<Row>) -> Timeline {
    let all = rows.len();
    for weight in 1..=3 {
        let mut surplus = rows.len().saturating_sub(MAX_ROWS);
        // The first row says how it began.
        let mut first = true;
        rows.retain(|row| {
            let keep = std::mem::take(&mut first) || row.here || row.weight > weight || surplus == 0;
            surplus -= !keep as usize;
            keep
        });
    }
    Timeline { left_out: all - rows.len(), rows }
}

impl Row {
    /// Something else happened in the same step: what tells most is said.
    pub(super) fn add(&mut self, weight: u8, text: String) {
        if weight > self.weight {
            (self.weight, self.text) = (weight, text);
        } else if weight == self.weight && weight == 3 && text != self.text {
            self.text = format!("{}, {text}", self.text);
        }
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tasks: Vec<u8> = self.rows.iter().map(|r| r.task).collect();
        tasks.sort_unstable();
        tasks.dedup();
        let cell = |row: &Row| row.text.chars().count() + if row.here { 11 } else { 0 };
        let width = |task: &u8| {
            let cells = self.rows.iter().filter(|r| r.task == *task).map(cell);
            cells.max().unwrap_or(0).max(name_of(*task).len())
        };
        let left_out = match self.left_out {
            0 => String::new(),
            n => format!("; {n} more left out"),
        };
        writeln!(f, "Timeline (. = not running{left_out})")?;
        let heads = tasks.iter().map(|t| format!("  {:w$}", name_of(*t), w = width(t))).collect::<String>();
        writeln!(f, " step{}", heads.trim_end())?;
        for row in &self.rows {
            let mut line = format!("{:5}", row.step);
            for task in &tasks {
                let text = match (row.task == *task, row.here) {
                    (true, true) => format!("{}   <== here", row.text),
                    (true, false) => row.text.clone(),
                    (false, _) => ".".into(),
                };
                line += &format!("  {text:w$}", w = width(task));
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}
