// SPDX-License-Identifier: GPL-2.0-or-later
//! What a task holds.

use crate::trace::Func;

/// Locks of one task that are followed; further ones are not.
const MAX_HELD: usize = 24;

#[derive(Clone, Copy)]
pub(super) struct Held {
    pub(super) lock: u8,
    pub(super) class: u8,
    /// Classes held before it, a bit each.
    under: u32,
    pub(super) func: Func,
}

pub(super) struct Task {
    /// The first `nr` of these, oldest first.
    held: [Held; MAX_HELD],
    nr: usize,
    /// Their classes, a bit each.
    pub(super) classes: u32,
    /// How many interrupts-off sections it is in.
    pub(super) irqs_off: u8,
}

impl Default for Task {
    fn default() -> Task {
        let nothing = Held { lock: 0, class: 0, under: 0, func: Func::IDLE };
        Task { held: [nothing; MAX_HELD], nr: 0, classes: 0, irqs_off: 0 }
    }
}

impl Task {
    pub(super) fn clear(&mut self) {
        (self.nr, self.classes, self.irqs_off) = (0, 0, 0);
    }

    /// Takes a lock, if there is room to follow it.
    #[inline]
    pub(super) fn push(&mut self, lock: u8, class: u8, func: Func) {
        if let Some(slot) = self.held.get_mut(self.nr) {
            *slot = Held { lock, class, under: self.classes, func };
            self.classes |= 1 << class;
            self.nr += 1;
        }
    }

    /// Releases a lock, mostly the one that was taken last.
    #[inline]
    pub(super) fn pop(&mut self, lock: u8) {
        match self.held.get(self.nr.wrapping_sub(1)) {
            Some(last) if last.lock == lock => {
                self.classes = last.under;
                self.nr -= 1;
            }
            _ => self.pull(lock),
        }
    }

    /// Releases a lock under others.
    #[inline(never)]
    fn pull(&mut self, lock: u8) {
        let Some(i) = (0..self.nr).rev().find(|&i| self.held[i].lock == lock) else { return };
        self.nr -= 1;
        self.classes = self.held[i].under;
        for i in i..self.nr {
            self.held[i] = Held { under: self.classes, ..self.held[i + 1] };
            self.classes |= 1 << self.held[i].class;
        }
    }

    /// Oldest first.
    pub(super) fn held(&self) -> impl DoubleEndedIterator<Item = Held> {
        self.held.iter().take(self.nr).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locks(task: &Task) -> Vec<u8> {
        task.held().map(|held| held.lock).collect()
    }

    #[test]
    fn classes_are_those_of_what_is_held_whatever_the_order_of_releases() {
        let mut task = Task::default();
        for (lock, class) in [(10, 1), (11, 2), (12, 2), (13, 3)] {
            task.push(lock, class, Func::IDLE);
        }
        task.pop(11);
        assert_eq!((locks(&task), task.classes), (vec![10, 12, 13], 0b1110), "another of the class is held");
        task.pop(12);
        assert_eq!((locks(&task), task.classes), (vec![10, 13], 0b1010));
        task.pop(10);
        assert_eq!((locks(&task), task.classes), (vec![13], 0b1000));
        task.pop(99);
        assert_eq!((locks(&task), task.classes), (vec![13], 0b1000), "it was never held");
        task.pop(13);
        assert_eq!((locks(&task), task.classes), (vec![], 0));
    }

    #[test]
    fn more_than_is_followed_is_not() {
        let mut task = Task::default();
        (0..=MAX_HELD as u8).for_each(|lock| task.push(lock, 1, Func::IDLE));
        task.pop(MAX_HELD as u8);
        assert_eq!(locks(&task).len(), MAX_HELD);
    }
}
