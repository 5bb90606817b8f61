// SPDX-License-Identifier: GPL-2.0-or-later
//! What is run: generated programs all of whose calls race, and programs with a bug.

use gupfuzz::fixes::{FixSet, Spec};
use gupfuzz::init::{Observe, start_kernel};
use gupfuzz::prog::{Call, Generator, Prog, Rec, ScheduleKind, Script, target};

/// A program and the kernel that it runs on.
#[derive(Clone)]
pub struct Task {
    pub name: &'static str,
    pub fixes: FixSet,
    pub prog: Prog,
    /// Kernel tasks that can run in its races, one bit each.
    pub kernel_tasks: u16,
}

impl Task {
    fn new(name: &'static str, fixes: FixSet, prog: Prog) -> Task {
        let kernel_tasks = kernel_tasks(fixes, &prog);
        Task { name, fixes, prog, kernel_tasks }
    }

    /// To run for the rest of the process: shuttle's tests have to be `'static`.
    pub fn leak(self) -> &'static Task {
        Box::leak(Box::new(self))
    }
}

/// A user of shuttle makes the tasks that the test needs: those that some interleaving wakes up.
fn kernel_tasks(fixes: FixSet, prog: &Prog) -> u16 {
    let mut computer = start_kernel(fixes);
    let mut rng = fastrand::Rng::with_seed(7);
    let mut seen = 0;
    for _ in 0..100 {
        let mut drive = computer.drive(prog, Observe::Oracles);
        while drive.next_race() {
            while drive.enabled() != 0 {
                seen |= drive.enabled();
                drive.step(pick(drive.enabled(), &mut rng));
            }
        }
    }
    seen & 0xff00
}

/// One bit of a set.
pub fn pick(set: u16, rng: &mut fastrand::Rng) -> u8 {
    let mut left = set;
    for _ in 0..rng.u32(..set.count_ones()) {
        left &= left - 1;
    }
    left.trailing_zeros() as u8
}

/// Programs of 16 calls, all of which race, by four tasks in turn: the newest kernel, so nothing fires.
pub fn generated(name: &'static str, nr: usize) -> Vec<Task> {
    let mut generator = Generator::new(target(name).expect("a target"), 42);
    let mut part = Prog::default();
    let programs = (0..nr).map(|_| {
        let mut prog = Prog::default();
        while prog.records.len() < 16 {
            generator.generate(&mut part);
            for call in part.calls().take(16 - prog.records.len()) {
                let task = prog.records.len() as u8 % 4;
                prog.records.push(Rec::Call(Call { task, concurrent: true, steps: 0, ..*call }));
            }
        }
        prog
    });
    programs.map(|prog| Task::new(name, FixSet::default(), prog)).collect()
}

macro_rules! bugs {
    ($($name:literal $file:literal;)*) => { &[$(($name, include_str!(concat!("../", $file)))),*] };
}

/// Thread A's programs and thread B's: every story with a call that is suspended or races, and two
/// whose calls one task makes there.
const BUGS: &[(&str, &str)] = bugs! {
    "A: huge entries against direct I/O" "../../corpus/stories/ttm_huge_fault_dio_race.prog";
    "B: reclaim (Z3)" "races/z3_reclaim.prog";
    "B: fork (Z5)" "races/z5_fork.prog";
    "B: fork against GUP-fast (Z6)" "../../corpus/stories/gup_fast_races_with_fork.prog";
    "B: khugepaged against GUP-fast (Z9)" "../../corpus/stories/khugepaged_collapses_under_gup_fast.prog";
    "B: split against GUP-fast (Z11)" "../../corpus/stories/gup_fast_races_with_a_split.prog";
    "B: exclusive mark (Z12)" "../../corpus/stories/exclusive_mark_goes_before_the_entry.prog";
    "B: split against zap (Z13)" "../../corpus/stories/split_passes_an_entry_that_goes.prog";
    "B: khugepaged against a notifier" "../../corpus/stories/khugepaged_tells_a_device_of_a_pinned_page.prog";
    "B: munmap against unmap_mapping_range" "../../corpus/stories/pfnmap_munmap_vs_unmap_mapping_range.prog";
};

/// They, with the schedule left open.
pub fn bugs() -> Vec<Task> {
    let bug = |(name, text): &(&'static str, &str)| {
        let script = Script::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let kernel: Spec = script.kernel.expect("a kernel").parse().expect("a kernel");
        Task::new(name, kernel.fixes, open(&script.prog))
    };
    BUGS.iter().map(bug).collect()
}

/// From the first call that is suspended or races on, all calls race, and nobody is told when to go on.
fn open(prog: &Prog) -> Prog {
    let mut races = false;
    let calls = prog.calls().map(|call| {
        races |= call.concurrent || call.steps != 0;
        Rec::Call(Call { concurrent: races, steps: 0, ..*call })
    });
    Prog { records: calls.collect(), ..Prog::default() }
}

/// Five more tasks, each with an address space and a page of its own, which they read, write and protect:
/// no frame is allocated or freed by them in the race.
const UNRELATED: [&str; 2] = [
    "T: execve()\nT: mmap(addr=va0, len=1, prot=r|w, map=anon)\nT: store(addr=va0, value=1)\n",
    "T: store(addr=va0, value=2) &\nT: mprotect(addr=va0, len=1, prot=r) &\nT: load(addr=va0) &\n\
     T: mprotect(addr=va0, len=1, prot=r|w) &\nT: store(addr=va0, value=3) &\nT: load(addr=va0) &\n",
];

/// The same with five unrelated tasks running.
pub fn crowded(task: &Task) -> Task {
    let [setup, race] = UNRELATED.map(|text| {
        let all: String = (3..8).map(|t| text.replace('T', &t.to_string())).collect();
        Script::parse(&all).expect("a program").prog.records
    });
    let begins = task.prog.calls().position(|call| call.concurrent).expect("a race");
    let mut records = setup;
    records.extend(&task.prog.records[..begins]);
    records.extend(race);
    records.extend(&task.prog.records[begins..]);
    assert_eq!(task.prog.schedule, ScheduleKind::Pos);
    Task::new(task.name, task.fixes, Prog { records, ..Prog::default() })
}
