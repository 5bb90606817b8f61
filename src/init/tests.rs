// SPDX-License-Identifier: GPL-2.0-or-later
//! What is told of a page is what the machine holds.

use super::*;
use crate::fixes::Spec;
use crate::kernel::sched::Schedule;
use crate::kernel::*;
use crate::prog::{Generator, Script, TARGETS};
use crate::report::{PageState, Run, Story};
use crate::trace::Pfn;
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Waker};

#[test]
fn pages_followed_through_the_trace_are_those_of_the_machine() {
    let mut compared = 0;
    for folder in ["stories", "regress", "quiet"] {
        for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let script = Script::parse(&std::fs::read_to_string(&path).unwrap()).unwrap();
            let kernel: Spec = script.kernel.as_deref().unwrap_or("newest").parse().unwrap();
            let mut computer = start_kernel(kernel.fixes);
            computer.run(&script.prog, script.prog.seed, Observe::Keep);
            let (records, stacks) = computer.take_trace();
            let (prog, kernel) = (&script.prog, "newest");
            let run =
                Run { violation: None, cut: false, records: &records, stacks: &stacks, prog, kernel, file: "x.prog" };
            for pfn in (0..NR_FRAMES as u8).map(Pfn).filter(|pfn| pfn.0 < 16 || pfn.0 > 59) {
                let story = Story::new(&run, Some(pfn));
                let Some(page) = story.steps.last().and_then(|step| step.page) else { continue };
                let is = computer.sys.peek_page(pfn);
                let (refcount, owner, generation) = (is.refcount, is.owner, is.gen_);
                let mapcount = is.mapcount + is.entire_mapcount;
                // A small page's pins are in its refcount.
                let pincount = page.pincount;
                let is = PageState { refcount, mapcount, pincount, owner, generation };
                assert_eq!(page, is, "{}: pfn {pfn}", path.display());
                compared += 1;
            }
        }
    }
    assert!(compared > 500, "{compared}");
}

/// Takes one step of a task that is inside of nothing, and leaves it there.
fn take<F: Future<Output = ()>>(sys: &System, task: TaskId, step: impl FnOnce() -> F) {
    sys.set_current(task);
    let mut step = pin!(step());
    let mut context = Context::from_waker(Waker::noop());
    assert!(step.as_mut().poll(&mut context).is_pending());
    sys.begin_turn(task, Turn::Once);
    assert!(step.poll(&mut context).is_ready());
    sys.end_turn();
    sys.set_idle(task);
}

#[test]
fn work_of_kernel_tasks_that_never_ends_is_a_deadlock() {
    let mut computer = start_kernel(Spec::default().fixes);
    let prog = Prog::default();
    let exec = computer.boot(&prog, Draw::None, Observe::Oracles, None);
    // A grace period that task 7 never lets end.
    take(exec.sys, 7, || local_irq_save(exec.sys));
    take(exec.sys, 0, || call_rcu(exec.sys, WorkFunc::FreeTable, 0));
    let violation = exec.finish(0).into_violation().expect("the rcu task waits for ever");
    assert_eq!(violation.title(), "deadlock in synchronize_rcu");
    assert_eq!(violation.message, "nobody can run: task 11 in synchronize_rcu wait for ever");
}

/// What every program pays for must not grow with what the machine could have: handles, tasks, entries, pages of files.
#[test]
fn what_is_not_there_takes_no_steps_at_the_end() {
    let end_of = |program: &str| {
        let script = Script::parse(program).expect("a program");
        let outcome = start_kernel(Spec::default().fixes).run(&script.prog, 0, Observe::Oracles);
        assert!(outcome.violation().is_none());
        outcome.steps - outcome.own_steps
    };
    // Task 0 leaves, the last one takes the address space down, and rcu waits.
    let empty = end_of("0: load(addr=va0)\n");
    assert!(empty <= 14, "{empty}");
    let one_page = "0: mmap(addr=va8, len=1, prot=r|w, map=shared, file=f4)\n0: store(addr=va8, value=1)\n";
    let [mapped, synced] = [end_of(one_page), end_of(&format!("{one_page}0: fsync(file=f4)\n"))];
    assert!(synced < mapped && mapped <= 80, "{mapped} {synced}");
}

