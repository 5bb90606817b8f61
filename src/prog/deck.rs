// SPDX-License-Identifier: GPL-2.0-or-later
//! A deck of operations.

use fastrand::Rng;

/// Cards to draw from: operations by index, each as often as it weighs.
#[derive(Debug)]
pub(super) struct Deck {
    cards: [u8; 512],
    len: usize,
}

impl Default for Deck {
    fn default() -> Deck {
        Deck { cards: [0; 512], len: 0 }
    }
}

impl Deck {
    /// Adds an operation; what there is no room for is left out.
    pub(super) fn add(&mut self, index: usize, weight: u8) {
        let end = self.cards.len().min(self.len + usize::from(weight));
        self.cards[self.len..end].fill(index as u8);
        self.len = end;
    }

    /// The index of some operation.
    pub(super) fn draw(&self, rng: &mut Rng) -> usize {
        self.cards[rng.usize(0..self.len.max(1))].into()
    }

    /// Operations that were added.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }
}
