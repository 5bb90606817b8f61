// SPDX-License-Identifier: GPL-2.0-or-later
//! `replay --observe` and `--steps`: what a run did, from its kept events.

use super::out::say;
use gupfuzz::fuzz::Replay;
use gupfuzz::kernel::{Errno, task_name};
use gupfuzz::limits::{MAX_RECORDS, NR_TASKS, NR_USER_TASKS};
use gupfuzz::prog::Rec;
use gupfuzz::trace::{Access, Event, UseKind};

/// A call as its maker saw it.
struct Call {
    task: u8,
    text: String,
    /// `None`: it did not end.
    ret: Option<i32>,
    /// The value it loaded, or what it transferred, and devices for it.
    data: Vec<String>,
}

/// Prints a line a call, in order of completion, and then those that did not end.
pub(super) fn calls(run: &Replay) {
    let all = observe(run);
    let width = all.iter().map(|call| call.text.len()).max().unwrap_or(0);
    for Call { task, text, ret, data } in &all {
        let line = format!("{}: {text:width$}  {:>10}  {}", task_name(*task), ret_text(*ret), data.join(", "));
        say!("{}", line.trim_end());
    }
}

fn observe(run: &Replay) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let mut ended = Vec::new();
    // Calls by the number of their record; those that tasks are inside of, or work on behalf of.
    let mut numbered = [None; MAX_RECORDS];
    let mut current = [None; NR_TASKS];
    for record in &run.records {
        let task = usize::from(record.task);
        match record.event {
            Event::CallBegin { call, .. } => {
                (numbered[usize::from(call)], current[task]) = (Some(calls.len()), Some(calls.len()));
                calls.push(Call { task: record.task, text: call_text(run, call), ret: None, data: Vec::new() });
            }
            Event::CallEnd { ret, .. } => {
                if let Some(i) = current[task].take() {
                    calls[i].ret = Some(ret);
                    ended.push(i);
                }
            }
            Event::Work { call } => current[task] = numbered.get(usize::from(call)).copied().flatten(),
            Event::Use { kind, value, .. } => {
                if let (Some(i), Some(text)) = (current[task], use_text(kind, value)) {
                    calls[i].data.push(text);
                }
            }
            _ => {}
        }
    }
    let unended = (0..calls.len()).filter(|i| calls[*i].ret.is_none());
    let order: Vec<usize> = ended.into_iter().chain(unended).collect();
    let mut calls: Vec<Option<Call>> = calls.into_iter().map(Some).collect();
    order.into_iter().filter_map(|i| calls[i].take()).collect()
}

fn call_text(run: &Replay, call: u8) -> String {
    match run.prog.records.get(usize::from(call)) {
        Some(Rec::Call(call)) => call.to_string(),
        _ => "?".into(),
    }
}

fn ret_text(ret: Option<i32>) -> String {
    match ret {
        None => "unended".into(),
        Some(ret) => match Errno::name_of(ret) {
            Some(errno) if ret < 0 => format!("= -{errno}"),
            _ => format!("= {ret}"),
        },
    }
}

fn use_text(kind: UseKind, value: u8) -> Option<String> {
    let verb = match kind {
        UseKind::Load => "loads",
        UseKind::Store => "stores",
        UseKind::DmaRead => "device reads",
        UseKind::DmaWrite => "device writes",
        UseKind::KernelRead => "reads",
        UseKind::Copy => "copies",
        UseKind::KernelWrite => "writes",
        UseKind::Put => return None,
    };
    Some(format!("{verb} {value}"))
}

/// Prints every step: number, task, function, site, object, access; calls begin and end between them.
pub(super) fn steps(run: &Replay) {
    say!(" step  task        function                         site                            access");
    for record in &run.records {
        let task = task_name(record.task);
        match record.event {
            Event::CallBegin { call, .. } => say!("    .  {task:<10}  {} begins", call_text(run, call)),
            Event::CallEnd { call, ret } => {
                say!("    .  {task:<10}  {} {}", call_text(run, call), ret_text(Some(ret)));
            }
            Event::Step { obj, access } => {
                let access = match access {
                    Access::Read => "read",
                    Access::Write => "write",
                    Access::Commute => "count",
                };
                let (func, site) = (record.func.name(), record.site.to_string());
                say!("{:5}  {task:<10}  {func:<31}  {site:<30}  {access:<5} {obj}", record.step);
            }
            _ => {}
        }
    }
    const _: () = assert!(NR_USER_TASKS <= 10, "task names are one digit, or a kernel task's");
}
