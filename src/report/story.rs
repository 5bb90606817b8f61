// SPDX-License-Identifier: GPL-2.0-or-later
//! A whole run, step by step: what `gupfuzz explain` draws.

use super::counts::{Counts, PageState};
use super::history::History;
use super::spans::{self, Span};
use super::timeline::{self, Row, Subject, Timeline};
use super::words::{self, Scan};
use super::{Report, Run, Safe, replay_command, schedule, task};
use crate::limits::{NR_FRAMES, NR_IOMEM, NR_TASKS};
use crate::trace::{Event, Obj, Pfn, UseKind};
use std::fmt::{self, Write};

/// A task, which is a column of the picture.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
pub struct Lane {
    /// Its number.
    pub task: u8,
    /// What it is called.
    pub name: String,
}

/// A function that was active in a step.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
pub struct Frame {
    /// The kernel's name of it.
    pub func: &'static str,
    /// The place in the model: of the innermost that of the step, of others where they begin.
    pub site: String,
}

/// A step, which is a row of the picture.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
pub struct Step {
    /// Its number.
    pub step: u32,
    /// Who took it.
    pub task: u8,
    /// The functions the task was in, innermost first.
    pub stack: Vec<Frame>,
    /// What it announced.
    pub access: String,
    /// What it did, if there is more to say.
    pub text: Option<String>,
    /// It touches the page in question, or what else the violation is about.
    pub touches: bool,
    /// It gave the violation away.
    pub here: bool,
    /// The page in question after it.
    pub page: Option<PageState>,
}

/// The page in question.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
pub struct Page {
    /// Its frame.
    pub pfn: u8,
    /// The generation that its user believes to hold, if there was a violation.
    pub took: Option<u16>,
    /// The generation it was in then.
    pub now: Option<u16>,
}

/// A run, told step by step.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
pub struct Story {
    /// The title of a violation, `silent` or `cut`.
    pub verdict: String,
    /// The kernel it ran on.
    pub kernel: String,
    /// How the steps were picked.
    pub schedule: String,
    /// The command that does it again.
    pub replay: String,
    /// The interleaving that ran, as text.
    pub program: String,
    /// What the violation is.
    pub report: Option<Report>,
    /// The page that the timeline is about.
    pub page: Option<Page>,
    /// Who did what to it when.
    pub timeline: Timeline,
    /// Everybody who took a step.
    pub lanes: Vec<Lane>,
    /// All steps.
    pub steps: Vec<Step>,
    /// What lasts.
    pub spans: Vec<Span>,
}

impl Story {
    /// Tells a run.  It is about the page of the violation, else about `pfn`, else about the one with
    /// which most happened.
    pub fn new(run: &Run<'_>, pfn: Option<Pfn>) -> Story {
        let Run { violation, records, stacks, prog, kernel, file, .. } = *run;
        let report = violation.map(|v| Report::new(v, records, stacks, prog, kernel, file));
        let h = match violation {
            Some(v) => History::new(v, records, stacks, prog),
            None => History::quiet(records, stacks, prog),
        };
        let subject = match violation {
            Some(v) => timeline::subject(v),
            None => pfn.or_else(|| busiest(&h)).map_or(Subject::Nothing, |pfn| Subject::Frame(pfn, None)),
        };
        let pfn = if let Subject::Frame(pfn, _) = subject { Some(pfn) } else { None };
        let generation = |which: u16| pfn.filter(|pfn| pfn.valid()).map(|_| which);
        let page = pfn.map(|pfn| Page {
            pfn: pfn.0,
            took: violation.and_then(|v| generation(v.took)),
            now: violation.and_then(|v| generation(v.now)),
        });
        let steps = steps(&h, subject, pfn, violation.map(|v| v.kind));
        let there = |t: &u8| steps.iter().any(|s| s.task == *t);
        let lanes = (0..NR_TASKS as u8).filter(there).map(|t| Lane { task: t, name: task(t) }).collect();
        let timeline = match (&report, pfn) {
            (Some(report), _) => report.timeline.clone(),
            (None, Some(pfn)) => timeline::of_frame(&h, pfn),
            (None, None) => Timeline::default(),
        };
        Story {
            verdict: report.as_ref().map_or(if run.cut { "cut" } else { "silent" }.into(), |r| r.title.clone()),
            kernel: kernel.into(),
            schedule: schedule(prog),
            replay: replay_command(kernel, file),
            program: prog.to_string(),
            report,
            page,
            timeline,
            lanes,
            steps,
            spans: spans::new(&h),
        }
    }
}

