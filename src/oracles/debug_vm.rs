// SPDX-License-Identifier: GPL-2.0-or-later
//! Counters of pages and address spaces.  Linux: CONFIG_DEBUG_VM, mm/page_alloc.c bad_page(),
//! mm/memory.c print_bad_pte(), kernel/fork.c check_mm().
//!
//! Promised to every owner, always: no BUG_ON fires; a reference count never goes below 0 and neither does a
//! map count; a page enters the buddy allocator with neither references nor mappings; an address
//! space ends without pages and page tables.  When everything is closed the counts are recounted: a
//! free page has none, a page of the page cache has that one reference.
//!
//! Must catch: references dropped that nobody took or from another page, pages freed under a user.
//! Must leave alone: counts of blocks that go into a TTM pool, at which TTM does not look, until all
//! is quiet; a WARN_ON.

use super::{Findings, Oracle, Violation, block};
use crate::limits::NR_FRAMES;
use crate::mm::{Kernel, Page};
use crate::trace::{Event, Owner, Pfn, Record};

pub(super) struct DebugVm {
    /// What a page's counts were last changed by.
    last: [Option<Record>; NR_FRAMES],
    /// Pages whose counts changed at all.
    counted: u64,
    /// First pages of blocks in a TTM pool.
    pool_heads: u64,
}

impl Default for DebugVm {
    fn default() -> DebugVm {
        DebugVm { last: [None; NR_FRAMES], counted: 0, pool_heads: 0 }
    }
}

impl Oracle for DebugVm {
    fn reset(&mut self) {
        (self.counted, self.pool_heads) = (0, 0);
    }

    #[inline(always)]
    fn event(&mut self, r: &Record, found: &mut Findings) {
        match r.event {
            Event::Bug { what, pfn } => found.add(bug(r, what, pfn)),
            Event::Get { pfn, .. } => self.note(r, pfn),
            Event::Put { pfn, refs, refcount } => {
                self.note(r, pfn);
                if refcount < 0 {
                    let message = format!("{refs} dropped of pfn {pfn}, which leaves {refcount}");
                    found.add(violation("refcount-underflow", r, message, pfn));
                }
            }
            Event::Mapcount { pfn, mapcount, .. } if mapcount < 0 => {
                let message = format!("pfn {pfn} is mapped {mapcount} times");
                found.add(violation("bad-page-map", r, message, pfn));
            }
            Event::Alloc { pfn, order, .. } => self.pool_heads &= !block(pfn, 1 << order),
            Event::Free { pfn, owner: Owner::Pool(_), .. } => self.pool_heads |= block(pfn, 1),
            Event::Free { pfn, order, gen_, refcount, mapcount, .. } => {
                self.pool_heads &= !block(pfn, 1 << order);
                if (refcount, mapcount) != (0, 0) {
                    let message = format!("pfn {pfn} is freed with refcount {refcount}, mapcount {mapcount}");
                    found.add(violation("bad-page-state", r, message, pfn).frame(pfn, gen_, gen_));
                }
            }
            Event::MmExit { mm, rss_anon, rss_file, pgtables } => {
                if (rss_anon, rss_file) != (0, 0) {
                    let message = format!("mm {mm} ends with {rss_anon} anonymous and {rss_file} file pages");
                    found.add(Violation::new("debug_vm", "bad-rss-counter", r, message));
                }
                if pgtables != 0 {
                    let message = format!("mm {mm} ends with {pgtables} page tables");
                    found.add(Violation::new("debug_vm", "nonzero-pgtables-bytes", r, message));
                }
            }
            _ => {}
        }
    }

    fn quiescent(&mut self, k: &Kernel, found: &mut Findings) {
        let page_cache = super::kmemleak::page_cache(k);
        for pfn in super::frames(self.counted) {
            let Page { refcount, mapcount, entire_mapcount, pincount, owner, gen_, .. } = k.peek_page(pfn);
            let mapcount = mapcount + entire_mapcount;
            let counts = (refcount, mapcount, pincount);
            let head = matches!(owner, Owner::Dev | Owner::Blocks) || self.pool_heads & block(pfn, 1) != 0;
            // A page that somebody owns and the page cache does not is kmemleak's.
            let cached = page_cache & block(pfn, 1) != 0;
            if (owner.is_free() || owner == Owner::Dev || cached)
                && counts != ((cached || head).into(), 0, 0)
                && let Some(r) = &self.last[pfn.index()]
            {
                let message = format!(
                    "all is closed and pfn {pfn} has refcount {refcount}, mapcount {mapcount}, pincount {pincount}"
                );
                found.add(violation("bad-page-state", r, message, pfn).frame(pfn, gen_, gen_));
            }
        }
    }
}

