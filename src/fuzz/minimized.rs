// SPDX-License-Identifier: GPL-2.0-or-later
//! A violation's program made small, as a file that speaks for itself.

use super::{bisect, single};
use crate::fixes::Spec;
use crate::init::{Computer, Observe, start_kernel};
use crate::prog::{Judge, Prog, ScheduleKind, Script, Turn, minimize as minimize_prog};
use crate::trace::Event;
use std::fmt;

/// Interleavings of the same calls that are tried when a program no longer shows its `expect:`.
const SEEDS: u32 = 4096;

/// How far a minimization is.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'p> {
    /// Interleavings executed.
    pub runs: u64,
    /// The smallest program so far.
    pub best: &'p Prog,
}

/// A small program and what it shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Minimized {
    /// The program with its headers.
    pub script: Script,
    /// Interleavings executed.
    pub runs: u64,
}

impl fmt::Display for Minimized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Script { prog, expect, .. } = &self.script;
        let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        write!(f, "# {}: ", expect.as_deref().unwrap_or_default())?;
        write!(f, "{}", count(prog.calls().count(), "call"))?;
        if prog.schedule == ScheduleKind::Explicit {
            let switches = prog.switches();
            write!(f, ", {}", count(switches, "context switch").replace("hs", "hes"))?;
        }
        writeln!(f, "; made small by `gupfuzz minimize`.")?;
        write!(f, "{}", self.script)
    }
}

/// Makes a program small, and its kernel spec short, that shows a violation there.
///
/// It keeps the title, that of `expect:` if the program shows it, and stays silent on those kernels of
/// `silent` on which it is silent now.  `watch` hears how far it is; it ends early when that
/// says `false`, with the best program so far.
///
/// `None`: there is no violation, or it ended before one was found again.
pub fn minimize(
    script: &Script,
    kernel: &Spec,
    silent: &[Spec],
    watch: &mut dyn FnMut(Progress<'_>) -> bool,
) -> Option<Minimized> {
    let (prog, title) = shown(script, kernel, watch)?;
    let is_silent = |spec: &&Spec| start_kernel(spec.fixes).run(&prog, prog.seed, Observe::Oracles).is_silent();
    let silent: Vec<Spec> = silent.iter().filter(is_silent).cloned().collect();
    let mut work = Work {
        computer: start_kernel(kernel.fixes),
        quiet: silent.iter().map(|spec| start_kernel(spec.fixes)).collect(),
        title,
        runs: 0,
        best: prog,
        watch,
        stopped: false,
    };
    let mut kernel = kernel.clone();
    loop {
        let before = work.best.clone();
        let shorter = work.shorten(&mut kernel);
        work.best = minimize_prog(&before, &mut work);
        if work.best == before && !shorter {
            break;
        }
    }
    let Work { best: prog, title, runs, watch, stopped, .. } = work;
    let mut silent: Vec<String> = silent.iter().map(Spec::to_string).collect();
    if silent.is_empty() && !stopped {
        let (mut tried, mut on) = (0, true);
        let go_on = &mut || {
            tried += 1;
            on = on && now_and_then(runs + tried, &prog, watch);
            on
        };
        silent = bisect(&prog, &kernel, &title, go_on).silent().map(|spec| spec.to_string()).collect();
    }
    let script = Script { prog, kernel: Some(kernel.to_string()), silent, expect: Some(title), ..Script::default() };
    Some(Minimized { script, runs })
}

/// Tells how far it is each time that some more interleavings were executed; `false`: it is to end.
fn now_and_then(runs: u64, best: &Prog, watch: &mut dyn FnMut(Progress<'_>) -> bool) -> bool {
    !runs.is_multiple_of(64) || watch(Progress { runs, best })
}

/// The interleaving that shows the expected title, else one that shows any, and its title.
fn shown(script: &Script, kernel: &Spec, watch: &mut dyn FnMut(Progress<'_>) -> bool) -> Option<(Prog, String)> {
    let mut computer = start_kernel(kernel.fixes);
    let mut title = |prog: &Prog| computer.run(prog, prog.seed, Observe::Oracles).violation().map(|v| v.title());
    let burst = if script.prog.schedule == ScheduleKind::Pos { u32::from(script.prog.burst.max(1)) } else { 1 };
    let seeds = (0..burst).map(|i| single(&script.prog, script.prog.seed.wrapping_add(i)));
    let mut found = seeds.filter_map(|prog| title(&prog).map(|title| (prog, title))).collect::<Vec<_>>().into_iter();
    let Some(expected) = script.title() else { return found.next() };
    if let Some(found) = found.clone().find(|(_, title)| title == expected) {
        return Some(found);
    }
    // The steps of its runs are those of an older model.
    for (prog, runs) in script.prog.nearby(SEEDS).zip(1..) {
        if title(&prog).is_some_and(|title| title == expected) {
            return Some((prog, expected.into()));
        }
        if !now_and_then(runs, &script.prog, watch) {
            return None;
        }
    }
    found.next()
}

struct Work<'w> {
    computer: Computer,
    /// Kernels on which it has to stay silent.
    quiet: Vec<Computer>,
    title: String,
    runs: u64,
    best: Prog,
    watch: &'w mut dyn FnMut(Progress<'_>) -> bool,
    stopped: bool,
}

impl Work<'_> {
    /// Takes away changes of the kernel that do not matter.
    fn shorten(&mut self, kernel: &mut Spec) -> bool {
        let mut shorter = false;
        while !self.stopped
            && let Some(spec) = fewer_changes(kernel).into_iter().find(|spec| self.shows_on(spec))
        {
            (self.computer, shorter) = (start_kernel(spec.fixes), true);
            *kernel = spec;
        }
        shorter
    }

    fn shows_on(&mut self, spec: &Spec) -> bool {
        self.runs += 1;
        let outcome = start_kernel(spec.fixes).run(&self.best, self.best.seed, Observe::Oracles);
        outcome.violation().is_some_and(|v| v.title() == self.title)
    }
}

