// SPDX-License-Identifier: GPL-2.0-or-later
//! An interleaving as a program: from what any schedule did to the explicit form, and back to a race.

use super::{Call, Prog, Rec, ScheduleKind, preemption};
use crate::kernel::TaskId;
use crate::limits::{MAX_RECORDS, NR_TASKS, NR_USER_TASKS};

/// A step of a run: who took it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Turn {
    /// The task.
    pub task: TaskId,
    /// Its call ended in this step.
    pub ends: bool,
}

/// Whether a task is a user's.
fn is_user(task: TaskId) -> bool {
    usize::from(task) < NR_USER_TASKS
}

/// The task of a record that runs one.
pub(super) fn task_of(rec: &Rec) -> Option<TaskId> {
    match *rec {
        Rec::Call(Call { task, .. }) | Rec::Resume { task, .. } => Some(task),
        Rec::Override { .. } | Rec::Choices { .. } => None,
    }
}

impl Prog {
    /// The explicit program in which the same tasks take the same steps; calls that did not begin
    /// are left out.
    ///
    /// A call that was interrupted when nobody could run waits on there: a later record may end that.
    ///
    /// `turns` are the steps of a run of this program up to its epilogue.  `None`: there are more
    /// changes of the task than a program has records.
    pub fn explicit(&self, turns: &[Turn]) -> Option<Prog> {
        let mut next = [0; NR_USER_TASKS];
        let mut inside = [false; NR_USER_TASKS];
        let mut records = Vec::new();
        let mut turns = turns.iter().peekable();
        while let Some(&Turn { task, mut ends }) = turns.next() {
            let mut steps = 1;
            while !ends && let Some(turn) = turns.next_if(|turn| turn.task == task && steps < u8::MAX) {
                steps += 1;
                ends = turn.ends;
            }
            let steps = if ends { 0 } else { steps };
            if !is_user(task) {
                records.push(Rec::Resume { task, steps });
                continue;
            }
            let t = usize::from(task);
            if inside[t] {
                records.push(Rec::Resume { task, steps });
            } else {
                let call = *self.calls().filter(|call| call.task == task).nth(next[t])?;
                next[t] += 1;
                records.push(Rec::Call(Call { concurrent: false, steps, ..call }));
            }
            inside[t] = !ends;
        }
        (records.len() <= MAX_RECORDS).then_some(Prog { schedule: ScheduleKind::Explicit, seed: 0, burst: 1, records })
    }

    /// How often an explicit program goes on with another task.
    pub fn switches(&self) -> usize {
        let tasks = || self.records.iter().filter_map(task_of);
        tasks().zip(tasks().skip(1)).filter(|(a, b)| a != b).count()
    }

    /// The race of which an explicit program is one interleaving: calls that run while another is
    /// suspended are marked, and so are the neighbours of steps of kernel tasks.
    pub fn race(&self) -> Prog {
        let mut marked = vec![false; self.records.len()];
        for (i, rec) in self.records.iter().enumerate() {
            match *rec {
                Rec::Call(call) => {
                    if let Some(end) = self.end_of(i, call) {
                        marked[i..end].fill(true);
                    }
                }
                Rec::Resume { task, .. } if !is_user(task) => {
                    let is_call = |i: &usize| matches!(self.records[*i], Rec::Call(_));
                    for near in [(0..i).rfind(is_call), (i..self.records.len()).find(is_call)] {
                        near.inspect(|i| marked[*i] = true);
                    }
                }
                _ => {}
            }
        }
        let records = self.records.iter().zip(marked).filter_map(|(rec, concurrent)| match *rec {
            Rec::Call(call) => Some(Rec::Call(Call { concurrent, steps: 0, ..call })),
            _ => None,
        });
        Prog { schedule: ScheduleKind::Pos, seed: 0, burst: 1, records: records.collect() }
    }

