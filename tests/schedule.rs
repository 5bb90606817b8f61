// SPDX-License-Identifier: GPL-2.0-or-later
//! Who takes which step: rounds, the three schedules, overrides, the end of a program.

use gupfuzz::init::{Observe, Outcome, Verdict, start_kernel};
use gupfuzz::prog::{Prog, Script};
use gupfuzz::trace::{Event, Record};
use std::collections::BTreeSet;

fn prog(text: &str) -> Prog {
    Script::parse(text).unwrap_or_else(|e| panic!("{e}\n{text}")).prog
}

fn run(prog: &Prog, seed: u32) -> (Outcome, Vec<Record>) {
    let mut computer = start_kernel(Default::default());
    let outcome = computer.run(prog, seed, Observe::Keep);
    (outcome, computer.take_trace().0)
}

/// Records of calls in the order in which they ended.
fn ended(records: &[Record]) -> Vec<u8> {
    records.iter().filter_map(|r| if let Event::CallEnd { call, .. } = r.event { Some(call) } else { None }).collect()
}

/// The value a call returned.
fn returned(records: &[Record], wanted: u8) -> i32 {
    let mut all = records.iter().filter_map(|r| match r.event {
        Event::CallEnd { call, ret } if call == wanted => Some(ret),
        _ => None,
    });
    all.next().expect("the call has ended")
}

/// Tasks in the order of their steps, repeats left out, up to the end of the last call.
fn turns(records: &[Record]) -> Vec<u8> {
    let last = records.iter().rposition(|r| matches!(r.event, Event::CallEnd { .. })).unwrap_or(0);
    let steps = records[..last].iter().filter(|r| matches!(r.event, Event::Step { .. }));
    let mut turns: Vec<u8> = steps.map(|r| r.task).collect();
    turns.dedup();
    turns
}

const RACE: &str = "schedule: pos seed=0\n\
    0: mmap(addr=va0, len=4, prot=r|w, map=anon)\n\
    0: store(addr=va0, value=1) &\n\
    1: store(addr=va0, value=2) &\n\
    2: load(addr=va0) &\n";

#[test]
fn a_seed_is_an_interleaving_and_seeds_differ() {
    let prog = prog(RACE);
    let digests: BTreeSet<u64> = (0..64).map(|seed| run(&prog, seed).0.digest).collect();
    assert!(digests.len() > 32, "{} of 64 seeds differ", digests.len());
    let values: BTreeSet<i32> = (0..64).map(|seed| returned(&run(&prog, seed).1, 3)).collect();
    assert_eq!(values, BTreeSet::from([0, 1, 2]), "the load sees every state there is");
}

#[test]
fn unmarked_calls_do_not_race() {
    let text = RACE.replace(" &", "");
    for seed in 0..16 {
        let (_, records) = run(&prog(&text), seed);
        assert_eq!(turns(&records), [0, 1, 2]);
        assert_eq!(returned(&records, 3), 2);
    }
}

#[test]
fn a_round_ends_when_its_calls_have_ended() {
    let text = format!("{RACE}3: load(addr=va0)\n4: store(addr=va0, value=9) &\n");
    for seed in 0..16 {
        let order = ended(&run(&prog(&text), seed).1);
        assert_eq!(order.iter().position(|&call| call == 4), Some(4), "behind all of the first round");
        assert_eq!(order.iter().position(|&call| call == 5), Some(5));
    }
}

#[test]
fn calls_of_a_task_are_made_in_order_within_a_round() {
    let text = format!("{RACE}0: load(addr=va0) &\n0: load(addr=va1) &\n");
    for seed in 0..16 {
        let order = ended(&run(&prog(&text), seed).1);
        let at = |call: u8| order.iter().position(|&c| c == call).unwrap();
        assert!(at(1) < at(4) && at(4) < at(5), "{order:?}");
    }
}

