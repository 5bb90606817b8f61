// SPDX-License-Identifier: GPL-2.0-or-later
//! The same tasks under shuttle.
//!
//! A task of a race is a thread of shuttle that polls the task's future, up to the next access that it
//! announces, and then lets shuttle choose.  A task whose pending access cannot be taken is blocked, as
//! shuttle's own primitives block it, so that the scheduler sees the tasks that ours would see.  What is no
//! race (calls before it, the epilogue) the test makes by itself, as under our schedules without a choice.
//!
//! ```text
//!   the test                        a task
//!   boot, setup
//!   spawn the tasks, wait
//!                                   take the step, block and unblock whom it concerns, switch()
//!                                   ...
//!                                   the race is over: unblock the test
//!   let the tasks return, join
//!   epilogue
//! ```

use crate::cpu::Budget;
use crate::search::{Finds, Slice};
use crate::tasks::Task;
use gupfuzz::init::{Computer, Drive, Observe, Outcome, start_kernel};
use gupfuzz::prog::Prog;
use self_cell::{MutBorrow, self_cell};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Schedule, Scheduler, TaskId, UrwRandomScheduler};
use shuttle::thread::{JoinHandle, spawn};
use shuttle::{Config, Runner};
use shuttle_engine::runtime::execution::ExecutionState;
use shuttle_engine::runtime::thread::switch;
use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;

/// A scheduler of shuttle's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peer {
    Random,
    Pct(usize),
    Urw,
}

/// An execution under way.
struct Running<'c> {
    drive: Option<Drive<'c>>,
    /// What shuttle knows of who can take a step.
    shown: u16,
}

self_cell!(
    struct Session {
        owner: (MutBorrow<Box<Computer>>, &'static Prog, Observe),
        #[not_covariant]
        dependent: Running,
    }
);

thread_local! {
    static COMPUTER: Cell<Option<Box<Computer>>> = const { Cell::new(None) };
    static SESSION: RefCell<Option<Session>> = const { RefCell::new(None) };
    /// The thread of each task, by its number in shuttle, where the test itself is 0.
    static THREADS: Cell<[u8; 12]> = const { Cell::new([0; 12]) };
    static NR_THREADS: Cell<u8> = const { Cell::new(0) };
    static OUTCOME: Cell<Option<Outcome>> = const { Cell::new(None) };
}

fn with<R>(f: impl FnOnce(&mut Running) -> R) -> R {
    SESSION.with_borrow_mut(|s| s.as_mut().expect("an execution").with_dependent_mut(|_, running| f(running)))
}

fn drive<R>(f: impl FnOnce(&mut Drive) -> R) -> R {
    with(|running| f(running.drive.as_mut().expect("it is under way")))
}

fn bits(mut set: u16) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let bit = set.trailing_zeros() as u8;
        set &= set.wrapping_sub(1);
        (bit < 16).then_some(bit)
    })
}

/// The test: one execution.
fn execute(task: &'static Task, observe: Observe) {
    let owner = (MutBorrow::new(COMPUTER.take().expect("one execution at a time")), &task.prog, observe);
    SESSION.set(Some(Session::new(owner, |(computer, prog, observe)| Running {
        drive: Some(computer.borrow_mut().drive(prog, *observe)),
        shown: 0,
    })));
    THREADS.set([0; 12]);
    NR_THREADS.set(0);
    let mut joined = Vec::with_capacity(12);
    while drive(|drive| drive.next_race()) {
        let tasks = with(|running| {
            let drive = running.drive.as_ref().expect("it is under way");
            // Each takes part in shuttle's first choice; those that have nothing to do block then.
            running.shown = drive.users() | task.kernel_tasks;
            running.shown
        });
        let mut missing = tasks & !threads();
        joined.extend(bits(missing).map(start));
        show(tasks, tasks);
        while drive(|drive| drive.enabled()) != 0 {
            ExecutionState::with(|state| state.current_mut().block(false));
            switch();
            // A kernel task that never had work before.
            missing = with(|running| running.shown) & !threads();
            if missing != 0 {
                joined.extend(bits(missing).map(start));
                show(missing, with(|running| running.shown));
            }
        }
    }
    let outcome = with(|running| running.drive.take().expect("it is under way").finish());
    OUTCOME.set(Some(outcome));
    ExecutionState::with(|state| (1..=NR_THREADS.get()).for_each(|id| state.get_mut(id_of(id)).unblock()));
    joined.into_iter().for_each(|thread: JoinHandle<()>| thread.join().expect("a task does not panic"));
    let (computer, _, _) = SESSION.take().expect("an execution").into_owner();
    COMPUTER.set(Some(computer.into_inner()));
}

