// SPDX-License-Identifier: GPL-2.0-or-later
//! Whose data a page holds.  Linux: no checker; the promises of mmap(2), open(2) and
//! Documentation/core-api/pin_user_pages.rst.
//!
//! Promised to every owner: he never reads what a former owner of the frame left (since ever).
//! Promised to a process, of private anonymous memory: a load returns what was stored there last
//! (since ever), and a device that got the page by FOLL_PIN for writing writes memory the process
//! sees as long as the pin lasts (v5.6 in principle; kept since v5.19).
//!
//! Nobody else's memory shows there, or takes what is stored there.
//!
//! Must catch: pages that change hands without being cleared; stores and pinned DMA that the owner's
//! loads do not return.
//! Must leave alone: whatever the process discards or replaces itself by munmap, mmap over it,
//! mremap, madvise and exit, from the begin to the end of that call; DMA by FOLL_GET into a page that
//! was replaced meanwhile; file, device and buffer-object memory, whose owner is somebody else;
//! writes through a mapping that is not plain anonymous memory.

use super::{Findings, Oracle, Violation};
use crate::entry::op;
use crate::limits::{NR_MMS, NR_TASKS, TASK_SIZE};
use crate::trace::{Event, Owner, Pfn, Pin, Record, UseKind};

/// A page of an address space.
#[derive(Clone, Copy, Default)]
struct Page {
    /// What a load must return, and the frame it was put into.
    value: u8,
    pfn: Pfn,
    gen_: u16,
    /// What FOLL_PIN for writing handed out, and how many such pins there are.
    pinned: (Pfn, u16),
    pins: u16,
    /// The step of the last write.
    step: u32,
}

/// An address space; sets have one bit a page.
#[derive(Clone, Copy)]
struct Space {
    /// Private anonymous memory and nothing else.
    plain: u64,
    /// Some call that discards is under way.
    unstable: u64,
    /// `value` is known.
    known: u64,
    /// `pins` is not 0.
    pinned: u64,
    pages: [Page; TASK_SIZE],
}

/// The present call of a task.
#[derive(Clone, Copy)]
struct Running {
    mm: u8,
    /// Pages it discards.
    discards: u64,
    /// Pages that are plain anonymous memory if it succeeds.
    plain: u64,
    /// Pages that another call discarded since it began.
    disturbed: u64,
}

const IDLE: Running = Running { mm: u8::MAX, discards: 0, plain: 0, disturbed: 0 };

pub(super) struct PageOwner {
    spaces: [Space; NR_MMS],
    running: [Running; NR_TASKS],
}

impl Default for PageOwner {
    fn default() -> PageOwner {
        let space = Space { plain: 0, unstable: 0, known: 0, pinned: 0, pages: [Page::default(); TASK_SIZE] };
        PageOwner { spaces: [space; NR_MMS], running: [IDLE; NR_TASKS] }
    }
}

impl Oracle for PageOwner {
    fn reset(&mut self) {
        for space in &mut self.spaces {
            (space.plain, space.unstable, space.known, space.pinned) = (0, 0, 0, 0);
        }
        self.running = [IDLE; NR_TASKS];
    }

    #[inline]
    fn event(&mut self, r: &Record, found: &mut Findings) {
        match r.event {
            Event::Use { kind, pfn, took, now, owner, value, written, at } if took == now => {
                if kind.is_read() && written != now && value != 0 && pfn.valid() {
                    let message = format!(
                        "task {} reads {value} from pfn {pfn}, written under generation {written}, by now it is {now}",
                        r.task
                    );
                    found.add(Violation::new("page_owner", "data-leak", r, message).frame(pfn, took, now));
                }
                if let Some((mm, va)) = at
                    && !matches!(owner, Owner::Anon(_))
                    && self.spaces.get(mm as usize).is_some_and(|s| (s.plain & !s.unstable) >> va & 1 != 0)
                {
                    let message = format!("va{va} of mm {mm} is anonymous memory, pfn {pfn} is not");
                    found.add(Violation::new("page_owner", "foreign-memory", r, message).frame(pfn, took, now));
                }
                match (kind, at) {
                    (UseKind::Load, Some((mm, va))) => self.load(r, mm, va, value, found),
                    (UseKind::Store, Some((mm, va))) => self.store(r.step, mm, va, (pfn, now), owner, value),
                    (UseKind::DmaWrite | UseKind::KernelWrite, _) => self.write(r.step, (pfn, now), value),
                    _ => {}
                }
            }
            Event::GupPin { mm, va, pfn, took, kind: Pin::Pin | Pin::Longterm, write: true, .. } => {
                let space = &mut self.spaces[mm as usize];
                let trusted = space.plain & !space.unstable & !self.running[r.task as usize].disturbed;
                if trusted >> va & 1 != 0 {
                    let page = &mut space.pages[va as usize];
                    let again = space.pinned >> va & 1 != 0 && page.pinned == (pfn, took);
                    page.pins = if again { page.pins + 1 } else { 1 };
                    page.pinned = (pfn, took);
                    space.pinned |= 1 << va;
                }
            }
            Event::GupUnpin { pfn, took, kind: Pin::Pin | Pin::Longterm } => self.unpin((pfn, took)),
            Event::CallBegin { op, args, mm, .. } => self.begin(r.task, op, args, mm),
            Event::CallEnd { ret, .. } => self.end(r.task, ret >= 0),
            Event::MmExit { mm, .. } => {
                let space = &mut self.spaces[mm as usize];
                (space.plain, space.known, space.pinned) = (0, 0, 0);
            }
            _ => {}
        }
    }
}

