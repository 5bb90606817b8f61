// SPDX-License-Identifier: GPL-2.0-or-later
//! Who may change entries, and which of them devices may copy, when.  Linux: the comments of
//! include/linux/mmu_notifier.h.
//!
//! Promised to whoever listens, of private and shared memory: an entry loses its page or its write
//! permission between start and end only (v2.6.27; for rmap walks since v4.14), and so he may copy
//! entries as long as he undoes that in start.
//! Promised by the driver that listens (v5.5, mmu_interval_read_begin()): after start and before end
//! he maps nothing of the range for his device, and his device reaches no page that is free.
//!
//! Must catch: the above at the moment it happens, whether or not the device then uses the page.
//! Must leave alone: an entry in a table that no pmd points to any more, as khugepaged clears them; one
//! that is made or gets more permissions; what a device maps before the callback for its range, which
//! undoes it; pages that stay mapped for a device because they are pinned.

use super::{Findings, Oracle, Violation, block};
use crate::limits::{BIO_MAX_VECS, NR_FRAMES, NR_HANDLES, NR_MMS, NR_TASKS, PTRS_PER_PTE};
use crate::trace::{Event, Pfn, Record};

/// Binary digits of the number of ranges a page lies in: no task is in more than two at once.
const DIGITS: usize = 6;
const _: () = assert!(2 * NR_TASKS < 1 << DIGITS);

/// An entry that was taken away outside of all ranges: unless the same step puts it back.
#[derive(Clone)]
struct Gone {
    r: Record,
    at: (u8, u8),
    pfn: Pfn,
    write: bool,
}

pub(super) struct MmuNotifier {
    /// How many ranges a page lies in, a binary digit a word, one bit a page, and the pages for which
    /// that is not 0.
    ranges: [[u64; DIGITS]; NR_MMS],
    inside: [u64; NR_MMS],
    /// Pages behind a pmd that points to a table, and pages that a pte maps, one bit each.
    tables: [u64; NR_MMS],
    mapped: [u64; NR_MMS],
    /// What a device reaches, by object: a page of an address space, the frame.
    maps: [[Option<(u8, u8, Pfn)>; BIO_MAX_VECS]; NR_HANDLES],
    /// How often devices reach a frame, and the frames for which that is not 0.
    reached: [u8; NR_FRAMES],
    any: u64,
    gone: Option<Gone>,
}

impl Default for MmuNotifier {
    fn default() -> MmuNotifier {
        MmuNotifier {
            ranges: [[0; DIGITS]; NR_MMS],
            inside: [0; NR_MMS],
            tables: [0; NR_MMS],
            mapped: [0; NR_MMS],
            maps: [[None; BIO_MAX_VECS]; NR_HANDLES],
            reached: [0; NR_FRAMES],
            any: 0,
            gone: None,
        }
    }
}

impl Oracle for MmuNotifier {
    fn reset(&mut self) {
        (self.ranges, self.inside) = ([[0; DIGITS]; NR_MMS], [0; NR_MMS]);
        (self.tables, self.mapped) = ([0; NR_MMS], [0; NR_MMS]);
        self.maps = [[None; BIO_MAX_VECS]; NR_HANDLES];
        self.reached = [0; NR_FRAMES];
        self.any = 0;
        self.gone = None;
    }

