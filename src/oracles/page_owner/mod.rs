// SPDX-License-Identifier: GPL-2.0-or-later
//! Whose data a page holds.  Linux: no checker; the promises of mmap(2), open(2) and
//! Documentation/core-api/pin_user_pages.rst.
//!
//! Promised to every owner: he never reads what a former owner of the frame left (always).
//! Promised to a process, of private anonymous memory: a load returns what was stored there last
//! (always), and a device that got the page by FOLL_PIN for writing writes memory the process
//! sees as long as the pin lasts (v5.6 in principle; kept since v5.19).
//! Promised to a child: it holds what its parent held at one moment of the fork (the comment above
//! dup_mmap() that was proposed in June 2025; POSIX says no less).
//! Promised to a process since v5.8: whoever else got a page of it before, by GUP, does not read by
//! that reference what the process stores there afterwards (CVE-2020-29374).
//! Nobody else's memory shows there, or takes what is stored there.
//!
//! Must catch: pages that change hands without being cleared; stores and pinned DMA that the owner's
//! loads do not return.
//! What a file system writes to a block of its own is for fs_dirty.
//! Must leave alone: whatever the process discards or replaces itself by munmap, mmap over it,
//! mremap, madvise and exit, from the begin to the end of that call; DMA by FOLL_GET into a page that
//! was replaced meanwhile, or that a child has in the swap and shares; file, device and buffer-object memory, whose
//! owner is somebody else; writes through a mapping that is not plain anonymous memory.

mod calls;
mod effect;
mod fork;
mod parted;

use super::{Findings, Oracle, Violation};
use crate::limits::{NR_FRAMES, NR_MMS, NR_TASKS, TASK_SIZE};
use crate::trace::{Event, Owner, Pfn, Pin, Record, UseKind};
use calls::{IDLE, Running};
use effect::Doing;
use fork::Fork;
use parted::Parted;

/// A page of an address space.
#[derive(Clone, Copy)]
struct Page {
    /// What a load must return, and the frame it was put into.
    value: u8,
    pfn: Pfn,
    gen_: u16,
    /// The frame its entry goes to since it changed last.
    home: (Pfn, u16),
    /// What FOLL_PIN for writing handed out, and how many such pins there are.
    pinned: (Pfn, u16),
    pins: u16,
    /// The step of the last write.
    step: u32,
    parted: Parted,
}

impl Page {
    /// The last store of what it holds: the same in a child as long as nobody writes.
    fn stored(&self) -> (Pfn, u16, u32) {
        (self.pfn, self.gen_, self.step)
    }

    const NEW: Page = {
        let nothing = (Pfn(0), 0);
        Page { value: 0, pfn: Pfn(0), gen_: 0, home: nothing, pinned: nothing, pins: 0, step: 0, parted: Parted::NEW }
    };
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
    /// An entry maps something: what is known and not mapped is in the swap, or on its way.
    mapped: u64,
    pages: [Page; TASK_SIZE],
    /// Something is written there.
    used: bool,
    /// Some of its areas are not for children, so that nobody can say what a child has.
    dontfork: bool,
    fork: Fork,
}

/// GUP references of a frame.
#[derive(Clone, Copy, Default)]
struct Got {
    refs: u16,
    gen_: u16,
    /// The address space they were taken of, if it is one.
    mm: Option<u8>,
    /// When the last of them was.
    step: u32,
    /// The last private store: address space and step.
    stored: Option<(u8, u32)>,
}

impl Space {
    fn new() -> Space {
        let (plain, unstable, known, pinned, mapped) = (0, 0, 0, 0, 0);
        let pages = std::array::from_fn(|_| Page::NEW);
        Space { plain, unstable, known, pinned, mapped, pages, used: false, dontfork: false, fork: Fork::NEW }
    }

    /// Nobody's any more: the next process must not inherit from this one, nor a run from the one before.
    fn clear(&mut self) {
        if std::mem::take(&mut self.used) {
            self.pages.fill(Page::NEW);
        }
        (self.plain, self.unstable, self.known, self.pinned, self.mapped) = (0, 0, 0, 0, 0);
        (self.dontfork, self.fork.running) = (false, false);
    }

    fn page(&mut self, va: u8) -> &mut Page {
        self.used = true;
        &mut self.pages[va as usize]
    }
}

pub(super) struct PageOwner {
    /// By the operation's number.
    doing: [Doing; 256],
    spaces: [Space; NR_MMS],
    running: [Running; NR_TASKS],
    /// Tasks inside of a call, one bit each; of the others `running` is [`IDLE`].
    inside: u16,
    got: [Got; NR_FRAMES],
    /// Of a frame: the generation that was mapped last, and the last store of what it held.
    holds: [(u16, (Pfn, u16, u32)); NR_FRAMES],
}

