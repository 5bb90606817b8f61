// SPDX-License-Identifier: GPL-2.0-or-later
//! Printing a program as text.  `parse.rs` reads what this prints.

use super::{Call, Prog, Rec, ScheduleKind, Script, words};
use crate::entry::op;
use crate::kernel::task_name;
use crate::limits::NR_USER_TASKS;
use std::fmt::{Display, Formatter, Result};

/// A `schedule:` header, a blank line, the records.
impl Display for Prog {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        print_schedule(self, f)?;
        print_records(self, f)
    }
}

/// The same with the other headers, warnings not.
impl Display for Script {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        if let Some(kernel) = &self.kernel {
            writeln!(f, "kernel: {kernel}")?;
        }
        if !self.silent.is_empty() {
            writeln!(f, "silent: {}", self.silent.join("; "))?;
        }
        print_schedule(&self.prog, f)?;
        if let Some(title) = &self.expect {
            writeln!(f, "expect: {title}")?;
        }
        print_records(&self.prog, f)
    }
}

fn print_schedule(prog: &Prog, f: &mut Formatter<'_>) -> Result {
    write!(f, "schedule: {}", prog.schedule.word())?;
    if prog.schedule == ScheduleKind::Pos {
        write!(f, " seed={:#x}", prog.seed)?;
    }
    if prog.burst != 1 {
        write!(f, " burst={}", prog.burst)?;
    }
    writeln!(f)
}

fn print_records(prog: &Prog, f: &mut Formatter<'_>) -> Result {
    if !prog.records.is_empty() {
        writeln!(f)?;
    }
    prog.records.iter().try_for_each(|rec| match rec {
        Rec::Call(call) => print_call(call, prog.schedule, f),
        Rec::Override { n, priority } => writeln!(f, "override(n={n}, priority={priority:#x})"),
        Rec::Choices { len, bytes } => {
            write!(f, "choices(")?;
            for (i, byte) in bytes[..*len as usize].iter().enumerate() {
                write!(f, "{}{byte}", if i == 0 { "" } else { ", " })?;
            }
            writeln!(f, ")")
        }
        Rec::Resume { task, steps } => print_resume(*task, *steps, f),
    })
}

fn print_call(call: &Call, schedule: ScheduleKind, f: &mut Formatter<'_>) -> Result {
    write!(f, "{}: {call}", task_name(call.task))?;
    if call.concurrent {
        write!(f, " &")?;
    }
    match (call.steps, schedule) {
        (0, _) => writeln!(f),
        (steps, ScheduleKind::Explicit) => writeln!(f, " steps {steps}"),
        (salt, _) => writeln!(f, " salt={salt}"),
    }
}

/// Operation and arguments.
impl Display for Call {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let op = op(self.op).expect("a program has only operations of the table");
        write!(f, "{}(", op.name)?;
        for (i, (desc, byte)) in op.args.iter().zip(self.args).enumerate() {
            write!(f, "{}{}=", if i == 0 { "" } else { ", " }, desc.name)?;
            words::print_value(desc.kind, byte, f)?;
        }
        write!(f, ")")
    }
}

fn print_resume(task: u8, steps: u8, f: &mut Formatter<'_>) -> Result {
    let name = task_name(task);
    match (usize::from(task) < NR_USER_TASKS, steps) {
        (true, 0) => writeln!(f, "resume({name})"),
        (true, _) => writeln!(f, "resume({name}) steps {steps}"),
        (false, 0) => writeln!(f, "{name}: run"),
        (false, _) => writeln!(f, "{name}: steps {steps}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_has_its_text() {
        let call = Call { op: 1, task: 2, concurrent: true, steps: 7, args: [8, 3, 3, 0, 1] };
        let mut prog = Prog {
            schedule: ScheduleKind::Pos,
            seed: 42,
            burst: 4,
            records: vec![
                Rec::Call(call),
                Rec::Override { n: 3, priority: 0x1234 },
                Rec::Call(Call { op: 8, task: 0, concurrent: false, steps: 0, args: [0; 5] }),
                Rec::Choices { len: 3, bytes: [1, 2, 3, 0, 0, 0] },
                Rec::Resume { task: 1, steps: 4 },
                Rec::Resume { task: 1, steps: 0 },
                Rec::Resume { task: 8, steps: 1 },
                Rec::Resume { task: 11, steps: 0 },
            ],
        };
        let text = "\
schedule: pos seed=0x2a burst=4

2: mmap(addr=va8, len=4, prot=r|w, map=anon, file=f1) & salt=7
override(n=3, priority=0x1234)
0: execve()
choices(1, 2, 3)
resume(1) steps 4
resume(1)
disk: steps 1
rcu: run
";
        assert_eq!(prog.to_string(), text);

        (prog.schedule, prog.seed, prog.burst) = (ScheduleKind::Explicit, 0, 1);
        prog.records.truncate(1);
        let script = Script {
            prog,
            kernel: Some("v5.12".into()),
            silent: vec!["v6.1".into(), "v5.12 +pmd-special".into()],
            expect: Some("use-after-recycle in dma_write".into()),
            ..Script::default()
        };
        let text = "\
kernel: v5.12
silent: v6.1; v5.12 +pmd-special
schedule: explicit
expect: use-after-recycle in dma_write

2: mmap(addr=va8, len=4, prot=r|w, map=anon, file=f1) & steps 7
";
        assert_eq!(script.to_string(), text);
    }
}
