// SPDX-License-Identifier: GPL-2.0-or-later
//! Partial order sampling.
//!
//! Yuan, Yang, Gu: *Partial Order Aware Concurrency Sampling*, CAV 2018.  Every pending access has a
//! random priority; the highest that can run runs; whatever conflicts with it draws again.

use super::{Schedule, tasks};
use crate::kernel::machine::{Machine, TaskId};
use crate::kernel::step::Touch;

/// Draws are the machine's, made as accesses are announced ([`crate::kernel::Draw::Pos`]).
#[derive(Debug, Default)]
pub(crate) struct Pos;

impl Schedule for Pos {
    #[inline]
    fn pick(&mut self, k: &Machine, enabled: u16) -> TaskId {
        let mut best = enabled.trailing_zeros() as TaskId;
        if enabled & (enabled - 1) == 0 {
            return best;
        }
        let mut highest = k.priority(best);
        for t in tasks(enabled & (enabled - 1)) {
            let priority = k.priority(t);
            if priority > highest {
                (best, highest) = (t, priority);
            }
        }
        best
    }

    #[inline]
    fn taken(&mut self, k: &Machine, task: TaskId, touch: &[Touch; 3], active: u16) {
        let signature = Touch::signature(touch);
        for t in tasks(active & !(1 << task)) {
            if signature & k.signatures[t as usize].get() == 0 {
                continue;
            }
            let pending = k.tasks[t as usize].touch.get();
            if touch.iter().any(|a| pending.iter().any(|b| a.conflicts(*b))) {
                k.redraw(t);
            }
        }
    }
}
