// SPDX-License-Identifier: GPL-2.0-or-later
//! The report of each oracle's canary, word for word, but for the timeline, which `report.rs` looks at.
//!
//! `GUPFUZZ_BLESS=1 cargo test --test snapshots` writes them anew; read the difference.  Numbers of
//! steps and lines of source are left out, for every change of the model moves them.

use gupfuzz::fixes::Spec;
use gupfuzz::fuzz::{explain, replay};
use gupfuzz::init::{Observe, start_kernel};
use gupfuzz::oracles::ORACLES;
use gupfuzz::prog::Script;
use regex::Regex;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn report(path: &str) -> String {
    let script = Script::parse(&fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()).unwrap();
    let kernel: Spec = script.kernel.as_deref().unwrap_or("newest").parse().unwrap();
    let (mut computer, prog) = (start_kernel(kernel.fixes), &script.prog);
    let mut seeds = (0..u32::from(prog.burst.max(1))).map(|i| prog.seed.wrapping_add(i));
    let fires = |seed: &u32| computer.run(prog, *seed, Observe::Oracles).violation().is_some();
    let seed = seeds.find(fires).unwrap_or_else(|| panic!("{path} is silent on {kernel}"));
    explain(&replay(&mut computer, prog, seed), &kernel, path).unwrap().to_string()
}

/// Without what moves with every line of the model.
fn without_numbers(report: &str) -> String {
    let mut text = report.to_owned();
    for (pattern, with) in [
        (r"(?s)Timeline .*?\n\n", "[timeline]\n\n"),
        (r"\+0x[0-9a-f]+/0x[0-9a-f]+", "+0x?/0x?"),
        (r" +[a-z_0-9/]+\.rs:\d+", ""),
        (r"step \d+", "step ?"),
        (r" +(\n|$)", "$1"),
    ] {
        text = Regex::new(pattern).unwrap().replace_all(&text, with).into_owned();
    }
    text
}

#[test]
fn reports_of_the_canaries() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reports");
    let (mut names, mut wrong) = (BTreeSet::new(), Vec::new());
    for oracle in ORACLES {
        let now = without_numbers(&report(oracle.canary));
        let name = format!("{}.txt", oracle.name);
        if std::env::var_os("GUPFUZZ_BLESS").is_some() {
            fs::write(root.join(&name), &now).unwrap();
        }
        if fs::read_to_string(root.join(&name)).unwrap_or_default() != now {
            wrong.push(format!("tests/reports/{name}: now\n{now}"));
        }
        names.insert(name);
    }
    assert!(wrong.is_empty(), "{}\nGUPFUZZ_BLESS=1 cargo test --test snapshots writes it down", wrong.join("\n"));
    let files = fs::read_dir(root).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    assert_eq!(files.collect::<BTreeSet<_>>(), names, "one report an oracle");
}
