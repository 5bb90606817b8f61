// SPDX-License-Identifier: GPL-2.0-or-later
//! `replay`: runs a program again, and holds what it says about itself.

use super::out::{name, print, say};
use super::{Error, ReplayArgs, Status, file, observe, out};
use gupfuzz::fixes::Spec;
use gupfuzz::fuzz::{Replay, explain, replay as run_again};
use gupfuzz::init::{Computer, Observe, Verdict, start_kernel};
use gupfuzz::limits::MAX_STEPS;
use gupfuzz::prog::{Prog, ScheduleKind};
use gupfuzz::report::{Report, json};
use serde::Serialize;
use std::path::Path;

/// Runs all files; the worst of them is the result.
pub(super) fn replay(args: &ReplayArgs) -> Status {
    let mut worst = Status::Silent;
    for path in &args.files {
        worst = worst.max(replay_file(args, path).unwrap_or_else(|error| {
            out::error(&error);
            Status::Unusable
        }));
    }
    worst
}

/// A kernel to run a program on, and what is to happen there.
struct Trial<'a> {
    kernel: Spec,
    /// The title of a violation.
    expect: Option<&'a str>,
    /// Nothing at all.
    silent: bool,
}

impl Trial<'_> {
    /// What was to happen and did not; `found` is a title, `silent` or `cut`.
    fn missed(&self, found: &str) -> Option<&str> {
        match self.expect {
            _ if self.silent && found != "silent" => Some("silence"),
            Some(title) if title != found => Some(title),
            _ => None,
        }
    }
}

fn replay_file(args: &ReplayArgs, path: &Path) -> Result<Status, Error> {
    let (script, _) = file::read(path)?;
    let (own, silent) = file::kernels(path, &script)?;
    let expect = script.expect.as_deref();
    let trials: Vec<Trial> = match &args.kernel {
        Some(kernel) => vec![Trial {
            kernel: kernel.clone(),
            expect: expect.filter(|_| kernel.fixes == own.fixes),
            silent: silent.iter().any(|s| s.fixes == kernel.fixes),
        }],
        None => {
            let quiet = silent.into_iter().map(|kernel| Trial { kernel, expect: None, silent: true });
            std::iter::once(Trial { kernel: own, expect, silent: false }).chain(quiet).collect()
        }
    };
    let prefix = if args.files.len() > 1 { format!("{}: ", name(path)) } else { String::new() };
    let mut worst = Status::Silent;
    for (i, trial) in trials.iter().enumerate() {
        let mut computer = start_kernel(trial.kernel.fixes);
        let (run, differs) = run_twice(&mut computer, &script.prog, trial.expect);
        if i == 0 {
            show_run(args, &run);
        }
        worst = worst.max(match args.json {
            true => print_json(trial, &run, path),
            false => judge(trial, &run, path, &prefix),
        });
        worst = worst.max(differs.map_or(Status::Silent, |differs| differs.tell(path)));
    }
    Ok(worst)
}

/// A program did not do the same twice: a bug of ours.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Differs {
    /// What it did first, as [`word`] has it.
    pub(super) first: String,
    pub(super) then: String,
}

impl Differs {
    /// Says so, plainly.
    pub(super) fn tell(&self, path: &Path) -> Status {
        let Differs { first, then } = self;
        let text = "a program does not do the same twice, which is a bug of gupfuzz";
        out::error(&format!("{}: {text}: first {first}, then {then}", name(path)));
        Status::Broken
    }
}

/// Runs the whole burst, then the seed that tells most once more, to keep its events.
pub(super) fn run_twice(computer: &mut Computer, prog: &Prog, expect: Option<&str>) -> (Replay, Option<Differs>) {
    let (seed, first) = pick_seed(computer, prog, expect);
    again(computer, prog, seed, &first)
}

/// Runs a seed that came to `first` before.
pub(super) fn again(computer: &mut Computer, prog: &Prog, seed: u32, first: &str) -> (Replay, Option<Differs>) {
    let run = run_again(computer, prog, seed);
    let then = word(&run.outcome.verdict);
    let differs = (then != first).then(|| Differs { first: first.into(), then });
    (run, differs)
}

/// The seed of the burst that tells most, and what it came to: the one that shows what is expected, else
/// a violation, else one that was cut.
fn pick_seed(computer: &mut Computer, prog: &Prog, expect: Option<&str>) -> (u32, String) {
    let burst = if prog.schedule == ScheduleKind::Pos { u32::from(prog.burst.max(1)) } else { 1 };
    let (mut violation, mut cut, mut silent) = (None, None, None);
    for seed in (0..burst).map(|i| prog.seed.wrapping_add(i)) {
        let outcome = computer.run(prog, seed, Observe::Oracles);
        let best = match &outcome.verdict {
            Verdict::Violation(v) if expect.is_none_or(|title| v.title() == title) => return (seed, v.title()),
            Verdict::Violation(_) => &mut violation,
            Verdict::Cut => &mut cut,
            Verdict::Silent => &mut silent,
        };
        best.get_or_insert_with(|| (seed, word(&outcome.verdict)));
    }
    violation.or(cut).or(silent).expect("a burst is not empty")
}

