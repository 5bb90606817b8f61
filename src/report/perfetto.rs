// SPDX-License-Identifier: GPL-2.0-or-later
//! A story as a trace that Perfetto opens: the JSON of Chrome's trace events.
//!
//! A track a task with its calls and, inside of them, the functions that took steps; an instant a step;
//! a track a lock; counters for the page in question.  A step lasts a millisecond, so that the ruler
//! counts steps.

use super::spans::Kind;
use super::{Step, Story, json};
use crate::trace::Pfn;
use serde_json::{Value, json as value};

/// Microseconds, the unit of the format, of a step.
const STEP: u32 = 1000;
/// The one process.
const PID: u32 = 1;

/// The thread of a task: 0 would be the idle task's.
fn tid(task: u8) -> u32 {
    u32::from(task) + 1
}

/// The trace.
pub fn trace(story: &Story) -> String {
    let mut events = vec![meta("process_name", 0, value!({ "name": story.verdict }))];
    for lane in &story.lanes {
        let name = if lane.name.starts_with("task") { lane.name.clone() } else { format!("[{}]", lane.name) };
        events.push(meta("thread_name", tid(lane.task), value!({ "name": name })));
        events.push(meta("thread_sort_index", tid(lane.task), value!({ "sort_index": lane.task })));
    }
    spans(story, &mut events);
    for step in &story.steps {
        events.push(instant(step));
    }
    counters(story, &mut events);
    let about = value!({ "kernel": story.kernel, "schedule": story.schedule, "replay": story.replay,
                         "argument": story.report.as_ref().map(|r| r.argument.join("\n")) });
    json::line(&value!({ "displayTimeUnit": "ms", "otherData": about, "traceEvents": events }))
}

fn meta(name: &str, tid: u32, args: Value) -> Value {
    value!({ "ph": "M", "pid": PID, "tid": tid, "name": name, "args": args })
}

/// Calls and functions are slices, which nest; locks and interrupts need not, and get tracks of their own.
fn spans(story: &Story, events: &mut Vec<Value>) {
    for (id, span) in story.spans.iter().enumerate() {
        let (from, to, tid) = (span.from * STEP, (span.to + 1) * STEP, tid(span.task));
        let cat = match span.kind {
            Kind::Call => "call",
            Kind::Function => "function",
            Kind::Lock => "lock",
            Kind::Read => "lock, for reading",
            Kind::Wait => "wait",
            Kind::Irq => "interrupts off",
        };
        if matches!(span.kind, Kind::Call | Kind::Function) {
            let args = span.ret.as_ref().map_or(value!({}), |ret| value!({ "returns": ret }));
            events.push(value!({ "ph": "X", "pid": PID, "tid": tid, "cat": cat, "name": span.name,
                                 "ts": from, "dur": to - from, "args": args }));
            continue;
        }
        for (ph, ts) in [("b", from), ("e", to)] {
            events.push(value!({ "ph": ph, "pid": PID, "tid": tid, "cat": cat, "name": span.name, "id": id + 1,
                                 "ts": ts, "args": { "task": span.task } }));
        }
    }
}

fn instant(step: &Step) -> Value {
    let frame = step.stack.first();
    let args = value!({ "step": step.step, "access": step.access, "func": frame.map(|f| f.func),
                        "site": frame.map(|f| &f.site), "violation": step.here });
    value!({ "ph": "i", "s": if step.here { "g" } else { "t" }, "pid": PID, "tid": tid(step.task), "cat": "step",
             "name": step.text.as_ref().unwrap_or(&step.access), "ts": step.step * STEP + STEP / 2, "args": args })
}

/// What the page says, where it changes.
fn counters(story: &Story, events: &mut Vec<Value>) {
    let Some(page) = story.page else { return };
    let mut last = [None; 4];
    for step in &story.steps {
        let Some(state) = step.page else { continue };
        let counts = [
            ("refcount", state.refcount),
            ("mapcount", state.mapcount),
            ("pincount", state.pincount),
            ("generation", state.generation.into()),
        ];
        for ((what, count), last) in counts.into_iter().zip(&mut last) {
            if last.replace(count) != Some(count) {
                let name = format!("pfn {} {what}", Pfn(page.pfn));
                events.push(value!({ "ph": "C", "pid": PID, "name": name, "ts": step.step * STEP,
                                     "args": { "value": count } }));
            }
        }
    }
}
