// SPDX-License-Identifier: GPL-2.0-or-later
//! A step allocates nothing.

use gupfuzz::init::{Computer, Observe, start_kernel};
use gupfuzz::prog::{Generator, Prog, TARGETS, target};

fn programs(target: &'static gupfuzz::prog::Target) -> Vec<Prog> {
    let mut generator = Generator::new(target, 7);
    let mut make = || {
        let mut prog = Prog::default();
        generator.generate(&mut prog);
        prog
    };
    (0..300).map(|_| make()).collect()
}

/// Allocations and steps of a run of each program.
fn run_all(computer: &mut Computer, programs: &[Prog]) -> (u64, u64) {
    let (mut allocations, mut steps) = (0, 0);
    for prog in programs {
        allocations += allocation_counter::measure(|| {
            let outcome = computer.run(prog, prog.seed, Observe::Oracles);
            assert!(outcome.is_silent());
            steps += u64::from(outcome.steps);
        })
        .count_total;
    }
    (allocations, steps)
}

#[test]
fn what_ran_before_runs_without_an_allocation() {
    // Those that make no object of a driver, and ask no file system.
    let mut programs = programs(target("pin").unwrap());
    let others = ["userptr_", "ttm_", "dma_buf_", "devdax_", "=f4", "=f5", "=f6", "=f7"];
    programs.retain(|prog| others.iter().all(|other| !prog.to_string().contains(other)));
    assert!(programs.len() > 50, "{}", programs.len());
    let mut computer = start_kernel(Default::default());
    assert!(run_all(&mut computer, &programs).0 > 0, "nobody counts");
    let (allocations, steps) = run_all(&mut computer, &programs);
    assert_eq!(allocations, 0, "in {steps} steps");
}

#[test]
fn only_objects_and_callbacks_of_drivers_allocate() {
    for target in TARGETS {
        let programs = programs(target);
        let mut computer = start_kernel(Default::default());
        run_all(&mut computer, &programs);
        let (allocations, steps) = run_all(&mut computer, &programs);
        assert!(allocations * 12 < steps, "{}: {allocations} in {steps} steps", target.name);
    }
}