    #[inline(always)]
    fn event(&mut self, r: &Record, found: &mut Findings) {
        if let Some(gone) = self.gone.take() {
            let back = matches!(r.event, Event::Map { mm, va, pfn, write, .. }
                if (mm, va, pfn) == (gone.at.0, gone.at.1, gone.pfn) && write >= gone.write && r.step == gone.r.step);
            if !back {
                found.add(unannounced(&gone));
            }
        }
        match r.event {
            Event::Notify { mm, start, end, begin, .. } => self.range(mm, start, end, begin),
            Event::PmdTable { mm, va, live } => self.table(r, mm, va, live, found),
            Event::Map { mm, va, nr: 1, .. } => self.mapped[mm as usize] |= 1 << va,
            Event::Unmap { mm, va, pfn, nr, write, .. } => {
                let mm_ = mm as usize;
                let reached = nr > 1 || self.tables[mm_] >> va & 1 != 0;
                self.mapped[mm_] &= !(u64::from(nr == 1) << va);
                if reached && self.inside[mm_] >> va & 1 == 0 {
                    self.gone = Some(Gone { r: *r, at: (mm, va), pfn, write });
                }
            }
            Event::SecondaryMap { nr, mm, va, pfn, took, now } => self.map(r, nr, (mm, va), (pfn, took, now), found),
            Event::SecondaryUnmap { nr } => self.unmap(nr),
            Event::Free { pfn, order, gen_, .. } => {
                let set = block(pfn, 1 << order) & self.any;
                if set != 0 {
                    found.add(self.freed(r, super::lowest(set), gen_));
                }
            }
            _ => {}
        }
    }

    fn quiescent(&mut self, _k: &crate::mm::Kernel, found: &mut Findings) {
        if let Some(gone) = self.gone.take() {
            found.add(unannounced(&gone));
        }
    }
}

impl MmuNotifier {
    /// A table with entries goes as a whole, or comes back.
    fn table(&mut self, r: &Record, mm: u8, va: u8, live: bool, found: &mut Findings) {
        let behind = crate::arch::pages(va.into(), va as usize + PTRS_PER_PTE);
        let mm_ = mm as usize;
        self.tables[mm_] = if live { self.tables[mm_] | behind } else { self.tables[mm_] & !behind };
        let gone = self.mapped[mm_] & behind & !self.inside[mm_];
        if !live && gone != 0 {
            let va = gone.trailing_zeros();
            let message = format!("the page table with the entry of va{va} of mm {mm} goes, and no notifier was told");
            found.add(violation("entry-outside-range", r, message));
        }
    }

    fn range(&mut self, mm: u8, start: u8, end: u8, begin: bool) {
        let inside = &mut self.inside[mm as usize];
        // What is carried, or borrowed; nobody is in less than no range.
        let mut pages = crate::arch::pages(start.into(), end.into()) & if begin { u64::MAX } else { *inside };
        *inside = 0;
        for digit in &mut self.ranges[mm as usize] {
            let carry = pages & if begin { *digit } else { !*digit };
            *digit ^= pages;
            *inside |= *digit;
            pages = carry;
        }
    }

    fn map(&mut self, r: &Record, nr: u8, (mm, va): (u8, u8), (pfn, took, now): (Pfn, u16, u16), found: &mut Findings) {
        if self.inside[mm as usize] >> va & 1 != 0 {
            let message =
                format!("object u{nr} maps va{va} of mm {mm} to pfn {pfn} for its device while that entry changes");
            found.add(violation("secondary-map-in-range", r, message).frame(pfn, took, now));
        }
        if took != now {
            let message = format!(
                "object u{nr} maps va{va} of mm {mm} to pfn {pfn} for its device, looked up in generation {took}; by \
                 now it is {now}"
            );
            found.add(violation("secondary-map-of-freed", r, message).frame(pfn, took, now));
        }
        let maps = &mut self.maps[nr as usize];
        if let Some(slot) = maps.iter_mut().find(|m| m.is_none_or(|m| (m.0, m.1) == (mm, va))) {
            let old = slot.replace((mm, va, pfn));
            self.reach(pfn, true);
            if let Some((_, _, old)) = old {
                self.reach(old, false);
            }
        }
    }

    fn unmap(&mut self, nr: u8) {
        for (_, _, pfn) in std::mem::take(&mut self.maps[nr as usize]).into_iter().flatten() {
            self.reach(pfn, false);
        }
    }

    fn reach(&mut self, pfn: Pfn, more: bool) {
        if let Some(reached) = self.reached.get_mut(pfn.index()) {
            *reached = if more { *reached + 1 } else { *reached - 1 };
            self.any = if *reached > 0 { self.any | 1 << pfn.0 } else { self.any & !(1 << pfn.0) };
        }
    }

