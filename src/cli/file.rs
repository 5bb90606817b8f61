// SPDX-License-Identifier: GPL-2.0-or-later
//! Reading programs from files.

use super::Error;
use super::out::{name, note};
use gupfuzz::fixes::Spec;
use gupfuzz::prog::{Place, Prog, Script};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

/// Largest text that is read, and how much of bytes.
const MAX_SIZE: u64 = 1 << 20;

/// Reads a program, text or bytes; warnings are told.
pub(super) fn read(path: &Path) -> Result<(Script, bool), Error> {
    let (data, more) = read_data(path)?;
    if !is_text(path, &data) {
        if more {
            note!("{}: warning: only the first {MAX_SIZE} bytes are read", name(path));
        }
        let script = Script { prog: Prog::decode(&data), ..Script::default() };
        warn_if_empty(path, &script);
        return Ok((script, false));
    }
    if more {
        return Err(format!("{}: more than {MAX_SIZE} bytes, expected a shorter text", name(path)));
    }
    let text = std::str::from_utf8(&data).map_err(|e| {
        let line = 1 + data[..e.valid_up_to()].iter().filter(|b| **b == b'\n').count();
        format!("{}:{line}: expected text, found bytes that are not UTF-8", name(path))
    })?;
    let script = Script::parse(text).map_err(|e| format!("{}:{}: {}", name(path), e.place, e.message))?;
    for warning in &script.warnings {
        note!("{}: warning: {warning}", name(path));
    }
    warn_if_empty(path, &script);
    Ok((script, true))
}

fn warn_if_empty(path: &Path, script: &Script) {
    if script.prog.calls().next().is_none() {
        note!("{}: warning: a program without calls", name(path));
    }
}

/// As much of a file as will be looked at, and whether there is more.
fn read_data(path: &Path) -> Result<(Vec<u8>, bool), Error> {
    let error = |e| format!("{}: {e}", name(path));
    let mut data = Vec::new();
    let file = File::open(path).map_err(error)?;
    file.take(MAX_SIZE + 1).read_to_end(&mut data).map_err(error)?;
    let more = data.len() as u64 > MAX_SIZE;
    data.truncate(MAX_SIZE as usize);
    Ok((data, more))
}

/// Whether a file is meant to be text.  Bytes of programs are full of zeros and other small numbers;
/// a text may have a control character or two by mistake, and is told so.
fn is_text(path: &Path, data: &[u8]) -> bool {
    let control = |b: &&u8| matches!(**b, 1..=8 | 11 | 12 | 14..=31 | 127);
    let utf8 = || match std::str::from_utf8(data) {
        Ok(_) => true,
        // Cut in the middle of a character.
        Err(e) => e.error_len().is_none(),
    };
    let looks = || !data.contains(&0) && data.iter().filter(control).count() <= data.len() / 32 && utf8();
    path.extension().is_some_and(|e| e == "prog") || looks()
}

/// Refuses a file that is the input: what something was made of is not to be lost.
pub(super) fn check_other(out: &Path, input: &Path) -> Result<(), Error> {
    let real = |path: &Path| path.canonicalize().ok();
    match real(out).is_some_and(|out| Some(out) == real(input)) {
        true => Err(format!("{}: expected another file than the input", name(out))),
        false => Ok(()),
    }
}

/// Writes a file, whole or not at all: until the new one is complete the old one stays.
pub(super) fn write(out: &Path, data: impl AsRef<[u8]>) -> Result<(), Error> {
    // A link stays a link.
    let path = out.canonicalize().unwrap_or_else(|_| out.to_owned());
    let old = fs::metadata(&path).ok();
    let written = match &old {
        // A device, a pipe: nothing to lose, and no other file is to stand in its place.
        Some(old) if !old.is_file() => fs::write(&path, data),
        _ => write_beside(&path, data.as_ref(), old.map(|old| old.permissions())),
    };
    written.map_err(|e| format!("{}: {e}", name(out)))
}

fn write_beside(path: &Path, data: &[u8], permissions: Option<Permissions>) -> io::Result<()> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let beside = path.with_file_name(format!(".gupfuzz-{}-{number}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).open(&beside)?;
    let put = || {
        file.write_all(data)?;
        permissions.map_or(Ok(()), |permissions| file.set_permissions(permissions))?;
        // Some file systems say only now that they are full.
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    put().inspect_err(|_| _ = fs::remove_file(&beside))
}

/// The kernel of the `kernel:` header, and those of the `silent:` header.
pub(super) fn kernels(path: &Path, script: &Script) -> Result<(Spec, Vec<Spec>), Error> {
    let parse = |header: &str, text: &str, place: &Place| {
        text.parse::<Spec>().map_err(|e| {
            let column = place.column + e.at;
            format!("{}:{}:{column}: {header}: {e}", name(path), place.line)
        })
    };
    let (at, silent_at) = &script.places;
    let kernel = script.kernel.as_ref().map(|text| parse("kernel", text, at)).transpose()?;
    let silent = script.silent.iter().zip(silent_at).map(|(text, at)| parse("silent", text, at));
    Ok((kernel.unwrap_or_default(), silent.collect::<Result<_, _>>()?))
}
