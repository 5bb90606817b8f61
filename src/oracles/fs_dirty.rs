// SPDX-License-Identifier: GPL-2.0-or-later
//! Dirty pages of files, and whether their file system was asked.  Linux: fs/ext4/inode.c, the warnings of
//! ext4_dirty_folio() and ext4_writepages().
//!
//! Promised to a file system: a store by a shared mapping reaches a page only after ->page_mkwrite of
//! it, and after each time it was cleaned to be written only after another (v2.6.19); a page that is
//! pinned by FOLL_PIN for writing keeps its buffers, so that it has some when whoever pinned it makes it
//! dirty (v6.4); what it writes to a block of its own by a buffer that it holds a reference of, the next
//! who looks the block up reads there (always; with migration of the disk's page cache, v5.0, since v5.3).
//!
//! Must catch: a page that gets dirty without buffers; a store to a page that writeback believes to be
//! clean and write-protected; a block that does not hold what was written to it last.
//! Must leave alone: who writes and dirties by FOLL_GET, or after the pin, of whom no file system ever
//! was told; pages of shmem; a page that is in no file any more; DMA that goes on while a page is
//! written: stable pages are promised to nobody who pinned one.

use super::{Findings, Oracle, Violation, block};
use crate::limits::{NR_EXT4_FILES, NR_FRAMES};
use crate::mm::address_space::mapping_can_writeback;
use crate::trace::{Event, Func, Owner, Pfn, Pin, Record, UseKind};

/// GUP references of a frame that were taken since it had any.
#[derive(Clone, Copy, Default)]
struct Got {
    gen_: u16,
    get: u16,
    pin: u16,
    /// Some of them were taken to write.
    get_write: bool,
    pin_write: bool,
}

/// A block of the file system's own.
#[derive(Clone, Copy, Default)]
struct Block {
    /// What was written last, where and in which step.
    written: Option<(u8, Pfn, u32)>,
    /// Who has moved the page that it was written to, before or after.
    moved: Option<Func>,
}

pub(super) struct FsDirty {
    blocks: [Block; NR_EXT4_FILES],
    /// Who has moved what was in a frame.
    moved: [Option<Func>; NR_FRAMES],
    got: [Got; NR_FRAMES],
    /// ->page_mkwrite was called since the page was clean, a bit a frame.
    asked: u64,
}

impl Default for FsDirty {
    fn default() -> FsDirty {
        let (blocks, moved) = (Default::default(), [None; NR_FRAMES]);
        FsDirty { blocks, moved, got: [Got::default(); NR_FRAMES], asked: 0 }
    }
}

impl Oracle for FsDirty {
    fn reset(&mut self) {
        *self = FsDirty::default();
    }

    #[inline(always)]
    fn event(&mut self, r: &Record, found: &mut Findings) {
        match r.event {
            Event::PageMkwrite { pfn } => self.asked |= block(pfn, 1),
            Event::PageClean { pfn } => self.asked &= !block(pfn, 1),
            Event::FolioMigrate { from, to } => self.migrate(r, from, to),
            Event::Metadata { block, pfn, value, write: true } => {
                let moved = self.moved[pfn.index()];
                self.blocks[block as usize] = Block { written: Some((value, pfn, r.step)), moved };
            }
            Event::Metadata { block, pfn, value, write: false } => self.read(r, block, pfn, value, found),
            Event::Alloc { pfn, order, .. } => {
                self.asked &= !block(pfn, 1 << order);
                self.moved[pfn.index()..][..1 << order].fill(None);
            }
            Event::PageDirty { pfn, buffers: false } => {
                let got = self.got[pfn.index()];
                if !got.get_write || got.pin_write {
                    let message = format!("pfn {pfn} gets dirty, and its file system has no buffers for it");
                    found.add(
                        Violation::new("fs_dirty", "dirty-without-buffers", r, message).frame(pfn, got.gen_, got.gen_),
                    );
                }
            }
            Event::Use {
                kind: UseKind::Store,
                pfn,
                took,
                now,
                owner: Owner::File(mapping),
                at: Some((mm, va)),
                ..
            } if took == now && mapping_can_writeback(mapping) && self.asked & block(pfn, 1) == 0 => {
                let message = format!(
                    "task {} stores to va{va} of mm {mm}, pfn {pfn}, which was cleaned and write-protected before",
                    r.task
                );
                found.add(Violation::new("fs_dirty", "store-to-clean-page", r, message).frame(pfn, took, now));
            }
            Event::GupPin { pfn, took, kind, write, .. } if pfn.valid() => {
                let got = &mut self.got[pfn.index()];
                if got.gen_ != took {
                    *got = Got { gen_: took, ..Got::default() };
                }
                if kind == Pin::Get {
                    got.get += 1;
                    got.get_write |= write;
                } else {
                    got.pin += 1;
                    got.pin_write |= write;
                }
            }
            Event::GupUnpin { pfn, took, kind } if pfn.valid() && self.got[pfn.index()].gen_ == took => {
                let got = &mut self.got[pfn.index()];
                if kind == Pin::Get {
                    got.get = got.get.saturating_sub(1);
                    got.get_write &= got.get > 0;
                } else {
                    got.pin = got.pin.saturating_sub(1);
                    got.pin_write &= got.pin > 0;
                }
            }
            _ => {}
        }
    }
}

