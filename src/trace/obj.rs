// SPDX-License-Identifier: GPL-2.0-or-later
//! The lockless-visible objects of the machine, numbered flat so that two accesses conflict
//! exactly when their ranges overlap.

use crate::limits::*;
use std::fmt;

/// A range of lockless-visible objects of one class.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Obj {
    pub(crate) first: u16,
    pub(crate) count: u8,
}

/// First object and number of objects of every class, in one table.
macro_rules! classes {
    ($($(#[$doc:meta])* $name:ident: $count:expr, $text:literal;)*) => {
        #[derive(Clone, Copy)]
        enum Class { $($name),* }
        const COUNTS: &[usize] = &[$($count),*];
        const NAMES: &[&str] = &[$($text),*];
        const FIRST: [u16; COUNTS.len() + 1] = {
            let mut first = [0; COUNTS.len() + 1];
            let mut i = 0;
            while i < COUNTS.len() {
                first[i + 1] = first[i] + COUNTS[i] as u16;
                i += 1;
            }
            first
        };
        /// How many there are.
        pub(crate) const NR_OBJS: usize = FIRST[COUNTS.len()] as usize;
    };
}

classes! {
    // Two a frame: even the struct page (refcount, owner, generation), odd the contents.
    Page: 2 * (NR_FRAMES + NR_IOMEM), "page";
    Mapcount: NR_FRAMES, "mapcount";
    Buddy: 1, "buddy";
    Pte: NR_TABLES * PTRS_PER_PTE, "pte";
    Table: NR_TABLES, "page table";
    Pmd: NR_MMS * PTRS_PER_PMD, "pmd";
    Tlb: NR_TASKS, "tlb";
    // Four an mm: all write_protect_seqs, then all tlb_flush_pendings, all mm_users, all has_pinneds.
    Mm: NR_MMS * 4, "mm";
    // References of things that are no pages: buffer objects, dma-bufs, files, buffers of the disk.
    Kref: 5 * NR_HANDLES, "kref";
    // Two an object of user memory: the sequence of its notifier, its entries in the secondary page table.
    Userptr: 2 * NR_HANDLES, "userptr";
    Irq: NR_TASKS, "irq";
    Word: NR_WAIT_WORDS, "event";
    Lock: NR_LOCKS, "lock";
    Rcu: 1, "rcu";
    PgTables: 1, "free page tables";
    Counter: 4, "counter";
}

const fn obj(class: Class, index: usize, count: usize) -> Obj {
    Obj { first: FIRST[class as usize] + index as u16, count: count as u8 }
}

/// `struct page` of `count` frames: refcount, pincount, owner, generation.
pub(crate) const fn page(pfn: Pfn, count: usize) -> Obj {
    obj(Class::Page, 2 * pfn.0 as usize, 2 * (count - 1) + 1)
}
/// `struct page` and contents of `count` frames: what an allocator touches.
pub(crate) const fn frames(pfn: Pfn, count: usize) -> Obj {
    obj(Class::Page, 2 * pfn.0 as usize, 2 * count)
}
/// The contents of a frame.
pub(crate) const fn data(pfn: Pfn) -> Obj {
    obj(Class::Page, 2 * pfn.0 as usize + 1, 1)
}
/// `_mapcount` of a frame.
pub(crate) const fn mapcount(pfn: Pfn) -> Obj {
    obj(Class::Mapcount, pfn.0 as usize, 1)
}
/// `_mapcount` of `count` frames.
pub(crate) const fn mapcounts(pfn: Pfn, count: usize) -> Obj {
    obj(Class::Mapcount, pfn.0 as usize, count)
}
/// The free lists of the buddy allocator.
pub(crate) const fn buddy() -> Obj {
    obj(Class::Buddy, 0, 1)
}
/// Entry `i` of page table `table`.
pub(crate) const fn pte(table: u8, i: u8) -> Obj {
    obj(Class::Pte, table as usize * PTRS_PER_PTE + i as usize, 1)
}
/// The lifetime of page table `table`.
pub(crate) const fn table(table: u8) -> Obj {
    obj(Class::Table, table as usize, 1)
}
/// All entries of page table `table`.
pub(crate) const fn ptes(table: u8) -> Obj {
    obj(Class::Pte, table as usize * PTRS_PER_PTE, PTRS_PER_PTE)
}
/// Which page tables are in use.
pub(crate) const fn pgtables() -> Obj {
    obj(Class::PgTables, 0, 1)
}
/// Entry `i` of the pmd table of `mm`.
pub(crate) const fn pmd(mm: u8, i: u8) -> Obj {
    obj(Class::Pmd, mm as usize * PTRS_PER_PMD + i as usize, 1)
}
/// The TLB of a CPU.
pub(crate) const fn tlb(cpu: u8) -> Obj {
    obj(Class::Tlb, cpu as usize, 1)
}
/// The TLBs of all CPUs: what a shootdown touches.
pub(crate) const fn tlbs() -> Obj {
    obj(Class::Tlb, 0, NR_TASKS)
}
/// `mm->write_protect_seq`.
pub(crate) const fn write_protect_seq(mm: u8) -> Obj {
    obj(Class::Mm, mm as usize, 1)
}
/// `mm->tlb_flush_pending`.
pub(crate) const fn tlb_flush_pending(mm: u8) -> Obj {
    obj(Class::Mm, NR_MMS + mm as usize, 1)
}
/// `MMF_HAS_PINNED`.
pub(crate) const fn has_pinned(mm: u8) -> Obj {
    obj(Class::Mm, 3 * NR_MMS + mm as usize, 1)
}
/// `mm->mm_users`.
pub(crate) const fn mm_users(mm: u8) -> Obj {
    obj(Class::Mm, 2 * NR_MMS + mm as usize, 1)
}
/// `mm_users` of every address space: what an allocation of one looks at.
pub(crate) const fn mms() -> Obj {
    obj(Class::Mm, 2 * NR_MMS, NR_MMS)
}
/// A reference count that is not a page's; kinds as in [`Kref`].
pub(crate) const fn kref(kind: Kref, slot: u8) -> Obj {
    obj(Class::Kref, kind as usize * NR_HANDLES + slot as usize, 1)
}
/// `interval_sub->invalidate_seq` of an object of user memory.
pub(crate) const fn interval_seq(nr: u8) -> Obj {
    obj(Class::Userptr, 2 * nr as usize, 1)
}
/// The entries of an object in the secondary page table.
pub(crate) const fn secondary(nr: u8) -> Obj {
    obj(Class::Userptr, 2 * nr as usize + 1, 1)
}
/// The interrupt flag of a CPU.
pub(crate) const fn irq(cpu: u8) -> Obj {
    obj(Class::Irq, cpu as usize, 1)
}
/// The interrupt flags of all CPUs.
pub(crate) const fn irqs() -> Obj {
    obj(Class::Irq, 0, NR_TASKS)
}
/// A word somebody can wait for.
pub(crate) const fn word(w: u8) -> Obj {
    obj(Class::Word, w as usize, 1)
}
/// A lock.
pub(crate) const fn lock(l: u8) -> Obj {
    obj(Class::Lock, l as usize, 1)
}
/// The list of RCU callbacks.
pub(crate) const fn rcu() -> Obj {
    obj(Class::Rcu, 0, 1)
}
/// The counter of calls that began: what a task touches that enters the kernel.
pub(crate) const CALLS_BEGUN: u8 = 2;
/// A system-wide counter: 0 the pools' pages, 1 the disk's requests, 2 calls that began.
pub(crate) const fn counter(i: u8) -> Obj {
    obj(Class::Counter, i as usize, 1)
}

/// What a kref belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kref {
    /// A TTM buffer object.
    Bo,
    /// A dma-buf.
    DmaBuf,
    /// A shmem file.
    File,
    /// User memory of a GPU.
    Userptr,
    /// A buffer of the disk's page cache: its count, and its page.
    Buffer,
}

/// A page frame number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Pfn(pub u8);

impl Pfn {
    /// The frame as an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The `n`-th frame behind this one.
    pub const fn add(self, n: usize) -> Pfn {
        Pfn(self.0 + n as u8)
    }

    /// Whether there is a struct page (`pfn_valid`).
    pub const fn valid(self) -> bool {
        (self.0 as usize) < NR_FRAMES
    }
}

impl fmt::Display for Pfn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for Pfn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pfn {:#x}", self.0)
    }
}

