// SPDX-License-Identifier: GPL-2.0-or-later
//! Secondary MMUs hear of entries that change.  Linux: mm/mmu_notifier.c.
//!
//! Whoever changes entries calls both; between them no secondary MMU may map the range anew.

use super::mm_types::*;
use crate::kernel::enter;
use crate::trace::{Event, Notify};

/// A range of one address space.  Linux: struct mmu_notifier_range.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MmuNotifierRange {
    pub(crate) mm: u8,
    pub(crate) start: u8,
    pub(crate) end: u8,
    pub(crate) event: Notify,
}

impl MmuNotifierRange {
    /// mmu_notifier_range_init().
    pub(crate) fn new(event: Notify, mm: u8, start: u8, end: u8) -> MmuNotifierRange {
        MmuNotifierRange { mm, start, end, event }
    }
}

/// Before the first entry changes.  May sleep.
pub(crate) async fn mmu_notifier_invalidate_range_start(k: &Kernel, range: &MmuNotifierRange) {
    enter!(k);
    k.emit(Event::MightSleep);
    emit(k, range, true);
}

/// After the last entry has changed.
pub(crate) async fn mmu_notifier_invalidate_range_end(k: &Kernel, range: &MmuNotifierRange) {
    enter!(k);
    emit(k, range, false);
}

fn emit(k: &Kernel, range: &MmuNotifierRange, begin: bool) {
    let MmuNotifierRange { mm, start, end, event: kind } = *range;
    k.emit(Event::Notify { mm, start, end, kind, begin });
}
