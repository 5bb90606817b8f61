// SPDX-License-Identifier: GPL-2.0-or-later
//! The checkers, named after the kernel's own where one exists.
//!
//! They listen: each decides from the events of a step and its own shadow, and once, when everything
//! is closed, from what is left in the machine.  None calls into `mm`, and `mm` knows of none.  The
//! first violation ends the run; of several in one step the one whose oracle stands first in the
//! table is it, and the others become alternative titles.
//!
//! Shadows are arrays of fixed size: an event allocates nothing unless it is a violation.

mod debug_vm;
mod fs_dirty;
mod hung_task;
mod kasan;
mod kmemleak;
mod lockdep;
mod mmu_notifier;
mod page_owner;
mod page_pin;
mod page_table_check;
mod state_map;
mod stats;
#[cfg(test)]
mod testing;
mod tlb_check;

pub use state_map::StateMap;
use stats::Stats;

use crate::mm::Kernel;
use crate::trace::{Event, Func, Pfn, Record};
use std::cell::Cell;
use std::rc::Rc;

/// An entry of the table of oracles.
#[derive(Clone, Copy, Debug)]
pub struct OracleDesc {
    /// Its name; also the name of its file and of the function it panics from under a fuzzer.
    pub name: &'static str,
    /// What it catches, in one line.
    pub about: &'static str,
    /// A corpus file on which it must fire.
    pub canary: &'static str,
}

/// What an oracle is.
trait Oracle {
    /// Back to boot.
    fn reset(&mut self);
    /// One event; never [`Event::Step`].
    fn event(&mut self, r: &Record, found: &mut Findings);
    /// Everything is closed: what is left should not be.
    fn quiescent(&mut self, _k: &Kernel, _found: &mut Findings) {}
}

macro_rules! oracles {
    ($($name:ident: $oracle:ident, $about:literal, $canary:literal;)*) => {
        /// Every oracle, in the order that decides between several violations of one step.
        pub static ORACLES: &[OracleDesc] =
            &[$(OracleDesc { name: stringify!($name), about: $about, canary: $canary }),*];

        /// All oracles, and what they found.
        #[derive(Default)]
        pub(crate) struct Oracles {
            $($name: $name::$oracle,)*
            pub(crate) stats: Stats,
            findings: Findings,
        }

        impl Oracles {
            /// Back to boot.
            pub(crate) fn reset(&mut self) {
                $(self.$name.reset();)*
                self.stats.reset();
                self.findings.reset();
            }

            /// One event, in the order they are emitted; of locks see [`Oracles::locking`].
            #[inline(always)]
            pub(crate) fn event(&mut self, r: &Record) {
                if r.step > self.findings.until {
                    return;
                }
                macro_rules! all {
                    () => {{
                        $(self.$name.event(r, &mut self.findings);)*
                    }};
                }
                // The same in every arm, and in each the compiler knows the kind: what is left of it is
                // what the oracles do that listen to that kind.
                match r.event {
                    Event::Step { .. } => {}
                    Event::Get { .. } => all!(),
                    Event::Put { .. } => all!(),
                    Event::Mapcount { .. } => all!(),
                    Event::Use { .. } => all!(),
                    Event::TlbFill { .. } => all!(),
                    Event::TlbFlush { .. } => all!(),
                    Event::TableUse { .. } => all!(),
                    Event::Map { .. } => all!(),
                    Event::Unmap { .. } => {
                        all!();
                        self.stats.event(r);
                    }
                    Event::Notify { .. } => all!(),
                    Event::CallBegin { .. } => all!(),
                    Event::CallEnd { .. } => all!(),
                    event if event.is_locking() => self.locking(r),
                    _ => {
                        all!();
                        self.stats.event(r);
                    }
                }
            }

            /// Once, when everything is closed.
            pub(crate) fn quiescent(&mut self, k: &Kernel) {
                $(self.$name.quiescent(k, &mut self.findings);)*
            }
        }

        /// Panics with the title, from a function of the oracle's own, so that fuzzers file
        /// violations of different oracles apart.
        pub fn panic_for(v: &Violation) -> ! {
            $(#[inline(never)]
            fn $name(title: &str) -> ! {
                // Keeps equal bodies from being merged into one function.
                std::hint::black_box(stringify!($name));
                panic!("{title}")
            })*
            match v.oracle {
                $(stringify!($name) => $name(&v.title()),)*
                oracle => unreachable!("no oracle is called {oracle}"),
            }
        }
    };
}