impl Obj {
    /// No object at all: a step that only gives others their turn.
    pub(crate) const NONE: Obj = Obj { first: u16::MAX, count: 0 };

    #[inline]
    pub(crate) const fn overlaps(self, other: Obj) -> bool {
        self.first < other.end() && other.first < self.end()
    }

    #[inline]
    const fn end(self) -> u16 {
        self.first + self.count as u16
    }

    /// The numbers of its objects.
    pub(crate) fn indices(self) -> std::ops::Range<usize> {
        usize::from(self.first)..usize::from(self.end())
    }

    #[inline]
    pub(crate) const fn covers(self, other: Obj) -> bool {
        self.first <= other.first && other.end() <= self.end()
    }

    /// A bit for every object, many objects a bit: ranges without a bit in common do not overlap.
    #[inline]
    pub(crate) const fn signature(self) -> u64 {
        debug_assert!(self.count < 64, "a step touches fewer objects of a class than a signature has bits");
        ((1 << self.count) - 1u64).rotate_left(self.first as u32)
    }

    /// Whether it may be a frame or an entry of a page table; a cheap test to be made first.
    #[inline]
    pub(crate) const fn is_watched(self) -> bool {
        self.first < FIRST[Class::Pmd as usize + 1]
    }

    /// The frames whose struct page or contents the range covers.
    #[inline]
    pub(crate) fn pfns(self) -> std::ops::Range<u8> {
        let end = FIRST[Class::Page as usize + 1];
        if self.count == 0 || self.first >= end {
            return 0..0;
        }
        (self.first / 2) as u8..(self.end().min(end).div_ceil(2)) as u8
    }

