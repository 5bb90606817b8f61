// SPDX-License-Identifier: GPL-2.0-or-later
//! Pinned pages and their mappings.  Linux: no checker; Documentation/core-api/pin_user_pages.rst.
//!
//! Promised to whoever took an anonymous page by FOLL_PIN, and to the process he took it from: as long
//! as the pin lasts, the page is what the process sees at that address, unless the process itself
//! unmaps, remaps or discards it (the intent since v5.6; kept by fork since v5.9, by reclaim since
//! v5.11, by all that take entries away since v5.19).  Nothing was ever promised for FOLL_GET, nor for
//! pages of files, which reclaim and writeback unmap and truncation takes away: what they keep under a pin is
//! their buffers (fs_dirty), and a block of a file on dax stays the file's (kasan).
//!
//! Must catch: a pin that ends while the address shows nothing, or another page, because the kernel
//! took the entry away: by reclaim, migration, or a copy on write.
//! Must leave alone: what the process does by munmap, mmap over it, mremap, MADV_DONTNEED, MADV_FREE,
//! execve or exit, or truncation of a file it maps privately; memory that breaks; an entry that is back before the pin ends
//! (a swap entry that reconnects to the page, a migration that failed); pages that only look pinned.
//!
//! The strict level (`+page-pin-strict`) asks what the thread of June 2020 asked, whether a pinned page
//! should be disturbed at all: it reports the moment at which the kernel of its own accord unmaps a page
//! that is pinned, of a file too, and a notifier that fired for one, whether or not it is unmapped then.

use super::{Findings, Oracle, Violation};
use crate::entry::op;
use crate::limits::{NR_MMS, NR_TASKS, NR_USER_TASKS, TASK_SIZE};
use crate::trace::{Event, Notify, Pfn, Pin, Record};

/// A page of an address space.
#[derive(Clone, Copy, Default)]
struct Page {
    /// What its entry maps, and whether that is anonymous; see `mapped`.
    pfn: Pfn,
    anon: bool,
    /// What FOLL_PIN handed out for it, and how often.
    pinned: (Pfn, u16),
    pins: u16,
    /// Who took the entry away.
    by: Option<Record>,
}

/// An address space; sets have one bit a page.
#[derive(Clone, Copy)]
struct Space {
    /// An entry maps something.
    mapped: u64,
    pinned: u64,
    /// Pinned, the entry is gone, and so is the range of whoever took it away.
    apart: u64,
    pages: [Page; TASK_SIZE],
}

/// What a task is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Call {
    /// The process gives memory up, or whoever it belongs to takes it away: always legal.
    #[default]
    Owner,
    /// It changes how memory is mapped, or faults: entries may change and come back.
    Process,
    /// The kernel does, of its own accord.
    Kernel,
}

/// What an operation is about.
#[derive(Clone, Copy)]
enum About {
    One(Call),
    /// That depends on the advice, its argument number so much.
    Advice(usize),
}

pub(super) struct PagePin {
    pub(super) strict: bool,
    /// By the operation's number.
    about: [About; 256],
    spaces: [Space; NR_MMS],
    calls: [Call; NR_TASKS],
}

impl Default for PagePin {
    fn default() -> PagePin {
        let space = Space { mapped: 0, pinned: 0, apart: 0, pages: [Page::default(); TASK_SIZE] };
        let about = std::array::from_fn(|nr| about(nr as u8));
        PagePin { strict: false, about, spaces: [space; NR_MMS], calls: [Call::Owner; NR_TASKS] }
    }
}

impl Oracle for PagePin {
    fn reset(&mut self) {
        for space in &mut self.spaces {
            (space.mapped, space.pinned, space.apart) = (0, 0, 0);
        }
        self.calls = std::array::from_fn(|t| if t < NR_USER_TASKS { Call::Owner } else { Call::Kernel });
    }

