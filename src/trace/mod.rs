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

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

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

/// Hears of events as they happen.
pub(crate) trait Listener {
    /// One event.
    fn event(&self, record: &Record);
    /// A lock is taken in `func`; `false`: there is something to say of it, by [`Listener::event`].
    fn acquired(&self, task: u8, lock: u8, try_: bool, func: Func) -> bool;
    /// A lock is released.
    fn released(&self, task: u8, lock: u8);
}

/// Where the events of a run go: to whoever listens, and with `keep` they are held to the end of the
/// run, with call stacks.  Emitting allocates nothing but for those.
#[derive(Default)]
pub struct Trace {
    on: Cell<bool>,
    /// Every event is wanted as a record, those of locks too.
    whole: Cell<bool>,
    keep: Cell<bool>,
    listener: OnceCell<Box<dyn Listener>>,
    /// Set by whoever listens: the run is over.
    over: OnceCell<Rc<Cell<bool>>>,
    kept: RefCell<Vec<Record>>,
    /// One call stack a record, innermost last; only with `keep`.
    stacks: RefCell<Vec<Vec<Func>>>,
}

impl Trace {
    /// Somebody listens from here on, for good, and sets `over` when the run is.
    pub(crate) fn listen(&self, listener: Box<dyn Listener>, over: Rc<Cell<bool>>) {
        assert!(self.listener.set(listener).is_ok() && self.over.set(over).is_ok(), "one listener");
    }

    /// Who listens has heard enough.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.over.get().is_some_and(|over| over.get())
    }

    /// Steps are events, too.
    #[inline]
    pub(crate) fn is_whole(&self) -> bool {
        self.whole.get()
    }

    /// Forgets everything; `on`: tell of events at all; `whole`: of every event with all that is known of it;
    /// `keep`: hold them, with call stacks, to the end of the run.
    pub(crate) fn reset(&self, on: bool, whole: bool, keep: bool) {
        self.on.set(on);
        self.whole.set(whole || keep);
        self.keep.set(keep);
        self.kept.borrow_mut().clear();
        self.stacks.borrow_mut().clear();
    }

    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.on.get()
    }

    #[inline]
    pub(crate) fn tell(&self, record: &Record) {
        if let Some(listener) = self.listener.get() {
            listener.event(record);
        }
    }

    /// A lock is taken: frequent, and mostly nothing new.  `false`: a whole record is wanted.
    #[inline]
    pub(crate) fn acquired(&self, task: u8, lock: u8, try_: bool, func: Func) -> bool {
        !self.whole.get() && self.listener.get().is_none_or(|listener| listener.acquired(task, lock, try_, func))
    }

    /// A lock is released: frequent, and nobody asks where.  `false`: a whole record is wanted.
    #[inline]
    pub(crate) fn released(&self, task: u8, lock: u8) -> bool {
        if !self.whole.get()
            && let Some(listener) = self.listener.get()
        {
            listener.released(task, lock);
        }
        !self.whole.get()
    }

    /// Whether records are wanted at the end of the run.
    #[inline]
    pub(crate) fn keeps(&self) -> bool {
        self.keep.get()
    }

    #[cold]
    pub(crate) fn keep(&self, record: Record, stack: Vec<Func>) {
        self.kept.borrow_mut().push(record);
        self.stacks.borrow_mut().push(stack);
    }

    /// Takes what was kept.
    pub(crate) fn take(&self) -> (Vec<Record>, Vec<Vec<Func>>) {
        (self.kept.take(), self.stacks.take())
    }
}
