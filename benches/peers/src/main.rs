// SPDX-License-Identifier: GPL-2.0-or-later
//! gupfuzz beside shuttle, and beside nothing: the same modelled tasks, one run, one table of ratios.
//!
//! `cargo run --release`, at most five minutes of CPU on one core; with `--quick` seconds, to see that it
//! still runs, without the targets of libFuzzer.  Time is CPU time; `a [b c]` is a median and its quartiles.

mod bugs;
mod cpu;
mod libfuzzer;
mod ours;
mod peer;
mod search;
mod steps;
mod tasks;

use peer::Peer;

/// The schedulers of shuttle that draw.
const PEERS: [Peer; 5] = [Peer::Random, Peer::Pct(2), Peer::Pct(3), Peer::Pct(5), Peer::Urw];

/// How much is measured.
pub struct Effort {
    pub quick: bool,
    /// Turns that everybody takes after each other.
    pub rounds: usize,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let quick = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["--quick"] => true,
        _ => {
            eprintln!("usage: gupfuzz-peers [--quick]");
            std::process::exit(2);
        }
    };
    if quick {
        println!("--quick: to see that it runs; the figures mean nothing\n");
    }
    let effort = Effort { quick, rounds: if quick { 1 } else { 5 } };
    steps::table(&effort);
    bugs::table(&effort);
    if !quick {
        libfuzzer::table(&effort);
    }
}