    #[inline(always)]
    fn event(&mut self, r: &Record, found: &mut Findings) {
        match r.event {
            Event::Map { mm, va, pfn, nr, anon, .. } => {
                (0..nr).for_each(|i| self.map(mm, va + i, pfn.add(i.into()), anon))
            }
            Event::Unmap { mm, va, nr, .. } => (0..nr).for_each(|i| self.unmap(r, mm, va + i)),
            Event::Notify { mm, start, end, kind, begin: false } => self.notified(r, mm, start, end, kind, found),
            Event::GupPin { mm, va, pfn, took, kind: Pin::Pin | Pin::Longterm, .. } => self.pin(mm, va, (pfn, took)),
            Event::GupUnpin { pfn, took, kind: Pin::Pin | Pin::Longterm } => self.unpin(r, (pfn, took), found),
            Event::CallBegin { op, args, .. } => self.calls[r.task as usize] = self.call(op, args),
            Event::CallEnd { .. } => self.calls[r.task as usize] = Call::Owner,
            Event::MmExit { mm, .. } => {
                let space = &mut self.spaces[mm as usize];
                (space.mapped, space.pinned, space.apart) = (0, 0, 0);
            }
            _ => {}
        }
    }
}

impl PagePin {
    fn call(&self, op: u8, args: [u8; 5]) -> Call {
        match self.about[op as usize] {
            About::One(call) => call,
            // Dontneed and free; pageout and cold.
            About::Advice(i) if matches!(args[i], 0 | 7) => Call::Owner,
            About::Advice(i) if matches!(args[i], 5 | 6) => Call::Kernel,
            About::Advice(_) => Call::Process,
        }
    }

    fn map(&mut self, mm: u8, va: u8, pfn: Pfn, anon: bool) {
        let space = &mut self.spaces[mm as usize];
        let page = &mut space.pages[va as usize];
        (page.pfn, page.anon) = (pfn, anon);
        space.mapped |= 1 << va;
        if page.pinned.0 == pfn {
            space.apart &= !(1 << va); // together again
            page.by = None;
        }
    }

    fn unmap(&mut self, r: &Record, mm: u8, va: u8) {
        let space = &mut self.spaces[mm as usize];
        space.mapped &= !(1 << va);
        if space.pinned >> va & 1 == 0 {
            return;
        }
        let page = &mut space.pages[va as usize];
        if self.calls[r.task as usize] == Call::Owner {
            space.pinned &= !(1 << va);
            space.apart &= !(1 << va);
        } else if page.pinned.0 == page.pfn {
            page.by = Some(*r);
        }
    }

    /// Whoever changes entries is done with this range.
    fn notified(&mut self, r: &Record, mm: u8, start: u8, end: u8, kind: Notify, found: &mut Findings) {
        let space = &mut self.spaces[mm as usize];
        let set = space.pinned & crate::arch::pages(start.into(), end.into());
        for va in super::frames(set) {
            let page = space.pages[va.index()];
            let (pfn, gen_) = page.pinned;
            let together = space.mapped >> va.0 & 1 != 0 && page.pfn == pfn;
            if kind == Notify::Unmap {
                space.pinned &= !(u64::from(!together) << va.0); // munmap, or the address space ends
                space.apart &= space.pinned;
                continue;
            }
            // Another's range may end while the entry is away for a moment.
            let ours = page.by.is_some_and(|by| by.task == r.task);
            space.apart |= u64::from(!together && ours) << va.0;
            if !self.strict || self.calls[r.task as usize] != Call::Kernel || kind == Notify::ProtectionVma {
                continue;
            }
            let (name, by) = match (together || !ours, page.by) {
                (false, Some(by)) => ("pinned-page-unmapped", by),
                _ => ("pinned-page-notified", *r),
            };
            let message = format!(
                "va{} of mm {mm} is pfn {pfn}, which is pinned, and the kernel {}",
                va.0,
                match together {
                    true => "tells secondary MMUs to forget it",
                    false => "unmaps it",
                }
            );
            found.add(Violation::new("page_pin", name, r, message).blame(by.func).frame(pfn, gen_, gen_));
        }
    }

    fn pin(&mut self, mm: u8, va: u8, pinned: (Pfn, u16)) {
        let space = &mut self.spaces[mm as usize];
        let page = &mut space.pages[va as usize];
        let promised = space.mapped >> va & 1 != 0 && page.pfn == pinned.0 && (page.anon || self.strict);
        if !promised {
            return; // gone already, and nobody says by whom
        }
        let again = space.pinned >> va & 1 != 0 && page.pinned == pinned;
        page.pins = if again { page.pins + 1 } else { 1 };
        (page.pinned, page.by) = (pinned, None);
        space.pinned |= 1 << va;
        space.apart &= !(1 << va);
    }

