// SPDX-License-Identifier: GPL-2.0-or-later
//! Events made by hand.

use super::{Findings, Oracle, Violation};
use crate::trace::{Event, Func, Record, Site};

/// An event of a task in a function.
pub(super) fn record(step: u32, task: u8, path: &'static str, event: Event) -> Record {
    let site = Site::here();
    Record { step, task, func: Func::by_hand(path), site, event }
}

/// What an oracle says to events of tasks, a step each, in the function `f`.
pub(super) fn feed<O: Oracle + Default>(events: &[(u8, Event)]) -> Option<Violation> {
    let (mut oracle, mut found) = (O::default(), Findings::default());
    oracle.reset();
    for (step, &(task, event)) in events.iter().enumerate() {
        oracle.event(&record(step as u32, task, "gupfuzz::mm::f::here", event), &mut found);
        if found.violation.is_some() {
            assert_eq!(step + 1, events.len(), "fired early: {:?}", found.violation);
        }
    }
    found.violation
}

/// The same, as a title; "" if silent.
pub(super) fn title<O: Oracle + Default>(events: &[(u8, Event)]) -> String {
    feed::<O>(events).map(|v| v.title()).unwrap_or_default()
}
