// SPDX-License-Identifier: GPL-2.0-or-later
//! No oracle: what a run exercised, so that a silent run can be told from an idle one.

use crate::limits::NR_FRAMES;
use crate::trace::{Event, Record};

/// Counts of one run.
#[derive(Debug)]
pub(crate) struct Stats {
    pins: [u16; NR_FRAMES],
    pin_across_unmap: bool,
    /// The epilogue is under way, in which everything is unmapped.
    over: bool,
}

impl Default for Stats {
    fn default() -> Stats {
        Stats { pins: [0; NR_FRAMES], pin_across_unmap: false, over: false }
    }
}

impl Stats {
    pub(crate) fn reset(&mut self) {
        self.pins.fill(0);
        self.pin_across_unmap = false;
        self.over = false;
    }

    /// Processes exit from here on.
    pub(crate) fn stop(&mut self) {
        self.over = true;
    }

    #[inline]
    pub(crate) fn event(&mut self, record: &Record) {
        match record.event {
            Event::GupPin { pfn, .. } => self.pins[pfn.index()] += 1,
            Event::GupUnpin { pfn, .. } => self.pins[pfn.index()] = self.pins[pfn.index()].saturating_sub(1),
            Event::Unmap { pfn, nr, .. } if !self.pin_across_unmap && !self.over => {
                let frames = pfn.index()..(pfn.index() + nr as usize).min(NR_FRAMES);
                self.pin_across_unmap = frames.into_iter().any(|i| self.pins[i] > 0);
            }
            _ => {}
        }
    }

    /// A page was unmapped while somebody held a GUP reference to it.
    pub(crate) fn pin_across_unmap(&self) -> bool {
        self.pin_across_unmap
    }
}
