// SPDX-License-Identifier: GPL-2.0-or-later
//! The primitive: announce an access, hand the CPU back, and act when picked.

use super::machine::{Machine, Wait};
use crate::trace::{Access, Obj, Site};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// One object of an announced access.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Touch {
    pub(crate) obj: Obj,
    pub(crate) access: Access,
}

impl Default for Touch {
    fn default() -> Touch {
        Touch { obj: Obj::NONE, access: Access::Read }
    }
}

impl Touch {
    pub(crate) const fn read(obj: Obj) -> Touch {
        Touch { obj, access: Access::Read }
    }
    pub(crate) const fn write(obj: Obj) -> Touch {
        Touch { obj, access: Access::Write }
    }

    /// A bit for every object, many objects a bit: accesses without a bit in common do not conflict.
    #[inline]
    pub(crate) fn signature(touch: &[Touch; 3]) -> u64 {
        let bits = |t: &Touch| match t.obj.count {
            0 => 0,
            1 => u64::rotate_left(1, t.obj.first.into()),
            nr @ 2..64 => u64::rotate_left((1 << nr) - 1, t.obj.first.into()),
            _ => u64::MAX,
        };
        touch.iter().fold(0, |set, t| set | bits(t))
    }

    /// Whether a step that announced this may touch `obj` so.
    fn permits(self, obj: Obj, access: Access) -> bool {
        let enough = self.access == Access::Write || self.access == access;
        enough && self.obj.first <= obj.first && obj.first + obj.count <= self.obj.first + self.obj.count
    }

    /// Whether the order of the two accesses can matter.
    #[inline]
    pub(crate) fn conflicts(self, other: Touch) -> bool {
        let harmless = self.access == other.access && self.access != Access::Write;
        !harmless && self.obj.overlaps(other.obj)
    }
}

/// A step that was not taken yet.
///
/// The first poll announces and returns; the second acts.  So an access happens in one step, after
/// all other tasks had their chance.
pub(crate) struct Step<'k, F> {
    machine: &'k Machine,
    act: Option<F>,
    touch: [Touch; 3],
    site: Site,
    wait: Wait,
    armed: bool,
}

impl<R, F: FnOnce() -> R + Unpin> Future for Step<'_, F> {
    type Output = R;

    #[inline]
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<R> {
        let step = self.get_mut();
        if !step.armed {
            step.armed = true;
            step.machine.announce(step.site, step.touch, step.wait);
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
    pub(crate) fn step<R, F: FnOnce() -> R + Unpin>(&self, obj: Obj, access: Access, act: F) -> Step<'_, F> {
        self.step_on([Touch { obj, access }, Touch::default(), Touch::default()], Wait::Ready, act)
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
    pub(crate) fn step_on<R, F: FnOnce() -> R + Unpin>(&self, touch: [Touch; 3], wait: Wait, act: F) -> Step<'_, F> {
        Step { machine: self, act: Some(act), touch, site: Site::here(), wait, armed: false }
    }
}