impl PageOwner {
    fn load(&mut self, r: &Record, mm: u8, va: u8, value: u8, found: &mut Findings) {
        let Some(space) = self.spaces.get(mm as usize) else { return };
        let page = &space.pages[va as usize];
        if space.known >> va & 1 != 0 && page.value != value {
            let message = format!(
                "task {} loads {value} from va{va} of mm {mm}, but {} was written there in step {} by way of pfn {}",
                r.task, page.value, page.step, page.pfn
            );
            found.add(Violation::new("page_owner", "lost-write", r, message).frame(page.pfn, page.gen_, page.gen_));
        }
    }

    fn store(&mut self, step: u32, mm: u8, va: u8, (pfn, gen_): (Pfn, u16), owner: Owner, value: u8) {
        let Some(space) = self.spaces.get_mut(mm as usize) else { return };
        let promised = matches!(owner, Owner::Anon(_)) && (space.plain & !space.unstable) >> va & 1 != 0;
        if promised {
            space.known |= 1 << va;
            let page = &mut space.pages[va as usize];
            (page.value, page.pfn, page.gen_, page.step) = (value, pfn, gen_, step);
        } else {
            space.known &= !(1 << va);
        }
    }

    /// A write by way of a reference: promised to be seen where FOLL_PIN lasts, not promised to be
    /// seen or not seen elsewhere.
    fn write(&mut self, step: u32, (pfn, gen_): (Pfn, u16), value: u8) {
        for space in self.spaces.iter_mut().filter(|s| s.known | s.pinned != 0) {
            for va in super::frames(space.known | space.pinned) {
                let page = &mut space.pages[va.index()];
                if space.pinned >> va.0 & 1 != 0 && page.pinned == (pfn, gen_) {
                    space.known |= 1 << va.0;
                    (page.value, page.pfn, page.gen_, page.step) = (value, pfn, gen_, step);
                } else if (page.pfn, page.gen_) == (pfn, gen_) {
                    space.known &= !(1 << va.0);
                }
            }
        }
    }

    fn unpin(&mut self, pinned: (Pfn, u16)) {
        for space in self.spaces.iter_mut().filter(|s| s.pinned != 0) {
            for va in super::frames(space.pinned) {
                let page = &mut space.pages[va.index()];
                if page.pinned == pinned {
                    page.pins -= 1;
                    space.pinned &= !(u64::from(page.pins == 0) << va.0);
                    return;
                }
            }
        }
    }

    fn begin(&mut self, task: u8, nr: u8, args: [u8; 5], mm: u8) {
        let Some(space) = self.spaces.get_mut(mm as usize) else { return };
        let (discards, plain) = effect(nr, args, space.plain);
        self.running[task as usize] = Running { mm, discards, plain, disturbed: space.unstable };
        if discards == 0 {
            return;
        }
        space.unstable |= discards;
        space.known &= !discards;
        space.pinned &= !discards;
        // What was plain and becomes plain again is never anything else between.
        space.plain &= !discards | plain;
        for (other, running) in self.running.iter_mut().enumerate() {
            if other != task as usize && running.mm == mm {
                running.disturbed |= discards;
            }
        }
    }

    fn end(&mut self, task: u8, success: bool) {
        let Running { mm, discards, plain, disturbed } = std::mem::replace(&mut self.running[task as usize], IDLE);
        let Some(space) = self.spaces.get_mut(mm as usize) else { return };
        if discards == 0 {
            return;
        }
        space.unstable = self.running.iter().filter(|t| t.mm == mm).fold(0, |set, t| set | t.discards);
        if success && discards & disturbed == 0 {
            space.plain |= plain;
        }
    }
}

