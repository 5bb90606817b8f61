// SPDX-License-Identifier: GPL-2.0-or-later
//! Who parted an owner from the frame that a write of his went to: he is to blame if it is lost.
//!
//! That is who took the entry, or its write permission, away from the frame, and it never came back:
//! reclaim, fork, khugepaged, mprotect.  Of a pin that was taken while a fork ran it is GUP, which
//! should have given it back.

use crate::trace::{Func, Pfn};

/// A frame and its generation.
type Frame = (Pfn, u16);

/// One page of an address space.
#[derive(Clone, Copy)]
pub(super) struct Parted {
    from: Option<(Frame, Func)>,
    /// Who pinned the page while a fork ran.
    raced: Option<Func>,
}

impl Parted {
    pub(super) const NEW: Parted = Parted { from: None, raced: None };

    /// A writable entry to the frame goes, or becomes read-only.
    pub(super) fn unmap(&mut self, frame: Frame, by: Func, forking: bool) {
        if self.from.is_none_or(|(from, _)| from != frame) {
            self.from = Some((frame, self.raced.filter(|_| forking).unwrap_or(by)));
        }
    }

    /// A writable entry to the frame comes.
    pub(super) fn map(&mut self, frame: Frame) {
        self.from = self.from.filter(|(from, _)| *from != frame);
    }

    /// The page is pinned for writing.
    pub(super) fn pin(&mut self, frame: Frame, by: Func, forking: bool) {
        self.raced = forking.then_some(by);
        if forking && self.from.is_some_and(|(from, _)| from == frame) {
            self.from = Some((frame, by)); // the fork was faster
        }
    }

    /// Who parted the owner from the frame.
    pub(super) fn blame(&self, frame: Frame) -> Option<Func> {
        self.from.filter(|(from, _)| *from == frame).map(|(_, by)| by)
    }
}
