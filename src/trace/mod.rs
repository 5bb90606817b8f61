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
    /// What goes wrong in it is its caller's doing: an allocator, the end of a reference.
    ///
    /// The title of a violation blames the innermost function that is not one of these, as syzkaller
    /// skips the frames of kfree(): who freed a page tells one bug from another, the free does not.
    /// Call traces have them all.
    pub for_caller: bool,
}

/// A modelled function a task is inside of.
#[derive(Clone, Copy, Debug)]
pub struct Func(pub &'static FuncDesc);

impl Func {
    /// No modelled function.
    pub const IDLE: Func = Func(&FuncDesc { path: FuncPath::Text("idle"), site: Site::here(), for_caller: false });

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
        Func(Box::leak(Box::new(FuncDesc { path: FuncPath::Text(path), site: Site::here(), for_caller: false })))
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
/// Those of the present step are in a buffer that is reused, so that emitting allocates nothing;
/// with `keep` they are held to the end of the run, with call stacks.
#[derive(Debug)]
pub struct Trace {
    on: Cell<bool>,
    keep: Cell<bool>,
    /// Records since the last `drain`; those that the buffer has no room for are in `more`.
    nr: Cell<usize>,
    fresh: Box<[Cell<Record>; FRESH]>,
    more: RefCell<Vec<Record>>,
    kept: RefCell<Vec<Record>>,
    /// One call stack a record, innermost last; only with `keep`.
    stacks: RefCell<Vec<Vec<Func>>>,
}

/// Records of a step that have a place of their own; only few steps emit more than ten.
const FRESH: usize = 32;

impl Trace {
    pub(crate) fn new() -> Trace {
        let nothing = Record { step: 0, task: 0, func: Func::IDLE, site: Func::IDLE.site(), event: Event::MightSleep };
        Trace {
            on: Cell::new(true),
            keep: Cell::new(false),
            nr: Cell::new(0),
            fresh: Box::new(std::array::from_fn(|_| Cell::new(nothing))),
            more: RefCell::default(),
            kept: RefCell::default(),
            stacks: RefCell::default(),
        }
    }

    /// Forgets everything; `on`: record events at all; `keep`: hold them, with call stacks, to the end of the run.
    pub(crate) fn reset(&self, on: bool, keep: bool) {
        self.on.set(on);
        self.keep.set(keep);
        self.nr.set(0);
        for records in [&self.more, &self.kept] {
            records.borrow_mut().clear();
        }
        self.stacks.borrow_mut().clear();
    }

    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.on.get()
    }

    #[inline]
    pub(crate) fn push(&self, record: Record) {
        let nr = self.nr.get();
        match self.fresh.get(nr) {
            Some(slot) => slot.set(record),
            None => self.push_more(record),
        }
        self.nr.set(nr + 1);
    }

    #[cold]
    fn push_more(&self, record: Record) {
        self.more.borrow_mut().push(record);
    }

    /// Whether the call stack of each record is wanted.
    #[inline]
    pub(crate) fn keeps(&self) -> bool {
        self.keep.get()
    }

    #[cold]
    pub(crate) fn push_stack(&self, stack: Vec<Func>) {
        self.stacks.borrow_mut().push(stack);
    }

    /// Whether nothing happened since the last [`Trace::drain`].
    #[inline]
    pub(crate) fn is_drained(&self) -> bool {
        self.nr.get() == 0
    }

    /// Feeds every record not yet drained to `f`.
    #[inline]
    pub(crate) fn drain(&self, mut f: impl FnMut(&Record)) {
        let nr = self.nr.replace(0);
        for i in 0..nr {
            let record = match self.fresh.get(i) {
                Some(slot) => slot.get(),
                None => self.more.borrow()[i - FRESH],
            };
            if self.keep.get() {
                self.keep(record);
            }
            f(&record);
        }
        if nr > FRESH {
            self.more.borrow_mut().clear();
        }
    }

    #[cold]
    fn keep(&self, record: Record) {
        self.kept.borrow_mut().push(record);
    }

    /// Takes what was kept.
    pub(crate) fn take(&self) -> (Vec<Record>, Vec<Vec<Func>>) {
        (self.kept.take(), self.stacks.take())
    }
}
