// SPDX-License-Identifier: GPL-2.0-or-later
//! Tasks that wait for ever.  Linux: kernel/hung_task.c.
//!
//! Promised to every caller, always: a call ends.  The step loop says when all unended calls are blocked and
//! no kernel task can run; this names a function in which one of them waits.
//!
//! Must catch: a deadlock, a wake-up that never comes.
//! Must leave alone: kernel tasks without work, a run that reaches its step limit.

use super::{Findings, Oracle, Violation};
use crate::limits::NR_TASKS;
use crate::trace::{Event, Func, Record};

#[derive(Default)]
pub(super) struct HungTask {
    /// Where a task began to wait, if it still may.
    waits: [Option<Func>; NR_TASKS],
}

impl Oracle for HungTask {
    fn reset(&mut self) {
        self.waits = [None; NR_TASKS];
    }

    #[inline(always)]
    fn event(&mut self, r: &Record, found: &mut Findings) {
        match r.event {
            Event::LockContended { .. } | Event::MightSleep => self.waits[r.task as usize] = Some(r.func),
            Event::LockAcquired { .. } => self.goes_on(r.task),
            Event::Deadlock { tasks } => found.add(self.deadlock(r, tasks)),
            _ => {}
        }
    }
}

impl HungTask {
    /// A task waits no more.
    #[inline]
    pub(super) fn goes_on(&mut self, task: u8) {
        self.waits[task as usize] = None;
    }

    #[cold]
    fn deadlock(&self, r: &Record, tasks: u16) -> Violation {
        let blocked = |task: &u8| tasks >> task & 1 != 0;
        let all: Vec<_> = (0..NR_TASKS as u8).filter(blocked).collect();
        let func = all.iter().find_map(|&task| self.waits[task as usize]).unwrap_or(r.func);
        let names: Vec<_> = all
            .iter()
            .map(|&task| {
                let place = self.waits[task as usize].map_or("a function that is not known", |f| f.name());
                format!("task {task} in {place}")
            })
            .collect();
        let message = format!("nobody can run: {} wait for ever", names.join(", "));
        Violation::new("hung_task", "deadlock", r, message).blame(func)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{record, title};
    use super::*;

    #[test]
    fn the_title_names_where_a_blocked_task_waits() {
        let (mut oracle, mut found) = (HungTask::default(), Findings::default());
        oracle.reset();
        let lock = |lock| Event::LockContended { lock, read: false };
        let got = |lock| Event::LockAcquired { lock, read: false, try_: false };
        for r in [
            record(1, 0, "gupfuzz::mm::g::here", lock(1)),
            record(2, 0, "gupfuzz::mm::g::here", got(1)),
            record(3, 1, "gupfuzz::mm::h::here", lock(2)),
            record(4, 2, "gupfuzz::mm::w::here", Event::MightSleep),
            record(5, 0, "gupfuzz::mm::f::here", Event::Deadlock { tasks: 0b110 }),
        ] {
            oracle.event(&r, &mut found);
        }
        let v = found.violation.unwrap();
        assert_eq!(v.title(), "deadlock in h");
        assert_eq!(v.message, "nobody can run: task 1 in h, task 2 in w wait for ever");
    }

    #[test]
    fn waiting_is_no_deadlock() {
        assert_eq!(title::<HungTask>(&[(0, Event::MightSleep), (1, Event::LockContended { lock: 1, read: true })]), "");
    }
}
