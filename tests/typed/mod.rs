// SPDX-License-Identifier: GPL-2.0-or-later
//! What tests of the command line share: programs, and folders to type in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) const QUIET: &str =
    "0: mmap(addr=va8, len=1, prot=r|w, map=anon)\n0: store(addr=va8, value=7)\n0: load(addr=va8)\n0: load(addr=va9)\n";

/// A pinned page is copied at a write fault, so that the device goes on writing into the old one.
pub(crate) const LOST: &str = "\
0: mmap(addr=va8, len=1, prot=r|w, map=anon)
0: store(addr=va8, value=1)
0: pin_user_pages(pins=g0, addr=va8, len=1, flags=write)
0: mprotect(addr=va8, len=1, prot=r)
0: mprotect(addr=va8, len=1, prot=r|w)
0: store(addr=va8, value=2)
0: pins_write(pins=g0, value=3)
0: load(addr=va8)
";
pub(crate) const LOST_KERNEL: &str = "newest -wp-exclusive";
pub(crate) const LOST_TITLE: &str = "lost-write in change_pte_range";

/// A folder of a test's own.
pub(crate) struct Dir(pub(crate) PathBuf);

impl Dir {
    pub(crate) fn new(test: &str) -> Dir {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli").join(test);
        _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Dir(path)
    }

    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        fs::write(self.0.join(name), content).unwrap();
        self
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(&self.0).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Runs gupfuzz in the folder: exit code, standard output, standard error.
    pub(crate) fn gupfuzz(&self, args: &[&str]) -> (i32, String, String) {
        let out = Command::new(env!("CARGO_BIN_EXE_gupfuzz")).current_dir(&self.0).args(args).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
    }
}

#[track_caller]
pub(crate) fn has(text: &str, part: &str) {
    assert!(text.contains(part), "{part:?} is not in:\n{text}");
}
