// SPDX-License-Identifier: GPL-2.0-or-later
//! The end of a run: whatever its schedule, everything comes to its end in the same order.

use super::exec::{Exec, Over};
use super::tasks::Last;
use super::{Observe, Outcome, Verdict};
use crate::kernel::TaskId;
use crate::limits::NR_USER_TASKS;

impl Exec<'_, '_> {
    /// Everything comes to its end; what it came to.
    pub(super) fn finish(mut self, seed: u32) -> Outcome {
        let own_steps = self.sys.steps();
        self.epilogue();
        let Exec { over, ended: calls, succeeded, .. } = self;
        let mut ears = self.ears.borrow_mut();
        let verdict = match over {
            Some(Over::Cut) => Verdict::Cut,
            Some(Over::Found) => {
                Verdict::Violation(Box::new(ears.oracles.take_violation().expect("an oracle has found something")))
            }
            None => Verdict::Silent,
        };
        Outcome {
            verdict,
            seed,
            steps: self.sys.steps(),
            own_steps,
            calls,
            succeeded,
            pin_across_unmap: ears.oracles.stats.pin_across_unmap(),
            depth_sum: self.sys.depth_sum(),
            digest: ears.digest,
        }
    }

    /// Everything comes to its end, in a fixed round robin: calls, kernel tasks, processes, handles.
    fn epilogue(&mut self) {
        self.drain();
        self.ears.borrow_mut().oracles.stats.stop();
        // What every program does at its end is no new behaviour.
        self.sys.let_look(false);
        for t in 0..NR_USER_TASKS as TaskId {
            if self.users[t as usize].has_called() || !self.sys.leave_mm_unseen(t) {
                self.last(t, Last::Exit);
            }
        }
        self.last(0, Last::CloseAll);
        if self.over.is_none() && self.observe != Observe::Bare {
            self.ears.borrow_mut().oracles.quiescent(self.sys);
            self.listen();
        }
    }

    fn last(&mut self, t: TaskId, last: Last) {
        if self.over.is_none() {
            self.users[t as usize].last = Some(last);
            self.sys.set_current(t);
            self.poll(t);
            self.drain();
        }
    }

    /// Round robin until calls have ended and kernel tasks sleep.
    fn drain(&mut self) {
        while self.over.is_none() {
            let mut moved = false;
            // Those that are awake now, each if it can run when it is its turn.
            let mut left = self.sys.awake();
            while left & self.sys.enabled() != 0 && self.over.is_none() {
                let t = (left & self.sys.enabled()).trailing_zeros();
                left &= u16::MAX << 1 << t;
                self.steps_only(t as TaskId);
                moved = true;
            }
            if moved {
                continue;
            }
            match self.busy() | self.stuck() {
                0 => return,
                blocked => self.deadlock(blocked),
            }
        }
    }
}
