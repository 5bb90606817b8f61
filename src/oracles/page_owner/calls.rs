// SPDX-License-Identifier: GPL-2.0-or-later
//! Calls that are under way, and what they do to memory that others look at.

use super::PageOwner;
use crate::kernel::sched::tasks;

/// The present call of a task.
#[derive(Clone, Copy)]
pub(super) struct Running {
    mm: u8,
    /// Pages it discards.
    discards: u64,
    /// Pages that are plain anonymous memory if it succeeds.
    plain: u64,
    /// Pages that another call discarded since it began.
    pub(super) disturbed: u64,
}

/// Of a task that is inside of no call.
pub(super) const IDLE: Running = Running { mm: u8::MAX, discards: 0, plain: 0, disturbed: 0 };

impl PageOwner {
    #[inline]
    pub(super) fn begin(&mut self, task: u8, nr: u8, args: [u8; 5], mm: u8) {
        let Some(space) = self.spaces.get(mm as usize) else { return };
        self.inside |= 1 << task;
        self.running[task as usize] = Running { mm, discards: 0, plain: 0, disturbed: space.unstable };
        if self.doing[nr as usize].is_something() {
            self.begin_something(task, nr, args, mm);
        }
    }

    #[inline(never)]
    fn begin_something(&mut self, task: u8, nr: u8, args: [u8; 5], mm: u8) {
        let (doing, space) = (self.doing[nr as usize], &mut self.spaces[mm as usize]);
        space.dontfork |= doing.is_dontfork(args);
        let (discards, plain) = doing.effect(args, space.plain);
        if discards == 0 {
            return;
        }
        let running = &mut self.running[task as usize];
        (running.discards, running.plain) = (discards, plain);
        space.unstable |= discards;
        space.known &= !discards;
        space.pinned &= !discards;
        // What was plain and becomes plain again is never anything else between.
        space.plain &= !discards | plain;
        for other in tasks(self.inside & !(1 << task)) {
            let running = &mut self.running[other as usize];
            if running.mm == mm {
                running.disturbed |= discards;
            }
        }
    }

    pub(super) fn end(&mut self, task: u8, success: bool) {
        let Running { mm, discards, plain, disturbed } = std::mem::replace(&mut self.running[task as usize], IDLE);
        self.inside &= !(1 << task);
        let Some(space) = self.spaces.get_mut(mm as usize) else { return };
        if discards == 0 {
            return;
        }
        let others = tasks(self.inside).map(|t| self.running[t as usize]).filter(|t| t.mm == mm);
        space.unstable = others.fold(0, |set, t| set | t.discards);
        if success && discards & disturbed == 0 {
            space.plain |= plain;
        }
    }
}
