// SPDX-License-Identifier: GPL-2.0-or-later
//! What each task does for as long as the machine runs.

use crate::entry::{System, dispatch, op};
use crate::fs::bio::bio_dirty_fn;
use crate::fs::disk::disk_main;
use crate::fs::ext4::inode::ext4_writepages;
use crate::kernel::*;
use crate::limits::*;
use crate::mm::mmap::exec_mmap;
use crate::mm::pgtable::pte_free;
use crate::prog::{Call, Prog, Rec};
use crate::trace::{Access, Event, obj};
use crate::ttm::ttm_device_delayed_work;
use std::cell::Cell;
use std::future::poll_fn;
use std::task::Poll;

/// What the epilogue makes a user task do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Last {
    #[default]
    Nothing,
    /// Leave its address space.
    Exit,
    /// Close every handle.
    CloseAll,
}

/// Who is to make which call: each task takes its own calls out of the records it may look at.
pub(super) struct Calls<'p> {
    records: &'p [Rec],
    /// The next record each task looks at, and where it has to stop for now.
    next: [Cell<usize>; NR_USER_TASKS],
    limit: [Cell<usize>; NR_USER_TASKS],
    pub(super) last: [Cell<Last>; NR_USER_TASKS],
    pub(super) ended: Cell<u32>,
    pub(super) succeeded: Cell<u32>,
}

/// The call a task makes next.
enum Next<'p> {
    Call(u8, &'p Call),
    Last(Last),
}

impl<'p> Calls<'p> {
    pub(super) fn new(records: &'p [Rec]) -> Calls<'p> {
        Calls {
            records,
            next: Default::default(),
            limit: Default::default(),
            last: Default::default(),
            ended: Cell::new(0),
            succeeded: Cell::new(0),
        }
    }

    /// Task `t` may make its calls up to record `limit`.
    pub(super) fn allow(&self, t: TaskId, limit: usize) {
        self.limit[t as usize].set(limit);
    }

    fn take(&self, t: TaskId) -> Option<Next<'p>> {
        let (next, limit) = (&self.next[t as usize], self.limit[t as usize].get());
        while next.get() < limit {
            let i = next.replace(next.get() + 1);
            if let Rec::Call(call) = &self.records[i]
                && call.task == t
            {
                return Some(Next::Call(i as u8, call));
            }
        }
        match self.last[t as usize].take() {
            Last::Nothing => None,
            last => Some(Next::Last(last)),
        }
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
                sys.overrides.borrow_mut().push(crate::kernel::Override { call, n, priority });
            }
            _ => {}
        }
    }
}

/// A user task: makes its calls one after the other.
pub(super) async fn user_task(sys: &System, calls: &Calls<'_>, t: TaskId) {
    loop {
        let next = poll_fn(|_| match calls.take(t) {
            Some(next) => Poll::Ready(next),
            None => {
                sys.set_idle(t);
                Poll::Pending
            }
        });
        match next.await {
            Next::Call(number, call) => {
                let salt = u32::from(call.steps) | u32::from(call.op) << 8 | u32::from(t) << 16;
                sys.begin_call(t, number, salt);
                debug_assert!(op(call.op).is_some());
                // Entering the kernel is a step: what a call does first, looking a handle up, say,
                // is ordered by the schedule like everything else.
                sys.step(obj::counter(obj::CALLS_BEGUN), Access::Write, || ()).await;
                let mm = sys.current_mm();
                sys.emit(Event::CallBegin { call: number, op: call.op, args: call.args, mm });
                let ret = dispatch(sys, call.op, call.args).await;
                calls.ended.set(calls.ended.get() + 1);
                calls.succeeded.set(calls.succeeded.get() + ret.is_ok() as u32);
                let ret = ret.map_or_else(|errno| -(errno as i32), |value| value as i32);
                sys.emit(Event::CallEnd { call: number, ret });
            }
            Next::Last(Last::CloseAll) => sys.close_all().await,
            Next::Last(_) => {
                let left = exec_mmap(sys, true).await;
                assert!(left.is_ok(), "leaving an address space needs no memory");
            }
        }
    }
}

/// The disk.
pub(super) async fn disk(sys: &System) {
    disk_main(sys, &sys.disk, &sys.ext4).await;
}

/// The GPU.
pub(super) async fn gpu(sys: &System) {
    crate::ttm::sched_main::gpu_main(sys, &sys.ttm, &sys.gpu).await;
}

/// The kworker.
pub(super) async fn kworker(sys: &System) {
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
pub(super) async fn rcu(sys: &System) {
    loop {
        let work = rcu_do_batch(sys).await;
        match work.func {
            WorkFunc::FreeTable => pte_free(sys, work.arg).await,
            other => unreachable!("{other:?} is no RCU callback"),
        }
    }
}