/// Tasks that have a thread.
fn threads() -> u16 {
    THREADS.get().iter().enumerate().map(|(t, id)| u16::from(*id != 0) << t).sum()
}

fn id_of(id: u8) -> TaskId {
    TaskId::from(id as usize)
}

/// A thread for a task; it is blocked for now.
fn start(t: u8) -> JoinHandle<()> {
    let thread = spawn(move || steps_of(t));
    let id = NR_THREADS.get() + 1;
    NR_THREADS.set(id);
    let mut threads = THREADS.get();
    threads[t as usize] = id;
    THREADS.set(threads);
    ExecutionState::with(|state| state.get_mut(id_of(id)).block(false));
    thread
}

/// Tells shuttle which tasks of `changed` can take a step.
fn show(changed: u16, enabled: u16) {
    let threads = THREADS.get();
    ExecutionState::with(|state| {
        for t in bits(changed) {
            match (threads[t as usize], enabled >> t & 1) {
                (0, 0) => {}
                (0, _) => state.get_mut(id_of(0)).unblock(),
                (id, 0) => state.get_mut(id_of(id)).block(false),
                (id, _) => state.get_mut(id_of(id)).unblock(),
            }
        }
        if enabled == 0 {
            state.get_mut(id_of(0)).unblock();
        }
    });
}

/// A task.
fn steps_of(t: u8) {
    loop {
        let told = with(|Running { drive, shown }| {
            let drive = drive.as_mut()?;
            if drive.enabled() >> t & 1 != 0 {
                drive.step(t);
            }
            let before = std::mem::replace(shown, drive.enabled());
            Some((before ^ *shown, *shown))
        });
        match told {
            None => return,
            Some((0, _)) => {}
            Some((changed, enabled)) => show(changed, enabled),
        }
        switch();
    }
}

/// Goes on until there is enough; begins anew, with another seed, after each violation.
struct Again<S> {
    make: Box<dyn Fn(u64) -> S>,
    seed: u64,
    // Never dropped: a scheduler that is told everything of a failure prints it then.
    now: ManuallyDrop<S>,
}

thread_local! {
    /// What `Again` asks before each execution: whether to stop.
    static ENOUGH: RefCell<Box<dyn FnMut() -> bool>> = RefCell::new(Box::new(|| true));
    static ANEW: Cell<bool> = const { Cell::new(false) };
}

impl<S: Scheduler> Again<S> {
    fn new(seed: u64, make: impl Fn(u64) -> S + 'static) -> Again<S> {
        Again { now: ManuallyDrop::new(make(seed)), make: Box::new(make), seed }
    }
}

impl<S: Scheduler> Scheduler for Again<S> {
    fn new_execution(&mut self) -> Option<Schedule> {
        if ENOUGH.with_borrow_mut(|enough| enough()) {
            return None;
        }
        if ANEW.take() {
            self.seed += 1;
            self.now = ManuallyDrop::new((self.make)(self.seed));
        }
        self.now.new_execution()
    }

    fn next_task(
        &mut self,
        runnable: &[&shuttle::scheduler::Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        self.now.next_task(runnable, current, is_yielding)
    }

    fn next_u64(&mut self) -> u64 {
        self.now.next_u64()
    }
}

impl Peer {
    /// Runs a test again and again, until there is enough.
    fn run(self, seed: u64, enough: impl FnMut() -> bool + 'static, test: impl Fn() + Send + Sync + 'static) {
        const ALL: usize = usize::MAX;
        ENOUGH.set(Box::new(enough));
        let config = Config::default();
        match self {
            Peer::Random => {
                Runner::new(Again::new(seed, |seed| RandomScheduler::new_from_seed(seed, ALL)), config).run(test)
            }
            Peer::Pct(depth) => {
                Runner::new(Again::new(seed, move |seed| PctScheduler::new_from_seed(seed, depth, ALL)), config)
                    .run(test)
            }
            Peer::Urw => {
                Runner::new(Again::new(seed, |seed| UrwRandomScheduler::new_from_seed(seed, ALL)), config).run(test)
            }
        };
    }

