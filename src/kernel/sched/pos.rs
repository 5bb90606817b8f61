// SPDX-License-Identifier: GPL-2.0-or-later
//! Partial order sampling.
//!
//! Yuan, Yang, Gu: *Partial Order Aware Concurrency Sampling*, CAV 2018.  Every pending access has a
//! random priority; the highest that can run runs; whatever conflicts with it draws again, unless it sleeps.
//!
//! That is what every fourth seed does.  The others have patience, as priorities of tasks have it
//! (Burckhardt, Kothari, Musuvathi, Nagarakatti: *A Randomized Scheduler with Probabilistic Guarantees of
//! Finding Bugs*, ASPLOS 2010): a draw outlasts two accesses or conflicts, four or eight, on average, so
//! that a task can stay suspended while others make whole calls.

use super::{Schedule, tasks};
use crate::kernel::machine::{Machine, TaskId};
use crate::kernel::step::Touch;
use crate::kernel::turn::Turn;

/// Draws are the machine's, made as accesses are announced ([`crate::kernel::Draw::Pos`]).
#[derive(Debug, Default)]
pub(crate) struct Pos;

impl Pos {
    /// The one of `enabled` whose pending access has the highest priority; of equals the lowest.
    #[inline]
    pub(in crate::kernel) fn highest(k: &Machine, enabled: u16) -> TaskId {
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

    /// `task` took the step it had announced as `touch`: whoever of `active` meets it draws again.
    #[inline]
    pub(in crate::kernel) fn taken(k: &Machine, task: TaskId, touch: &[Touch; 3], active: u16) {
        let (own, also) = (Touch::signature(touch), k.also.signature());
        for t in tasks(active & k.contending() & !(1 << task)) {
            let signature = k.signature(t);
            if signature & (own | also) != 0 {
                redraw_if_conflicting(k, t, touch, signature & own != 0, signature & also != 0);
            }
        }
    }
}

impl Schedule for Pos {
    #[inline]
    fn pick(&mut self, k: &Machine, enabled: u16) -> TaskId {
        Pos::highest(k, enabled)
    }

    #[inline]
    fn turn(&self, steps: u32, active: u16) -> Turn {
        Turn::Race { steps, active }
    }
}

/// `own`, `also`: what was announced can conflict, what was not.
#[inline(never)]
fn redraw_if_conflicting(k: &Machine, t: TaskId, touch: &[Touch; 3], own: bool, also: bool) {
    let pending = k.task(t).touch.get();
    if own && Touch::conflict(touch, &pending) || also && k.also.conflicts(&pending) {
        k.redraw(t);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixes::FixSet;
    use crate::kernel::*;
    use crate::trace::{Access, obj};
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    const A: Lock = Lock::new(LockClass::Pool, 0);
    const B: Lock = Lock::new(LockClass::Pool, 1);

    fn machine() -> Machine {
        let k = Machine::new(FixSet::newest());
        k.reset(FixSet::newest(), Draw::Pos { seed: 1 });
        k
    }

    /// How often an access of task 1 is drawn again by the last of so many steps of task 0, before
    /// which it was announced.
    fn redraws(k: &Machine, steps: u32, mover: impl Future, pending: impl Future) -> u16 {
        let (mut mover, mut pending) = (pin!(mover), pin!(pending));
        let mut context = Context::from_waker(Waker::noop());
        k.set_current(0);
        assert!(mover.as_mut().poll(&mut context).is_pending());
        for left in (0..steps).rev() {
            if left == 0 {
                k.set_current(1);
                assert!(pending.as_mut().poll(&mut context).is_pending());
            }
            k.begin_turn(0, Turn::Race { steps: 1, active: 0b11 });
            let _ = mover.as_mut().poll(&mut context);
            k.end_turn();
        }
        k.tasks[1].redraws.get()
    }

    async fn lock_and_unlock(k: &Machine) {
        spin_lock(k, A).await;
        k.step(obj::counter(0), Access::Write, || ()).await;
        spin_unlock(k, A);
        k.step(obj::counter(0), Access::Write, || ()).await;
    }

    #[test]
    fn a_trylock_is_drawn_again_when_the_lock_is_released() {
        let with = |steps, lock| {
            let k = machine();
            redraws(&k, steps, lock_and_unlock(&k), async { trylock(&k, lock).await })
        };
        assert_eq!(with(2, A), 1, "the step that ends with the release");
        assert_eq!(with(2, B), 0, "another lock");
        assert_eq!(with(3, A), 0, "what a step touched is forgotten behind it");
    }

    /// Task 0 has interrupts off for a step, inside of another such section if `nested`.
    async fn irqs_off(k: &Machine, nested: bool) {
        if nested {
            local_irq_save(k).await;
        }
        local_irq_save(k).await;
        k.step(obj::counter(0), Access::Write, || ()).await;
        local_irq_restore(k);
        k.step(obj::counter(0), Access::Write, || ()).await;
    }

    #[test]
    fn a_flush_is_drawn_again_when_interrupts_go_on() {
        let k = machine();
        assert_eq!(redraws(&k, 2, irqs_off(&k, false), flush_tlb_others(&k, || 1, 1)), 1);
        let k = machine();
        assert_eq!(redraws(&k, 3, irqs_off(&k, true), flush_tlb_others(&k, || 1, 1)), 0, "they stay off");
        let k = machine();
        let another = async { k.step(obj::irq(1), Access::Read, || ()).await };
        assert_eq!(redraws(&k, 2, irqs_off(&k, false), another), 0, "another CPU");
    }

    #[test]
    fn a_look_at_a_word_is_drawn_again_when_it_is_set() {
        let with = |word| {
            let k = machine();
            let waker = async {
                k.step(obj::counter(0), Access::Write, || ()).await;
                wake_up(&k, WORD_BIO);
            };
            redraws(&k, 1, waker, async { word_is_set(&k, word).await })
        };
        assert_eq!(with(WORD_BIO), 1);
        assert_eq!(with(WORD_BIO + 1), 0);
    }

    #[test]
    fn more_than_is_remembered_conflicts_with_everything() {
        let with = |words| {
            let k = machine();
            let waker = async {
                k.step(obj::counter(0), Access::Write, || ()).await;
                (0..words).for_each(|word| wake_up(&k, word));
            };
            redraws(&k, 1, waker, async { trylock(&k, A).await })
        };
        assert_eq!(with(8), 0);
        assert_eq!(with(9), 1);
    }
}
