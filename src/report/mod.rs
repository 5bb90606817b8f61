// SPDX-License-Identifier: GPL-2.0-or-later
//! A violation, told to people and machines.
//!
//! First a value, [`Report`], then its text: what happened, where, who gave and who took, when, why it
//! is wrong, and how to see it again.  The headline speaks the dialect of KASAN, which crash
//! collectors know, and names another checker where it was another's; its `of size 8` is dialect, the
//! model has no sizes.  In `f+0x2/0x6` the function took steps at six different places in this run, and
//! the second is where it took its last one.
//! All numbers are read from the trace, which must have been kept ([`crate::init::Observe::Keep`]).

mod argument;
mod counts;
mod history;
#[cfg(feature = "cli")]
pub mod html;
#[cfg(feature = "cli")]
pub mod json;
mod page;
#[cfg(feature = "cli")]
pub mod perfetto;
mod spans;
mod story;
mod timeline;
mod words;

pub use counts::PageState;
pub use history::{Origin, Place};
pub use spans::{Kind, Span, ret_text};
pub use story::{Frame, Lane, Page, Step, Story};
pub use timeline::{Row, Timeline};

use crate::kernel::task_name;
use crate::limits::NR_USER_TASKS;
use crate::oracles::Violation;
use crate::prog::{Prog, ScheduleKind};
use crate::trace::{Event, Func, Record, UseKind};
use history::History;
use std::fmt::{self, Write};

/// What a program did, and how to see it again.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
pub struct Report {
    /// The identity of the bug: kind and function.
    pub title: String,
    /// Titles of further violations in the same step.
    pub alternatives: Vec<String>,
    /// Who noticed, as the kernel calls it in a headline.
    pub checker: &'static str,
    /// Kind of violation.
    pub kind: &'static str,
    /// The function that is blamed, and where in it.
    pub place: Place,
    /// The access wrote.
    pub write: bool,
    /// The address of the frame in question, 0: there is none.
    pub addr: u64,
    /// The call that was under way, or the name of a kernel task.
    pub comm: String,
    /// The task that took the step.
    pub task: u8,
    /// What is wrong, in one sentence.
    pub message: String,
    /// The functions the task was in, innermost first.
    pub trace: Vec<Place>,
    /// Who allocated, freed and pinned the frame.
    pub origins: Vec<Origin>,
    /// struct page, in the kernel's words.
    pub page: Vec<String>,
    /// Who did what when.
    pub timeline: Timeline,
    /// Why it is wrong.
    pub argument: Vec<String>,
    /// How the steps were picked.
    pub schedule: String,
    /// The command that does it again.
    pub replay: String,
}

impl Report {
    /// Explains `v` from the kept trace of the run.  `kernel` and `file` are those to replay it with;
    /// `prog` is the one interleaving that ran (burst 1, the seed that fired).
    pub fn new(
        v: &Violation,
        records: &[Record],
        stacks: &[Vec<Func>],
        prog: &Prog,
        kernel: &str,
        file: &str,
    ) -> Report {
        let h = History::new(v, records, stacks, prog);
        let trace = h.call_trace();
        let nowhere = Place { func: v.func, nth: 0, of: 0, site: v.record.func.site() };
        let place = trace.iter().find(|p| p.func == v.func).copied().unwrap_or(nowhere);
        let task = h.scene().map_or(v.record.task, |r| r.task);
        Report {
            title: v.title(),
            alternatives: v.alternatives.clone(),
            checker: if v.oracle == "kasan" { "KASAN" } else { v.oracle },
            kind: v.kind,
            place,
            write: is_write(&h.scene().unwrap_or(&v.record).event),
            addr: v.pfn.map_or(0, |pfn| u64::from(pfn.0) << 12),
            comm: h.comm(task),
            task,
            message: v.message.clone(),
            trace,
            origins: h.origins(v),
            page: v.pfn.map_or(Vec::new(), |pfn| page::dump(&h, v, pfn)),
            timeline: timeline::new(&h, v),
            argument: argument::new(&h, v),
            schedule: schedule(prog),
            replay: replay_command(kernel, file),
        }
    }
}

/// A run whose trace was kept.
#[derive(Clone, Copy, Debug)]
pub struct Run<'r> {
    /// How it ended, if badly.
    pub violation: Option<&'r Violation>,
    /// It reached the step limit.
    pub cut: bool,
    /// Its events.
    pub records: &'r [Record],
    /// The call stack of each, innermost last.
    pub stacks: &'r [Vec<Func>],
    /// The one interleaving that ran.
    pub prog: &'r Prog,
    /// The kernel it ran on, and where the program is: what to replay it with.
    pub kernel: &'r str,
    /// See `kernel`.
    pub file: &'r str,
}

