// SPDX-License-Identifier: GPL-2.0-or-later
//! Who listens to a run: oracles, counters, the digest; and who looks at it: the map of states.

use super::Observe;
use crate::entry::System;
use crate::kernel::{Onlooker, Touch};
use crate::oracles::{Oracles, StateMap};
use crate::trace::{Func, Listener, Record, Site};
use std::cell::RefCell;
use std::hash::{Hash, Hasher};
use std::rc::{Rc, Weak};

#[derive(Default)]
pub(super) struct Ears {
    pub(super) oracles: Oracles,
    digests: bool,
    /// Of all events so far.
    pub(super) digest: u64,
}

impl Ears {
    /// Back to boot.
    pub(super) fn reset(&mut self, observe: Observe) {
        self.oracles.reset();
        self.digests = matches!(observe, Observe::Digest | Observe::Keep);
        self.digest = 0;
    }
}

impl Ears {
    #[inline]
    fn hear(&mut self, record: &Record) {
        self.oracles.event(record);
        if self.digests {
            self.digest = with(self.digest, record);
        }
    }
}

impl Listener for Rc<RefCell<Ears>> {
    fn event(&self, record: &Record) {
        self.borrow_mut().hear(record);
    }

    fn acquired(&self, task: u8, lock: u8, try_: bool, func: Func) -> bool {
        self.borrow_mut().oracles.acquired(task, lock, try_, func)
    }

    fn released(&self, task: u8, lock: u8) {
        self.borrow_mut().oracles.released(task, lock);
    }
}

/// Notes what states objects are in after each step.
pub(super) struct Notes {
    pub(super) sys: Weak<System>,
    pub(super) states: Rc<StateMap>,
}

impl Onlooker for Notes {
    /// Most steps touch one object.
    fn stepped(&self, touch: &[Touch; 3], site: Site, depth: u8) {
        let [first, rest @ ..] = *touch;
        self.note(first, site, depth);
        if rest != [Touch::NONE; 2] {
            rest.iter().for_each(|touch| self.note(*touch, site, depth));
        }
    }
}

impl Notes {
    #[inline(always)]
    fn note(&self, touch: Touch, site: Site, depth: u8) {
        if StateMap::watches(touch) {
            let sys = self.sys.upgrade().expect("the system takes the steps");
            self.states.note(&sys, touch, site, depth);
        }
    }
}

/// A digest of all records up to this one.
#[cold]
fn with(digest: u64, record: &Record) -> u64 {
    let mut hasher = Fnv(digest);
    (record.step, record.task, record.site.key(), record.event).hash(&mut hasher);
    hasher.finish()
}

/// Fowler, Noll, Vo: a hash that is the same everywhere.
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
    fn write_u16(&mut self, n: u16) {
        self.write(&n.to_le_bytes());
    }
    fn write_u32(&mut self, n: u32) {
        self.write(&n.to_le_bytes());
    }
    fn write_u64(&mut self, n: u64) {
        self.write(&n.to_le_bytes());
    }
    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }
    fn write_isize(&mut self, n: isize) {
        self.write_u64(n as u64);
    }
    fn write_i32(&mut self, n: i32) {
        self.write(&n.to_le_bytes());
    }
}