/// The pages a call may discard, and those that are plain anonymous memory afterwards.
fn effect(nr: u8, args: [u8; 5], plain: u64) -> (u64, u64) {
    let Some(op) = op(nr) else { return (0, 0) };
    let arg = |name: &str| op.args.iter().position(|a| a.name == name).map(|i| args[i]);
    let Some(addr) = arg("addr") else { return (0, 0) };
    // A length is at least 1, and written as byte 0.
    let len = arg("len").map_or(TASK_SIZE, |len| len as usize + 1);
    let pages = |start: usize| crate::arch::pages(start, (start + len).min(TASK_SIZE));
    let range = pages(addr.into());
    match op.name {
        "load" | "store" | "mprotect" | "get_user_pages" | "pin_user_pages" | "dio_read" | "dio_write" | "vmsplice"
        | "io_uring_register" => (0, 0),
        "mmap" => (range, if arg("map") == Some(0) { range } else { 0 }),
        "madvise" => (range, range & plain),
        "mremap" => {
            let new = arg("new").unwrap_or(addr);
            let moved = range & plain;
            let moved = if new >= addr { moved << (new - addr) } else { moved >> (addr - new) };
            (range | pages(new.into()), moved & !range)
        }
        _ => (range, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{feed, title};
    use super::*;
    use crate::entry::op_by_name;

    const A: Pfn = Pfn(4);
    const B: Pfn = Pfn(5);

    fn begin(task: u8, name: &str, args: [u8; 5]) -> (u8, Event) {
        (task, Event::CallBegin { call: 0, op: op_by_name(name).unwrap().nr, args, mm: 0 })
    }
    fn end(task: u8, ret: i32) -> (u8, Event) {
        (task, Event::CallEnd { call: 0, ret })
    }
    /// Plain anonymous memory at va8 and va9.
    fn anon() -> [(u8, Event); 2] {
        [begin(0, "mmap", [8, 1, 3, 0, 0]), end(0, 0)]
    }
    fn touch(task: u8, kind: UseKind, pfn: Pfn, value: u8, at: Option<u8>) -> (u8, Event) {
        let (owner, at) = (Owner::Anon(0), at.map(|va| (0, va)));
        (task, Event::Use { kind, pfn, took: 3, now: 3, owner, value, written: 3, at })
    }
    fn store(pfn: Pfn, value: u8) -> (u8, Event) {
        touch(0, UseKind::Store, pfn, value, Some(8))
    }
    fn load(pfn: Pfn, value: u8) -> (u8, Event) {
        touch(0, UseKind::Load, pfn, value, Some(8))
    }
    fn dma(pfn: Pfn, value: u8) -> (u8, Event) {
        touch(8, UseKind::DmaWrite, pfn, value, None)
    }
    fn pin(kind: Pin, pfn: Pfn) -> (u8, Event) {
        (0, Event::GupPin { mm: 0, va: 8, pfn, took: 3, entry: 3, kind, write: true })
    }
    fn unpin(pfn: Pfn) -> (u8, Event) {
        (0, Event::GupUnpin { pfn, took: 3, kind: Pin::Pin })
    }

    #[test]
    fn what_a_former_owner_left_is_a_leak() {
        let read = |written, value| {
            let at = Some((0, 8));
            [(0, Event::Use { kind: UseKind::Load, pfn: A, took: 3, now: 3, owner: Owner::Bo(1), value, written, at })]
        };
        assert_eq!(title::<PageOwner>(&read(3, 7)), "");
        assert_eq!(title::<PageOwner>(&read(1, 0)), "");
        assert_eq!(title::<PageOwner>(&read(1, 7)), "data-leak in f");
    }

    #[test]
    fn a_load_returns_the_last_store() {
        assert_eq!(title::<PageOwner>(&[&anon()[..], &[store(A, 1), store(A, 2), load(A, 2)]].concat()), "");
        let v = feed::<PageOwner>(&[&anon()[..], &[store(A, 1), load(B, 0)]].concat()).unwrap();
        assert_eq!(v.title(), "lost-write in f");
        assert_eq!(v.message, "task 0 loads 0 from va8 of mm 0, but 1 was written there in step 2 by way of pfn 0x4");
        // A file's page, or a buffer object's, is not promised.
        let file = [begin(0, "mmap", [8, 1, 3, 1, 0]), end(0, 0)];
        assert_eq!(title::<PageOwner>(&[&file[..], &[store(A, 1), load(B, 0)]].concat()), "");
        assert_eq!(title::<PageOwner>(&[store(A, 1), load(B, 0)]), "");
    }

    #[test]
    fn what_the_process_discards_is_gone_from_the_begin_of_the_call_to_its_end() {
        for (name, args) in [("munmap", [7, 3, 0, 0, 0]), ("madvise", [8, 0, 0, 0, 0]), ("mremap", [8, 0, 20, 0, 0])] {
            let before = [store(A, 1), begin(1, name, args), load(B, 0), end(1, 0)];
            assert_eq!(title::<PageOwner>(&[&anon()[..], &before].concat()), "", "{name}");
            let within = [begin(1, name, args), store(A, 1), end(1, 0), load(B, 0)];
            assert_eq!(title::<PageOwner>(&[&anon()[..], &within].concat()), "", "{name}");
        }
        let elsewhere = [store(A, 1), begin(1, "munmap", [9, 0, 0, 0, 0]), end(1, 0), load(B, 0)];
        assert_eq!(title::<PageOwner>(&[&anon()[..], &elsewhere].concat()), "lost-write in f");
        let after = [begin(1, "madvise", [8, 0, 0, 0, 0]), end(1, 0), store(A, 1), load(B, 0)];
        assert_eq!(title::<PageOwner>(&[&anon()[..], &after].concat()), "lost-write in f");
        let exited = [store(A, 1), (0, Event::MmExit { mm: 0, rss_anon: 0, rss_file: 0, pgtables: 0 }), load(B, 0)];
        assert_eq!(title::<PageOwner>(&[&anon()[..], &exited].concat()), "");
    }

    #[test]
    fn mappings_that_race_are_not_trusted() {
        let race = [begin(1, "ttm_bo_mmap", [0, 8, 0, 0, 0]), anon()[0], end(0, 0), end(1, 0), store(A, 1), load(B, 0)];
        assert_eq!(title::<PageOwner>(&race), "");
        // What moves stays plain memory.
        let moved = [begin(1, "mremap", [20, 0, 8, 0, 0]), end(1, 0), store(A, 1), load(B, 0)];
        let anon20 = [begin(0, "mmap", [20, 0, 3, 0, 0]), end(0, 0)];
        assert_eq!(title::<PageOwner>(&[&anon20[..], &moved].concat()), "lost-write in f");
    }

    #[test]
    fn pinned_dma_is_seen_by_the_owner() {
        let lost = [store(A, 1), pin(Pin::Pin, A), store(B, 1), dma(A, 9), load(B, 1)];
        assert_eq!(title::<PageOwner>(&[&anon()[..], &lost].concat()), "lost-write in f");
        let seen = [store(A, 1), pin(Pin::Pin, A), dma(A, 9), load(A, 9), unpin(A), load(A, 9)];
        assert_eq!(title::<PageOwner>(&[&anon()[..], &seen].concat()), "");
        let again = [pin(Pin::Pin, A), store(A, 1), dma(A, 9), store(A, 2), load(A, 2)];
        assert_eq!(title::<PageOwner>(&[&anon()[..], &again].concat()), "");
    }

    #[test]
    fn dma_by_a_plain_reference_or_after_the_pin_is_not_promised() {
        let got = [store(A, 1), pin(Pin::Get, A), dma(A, 9), load(B, 1)];
        assert_eq!(title::<PageOwner>(&[&anon()[..], &got].concat()), "");
        let late = [store(A, 1), pin(Pin::Pin, A), unpin(A), dma(A, 9), load(B, 1)];
        assert_eq!(title::<PageOwner>(&[&anon()[..], &late].concat()), "");
        let unmapped = [pin(Pin::Pin, A), begin(1, "madvise", [8, 0, 0, 0, 0]), end(1, 0), store(B, 1), dma(A, 9)];
        assert_eq!(title::<PageOwner>(&[&anon()[..], &unmapped, &[load(B, 1)]].concat()), "");
    }

    #[test]
    fn a_pin_taken_while_the_page_was_discarded_is_not_trusted() {
        let late = [begin(2, "dio_read", [8, 0, 0, 0, 0]), begin(1, "madvise", [8, 0, 0, 0, 0]), end(1, 0)];
        let (task, event) = (2, pin(Pin::Pin, A).1);
        let events = [&anon()[..], &late, &[(task, event), store(B, 1), dma(A, 9), load(B, 1)]].concat();
        assert_eq!(title::<PageOwner>(&events), "");
    }
}
