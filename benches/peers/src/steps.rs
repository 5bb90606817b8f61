// SPDX-License-Identifier: GPL-2.0-or-later
//! What a step costs.
//!
//! A step is the same on both sides: the future of a task is polled, acts on the access that it had
//! announced and announces the next, and somebody chooses who is next.  What no schedule decides, the
//! epilogue, is measured apart and taken off both; booting and the creation of shuttle's threads are not.

use crate::cpu::{Spread, seconds};
use crate::ours::{Ours, epilogue, floor};
use crate::peer::{Peer, Sum, WARM};
use crate::tasks::{Task, generated};
use crate::{Effort, PEERS};
use gupfuzz::init::Observe;
use gupfuzz::prog::ScheduleKind;

/// Nanoseconds a step of a race, and those of a whole execution by all its steps.
#[derive(Clone, Copy)]
struct Cost {
    race: f64,
    all: f64,
}

/// `None`: our `pos`.
fn cost(who: Option<Peer>, programs: &[&'static Task], observe: Observe, executions: u32, epilogues: &[f64]) -> Cost {
    let (mut sum, mut used, mut ends) = (Sum::default(), 0.0, 0.0);
    for (task, epilogue) in programs.iter().zip(epilogues) {
        ends += epilogue * f64::from(executions);
        let part = match who {
            Some(peer) => peer.executions(task, observe, executions),
            None => {
                let mut ours = Ours::new(task, ScheduleKind::Pos);
                (0..WARM).for_each(|_| drop(ours.run(observe)));
                let mut sum = Sum::default();
                let used = seconds(|| (0..executions).for_each(|_| sum = sum.with(&ours.run(observe))));
                (sum, used)
            }
        };
        sum = sum.and(part.0);
        used += part.1;
    }
    Cost { race: (used - ends) * 1e9 / sum.own_steps as f64, all: used * 1e9 / sum.steps as f64 }
}

pub fn table(effort: &Effort) {
    let programs: Vec<&'static Task> = ["ttm", "pin", "mm"]
        .into_iter()
        .flat_map(|target| generated(target, if effort.quick { 2 } else { 8 }))
        .map(Task::leak)
        .collect();
    let executions = if effort.quick { 20 } else { 200 };
    let mut depth = Sum::default();
    for task in &programs {
        let mut ours = Ours::new(task, ScheduleKind::Pos);
        (0..executions).for_each(|_| depth = depth.with(&ours.run(Observe::Oracles)));
    }
    println!(
        "A step: {} programs of 16 racing calls by 4 tasks, newest kernel, {:.0} steps and {:.0} of the epilogue, mean call depth {:.1}",
        programs.len(),
        depth.own_steps as f64 / f64::from(depth.executions),
        (depth.steps - depth.own_steps) as f64 / f64::from(depth.executions),
        depth.depths as f64 / depth.steps as f64,
    );
    for (observe, name) in [(Observe::Oracles, "all oracles"), (Observe::Bare, "bare")] {
        let mut costs = vec![Vec::new(); 1 + PEERS.len()];
        for _ in 0..effort.rounds {
            let epilogues: Vec<f64> = programs.iter().map(|task| epilogue(task, observe, executions)).collect();
            let all = [None].into_iter().chain(PEERS.map(Some));
            for (who, costs) in all.zip(&mut costs) {
                costs.push(cost(who, &programs, observe, executions, &epilogues));
            }
        }
        println!("\n  {name:24} ns a step          x ours             ns, whole runs     x ours");
        let of = |costs: &[Cost], what: fn(&Cost) -> f64| Spread::of(costs.iter().map(what).collect());
        let ratio = |costs: &[Cost], ours: &[Cost], what: fn(&Cost) -> f64| {
            Spread::of(costs.iter().zip(ours).map(|(a, b)| what(a) / what(b)).collect())
        };
        for (who, row) in [None].into_iter().chain(PEERS.map(Some)).zip(&costs) {
            let name = who.map_or("gupfuzz pos".to_owned(), |peer| format!("shuttle {}", peer.name()));
            println!(
                "  {name:24} {:<18.0} {:<18.2} {:<18.0} {:.2}",
                of(row, |c| c.race),
                ratio(row, &costs[0], |c| c.race),
                of(row, |c| c.all),
                ratio(row, &costs[0], |c| c.all),
            );
        }
    }
    let steps = if effort.quick { 20_000 } else { 400_000 };
    println!("\n  the floor, 4 tasks that do nothing: ns a choice");
    let rounds = |f: &dyn Fn() -> f64| format!("{:.0}", Spread::of((0..effort.rounds).map(|_| f()).collect()));
    println!("  {:24} {}", "bare futures", rounds(&|| floor(4, steps)));
    for peer in PEERS {
        println!("  {:24} {}", format!("shuttle {}", peer.name()), rounds(&|| peer.floor(4, steps)));
    }
}