    /// The frame the range begins with.
    #[inline]
    pub(crate) fn pfn(self) -> Option<u8> {
        (self.count > 0 && self.first < FIRST[Class::Page as usize + 1]).then_some((self.first / 2) as u8)
    }

    /// The lock it is.
    pub(crate) fn lock_index(self) -> Option<u8> {
        let i = self.first.checked_sub(FIRST[Class::Lock as usize])?;
        (self.count == 1 && (i as usize) < NR_LOCKS).then_some(i as u8)
    }

    /// The entry of a page table the range begins with.
    #[inline]
    pub(crate) fn pte_index(self) -> Option<(u8, u8)> {
        let i = self.first.checked_sub(FIRST[Class::Pte as usize])?;
        let n = PTRS_PER_PTE as u16;
        (i < FIRST[Class::Pte as usize + 1] - FIRST[Class::Pte as usize]).then_some(((i / n) as u8, (i % n) as u8))
    }

    /// The entry of a pmd table the range begins with.
    #[inline]
    pub(crate) fn pmd_index(self) -> Option<(u8, u8)> {
        let i = self.first.checked_sub(FIRST[Class::Pmd as usize])?;
        let n = PTRS_PER_PMD as u16;
        (i < FIRST[Class::Pmd as usize + 1] - FIRST[Class::Pmd as usize]).then_some(((i / n) as u8, (i % n) as u8))
    }
}

impl fmt::Display for Obj {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.count == 0 {
            return write!(f, "nothing");
        }
        let class = (0..NAMES.len()).rfind(|&c| FIRST[c] <= self.first).unwrap_or(0);
        let i = (self.first - FIRST[class]) as usize;
        match NAMES[class] {
            "page" => {
                let pfns = self.pfns();
                let what = if self.count == 1 && i % 2 == 1 { "data" } else { "page" };
                write!(f, "{what} {:#x}", pfns.start)?;
                if pfns.len() > 1 { write!(f, "..{:#x}", pfns.end) } else { Ok(()) }
            }
            "pte" => write!(f, "pte {}:{}", i / PTRS_PER_PTE, i % PTRS_PER_PTE),
            "pmd" => write!(f, "pmd mm{}:{}", i / PTRS_PER_PMD, i % PTRS_PER_PMD),
            "mm" if self.count > 1 => write!(f, "every mm"),
            "mm" => {
                write!(
                    f,
                    "mm{} {}",
                    i % NR_MMS,
                    ["write_protect_seq", "tlb_flush_pending", "users", "has_pinned"][i / NR_MMS]
                )
            }
            name if self.count > 1 => write!(f, "every {name}"),
            name if COUNTS[class] == 1 => write!(f, "{name}"),
            name => write!(f, "{name} {i}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allocation_conflicts_with_dma_into_any_of_its_frames() {
        let block = frames(Pfn(4), 4);
        for pfn in 0..16 {
            assert_eq!(block.overlaps(data(Pfn(pfn))), (4..8).contains(&pfn), "data of frame {pfn}");
            assert_eq!(block.overlaps(page(Pfn(pfn), 1)), (4..8).contains(&pfn), "page of frame {pfn}");
        }
        assert_eq!(block.pfns(), 4..8);
        assert_eq!(page(Pfn(4), 1).pfns(), 4..5);
        assert_eq!(data(Pfn(4)).pfns(), 4..5);
    }

    #[test]
    fn contents_and_struct_page_are_apart() {
        assert!(!page(Pfn(4), 1).overlaps(data(Pfn(4))));
        assert!(!data(Pfn(4)).overlaps(page(Pfn(5), 1)));
        assert!(!Obj::NONE.overlaps(frames(Pfn(0), NR_FRAMES)));
    }

    #[test]
    fn names_say_which_object() {
        assert_eq!(frames(Pfn(4), 4).to_string(), "page 0x4..0x8");
        assert_eq!(data(Pfn(9)).to_string(), "data 0x9");
        assert_eq!(pte(2, 1).to_string(), "pte 2:1");
        assert_eq!(pmd(1, 15).to_string(), "pmd mm1:15");
        assert_eq!(tlbs().to_string(), "every tlb");
        assert_eq!(lock(7).to_string(), "lock 7");
    }
}
