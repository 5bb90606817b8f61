// SPDX-License-Identifier: GPL-2.0-or-later
//! Writing the programs that show violations.

use super::out::name;
use super::{Error, file};
use gupfuzz::fixes::Spec;
use gupfuzz::prog::{Prog, Script};
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// A program in a file.
pub(super) struct Saved {
    pub(super) path: PathBuf,
    /// Made by this run; else it was there, and held the same.
    ours: bool,
}

/// A folder for programs of a search on one kernel.
pub(super) struct Folder<'a> {
    path: &'a Path,
    kernel: &'a Spec,
}

/// Makes a folder if it is not there.
pub(super) fn make_folder(path: &Path) -> Result<(), Error> {
    let told = |e| format!("{}: {e}", name(path));
    fs::create_dir_all(path).map_err(told)?;
    // Better now than when there is something to lose.
    let probe = path.join(format!(".gupfuzz-{}", std::process::id()));
    fs::write(&probe, "").and_then(|()| fs::remove_file(&probe)).map_err(told)
}

/// A title as part of a file name.
fn stem(title: &str) -> String {
    title.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect()
}

/// `stem.prog`, `stem-2.prog` and so on.
fn numbered<'f>(folder: &'f Path, stem: String) -> impl Iterator<Item = PathBuf> + use<'f> {
    (1..).map(move |n| folder.join(if n == 1 { format!("{stem}.prog") } else { format!("{stem}-{n}.prog") }))
}

/// Writes a program; a file of its name that holds something else stays.
pub(super) fn write_new(folder: &Path, stem: &str, text: &str) -> Result<Saved, Error> {
    for path in numbered(folder, stem.into()) {
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(mut file) => {
                return match file.write_all(text.as_bytes()) {
                    Ok(()) => Ok(Saved { path, ours: true }),
                    Err(e) => {
                        // Half a program is none.
                        _ = fs::remove_file(&path);
                        Err(format!("{}: {e}", name(&path)))
                    }
                };
            }
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                if fs::read(&path).is_ok_and(|old| old == text.as_bytes()) {
                    return Ok(Saved { path, ours: false });
                }
            }
            Err(e) => return Err(format!("{}: {e}", name(&path))),
        }
    }
    unreachable!("numbers do not end")
}

impl<'a> Folder<'a> {
    /// The folder, made if it is not there.
    pub(super) fn new(path: &'a Path, kernel: &'a Spec) -> Result<Folder<'a>, Error> {
        make_folder(path)?;
        Ok(Folder { path, kernel })
    }

    /// Writes a program that shows a violation under a name made from its title.
    pub(super) fn save(&self, title: &str, prog: &Prog) -> Result<Saved, Error> {
        self.write(title, &self.text(Some(title), prog))
    }

    /// Writes a program that makes the model panic.
    pub(super) fn save_broken(&self, prog: &Prog) -> Result<PathBuf, Error> {
        Ok(self.write("panic", &self.text(None, prog))?.path)
    }

    /// The same for a better program; `old`, what was saved before, goes.
    pub(super) fn replace(&self, old: Saved, title: &str, prog: &Prog) -> Result<Saved, Error> {
        let text = self.text(Some(title), prog);
        if !old.ours || self.paths(title).map_while(|path| fs::read(path).ok()).any(|held| held == text.as_bytes()) {
            let new = self.write(title, &text)?;
            if old.ours {
                fs::remove_file(&old.path).map_err(|e| format!("{}: {e}", name(&old.path)))?;
            }
            return Ok(new);
        }
        file::write(&old.path, text)?;
        Ok(old)
    }

    /// Where the first program of a title goes.
    pub(super) fn first_path(&self, title: &str) -> PathBuf {
        self.paths(title).next().expect("numbers do not end")
    }

    /// Names made from a title.
    fn paths(&self, title: &str) -> impl Iterator<Item = PathBuf> {
        numbered(self.path, stem(title))
    }

    fn write(&self, title: &str, text: &str) -> Result<Saved, Error> {
        write_new(self.path, &stem(title), text)
    }

    /// A file for a program.
    pub(super) fn text(&self, title: Option<&str>, prog: &Prog) -> String {
        let (kernel, expect) = (Some(self.kernel.to_string()), title.map(Into::into));
        Script { prog: prog.clone(), kernel, expect, ..Script::default() }.to_string()
    }
}