    #[cold]
    fn freed(&self, r: &Record, pfn: Pfn, gen_: u16) -> Violation {
        let maps = self.maps.iter().enumerate();
        let (nr, va) = maps
            .flat_map(|(nr, maps)| maps.iter().flatten().map(move |m| (nr, m)))
            .find_map(|(nr, m)| (m.2 == pfn).then_some((nr, m.1)))
            .expect("a count is an entry");
        let message = format!("pfn {pfn} is freed while a device has it for va{va} of object u{nr}");
        violation("secondary-entry-to-freed", r, message).frame(pfn, gen_, gen_)
    }
}

fn violation(kind: &'static str, r: &Record, message: String) -> Violation {
    Violation::new("mmu_notifier", kind, r, message)
}

#[cold]
fn unannounced(gone: &Gone) -> Violation {
    let Gone { r, at: (mm, va), pfn, .. } = gone;
    let message = format!("the entry of va{va} of mm {mm} to pfn {pfn} goes, and no notifier was told");
    violation("entry-outside-range", r, message).frame(*pfn, 0, 0)
}

#[cfg(test)]
mod tests {
    use super::super::testing::title;
    use super::*;
    use crate::trace::{Notify, Owner};

    const PFN: Pfn = Pfn(8);

    fn notify(begin: bool) -> (u8, Event) {
        (0, Event::Notify { mm: 0, start: 8, end: 10, kind: Notify::Clear, begin })
    }

    fn entry(map: bool, write: bool) -> (u8, Event) {
        let (mm, va, pfn, nr, anon, special) = (0, 9, PFN, 1, true, false);
        (
            0,
            match map {
                true => Event::Map { mm, va, pfn, nr, gen_: 1, anon, write, special },
                false => Event::Unmap { mm, va, pfn, nr, anon, write, special },
            },
        )
    }

    fn secondary(took: u16) -> (u8, Event) {
        (1, Event::SecondaryMap { nr: 2, mm: 0, va: 9, pfn: PFN, took, now: 1 })
    }

    const UNMAP: (u8, Event) = (1, Event::SecondaryUnmap { nr: 2 });
    const FREE: (u8, Event) =
        (0, Event::Free { pfn: PFN, order: 0, gen_: 2, owner: Owner::Buddy, refcount: 0, mapcount: 0 });

    const TABLE: (u8, Event) = (0, Event::PmdTable { mm: 0, va: 8, live: true });
    const NO_TABLE: (u8, Event) = (0, Event::PmdTable { mm: 0, va: 8, live: false });

    fn check(events: &[(u8, Event)]) -> String {
        let events: Vec<_> = [TABLE].iter().chain(events).copied().collect();
        title::<MmuNotifier>(&events)
    }

    #[test]
    fn entries_go_between_start_and_end_only() {
        assert_eq!(check(&[entry(true, true), notify(true), entry(false, true), notify(false), entry(true, true)]), "");
        assert_eq!(check(&[entry(false, true), FREE]), "entry-outside-range in f");
        assert_eq!(check(&[notify(true), notify(true), notify(false), entry(false, true), FREE]), "");
        assert_eq!(
            check(&[notify(true), notify(false), entry(false, true), entry(true, true)]),
            "entry-outside-range in f",
            "put back in another step"
        );
    }

    #[test]
    fn a_table_takes_its_entries_along() {
        assert_eq!(check(&[entry(true, true), notify(true), NO_TABLE, notify(false), entry(false, true), FREE]), "");
        assert_eq!(check(&[entry(true, true), NO_TABLE]), "entry-outside-range in f");
        assert_eq!(check(&[NO_TABLE]), "", "an empty one");
    }

    #[test]
    fn devices_map_what_is_there_and_does_not_change() {
        assert_eq!(check(&[secondary(1), notify(true), UNMAP, notify(false), FREE]), "");
        assert_eq!(check(&[notify(true), secondary(1)]), "secondary-map-in-range in f");
        assert_eq!(check(&[notify(true), notify(false), secondary(0)]), "secondary-map-of-freed in f");
        assert_eq!(check(&[secondary(1), secondary(1), FREE]), "secondary-entry-to-freed in f");
    }
}
