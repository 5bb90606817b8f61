// SPDX-License-Identifier: GPL-2.0-or-later
//! Read-copy-update.  Linux: kernel/rcu/tree.c.
//!
//! An interrupts-off section is a reader; a grace period ends when every CPU that was in one has left it.

use super::machine::{KernelTask, Machine};
use super::smp::wait_irqs_on;
use super::wait::{WORD_RCU, wake_up};
use super::workqueue::{Work, WorkFunc};
use crate::trace::{Access, Event, obj};
use std::future::Future;

/// Runs a callback after a grace period.
#[track_caller]
pub(crate) fn call_rcu(k: &Machine, func: WorkFunc, arg: u8) -> impl Future<Output = ()> {
    k.step(obj::rcu(), Access::Write, move || {
        k.rcu.push(k.work(func, arg));
        wake_up(k, WORD_RCU);
    })
}

/// The rcu task's next callback, once there is one and its grace period is over.
///
/// The grace period begins here, so after the callback was queued.
pub(crate) async fn rcu_do_batch(k: &Machine) -> Work {
    super::enter!(k);
    let work = super::wait::wait_for_work(k, WORD_RCU, &k.rcu).await;
    synchronize_rcu(k).await;
    work
}

/// Waits until every interrupts-off section of now is left.
pub(crate) async fn synchronize_rcu(k: &Machine) {
    super::enter!(k);
    k.emit(Event::MightSleep);
    wait_irqs_on(k).await;
}

const _: () = assert!(KernelTask::Rcu as usize == crate::limits::NR_TASKS - 1);
