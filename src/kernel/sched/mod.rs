// SPDX-License-Identifier: GPL-2.0-or-later
//! Which task takes the next step.  A schedule is a value; the program carries it.

mod bytes;
mod pos;

pub(crate) use bytes::Bytes;
pub(crate) use pos::Pos;

use super::machine::{Machine, TaskId};
use super::turn::Turn;

/// Picks the next of some tasks that all can run.
pub(crate) trait Schedule {
    /// The task to run: one of `enabled`, one bit a task, never 0.
    fn pick(&mut self, k: &Machine, enabled: u16) -> TaskId;

    /// For how long the task that it has picked goes on before it is asked again, at most so many steps; only as long as
    /// it would pick that task of `active` again.
    fn turn(&self, steps: u32, active: u16) -> Turn;
}

/// The tasks of a set, lowest first.
#[inline]
pub(crate) fn tasks(set: u16) -> impl Iterator<Item = TaskId> {
    let mut set = u32::from(set);
    std::iter::from_fn(move || {
        if set == 0 {
            return None;
        }
        let task = set.trailing_zeros() as TaskId;
        set &= set - 1;
        Some(task)
    })
}
