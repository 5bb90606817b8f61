// SPDX-License-Identifier: GPL-2.0-or-later
//! A list of all modelled functions, for `gupfuzz coverage`: where each has its `enter!`, and its name.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_CLI").is_none() {
        return;
    }
    println!("cargo::rerun-if-changed=src");
    let mut files = Vec::new();
    sources(Path::new("src"), &mut files);
    files.sort();
    let mut list = String::from("&[\n");
    for path in &files {
        let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let file = path.strip_prefix("src").expect("a file under src").to_string_lossy().replace('\\', "/");
        let mut name = "";
        for (line, code) in (1..).zip(text.lines().map(str::trim_start)) {
            if let Some((_, after)) = code.split_once("fn ").filter(|(before, _)| !before.contains("//")) {
                name = after.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
            }
            let before = code.split_once("enter!(").map(|(before, _)| before);
            if before.is_some_and(|path| path.is_empty() || path == "super::") {
                writeln!(list, "(({file:?}, {line}), {name:?}),").expect("memory");
            }
        }
    }
    list.push(']');
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("functions.rs");
    fs::write(&out, list).unwrap_or_else(|e| panic!("{}: {e}", out.display()));
}

fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.expect("an entry of a folder").path();
        if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
}