/// A title, `silent` or `cut`.
pub(super) fn word(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Violation(v) => v.title(),
        Verdict::Cut => "cut".into(),
        Verdict::Silent => "silent".into(),
    }
}

/// Tells of a program without a violation that there is nothing to do with it.
pub(super) fn tell_nothing(verdict: &Verdict, kernel: &Spec, nothing: &str) {
    match verdict {
        Verdict::Cut => say!("cut on {kernel} after {MAX_STEPS} steps, neither silent nor a violation: {nothing}"),
        _ => say!("silent on {kernel}: {nothing}"),
    }
}

fn show_run(args: &ReplayArgs, run: &Replay) {
    if args.steps {
        observe::steps(run);
    }
    if args.observe {
        observe::calls(run);
    }
}

/// A run as a line of JSON.
#[derive(Serialize)]
struct Line<'a> {
    file: &'a str,
    kernel: String,
    /// A title, `silent` or `cut`.
    verdict: &'a str,
    /// What it was to be; null: nothing was said.
    expected: Option<&'a str>,
    /// It was not that.
    missed: bool,
    report: Option<Report>,
}

/// What a program did on a kernel, and how bad that is.
fn verdict(run: &Replay) -> (String, Status) {
    let status = match &run.outcome.verdict {
        Verdict::Violation(_) => Status::Violation,
        Verdict::Cut | Verdict::Silent => Status::Silent,
    };
    (word(&run.outcome.verdict), status)
}

fn print_json(trial: &Trial<'_>, run: &Replay, path: &Path) -> Status {
    let (found, status) = verdict(run);
    let file = path.to_string_lossy();
    let expected = if trial.silent { Some("silent") } else { trial.expect };
    let missed = trial.missed(&found).is_some();
    let (kernel, report) = (trial.kernel.to_string(), explain(run, &trial.kernel, &file));
    say!("{}", json::line(&Line { file: &file, kernel, verdict: &found, expected, missed, report }));
    if missed { Status::NotMet } else { status }
}

/// Tells what a program did on a kernel, and whether it was to do that.
fn judge(trial: &Trial<'_>, run: &Replay, path: &Path, prefix: &str) -> Status {
    let kernel = &trial.kernel;
    let (found, status) = verdict(run);
    match &run.outcome.verdict {
        Verdict::Violation(_) => {
            if let Some(report) = explain(run, kernel, &path.to_string_lossy()) {
                print(format_args!("{prefix}{}{report}", if prefix.is_empty() { "" } else { "\n" }));
            }
        }
        Verdict::Cut => say!("{prefix}cut on {kernel} after {MAX_STEPS} steps: neither silent nor a violation"),
        Verdict::Silent => say!("{prefix}silent on {kernel}"),
    }
    match trial.missed(&found) {
        Some(expected) => {
            say!("{prefix}not met: expected {expected} on {kernel}, found {found}");
            Status::NotMet
        }
        None => status,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_run_is_neither_silent_nor_a_violation() {
        let trial = |expect, silent| Trial { kernel: Spec::default(), expect, silent };
        assert_eq!(trial(Some("cut"), false).missed("cut"), None);
        assert_eq!(trial(Some("cut"), false).missed("silent"), Some("cut"));
        assert_eq!(trial(Some("silent"), false).missed("cut"), Some("silent"));
        assert_eq!(trial(Some("silent"), false).missed("silent"), None);
        assert_eq!(trial(Some("x in y"), false).missed("cut"), Some("x in y"));
        assert_eq!(trial(None, true).missed("cut"), Some("silence"));
        assert_eq!(trial(None, true).missed("silent"), None);
        assert_eq!(trial(None, false).missed("cut"), None);
    }

    #[test]
    fn who_does_not_do_the_same_twice_is_told() {
        let text = "0: mmap(addr=va8, len=1, prot=r|w, map=anon)\n0: store(addr=va8, value=1)\n\
                    0: pin_user_pages(pins=g0, addr=va8, len=1, flags=write)\n0: mprotect(addr=va8, len=1, prot=r)\n\
                    0: mprotect(addr=va8, len=1, prot=r|w)\n0: store(addr=va8, value=2)\n\
                    0: pins_write(pins=g0, value=3)\n0: load(addr=va8)\n";
        let prog = gupfuzz::prog::Script::parse(text).unwrap().prog;
        let computer = |kernel: &str| start_kernel(kernel.parse::<Spec>().unwrap().fixes);
        // No program does that; another kernel the second time looks the same.
        let mut broken = computer("newest -wp-exclusive");
        let (seed, first) = pick_seed(&mut broken, &prog, None);
        assert_eq!(again(&mut broken, &prog, seed, &first).1, None);
        let (run, differs) = again(&mut computer("newest"), &prog, seed, &first);
        let then = String::from("silent");
        assert_eq!(differs, Some(Differs { first: "lost-write in change_pte_range".into(), then }));
        assert!(run.outcome.is_silent());
        assert_eq!(differs.unwrap().tell(Path::new("a.prog")), Status::Broken);
        assert_eq!(run_twice(&mut broken, &prog, None).1, None);
    }
}