/// The frame with which most happened before everything was closed: that which most tasks touched,
/// was pinned most often, has most events.
fn busiest(h: &History<'_>) -> Option<Pfn> {
    let mut score = [(0_u32, 0_u32, 0_u32, 0_u16); NR_FRAMES + NR_IOMEM];
    let calls_end = h.last(h.end(), |r| matches!(r.event, Event::CallEnd { .. })).unwrap_or(0);
    for r in &h.records[..calls_end] {
        let Some(pfn) = words::pfn(&r.event) else { continue };
        let (tasks, pins, events, who) = &mut score[pfn.index()];
        *who |= 1 << r.task;
        *tasks = who.count_ones();
        *pins += u32::from(matches!(r.event, Event::GupPin { .. }));
        *events += u32::from(!matches!(r.event, Event::Use { kind: UseKind::Put, .. }));
    }
    let most = (0..score.len()).rev().max_by_key(|i| (score[*i].0, score[*i].1, score[*i].2))?;
    (score[most].2 > 0).then_some(Pfn(most as u8))
}

/// All steps, each with what is best said of it.
fn steps(h: &History<'_>, subject: Subject, pfn: Option<Pfn>, kind: Option<&str>) -> Vec<Step> {
    let mut rows = timeline::rows(h, subject, 0, kind).into_iter().peekable();
    let mut scans: Vec<Scan> = (0..NR_FRAMES + NR_IOMEM).map(|_| Scan::default()).collect();
    let mut counts = pfn.map(Counts::new);
    let mut steps: Vec<Step> = Vec::new();
    let mut entry = Obj::NONE;
    // What else is said of the step.
    let mut other: Option<Row> = None;
    for (i, r) in h.records[..h.end()].iter().enumerate() {
        if let Event::Step { obj, access } = r.event {
            entry = obj;
            other = None;
            let stack = stack(h, i);
            let access = words::access(obj, access);
            let page = counts.as_ref().map(|c| c.state);
            let (text, touches, here) = (None, false, false);
            steps.push(Step { step: r.step, task: r.task, stack, access, text, touches, here, page });
        }
        if let Some(counts) = &mut counts {
            counts.event(&r.event);
        }
        let Some(step) = steps.last_mut().filter(|s| s.step == r.step) else { continue };
        step.page = counts.as_ref().map(|c| c.state);
        step.here |= i == h.here && !h.at_end;
        let say = match words::pfn(&r.event) {
            Some(pfn) => scans[pfn.index()].frame(r, pfn, entry),
            None => words::of_others(r),
        };
        if let Some((weight, text)) = say {
            let row = Row { step: r.step, task: r.task, text: text.clone(), here: false, weight };
            other.get_or_insert(row).add(weight, text);
        }
        step.text = other.as_ref().map(|row| row.text.clone());
    }
    for step in &mut steps {
        if let Some(row) = rows.next_if(|row| row.step == step.step) {
            (step.text, step.touches) = (Some(row.text), true);
        }
        while rows.next_if(|row| row.step <= step.step).is_some() {}
    }
    steps
}

fn stack(h: &History<'_>, i: usize) -> Vec<Frame> {
    let innermost = |n: usize| if n == 0 { h.records[i].site } else { h.stack(i)[h.stack(i).len() - 1 - n].site() };
    let funcs = h.stack(i).iter().rev().enumerate();
    funcs.map(|(n, f)| Frame { func: f.name(), site: innermost(n).to_string() }).collect()
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(report) = &self.report {
            return report.fmt(f);
        }
        let f = &mut Safe(f);
        writeln!(f, "{} on {}", self.verdict, self.kernel)?;
        if let Some(page) = self.page {
            writeln!(f, "\nIt is told of pfn {}.\n", Pfn(page.pfn))?;
            write!(f, "{}", self.timeline)?;
        }
        writeln!(f, "\nschedule: {}", self.schedule)?;
        writeln!(f, "replay:   {}", self.replay)
    }
}
