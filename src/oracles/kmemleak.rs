// SPDX-License-Identifier: GPL-2.0-or-later
//! Memory that nobody gave back.  Linux: mm/kmemleak.c.
//!
//! Promised to the system, always: when all calls have ended, all processes and handles are gone and deferred
//! work has run, every frame is in an allocator or the page cache, no page table is in use, and no
//! buffer object or dma-buf has references.
//!
//! Must catch: a reference, page, table or object that is lost on any path.
//! Must leave alone: pages in a TTM pool, the dax device's own memory, pages of files, which outlive
//! their readers.

use super::{Findings, Oracle, Violation, block, frames};
use crate::kernel::NR_MAPPINGS;
use crate::limits::{NR_FRAMES, NR_HANDLES, NR_TABLES};
use crate::mm::pgtable::peek_table;
use crate::mm::{Kernel, Page};
use crate::trace::{Event, Kref, Owner, Pfn, Record};

pub(super) struct Kmemleak {
    frames: [Option<Record>; NR_FRAMES],
    tables: [Option<Record>; NR_TABLES],
    /// Buffer objects, then dma-bufs: their first reference.
    objects: [Option<Record>; NR_OBJECTS],
    /// Frames that were allocated at all, tables that are in use, objects that have references, one bit each.
    allocated: u64,
    used: u64,
    live: u32,
}

const _: () = assert!(NR_TABLES <= 64);

impl Default for Kmemleak {
    fn default() -> Kmemleak {
        Kmemleak {
            frames: [None; NR_FRAMES],
            tables: [None; NR_TABLES],
            objects: [None; NR_OBJECTS],
            allocated: 0,
            used: 0,
            live: 0,
        }
    }
}

const NR_OBJECTS: usize = 2 * NR_HANDLES;
const NAMES: [&str; 2] = ["buffer object", "dma-buf"];
const _: () = assert!(Kref::Bo as usize == 0 && Kref::DmaBuf as usize == 1);

impl Oracle for Kmemleak {
    fn reset(&mut self) {
        (self.allocated, self.used, self.live) = (0, 0, 0);
    }

    #[inline(always)]
    fn event(&mut self, r: &Record, _found: &mut Findings) {
        match r.event {
            Event::Alloc { pfn, order, .. } => {
                for frame in self.frames.iter_mut().skip(pfn.index()).take(1 << order) {
                    *frame = Some(*r);
                }
                self.allocated |= block(pfn, 1 << order);
            }
            Event::Table { table, live, .. } => {
                self.used &= !(1 << table);
                if live {
                    self.used |= 1 << table;
                    self.tables[table as usize] = Some(*r);
                }
            }
            Event::Kref { kind, slot, count } => {
                let i = usize::from(kind) * NR_HANDLES + usize::from(slot);
                let bit = u32::from(i < NR_OBJECTS).wrapping_shl(i as u32);
                if count <= 0 {
                    self.live &= !bit;
                } else if self.live & bit != bit {
                    self.live |= bit;
                    self.objects[i] = Some(*r);
                }
            }
            _ => {}
        }
    }

    fn quiescent(&mut self, k: &Kernel, found: &mut Findings) {
        for (i, object) in self.objects.iter().enumerate() {
            if self.live >> i & 1 != 0
                && let Some(r) = object
            {
                let message = format!("all is closed and {} {} has references", NAMES[i / NR_HANDLES], i % NR_HANDLES);
                found.add(Violation::new("kmemleak", "memory-leak", r, message));
            }
        }
        for table in frames(self.used).map(Pfn::index) {
            if peek_table(k, table as u8)
                && let Some(r) = &self.tables[table]
            {
                let message = format!("all is closed and page table {table} is in use");
                found.add(Violation::new("kmemleak", "memory-leak", r, message));
            }
        }
        let slots = k.swap.peek_used();
        if slots > 0 {
            let last = frames(self.allocated).last().and_then(|pfn| self.frames[pfn.index()].as_ref());
            let r = last.expect("a slot is of a page");
            let message = format!("all is closed and {slots} slots of the swap device are in use");
            found.add(Violation::new("kmemleak", "memory-leak", r, message));
        }
        let cached = page_cache(k);
        for pfn in frames(self.allocated) {
            let Page { owner, gen_, .. } = k.peek_page(pfn);
            if !owner.is_free()
                && owner != Owner::Dev
                && cached & block(pfn, 1) == 0
                && let Some(r) = &self.frames[pfn.index()]
            {
                let message = format!("all is closed and pfn {pfn} was not freed");
                found.add(Violation::new("kmemleak", "memory-leak", r, message).frame(pfn, gen_, gen_));
            }
        }
    }
}

/// Frames that a mapping has.
pub(super) fn page_cache(k: &Kernel) -> u64 {
    let pages = (0..NR_MAPPINGS as u8).flat_map(|mapping| k.peek_mapping(mapping));
    pages.filter(|p| k.page_gen(p.pfn) == p.gen_).fold(0, |set, p| set | block(p.pfn, 1))
}

#[cfg(test)]
mod tests {
    use super::super::testing::record;
    use super::*;
    use crate::fixes::FixSet;
    use crate::mm::PageRef;
    use crate::mm::pgtable::poke_table;

    fn after(events: &[Event], change: impl Fn(&Kernel)) -> String {
        let k = Kernel::new(FixSet::newest());
        k.reset(FixSet::newest(), crate::kernel::Draw::None);
        let (mut oracle, mut found) = (Kmemleak::default(), Findings::default());
        oracle.reset();
        for (step, &event) in events.iter().enumerate() {
            oracle.event(&record(step as u32, 0, "gupfuzz::ttm::g::here", event), &mut found);
        }
        change(&k);
        oracle.quiescent(&k, &mut found);
        found.violation.map(|v| v.title()).unwrap_or_default()
    }

    const ALLOC: Event = Event::Alloc { pfn: Pfn(4), order: 1, gen_: 1, owner: Owner::Kernel };

    #[test]
    fn a_frame_is_free_or_in_the_page_cache() {
        let own = |owner| move |k: &Kernel| k.poke_page(Pfn(5), |page| Page { owner, ..page });
        assert_eq!(after(&[ALLOC], own(Owner::Buddy)), "");
        assert_eq!(after(&[ALLOC], own(Owner::Pool(3))), "");
        assert_eq!(after(&[ALLOC], own(Owner::Anon(1))), "memory-leak in g");
        assert_eq!(after(&[ALLOC], own(Owner::File(1))), "memory-leak in g");
        let cached = |k: &Kernel| {
            k.poke_page(Pfn(5), |page| Page { owner: Owner::File(1), ..page });
            k.poke_mapping(1, 0, PageRef { pfn: Pfn(5), gen_: k.page_gen(Pfn(5)) });
        };
        assert_eq!(after(&[ALLOC], cached), "");
    }

    #[test]
    fn page_tables_and_objects_go_too() {
        let table = Event::Table { table: 3, mm: 0, live: true };
        assert_eq!(after(&[table], |_| ()), "");
        assert_eq!(after(&[table], |k| poke_table(k, 3, true)), "memory-leak in g");
        let kref = |count| Event::Kref { kind: Kref::Bo as u8, slot: 2, count };
        assert_eq!(after(&[kref(1), kref(2), kref(1)], |_| ()), "memory-leak in g");
        assert_eq!(after(&[kref(1), kref(2), kref(1), kref(0)], |_| ()), "");
    }
}
