// SPDX-License-Identifier: GPL-2.0-or-later
//! What calls do to the memory they name.

use crate::entry::op;
use crate::limits::{HPAGE_PMD_NR, TASK_SIZE};

/// `dontneed`, `dontfork` and `free` among the advice of madvise.
const DONTNEED: u8 = 0;
const FREE: u8 = 7;
const DONTFORK: u8 = 1;

/// What an operation does to memory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    Nothing,
    Mmap,
    HugetlbMmap,
    Madvise,
    Mremap,
    /// It discards whatever was there.
    Discards,
}

/// An operation: its effect, and which of its arguments say where and how.
#[derive(Clone, Copy)]
pub(super) struct Doing {
    effect: Effect,
    addr: usize,
    /// Without one the rest of the address space.
    len: Option<usize>,
    how: usize,
}

impl Doing {
    /// What operation `nr` does.
    pub(super) fn of(nr: u8) -> Doing {
        let arg = |name: &str| op(nr).and_then(|op| op.args.iter().position(|a| a.name == name));
        let (effect, how) = match op(nr).map_or("", |op| op.name) {
            "" | "load" | "store" | "mprotect" | "get_user_pages" | "pin_user_pages" | "dio_read" | "dio_write"
            | "vmsplice" | "io_uring_register" | "userptr_create" | "fork" | "collapse" | "move_pages"
            | "split_huge_pages" | "migrate_vma" | "migrate_to_device" | "memory_failure" => (Effect::Nothing, None),
            "mmap" => (Effect::Mmap, arg("map")),
            "hugetlb_mmap" => (Effect::HugetlbMmap, None),
            "madvise" => (Effect::Madvise, arg("advice")),
            "mremap" => (Effect::Mremap, arg("new")),
            _ => (Effect::Discards, None),
        };
        let how = how.unwrap_or_default();
        match arg("addr") {
            Some(addr) => Doing { effect, addr, len: arg("len"), how },
            None => Doing { effect: Effect::Nothing, addr: 0, len: None, how },
        }
    }

    /// Whether it does anything to memory, or decides who gets it.
    #[inline]
    pub(super) fn is_something(&self) -> bool {
        self.effect != Effect::Nothing
    }

    /// The pages a call may discard, and those that are plain anonymous memory afterwards.
    pub(super) fn effect(self, args: [u8; 5], plain: u64) -> (u64, u64) {
        if self.effect == Effect::Nothing {
            return (0, 0);
        }
        let addr = args[self.addr];
        // A length is at least 1, and written as byte 0.
        let len = self.len.map_or(TASK_SIZE, |len| args[len] as usize + 1);
        let pages = |start: usize| crate::arch::pages(start, (start + len).min(TASK_SIZE));
        let (range, how) = (pages(addr.into()), args[self.how]);
        match self.effect {
            Effect::Nothing => (0, 0),
            Effect::Mmap => (range, if how == 0 { range } else { 0 }),
            Effect::HugetlbMmap => {
                let end = (addr as usize + len).next_multiple_of(HPAGE_PMD_NR).min(TASK_SIZE);
                let huge = crate::arch::pages(addr as usize - addr as usize % HPAGE_PMD_NR, end);
                (huge, huge)
            }
            Effect::Madvise if matches!(how, DONTNEED | FREE) => (range, range & plain),
            Effect::Madvise => (0, 0),
            Effect::Mremap => {
                let moved = range & plain;
                let moved = if how >= addr { moved << (how - addr) } else { moved >> (addr - how) };
                (range | pages(how.into()), moved & !range)
            }
            Effect::Discards => (range, 0),
        }
    }

    /// Whether children do not get the memory.
    pub(super) fn is_dontfork(self, args: [u8; 5]) -> bool {
        self.effect == Effect::Madvise && args[self.how] == DONTFORK
    }
}
