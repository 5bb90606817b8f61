// SPDX-License-Identifier: GPL-2.0-or-later
//! From nothing to the bug: one generator, one set of weights, for every bug of the fix table.

use gupfuzz::entry::op;
use gupfuzz::fixes::Spec;
use gupfuzz::fuzz::{Campaign, Options};
use gupfuzz::prog::{Prog, Script, TARGETS, Target};
use std::fs;
use std::path::Path;

/// Programs up to a violation with this title; `None`: not within `limit`.
fn programs_to_bug(target: &'static Target, kernel: &str, title: &str, seed: u64, limit: u64) -> Option<u64> {
    let kernel: Spec = kernel.parse().expect("a kernel");
    let options = Options { until: Some(title.into()), ..Options::default() };
    let mut campaign = Campaign::new(target, &kernel, seed, options);
    campaign.run(limit)?;
    Some(campaign.counts().programs)
}

#[test]
fn what_is_searched_is_worth_running() {
    for target in TARGETS {
        let mut campaign = Campaign::new(target, &Spec::default(), 1, Options::default());
        assert!(campaign.run(3000).is_none(), "newest is silent");
        let counts = campaign.counts();
        assert!(counts.succeeded * 2 >= counts.calls, "{}: most calls fail\n{counts}", target.name);
        assert!(counts.pinned * 10 >= counts.programs, "{}: pins do not meet unmaps\n{counts}", target.name);
        assert!(counts.cut * 100 <= counts.programs, "{}: programs do not end\n{counts}", target.name);
    }
}

#[test]
fn easy_bugs_are_found_at_once() {
    for (kernel, title) in [
        ("v5.12", "use-after-recycle"),
        ("newest +ttm-open-no-ref", "refcount-underflow in ttm_bo_put"),
        ("newest +ttm-swapout-no-unmap", "page-table-check-free in ttm_tt_swapout"),
        ("newest -shmem-helper-no-cow", "bug-on-pfnmap-cow in vmf_insert_pfn_prot"),
    ] {
        let found = (1..=2).filter_map(|seed| programs_to_bug(&TARGETS[0], kernel, title, seed, 20_000)).count();
        assert_eq!(found, 2, "{title} on {kernel}");
    }
}

/// The target that has all operations of a program, and likes them most.
fn target_of(prog: &Prog) -> &'static Target {
    let weight = |target: &Target, nr| {
        let name = op(nr).expect("an operation").name;
        target.weights.iter().find(|(n, _)| *n == name).map_or(0, |(_, weight)| u32::from(*weight))
    };
    let liking = |target: &Target| {
        let sum: u32 = prog.calls().map(|call| weight(target, call.op)).sum();
        let all: u32 = target.weights.iter().map(|(_, weight)| u32::from(*weight)).sum();
        (prog.calls().filter(|call| weight(target, call.op) > 0).count(), sum * 1000 / all)
    };
    TARGETS.iter().max_by_key(|target| liking(target)).expect("a target")
}

/// `cargo test --release --test search -- --ignored --nocapture` prints the table; it takes many minutes.
#[test]
#[ignore = "millions of programs"]
fn every_bug_of_the_fix_table_is_found() {
    const LIMIT: u64 = 2_000_000;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/regress");
    let mut files: Vec<_> = fs::read_dir(folder).expect("the corpus").map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut missing = Vec::new();
    for path in files {
        let script = Script::parse(&fs::read_to_string(&path).unwrap()).expect("a program");
        let (kernel, title) = (script.kernel.expect("a kernel"), script.expect.expect("a title"));
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let target = target_of(&script.prog);
        let programs = [1, 2].map(|seed| programs_to_bug(target, &kernel, &title, seed, LIMIT));
        println!("{name:28} {programs:>8?}  gupfuzz run {} --kernel {kernel:?} --until {title:?}", target.name);
        if programs.contains(&None) {
            missing.push(name);
        }
    }
    assert!(missing.is_empty(), "not found within {LIMIT} programs: {missing:?}");
}
