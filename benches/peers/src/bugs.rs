// SPDX-License-Identifier: GPL-2.0-or-later
//! Executions and CPU to the first violation: thread A's and thread B's programs with the schedule left
//! open, alone and with five unrelated tasks running.

use crate::cpu::mean;
use crate::ours::Ours;
use crate::peer::Peer;
use crate::search::{Finds, Slice};
use crate::tasks::{Task, bugs, crowded};
use crate::{Effort, PEERS};
use gupfuzz::prog::ScheduleKind;

const OURS: [(&str, ScheduleKind); 2] = [("pos", ScheduleKind::Pos), ("bytes", ScheduleKind::Bytes)];

/// What everybody found of one bug.
struct Row {
    ours: [Finds; 2],
    peers: [Finds; PEERS.len()],
}

impl Row {
    fn search(task: Task, effort: &Effort) -> Row {
        let task = task.leak();
        Peer::boot(task);
        let mut row = Row { ours: Default::default(), peers: Default::default() };
        let mut ours = OURS.map(|(_, schedule)| Ours::new(task, schedule));
        let slice = match effort.quick {
            true => Slice { finds: 2, seconds: 0.02 },
            false => Slice { finds: 60, seconds: 0.3 },
        };
        for round in 0..effort.rounds {
            for (ours, finds) in ours.iter_mut().zip(&mut row.ours) {
                ours.search(finds, &slice);
            }
            for (peer, finds) in PEERS.iter().zip(&mut row.peers) {
                peer.search(task, finds, &slice, 1 + ((round as u64) << 32));
            }
        }
        row
    }

    /// The scheduler of shuttle's that needed least, and what it needed.
    fn best(&self, of: impl Fn(&Finds) -> f64) -> (Peer, f64, bool) {
        let found = self.peers.iter().any(|finds| !finds.found.is_empty());
        let able = PEERS.iter().zip(&self.peers).filter(|(_, finds)| !found || !finds.found.is_empty());
        let least = able.map(|(peer, finds)| (*peer, of(finds))).min_by(|a, b| a.1.total_cmp(&b.1));
        let (peer, least) = least.expect("there are some");
        (peer, least, found)
    }
}

/// A mean, and how many it is of; `>`: nothing was found in so many.
fn shown(finds: &Finds) -> String {
    match finds.found.len() {
        0 => format!(">{}", finds.all()),
        n => format!("{:.0}/{n}", finds.executions()),
    }
}

pub fn table(effort: &Effort) {
    println!("\nA bug: mean executions to the first violation / how often one was found; >: none in so many");
    let head: String = PEERS.iter().map(|peer| format!("{:>11}", peer.name())).collect();
    println!("  {:40}{:>11}{:>11}{head}   pos : shuttle's best, executions and CPU", "", "pos", "bytes");
    let mut rows = [Vec::new(), Vec::new()];
    for task in bugs() {
        let name = task.name;
        for (crowd, task) in [task.clone(), crowded(&task)].into_iter().enumerate() {
            let row = Row::search(task, effort);
            let cells: String = row.ours.iter().chain(&row.peers).map(|f| format!("{:>11}", shown(f))).collect();
            let name = if crowd == 1 { "  with five unrelated tasks" } else { name };
            let ratios = match (Ratio::of(&row, Finds::executions), Ratio::of(&row, Finds::cpu)) {
                (Some(executions), Some(cpu)) => format!("{executions} {cpu}"),
                _ => "nobody".to_owned(),
            };
            println!("  {name:40}{cells}   {ratios}");
            rows[crowd].push(row);
        }
    }
    println!();
    for (rows, name) in rows.iter().zip(["alone", "with five unrelated tasks"]) {
        let ratios = |of: fn(&Finds) -> f64| mean(rows.iter().filter_map(|row| Ratio::of(row, of)).map(|r| r.value));
        println!(
            "  {name}: pos needs {:.2} of the executions and {:.2} of the CPU of shuttle's best for each bug (geometric means)",
            ratios(Finds::executions),
            ratios(Finds::cpu),
        );
        for (i, peer) in PEERS.iter().enumerate() {
            let against = |of: fn(&Finds) -> f64| mean(rows.iter().map(|row| of(&row.ours[0]) / of(&row.peers[i])));
            println!(
                "    of {:8} alone for all bugs {:.2} and {:.2}, what was not found counted as found at the end",
                peer.name(),
                against(Finds::executions),
                against(Finds::cpu)
            );
        }
    }
    let [alone, crowd] = &rows;
    let worse =
        |of: &dyn Fn(&Row) -> Option<f64>| mean(alone.iter().zip(crowd).filter_map(|(a, b)| Some(of(b)? / of(a)?)));
    let found = |finds: &Finds| (!finds.found.is_empty()).then(|| finds.executions());
    print!(
        "  executions with five unrelated tasks, by those alone: pos {:.2}, bytes {:.2}",
        worse(&|row| found(&row.ours[0])),
        worse(&|row| found(&row.ours[1]))
    );
    for (i, peer) in PEERS.iter().enumerate() {
        print!(", {} {:.2}", peer.name(), worse(&|row| found(&row.peers[i])));
    }
    println!();
}

/// What our `pos` needs, by what shuttle's best needs.
struct Ratio {
    value: f64,
    best: Peer,
    /// One of them found nothing: it is at least, or at most, so much.
    sign: &'static str,
}

impl Ratio {
    /// `None`: nobody found anything.
    fn of(row: &Row, of: fn(&Finds) -> f64) -> Option<Ratio> {
        let (best, least, found) = row.best(of);
        let sign = match (row.ours[0].found.is_empty(), found) {
            (true, false) => return None,
            (true, true) => ">",
            (false, true) => "",
            (false, false) => "<",
        };
        Some(Ratio { value: of(&row.ours[0]) / least, best, sign })
    }
}

impl std::fmt::Display for Ratio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:>16}", format!("{}{:.2} ({})", self.sign, self.value, self.best.name()))
    }
}