impl DebugVm {
    fn note(&mut self, r: &Record, pfn: Pfn) {
        if let Some(last) = self.last.get_mut(pfn.index()) {
            *last = Some(*r);
            self.counted |= 1 << pfn.0;
        }
    }
}

fn violation(kind: &'static str, r: &Record, message: String, pfn: Pfn) -> Violation {
    let v = Violation::new("debug_vm", kind, r, message);
    Violation { pfn: Some(pfn), ..v }
}

fn bug(r: &Record, what: &'static str, pfn: Option<Pfn>) -> Violation {
    let plain = what.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    let message = match pfn {
        Some(pfn) => format!("the kernel stops: {what}, pfn {pfn}"),
        None => format!("the kernel stops: {what}"),
    };
    let v = Violation::new("debug_vm", if plain { what } else { "kernel-bug" }, r, message);
    Violation { pfn, ..v }
}

#[cfg(test)]
mod tests {
    use super::super::testing::title;
    use super::*;

    const PFN: Pfn = Pfn(4);

    fn free(owner: Owner, refcount: i32, mapcount: i32) -> [(u8, Event); 1] {
        [(0, Event::Free { pfn: PFN, order: 0, gen_: 1, owner, refcount, mapcount })]
    }

    #[test]
    fn a_page_is_freed_without_references_and_mappings() {
        assert_eq!(title::<DebugVm>(&free(Owner::Buddy, 0, 0)), "");
        assert_eq!(title::<DebugVm>(&free(Owner::Buddy, 1, 0)), "bad-page-state in f");
        assert_eq!(title::<DebugVm>(&free(Owner::Buddy, 0, 1)), "bad-page-state in f");
        assert_eq!(title::<DebugVm>(&free(Owner::Pool(1), 3, 0)), "");
    }

    #[test]
    fn counts_do_not_go_below_zero() {
        assert_eq!(title::<DebugVm>(&[(0, Event::Put { pfn: PFN, refs: 1, refcount: 0 })]), "");
        assert_eq!(title::<DebugVm>(&[(0, Event::Put { pfn: PFN, refs: 2, refcount: -1 })]), "refcount-underflow in f");
        assert_eq!(title::<DebugVm>(&[(0, Event::Mapcount { pfn: PFN, delta: -1, mapcount: 0, entire: false })]), "");
        let under = [(0, Event::Mapcount { pfn: PFN, delta: -1, mapcount: -1, entire: false })];
        assert_eq!(title::<DebugVm>(&under), "bad-page-map in f");
    }

    #[test]
    fn a_bug_is_its_own_title() {
        let on = Event::Bug { what: "vm-bug-on-page", pfn: Some(PFN) };
        assert_eq!(title::<DebugVm>(&[(0, on)]), "vm-bug-on-page in f");
        assert_eq!(title::<DebugVm>(&[(0, Event::Bug { what: "BUG 1", pfn: None })]), "kernel-bug in f");
    }

    #[test]
    fn an_address_space_ends_empty() {
        let end = |rss_anon, rss_file, pgtables| [(0, Event::MmExit { mm: 1, rss_anon, rss_file, pgtables })];
        assert_eq!(title::<DebugVm>(&end(0, 0, 0)), "");
        assert_eq!(title::<DebugVm>(&end(1, -1, 0)), "bad-rss-counter in f");
        assert_eq!(title::<DebugVm>(&end(0, 0, 1)), "nonzero-pgtables-bytes in f");
    }

    #[test]
    fn the_recount_finds_a_reference_that_nobody_dropped() {
        let k = Kernel::new(crate::fixes::FixSet::newest());
        k.reset(crate::fixes::FixSet::newest(), crate::kernel::Draw::None);
        let (mut oracle, mut found) = (DebugVm::default(), Findings::default());
        oracle.reset();
        oracle.quiescent(&k, &mut found);
        assert!(found.violation.is_none(), "{:?}", found.violation);
        k.poke_page(PFN, |page| Page { refcount: 1, ..page });
        let get = Event::Get { pfn: PFN, refs: 1, refcount: 1 };
        oracle.event(&super::super::testing::record(9, 2, "gupfuzz::mm::g::here", get), &mut found);
        oracle.quiescent(&k, &mut found);
        assert_eq!(found.violation.unwrap().title(), "bad-page-state in g");
    }
}
