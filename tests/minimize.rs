// SPDX-License-Identifier: GPL-2.0-or-later
//! What the minimizer makes: the same violation, a fixed point, never larger, short enough to read.

use gupfuzz::fixes::Spec;
use gupfuzz::fuzz::{Campaign, Finding, Found, Options, bisect, minimize, turns};
use gupfuzz::init::{Computer, Observe, start_kernel};
use gupfuzz::kernel::Errno;
use gupfuzz::limits::NR_TASKS;
use gupfuzz::prog::{Call, Generator, Prog, Rec, ScheduleKind, Script, mutate, target};
use gupfuzz::trace::{Event, Obj, Site};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn spec(text: &str) -> Spec {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn title(prog: &Prog, kernel: &Spec) -> Option<String> {
    start_kernel(kernel.fixes).run_burst(prog, |_| ()).violation().map(|v| v.title())
}

/// Calls and context switches of what is left.
fn small(name: &str, script: &Script, kernel: &Spec) -> (usize, usize) {
    let silent: Vec<Spec> = script.silent.iter().map(|text| spec(text)).collect();
    let expected = title(&script.prog, kernel).unwrap_or_else(|| panic!("{name} is silent on {kernel}"));
    let first = minimize(script, kernel, &silent, &mut |_| true).unwrap_or_else(|| panic!("{name}: nothing shown"));
    let text = first.to_string();
    let again = Script::parse(&text).unwrap_or_else(|e| panic!("{name}: {e}\n{text}"));
    assert_eq!(again.prog, first.script.prog, "{name}");

    let kernel = spec(again.kernel.as_deref().expect("it names its kernel"));
    assert_eq!(again.expect.as_deref(), Some(expected.as_str()), "{name}");
    assert_eq!(title(&again.prog, &kernel).as_ref(), Some(&expected), "{name}\n{text}");
    let silent: Vec<Spec> = again.silent.iter().map(|text| spec(text)).collect();
    for other in &silent {
        assert_eq!(title(&again.prog, other), None, "{name} on {other}\n{text}");
    }
    assert_eq!(again.prog.schedule, ScheduleKind::Explicit, "{name}");
    let calls = again.prog.calls().count();
    assert!(calls <= script.prog.calls().count(), "{name}: larger\n{text}");
    if script.prog.schedule == ScheduleKind::Explicit {
        assert!(again.prog.records.len() <= script.prog.records.len(), "{name}: larger\n{text}");
    }
    let second = minimize(&again, &kernel, &silent, &mut |_| true).expect("it still shows it");
    assert_eq!(second.to_string(), text, "{name}: no fixed point");
    (calls, again.prog.switches())
}

fn median(mut all: Vec<usize>) -> usize {
    all.sort_unstable();
    all[all.len() / 2]
}

/// The half of them is short enough to be read at one glance.
fn short_enough(sizes: Vec<(usize, usize)>) {
    let (calls, switches): (Vec<usize>, Vec<usize>) = sizes.iter().copied().unzip();
    let most = |all: &[usize]| all.iter().copied().max().unwrap_or(0);
    let (most_calls, most_switches) = (most(&calls), most(&switches));
    let (calls, switches) = (median(calls), median(switches));
    println!(
        "{} programs: median {calls} calls, {switches} context switches; most {most_calls} and {most_switches}",
        sizes.len()
    );
    assert!(calls <= 8 && switches <= 3, "median: {calls} calls, {switches} switches");
}

fn corpus(folder: &str) -> impl Iterator<Item = (PathBuf, Script)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(folder);
    let mut paths: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let programs = paths.into_iter().filter(|path| path.extension().is_some_and(|e| e == "prog"));
    programs.map(|path| {
        let script = Script::parse(&fs::read_to_string(&path).unwrap()).unwrap();
        (path, script)
    })
}

/// Calls that `cargo fuzz tmin` leaves, which tries any bytes in the place of two calls.
const AS_SMALL_AS_TMIN: [(&str, usize); 4] = [
    ("ttm_huge_fault_dio.prog", 5),
    ("ttm_huge_fault_dio_race.prog", 5),
    ("pmd-special.prog", 4),
    ("ttm-order-ptes.prog", 4),
];