fn replay_command(kernel: &str, file: &str) -> String {
    format!("gupfuzz replay --kernel {} {}", quote(kernel, true), quote_path(file))
}

/// What KASAN would call a write.
fn is_write(event: &Event) -> bool {
    match *event {
        Event::Use { kind, .. } => kind.is_write() || kind == UseKind::Put,
        Event::TableUse { .. } | Event::TlbFill { .. } | Event::MightSleep => false,
        _ => true,
    }
}

fn schedule(prog: &Prog) -> String {
    match prog.schedule {
        ScheduleKind::Pos => format!("pos seed={:#x}", prog.seed),
        ScheduleKind::Bytes => "bytes".into(),
        ScheduleKind::Explicit => "explicit".into(),
    }
}

/// A task as a report names it.
fn task(task: u8) -> String {
    match usize::from(task) < NR_USER_TASKS {
        true => format!("task {task}"),
        false => task_name(task).into(),
    }
}

/// One word of a shell command.  Characters a terminal would obey, or that look like others, become escapes.
fn quote(word: &str, always: bool) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._/+-=:@%,".contains(c);
    let harmless = |c: char| c == ' ' || c.is_ascii_graphic() || c.is_alphanumeric();
    if !word.is_empty() && word.chars().all(plain) {
        return if always { format!("\"{word}\"") } else { word.into() };
    }
    if word.chars().all(|c| plain(c) || c == ' ') {
        return format!("\"{word}\"");
    }
    if word.chars().all(harmless) {
        return format!("'{}'", word.replace('\'', r"'\''"));
    }
    let mut quoted = String::from("$'");
    for c in word.chars() {
        match c {
            '\'' | '\\' => quoted.extend(['\\', c]),
            c if harmless(c) => quoted.push(c),
            c => _ = write!(quoted, "\\U{:08x}", u32::from(c)),
        }
    }
    quoted + "'"
}

fn quote_path(file: &str) -> String {
    match file.starts_with('-') {
        true => quote(&format!("./{file}"), false),
        false => quote(file, false),
    }
}

const RULE: &str = "==================================================================";

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The words are our own but for the names of files and kernels, which are quoted; still
        // nothing that reaches a terminal may control it.
        let mut safe = Safe(f);
        self.print(&mut safe)
    }
}

impl Report {
    fn print(&self, f: &mut impl Write) -> fmt::Result {
        let access = if self.write { "Write" } else { "Read" };
        writeln!(f, "{RULE}")?;
        writeln!(f, "BUG: {}: {} in {}", self.checker, self.kind, self.place)?;
        writeln!(f, "{access} of size 8 at addr {:016x} by task {}/{}", self.addr, self.comm, self.task)?;
        for title in &self.alternatives {
            writeln!(f, "In the same step: {title}")?;
        }
        if !self.trace.is_empty() {
            writeln!(f, "\nCall Trace:")?;
        }
        let width = self.trace.iter().map(|p| p.to_string().len()).max().unwrap_or(0);
        for place in &self.trace {
            writeln!(f, " {:width$}   {}", place.to_string(), place.site)?;
        }
        for (i, origin) in self.origins.iter().enumerate() {
            writeln!(f, "{}{origin}", if i == 0 { "\n" } else { "" })?;
        }
        for (i, line) in self.page.iter().enumerate() {
            writeln!(f, "{}{line}", if i == 0 { "\n" } else { "" })?;
        }
        if !self.timeline.rows.is_empty() {
            write!(f, "\n{}", self.timeline)?;
        }
        writeln!(f)?;
        for line in &self.argument {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "\nschedule: {}", self.schedule)?;
        writeln!(f, "replay:   {}", self.replay)?;
        writeln!(f, "{RULE}")
    }
}

/// Lets no control character but the end of line through.
struct Safe<'a, 'f>(&'a mut fmt::Formatter<'f>);

impl Write for Safe<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(i) = rest.find(|c: char| c.is_control() && c != '\n') {
            let (good, bad) = rest.split_at(i);
            let mut bad = bad.chars();
            self.0.write_str(good)?;
            bad.next().into_iter().try_for_each(|c| write!(self.0, "{}", c.escape_default()))?;
            rest = bad.as_str();
        }
        self.0.write_str(rest)
    }
}

#[cfg(feature = "cli")]
fn display<T: fmt::Display, S: serde::Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

#[cfg(test)]
mod tests;
