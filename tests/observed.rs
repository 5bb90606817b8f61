// SPDX-License-Identifier: GPL-2.0-or-later
//! What user space sees of the quiet programs and the stories is as written down in `tests/observed`:
//! which calls fail and how, who loads what.  Silence alone would also be had by doing nothing.
//!
//! `GUPFUZZ_BLESS=1 cargo test --test observed` writes it down anew; read the difference.

use std::fs;
use std::path::Path;
use std::process::Command;

/// The calls of `replay --observe`; what follows is the verdict.
fn observe(file: &str, kernel: &str) -> String {
    let out = Command::new(env!("CARGO_BIN_EXE_gupfuzz"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["replay", "--observe", "--kernel", kernel, file])
        .output()
        .unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let calls = text.lines().take_while(|line| line.as_bytes()[0].is_ascii_digit() && line[1..].starts_with(": "));
    format!("{file} on {kernel}\n\n{}\n", calls.collect::<Vec<_>>().join("\n"))
}

#[test]
fn user_space_sees_what_is_written_down() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut written, mut wrong) = (Vec::new(), Vec::new());
    for folder in ["quiet", "stories"] {
        for entry in fs::read_dir(root.join("corpus").join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let file = path.strip_prefix(root).unwrap().to_str().unwrap();
            let text = fs::read_to_string(&path).unwrap();
            let kernel = text.lines().find_map(|line| line.strip_prefix("kernel: ")).unwrap_or("newest");
            let seen = observe(file, kernel);
            let name = format!("{}.txt", path.file_stem().unwrap().to_str().unwrap());
            let expected = root.join("tests/observed").join(&name);
            if std::env::var_os("GUPFUZZ_BLESS").is_some() {
                fs::write(&expected, &seen).unwrap();
            }
            if fs::read_to_string(&expected).unwrap_or_default() != seen {
                wrong.push(format!("tests/observed/{name}: now\n{seen}"));
            }
            written.push(name);
        }
    }
    assert!(wrong.is_empty(), "{}\nGUPFUZZ_BLESS=1 cargo test --test observed writes it down", wrong.join("\n"));
    for entry in fs::read_dir(root.join("tests/observed")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(written.contains(&name), "tests/observed/{name}: no such program");
    }
}
