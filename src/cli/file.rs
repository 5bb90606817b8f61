// SPDX-License-Identifier: GPL-2.0-or-later
//! Reading programs from files.

use super::Error;
use super::out::{name, note};
use gupfuzz::fixes::Spec;
use gupfuzz::prog::{Place, Prog, Script};
use std::fs::File;
use std::io::Read;
use std::path::Path;

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

/// Writes what was made of `input` to another file: what it was made of is not to be lost.
pub(super) fn write(out: &Path, input: &Path, data: impl AsRef<[u8]>) -> Result<(), Error> {
    let real = |path: &Path| path.canonicalize().ok();
    if real(out).is_some_and(|out| Some(out) == real(input)) {
        return Err(format!("{}: expected another file than the input", name(out)));
    }
    std::fs::write(out, data).map_err(|e| format!("{}: {e}", name(out)))
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
