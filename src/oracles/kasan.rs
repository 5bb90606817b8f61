// SPDX-License-Identifier: GPL-2.0-or-later
//! Use of memory after it was given away.  Linux: mm/kasan/.
//!
//! Promised: whoever got a frame by a translation, a GUP reference or the allocator has that frame,
//! in that generation, until he lets go of it.  A generation begins with an allocation and ends when
//! the block goes to the buddy allocator or into a TTM pool; both are allocators here.  Nothing the
//! kernel documents is older than this rule.  A file system on dax is an allocator, too: who got a block of a
//! file by GUP has it until he lets go, whatever is truncated (v4.18), mapped or not (v6.15).
//!
//! Must catch: loads, stores, DMA, copies and dropped references that hit another generation, free or
//! owned anew; the same of page tables; a block that is freed while it is free.
//! Must leave alone: a reference that GUP-fast takes of a recycled frame and drops when it looks
//! again, which is no use of it; a pool page that the shrinker gives to the buddy; VRAM, which has no
//! generations.

use super::{Findings, Oracle, Violation, block, lowest};
use crate::limits::{NR_DEVDAX, NR_FRAMES};
use crate::trace::{Event, Owner, Pfn, Record, UseKind};

#[derive(Default)]
pub(super) struct Kasan {
    /// Frames in the buddy allocator.
    buddy: u64,
    /// Frames in a TTM pool.
    pool: u64,
}

/// Frames that are free at boot.
pub(super) fn free_at_boot() -> u64 {
    block(Pfn(0), NR_FRAMES - NR_DEVDAX)
}

impl Oracle for Kasan {
    fn reset(&mut self) {
        *self = Kasan { buddy: free_at_boot(), pool: 0 };
    }

    #[inline(always)]
    fn event(&mut self, r: &Record, found: &mut Findings) {
        match r.event {
            Event::Use { kind, pfn, took, now, owner, .. } if took != now => {
                found.add(stale(r, kind, pfn, took, now, owner));
            }
            // Whoever takes a reference of a block that is free, and drops it, hurts nobody: until v6.15 it has one.
            Event::Use { kind: UseKind::Put, owner: Owner::Blocks, .. } => {}
            Event::Use { kind, pfn, now, owner, .. } if owner.is_free() => {
                let message = format!("pfn {pfn} is free, {} all the same", verb(kind));
                found.add(Violation::new("kasan", "wild-access", r, message).frame(pfn, now, now));
            }
            Event::GupPin { mm, va, pfn, took, entry, .. } if took != entry => {
                let message = format!(
                    "GUP went by an entry of mm{mm} va{va} for generation {entry} of pfn {pfn}, and hands out \
                     generation {took}"
                );
                found.add(Violation::new("kasan", "use-after-recycle", r, message).frame(pfn, entry, took));
            }
            Event::TableUse { table, took, now } if took != now => {
                let message = format!(
                    "task {} walks page table {table} by a pointer taken in generation {took} of it, and that \
                     is generation {now}",
                    r.task
                );
                found.add(Violation::new("kasan", "use-after-recycle", r, message));
            }
            Event::Alloc { pfn, order, .. } => {
                let set = block(pfn, 1 << order);
                self.buddy &= !set;
                self.pool &= !set;
            }
            Event::Free { pfn, order, gen_, owner, .. } => {
                let set = block(pfn, 1 << order);
                let pool = matches!(owner, Owner::Pool(_));
                let twice = set & (self.buddy | if pool { self.pool } else { 0 });
                if twice != 0 {
                    let message = format!("pfn {} is freed while it is free", lowest(twice));
                    found.add(Violation::new("kasan", "double-free", r, message).frame(lowest(twice), gen_, gen_));
                }
                self.pool &= !set;
                *if pool { &mut self.pool } else { &mut self.buddy } |= set;
            }
            _ => {}
        }
    }
}

fn stale(r: &Record, kind: UseKind, pfn: Pfn, took: u16, now: u16, owner: Owner) -> Violation {
    let state = if owner.is_free() { "is free" } else { "has another owner" };
    let message =
        format!("task {} took generation {took} of pfn {pfn}, {} generation {now}: it {state}", r.task, verb(kind));
    Violation::new("kasan", "use-after-recycle", r, message).frame(pfn, took, now)
}

