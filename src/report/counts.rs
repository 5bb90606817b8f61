// SPDX-License-Identifier: GPL-2.0-or-later
//! What struct page says of a frame, followed through the trace from boot.
//!
//! The frame's own words: of a compound page the kernel counts references at the head, see [`Folio`].

use crate::limits::{NR_DEVDAX, NR_FRAMES};
use crate::mm::memremap::{is_fsdax_page, is_zone_device_page};
use crate::trace::{Event, Owner, Pfn, Pin, Record};

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
    /// What leaves that map all of the compound page whose head it is add to the mapcount.
    entire: i32,
    /// Head and order of the compound page it is of.
    compound: Option<(Pfn, u8)>,
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
        let owner = match pfn {
            pfn if is_fsdax_page(pfn) => Owner::Blocks,
            pfn if is_dev(pfn) || !pfn.valid() => Owner::Dev,
            _ => Owner::Buddy,
        };
        let state = PageState { refcount: is_zone_device_page(pfn).into(), owner, ..PageState::default() };
        Counts { pfn, state, entire: 0, compound: None, index: None, turns: 0 }
    }

    /// The next event of the trace.
    pub(super) fn event(&mut self, event: &Event) {
        let state = &mut self.state;
        let covers = |first: Pfn, order: u8| (first.0..first.0 + (1 << order)).contains(&self.pfn.0);
        match *event {
            Event::Alloc { pfn, order, gen_, owner } => {
                self.turns += 1;
                if covers(pfn, order) {
                    if !matches!(state.owner, Owner::Pool(_) | Owner::Blocks) {
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
                    self.compound = None;
                }
            }
            Event::Own { pfn, order, owner } if covers(pfn, order) => state.owner = owner,
            Event::Get { pfn, refcount, .. } | Event::Put { pfn, refcount, .. } if pfn == self.pfn => {
                state.refcount = refcount;
            }
            Event::Mapcount { pfn, delta, entire, .. } if pfn == self.pfn => {
                state.mapcount += delta;
                self.entire += if entire { delta } else { 0 };
            }
            Event::Compound { pfn, order, whole } if covers(pfn, order) => {
                self.compound = whole.then_some((pfn, order));
            }
            Event::GupPin { pfn, kind, .. } if pfn == self.pfn => state.pincount += i32::from(kind != Pin::Get),
            Event::GupUnpin { pfn, kind, .. } if pfn == self.pfn => state.pincount -= i32::from(kind != Pin::Get),
            Event::Map { pfn, va, anon: true, .. } if pfn == self.pfn => self.index = Some(va),
            _ => {}
        }
    }
}

/// What dump_page() says of a compound page beyond what it says of one of its pages.
pub(super) struct Folio {
    pub(super) order: u8,
    /// Of the head, for all.
    pub(super) refcount: i32,
    /// Entries of all of its pages, and leaves.
    pub(super) mapcount: i32,
    /// Leaves.
    pub(super) entire_mapcount: i32,
    /// Pages with entries of their own.
    pub(super) nr_pages_mapped: usize,
    /// FOLL_PIN references of all of its pages.
    pub(super) pincount: i32,
}

impl Folio {
    /// The compound page of a page, if it is of one.
    pub(super) fn of(page: &Counts, records: &[Record]) -> Option<Folio> {
        let (head, order) = page.compound?;
        let count = |i: usize| {
            let mut counts = Counts::new(head.add(i));
            records.iter().for_each(|r| counts.event(&r.event));
            counts
        };
        let pages: Vec<Counts> = (0..1 << order).map(count).collect();
        Some(Folio {
            order,
            refcount: pages[0].state.refcount,
            mapcount: pages.iter().map(|page| page.state.mapcount).sum(),
            entire_mapcount: pages[0].entire,
            nr_pages_mapped: pages.iter().filter(|page| page.state.mapcount > page.entire).count(),
            pincount: pages.iter().map(|page| page.state.pincount).sum(),
        })
    }

    /// The mapcount of one of its pages: entries of its own, and leaves.
    pub(super) fn mapcount_of(&self, page: &Counts) -> i32 {
        page.state.mapcount - page.entire + self.entire_mapcount
    }
}
