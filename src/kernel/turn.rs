// SPDX-License-Identifier: GPL-2.0-or-later
//! Whose turn it is: the announced step itself asks whether it would be picked.
//!
//! To leave all calls that a task is inside of, and to come back to where it was, costs more than many a step.  So a
//! task hands the CPU back only where the step loop would give it to another, or has something to do itself.
//!
//! What a turn is given holds for all of it: calls begin and end in the step loop alone, so who is in a race is the same
//! before each of its steps.

use super::machine::{Machine, TaskId};
use super::sched::Pos;
use super::step::Touch;
use crate::trace::{Func, Site};
use std::cell::{Cell, OnceCell};

/// For how long the task that takes the next step goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Turn {
    /// For one step.
    Once,
    /// For so many, as long as it can take them, and none of `company` can take one.
    Alone { steps: u32, company: u16 },
    /// For so many, as long as partial order sampling picks it of `active`.
    Race { steps: u32, active: u16 },
}

/// Looks at what each step has done.
pub(crate) trait Onlooker {
    /// A step was taken `depth` functions deep.
    fn stepped(&self, touch: &[Touch; 3], site: Site, depth: u8);
}

/// The present turn, and the step under way in it.
pub(super) struct Turns {
    /// Steps that are left.
    left: Cell<u32>,
    company: Cell<u16>,
    /// None: there is no race.
    active: Cell<u16>,
    /// A step has begun, which had announced this, and those that it concerns are not told.
    under_way: Cell<bool>,
    touch: Cell<[Touch; 3]>,
    site: Cell<Site>,
    depth: Cell<u8>,
    onlooker: OnceCell<Box<dyn Onlooker>>,
    /// It looks.
    looks: Cell<bool>,
}

impl Default for Turns {
    fn default() -> Turns {
        Turns {
            left: Cell::new(0),
            company: Cell::new(0),
            active: Cell::new(0),
            under_way: Cell::new(false),
            touch: Cell::default(),
            site: Cell::new(Func::IDLE.site()),
            depth: Cell::new(0),
            onlooker: OnceCell::new(),
            looks: Cell::new(false),
        }
    }
}

impl Turns {
    pub(super) fn reset(&self) {
        self.under_way.set(false);
        self.left.set(0);
    }

    #[inline]
    fn set(&self, turn: Turn) {
        let (steps, company, active) = match turn {
            Turn::Once => (1, 0, 0),
            Turn::Alone { steps, company } => (steps, company, 0),
            Turn::Race { steps, active } => (steps, 0, active),
        };
        self.left.set(steps);
        self.company.set(company);
        self.active.set(active);
    }
}

impl Machine {
    /// Who looks at all steps, if [`Machine::let_look`] lets it.
    pub(crate) fn set_onlooker(&self, onlooker: Box<dyn Onlooker>) {
        assert!(self.turns.onlooker.set(onlooker).is_ok(), "one looks");
    }

    /// Whether the onlooker looks at steps from here on.
    pub(crate) fn let_look(&self, looks: bool) {
        self.turns.looks.set(looks);
    }

    /// The turn of a task: its step begins.
    #[inline]
    pub(crate) fn begin_turn(&self, task: TaskId, turn: Turn) {
        self.turns.set(turn);
        self.begin_step(task);
    }

    /// A step of `task` begins.
    #[inline]
    fn begin_step(&self, task: TaskId) {
        let turns = &self.turns;
        turns.left.set(turns.left.get() - 1);
        // Who is alone, unseen, concerns nobody.
        if turns.looks.get() || turns.active.get() != 0 {
            let t = self.task(task);
            turns.under_way.set(true);
            turns.touch.set(t.touch.get());
            turns.site.set(t.site.get());
            turns.depth.set(t.depth.get());
        }
        self.count_step(task);
    }

    /// The turn is over; what is announced from here on waits for another.
    #[inline]
    pub(crate) fn end_turn(&self) {
        self.end_step();
        self.turns.left.set(0);
    }

    /// The step under way is over, where the next one is announced or behind that: those that it concerns draw again.
    #[inline]
    fn end_step(&self) {
        if self.turns.under_way.replace(false) {
            self.tell();
        }
    }

    #[inline(never)]
    fn tell(&self) {
        let turns = &self.turns;
        if turns.looks.get()
            && let Some(onlooker) = turns.onlooker.get()
        {
            onlooker.stepped(&turns.touch.get(), turns.site.get(), turns.depth.get());
        }
        if turns.active.get() != 0 {
            Pos::taken(self, self.current(), &turns.touch.get(), turns.active.get());
        }
    }

    /// Ends the step under way, and begins the one that the current task has announced just now if it is still its turn;
    /// `false`: it has to wait, and the step loop picks anew, which costs less than to remember whom.
    #[inline]
    pub(super) fn go_on(&self) -> bool {
        self.turns.left.get() != 0 && self.begin_if_picked()
    }

    #[inline(never)]
    fn begin_if_picked(&self) -> bool {
        self.end_step();
        let (task, enabled) = (self.current(), self.enabled());
        let can = enabled >> task & 1 != 0 && !self.trace.is_over();
        let picked = can
            && match self.turns.active.get() {
                0 => enabled & self.turns.company.get() == 0,
                active => Pos::highest(self, enabled & active) == task,
            };
        if picked {
            self.begin_step(task);
        }
        picked
    }
}
