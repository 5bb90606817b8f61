// SPDX-License-Identifier: GPL-2.0-or-later
//! What each task does for as long as the machine runs.

use crate::entry::{Place, Ret, System, place, syscall};
use crate::fs::bio::bio_dirty_fn;
use crate::fs::disk::disk_main;
use crate::fs::ext4::inode::ext4_writepages;
use crate::kernel::*;
use crate::limits::*;
use crate::mm::mmap::exec_mmap;
use crate::mm::pgtable::pte_free;
use crate::prog::{Call, Prog, Rec};
use crate::ttm::sched_main::gpu_main;
use crate::ttm::ttm_device_delayed_work;
use std::ops::Range;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// What the epilogue makes a user task do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Last {
    /// Leave its address space.
    Exit,
    /// Close every handle.
    CloseAll,
}

/// What a user task is about.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Now<'p> {
    /// It waits for its next call.
    #[default]
    Rests,
    /// It is about to enter the kernel for a call, by number.
    Enters(u8, &'p Call),
    /// It is inside of a call.
    Calls(u8, &'p Call),
    /// It comes to its end.
    Ends(Last),
}

/// A user task: takes its calls out of the records it may look at.
#[derive(Default)]
pub(super) struct User<'p> {
    /// The next record it looks at, and where it has to stop for now.
    next: usize,
    limit: usize,
    pub(super) last: Option<Last>,
    pub(super) now: Now<'p>,
}

impl<'p> User<'p> {
    /// It may look at some more records; if it waits for a call it has looked at all before them.
    pub(super) fn allow(&mut self, records: &Range<usize>, waits: bool) {
        if waits {
            self.next = records.start;
        }
        self.limit = records.end;
    }

    /// It was there when calls were made.
    pub(super) fn has_called(&self) -> bool {
        self.limit > 0
    }

    /// The call that task `t` makes next.
    pub(super) fn take(&mut self, t: TaskId, records: &'p [Rec]) -> Now<'p> {
        while self.next < self.limit {
            self.next += 1;
            if let Rec::Call(call) = &records[self.next - 1]
                && call.task == t
            {
                return Now::Enters((self.next - 1) as u8, call);
            }
        }
        self.last.take().map_or(Now::Rests, Now::Ends)
    }
}

const _: () = assert!(MAX_RECORDS <= 256, "a record's number is a byte");

/// Loads the `override` records; each belongs to the call before it.
pub(super) fn load_overrides(sys: &System, prog: &Prog) {
    let mut call = 0;
    for (i, record) in prog.records.iter().enumerate() {
        match *record {
            Rec::Call(_) => call = i as u8,
            Rec::Override { n, priority } => {
                sys.add_override(crate::kernel::Override { call, n, priority });
            }
            _ => {}
        }
    }
}

/// What a user task can be inside of.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// A call, by the number of its operation.
    Call(u8),
    Last(Last),
}

/// What the tasks are inside of.
pub(super) struct Places {
    context: Context<'static>,
    now: [Option<Box<dyn Place>>; NR_TASKS],
    /// Those that nobody is inside of at the moment, by kind.
    calls: [Vec<Box<dyn Place>>; 256],
    last: [Vec<Box<dyn Place>>; 2],
}

impl Places {
    pub(super) fn new(sys: &Rc<System>) -> Places {
        let mut now = [const { None }; NR_TASKS];
        for (slot, place) in now[NR_USER_TASKS..].iter_mut().zip(kernel_tasks(sys)) {
            *slot = Some(place);
        }
        Places {
            context: Context::from_waker(Waker::noop()),
            now,
            calls: [const { Vec::new() }; 256],
            last: [const { Vec::new() }; 2],
        }
    }

    /// The kernel's own tasks begin; nobody else is inside of anything.
    pub(super) fn reset(&mut self) {
        for slot in &mut self.now[..NR_USER_TASKS] {
            *slot = None;
        }
        for place in self.now[NR_USER_TASKS..].iter_mut().flatten() {
            place.begin([0; 5]);
        }
    }

    /// Polls what a task is inside of, if it is.
    #[inline]
    pub(super) fn poll(&mut self, t: TaskId) -> Option<Poll<Ret>> {
        let place = self.now[t as usize].as_mut()?;
        Some(place.poll(&mut self.context))
    }

    /// Task `t` is inside of something from here on.
    pub(super) fn enter(&mut self, t: TaskId, sys: &Rc<System>, kind: Kind, args: [u8; 5]) {
        let mut place = self.of(kind).pop().unwrap_or_else(|| make(sys, kind));
        place.begin(args);
        self.now[t as usize] = Some(place);
    }

    /// What task `t` was inside of has ended.
    pub(super) fn leave(&mut self, t: TaskId, kind: Kind) {
        if let Some(mut place) = self.now[t as usize].take() {
            place.end();
            self.of(kind).push(place);
        }
    }

    fn of(&mut self, kind: Kind) -> &mut Vec<Box<dyn Place>> {
        match kind {
            Kind::Call(op) => &mut self.calls[op as usize],
            Kind::Last(last) => &mut self.last[last as usize],
        }
    }
}

fn make(sys: &Rc<System>, kind: Kind) -> Box<dyn Place> {
    match kind {
        Kind::Call(op) => syscall(sys, op),
        Kind::Last(Last::CloseAll) => place(sys, |sys, _| async move {
            sys.close_all().await;
            Ok(0)
        }),
        Kind::Last(Last::Exit) => place(sys, |sys, _| async move {
            exec_mmap(&sys, true).await?;
            Ok(0)
        }),
    }
}

/// The places of the kernel's own tasks.
fn kernel_tasks(sys: &Rc<System>) -> [Box<dyn Place>; NR_TASKS - NR_USER_TASKS] {
    [
        place(sys, |sys, _| async move {
            disk_main(&sys, &sys.disk, &sys.ext4).await;
            Ok(0)
        }),
        place(sys, |sys, _| async move {
            gpu_main(&sys, &sys.ttm, &sys.gpu).await;
            Ok(0)
        }),
        place(sys, |sys, _| async move {
            kworker(&sys).await;
            Ok(0)
        }),
        place(sys, |sys, _| async move {
            rcu(&sys).await;
            Ok(0)
        }),
    ]
}

/// The kworker.
async fn kworker(sys: &System) {
    loop {
        let work = worker_next(sys).await;
        match work.func {
            WorkFunc::TtmDelayedDelete => ttm_device_delayed_work(sys, &sys.ttm, work.arg).await,
            WorkFunc::Writeback => ext4_writepages(sys, &sys.ext4, work.arg).await,
            WorkFunc::BioDirty => bio_dirty_fn(sys, &sys.disk, work.arg).await,
            other => unreachable!("{other:?} is no work of the kworker"),
        }
    }
}

/// The RCU task.
async fn rcu(sys: &System) {
    loop {
        let work = rcu_do_batch(sys).await;
        match work.func {
            WorkFunc::FreeTable => pte_free(sys, work.arg).await,
            other => unreachable!("{other:?} is no RCU callback"),
        }
    }
}
