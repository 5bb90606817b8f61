// SPDX-License-Identifier: GPL-2.0-or-later
//! What README.md tells one to type does what it says.

use std::fs;
use std::path::Path;
use std::process::Command;

fn readme() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap()
}

/// Exit status and standard output of the arguments behind `cargo run --release --`.
fn gupfuzz(folder: &Path, args: &str) -> (Option<i32>, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_gupfuzz")).current_dir(folder).args(args.split(' ')).output().unwrap();
    (out.status.code(), String::from_utf8(out.stdout).unwrap())
}

#[test]
fn it_stays_short() {
    let lines = readme().lines().count();
    assert!(lines <= 150, "{lines} lines");
}

#[test]
fn its_first_command_finds_the_bug() {
    let readme = readme();
    let commands: Vec<_> = readme.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
    let [run, "cargo test"] = commands[..] else { panic!("two commands, one that runs all tests: {commands:?}") };
    let args = run.strip_prefix("cargo run --release -- ").expect("the first runs gupfuzz");
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("readme");
    fs::create_dir_all(&out).unwrap();
    let (code, text) = gupfuzz(&out, args);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("BUG: KASAN: use-after-recycle in "), "{text}");
}

/// Any change of the kernel's steps changes their numbers, which tell nothing here.
fn without_steps(report: &str) -> String {
    let mut text = String::new();
    for line in report.lines() {
        let row = line.trim_start().trim_start_matches(|c: char| c.is_ascii_digit());
        let mut parts = row.split("step ");
        text += parts.next().unwrap_or_default().trim();
        for part in parts {
            text += "step";
            text += part.trim_start_matches(|c: char| c.is_ascii_digit()).trim_end();
        }
        text += "\n";
    }
    text
}

#[test]
fn its_report_is_a_real_one() {
    let readme = readme();
    let (before, rest) = readme.split_once("```text\n").expect("a report");
    let (report, _) = rest.split_once("```").unwrap();
    let (_, args) = before.rsplit_once("`cargo run --release -- ").expect("the command that prints it");
    let (args, _) = args.split_once('`').unwrap();
    let (code, text) = gupfuzz(Path::new(env!("CARGO_MANIFEST_DIR")), args);
    assert_eq!(code, Some(1));
    let text = without_steps(&text);
    let mut rest = text.as_str();
    for part in without_steps(report).split("[...]\n") {
        let Some(at) = rest.find(part) else { panic!("not, or not so, in the report:\n{part}\nwhich is\n{text}") };
        rest = &rest[at + part.len()..];
    }
    assert!(report.starts_with("BUG: "), "{report}");
}