// name: type, what it catches, canary
oracles! {
    kasan: Kasan,
        "use of a frame after it was freed or recycled, double free",
        "corpus/stories/ttm_huge_fault_dio.prog";
    page_table_check: PageTableCheck,
        "an entry to a frame that is free, allocated or freed; an anonymous page mapped writable twice",
        "corpus/regress/ttm-swapout-no-unmap.prog";
    debug_vm: DebugVm,
        "BUG_ON, reference and map counts that do not add up, counters of an address space at its end",
        "corpus/regress/ttm-no-huge-faults.prog";
    page_owner: PageOwner,
        "contents of a former owner, a write that the owner of the memory does not see",
        "corpus/regress/ttm-pool-clear.prog";
    page_pin: PagePin,
        "a pinned page and its mapping that came apart although its owner did nothing",
        "corpus/stories/reclaim_takes_a_pinned_page.prog";
    fs_dirty: FsDirty,
        "a page of a file that gets dirty and its file system was not asked",
        "corpus/regress/reclaim-pin-after-unmap.prog";
    tlb_check: TlbCheck,
        "a frame given away while a CPU still has a translation to it",
        "corpus/regress/mremap-flush.prog";
    mmu_notifier: MmuNotifier,
        "an entry that changes between no start and end, a device that reaches memory it should not",
        "corpus/regress/userptr-no-retry.prog";
    lockdep: Lockdep,
        "lock order cycles, recursion, locks held at exit, sleeping where nobody may",
        "corpus/regress/ttm-fault-relock.prog";
    hung_task: HungTask,
        "tasks that wait for each other for ever",
        "corpus/regress/fence-init-late.prog";
    kmemleak: Kmemleak,
        "frames, page tables and objects that nobody gave back",
        "corpus/regress/free-non-compound.prog";
}

impl Oracles {
    /// A lock, interrupts, sleep: frequent, and only these two listen.
    #[inline]
    pub(crate) fn locking(&mut self, r: &Record) {
        if r.step <= self.findings.until {
            self.lockdep.event(r, &mut self.findings);
            self.hung_task.event(r, &mut self.findings);
        }
    }

    /// A lock is taken; `false`: somebody has to look at it as an event.
    #[inline]
    pub(crate) fn acquired(&mut self, task: u8, lock: u8, try_: bool, func: Func) -> bool {
        let nothing_new = self.lockdep.acquired(task, lock, try_, func);
        if nothing_new {
            self.hung_task.goes_on(task);
        }
        nothing_new
    }

    /// A lock is released; only lockdep listens.
    #[inline]
    pub(crate) fn released(&mut self, task: u8, lock: u8) {
        self.lockdep.released(task, lock);
    }

    /// Says whether page_pin reports what disturbs a pinned page, too.
    pub(crate) fn set_strict(&mut self, strict: bool) {
        self.page_pin.strict = strict;
    }

    /// Whether something was found, as a flag to be looked at after each step.
    pub(crate) fn found(&self) -> Rc<Cell<bool>> {
        self.findings.found.clone()
    }

    /// Takes what was found.
    pub(crate) fn take_violation(&mut self) -> Option<Violation> {
        self.findings.violation.take()
    }
}

/// The modelled kernel did something that it must not.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Which oracle says so.
    pub oracle: &'static str,
    /// What kind of violation, in `[a-z-]`.
    pub kind: &'static str,
    /// The modelled function in which it happened.
    pub func: &'static str,
    /// The event that gave it away.
    pub record: Record,
    /// The frame in question.
    pub pfn: Option<Pfn>,
    /// The generation of the frame that its user believes to hold; the present one if nobody is wrong.
    pub took: u16,
    /// The generation of the frame at that moment.
    pub now: u16,
    /// What is wrong, in one sentence.
    pub message: String,
    /// Titles of further violations in the same step.
    pub alternatives: Vec<String>,
}

impl Violation {
    fn new(oracle: &'static str, kind: &'static str, r: &Record, message: String) -> Violation {
        let func = r.func.name();
        let record = *r;
        Violation { oracle, kind, func, record, pfn: None, took: 0, now: 0, message, alternatives: Vec::new() }
    }

    /// Blames another function than the one the event was emitted in.
    fn blame(mut self, func: Func) -> Violation {
        self.func = func.name();
        self
    }

    /// Names the frame in question, and which generation was taken of it.
    fn frame(mut self, pfn: Pfn, took: u16, now: u16) -> Violation {
        (self.pfn, self.took, self.now) = (Some(pfn), took, now);
        self
    }

