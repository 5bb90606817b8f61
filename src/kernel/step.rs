// SPDX-License-Identifier: GPL-2.0-or-later
//! The primitive: announce an access, hand the CPU back, and act when picked.

use super::machine::Machine;
use super::pending::Wait;
use crate::trace::{Access, Obj, Site};
use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// One object of an announced access, as one word: every step moves three of them around.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Touch(u32);

impl Default for Touch {
    #[inline]
    fn default() -> Touch {
        Touch::NONE
    }
}

impl Touch {
    /// Nothing.
    pub(crate) const NONE: Touch = Touch::read(Obj::NONE);

    #[inline]
    pub(crate) const fn new(obj: Obj, access: Access) -> Touch {
        Touch((obj.first as u32) << 16 | (obj.count as u32) << 8 | access as u32)
    }
    #[inline]
    pub(crate) const fn read(obj: Obj) -> Touch {
        Touch::new(obj, Access::Read)
    }
    #[inline]
    pub(crate) const fn write(obj: Obj) -> Touch {
        Touch::new(obj, Access::Write)
    }

    #[inline]
    pub(crate) const fn obj(self) -> Obj {
        Obj { first: (self.0 >> 16) as u16, count: (self.0 >> 8) as u8 }
    }

    #[inline]
    pub(crate) const fn access(self) -> Access {
        match self.0 as u8 {
            0 => Access::Read,
            1 => Access::Write,
            _ => Access::Commute,
        }
    }

    /// Accesses whose signatures have no bit in common do not conflict.
    #[inline]
    pub(crate) fn signature(touch: &[Touch; 3]) -> u64 {
        let [first, rest @ ..] = touch;
        match rest {
            [Touch::NONE, Touch::NONE] => first.obj().signature(),
            [second, third] => first.obj().signature() | second.obj().signature() | third.obj().signature(),
        }
    }

    /// Whether a step that announced this may touch `obj` so.
    fn permits(self, obj: Obj, access: Access) -> bool {
        let enough = self.access() == Access::Write || self.access() == access;
        enough && self.obj().covers(obj)
    }

    /// Whether any two of the accesses of two steps conflict.
    #[inline]
    pub(crate) fn conflict(a: &[Touch; 3], b: &[Touch; 3]) -> bool {
        // Nothing stands behind nothing.
        let some = |touch: &&Touch| **touch != Touch::NONE;
        a.iter().take_while(some).any(|a| b.iter().take_while(some).any(|b| a.conflicts(*b)))
    }

    /// Whether the order of the two accesses can matter.
    #[inline]
    pub(crate) fn conflicts(self, other: Touch) -> bool {
        let harmless = self.0 as u8 == other.0 as u8 && self.0 as u8 != Access::Write as u8;
        !harmless && self.obj().overlaps(other.obj())
    }
}

/// What a step touches without having announced it: a lock it releases, a word it sets, its CPU that
/// takes interrupts again.  A pending access that conflicts with it is drawn again like any other.
pub(super) struct Unannounced {
    objs: [Cell<Obj>; 8],
    nr: Cell<u8>,
}

impl Default for Unannounced {
    fn default() -> Unannounced {
        Unannounced { objs: [const { Cell::new(Obj::NONE) }; 8], nr: Cell::new(0) }
    }
}

impl Unannounced {
    #[inline]
    pub(super) fn clear(&self) {
        self.nr.set(0);
    }

    #[inline]
    pub(super) fn add(&self, obj: Obj) {
        let nr = self.nr.get();
        match self.objs.get(nr as usize) {
            Some(slot) => {
                slot.set(obj);
                self.nr.set(nr + 1);
            }
            // What does not fit is taken to be everything.
            None => self.nr.set(u8::MAX),
        }
    }

    /// As [`Touch::signature`]; worked out when somebody asks, who is not alone.
    #[inline]
    pub(super) fn signature(&self) -> u64 {
        if self.nr.get() == 0 { 0 } else { self.work_out_signature() }
    }

    #[inline(never)]
    fn work_out_signature(&self) -> u64 {
        let objs = self.objs.get(..self.nr.get() as usize);
        objs.map_or(u64::MAX, |objs| objs.iter().fold(0, |set, obj| set | obj.get().signature()))
    }

    /// Whether its order with a pending access can matter.
    pub(super) fn conflicts(&self, pending: &[Touch; 3]) -> bool {
        match self.objs.get(..self.nr.get() as usize) {
            Some(objs) => objs.iter().any(|obj| pending.iter().any(|p| Touch::write(obj.get()).conflicts(*p))),
            None => true,
        }
    }
}

/// A step that was announced and not taken yet: to be awaited at once.
///
/// The first poll returns; the second acts.  So an access happens in one step, after all other tasks
/// had their chance.  Where it is still the turn of the task ([`super::Turn`]), the first acts.
#[must_use = "the step is announced, and somebody has to take it"]
pub(crate) struct Step<F> {
    act: Option<F>,
    waited: bool,
}

impl<R, F: FnOnce() -> R + Unpin> Future for Step<F> {
    type Output = R;

    #[inline]
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<R> {
        let step = self.get_mut();
        if !std::mem::replace(&mut step.waited, true) {
            return Poll::Pending;
        }
        let act = step.act.take().expect("a step is taken once");
        Poll::Ready(act())
    }
}

impl Machine {
    /// One step that touches one object.
    #[track_caller]
    #[inline]
    pub(crate) fn step<R, F: FnOnce() -> R + Unpin>(&self, obj: Obj, access: Access, act: F) -> Step<F> {
        self.step_on([Touch::new(obj, access), Touch::default(), Touch::default()], Wait::Ready, act)
    }

    /// Lockless-visible state says which object it belongs to: the present step must have announced all
    /// of it, for reading, writing or, a blind increment, as commuting.  Only where debug assertions are on.
    #[track_caller]
    #[inline]
    pub(crate) fn assert_announced(&self, obj: Obj, access: Access) {
        debug_assert!(
            self.pending(self.current()).0.iter().any(|t| t.permits(obj, access)),
            "{obj} is touched ({access:?}) in a step that did not announce it"
        );
    }

    /// One step that touches up to three ranges of objects and waits before.
    #[track_caller]
    #[inline]
    pub(crate) fn step_on<R, F: FnOnce() -> R + Unpin>(&self, touch: [Touch; 3], wait: Wait, act: F) -> Step<F> {
        self.announce(Site::here(), touch, wait);
        Step { act: Some(act), waited: self.go_on() }
    }
}
