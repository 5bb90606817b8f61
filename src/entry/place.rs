// SPDX-License-Identifier: GPL-2.0-or-later
//! Memory for what a task is doing, used again by whoever does the same next.
//!
//! A task's future is polled once a step: directly, not by way of a future that chooses among all
//! operations, and it lies in memory that was allocated when the operation ran first.

use super::{Ret, System};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// A place for one kind of call, begun again and again.
pub(crate) trait Place {
    /// Makes the future.
    fn begin(&mut self, args: [u8; 5]);
    /// Polls the future.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Ret>;
    /// Drops the future, ended or not.
    fn end(&mut self);
}

struct Of<M, F> {
    sys: Rc<System>,
    make: M,
    future: Pin<Box<Option<F>>>,
}

impl<M: Fn(Rc<System>, [u8; 5]) -> F, F: Future<Output = Ret>> Place for Of<M, F> {
    fn begin(&mut self, args: [u8; 5]) {
        self.future.set(Some((self.make)(self.sys.clone(), args)));
    }

    #[inline]
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Ret> {
        self.future.as_mut().as_pin_mut().expect("begun").poll(context)
    }

    fn end(&mut self) {
        self.future.set(None);
    }
}

/// A place for the futures that `make` makes.
pub(crate) fn place<F: Future<Output = Ret> + 'static>(
    sys: &Rc<System>,
    make: impl Fn(Rc<System>, [u8; 5]) -> F + 'static,
) -> Box<dyn Place> {
    Box::new(Of { sys: sys.clone(), make, future: Box::pin(None) })
}
