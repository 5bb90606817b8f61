// SPDX-License-Identifier: GPL-2.0-or-later
//! What `gupfuzz coverage` says of programs, what `gupfuzz grow` makes of them, and the states that are feedback.

use gupfuzz::fixes::{FIXES, Spec};
use gupfuzz::fuzz::Coverage;
use gupfuzz::init::{Observe, start_kernel};
use gupfuzz::prog::Script;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn gupfuzz(args: &[&str]) -> String {
    let out = Command::new(env!("CARGO_BIN_EXE_gupfuzz")).current_dir(root()).args(args).output().unwrap();
    assert_eq!(out.status.code(), Some(0), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// The cells of a row.
fn row<'t>(text: &'t str, name: &str) -> Vec<&'t str> {
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(name));
    line.unwrap_or_else(|| panic!("no row {name}\n{text}")).split_whitespace().collect()
}

fn programs(folder: &str) -> Vec<PathBuf> {
    let folder = root().join("corpus").join(folder);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_function_that_is_reached_is_in_the_list() {
    let mut coverage = Coverage::default();
    let stories = programs("stories");
    for path in &stories {
        let script = Script::parse(&fs::read_to_string(path).unwrap()).unwrap();
        let kernel: Spec = script.kernel.as_deref().unwrap_or("newest").parse().unwrap();
        coverage.add(&script.prog, &kernel);
    }
    // A task that is inside of nothing is idle, which has its place, too.
    let reached = coverage.functions().iter().filter(|(file, _)| *file != "trace/mod.rs").count();
    let names = stories.iter().map(|path| path.to_str().unwrap());
    let text = gupfuzz(&["coverage"].into_iter().chain(names).collect::<Vec<_>>());
    let all = row(&text, "all");
    assert_eq!(all[2], reached.to_string(), "{text}");
    let functions: usize = all[1].parse().unwrap();
    assert!(functions > 300 && reached * 2 > functions, "{reached} of {functions}");
}

#[test]
fn a_program_reaches_what_it_is_about() {
    let text = gupfuzz(&["coverage", "corpus/regress/ttu-sync.prog"]);
    assert_eq!(row(&text, "ttu-sync")[1..3], ["1", "1"], "{text}");
    assert_eq!(row(&text, "ttm-pool-clear")[1..3], ["0", "0"], "{text}");
    let [_, functions, reached, missing @ ..] = &row(&text, "ttm/ttm_pool.rs")[..] else { panic!("{text}") };
    assert_eq!((*reached, missing.len().to_string().as_str()), ("0", *functions), "all are missing: {text}");
    assert!(missing.contains(&"ttm_pool_alloc,") && !missing.contains(&"try_to_migrate,"), "{text}");
    let last = text.lines().last().unwrap();
    assert!(last.starts_with(&format!("all {}", FIXES.len())), "{last}");
}

fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("grow").join(name);
    _ = fs::remove_dir_all(&path);
    path
}

/// Names and contents.
fn contents(folder: &Path) -> Vec<(String, String)> {
    let file = |path: PathBuf| (path.file_name().unwrap().to_str().unwrap().into(), fs::read_to_string(path).unwrap());
    let mut all: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| file(entry.unwrap().path())).collect();
    all.sort();
    all
}

#[test]
fn a_corpus_grows_the_same_again_and_loses_nothing() {
    let [first, second, third] = ["first", "second", "third"].map(folder);
    let grow = |files: &[&str], runs, out: &Path| {
        let out = ["--runs", runs, "--seed", "5", "--out", out.to_str().unwrap()];
        gupfuzz(&[&["grow", "pin"], files, &out].concat())
    };
    let story = "corpus/stories/cow_of_a_pinned_page.prog";
    let text = grow(&[story], "600", &first);
    assert_eq!(text, grow(&[story], "600", &second));
    let grown = contents(&first);
    assert_eq!(grown, contents(&second));
    assert!(grown.len() > 10, "{text}");
    for (name, text) in &grown {
        let script = Script::parse(text).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!((script.kernel.as_deref(), script.expect), (Some("newest"), None), "{name}");
    }
    let names: Vec<_> = grown.iter().map(|(name, _)| first.join(name).to_str().unwrap().to_owned()).collect();
    let small = grow(&names.iter().map(String::as_str).collect::<Vec<_>>(), "0", &third);
    let pairs = |text: &str| row(text, "written")[1].parse::<usize>().unwrap();
    assert!(pairs(&small) >= pairs(&text) && contents(&third).len() <= grown.len(), "{text}{small}");
}

/// The pairs of an object's state and a site that a program reaches.
fn pairs(text: &str) -> BTreeSet<usize> {
    let prog = Script::parse(text).unwrap_or_else(|e| panic!("{e}: {text}")).prog;
    let mut computer = start_kernel(Spec::default().fixes);
    computer.note_states();
    computer.run(&prog, prog.seed, Observe::Oracles);
    let mut pairs = BTreeSet::new();
    computer.states().drain(|pair| _ = pairs.insert(pair));
    pairs
}

#[test]
fn a_state_tells_what_an_object_is_and_not_which() {
    let text = "\
0: mmap(addr=va8, len=4, prot=r|w, map=anon)
0: store(addr=va9, value=1)
1: pin_user_pages(pins=g1, addr=va9, len=1, flags=write)
0: madvise(addr=va9, len=1, advice=dontneed)
1: unpin_user_pages(pins=g1)
";
    let first = pairs(text);
    assert!(first.len() > 10, "{}", first.len());
    // Other pages at other addresses, other tasks, another handle, other contents.
    let others = "0: mmap(addr=va40, len=4, prot=r|w, map=anon)\n0: store(addr=va40, value=9)\n";
    let renamed = text.replace("va8", "va16").replace("va9", "va18").replace("1:", "3:").replace("g1", "g4");
    assert_eq!(pairs(&renamed), first);
    assert_eq!(pairs(&text.replace("value=1", "value=200")), first);
    assert!(pairs(&format!("{others}{text}")).is_superset(&first), "who has pages already changes nothing");
    // A page that is not pinned meanwhile is in another state where it is freed.
    let put = text.replace("0: madvise", "1: unpin_user_pages(pins=g1)\n0: madvise");
    assert!(!first.is_subset(&pairs(&put)) && !pairs(&put).is_subset(&first));
}

/// libFuzzer and AFL++ get counters of what oracles watch, not of all that is touched.
#[test]
fn what_no_oracle_watches_has_no_states() {
    assert!(pairs("0: fail_nth(n=1)\n").is_empty(), "no page, no table");
}
