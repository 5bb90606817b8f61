// SPDX-License-Identifier: GPL-2.0-or-later
//! One byte a choice, from the program's `choices(...)` records.

use super::{Schedule, tasks};
use crate::kernel::machine::{Machine, TaskId};
use crate::kernel::pending::hash;
use crate::kernel::turn::Turn;

/// Takes a byte whenever more than one task can run; behind the last byte, a hash of the program.
#[derive(Debug)]
pub(crate) struct Bytes<'p> {
    choices: &'p [u8],
    next: usize,
    seed: u32,
}

impl<'p> Bytes<'p> {
    /// `seed`: a hash of the program.
    pub(crate) fn new(choices: &'p [u8], seed: u32) -> Bytes<'p> {
        Bytes { choices, next: 0, seed }
    }
}

impl Schedule for Bytes<'_> {
    fn pick(&mut self, _: &Machine, enabled: u16) -> TaskId {
        let n = enabled.count_ones();
        if n == 1 {
            return enabled.trailing_zeros() as TaskId;
        }
        let byte = match self.choices.get(self.next) {
            Some(&byte) => u32::from(byte),
            None => hash(self.seed, 0, self.next as u32) >> 8,
        };
        self.next += 1;
        tasks(enabled).nth((byte % n) as usize).expect("fewer than n")
    }

    fn turn(&self, _: u32, _: u16) -> Turn {
        Turn::Once
    }
}