impl FsDirty {
    fn migrate(&mut self, r: &Record, from: Pfn, to: Pfn) {
        if self.asked & block(from, 1) != 0 {
            self.asked |= block(to, 1);
        }
        self.moved[from.index()] = Some(r.func);
        for block in self.blocks.iter_mut().filter(|b| b.written.is_some_and(|(_, pfn, _)| pfn == from)) {
            block.moved = Some(r.func);
        }
    }

    fn read(&self, r: &Record, block: u8, pfn: Pfn, value: u8, found: &mut Findings) {
        let Block { written, moved } = self.blocks[block as usize];
        if let Some((last, at, step)) = written
            && last != value
        {
            let message = format!(
                "task {} reads {value} from block {block}, but {last} was written there in step {step} by way of pfn {at}",
                r.task
            );
            let lost = Violation::new("fs_dirty", "lost-metadata", r, message).blame(moved.unwrap_or(r.func));
            found.add(Violation { pfn: Some(if moved.is_some() { at } else { pfn }), ..lost });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::title;
    use super::*;
    use crate::limits::FIRST_EXT4_FILE;
    use crate::trace::Pfn;

    const P: Pfn = Pfn(4);
    const FILE: u8 = FIRST_EXT4_FILE as u8;

    fn store(mapping: u8) -> (u8, Event) {
        let (owner, at) = (Owner::File(mapping), Some((0, 8)));
        (1, Event::Use { kind: UseKind::Store, pfn: P, took: 3, now: 3, owner, value: 1, written: 3, at })
    }
    fn pin(kind: Pin, write: bool) -> (u8, Event) {
        (1, Event::GupPin { mm: 0, va: 8, pfn: P, took: 3, entry: 3, kind, write })
    }
    fn unpin(kind: Pin) -> (u8, Event) {
        (1, Event::GupUnpin { pfn: P, took: 3, kind })
    }
    const ASKED: (u8, Event) = (1, Event::PageMkwrite { pfn: P });
    const CLEAN: (u8, Event) = (2, Event::PageClean { pfn: P });
    const STRIPPED: (u8, Event) = (2, Event::PageDirty { pfn: P, buffers: false });

    #[test]
    fn a_store_comes_after_the_question_and_that_after_the_cleaning() {
        assert_eq!(title::<FsDirty>(&[ASKED, store(FILE), store(FILE)]), "");
        assert_eq!(title::<FsDirty>(&[ASKED, CLEAN, ASKED, store(FILE)]), "");
        assert_eq!(title::<FsDirty>(&[store(FILE)]), "store-to-clean-page in f");
        assert_eq!(title::<FsDirty>(&[ASKED, CLEAN, store(FILE)]), "store-to-clean-page in f");
        assert_eq!(title::<FsDirty>(&[store(0)]), "", "shmem");
    }

    #[test]
    fn who_pinned_a_page_dirties_one_with_buffers() {
        assert_eq!(title::<FsDirty>(&[pin(Pin::Pin, true), (1, Event::PageDirty { pfn: P, buffers: true })]), "");
        assert_eq!(title::<FsDirty>(&[pin(Pin::Pin, true), STRIPPED]), "dirty-without-buffers in f");
        assert_eq!(title::<FsDirty>(&[STRIPPED]), "dirty-without-buffers in f", "by its mapping");
    }

    #[test]
    fn plain_references_have_no_promise() {
        assert_eq!(title::<FsDirty>(&[pin(Pin::Get, true), STRIPPED]), "");
        assert_eq!(title::<FsDirty>(&[pin(Pin::Get, true), pin(Pin::Pin, false), STRIPPED]), "");
        assert_eq!(title::<FsDirty>(&[pin(Pin::Get, true), unpin(Pin::Get), STRIPPED]), "dirty-without-buffers in f");
        assert_eq!(
            title::<FsDirty>(&[pin(Pin::Get, true), pin(Pin::Pin, true), STRIPPED]),
            "dirty-without-buffers in f"
        );
    }

    #[test]
    fn a_block_holds_what_was_written_to_it_last() {
        let metadata = |pfn, value, write| (1, Event::Metadata { block: 0, pfn, value, write });
        let (write, read) = (|pfn, value| metadata(pfn, value, true), |pfn, value| metadata(pfn, value, false));
        let (old, new) = (Pfn(4), Pfn(9));
        let moved = (2, Event::FolioMigrate { from: old, to: new });
        assert_eq!(title::<FsDirty>(&[read(old, 0), write(old, 7), moved, read(new, 7)]), "");
        for lost in [[write(old, 7), moved], [moved, write(old, 7)]] {
            assert_eq!(title::<FsDirty>(&[&lost[..], &[read(new, 0)]].concat()), "lost-metadata in f");
        }
        let other = (1, Event::Metadata { block: 1, pfn: new, value: 5, write: true });
        assert_eq!(title::<FsDirty>(&[write(old, 7), other, read(old, 7)]), "");
    }
}
