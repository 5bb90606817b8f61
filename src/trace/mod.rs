// SPDX-License-Identifier: GPL-2.0-or-later
//! What the kernel says it does: tracepoints, the sites they come from and the objects they speak of.
//!
//! The lowest room: the kernel emits events, oracles and reports read them, neither knows the other.

mod event;
pub(crate) mod obj;
mod site;

pub use event::{Access, Event, Notify, Owner, Pin, Record, UseKind};
pub use obj::{Kref, Obj, Pfn};
pub use site::Site;

use std::cell::{Cell, RefCell};

/// The path of an item inside a modelled function; [`Func::name`] has the kernel's name.
#[derive(Debug)]
pub enum FuncPath {
    /// What `std::any::type_name` says, which no constant can have yet.
    Item(fn() -> &'static str),
    /// The path itself.
    Text(&'static str),
}

/// What a [`Func`] refers to: one static a modelled function, made by `enter!`.
#[derive(Debug)]
pub struct FuncDesc {
    /// Which function.
    pub path: FuncPath,
    /// Where it begins.
    pub site: Site,
}

/// A modelled function a task is inside of.
#[derive(Clone, Copy, Debug)]
pub struct Func(pub &'static FuncDesc);

impl Func {
    /// No modelled function.
    pub const IDLE: Func = Func(&FuncDesc { path: FuncPath::Text("idle"), site: Site::here() });

    /// The kernel's name of the function.
    pub fn name(&self) -> &'static str {
        func_name(match self.0.path {
            FuncPath::Item(path) => path(),
            FuncPath::Text(path) => path,
        })
    }

    /// A function made by hand.
    #[cfg(test)]
    #[track_caller]
    pub(crate) fn by_hand(path: &'static str) -> Func {
        Func(Box::leak(Box::new(FuncDesc { path: FuncPath::Text(path), site: Site::here() })))
    }

    /// Where it begins.
    pub fn site(self) -> Site {
        self.0.site
    }
}

impl PartialEq for Func {
    fn eq(&self, other: &Func) -> bool {
        self.site() == other.site() && self.name() == other.name()
    }
}

impl Eq for Func {}

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

    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.on.get()
    }

    #[inline]
    pub(crate) fn push(&self, record: Record) {
        self.records.borrow_mut().push(record);
    }

    /// Whether the call stack of each record is wanted.
    #[inline]
    pub(crate) fn keeps(&self) -> bool {
        self.keep.get()
    }

    pub(crate) fn push_stack(&self, stack: Vec<Func>) {
        self.stacks.borrow_mut().push(stack);
    }

    /// Whether nothing happened since the last [`Trace::drain`].
    #[inline]
    pub(crate) fn is_drained(&self) -> bool {
        self.records.borrow().len() == self.seen.get()
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