fn verb(kind: UseKind) -> &'static str {
    match kind {
        UseKind::Load => "loads from",
        UseKind::Store => "stores to",
        UseKind::DmaRead => "has a device read",
        UseKind::DmaWrite => "has a device write",
        UseKind::KernelRead => "reads",
        UseKind::Copy => "copies",
        UseKind::KernelWrite => "writes",
        UseKind::Put => "drops a reference of",
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{feed, title};
    use super::*;

    const PFN: Pfn = Pfn(8);

    fn alloc(gen_: u16, order: u8) -> (u8, Event) {
        (0, Event::Alloc { pfn: PFN, order, gen_, owner: Owner::Kernel })
    }
    fn free(pfn: Pfn, order: u8, owner: Owner) -> (u8, Event) {
        (0, Event::Free { pfn, order, gen_: 1, owner, refcount: 0, mapcount: 0 })
    }
    fn touch(kind: UseKind, took: u16, now: u16, owner: Owner) -> (u8, Event) {
        (1, Event::Use { kind, pfn: PFN, took, now, owner, value: 0, written: now, at: None })
    }

    #[test]
    fn a_use_of_another_generation_is_caught_whether_free_or_owned() {
        for kind in [UseKind::Load, UseKind::Store, UseKind::DmaRead, UseKind::DmaWrite, UseKind::Put] {
            assert_eq!(title::<Kasan>(&[touch(kind, 1, 1, Owner::Bo(0))]), "");
            let v = feed::<Kasan>(&[touch(kind, 1, 2, Owner::Pool(1))]).unwrap();
            assert_eq!(v.title(), "use-after-recycle in f");
            assert!(v.message.ends_with("it is free"), "{}", v.message);
            let v = feed::<Kasan>(&[touch(kind, 1, 3, Owner::Bo(1))]).unwrap();
            assert!(v.message.ends_with("another owner"), "{}", v.message);
        }
        assert_eq!(title::<Kasan>(&[touch(UseKind::Load, 2, 2, Owner::Buddy)]), "wild-access in f");
        assert_eq!(title::<Kasan>(&[touch(UseKind::Put, 2, 2, Owner::Buddy)]), "wild-access in f");
        assert_eq!(title::<Kasan>(&[touch(UseKind::Store, 2, 2, Owner::Blocks)]), "wild-access in f");
        assert_eq!(title::<Kasan>(&[touch(UseKind::Put, 2, 2, Owner::Blocks)]), "");
        assert_eq!(title::<Kasan>(&[touch(UseKind::Put, 1, 2, Owner::Blocks)]), "use-after-recycle in f");
    }

    #[test]
    fn a_page_table_has_generations_too() {
        assert_eq!(title::<Kasan>(&[(0, Event::TableUse { table: 3, took: 1, now: 1 })]), "");
        assert_eq!(title::<Kasan>(&[(0, Event::TableUse { table: 3, took: 1, now: 2 })]), "use-after-recycle in f");
    }

    #[test]
    fn a_block_is_freed_once_for_each_time_it_was_allocated() {
        assert_eq!(title::<Kasan>(&[alloc(1, 2), free(PFN, 2, Owner::Buddy), alloc(3, 0)]), "");
        // The rest of a block whose head somebody still holds goes first, in pieces.
        let pieces = [alloc(1, 2), free(PFN.add(2), 1, Owner::Buddy), free(PFN.add(1), 0, Owner::Buddy)];
        assert_eq!(title::<Kasan>(&[&pieces[..], &[free(PFN, 0, Owner::Buddy)]].concat()), "");
        let twice = [&pieces[..], &[free(PFN, 1, Owner::Buddy)]].concat();
        assert_eq!(feed::<Kasan>(&twice).unwrap().pfn, Some(PFN.add(1)));
        assert_eq!(title::<Kasan>(&twice), "double-free in f");
    }

    #[test]
    fn the_pool_is_an_allocator_and_its_shrinker_gives_to_the_buddy() {
        let pool = Owner::Pool(4);
        assert_eq!(title::<Kasan>(&[alloc(1, 2), free(PFN, 2, pool), alloc(3, 2), free(PFN, 2, pool)]), "");
        assert_eq!(title::<Kasan>(&[alloc(1, 2), free(PFN, 2, pool), free(PFN, 2, Owner::Buddy)]), "");
        assert_eq!(title::<Kasan>(&[alloc(1, 2), free(PFN, 2, pool), free(PFN, 2, pool)]), "double-free in f");
        assert_eq!(title::<Kasan>(&[alloc(1, 2), free(PFN, 2, Owner::Buddy), free(PFN, 2, pool)]), "double-free in f");
    }
}