fn minimize_folder(folder: &str) {
    let firing = corpus(folder).filter(|(_, script)| script.expect.is_some());
    let sizes = firing.map(|(path, script)| {
        let kernel = spec(script.kernel.as_deref().unwrap_or("newest"));
        let (calls, switches) = small(&path.display().to_string(), &script, &kernel);
        for (name, most) in AS_SMALL_AS_TMIN {
            if path.ends_with(name) {
                assert!(calls <= most && switches <= 2, "{name}: {calls} calls, {switches} switches");
            }
        }
        (calls, switches)
    });
    short_enough(sizes.collect());
}

#[test]
fn stories() {
    minimize_folder("stories");
}

#[test]
fn programs_of_the_fix_table() {
    minimize_folder("regress");
}

/// Violations as a search meets them: not the smallest, at most `most` of a title and seed.
fn found(kernel: &str, name: &str, seed: u64, programs: u64, most: usize) -> Vec<Found> {
    let options = Options { keep_going: false, ..Options::default() };
    let mut campaign = Campaign::new(target(name).unwrap(), &spec(kernel), seed, options);
    let mut by_title: BTreeMap<String, Vec<Found>> = BTreeMap::new();
    while campaign.counts().programs < programs {
        if let Some(found) = campaign.run(programs - campaign.counts().programs) {
            let all = by_title.entry(found.violation.title()).or_default();
            if all.len() < most {
                all.push(found.clone());
            }
        }
    }
    by_title.into_values().flatten().collect()
}

fn minimize_found(seeds: u64, programs: u64, most: usize) {
    let mut sizes = Vec::new();
    for kernel in ["v5.7", "v5.10", "v5.12"] {
        for name in ["ttm", "mm"] {
            for seed in 0..seeds {
                for found in found(kernel, name, seed, programs, most) {
                    let script = Script { prog: found.prog.clone(), ..Script::default() };
                    let name = format!("{} on {kernel}\n{}", found.violation.title(), found.prog);
                    sizes.push(small(&name, &script, &spec(kernel)));
                }
            }
        }
    }
    short_enough(sizes);
}

#[test]
fn what_a_search_finds() {
    minimize_found(1, 600, 1);
}

#[test]
#[ignore = "takes minutes: some 200 violations, for the figures"]
fn what_a_long_search_finds() {
    minimize_found(3, 20_000, 3);
}

/// The steps of a run up to its epilogue.
fn steps(computer: &mut Computer, prog: &Prog) -> Vec<(u8, Site, Obj)> {
    let outcome = computer.run(prog, prog.seed, Observe::Keep);
    let steps = computer.take_trace().0.into_iter().filter_map(|record| match record.event {
        Event::Step { obj, .. } if record.step <= outcome.own_steps => Some((record.task, record.site, obj)),
        _ => None,
    });
    steps.collect()
}

/// Whether a call waited until nobody could run: the explicit form lets it wait on, for a later record may end that.
fn interrupted(computer: &mut Computer, prog: &Prog) -> bool {
    computer.run(prog, prog.seed, Observe::Keep);
    let eintr = -(Errno::EINTR as i32);
    computer.take_trace().0.iter().any(|record| matches!(record.event, Event::CallEnd { ret, .. } if ret == eintr))
}

/// Turns a program into an explicit one, whose calls are interrupted here and there.
fn suspend_some(prog: &mut Prog, rng: &mut fastrand::Rng) {
    (prog.schedule, prog.seed, prog.burst) = (ScheduleKind::Explicit, 0, 1);
    let mut records = Vec::new();
    for rec in &prog.records {
        let Rec::Call(call) = *rec else { continue };
        records.push(Rec::Call(Call { steps: rng.u8(0..12), ..call }));
        if rng.bool() {
            records.push(Rec::Resume { task: rng.u8(0..NR_TASKS as u8), steps: rng.u8(0..12) });
        }
    }
    prog.records = records;
}

