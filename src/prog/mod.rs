// SPDX-License-Identifier: GPL-2.0-or-later
//! Programs as data.
//!
//! A program is a schedule and a list of records; almost all records are calls.  Two forms carry
//! the same: text for people (`text.rs`), eight bytes a record for fuzzers (`bytes.rs`).  A [`Prog`]
//! is always normalized: made by decoding, parsing, generation or mutation only.

mod bytes;
mod cursor;
mod deck;
mod draw;
mod duel;
mod failure;
mod generate;
mod interleaving;
mod minimization;
mod mutation;
mod parse;
mod preemption;
mod shape;
mod simplification;
mod stage;
mod substitution;
mod suspension;
mod target;
mod text;
mod words;
mod world;

pub use bytes::{HEADER_SIZE, RECORD_SIZE};
pub use generate::Generator;
pub use interleaving::Turn;
pub use minimization::{Judge, minimize};
pub use mutation::{crossover_bytes, mutate, mutate_bytes, splice};
pub use parse::{ParseError, Place, Script};
pub use target::{TARGETS, Target, target};

use crate::kernel::TaskId;
use crate::limits::{MAX_CALLS, MAX_RECORDS};

/// How the steps of a program are interleaved.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
#[repr(u8)]
pub enum ScheduleKind {
    /// Partial order sampling under the seeds `seed..seed + burst`.
    #[default]
    Pos,
    /// One byte a choice.
    Bytes,
    /// `steps N` and `resume`.
    Explicit,
}

impl ScheduleKind {
    const ALL: [ScheduleKind; 3] = [ScheduleKind::Pos, ScheduleKind::Bytes, ScheduleKind::Explicit];

    /// As programs write it.
    const fn word(self) -> &'static str {
        ["pos", "bytes", "explicit"][self as usize]
    }
}

/// A call.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Call {
    /// Its number in [`crate::entry::OPS`].
    pub op: u8,
    /// The user task that makes it.
    pub task: TaskId,
    /// Marked `&`: races with the calls beside it that are marked too.
    pub concurrent: bool,
    /// Under [`ScheduleKind::Explicit`] the steps to run before it is suspended, 0: all; otherwise
    /// the salt of its draws.
    pub steps: u8,
    /// Normalized; unused ones are 0.
    pub args: [u8; 5],
}

/// A record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Rec {
    /// A call.
    Call(Call),
    /// The n-th access of the call before draws this priority, not a hash.
    Override {
        /// Which access, from 0.
        n: u8,
        /// The priority.
        priority: u32,
    },
    /// Choices of [`ScheduleKind::Bytes`].
    Choices {
        /// How many of `bytes`, one to six; the others are 0.
        len: u8,
        /// The choices.
        bytes: [u8; 6],
    },
    /// Under [`ScheduleKind::Explicit`]: run a suspended task, or a kernel task, some steps more.
    Resume {
        /// The task.
        task: TaskId,
        /// How many, 0: until its call has ended, or it sleeps.
        steps: u8,
    },
}

/// A program.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct Prog {
    /// How it is interleaved.
    pub schedule: ScheduleKind,
    /// Seed of [`ScheduleKind::Pos`]; 0 otherwise.
    pub seed: u32,
    /// Number of seeds to run it under: 1, 2, 4, 8 or 16; 1 unless [`ScheduleKind::Pos`].
    pub burst: u8,
    /// At most [`MAX_RECORDS`], of which [`MAX_CALLS`] calls.
    pub records: Vec<Rec>,
}

impl Default for Prog {
    fn default() -> Prog {
        Prog { schedule: ScheduleKind::Pos, seed: 0, burst: 1, records: Vec::new() }
    }
}

impl Prog {
    /// The calls, in order.
    pub fn calls(&self) -> impl Iterator<Item = &Call> {
        self.records.iter().filter_map(|r| match r {
            Rec::Call(call) => Some(call),
            _ => None,
        })
    }

    /// Mends what adding and dropping records can break.
    pub(crate) fn normalize(&mut self) {
        if self.schedule != ScheduleKind::Pos {
            (self.seed, self.burst) = (0, 1);
        }
        let mut room = Room::default();
        self.records.retain(|rec| room.take(rec) == Fit::Yes);
    }
}

/// Whether a program has room for a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fit {
    Yes,
    /// An override without a call before it.
    Orphan,
    /// The limit is reached; this record and all behind it are ignored.
    Full,
}

/// Counts the records of a program.
#[derive(Default)]
struct Room {
    records: usize,
    calls: usize,
    full: bool,
}

impl Room {
    fn take(&mut self, rec: &Rec) -> Fit {
        let call = matches!(rec, Rec::Call(_));
        if matches!(rec, Rec::Override { .. }) && self.calls == 0 {
            return Fit::Orphan;
        }
        self.full |= self.records == MAX_RECORDS || call && self.calls == MAX_CALLS;
        if self.full {
            return Fit::Full;
        }
        self.records += 1;
        self.calls += usize::from(call);
        Fit::Yes
    }
}
