// SPDX-License-Identifier: GPL-2.0-or-later
//! From nothing to the bug: one generator, one set of weights, for every bug of the fix table.

use gupfuzz::entry::op;
use gupfuzz::fixes::Spec;
use gupfuzz::fuzz::{Campaign, Options};
use gupfuzz::prog::{Prog, Script, TARGETS, Target};
use std::fs;
use std::path::Path;

/// Programs up to a violation with this title, or any; `None`: not within `limit`.
fn programs_to_bug(target: &'static Target, kernel: &Spec, title: Option<&str>, seed: u64, limit: u64) -> Option<u64> {
    let options = Options { until: title.map(Into::into), ..Options::default() };
    let mut campaign = Campaign::new(target, kernel, seed, options);
    campaign.run(limit)?;
    Some(campaign.counts().programs)
}

#[test]
fn what_is_searched_is_worth_running() {
    for target in TARGETS {
        // Programs of one seed are kin of one another: several seeds.
        let (mut calls, mut succeeded, mut programs, mut pinned, mut cut) = (0, 0, 0, 0, 0);
        for seed in 1..=4 {
            let mut campaign = Campaign::new(target, &Spec::default(), seed, Options::default());
            assert!(campaign.run(3000).is_none(), "newest is silent");
            let counts = campaign.counts();
            (calls, succeeded) = (calls + counts.calls, succeeded + counts.succeeded);
            (programs, pinned, cut) = (programs + counts.programs, pinned + counts.pinned, cut + counts.cut);
        }
        let name = target.name;
        assert!(succeeded * 2 >= calls, "{name}: most calls fail: {succeeded} of {calls} do not");
        assert!(pinned * 10 >= programs, "{name}: pins do not meet unmaps but in {pinned} of {programs} programs");
        assert!(cut * 100 <= programs, "{name}: {cut} of {programs} programs do not end");
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
        let spec = kernel.parse().expect("a kernel");
        let found = (1..=2).filter_map(|seed| programs_to_bug(&TARGETS[0], &spec, Some(title), seed, 20_000)).count();
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

/// The kernel on which only this entry was changed back, or a policy that it has was taken away, if that is the newest one
/// or a policy of it: such a kernel is silent, and whatever fires without it is the entry's bug.
fn mended(kernel: &Spec, name: &str) -> Option<Spec> {
    let text = kernel.to_string();
    if !text.starts_with("newest") || text.contains("+page-pin-strict") && name != "page-pin-strict" {
        return None;
    }
    let others = text.split(' ').filter(|word| word.strip_prefix(['+', '-']) != Some(name));
    let mended = others.collect::<Vec<_>>().join(" ");
    let mended = if mended == text { format!("{text} -{name}") } else { mended };
    Some(mended.parse().expect("a kernel"))
}

/// `cargo test --release --test search -- --ignored --nocapture` prints the table; it takes many minutes.
///
/// Most bugs have several faces: a page that a fork shared under a pin is a lost write to who writes it, and a
/// pinned page that is shared to who lets go of it.  So first comes how many programs it takes to see any
/// of them, where that is known to be this bug: the mended kernel is silent for as many programs of
/// the same search.  Then, how many to see the one that the program in the corpus shows.
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
        let kernel: Spec = kernel.parse().expect("a kernel");
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let target = target_of(&script.prog);
        let same = [1, 2].map(|seed| programs_to_bug(target, &kernel, Some(&title), seed, LIMIT));
        let any = mended(&kernel, &name).map(|mended| {
            [1, 2].map(|seed| {
                let programs = programs_to_bug(target, &kernel, None, seed, LIMIT)?;
                programs_to_bug(target, &mended, None, seed, programs).is_none().then_some(programs)
            })
        });
        let (any, programs) = (format!("{any:?}"), any.unwrap_or(same));
        println!(
            "{name:28} {any:>28} {same:>28?}  gupfuzz run {} --kernel \"{kernel}\" --until {title:?}",
            target.name
        );
        if programs.contains(&None) {
            missing.push(name);
        }
    }
    assert!(missing.is_empty(), "not found within {LIMIT} programs: {missing:?}");
}