    /// The identity of the bug: kind and function, no numbers.
    pub fn title(&self) -> String {
        format!("{} in {}", self.kind, self.func)
    }
}

/// What was found in the step that ends the run.
struct Findings {
    /// The last step that is looked at.
    until: u32,
    violation: Option<Violation>,
    /// Whether there is one, for whoever asks after each step.
    found: Rc<Cell<bool>>,
}

impl Default for Findings {
    fn default() -> Findings {
        Findings { until: u32::MAX, violation: None, found: Rc::default() }
    }
}

impl Findings {
    fn reset(&mut self) {
        (self.until, self.violation) = (u32::MAX, None);
        self.found.set(false);
    }

    #[cold]
    #[inline(never)]
    fn add(&mut self, mut v: Violation) {
        let Some(first) = &mut self.violation else {
            self.until = v.record.step;
            self.violation = Some(v);
            self.found.set(true);
            return;
        };
        let rank = |v: &Violation| ORACLES.iter().position(|o| o.name == v.oracle);
        if rank(&v) < rank(first) {
            std::mem::swap(first, &mut v);
            first.alternatives = std::mem::take(&mut v.alternatives);
        }
        let title = v.title();
        if title != first.title() && !first.alternatives.contains(&title) {
            first.alternatives.push(title);
        }
    }
}

/// The frames of a block as a set, one bit each; frames without a struct page are in none.
#[inline]
fn block(pfn: Pfn, nr: usize) -> u64 {
    const _: () = assert!(crate::limits::NR_FRAMES == 64, "one bit of a u64 a frame");
    if pfn.valid() { ((1u128 << nr) - 1) as u64 & (u64::MAX >> pfn.index()) } else { 0 }.wrapping_shl(pfn.0.into())
}

/// The lowest frame of a set that is not empty.
fn lowest(set: u64) -> Pfn {
    Pfn(set.trailing_zeros() as u8)
}

/// The frames of a set.
fn frames(mut set: u64) -> impl Iterator<Item = Pfn> {
    std::iter::from_fn(move || {
        let pfn = (set != 0).then(|| lowest(set))?;
        set &= set - 1;
        Some(pfn)
    })
}

#[cfg(test)]
mod tests {
    use super::testing::record;
    use super::*;
    use crate::trace::{Owner, UseKind};

    fn stale_put(step: u32) -> Record {
        let owner = Owner::Anon(1);
        let event =
            Event::Use { kind: UseKind::Put, pfn: Pfn(3), took: 1, now: 3, owner, value: 0, written: 3, at: None };
        record(step, 1, "gupfuzz::mm::gup::gup_put_folio::{{closure}}::here", event)
    }

    #[test]
    fn table_order_decides_between_violations_of_one_step_and_later_steps_do_not_count() {
        let mut oracles = Oracles::default();
        oracles.reset();
        let under = |step| {
            record(step, 1, "gupfuzz::mm::f::{{closure}}::here", Event::Put { pfn: Pfn(3), refs: 1, refcount: -1 })
        };
        oracles.event(&under(7));
        oracles.event(&stale_put(7));
        assert!(oracles.found().get());
        oracles.event(&stale_put(8));
        let v = oracles.take_violation().unwrap();
        assert_eq!(v.title(), "use-after-recycle in gup_put_folio");
        assert_eq!(v.alternatives, ["refcount-underflow in f"]);
        assert_eq!((v.pfn, v.took, v.now), (Some(Pfn(3)), 1, 3));

        oracles.reset();
        assert!(!oracles.found().get());
        oracles.event(&stale_put(7));
        oracles.event(&under(7));
        let v = oracles.take_violation().unwrap();
        assert_eq!((v.kind, v.alternatives.len()), ("use-after-recycle", 1));
    }

    #[test]
    #[should_panic(expected = "use-after-recycle in gup_put_folio")]
    fn the_panic_carries_the_title() {
        let mut oracles = Oracles::default();
        oracles.reset();
        oracles.event(&stale_put(1));
        panic_for(&oracles.take_violation().unwrap());
    }

    #[test]
    fn a_block_is_a_set_of_frames() {
        assert_eq!(block(Pfn(4), 4), 0xf0);
        assert_eq!(block(Pfn(63), 1), 1 << 63);
        assert_eq!(block(Pfn(60), 4), 0xf << 60);
        assert_eq!(block(Pfn(0), 64), u64::MAX);
        assert_eq!(block(Pfn(64), 4), 0);
        assert_eq!(frames(0x50).collect::<Vec<_>>(), [Pfn(4), Pfn(6)]);
    }
}
