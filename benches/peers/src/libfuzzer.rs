// SPDX-License-Identifier: GPL-2.0-or-later
//! The fuzz targets beside an empty one, with the same flags.

use crate::Effort;
use crate::cpu::Spread;
use gupfuzz::prog::{Generator, Prog, Rec, target};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const TARGETS: [&str; 4] = ["empty", "ttm", "pin", "mm"];

/// Eight bytes a record, and as many before them.
const BYTES: usize = 8 + 16 * 8;

/// Builds a target with the flags of the README; where it is.
fn build(here: &Path, name: &str) -> Option<PathBuf> {
    let folder = here.join(if name == "empty" { "empty" } else { "../../fuzz" });
    let built = folder.join("target");
    let status = Command::new("cargo")
        .args(["+stable", "fuzz", "build", "-s", "none", "-O", "--no-trace-compares", "--fuzz-dir"])
        .arg(&folder)
        .arg("--target-dir")
        .arg(&built)
        .arg(name)
        .env("RUSTFLAGS", "-Cllvm-args=-sanitizer-coverage-level=1")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let wanted = built.join("x86_64-unknown-linux-gnu/release").join(name);
    (status.ok()?.success() && wanted.exists()).then_some(wanted)
}

/// CPU seconds of the child processes so far.
fn children() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("proc(5)");
    let behind = stat.rsplit(')').next().expect("behind the name");
    let ticks: f64 = behind.split_whitespace().skip(13).take(2).map(|n| n.parse::<f64>().expect("a number")).sum();
    ticks / 100.0
}

/// Inputs of 16 calls.
fn inputs(folder: &Path, name: &str) {
    let mut generator = Generator::new(target(name).expect("a target"), 42);
    let mut part = Prog::default();
    for i in 0..64 {
        let mut prog = Prog { seed: i, ..Prog::default() };
        while prog.records.len() < 16 {
            generator.generate(&mut part);
            let left = 16 - prog.records.len();
            prog.records.extend(part.calls().take(left).map(|call| Rec::Call(*call)));
        }
        std::fs::write(folder.join(i.to_string()), prog.encode()).expect("a temporary file");
    }
}

/// Programs a CPU second: an input is one, or as many interleavings as it asks for.
fn rate(binary: &Path, name: &str, runs: u32) -> f64 {
    let folder = std::env::temp_dir().join(format!("gupfuzz-peers-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    inputs(&folder, if name == "empty" { "mm" } else { name });
    let before = children();
    let output = Command::new(binary)
        .args([&format!("-runs={runs}"), &format!("-max_len={BYTES}"), "-len_control=0", "-seed=1"])
        .arg(&folder)
        .current_dir(&folder)
        .output()
        .expect("it starts");
    let used = children() - before;
    std::fs::remove_dir_all(&folder).expect("a temporary folder");
    assert!(output.status.success(), "{name} stopped");
    let told = String::from_utf8_lossy(&output.stderr);
    let programs = told.lines().find_map(|line| line.strip_prefix("gupfuzz: ")?.strip_suffix(" programs"));
    let programs = programs.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    programs.unwrap_or(f64::from(runs)) / used
}

pub fn table(effort: &Effort) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    println!(
        "\nlibFuzzer, flags of the README, -max_len={BYTES} -len_control=0, from 64 inputs of 16 calls: programs a CPU second"
    );
    let binaries: Option<Vec<PathBuf>> = TARGETS.iter().map(|name| build(here, name)).collect();
    let Some(binaries) = binaries else {
        println!("  left out: `cargo +stable fuzz build` does not work here");
        return;
    };
    let mut rates = [const { Vec::new() }; TARGETS.len()];
    for _ in 0..effort.rounds.min(3) {
        for ((name, binary), rates) in TARGETS.iter().zip(&binaries).zip(&mut rates) {
            let runs = if *name == "empty" { 1_000_000 } else { 50_000 };
            rates.push(rate(binary, name, runs));
        }
    }
    let [empty, targets @ ..] = &rates;
    println!("  {:24} {:.0}", "empty", Spread::of(empty.clone()));
    for (name, rates) in TARGETS[1..].iter().zip(targets) {
        let ratios = rates.iter().zip(empty).map(|(rate, empty)| empty / rate).collect();
        println!(
            "  {name:24} {:<28} 1/{:.0} of an empty one",
            format!("{:.0}", Spread::of(rates.clone())),
            Spread::of(ratios)
        );
    }
}