    pub fn name(self) -> String {
        match self {
            Peer::Random => "random".into(),
            Peer::Pct(depth) => format!("PCT {depth}"),
            Peer::Urw => "URW".into(),
        }
    }

    /// The machine for the executions to come.
    pub fn boot(task: &Task) {
        COMPUTER.set(Some(Box::new(start_kernel(task.fixes))));
    }

    /// So many executions, behind a few that warm it up: what they came to together, and CPU seconds.
    pub fn executions(self, task: &'static Task, observe: Observe, nr: u32) -> (Sum, f64) {
        Peer::boot(task);
        let sum = std::rc::Rc::new(Cell::new(Sum::default()));
        let seconds = std::rc::Rc::new(Cell::new(0.0));
        let (mut begun, mut clock) = (0, None);
        let (total, used) = (sum.clone(), seconds.clone());
        let enough = move || {
            let outcome = OUTCOME.take();
            if begun > WARM
                && let Some(outcome) = outcome
            {
                total.set(total.get().with(&outcome));
            }
            if begun == WARM {
                clock = Some(cpu_time::ProcessTime::now());
            }
            begun += 1;
            let enough = begun > WARM + nr;
            if enough && let Some(clock) = clock {
                used.set(clock.elapsed().as_secs_f64());
            }
            enough
        };
        self.run(1, enough, move || execute(task, observe));
        (sum.get(), seconds.get())
    }

    /// Executions until a violation, again and again, each time from another seed.
    pub fn search(self, task: &'static Task, finds: &mut Finds, slice: &Slice, seed: u64) {
        let most = slice.finds;
        let mut budget = Budget::of(slice.seconds);
        let shared = std::rc::Rc::new(RefCell::new((std::mem::take(finds), 0.0)));
        let inner = shared.clone();
        let mut found = 0;
        let enough = move || {
            let (finds, used) = &mut *inner.borrow_mut();
            if let Some(outcome) = OUTCOME.take() {
                let violation = outcome.violation();
                finds.executed(violation);
                found += usize::from(violation.is_some());
                ANEW.set(violation.is_some());
            }
            *used = budget.used();
            found == most || budget.over()
        };
        ANEW.set(false);
        self.run(seed, enough, move || execute(task, Observe::Oracles));
        let (result, used) = std::mem::take(&mut *shared.borrow_mut());
        *finds = result;
        finds.used(used);
    }

    /// Nothing but shuttle: threads that do nothing but let it choose; nanoseconds a choice.
    pub fn floor(self, tasks: u32, steps: u32) -> f64 {
        let (mut begun, mut clock) = (0, None);
        let seconds = std::rc::Rc::new(Cell::new(0.0));
        let used = seconds.clone();
        let enough = move || {
            begun += 1;
            match begun {
                3 => clock = Some(cpu_time::ProcessTime::now()),
                4 => used.set(clock.expect("started").elapsed().as_secs_f64()),
                _ => {}
            }
            begun == 4
        };
        let each = steps / tasks;
        self.run(1, enough, move || {
            let threads: Vec<_> = (0..tasks).map(|_| spawn(move || (0..each).for_each(|_| switch()))).collect();
            threads.into_iter().for_each(|thread| thread.join().expect("it does nothing"));
        });
        seconds.get() * 1e9 / f64::from(each * tasks)
    }
}

/// Executions before the clock is started.
pub const WARM: u32 = 20;

/// What executions came to.
#[derive(Clone, Copy, Default)]
pub struct Sum {
    pub executions: u32,
    pub steps: u64,
    /// Those of them that were no epilogue.
    pub own_steps: u64,
    pub depths: u64,
}

impl Sum {
    pub fn and(self, other: Sum) -> Sum {
        Sum {
            executions: self.executions + other.executions,
            steps: self.steps + other.steps,
            own_steps: self.own_steps + other.own_steps,
            depths: self.depths + other.depths,
        }
    }

    pub fn with(self, outcome: &Outcome) -> Sum {
        assert!(outcome.violation().is_none(), "the newest kernel is silent: {outcome:?}");
        Sum {
            executions: self.executions + 1,
            steps: self.steps + u64::from(outcome.steps),
            own_steps: self.own_steps + u64::from(outcome.own_steps),
            depths: self.depths + outcome.depth_sum,
        }
    }
}
