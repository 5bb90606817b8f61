// SPDX-License-Identifier: GPL-2.0-or-later
//! What the kernel says it does: tracepoints, the sites they come from and the objects they speak of.
//!
//! The lowest room: the kernel emits events, oracles and reports read them, neither knows the other.

mod event;
pub(crate) mod obj;
mod site;

pub use event::{Access, Event, Owner, Pin, Record, UseKind};
pub use obj::{Kref, Obj, Pfn};
pub use site::Site;

use std::cell::{Cell, RefCell};

/// A modelled function a task is inside of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Func {
    /// `std::any::type_name` of an item inside of it; [`Func::name`] has the kernel's name.
    pub path: &'static str,
    /// Where it begins.
    pub site: Site,
}

impl Func {
    /// The kernel's name of the function.
    pub fn name(&self) -> &'static str {
        func_name(self.path)
    }
}

/// The last path segment that is not a closure or `enter!`'s own item.
pub fn func_name(path: &'static str) -> &'static str {
    path.rsplit("::").find(|s| *s != "{{closure}}" && *s != "here").unwrap_or("idle")
}

/// The events of a run.
///
/// Without `keep` only the events since the last `drain` are held; they are in one buffer
/// that is reused, so that emitting allocates nothing.
#[derive(Debug)]
pub struct Trace {
    on: Cell<bool>,
    keep: Cell<bool>,
    seen: Cell<usize>,
    records: RefCell<Vec<Record>>,
    /// One call stack a record, innermost last; only with `keep`.
    stacks: RefCell<Vec<Vec<Func>>>,
}

impl Trace {
    pub(crate) fn new() -> Trace {
        Trace {
            on: Cell::new(true),
            keep: Cell::new(false),
            seen: Cell::new(0),
            records: RefCell::new(Vec::with_capacity(64)),
            stacks: RefCell::default(),
        }
    }

    /// Forgets everything; `on`: record events at all; `keep`: hold them, with call stacks, to the end of the run.
    pub(crate) fn reset(&self, on: bool, keep: bool) {
        self.on.set(on);
        self.keep.set(keep);
        self.seen.set(0);
        self.records.borrow_mut().clear();
        self.stacks.borrow_mut().clear();
    }

    pub(crate) fn is_on(&self) -> bool {
        self.on.get()
    }

    pub(crate) fn push(&self, record: Record, stack: impl FnOnce() -> Vec<Func>) {
        self.records.borrow_mut().push(record);
        if self.keep.get() {
            self.stacks.borrow_mut().push(stack());
        }
    }

    /// Feeds every record not yet drained to `f`.
    #[inline]
    pub(crate) fn drain(&self, mut f: impl FnMut(&Record)) {
        let mut records = self.records.borrow_mut();
        for record in &records[self.seen.get()..] {
            f(record);
        }
        if self.keep.get() {
            self.seen.set(records.len());
        } else {
            records.clear();
        }
    }

    /// Takes what was kept.
    pub(crate) fn take(&self) -> (Vec<Record>, Vec<Vec<Func>>) {
        (self.records.take(), self.stacks.take())
    }
}