#[test]
fn every_schedule_has_its_explicit_form() {
    for name in ["ttm", "mm"] {
        let mut generator = Generator::new(target(name).unwrap(), 7);
        let mut rng = fastrand::Rng::with_seed(7);
        let mut prog = Prog::default();
        let mut fitting = BTreeMap::new();
        for i in 0..800 {
            generator.generate(&mut prog);
            for _ in 0..i % 8 {
                mutate(&mut prog, &mut rng, &generator);
            }
            if i % 4 == 3 {
                suspend_some(&mut prog, &mut rng);
            }
            let mut computer = start_kernel(spec(if i % 2 == 0 { "newest" } else { "v5.12" }).fixes);
            let turns = turns(&mut computer, &prog);
            if interrupted(&mut computer, &prog) {
                continue;
            }
            if let Some(explicit) = prog.explicit(&turns) {
                assert_eq!(steps(&mut computer, &explicit), steps(&mut computer, &prog), "{prog}\n{explicit}");
                *fitting.entry(prog.schedule as u8).or_insert(0) += 1;
            }
        }
        println!("{name}: {fitting:?}");
        assert!(fitting.len() == 3 && fitting.values().all(|n| *n > 20), "{name}: {fitting:?} of the schedules fit");
    }
}

const RACE: &str = include_str!("../corpus/stories/ttm_huge_fault_dio_race.prog");

#[test]
fn who_is_interrupted_leaves_the_best_so_far() {
    let script = Script::parse(RACE).unwrap();
    let kernel = spec("v5.12");
    let whole = minimize(&script, &kernel, &[], &mut |_| true).unwrap();
    let mut sizes = Vec::new();
    for enough in [0, 256, 512, 1024, 2048] {
        let part = minimize(&script, &kernel, &[], &mut |progress| progress.runs < enough).unwrap();
        assert!(part.runs <= enough + 64, "{} interleavings after {enough}", part.runs);
        assert_eq!(title(&part.script.prog, &kernel), script.expect);
        sizes.push(part.script.prog.calls().count());
    }
    assert!(sizes.is_sorted_by(|a, b| a >= b) && sizes[0] > whole.script.prog.calls().count(), "{sizes:?}");
}

#[test]
fn shifted_steps_are_found_again() {
    let script = Script::parse(RACE).unwrap();
    let kernel = spec("v5.12");
    let mut small = minimize(&script, &kernel, &[], &mut |_| true).unwrap();
    let text = small.to_string();
    let steps = text.split("steps ").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("it has a switch");
    let shifted = text.replace(&format!("steps {steps}"), "steps 1");
    small.script = Script::parse(&shifted).unwrap();
    assert_eq!(title(&small.script.prog, &kernel), None, "{shifted}");
    let again = minimize(&small.script, &kernel, &[], &mut |_| true).expect("found again");
    assert_eq!(again.to_string(), text);
}

#[test]
fn who_is_interrupted_while_it_looks_has_nothing() {
    let mut script = Script::parse(RACE).unwrap();
    script.expect = Some("double-free in nothing".into());
    let mut asked = 0;
    let small = minimize(&script, &spec("newest"), &[], &mut |_| {
        asked += 1;
        asked < 3
    });
    assert_eq!((small, asked), (None, 3));
    let bisection = bisect(&script.prog, &spec("newest"), "double-free in nothing", &mut || false);
    assert!(bisection.releases.iter().chain([&bisection.base]).all(|row| row.finding == Finding::Unknown));
    assert_eq!(bisection.silent().count(), 0);
}

#[test]
fn a_bisection_tells_fixes_from_proposals() {
    let script = Script::parse(RACE).unwrap();
    let prog = Prog { seed: 0xc, burst: 1, ..script.prog };
    let bisection = bisect(&prog, &spec("v5.12"), "use-after-recycle in dma_write", &mut || true);
    assert!(bisection.base.finding.has_it());
    let has: Vec<String> =
        bisection.releases.iter().filter(|r| r.finding.has_it()).map(|r| r.kernel.to_string()).collect();
    assert_eq!(has, ["v5.7", "v5.10", "v5.12"]);
    let enders: Vec<&str> = bisection.enders().map(|change| change.entry.name).collect();
    for name in ["ttm-no-huge-faults", "pmd-special", "ttm-pfn-map", "ttm-order-ptes"] {
        assert!(enders.contains(&name), "{name} is not in {enders:?}");
    }
    assert!(bisection.changes.iter().any(|change| change.row.finding == Finding::Elsewhere), "steps shift somewhere");
}
