// SPDX-License-Identifier: GPL-2.0-or-later
//! The house rules that a machine can check.

use std::fs;
use std::path::{Path, PathBuf};

fn files(under: &str, ending: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(under)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if !path.ends_with("target") {
                    folders.push(path);
                }
            } else if path.to_string_lossy().ends_with(ending) {
                let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                found.push((path, text));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no *{ending} under {under}");
    found
}

fn room_of(path: &Path) -> String {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let first = path.strip_prefix(src).unwrap().components().next().unwrap();
    first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
}

/// The rooms, lowest first, those of a row from left to right.
const ROWS: &[&[&str]] = &[
    &["limits", "fixes", "trace"],
    &["arch"],
    &["kernel"],
    &["mm", "fs", "dma_buf"],
    &["ttm", "drivers", "io_uring"],
    &["entry"],
    &["oracles", "prog"],
    &["report"],
    &["init"],
    &["fuzz", "main", "cli", "lib"],
];

/// May `from` import `to`?  Any row below; in its own row what stands to the left.
fn may_import(from: &str, to: &str) -> bool {
    let place = |room: &str| {
        ROWS.iter()
            .enumerate()
            .find_map(|(row, rooms)| rooms.iter().position(|r| *r == room).map(|column| (row, column)))
            .unwrap_or_else(|| panic!("room {room} has no place in tests/tidy.rs"))
    };
    let ((from_row, from_column), (to_row, to_column)) = (place(from), place(to));
    to_row < from_row || to_row == from_row && to_column <= from_column
}

#[test]
fn imports_point_down_or_left() {
    assert!(may_import("mm", "kernel") && may_import("fs", "mm") && !may_import("mm", "fs"));
    for (path, text) in files("src", ".rs") {
        let room = room_of(&path);
        if room == "lib" {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            assert!(!code.contains("crate::{"), "{}:{}: one `use` a room", path.display(), number + 1);
            for (at, _) in code.match_indices("crate::") {
                let to: String =
                    code[at + 7..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                // Macros live at the root; everything else has a room.
                let known = ROWS.iter().flat_map(|r| r.iter()).any(|r| *r == to);
                if known {
                    let place = format!("{}:{}", path.display(), number + 1);
                    assert!(may_import(&room, &to), "{place}: {room} imports {to}, which is not below or left of it");
                }
            }
        }
    }
}

#[test]
fn nobody_goes_around_the_rooms() {
    for (path, text) in files("src", ".rs") {
        if path.ends_with("tests.rs") {
            continue;
        }
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for (number, line) in code.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let place = format!("{}:{}", path.display(), number + 1);
            assert!(!code.contains("super::super"), "{place}: `crate::`, so that one sees which room it is");
        }
        // There `super` is the crate.
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        if path.parent() == Some(&top) || path.ends_with("mod.rs") && path.parent().and_then(Path::parent) == Some(&top)
        {
            let around = code.lines().any(|line| !line.starts_with(' ') && line.contains("use super::"));
            assert!(!around, "{}: `crate::`, so that one sees which room it is", path.display());
        }
    }
}

#[test]
fn every_source_file_says_what_it_is() {
    for folder in ["src", "tests", "benches"] {
        for (path, text) in files(folder, ".rs") {
            let mut lines = text.lines();
            assert_eq!(lines.next(), Some("// SPDX-License-Identifier: GPL-2.0-or-later"), "{}", path.display());
            let head = lines.next().unwrap_or_default();
            assert!(head.starts_with("//! "), "{}: the second line says what the file is", path.display());
        }
    }
}

/// Files of mm and ttm that stand for no one file of Linux.
const OF_OUR_OWN: &[&str] =
    &["mm/mod.rs", "mm/memory/fault.rs", "mm/memory/insert.rs", "mm/memory/zap.rs", "mm/gup/fast.rs", "mm/gup/slow.rs"];

#[test]
fn kernel_files_name_their_linux_file() {
    for room in ["src/mm", "src/ttm", "src/drivers", "src/fs", "src/dma_buf", "src/io_uring"] {
        for (path, text) in files(room, ".rs") {
            let head: String = text.lines().take_while(|l| l.starts_with("//")).collect();
            let known = OF_OUR_OWN.iter().any(|own| path.ends_with(own));
            assert!(known || head.contains("Linux: "), "{}: the head names no `Linux: <path>`", path.display());
        }
    }
}