    /// Other interleavings of the same calls: runs a little longer or shorter, then `seeds` of the race.
    pub fn nearby(&self, seeds: u32) -> impl Iterator<Item = Prog> + '_ {
        let race = if self.schedule == ScheduleKind::Explicit { self.race() } else { self.clone() };
        let races = race.calls().any(|call| call.concurrent);
        let seeds = (0..if races { seeds } else { 0 }).map(move |seed| {
            let mut prog = Prog { schedule: ScheduleKind::Pos, seed, burst: 1, ..race.clone() };
            prog.records.retain(|rec| !matches!(rec, Rec::Choices { .. }));
            prog
        });
        preemption::near(self).chain(seeds)
    }

    /// Where the call of record `at` runs last, if it is ever suspended.
    fn end_of(&self, at: usize, call: Call) -> Option<usize> {
        let resumes: Vec<usize> = self.resumes(at).collect();
        match (resumes.last(), call.steps) {
            (None, 0) => None,
            (Some(&last), _) if matches!(self.records[last], Rec::Resume { steps: 0, .. }) => Some(last),
            _ => Some(self.records.len()),
        }
    }

    /// Where the call of record `at` is resumed.
    pub(super) fn resumes(&self, at: usize) -> impl Iterator<Item = usize> {
        let task = task_of(&self.records[at]);
        let own = (at + 1..self.records.len()).filter(move |i| task_of(&self.records[*i]) == task);
        own.take_while(|i| matches!(self.records[*i], Rec::Resume { .. }))
    }
}

const _: () = assert!(NR_TASKS <= u8::MAX as usize);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prog::Script;

    fn prog(text: &str) -> Prog {
        Script::parse(text).unwrap().prog
    }

    fn turns(text: &str) -> Vec<Turn> {
        let task = |c: char| c.to_digit(16).unwrap() as u8;
        let word = |w: &str| -> Vec<Turn> {
            let ends = w.ends_with('.');
            let mut all: Vec<_> = w.trim_matches('.').chars().map(|c| Turn { task: task(c), ends: false }).collect();
            all.last_mut().unwrap().ends = ends;
            all
        };
        text.split(' ').flat_map(word).collect()
    }

    #[test]
    fn turns_become_runs() {
        let race = prog("0: execve() &\n1: execve() &\n0: execve() &\n2: execve() &\n");
        let explicit = race.explicit(&turns("00 11 8 0. 000. 1. 1")).map(|p| p.to_string());
        assert_eq!(explicit, None, "task 1 has one call");
        let explicit = race.explicit(&turns("00 11 8 0. 000. 1 8 8 1. 22")).unwrap();
        let text = "schedule: explicit\n\n0: execve() steps 2\n1: execve() steps 2\ndisk: steps 1\nresume(0)\n\
                    0: execve()\nresume(1) steps 1\ndisk: steps 2\nresume(1)\n2: execve() steps 2\n";
        assert_eq!(explicit.to_string(), text);
        assert_eq!(explicit.switches(), 7);
        let back = explicit.race();
        assert_eq!(back, Prog { seed: 0, ..race });
    }

    #[test]
    fn long_runs_are_split_and_too_many_do_not_fit() {
        let one = prog("0: execve()\n1: execve()\n");
        let long = vec![Turn { task: 0, ends: false }; 300];
        assert_eq!(
            one.explicit(&long).unwrap().to_string(),
            "schedule: explicit\n\n0: execve() steps 255\nresume(0) steps 45\n"
        );
        let many: Vec<_> = (0..300_u16).map(|i| Turn { task: (i % 2) as u8, ends: false }).collect();
        assert_eq!(one.explicit(&many), None);
    }

    #[test]
    fn only_what_overlaps_races() {
        let text = "schedule: explicit\n0: execve()\n1: execve() steps 3\n0: execve()\nresume(1)\n0: execve()\n";
        assert_eq!(
            prog(text).race().to_string(),
            "schedule: pos seed=0x0\n\n0: execve()\n1: execve() &\n0: execve() &\n0: execve()\n"
        );
        let text = "schedule: explicit\n0: execve()\n0: execve()\ndisk: run\n0: execve()\n0: execve()\n";
        assert_eq!(
            prog(text).race().to_string(),
            "schedule: pos seed=0x0\n\n0: execve()\n0: execve() &\n0: execve() &\n0: execve()\n"
        );
    }
}
