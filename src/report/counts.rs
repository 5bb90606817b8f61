// SPDX-License-Identifier: GPL-2.0-or-later
//! What struct page says of a frame, followed through the trace from boot.
//!
//! The frame's own words: of a tail of a compound page the kernel counts at the head.

use crate::limits::{NR_DEVDAX, NR_FRAMES};
use crate::trace::{Event, Owner, Pfn, Pin};

/// What a frame's struct page and page_owner say at a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
pub struct PageState {
    /// `_refcount`.
    pub refcount: i32,
    /// Entries that map it; of the head of a compound page also those that map all of it.
    pub mapcount: i32,
    /// FOLL_PIN references that GUP gave out and that were not given back.
    pub pincount: i32,
    /// Whose memory it is.
    #[cfg_attr(feature = "cli", serde(serialize_with = "super::page::serialize"))]
    pub owner: Owner,
    /// Which allocation, or which free, of all there were.
    pub generation: u16,
}

/// A frame under observation.
pub(super) struct Counts {
    pfn: Pfn,
    /// As of the last event.
    pub(super) state: PageState,
    /// The page of the address space of an anonymous page.
    pub(super) index: Option<u8>,
    /// Allocations and frees of all frames so far: each begins a generation.
    turns: u16,
}

/// Frames of the dax device.
pub(super) fn is_dev(pfn: Pfn) -> bool {
    pfn.valid() && pfn.index() >= NR_FRAMES - NR_DEVDAX
}

impl Counts {
    /// At boot.
    pub(super) fn new(pfn: Pfn) -> Counts {
        let owner = if is_dev(pfn) || !pfn.valid() { Owner::Dev } else { Owner::Buddy };
        let state = PageState { refcount: is_dev(pfn).into(), owner, ..PageState::default() };
        Counts { pfn, state, index: None, turns: 0 }
    }

    /// The next event of the trace.
    pub(super) fn event(&mut self, event: &Event) {
        let state = &mut self.state;
        let covers = |first: Pfn, order: u8| (first.0..first.0 + (1 << order)).contains(&self.pfn.0);
        match *event {
            Event::Alloc { pfn, order, gen_, owner } => {
                self.turns += 1;
                if covers(pfn, order) {
                    if !matches!(state.owner, Owner::Pool(_)) {
                        // Not compound, or the head of one: only the first page counts.
                        state.refcount = (pfn == self.pfn).into();
                    }
                    (state.owner, state.generation, self.index) = (owner, gen_, None);
                }
            }
            Event::Free { pfn, order, owner, .. } => {
                self.turns += 1;
                if covers(pfn, order) {
                    (state.owner, state.generation) = (owner, self.turns);
                }
            }
            Event::Own { pfn, order, owner } if covers(pfn, order) => state.owner = owner,
            Event::Get { pfn, refcount, .. } | Event::Put { pfn, refcount, .. } if pfn == self.pfn => {
                state.refcount = refcount;
            }
            Event::Mapcount { pfn, delta, .. } if pfn == self.pfn => state.mapcount += delta,
            Event::GupPin { pfn, kind, .. } if pfn == self.pfn => state.pincount += i32::from(kind != Pin::Get),
            Event::GupUnpin { pfn, kind, .. } if pfn == self.pfn => state.pincount -= i32::from(kind != Pin::Get),
            Event::Map { pfn, va, anon: true, .. } if pfn == self.pfn => self.index = Some(va),
            _ => {}
        }
    }
}