/// The release alone, then without one of the changes.
fn fewer_changes(kernel: &Spec) -> Vec<Spec> {
    let text = kernel.to_string();
    let words: Vec<&str> = text.split(' ').collect();
    let without = |gone: usize| words.iter().enumerate().filter(move |(i, _)| *i != gone).map(|(_, word)| *word);
    let texts = (1..words.len()).map(|gone| without(gone).collect::<Vec<_>>().join(" "));
    let alone = (words.len() > 1).then(|| words[0].to_owned());
    alone.into_iter().chain(texts).filter_map(|text| text.parse().ok()).collect()
}

impl Judge for Work<'_> {
    fn shows(&mut self, prog: &Prog) -> bool {
        if self.stopped {
            return false;
        }
        self.runs += 1;
        self.stopped = !now_and_then(self.runs, &self.best, self.watch);
        let outcome = self.computer.run(prog, prog.seed, Observe::Oracles);
        outcome.violation().is_some_and(|v| v.title() == self.title)
            && self.quiet.iter_mut().all(|computer| computer.run(prog, prog.seed, Observe::Oracles).is_silent())
    }

    fn turns(&mut self, prog: &Prog) -> Vec<Turn> {
        turns(&mut self.computer, prog)
    }

    fn better(&mut self, prog: &Prog) {
        self.best.clone_from(prog);
    }
}

/// Runs one interleaving of a program: who takes which step, the epilogue left out.
pub fn turns(computer: &mut Computer, prog: &Prog) -> Vec<Turn> {
    let outcome = computer.run(prog, prog.seed, Observe::Keep);
    let mut turns: Vec<Turn> = Vec::new();
    for record in computer.take_trace().0 {
        match record.event {
            Event::Step { .. } if record.step > outcome.own_steps => break,
            Event::Step { .. } => turns.push(Turn { task: record.task, ends: false }),
            Event::CallEnd { .. } => {
                if let Some(turn) = turns.last_mut() {
                    turn.ends = true;
                }
            }
            _ => {}
        }
    }
    turns
}
