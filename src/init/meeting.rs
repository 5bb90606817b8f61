// SPDX-License-Identifier: GPL-2.0-or-later
//! After how many of its steps a call has to be suspended for others to make a difference.
//!
//! Two steps that touch nothing in common come to the same in either order (Flanagan, Godefroid: *Dynamic
//! Partial-Order Reduction for Model Checking Software*, POPL 2005).  So of all places in a call those
//! are enough that are just before a step which conflicts with one that the others take meanwhile:
//!
//! ```text
//!   suspended after   step of the call        the others touch the entry, and
//!   3                 read the entry          it reads what they wrote
//!   4                 allocate a page         the same as at 5
//!   5                 hide the entry          it hides what it did not read
//! ```
//!
//! It is what one run shows: where a call is suspended decides what it and the others touch from there on.  And only
//! what steps announce counts, not the lock that one releases or the CPU that takes interrupts again: with these there
//! are half as many places more, and the bugs that a search finds last are found no sooner.

use crate::kernel::Touch;
use crate::prog::Rec;
use crate::trace::{Access, obj};

/// Touches of a call that are remembered; a call that is longer has no places behind them.
const MAX_TOUCHES: usize = 512;
/// Words with a bit for every object.
const WORDS: usize = obj::NR_OBJS.div_ceil(64);

/// After how many steps a call can be suspended, one bit each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Delays([u64; 4]);

impl Delays {
    fn add(&mut self, steps: u8) {
        self.0[usize::from(steps / 64)] |= 1 << (steps % 64);
    }

    /// Takes one out, if it is there.
    pub fn remove(&mut self, steps: u8) {
        self.0[usize::from(steps / 64)] &= !(1 << (steps % 64));
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The shortest first.
    pub fn iter(&self) -> impl Iterator<Item = u8> {
        (0..=u8::MAX).filter(|steps| self.0[usize::from(steps / 64)] >> (steps % 64) & 1 != 0)
    }
}

/// Where in the program the run is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Part {
    /// Before the call, or behind it.
    #[default]
    Elsewhere,
    /// In the call, its first part or its last.
    Call,
    /// With those who run while the call is suspended.
    Others,
}

/// What a call touches in one run, and what those touch who run while it is suspended.
pub(super) struct Meeting {
    part: Part,
    /// Steps of the call so far.
    steps: u8,
    /// After how many steps of the call it touches what.
    touches: [(u8, Touch); MAX_TOUCHES],
    nr: usize,
    /// What the others touch, by kind of access, one bit an object.
    others: [[u64; WORDS]; 3],
}

impl Default for Meeting {
    fn default() -> Meeting {
        let touches = [(0, Touch::NONE); MAX_TOUCHES];
        Meeting { part: Part::Elsewhere, steps: 0, touches, nr: 0, others: [[0; WORDS]; 3] }
    }
}

impl Meeting {
    /// Before a run.
    pub(super) fn reset(&mut self) {
        (self.part, self.steps, self.nr) = (Part::Elsewhere, 0, 0);
        self.others = [[0; WORDS]; 3];
    }

    /// Record `i` is next; record `at` is the call, which is suspended up to the record that resumes it.
    pub(super) fn next(&mut self, records: &[Rec], i: usize, at: usize) {
        let Rec::Call(call) = records[at] else { return };
        let resumes = |rec: &Rec| matches!(rec, Rec::Resume { task, .. } if *task == call.task);
        let resumed = at + 1 + records[at + 1..].iter().take_while(|rec| !resumes(rec)).count();
        self.part = match i {
            _ if i < at || i > resumed => Part::Elsewhere,
            _ if i == at || i == resumed => Part::Call,
            _ => Part::Others,
        };
    }

    /// A task takes a step, its own turn or that of another.
    pub(super) fn step(&mut self, own: bool, touch: &[Touch; 3]) {
        let touch = touch.iter().copied().take_while(|touch| *touch != Touch::NONE);
        match self.part {
            Part::Call if own => {
                for touch in touch {
                    if let Some(slot) = self.touches.get_mut(self.nr) {
                        *slot = (self.steps, touch);
                        self.nr += 1;
                    }
                }
                self.steps = self.steps.saturating_add(1);
            }
            Part::Others => {
                for touch in touch {
                    let set = &mut self.others[touch.access() as usize];
                    touch.obj().indices().for_each(|i| set[i / 64] |= 1 << (i % 64));
                }
            }
            _ => {}
        }
    }

    /// After how many steps of the call it makes a difference that others run.
    pub(super) fn delays(&self) -> Delays {
        let mut delays = Delays::default();
        // After none it has not begun.
        let inside = self.touches[..self.nr].iter().filter(|(steps, _)| (1..u8::MAX).contains(steps));
        for (steps, touch) in inside {
            if self.meets(*touch) {
                delays.add(*steps);
            }
        }
        delays
    }

    /// Whether its order with what the others touch can matter.
    fn meets(&self, touch: Touch) -> bool {
        let all = [Access::Read, Access::Write, Access::Commute];
        let mut harmful = all.into_iter().filter(|access| *access != touch.access() || *access == Access::Write);
        harmful.any(|access| {
            let others = &self.others[access as usize];
            touch.obj().indices().any(|i| others[i / 64] >> (i % 64) & 1 != 0)
        })
    }
}
