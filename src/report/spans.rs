// SPDX-License-Identifier: GPL-2.0-or-later
//! What lasts: calls, functions, locks held, interrupts off.

use super::history::History;
use super::words;
use crate::kernel::Errno;
use crate::limits::{NR_LOCKS, NR_TASKS};
use crate::trace::{Event, Func, Record};

/// What lasts from one step to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "cli", derive(serde::Serialize), serde(rename_all = "lowercase"))]
pub enum Kind {
    /// A call of the program.
    Call,
    /// A function of the kernel.
    Function,
    /// A lock that is held by one.
    Lock,
    /// A lock that is held by readers.
    Read,
    /// A lock that others hold is waited for.
    Wait,
    /// Interrupts of the CPU are off.
    Irq,
}

/// A call, a lock held, interrupts off.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
pub struct Span {
    /// What it is.
    pub kind: Kind,
    /// Whose.
    pub task: u8,
    /// The call as the program has it; the kernel's name of a function or lock.
    pub name: String,
    /// The step in which it begins.
    pub from: u32,
    /// The last step of it; that of the end of the run if it does not end before.
    pub to: u32,
    /// What a call returned; `None`: it did not.
    pub ret: Option<String>,
    /// How many of its kind it is inside of, or beside of: where to draw it.
    pub depth: usize,
}

/// The spans under way.
struct Open<'t> {
    h: &'t History<'t>,
    spans: Vec<Span>,
    calls: [Option<usize>; NR_TASKS],
    functions: [Vec<(Func, usize)>; NR_TASKS],
    locks: Vec<[Option<usize>; NR_TASKS]>,
    waits: [Option<(u8, usize)>; NR_TASKS],
    irqs: [Vec<usize>; NR_TASKS],
}

/// All spans of a run, in the order in which they begin.
pub(super) fn new(h: &History<'_>) -> Vec<Span> {
    let mut open = Open {
        h,
        spans: Vec::new(),
        calls: Default::default(),
        functions: Default::default(),
        locks: vec![Default::default(); NR_LOCKS],
        waits: Default::default(),
        irqs: Default::default(),
    };
    for i in 0..h.end() {
        // Between two steps functions return and call others: only those count that take a step.
        if matches!(h.records[i].event, Event::Step { .. }) {
            open.functions(i);
        }
        open.event(i);
    }
    (0..NR_TASKS).for_each(|task| open.leave(task, 0, h.end()));
    let last = h.records[..h.end()].last().map_or(0, |r| r.step);
    let mut spans = open.spans;
    spans.iter_mut().for_each(|span| span.to = span.to.min(last));
    spans
}

impl Open<'_> {
    fn begin(&mut self, kind: Kind, i: usize, name: String) -> usize {
        let (task, from) = (self.h.records[i].task, self.h.step(i));
        // Calls and functions nest; of the others each takes the first place that is free.
        let depth = match kind {
            Kind::Call => 0,
            Kind::Function => self.functions[usize::from(task)].len(),
            _ => {
                let busy = |depth| {
                    let here = |s: &Span| s.task == task && s.depth == depth && s.to >= from;
                    self.spans.iter().any(|s| here(s) && !matches!(s.kind, Kind::Call | Kind::Function))
                };
                (0..).find(|depth| !busy(*depth)).unwrap_or_default()
            }
        };
        self.spans.push(Span { kind, task, name, from, to: u32::MAX, ret: None, depth });
        self.spans.len() - 1
    }

    fn end(&mut self, span: Option<usize>, i: usize) {
        if let Some(span) = span {
            self.spans[span].to = self.h.step(i);
        }
    }

    /// Functions that the task left or entered since its last step.
    fn functions(&mut self, i: usize) {
        let task = usize::from(self.h.records[i].task);
        let stack = self.h.stack(i);
        let same = self.functions[task].iter().zip(stack).take_while(|((func, _), now)| func == *now).count();
        self.leave(task, same, i);
        for func in &stack[same..] {
            let span = self.begin(Kind::Function, i, func.name().into());
            self.functions[task].push((*func, span));
        }
    }

    /// A task left all but `outer` functions behind the last step it took before record `end`.
    fn leave(&mut self, task: usize, outer: usize, end: usize) {
        let step = |r: &Record| usize::from(r.task) == task && matches!(r.event, Event::Step { .. });
        let to = self.h.last(end, step).map_or(0, |i| self.h.step(i));
        for (_, span) in self.functions[task].split_off(outer) {
            self.spans[span].to = to;
        }
    }

    fn event(&mut self, i: usize) {
        let r = &self.h.records[i];
        let task = usize::from(r.task);
        match r.event {
            Event::CallBegin { .. } => self.calls[task] = Some(self.begin(Kind::Call, i, self.h.call_text(i))),
            Event::CallEnd { ret, .. } => {
                let span = self.calls[task].take();
                self.end(span, i);
                // Its functions have returned; the task may take no other step.
                self.leave(task, 0, i + 1);
                if let Some(span) = span {
                    self.spans[span].ret = Some(ret_text(ret));
                }
            }
            Event::LockContended { lock, .. } => {
                self.waits[task] = Some((lock, self.begin(Kind::Wait, i, words::lock(lock))));
            }
            Event::LockAcquired { lock, read, .. } => {
                if let Some((l, span)) = self.waits[task].take_if(|(l, _)| *l == lock) {
                    debug_assert_eq!(l, lock);
                    self.end(Some(span), i);
                }
                let kind = if read { Kind::Read } else { Kind::Lock };
                self.locks[usize::from(lock)][task] = Some(self.begin(kind, i, words::lock(lock)));
            }
            Event::LockRelease { lock, .. } => {
                let span = self.locks[usize::from(lock)][task].take();
                self.end(span, i);
            }
            Event::Irq { off: true } => {
                let span = self.begin(Kind::Irq, i, "interrupts off".into());
                self.irqs[task].push(span);
            }
            Event::Irq { off: false } => {
                let span = self.irqs[task].pop();
                self.end(span, i);
            }
            _ => {}
        }
    }
}

/// What a call returned, as strace has it.
pub fn ret_text(ret: i32) -> String {
    match Errno::name_of(ret) {
        Some(errno) if ret < 0 => format!("-{errno}"),
        _ => ret.to_string(),
    }
}
