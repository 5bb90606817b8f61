// SPDX-License-Identifier: GPL-2.0-or-later
//! Writing the programs that show violations.

use super::Error;
use super::out::name;
use gupfuzz::fixes::Spec;
use gupfuzz::prog::{Prog, Script};
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// A folder for programs.
pub(super) struct Folder<'a> {
    path: &'a Path,
    kernel: &'a Spec,
}

impl<'a> Folder<'a> {
    /// The folder, made if it is not there.
    pub(super) fn new(path: &'a Path, kernel: &'a Spec) -> Result<Folder<'a>, Error> {
        let told = |e| format!("{}: {e}", name(path));
        fs::create_dir_all(path).map_err(told)?;
        // Better now than when there is something to lose.
        let probe = path.join(format!(".gupfuzz-{}", std::process::id()));
        fs::write(&probe, "").and_then(|()| fs::remove_file(&probe)).map_err(told)?;
        Ok(Folder { path, kernel })
    }

    /// Writes a program that shows a violation under a name made from its title.
    pub(super) fn save(&self, title: &str, prog: &Prog) -> Result<PathBuf, Error> {
        self.write(title, &self.text(Some(title), prog))
    }

    /// Writes a program that makes the model panic.
    pub(super) fn save_broken(&self, prog: &Prog) -> Result<PathBuf, Error> {
        self.write("panic", &self.text(None, prog))
    }

    /// Replaces what [`Folder::save`] wrote by a better program.
    pub(super) fn replace(&self, path: &Path, title: &str, prog: &Prog) -> Result<(), Error> {
        fs::write(path, self.text(Some(title), prog)).map_err(|e| format!("{}: {e}", name(path)))
    }

    /// A file of that name that holds something else stays.
    fn write(&self, title: &str, text: &str) -> Result<PathBuf, Error> {
        let stem: String = title.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect();
        for n in 1.. {
            let path = self.path.join(if n == 1 { format!("{stem}.prog") } else { format!("{stem}-{n}.prog") });
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(mut file) => {
                    file.write_all(text.as_bytes()).map_err(|e| format!("{}: {e}", name(&path)))?;
                    return Ok(path);
                }
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                    if fs::read(&path).is_ok_and(|old| old == text.as_bytes()) {
                        return Ok(path);
                    }
                }
                Err(e) => return Err(format!("{}: {e}", name(&path))),
            }
        }
        unreachable!("numbers do not end")
    }

    fn text(&self, title: Option<&str>, prog: &Prog) -> String {
        let (kernel, expect) = (Some(self.kernel.to_string()), title.map(Into::into));
        Script { prog: prog.clone(), kernel, expect, ..Script::default() }.to_string()
    }
}
