// SPDX-License-Identifier: GPL-2.0-or-later
//! A CPU as data: its translation lookaside buffer and its interrupt flag.

mod tlb;

pub(crate) use tlb::{Tlb, TlbEntry, pages};

use std::cell::Cell;

/// A CPU.  Task n runs on CPU n and never migrates.
#[derive(Debug, Default)]
pub(crate) struct Cpu {
    /// Cached translations of the running task's address space.
    pub(crate) tlb: Tlb,
    /// Depth of interrupts-off sections; an IPI or a grace period waits while it is not 0.
    pub(crate) irqs_off: Cell<u8>,
    /// In the middle of an instruction: translated, not yet accessed.
    pub(crate) in_instruction: Cell<bool>,
    /// A shootdown arrived while interrupts were off: the pages to forget when they go on again.
    pub(crate) flush_pending: Cell<u64>,
}

impl Cpu {
    pub(crate) fn reset(&self) {
        self.tlb.flush_all();
        self.irqs_off.set(0);
        self.in_instruction.set(false);
        self.flush_pending.set(0);
    }
}