#[test]
fn overrides_decide_against_any_seed() {
    let first = |favoured: usize, seed| {
        let mut lines: Vec<String> = RACE.lines().map(str::to_owned).collect();
        let overrides = (0..30).map(|n| format!("override(n={n}, priority=0xffffffff)"));
        let at = 2 + favoured;
        lines.splice(at + 1..at + 1, overrides);
        let (_, records) = run(&prog(&lines.join("\n")), seed);
        let begun = records.iter().find_map(|r| match r.event {
            Event::CallEnd { .. } if r.task as usize == favoured => Some(r.step),
            _ => None,
        });
        // Nobody else moved between the first step of the round and that call's end.
        let end = begun.expect("the call has ended");
        records
            .iter()
            .filter(|r| matches!(r.event, Event::Step { .. }) && r.step <= end)
            .all(|r| r.task as usize == favoured || r.task == 0)
    };
    for seed in 0..8 {
        assert!(first(1, seed), "seed {seed}");
        assert!(first(2, seed), "seed {seed}");
    }
}

#[test]
fn bytes_choose_among_those_that_can_run() {
    let with = |choices: &str| {
        let text = RACE.replace("pos seed=0", "bytes");
        run(&prog(&format!("{text}{}", choices.repeat(40))), 0).1
    };
    // Always the first: task 0 to its end, then task 1, then task 2.
    assert_eq!(turns(&with("choices(0, 0, 0, 0, 0, 0)\n")), [0, 1, 2]);
    // 2 modulo the number of tasks that can run: task 2 while there are three.
    let last_first = with("choices(2, 2, 2, 2, 2, 2)\n");
    assert_eq!(ended(&last_first)[1], 3);
    assert_eq!(returned(&last_first, 3), 0);
}

#[test]
fn explicit_steps_suspend_a_call_and_resume_goes_on() {
    let text = "schedule: explicit\n\
        0: mmap(addr=va0, len=4, prot=r|w, map=anon)\n\
        0: store(addr=va0, value=1)\n\
        1: munmap(addr=va3, len=1) steps 2\n\
        0: store(addr=va0, value=2)\n\
        resume(1) steps 1\n\
        0: store(addr=va0, value=3)\n\
        resume(1)\n";
    let (outcome, records) = run(&prog(text), 0);
    assert!(matches!(outcome.verdict, Verdict::Silent));
    let steps: Vec<u8> = turns(&records);
    assert_eq!(steps[..4], [0, 1, 0, 1], "{steps:?}");
    assert_eq!(*ended(&records).last().unwrap(), 2, "the suspended call ends last");
    // A suspended call runs again in the epilogue at the latest.
    let (_, records) = run(&prog(text.rsplit_once("resume").unwrap().0), 0);
    assert!(ended(&records).contains(&2));
}

#[test]
fn under_explicit_the_disk_moves_when_it_is_named() {
    let text = |disk: &str| {
        format!(
            "schedule: explicit\n\
             0: mmap(addr=va0, len=4, prot=r|w, map=anon)\n\
             0: store(addr=va0, value=1)\n\
             0: dio_read(addr=va0, len=1, block=3, flags=aio)\n\
             {disk}\
             0: load(addr=va0)\n"
        )
    };
    let load = |disk: &str| {
        let prog = prog(&text(disk));
        let number = prog.records.len() as u8 - 1;
        returned(&run(&prog, 0).1, number)
    };
    assert_eq!(load(""), 1);
    assert_eq!(load("disk: run\n"), 0x43);
    assert_eq!(load("disk: steps 1\n"), 1, "one step takes the request");
}

#[test]
fn a_blocked_call_lets_kernel_tasks_run() {
    let text = "schedule: pos seed=3\n\
        0: mmap(addr=va0, len=4, prot=r|w, map=anon)\n\
        0: dio_read(addr=va0, len=1, block=5)\n\
        0: load(addr=va0)\n";
    assert_eq!(returned(&run(&prog(text), 3).1, 2), 0x45);
}

