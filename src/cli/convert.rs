// SPDX-License-Identifier: GPL-2.0-or-later
//! `show` and `pack`: the two forms of a program.

use super::out::{name, note, print};
use super::{Error, Status, file};
use gupfuzz::prog::Script;
use std::path::Path;

/// Prints a program as text, comments left out.
pub(super) fn show(path: &Path) -> Result<Status, Error> {
    let (script, _) = file::read(path)?;
    print(format_args!("{script}"));
    Ok(Status::Silent)
}

/// Writes the bytes of a program, and says what they do not hold.
pub(super) fn pack(path: &Path, out: &Path) -> Result<Status, Error> {
    file::check_other(out, path)?;
    let (script, is_text) = file::read(path)?;
    let bytes = script.prog.encode();
    file::write(out, &bytes)?;
    let mut dropped = dropped(&script);
    if is_text && std::fs::read_to_string(path).is_ok_and(|text| text.contains('#')) {
        dropped.push("comments");
    }
    if !dropped.is_empty() {
        note!("{}: dropped, as bytes hold none: {}", name(path), dropped.join(", "));
    }
    note!("{}: {} records, {} bytes", name(out), script.prog.records.len(), bytes.len());
    Ok(Status::Silent)
}

fn dropped(script: &Script) -> Vec<&'static str> {
    let headers = [
        ("`kernel:`", script.kernel.is_some()),
        ("`silent:`", !script.silent.is_empty()),
        ("`expect:`", script.expect.is_some()),
    ];
    headers.into_iter().filter(|(_, there)| *there).map(|(header, _)| header).collect()
}