/// Files that are one thing though they are long: a table, a state machine.
const LONG: &[&str] = &["src/fixes/mod.rs"];

#[test]
fn files_and_functions_stay_small() {
    for (path, text) in files("src", ".rs") {
        let lines = text.lines().count();
        let most = if LONG.iter().any(|long| path.ends_with(long)) { 600 } else { 400 };
        assert!(lines <= most, "{}: {lines} lines: is it two things?", path.display());
        let mut begin = None;
        for (number, line) in text.lines().enumerate() {
            let code = line.trim_start();
            let indent = line.len() - code.len();
            let is_fn = [
                "fn ",
                "pub fn ",
                "pub(crate) fn ",
                "pub(super) fn ",
                "async fn ",
                "pub(crate) async fn ",
                "pub(super) async fn ",
            ]
            .iter()
            .any(|start| code.starts_with(start));
            if is_fn && line.ends_with('{') {
                begin = Some((number, indent));
            }
            if let Some((from, at)) = begin
                && line.len() == at + 1
                && code == "}"
            {
                let length = number - from + 1;
                assert!(length <= 70, "{}:{}: a function of {length} lines", path.display(), from + 1);
                begin = None;
            }
        }
    }
}

#[test]
fn nothing_that_differs_from_run_to_run_reaches_a_run() {
    let banned = ["HashMap", "HashSet", "Instant", "SystemTime", "std::sync", "std::thread", "env::var", "unsafe "];
    for (path, text) in files("src", ".rs") {
        let room = room_of(&path);
        if room == "cli" || room == "main" {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for word in banned {
                assert!(!code.contains(word), "{}:{}: {word} does not belong here", path.display(), number + 1);
            }
        }
    }
}

#[test]
fn names_say_something() {
    for (path, _) in files("src", ".rs") {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        for bad in ["utils", "util", "common", "core", "engine", "manager", "helpers", "misc", "context"] {
            assert_ne!(name, bad, "{}", path.display());
        }
    }
}

#[test]
fn programs_say_what_they_show() {
    for (path, text) in files("corpus", ".prog") {
        assert!(text.starts_with("# "), "{}: begins with a comment", path.display());
        let kernel = text.lines().find_map(|line| line.strip_prefix("kernel: "));
        let kernel = kernel.unwrap_or_else(|| panic!("{}: no `kernel:`", path.display()));
        kernel.parse::<gupfuzz::fixes::Spec>().unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
}

/// Columns side by side, what races in them, numbered in its order.
fn has_picture(text: &str) -> bool {
    let comments: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix('#')).collect();
    let columns = |line: &str| line.split("   ").filter(|part| !part.trim().is_empty()).count();
    let names = |line: &&str| line.trim_start().starts_with("task ") && columns(line) > 1;
    let numbered = |nr: usize| comments.iter().any(|line| line.trim_start().starts_with(&format!("{nr}. ")));
    comments.iter().any(names) && numbered(1) && numbered(2)
}

#[test]
fn stories_are_drawn_in_columns() {
    assert!(has_picture("#   task 0 (owner)     gpu\n#   1. store\n#                      2. write\n"));
    assert!(!has_picture("# task 0 stores, then the gpu writes.\n"));
    for (path, text) in files("corpus/stories", ".prog") {
        assert!(has_picture(&text), "{}: draws no columns of `task`s and devices", path.display());
    }
}

#[test]
fn the_fuzz_crates_hold_to_the_rust_version_of_the_library() {
    let manifest = |path: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let version = |text: &str| text.lines().find(|line| line.starts_with("rust-version = ")).map(str::to_owned);
    let own = version(&manifest("Cargo.toml"));
    assert!(own.is_some());
    for path in ["fuzz/Cargo.toml", "fuzz/afl_mutator/Cargo.toml"] {
        let text = manifest(path);
        assert_eq!(version(&text), own, "{path}");
        assert!(text.contains("\nincompatible_msrv = \"warn\"\n"), "{path}: nothing holds it to that version");
    }
}

/// All of it is read by every session of every fuzzer.
#[test]
fn the_corpus_stays_small() {
    let size: usize = files("corpus", ".prog").iter().map(|(_, text)| text.len()).sum();
    assert!(size <= 2 << 20, "{size} bytes");
}