#[test]
fn a_program_that_is_too_long_is_cut_and_neither_silent_nor_a_violation() {
    let mut text = String::from("schedule: pos seed=0\n");
    for va in (0..64).step_by(8) {
        text += &format!("0: mmap(addr=va{va}, len=8, prot=r|w, map=shared)\n");
    }
    for _ in 0..18 {
        text += "0: dio_read(addr=va0, len=8)\n0: ftruncate(len=0)\n0: ftruncate(len=8)\n";
    }
    let (outcome, _) = run(&prog(&text), 0);
    assert!(matches!(outcome.verdict, Verdict::Cut), "{:?} after {} steps", outcome.verdict, outcome.steps);
    assert_eq!(outcome.steps, gupfuzz::limits::MAX_STEPS);
}

#[test]
fn a_burst_tries_consecutive_seeds_up_to_the_first_violation() {
    let mut prog = prog(RACE);
    prog.burst = 4;
    let mut seeds = Vec::new();
    start_kernel(Default::default()).run_burst(&prog, |outcome| seeds.push(outcome.seed));
    assert_eq!(seeds, [0, 1, 2, 3]);
}

#[test]
fn entering_the_kernel_races_too() {
    for (putter, mapper) in [(0, 1), (1, 0)] {
        let text = format!(
            "schedule: pos seed=0\n\
             0: ttm_bo_create(bo=b0)\n\
             {putter}: ttm_bo_put(bo=b0) &\n\
             {mapper}: ttm_bo_mmap(bo=b0, addr=va0, len=1) &\n"
        );
        let results: BTreeSet<i32> = (0..32).map(|seed| returned(&run(&prog(&text), seed).1, 2)).collect();
        assert_eq!(results.len(), 2, "the handle is there, or it is gone: {results:?}");
    }
}

#[test]
fn a_schedule_from_outside_repeats_any_other() {
    let prog = prog(&RACE.replace("map=anon)\n", "map=anon) &\n0: store(addr=va0, value=3) &\n"));
    let mut computer = start_kernel(Default::default());
    for seed in 0..64 {
        let (wanted, records) = run(&prog, seed);
        let mut steps = records.iter().filter(|r| matches!(r.event, Event::Step { .. })).map(|r| r.task);
        let mut drive = computer.drive(&prog, Observe::Digest);
        assert!(drive.next_race());
        assert_eq!(drive.users(), 0b111);
        while drive.enabled() != 0 {
            drive.step(steps.next().expect("as many steps"));
        }
        assert!(!drive.next_race(), "one race");
        let outcome = drive.finish();
        assert_eq!(outcome.digest, wanted.digest, "seed {seed}");
        assert_eq!((outcome.own_steps, outcome.steps), (wanted.own_steps, wanted.steps));
    }
}

#[test]
fn who_waits_is_not_enabled() {
    let prog = prog(
        "0: mmap(addr=va0, len=1, prot=r|w, map=anon)\n0: store(addr=va0, value=1)\n\
         0: munmap(addr=va0, len=1) &\n1: mmap(addr=va8, len=1, prot=r|w, map=anon) &\n",
    );
    let mut computer = start_kernel(Default::default());
    // So many steps of task 0, then task 1 as long as it can.
    let waits = |steps: u32, computer: &mut gupfuzz::init::Computer| {
        let mut drive = computer.drive(&prog, Observe::Oracles);
        assert!(drive.next_race());
        let (mut taken, mut waits) = (0, false);
        while drive.enabled() != 0 {
            waits |= drive.users() == 0b11 && drive.enabled() & 0b11 == 0b01;
            let first = taken < steps || drive.enabled() & 0b10 == 0;
            taken += 1;
            drive.step(if first { drive.enabled().trailing_zeros() as u8 } else { 1 });
        }
        assert!(drive.finish().is_silent());
        waits
    };
    assert!(!waits(0, &mut computer), "nobody has the lock yet");
    assert!(waits(3, &mut computer), "task 0 has mmap_lock, and task 1 waits for it");
}