    fn unpin(&mut self, r: &Record, pinned: (Pfn, u16), found: &mut Findings) {
        for (mm, space) in self.spaces.iter_mut().enumerate().filter(|(_, s)| s.pinned != 0) {
            for va in super::frames(space.pinned) {
                let page = &mut space.pages[va.index()];
                if page.pinned != pinned {
                    continue;
                }
                if space.apart >> va.0 & 1 != 0
                    && let Some(by) = &page.by
                    && r.func.name() != "gup_fast_unpin_user_pages"
                // nobody has got it yet
                {
                    let (pfn, gen_) = pinned;
                    let message =
                        format!("the pin of pfn {pfn} ends, and va{} of mm {mm} does not show it any more", va.0);
                    found.add(
                        Violation::new("page_pin", "pinned-page-unmapped", r, message)
                            .blame(by.func)
                            .frame(pfn, gen_, gen_),
                    );
                }
                page.pins -= 1;
                if page.pins == 0 {
                    space.pinned &= !(1 << va.0);
                    space.apart &= !(1 << va.0);
                }
                return;
            }
        }
    }
}

/// What an operation is about.
fn about(nr: u8) -> About {
    let Some(op) = op(nr) else { return About::One(Call::Owner) };
    if let Some(advice) = op.args.iter().position(|a| a.name == "advice") {
        return About::Advice(advice);
    }
    let begins = |with: &[&str]| with.iter().any(|with| op.name.starts_with(with));
    About::One(match op.name {
        "munmap" | "mmap" | "hugetlb_mmap" | "mremap" | "execve" | "ftruncate" | "fallocate" => Call::Owner,
        "memory_failure" => Call::Owner, // nobody can promise that memory does not break
        _ if begins(&["ttm_", "dma_buf_", "gpu_", "devdax_"]) => Call::Owner,
        "load" | "store" | "fork" | "mprotect" | "fsync" => Call::Process,
        _ if begins(&["pin", "get_user", "unpin", "dio_", "vmsplice", "io_uring_", "userptr_"]) => Call::Process,
        _ => Call::Kernel,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{feed, record, title};
    use super::*;
    use crate::entry::op_by_name;

    const P: Pfn = Pfn(4);

    fn begin(task: u8, name: &str, args: [u8; 5]) -> (u8, Event) {
        (task, Event::CallBegin { call: 0, op: op_by_name(name).unwrap().nr, args, mm: 0 })
    }
    fn end(task: u8) -> (u8, Event) {
        (task, Event::CallEnd { call: 0, ret: 0 })
    }
    fn map(task: u8, pfn: Pfn, anon: bool) -> (u8, Event) {
        (task, Event::Map { mm: 0, va: 8, pfn, nr: 1, gen_: 3, anon, write: true, special: false })
    }
    fn unmap(task: u8) -> (u8, Event) {
        (task, Event::Unmap { mm: 0, va: 8, pfn: P, nr: 1, anon: true, write: true, special: false })
    }
    fn done(task: u8, kind: Notify) -> (u8, Event) {
        (task, Event::Notify { mm: 0, start: 8, end: 9, kind, begin: false })
    }
    fn pin(kind: Pin) -> (u8, Event) {
        (1, Event::GupPin { mm: 0, va: 8, pfn: P, took: 3, entry: 3, kind, write: true })
    }
    fn unpin(kind: Pin) -> (u8, Event) {
        (1, Event::GupUnpin { pfn: P, took: 3, kind })
    }
    /// A page that is mapped, pinned, and taken away by task 2 in a call.
    fn taken(name: &str, args: [u8; 5], kind: Notify) -> Vec<(u8, Event)> {
        vec![map(0, P, true), pin(Pin::Pin), begin(2, name, args), unmap(2), done(2, kind)]
    }
    fn then(mut events: Vec<(u8, Event)>, more: &[(u8, Event)]) -> String {
        events.extend(more);
        title::<PagePin>(&events)
    }

    #[test]
    fn what_the_kernel_takes_away_is_reported_when_the_pin_ends() {
        for (name, args) in [("reclaim", [0; 5]), ("store", [8, 1, 0, 0, 0]), ("madvise", [8, 0, 5, 0, 0])] {
            let events = || taken(name, args, Notify::Clear);
            assert_eq!(then(events(), &[]), "", "{name}");
            assert_eq!(then(events(), &[unpin(Pin::Pin)]), "pinned-page-unmapped in f", "{name}");
            assert_eq!(then(events(), &[map(2, Pfn(9), true), unpin(Pin::Pin)]), "pinned-page-unmapped in f");
            assert_eq!(then(events(), &[map(2, P, true), unpin(Pin::Pin)]), "", "{name}: it is back");
        }
    }

    #[test]
    fn what_the_process_gives_up_is_not() {
        for (name, args, kind) in [
            ("munmap", [8, 0, 0, 0, 0], Notify::Unmap),
            ("madvise", [8, 0, 0, 0, 0], Notify::Clear),
            ("madvise", [8, 0, 7, 0, 0], Notify::Clear),
            ("ftruncate", [0; 5], Notify::Clear),
        ] {
            assert_eq!(then(taken(name, args, kind), &[end(2), unpin(Pin::Pin)]), "", "{name}");
        }
        let exit = Event::MmExit { mm: 0, rss_anon: 0, rss_file: 0, pgtables: 0 };
        assert_eq!(then(taken("reclaim", [0; 5], Notify::Clear), &[(2, exit), unpin(Pin::Pin)]), "");
    }

    #[test]
    fn an_entry_that_is_away_for_a_moment_is_not_lost() {
        // Before its own range ends, whoever else's does.
        let events = [map(0, P, true), pin(Pin::Pin), begin(2, "reclaim", [0; 5]), unmap(2), done(3, Notify::Clear)];
        assert_eq!(then(events.into(), &[unpin(Pin::Pin)]), "");
    }

    #[test]
    fn what_gup_fast_takes_back_was_nobodys() {
        let events = taken("fork", [0; 5], Notify::Clear);
        for (by, title) in [("gup_fast_unpin_user_pages", ""), ("unpin_user_page", "pinned-page-unmapped in f")] {
            let (mut oracle, mut found) = (PagePin::default(), Findings::default());
            events.iter().for_each(|&(task, event)| oracle.event(&record(1, task, "f", event), &mut found));
            oracle.event(&record(2, 1, by, unpin(Pin::Pin).1), &mut found);
            assert_eq!(found.violation.map(|v| v.title()).unwrap_or_default(), title, "{by}");
        }
    }

    #[test]
    fn plain_references_and_pages_of_files_have_no_promise() {
        let away = [begin(2, "reclaim", [0; 5]), unmap(2), done(2, Notify::Clear)];
        let got = [&[map(0, P, true), pin(Pin::Get)][..], &away, &[unpin(Pin::Get)]].concat();
        assert_eq!(title::<PagePin>(&got), "");
        let file = [&[map(0, P, false), pin(Pin::Pin)][..], &away, &[unpin(Pin::Pin)]].concat();
        assert_eq!(title::<PagePin>(&file), "");
        assert!(feed::<PagePin>(&[map(0, P, true), unpin(Pin::Pin)]).is_none());
    }

    #[test]
    fn the_strict_level_reports_what_disturbs() {
        let strict = |events: &[(u8, Event)]| {
            let (mut oracle, mut found) = (PagePin { strict: true, ..PagePin::default() }, Findings::default());
            oracle.reset();
            for (step, &(task, event)) in events.iter().enumerate() {
                oracle.event(&record(step as u32, task, "gupfuzz::mm::f::here", event), &mut found);
            }
            found.violation.map(|v| v.title()).unwrap_or_default()
        };
        for anon in [true, false] {
            let pinned = [map(0, P, anon), pin(Pin::Pin), begin(2, "reclaim", [0; 5])];
            let gone = [&pinned[..], &[unmap(2), done(2, Notify::Clear)]].concat();
            assert_eq!(strict(&gone), "pinned-page-unmapped in f");
            let back = [&pinned[..], &[unmap(2), map(2, P, anon), done(2, Notify::Clear)]].concat();
            assert_eq!(strict(&back), "pinned-page-notified in f");
        }
        let asked =
            [map(0, P, true), pin(Pin::Pin), begin(2, "mprotect", [8, 0, 1, 0, 0]), done(2, Notify::ProtectionVma)];
        assert_eq!(strict(&asked), "");
    }
}
