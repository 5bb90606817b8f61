// SPDX-License-Identifier: GPL-2.0-or-later
//! A run whose schedule is decided outside: by a test, or by another tool's scheduler.

use super::Outcome;
use super::exec::Exec;
use crate::kernel::TaskId;

/// A run under way.  All but the choice is as in any run: calls that are not marked as racing are made
/// when it is their turn, kernel tasks take part in races, and the same oracles listen.
///
/// ```
/// use gupfuzz::init::{Observe, start_kernel};
/// use gupfuzz::prog::Script;
///
/// let text = "0: mmap(addr=va0, len=1, prot=r|w, map=anon)\n0: store(addr=va0, value=1) &\n1: load(addr=va0) &\n";
/// let prog = Script::parse(text).unwrap().prog;
/// let mut computer = start_kernel(Default::default());
/// let mut drive = computer.drive(&prog, Observe::Oracles);
/// while drive.next_race() {
///     while drive.enabled() != 0 {
///         drive.step(drive.enabled().trailing_zeros() as u8); // whoever is first
///     }
/// }
/// assert!(drive.finish().is_silent());
/// ```
pub struct Drive<'c> {
    exec: Exec<'c, 'c>,
    next: usize,
    enabled: u16,
}

impl<'c> Drive<'c> {
    pub(super) fn new(exec: Exec<'c, 'c>) -> Drive<'c> {
        Drive { exec, next: 0, enabled: 0 }
    }

    /// Goes on to the next calls that race; `false`: there are none left, or the run is over.
    pub fn next_race(&mut self) -> bool {
        assert_eq!(self.enabled, 0, "a race under way");
        while self.exec.next_race(&mut self.next) {
            self.enabled = self.exec.racing().0;
            if self.enabled != 0 {
                return true;
            }
        }
        false
    }

    /// Tasks that can take the next step of the race, one bit each; 0: it is over.  A pending access
    /// that waits for a lock, an event or other CPUs is not among them until it can be taken.
    #[inline]
    pub fn enabled(&self) -> u16 {
        self.enabled
    }

    /// User tasks with calls in the race, one bit each, blocked or not.
    pub fn users(&self) -> u16 {
        self.exec.busy()
    }

    /// One of the enabled tasks takes its step.
    #[inline]
    pub fn step(&mut self, task: TaskId) {
        assert!(self.enabled >> task & 1 != 0, "task {task} is not enabled");
        self.exec.step_once(task);
        self.enabled = self.exec.racing().0;
    }

    /// The end of the program, as in any run.
    pub fn finish(self) -> Outcome {
        assert_eq!(self.enabled, 0, "a race under way");
        self.exec.finish(0)
    }
}
