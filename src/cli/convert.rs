// SPDX-License-Identifier: GPL-2.0-or-later
//! `show` and `pack`: the two forms of a program.

use super::out::{name, note, print};
use super::{Error, Status, file};
use gupfuzz::prog::Script;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Prints a program as text, comments left out.
pub(super) fn show(path: &Path) -> Result<Status, Error> {
    let (script, _) = file::read(path)?;
    print(format_args!("{script}"));
    Ok(Status::Silent)
}

/// Writes the bytes of programs, and says what they do not hold: of one into a file, of several into a folder.
pub(super) fn pack(files: &[PathBuf], out: &Path) -> Result<Status, Error> {
    match files {
        [path] if !is_folder(out) => pack_one(path, out)?,
        _ => pack_all(files, out)?,
    }
    Ok(Status::Silent)
}

fn is_folder(out: &Path) -> bool {
    out.is_dir() || out.as_os_str().as_encoded_bytes().ends_with(b"/")
}

fn pack_one(path: &Path, out: &Path) -> Result<(), Error> {
    file::check_other(out, path)?;
    let packed = Packed::read(path)?;
    file::write(out, &packed.bytes)?;
    if !packed.dropped.is_empty() {
        note!("{}: dropped, as bytes hold none: {}", name(path), packed.dropped.join(", "));
    }
    note!("{}: {} records, {} bytes", name(out), packed.records, packed.bytes.len());
    Ok(())
}

/// A file has the name of its program, without `.prog`, which would be read as text.
fn pack_all(files: &[PathBuf], folder: &Path) -> Result<(), Error> {
    let mut all: BTreeMap<OsString, (&Path, Vec<u8>)> = BTreeMap::new();
    let mut dropped = BTreeSet::new();
    for path in files {
        let base = if path.extension().is_some_and(|e| e == "prog") { path.file_stem() } else { path.file_name() };
        let base = base.ok_or_else(|| format!("{}: expected a file", name(path)))?;
        file::check_other(&folder.join(base), path)?;
        let packed = Packed::read(path)?;
        dropped.extend(packed.dropped);
        match all.get(base) {
            Some((other, bytes)) if *bytes != packed.bytes => {
                return Err(format!("{}, {}: two programs, one name", name(other), name(path)));
            }
            _ => _ = all.insert(base.to_owned(), (path, packed.bytes)),
        }
    }
    std::fs::create_dir_all(folder).map_err(|e| match e.kind() {
        ErrorKind::AlreadyExists => format!("{}: expected a folder, not a file", name(folder)),
        _ => format!("{}: {e}", name(folder)),
    })?;
    for (base, (_, bytes)) in &all {
        file::write(&folder.join(base), bytes)?;
    }
    if !dropped.is_empty() {
        note!("dropped, as bytes hold none: {}", dropped.into_iter().collect::<Vec<_>>().join(", "));
    }
    let size: usize = all.values().map(|(_, bytes)| bytes.len()).sum();
    let programs = if all.len() == 1 { "program" } else { "programs" };
    note!("{}: {} {programs}, {size} bytes", name(folder), all.len());
    Ok(())
}

/// A program as bytes.
struct Packed {
    bytes: Vec<u8>,
    records: usize,
    /// What only its text has.
    dropped: Vec<&'static str>,
}

impl Packed {
    fn read(path: &Path) -> Result<Packed, Error> {
        let (script, is_text) = file::read(path)?;
        let mut dropped = dropped(&script);
        if is_text && std::fs::read_to_string(path).is_ok_and(|text| text.contains('#')) {
            dropped.push("comments");
        }
        Ok(Packed { bytes: script.prog.encode(), records: script.prog.records.len(), dropped })
    }
}

fn dropped(script: &Script) -> Vec<&'static str> {
    let headers = [
        ("`kernel:`", script.kernel.is_some()),
        ("`silent:`", !script.silent.is_empty()),
        ("`expect:`", script.expect.is_some()),
    ];
    headers.into_iter().filter(|(_, there)| *there).map(|(header, _)| header).collect()
}
