// SPDX-License-Identifier: GPL-2.0-or-later
//! Translations that outlive their frame.  Linux: the rule of include/asm-generic/tlb.h.
//!
//! Promised to whoever allocates a frame next, always: when a frame is freed, to the buddy or into a TTM
//! pool, no CPU has a translation to it any more.  Entries are cleared first, then every CPU that may
//! have cached them is flushed, and only then the frame goes.
//!
//! Must catch: a free before its flush, even if nobody uses the stale translation afterwards.
//! Must leave alone: stale translations between clearing and flush; a frame that changes its owner
//! without being freed.

use super::{Findings, Oracle, Violation, block, frames};
use crate::limits::{NR_FRAMES, NR_TASKS, TASK_SIZE};
use crate::trace::{Event, Pfn, Record};

pub(super) struct TlbCheck {
    /// Pages a CPU has a translation of, one bit each.
    live: [u64; NR_TASKS],
    /// The frames they go to.
    pfns: [[Pfn; TASK_SIZE]; NR_TASKS],
    /// How many translations go to a frame.
    cached: [u16; NR_FRAMES],
    /// Frames with a count that is not 0.
    any: u64,
}

impl Default for TlbCheck {
    fn default() -> TlbCheck {
        TlbCheck { live: [0; NR_TASKS], pfns: [[Pfn(0); TASK_SIZE]; NR_TASKS], cached: [0; NR_FRAMES], any: 0 }
    }
}

impl TlbCheck {
    fn forget(&mut self, cpu: u8, pages: u64) {
        let gone = self.live[cpu as usize] & pages;
        self.live[cpu as usize] &= !pages;
        for va in frames(gone) {
            let pfn = self.pfns[cpu as usize][va.index()];
            if pfn.valid() {
                let cached = &mut self.cached[pfn.index()];
                *cached -= 1;
                self.any &= !(u64::from(*cached == 0) << pfn.0);
            }
        }
    }

    #[cold]
    fn stale(&self, r: &Record, set: u64, gen_: u16) -> Violation {
        let pfn = super::lowest(set & self.any);
        let holds = |cpu: &usize| frames(self.live[*cpu]).find(|va| self.pfns[*cpu][va.index()] == pfn);
        let cpu = (0..NR_TASKS).find(|cpu| holds(cpu).is_some()).expect("a count is a translation");
        let va = holds(&cpu).expect("just found").0;
        let message = format!("pfn {pfn} is freed while CPU {cpu} has a translation of va{va} to it");
        Violation::new("tlb_check", "stale-tlb", r, message).frame(pfn, gen_, gen_)
    }
}

impl Oracle for TlbCheck {
    fn reset(&mut self) {
        self.live = [0; NR_TASKS];
        self.cached = [0; NR_FRAMES];
        self.any = 0;
    }

    #[inline(always)]
    fn event(&mut self, r: &Record, found: &mut Findings) {
        match r.event {
            Event::TlbFill { cpu, va, pfn, .. } => {
                self.forget(cpu, 1 << va);
                self.live[cpu as usize] |= 1 << va;
                self.pfns[cpu as usize][va as usize] = pfn;
                if pfn.valid() {
                    self.cached[pfn.index()] += 1;
                    self.any |= 1 << pfn.0;
                }
            }
            Event::TlbFlush { cpu, start, end, .. } => self.forget(cpu, crate::arch::pages(start.into(), end.into())),
            Event::Free { pfn, order, gen_, .. } => {
                let set = block(pfn, 1 << order);
                if set & self.any != 0 {
                    found.add(self.stale(r, set, gen_));
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{feed, title};
    use super::*;
    use crate::trace::Owner;

    fn fill(cpu: u8, va: u8, pfn: u8) -> (u8, Event) {
        (cpu, Event::TlbFill { cpu, mm: 0, va, pfn: Pfn(pfn), gen_: 1, write: true })
    }
    fn flush(cpu: u8, start: u8, end: u8) -> (u8, Event) {
        (0, Event::TlbFlush { cpu, mm: u8::MAX, start, end })
    }
    fn free(pfn: u8, order: u8, owner: Owner) -> (u8, Event) {
        (0, Event::Free { pfn: Pfn(pfn), order, gen_: 1, owner, refcount: 0, mapcount: 0 })
    }

    #[test]
    fn every_cpu_is_flushed_before_the_frame_goes() {
        for owner in [Owner::Buddy, Owner::Pool(0)] {
            let half = [fill(1, 8, 5), fill(2, 8, 5), flush(1, 8, 9), free(4, 2, owner)];
            let v = feed::<TlbCheck>(&half).unwrap();
            assert_eq!(v.title(), "stale-tlb in f");
            assert_eq!(v.message, "pfn 0x5 is freed while CPU 2 has a translation of va8 to it");
            let both = [fill(1, 8, 5), fill(2, 8, 5), flush(1, 8, 9), flush(2, 0, 64), free(4, 2, owner)];
            assert_eq!(title::<TlbCheck>(&both), "");
        }
    }

    #[test]
    fn a_flush_of_other_pages_is_none() {
        let before = [fill(1, 8, 5), flush(1, 0, 8), flush(1, 9, 64), free(5, 0, Owner::Buddy)];
        assert_eq!(title::<TlbCheck>(&before), "stale-tlb in f");
    }

    #[test]
    fn a_new_translation_replaces_the_old_one() {
        let events = [fill(1, 8, 5), fill(1, 8, 6), fill(1, 8, 6), free(5, 0, Owner::Buddy), fill(1, 9, 70)];
        assert_eq!(title::<TlbCheck>(&events), "");
        let events = [&events[..], &[flush(1, 0, 64), free(6, 0, Owner::Buddy)]].concat();
        assert_eq!(title::<TlbCheck>(&events), "");
    }
}