const NOTHING: (u16, (Pfn, u16, u32)) = (u16::MAX, (Pfn(0), 0, 0));

impl Default for PageOwner {
    fn default() -> PageOwner {
        let doing = std::array::from_fn(|nr| Doing::of(nr as u8));
        let spaces = std::array::from_fn(|_| Space::new());
        PageOwner {
            doing,
            spaces,
            running: [IDLE; NR_TASKS],
            inside: 0,
            got: [Got::default(); NR_FRAMES],
            holds: [NOTHING; NR_FRAMES],
        }
    }
}

impl Oracle for PageOwner {
    fn reset(&mut self) {
        self.spaces.iter_mut().for_each(Space::clear);
        self.got = [Got::default(); NR_FRAMES];
        self.holds = [NOTHING; NR_FRAMES];
        self.running = [IDLE; NR_TASKS];
        self.inside = 0;
    }

    #[inline(always)]
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
                if matches!(kind, UseKind::KernelRead | UseKind::DmaRead) {
                    self.read_by_reference(r, (pfn, took), found);
                }
                match (kind, at) {
                    (UseKind::Load, Some((mm, va))) => self.load(r, mm, va, value, found),
                    (UseKind::Store, Some((mm, va))) => self.store(r.step, mm, va, (pfn, now), owner, value),
                    (UseKind::DmaWrite | UseKind::KernelWrite, _) => self.write(r.step, (pfn, now), owner, value),
                    _ => {}
                }
            }
            Event::GupPin { mm, va, pfn, took, kind, write, .. } => {
                self.got(r.step, mm, (pfn, took));
                if kind != Pin::Get && write {
                    self.pin(r, mm, va, (pfn, took));
                }
            }
            Event::GupUnpin { pfn, took, kind } => {
                let got = &mut self.got[pfn.index()];
                got.refs = got.refs.saturating_sub((got.gen_ == took).into());
                if kind != Pin::Get {
                    self.unpin((pfn, took));
                }
            }
            Event::Map { mm, va, pfn, nr, gen_, anon: true, write, .. } => {
                for i in 0..nr {
                    self.map(mm, va + i, (pfn.add(i.into()), gen_), write);
                }
            }
            Event::Unmap { mm, va, pfn, nr, anon: true, write, .. } => {
                let Space { pages, fork, used, mapped, .. } = &mut self.spaces[mm as usize];
                *mapped &= !(((1 << nr) - 1) << va);
                if !write {
                    return;
                }
                *used = true;
                for (i, page) in pages[va as usize..][..nr as usize].iter_mut().enumerate() {
                    let gen_ = if page.home.0 == pfn.add(i) { page.home.1 } else { 0 };
                    page.parted.unmap((pfn.add(i), gen_), r.func, fork.running);
                }
            }
            Event::ForkBegin { parent, .. } => {
                self.spaces[parent as usize].fork = Fork { running: true, ..Fork::NEW };
            }
            Event::ForkCopy { parent, va } => self.spaces[parent as usize].fork.copied |= 1 << va,
            Event::ForkEnd { parent, child } => self.fork_end(r, parent, child, found),
            Event::CallBegin { op, args, mm, .. } => self.begin(r.task, op, args, mm),
            Event::CallEnd { ret, .. } => self.end(r.task, ret >= 0),
            Event::MmExit { mm, .. } => self.spaces[mm as usize].clear(),
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
            let by = page.parted.blame((page.pfn, page.gen_)).unwrap_or(r.func);
            let lost = Violation::new("page_owner", "lost-write", r, message).blame(by);
            found.add(lost.frame(page.pfn, page.gen_, page.gen_));
        }
    }

    fn store(&mut self, step: u32, mm: u8, va: u8, (pfn, gen_): (Pfn, u16), owner: Owner, value: u8) {
        let Some(space) = self.spaces.get_mut(mm as usize) else { return };
        let promised = matches!(owner, Owner::Anon(_)) && (space.plain & !space.unstable) >> va & 1 != 0;
        space.fork.written |= 1 << va;
        if promised {
            space.fork.store(step, va);
            self.got[pfn.index()].stored = Some((mm, step));
            space.known |= 1 << va;
            let page = space.page(va);
            (page.value, page.pfn, page.gen_, page.step) = (value, pfn, gen_, step);
            self.holds[pfn.index()] = (gen_, page.stored());
        } else {
            space.known &= !(1 << va);
        }
    }

    fn map(&mut self, mm: u8, va: u8, frame: (Pfn, u16), write: bool) {
        let space = &mut self.spaces[mm as usize];
        space.mapped |= 1 << va;
        let known = space.known >> va & 1 != 0;
        let page = space.page(va);
        page.home = frame;
        if let Some(holds) = self.holds.get_mut(frame.0.index()).filter(|_| known) {
            *holds = (frame.1, page.stored());
        }
        if write {
            page.parted.map(frame);
        }
    }

    /// A FOLL_PIN for writing.
    fn pin(&mut self, r: &Record, mm: u8, va: u8, pinned: (Pfn, u16)) {
        let space = &mut self.spaces[mm as usize];
        let trusted = space.plain & !space.unstable & !self.running[r.task as usize].disturbed;
        if trusted >> va & 1 != 0 {
            let page = &mut space.pages[va as usize];
            let again = space.pinned >> va & 1 != 0 && page.pinned == pinned;
            page.pins = if again { page.pins + 1 } else { 1 };
            page.pinned = pinned;
            page.parted.pin(pinned, r.func, space.fork.running);
            space.pinned |= 1 << va;
            space.used = true;
        }
    }

    /// A write by way of a reference: promised to be seen where FOLL_PIN lasts, not promised to be
    /// seen or not seen elsewhere.
    ///
    /// What others have in the swap and did not yet fault back in may be in this frame, too, the more so if nobody
    /// knows what it holds.
    fn write(&mut self, step: u32, (pfn, gen_): (Pfn, u16), owner: Owner, value: u8) {
        let held = self.holds.get(pfn.index()).filter(|holds| holds.0 == gen_).map(|holds| holds.1);
        let may_hold = |stored| matches!(owner, Owner::Anon(_)) && held.is_none_or(|held| held == stored);
        for space in self.spaces.iter_mut().filter(|s| s.known | s.pinned != 0) {
            for va in super::frames(space.known | space.pinned) {
                let page = &mut space.pages[va.index()];
                let swapped = space.mapped >> va.0 & 1 == 0 && may_hold(page.stored());
                let shows = (page.pfn, page.gen_) == (pfn, gen_) || page.home == (pfn, gen_) || swapped;
                if page.pinned == (pfn, gen_) || shows {
                    space.fork.written |= 1 << va.0;
                }
                if space.pinned >> va.0 & 1 != 0 && page.pinned == (pfn, gen_) {
                    space.known |= 1 << va.0;
                    (page.value, page.pfn, page.gen_, page.step) = (value, pfn, gen_, step);
                } else if shows {
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

    fn got(&mut self, step: u32, mm: u8, (pfn, took): (Pfn, u16)) {
        let got = &mut self.got[pfn.index()];
        if got.refs == 0 || got.gen_ != took {
            *got = Got { mm: Some(mm), gen_: took, stored: got.stored.filter(|_| got.gen_ == took), ..Got::default() };
        }
        got.mm = got.mm.filter(|&m| m == mm);
        got.refs += 1;
        got.step = step;
    }

    /// All references of the frame are one address space's; the last store, later, was another's.
    fn read_by_reference(&mut self, r: &Record, (pfn, took): (Pfn, u16), found: &mut Findings) {
        let Some(got) = self.got.get(pfn.index()) else { return };
        if let (Some(reader), Some((writer, step))) = (got.mm, got.stored)
            && got.refs > 0
            && got.gen_ == took
            && reader != writer
            && step > got.step
        {
            let message = format!(
                "task {} reads by a reference that mm {reader} took in step {} what mm {writer} stored in step {step}",
                r.task, got.step
            );
            found.add(Violation::new("page_owner", "private-store-seen", r, message).frame(pfn, took, took));
        }
    }

    fn fork_end(&mut self, r: &Record, parent: u8, child: u8, found: &mut Findings) {
        let space = self.spaces[parent as usize];
        let Fork { written, lost, torn, .. } = space.fork;
        if let (Some((before, first)), Some((after, then))) = (lost, torn)
            && !space.dontfork
        {
            let message = format!(
                "the child has what mm {parent} stored to va{after} in step {then}, and not what it had stored to \
                 va{before} in step {first}"
            );
            found.add(Violation::new("page_owner", "torn-snapshot", r, message));
        }
        self.spaces[parent as usize].fork.running = false;
        let plain = space.plain & !space.unstable;
        let mut pages = space.pages;
        for (page, own) in pages.iter_mut().zip(&self.spaces[child as usize].pages) {
            // No entry to a frame was copied: one to the swap, from where the parent's frame comes back.
            page.home = if own.home == Page::NEW.home { page.home } else { own.home };
        }
        let (known, fork, mapped) = (space.known & plain & !written, Fork::NEW, self.spaces[child as usize].mapped);
        self.spaces[child as usize] =
            Space { plain, unstable: 0, known, pinned: 0, mapped, fork, pages, used: true, ..space };
    }
}

#[cfg(test)]
mod tests;
