// SPDX-License-Identifier: GPL-2.0-or-later
//! What a step costs: nanoseconds, instructions where valgrind is installed, heap allocations.
//!
//! `cargo bench`, or `cargo bench -- 4 16` for 4 tasks and 16 calls alone.  Nanoseconds are the best of
//! several rounds; a machine that does something else at the same time spoils them, instructions not.

use gupfuzz::init::{Computer, Observe, start_kernel};
use gupfuzz::prog::{Generator, Prog, Rec, target};
use std::process::{Command, Stdio};
use std::time::Instant;

const TASKS: &[u8] = &[2, 4, 8];
const CALLS: &[usize] = &[8, 16, 32, 64];
const PROGRAMS: usize = 64;
const ROUNDS: usize = 15;

/// Programs of so many calls, made by so many tasks in turn; many of them marked as racing.
fn programs(tasks: u8, calls: usize) -> Vec<Prog> {
    let mut generator = Generator::new(target("ttm").expect("a target"), 42);
    let mut part = Prog::default();
    (0..PROGRAMS)
        .map(|i| {
            let mut prog = Prog { seed: i as u32, ..Prog::default() };
            while prog.records.len() < calls {
                generator.generate(&mut part);
                for call in part.calls().take(calls - prog.records.len()) {
                    // Generated programs have few tasks, whatever their length.
                    let task = prog.records.len() as u8 % tasks;
                    prog.records.push(Rec::Call(gupfuzz::prog::Call { task, ..*call }));
                }
            }
            prog
        })
        .collect()
}

/// Runs all programs once; steps taken and the sum of their call depths.
fn run_all(computer: &mut Computer, programs: &[Prog], observe: Observe) -> (u64, u64) {
    programs.iter().fold((0, 0), |(steps, depths), prog| {
        let outcome = computer.run(prog, prog.seed, observe);
        (steps + u64::from(outcome.steps), depths + outcome.depth_sum)
    })
}

/// Best nanoseconds a step.
fn time(programs: &[Prog], observe: Observe) -> f64 {
    let mut computer = start_kernel(Default::default());
    run_all(&mut computer, programs, observe);
    (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            let (steps, _) = run_all(&mut computer, programs, observe);
            start.elapsed().as_nanos() as f64 / steps as f64
        })
        .fold(f64::INFINITY, f64::min)
}

/// Heap allocations a program and a step, when everything is warm.
fn allocations(programs: &[Prog]) -> (f64, f64) {
    let mut computer = start_kernel(Default::default());
    run_all(&mut computer, programs, Observe::Oracles);
    let mut steps = 0;
    let info = allocation_counter::measure(|| steps = run_all(&mut computer, programs, Observe::Oracles).0);
    (info.count_total as f64 / programs.len() as f64, info.count_total as f64 / steps as f64)
}

/// Instructions a step: what valgrind counts for three rounds less what it counts for one.
fn instructions(tasks: u8, calls: usize, observe: &str) -> Option<f64> {
    let count = |rounds: &str| {
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(std::env::current_exe().ok()?)
            .args(["--count", &tasks.to_string(), &calls.to_string(), observe, rounds])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .output()
            .ok()?;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let refs = stderr.lines().find_map(|l| l.split("refs:").nth(1))?;
        let steps: f64 = String::from_utf8_lossy(&output.stdout).trim().parse().ok()?;
        Some((refs.trim().replace(',', "").parse::<f64>().ok()?, steps))
    };
    let ((few, few_steps), (many, many_steps)) = (count("1")?, count("3")?);
    Some((many - few) / (many_steps - few_steps))
}

/// Run by [`instructions`] under valgrind: prints the number of steps.
fn count(args: &[String]) {
    let (tasks, calls) = (args[0].parse().expect("tasks"), args[1].parse().expect("calls"));
    let observe = if args[2] == "bare" { Observe::Bare } else { Observe::Oracles };
    let programs = programs(tasks, calls);
    let mut computer = start_kernel(Default::default());
    let rounds: usize = args[3].parse().expect("rounds");
    let steps: u64 = (0..rounds).map(|_| run_all(&mut computer, &programs, observe).0).sum();
    println!("{steps}");
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if let Some(at) = args.iter().position(|a| a == "--count") {
        return count(&args[at + 1..]);
    }
    let only: Vec<usize> = args.iter().filter_map(|a| a.parse().ok()).collect();
    println!(
        "tasks calls  steps/program  depth   ns/step (bare)   instructions/step (bare)   allocations/program  /step"
    );
    for &tasks in TASKS {
        for &calls in CALLS {
            if only.len() == 2 && only != [tasks as usize, calls] {
                continue;
            }
            let programs = programs(tasks, calls);
            let (steps, depths) = run_all(&mut start_kernel(Default::default()), &programs, Observe::Oracles);
            let (full, bare) = (time(&programs, Observe::Oracles), time(&programs, Observe::Bare));
            let show = |n: Option<f64>| n.map_or_else(|| "-".to_owned(), |n| format!("{n:.0}"));
            let counted = (instructions(tasks, calls, "oracles"), instructions(tasks, calls, "bare"));
            let (a_program, a_step) = allocations(&programs);
            println!(
                "{tasks:>5} {calls:>5} {:>14.1} {:>6.2} {full:>9.0} {:>7} {:>17} {:>9} {a_program:>20.2} {a_step:>6.3}",
                steps as f64 / PROGRAMS as f64,
                depths as f64 / steps as f64,
                format!("({bare:.0})"),
                show(counted.0),
                format!("({})", show(counted.1)),
            );
        }
    }
}
