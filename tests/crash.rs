// SPDX-License-Identifier: GPL-2.0-or-later
//! What collectors of crashes make of a violation under a fuzzer: equal bugs are one, different ones differ.

use gupfuzz::fixes::Spec;
use gupfuzz::fuzz::{Replay, crash_text, replay};
use gupfuzz::init::{Observe, start_kernel};
use gupfuzz::oracles::{ORACLES, Violation, panic_for};
use gupfuzz::prog::Script;
use regex::Regex;
use std::backtrace::Backtrace;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;

/// A program of the corpus on its own kernel: the interleaving that fires, if one does.
fn run(path: &Path) -> Option<(Spec, Replay)> {
    let script = Script::parse(&fs::read_to_string(path).unwrap()).unwrap();
    let kernel: Spec = script.kernel.as_deref().unwrap_or("newest").parse().unwrap();
    let (mut computer, prog) = (start_kernel(kernel.fixes), &script.prog);
    let mut seeds = (0..u32::from(prog.burst.max(1))).map(|i| prog.seed.wrapping_add(i));
    let seed = seeds.find(|seed| computer.run(prog, *seed, Observe::Oracles).violation().is_some())?;
    Some((kernel, replay(&mut computer, prog, seed)))
}

/// All violations of the corpus and what a fuzzer prints of them.
fn crashes() -> Vec<(Violation, String)> {
    let mut crashes = Vec::new();
    for folder in ["stories", "regress"] {
        for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(folder)).unwrap() {
            if let Some((kernel, run)) = run(&entry.unwrap().path()) {
                let text = crash_text(&run, &kernel).unwrap();
                crashes.push((run.outcome.violation().unwrap().clone(), text));
            }
        }
    }
    assert!(crashes.len() > 40);
    crashes
}

/// syzkaller's title of a crash, by its first pattern for KASAN.  pkg/report/linux.go.
fn syzkaller(text: &str) -> Option<String> {
    let func = r"([a-zA-Z0-9_]+)(?:\.|\+)";
    let pattern =
        format!(r"BUG: KASAN: ([a-z\-]+) in {func}(?:.*\n)+?.*(Read|Write) (?:of size|at addr) (?:[0-9a-f]+)");
    let found = Regex::new(&pattern).unwrap().captures(text)?;
    Some(format!("KASAN: {} {} in {}", &found[1], &found[3], &found[2]))
}

/// ClusterFuzz's type, address and state of a crash.  crash_analysis/stack_parsing/stack_parser.py: an
/// assertion counts if no kernel failure came before it, and gives the state; a KASAN headline gives the
/// type, the line behind it the access and the address.
fn clusterfuzz(text: &str) -> (String, String, String) {
    let assert = Regex::new(r"ASSERTION FAILED: (.*)").unwrap();
    let kasan = Regex::new(r"BUG: KASAN: (.*) (in|on).* ([\w]+)\+([\w]+)/([\w]+)").unwrap();
    let access = Regex::new(r"^(Read|Write) of size ([0-9]+) at (addr|address) ([a-f0-9]+)").unwrap();
    let (mut type_, mut address, mut state) = (String::new(), String::new(), String::new());
    for line in text.lines() {
        let kernel = type_.starts_with("Kernel failure");
        if let Some(found) = assert.captures(line).filter(|_| !kernel) {
            (type_, state) = ("ASSERT".into(), found[1].into());
        }
        if let Some(found) = kasan.captures(line) {
            type_ = format!("Kernel failure {}", &found[1]);
        }
        if let Some(found) = access.captures(line).filter(|_| type_.starts_with("Kernel failure")) {
            type_ = format!("{type_} {} {}", found[1].to_uppercase(), &found[2]);
            address = found[4].into();
        }
    }
    (type_, address, state)
}

#[test]
fn collectors_take_every_crash_for_one_of_kasan() {
    for (v, text) in crashes() {
        let title = syzkaller(&text).unwrap_or_else(|| panic!("syzkaller sees nothing in\n{text}"));
        assert!(
            title.starts_with(&format!("KASAN: {} ", v.kind)) && title.ends_with(&format!(" in {}", v.func)),
            "{title}"
        );
        let (type_, address, state) = clusterfuzz(&text);
        assert!(
            type_ == format!("Kernel failure {} READ 8", v.kind)
                || type_ == format!("Kernel failure {} WRITE 8", v.kind)
        );
        assert_eq!(u64::from_str_radix(&address, 16).unwrap(), v.pfn.map_or(0, |pfn| u64::from(pfn.0) << 12), "{text}");
        assert_eq!(state, v.title());
    }
}

#[test]
fn equal_titles_are_equal_crashes_and_different_ones_differ() {
    let title = Regex::new("^[a-z]+(-[a-z]+)* in [a-z_][a-z_0-9]*$").unwrap();
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    let mut states: BTreeMap<String, String> = BTreeMap::new();
    for (v, text) in crashes() {
        assert!(title.is_match(&v.title()), "{}", v.title());
        let (_, _, state) = clusterfuzz(&text);
        let syzkaller = syzkaller(&text).unwrap();
        assert_eq!(known.entry(v.title()).or_insert(state.clone()), &state);
        assert_eq!(states.entry(state).or_insert(v.title()), &v.title());
        assert!(syzkaller.contains(v.kind) && syzkaller.ends_with(v.func));
    }
    assert!(known.len() > 20 && known.len() == states.len());
}

#[test]
fn titles_name_who_frees_a_page() {
    let titles: Vec<String> = crashes().iter().map(|(v, _)| v.title()).collect();
    // Bugs of their own, which one free would show.
    for title in [
        "page-table-check-free in ttm_bo_pipeline_gutting",
        "page-table-check-free in ttm_bo_move_memcpy",
        "page-table-check-free in ttm_tt_swapout",
    ] {
        assert!(titles.iter().any(|t| t == title), "{title} is not in {titles:#?}");
    }
    for func in ["free_the_page", "__free_pages", "alloc_pages", "put_page", "ttm_pool_free", "ttm_tt_unpopulate"] {
        assert!(titles.iter().all(|t| !t.ends_with(&format!(" in {func}"))), "{func} acts for its caller");
    }
}

static STACK: Mutex<String> = Mutex::new(String::new());

#[test]
fn each_oracle_panics_from_its_own_function() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| *STACK.lock().unwrap() = Backtrace::force_capture().to_string()));
    let mut seen = Vec::new();
    for oracle in ORACLES {
        let (_, run) = run(&Path::new(env!("CARGO_MANIFEST_DIR")).join(oracle.canary)).expect("a canary fires");
        let v = run.outcome.violation().unwrap().clone();
        let title = v.title();
        let panic = std::panic::catch_unwind(|| panic_for(&v)).unwrap_err();
        seen.push((
            oracle.name,
            v.oracle,
            panic.downcast_ref::<String>() == Some(&title),
            STACK.lock().unwrap().clone(),
        ));
    }
    std::panic::set_hook(before);
    for (name, fired, said, stack) in &seen {
        assert_eq!((name, *said), (fired, true), "the canary is the oracle's, and the panic says its title");
        let own = |oracle: &str| stack.contains(&format!("panic_for::{oracle}\n"));
        assert!(own(name), "{name} is not in\n{stack}");
        assert_eq!(ORACLES.iter().filter(|other| own(other.name)).count(), 1, "{name}: {stack}");
    }
}
