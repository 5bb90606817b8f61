// SPDX-License-Identifier: GPL-2.0-or-later
//! What a fork under way may tear apart.

/// A fork under way, of which an address space is the parent.
#[derive(Clone, Copy)]
pub(super) struct Fork {
    pub(super) running: bool,
    /// Pages that were written since it began, and pages that were copied at once.
    pub(super) written: u64,
    pub(super) copied: u64,
    /// The first store that a copy had been made too early for, and a later one that the child sees.
    pub(super) lost: Option<(u8, u32)>,
    pub(super) torn: Option<(u8, u32)>,
}

impl Fork {
    pub(super) const NEW: Fork = Fork { running: false, written: 0, copied: 0, lost: None, torn: None };

    /// A store to private memory of the parent.
    pub(super) fn store(&mut self, step: u32, va: u8) {
        if !self.running {
            return;
        }
        if self.copied >> va & 1 != 0 {
            self.lost = self.lost.or(Some((va, step)));
        } else if self.lost.is_some() {
            self.torn = self.torn.or(Some((va, step)));
        }
    }
}
