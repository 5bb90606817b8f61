// SPDX-License-Identifier: GPL-2.0-or-later
//! Where in the model something happened.

use std::fmt;
use std::panic::Location;

/// A place in the source of the model.
///
/// Printed and compared by the path after the last `src/`, so that a trace does not depend on where
/// the crate was built.
#[derive(Clone, Copy)]
pub struct Site(&'static Location<'static>);

impl Site {
    /// The caller's place.
    #[track_caller]
    #[inline]
    pub const fn here() -> Site {
        Site(Location::caller())
    }

    /// The file, from its room on: `mm/gup.rs`.
    pub fn file(self) -> &'static str {
        let file = self.0.file();
        file.rfind("src/").map_or(file, |i| &file[i + 4..])
    }

    /// The line, from 1.
    pub fn line(self) -> u32 {
        self.0.line()
    }

    /// A number for the place: equal for equal places, whatever the machine and the build profile.
    #[inline]
    pub fn key(self) -> u32 {
        (self.hash_with(0) >> 32) as u32
    }

    /// The same for the place and something about it; the highest bits are the best.
    ///
    /// The last eight bytes of the path stand for the file, so that this costs no scan.
    #[inline]
    pub(crate) fn hash_with(self, state: u32) -> u64 {
        let file = self.0.file().as_bytes();
        let tail = match file.last_chunk::<8>() {
            Some(tail) => u64::from_le_bytes(*tail),
            None => file.len() as u64,
        };
        let place = u64::from(self.0.column()) << 32 | u64::from(self.0.line());
        (tail ^ u64::from(state) ^ place.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xff51_afd7_ed55_8ccd)
    }
}

impl PartialEq for Site {
    fn eq(&self, other: &Site) -> bool {
        std::ptr::eq(self.0, other.0)
            || (self.0.line(), self.0.column(), self.file()) == (other.0.line(), other.0.column(), other.file())
    }
}

impl Eq for Site {}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file(), self.0.line())
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file(), self.0.line(), self.0.column())
    }
}
