// SPDX-License-Identifier: GPL-2.0-or-later
//! Entries of page tables against the life of frames.  Linux: mm/page_table_check.c (v5.17).
//!
//! Promised to every owner of a frame, always: while a frame is free, and at the moment it is allocated or
//! freed, no entry maps it, ordinary or special; an anonymous page is writable through one entry only.
//! TTM's pools count as free, which the kernel's checker does not know.
//!
//! Must catch: memory freed before it was unmapped, an entry to memory that was never allocated.
//! Must leave alone: entries that are gone while translations of them are cached (`tlb_check` has
//! those); several entries to a page of a file, a buffer object or a device; VRAM.

use super::{Findings, Oracle, Violation, block, frames, lowest};
use crate::limits::NR_FRAMES;
use crate::trace::{Event, Pfn, Record};

pub(super) struct PageTableCheck {
    free: u64,
    /// Frames that some entry maps.
    mapped: u64,
    /// How many entries map a frame.
    maps: [u8; NR_FRAMES],
}

impl Default for PageTableCheck {
    fn default() -> PageTableCheck {
        PageTableCheck { free: 0, mapped: 0, maps: [0; NR_FRAMES] }
    }
}

impl Oracle for PageTableCheck {
    fn reset(&mut self) {
        *self = PageTableCheck { free: super::kasan::free_at_boot(), ..PageTableCheck::default() };
    }

    #[inline(always)]
    fn event(&mut self, r: &Record, found: &mut Findings) {
        match r.event {
            Event::Map { mm, va, pfn, nr, gen_, anon, write, .. } => {
                let set = block(pfn, nr.into());
                self.mapped |= set;
                for pfn in frames(set) {
                    self.maps[pfn.index()] = self.maps[pfn.index()].saturating_add(1);
                }
                if set & self.free != 0 {
                    let pfn = lowest(set & self.free);
                    let message = format!("page va{va} of mm {mm} is mapped to pfn {pfn}, which is free");
                    found.add(violation("page-table-check-map", r, message).frame(pfn, gen_, gen_));
                }
                if anon
                    && write
                    && let Some(pfn) = frames(set).find(|pfn| self.maps[pfn.index()] > 1)
                {
                    let maps = self.maps[pfn.index()];
                    let message = format!(
                        "anonymous pfn {pfn} becomes writable at va{va} of mm {mm} while {maps} entries map it"
                    );
                    found.add(violation("page-table-check-anon", r, message).frame(pfn, gen_, gen_));
                }
            }
            Event::Unmap { pfn, nr, .. } => {
                for pfn in frames(block(pfn, nr.into())) {
                    let maps = &mut self.maps[pfn.index()];
                    *maps = maps.saturating_sub(1);
                    self.mapped &= !(u64::from(*maps == 0) << pfn.0);
                }
            }
            Event::Alloc { pfn, order, gen_, .. } => {
                let set = block(pfn, 1 << order);
                self.free &= !set;
                if set & self.mapped != 0 {
                    found.add(self.still_mapped("page-table-check-alloc", r, set, gen_));
                }
            }
            Event::Free { pfn, order, gen_, .. } => {
                let set = block(pfn, 1 << order);
                self.free |= set;
                if set & self.mapped != 0 {
                    found.add(self.still_mapped("page-table-check-free", r, set, gen_));
                }
            }
            _ => {}
        }
    }
}

impl PageTableCheck {
    fn still_mapped(&self, kind: &'static str, r: &Record, set: u64, gen_: u16) -> Violation {
        let pfn: Pfn = lowest(set & self.mapped);
        let done = if kind == "page-table-check-free" { "freed" } else { "allocated" };
        let maps = self.maps[pfn.index()];
        let entries = if maps == 1 { "entry maps" } else { "entries map" };
        violation(kind, r, format!("pfn {pfn} is {done} while {maps} {entries} it")).frame(pfn, gen_, gen_)
    }
}

