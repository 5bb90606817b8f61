// SPDX-License-Identifier: GPL-2.0-or-later
//! Reading programs from files.

use super::Error;
use super::out::{name, note};
use gupfuzz::fixes::Spec;
use gupfuzz::prog::{Prog, Script};
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
        return Ok((Script { prog: Prog::decode(&data), ..Script::default() }, false));
    }
    if more {
        return Err(format!("{}: more than {MAX_SIZE} bytes, expected a shorter text", name(path)));
    }
    let text = std::str::from_utf8(&data).map_err(|e| {
        let line = 1 + data[..e.valid_up_to()].iter().filter(|b| **b == b'\n').count();
        format!("{}:{line}: expected text, found bytes that are not UTF-8", name(path))
    })?;
    let script = Script::parse(text).map_err(|e| format!("{}:{}:{}: {}", name(path), e.line, e.column, e.message))?;
    for warning in &script.warnings {
        note!("{}: warning: {warning}", name(path));
    }
    Ok((script, true))
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

/// Whether a file is meant to be text.  Bytes of programs are full of zeros and begin with a version.
fn is_text(path: &Path, data: &[u8]) -> bool {
    let plain = |b: &u8| matches!(b, b'\t' | b'\n' | b'\r' | b' '..=b'~' | 0x80..=0xff);
    let utf8 = || match std::str::from_utf8(data) {
        Ok(_) => true,
        // Cut in the middle of a character.
        Err(e) => e.error_len().is_none(),
    };
    path.extension().is_some_and(|e| e == "prog") || data.iter().all(plain) && utf8()
}

/// The kernel of the `kernel:` header, and those of the `silent:` header.
pub(super) fn kernels(path: &Path, script: &Script) -> Result<(Spec, Vec<Spec>), Error> {
    let parse = |header: &str, line: usize, text: &String| {
        text.parse::<Spec>().map_err(|e| format!("{}:{line}: {header}: {e}", name(path)))
    };
    let [kernel_line, silent_line] = script.lines;
    let kernel = script.kernel.as_ref().map(|text| parse("kernel", kernel_line, text)).transpose()?;
    let silent = script.silent.iter().map(|text| parse("silent", silent_line, text)).collect::<Result<_, _>>()?;
    Ok((kernel.unwrap_or_default(), silent))
}