/// Runs a program of the corpus, in which one call is suspended, on its kernel; the delays of that call, and those
/// among them with which its bug fires.
fn delays(name: &str) -> (Delays, Vec<u8>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/regress").join(name).with_extension("prog");
    let script = Script::parse(&std::fs::read_to_string(path).unwrap()).unwrap();
    let kernel: Spec = script.kernel.unwrap().parse().unwrap();
    let mut prog = script.prog;
    let at = prog.delayed().expect("one call that is suspended");
    let mut computer = start_kernel(kernel.fixes);
    // Whoever is suspended right behind its first step says as much as who is suspended where it matters.
    prog.delay(at, 1);
    let (outcome, delays) = computer.run_delayed(&prog, at, Observe::Oracles);
    assert!(outcome.is_silent(), "{name}");
    let mut fires = |steps| {
        prog.delay(at, steps);
        computer.run(&prog, 0, Observe::Oracles).violation().is_some()
    };
    let with = delays.iter().filter(|steps| fires(*steps)).collect();
    (delays, with)
}

#[test]
fn a_run_tells_where_a_call_has_to_be_suspended() {
    for name in ["pmd-migration-dirty", "migrate-vma-flush"] {
        let (delays, with) = delays(name);
        assert!(!with.is_empty() && with.len() < delays.count(), "{name}: {with:?}");
        assert!(delays.count() < 32, "{name}: {:?}", delays.iter().collect::<Vec<_>>());
    }
}

#[test]
fn who_meets_nobody_is_not_suspended() {
    let text = |page| {
        format!(
            "schedule: explicit\n0: mmap(addr=va0, len=8, prot=r|w, map=anon)\n0: store(addr=va0, value=1)\n\
                 1: load(addr=va0)\n0: store(addr=va0, value=1) steps 1\n1: load(addr={page})\nresume(0)\n"
        )
    };
    let delays = |page| {
        let prog = Script::parse(&text(page)).unwrap().prog;
        let mut computer = start_kernel(Spec::default().fixes);
        let (outcome, delays) = computer.run_delayed(&prog, prog.delayed().unwrap(), Observe::Oracles);
        assert!(outcome.is_silent());
        delays
    };
    assert_eq!(delays("va63").count(), 0);
    assert!(delays("va0").count() > 0);
}

/// Partial order sampling that is asked before each step.
struct Asked;

impl Schedule for Asked {
    fn pick(&mut self, k: &Machine, enabled: u16) -> TaskId {
        Pos.pick(k, enabled)
    }
    fn turn(&self, _: u32, active: u16) -> Turn {
        Turn::Race { steps: 1, active }
    }
}

#[test]
fn who_goes_on_while_it_is_its_turn_takes_the_same_steps() {
    let (mut fired, mut runs) = (0, 0);
    let mut same = |kernel: &Spec, prog: &Prog| {
        let [outcome, other] = [false, true].map(|asked| {
            let mut computer = start_kernel(kernel.fixes);
            computer.note_states();
            let outcome = match prog.schedule {
                ScheduleKind::Pos if asked => {
                    let draw = Draw::Pos { seed: prog.seed };
                    // Who looks for meetings has who is alone take single steps, too.
                    let mut exec = computer.boot(prog, draw, Observe::Digest, Some(0));
                    exec.rounds(&mut Asked);
                    exec.finish(prog.seed)
                }
                // Whom a suspended call meets is looked at before each step.
                ScheduleKind::Explicit if asked => computer.run_delayed(prog, 0, Observe::Digest).0,
                _ => computer.run(prog, prog.seed, Observe::Digest),
            };
            (outcome, computer.states().reached())
        });
        let what = |(o, states): &(Outcome, u32)| (o.digest, o.steps, o.depth_sum, o.own_steps, *states);
        assert_eq!(what(&outcome), what(&other));
        fired += u32::from(outcome.0.violation().is_some());
        runs += 1;
    };
    for folder in ["stories", "regress", "quiet"] {
        for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(folder)).unwrap() {
            let script = Script::parse(&std::fs::read_to_string(entry.unwrap().path()).unwrap()).unwrap();
            let kernel = script.kernel.as_deref().unwrap_or("newest").parse().unwrap();
            same(&kernel, &script.prog);
        }
    }
    let mut prog = Prog::default();
    for target in TARGETS {
        let mut generator = Generator::new(target, 1);
        for _ in 0..200 {
            generator.generate(&mut prog);
            same(&Spec::default(), &prog);
        }
    }
    assert!(fired > 100 && runs > 800, "{fired} of {runs}");
}