fn violation(kind: &'static str, r: &Record, message: String) -> Violation {
    Violation::new("page_table_check", kind, r, message)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{feed, title};
    use super::*;
    use crate::trace::Owner;

    fn alloc(pfn: u8, order: u8) -> (u8, Event) {
        (0, Event::Alloc { pfn: Pfn(pfn), order, gen_: 1, owner: Owner::Kernel })
    }
    fn free(pfn: u8, order: u8, owner: Owner) -> (u8, Event) {
        (0, Event::Free { pfn: Pfn(pfn), order, gen_: 1, owner, refcount: 0, mapcount: 0 })
    }
    fn map(pfn: u8, nr: u8, anon: bool, write: bool) -> (u8, Event) {
        (0, Event::Map { mm: 0, va: 8, pfn: Pfn(pfn), nr, gen_: 1, anon, write, special: !anon })
    }
    fn unmap(pfn: u8, nr: u8) -> (u8, Event) {
        (0, Event::Unmap { mm: 0, va: 8, pfn: Pfn(pfn), nr, anon: false, write: true, special: true })
    }

    #[test]
    fn memory_is_unmapped_before_it_is_freed() {
        for owner in [Owner::Buddy, Owner::Pool(2)] {
            let well = [alloc(4, 2), map(4, 4, false, true), unmap(4, 4), free(4, 2, owner)];
            assert_eq!(title::<PageTableCheck>(&well), "");
            let badly = [alloc(4, 2), map(4, 4, false, true), free(4, 2, owner)];
            assert_eq!(title::<PageTableCheck>(&badly), "page-table-check-free in f");
        }
        let one_left =
            [alloc(4, 2), map(6, 1, false, true), map(6, 1, false, true), unmap(6, 1), free(4, 2, Owner::Buddy)];
        assert_eq!(feed::<PageTableCheck>(&one_left).unwrap().pfn, Some(Pfn(6)));
    }

    #[test]
    fn an_entry_to_free_memory_is_caught_and_so_is_its_allocation() {
        assert_eq!(title::<PageTableCheck>(&[map(4, 1, false, true)]), "page-table-check-map in f");
        assert_eq!(title::<PageTableCheck>(&[alloc(4, 0), map(4, 4, false, true)]), "page-table-check-map in f");
        let mut oracle = PageTableCheck::default();
        oracle.reset();
        let mut found = Findings::default();
        for (step, (task, event)) in [map(4, 1, false, true), alloc(4, 0)].into_iter().enumerate() {
            found = Findings::default();
            oracle.event(&super::super::testing::record(step as u32, task, "f", event), &mut found);
        }
        assert_eq!(found.violation.unwrap().kind, "page-table-check-alloc");
        // VRAM has no struct page.
        assert_eq!(title::<PageTableCheck>(&[map(64, 4, false, true)]), "");
    }

    #[test]
    fn an_anonymous_page_is_writable_once() {
        let dup = [alloc(4, 0), map(4, 1, true, true), map(4, 1, true, true)];
        assert_eq!(title::<PageTableCheck>(&dup), "page-table-check-anon in f");
        let shared = [alloc(4, 0), map(4, 1, true, false), map(4, 1, true, false)];
        assert_eq!(title::<PageTableCheck>(&shared), "");
        let moved = [alloc(4, 0), map(4, 1, true, true), unmap(4, 1), map(4, 1, true, true)];
        assert_eq!(title::<PageTableCheck>(&moved), "");
        // A huge entry maps each of its pages.
        let huge = [alloc(4, 2), map(4, 4, true, true), map(6, 1, true, true)];
        assert_eq!(feed::<PageTableCheck>(&huge).unwrap().pfn, Some(Pfn(6)));
        let again = [alloc(4, 2), map(6, 1, true, true), map(4, 4, true, true)];
        assert_eq!(feed::<PageTableCheck>(&again).unwrap().pfn, Some(Pfn(6)));
        let split = [alloc(4, 2), map(4, 4, true, true), unmap(4, 4), map(4, 1, true, true), map(6, 1, true, true)];
        assert_eq!(title::<PageTableCheck>(&split), "");
        let file = [alloc(4, 0), map(4, 1, false, true), map(4, 1, false, true)];
        assert_eq!(title::<PageTableCheck>(&file), "");
    }
}
