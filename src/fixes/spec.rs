// SPDX-License-Identifier: GPL-2.0-or-later
//! The fixes that a kernel has, and how one writes a kernel down.

use super::{Entry, FIXES, Fix, Kind, Release};
use std::fmt;
use std::str::FromStr;

/// Releases one can name.
pub const RELEASES: &[Release] =
    &[Release(5, 7), Release(5, 10), Release(5, 12), Release(6, 1), Release(6, 12), Release(7, 2)];

/// Fixes of what a later release broke: before it there was nothing to fix.
const BROKEN_SINCE: &[(Fix, Release)] = &[
    // af28a988b313 mm/huge_memory: Convert __split_huge_pmd() to take a folio
    (Fix::SplitPmdMigration, Release(5, 18)),
    // 4eae4efa2c29 hugetlb: do early cow when page pinned on src mm
    (Fix::HugetlbForkWrprotect, Release(5, 12)),
    // 379989e7cbdc drm/ttm/pool: Fix ttm_pool_alloc error path
    (Fix::TtmPoolErrorFree, Release(6, 4)),
];

/// The fixes in force.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FixSet(u128);

impl FixSet {
    /// Whether a fix is in force; for a mutant: whether the order is wrong.
    #[inline]
    pub const fn has(self, fix: Fix) -> bool {
        self.0 >> fix as u8 & 1 != 0
    }

    /// With a fix more.
    pub const fn with(self, fix: Fix) -> FixSet {
        FixSet(self.0 | 1 << fix as u8)
    }

    /// With a fix less.
    pub const fn without(self, fix: Fix) -> FixSet {
        FixSet(self.0 & !(1 << fix as u8))
    }

    /// What a release had.
    pub const fn release(release: Release) -> FixSet {
        let mut set = FixSet(0);
        let mut i = 0;
        while i < FIXES.len() {
            if let Some(since) = FIXES[i].since
                && release.has(since)
            {
                set = set.with(FIXES[i].fix);
            }
            i += 1;
        }
        let mut i = 0;
        while i < BROKEN_SINCE.len() {
            if !release.has(BROKEN_SINCE[i].1) {
                set = set.with(BROKEN_SINCE[i].0);
            }
            i += 1;
        }
        set
    }

    /// The newest release with the `open` entries mended.
    pub const fn newest() -> FixSet {
        let mut set = FixSet::release(RELEASES[RELEASES.len() - 1]);
        let mut i = 0;
        while i < FIXES.len() {
            if matches!(FIXES[i].kind, Kind::Open) {
                set = set.with(FIXES[i].fix);
            }
            i += 1;
        }
        set
    }
}

impl Default for FixSet {
    fn default() -> FixSet {
        FixSet::newest()
    }
}

/// Pairs of which only one makes sense at a time.
const EXCLUDE: &[(Fix, Fix)] = &[
    (Fix::TtmMoveNoUnmap, Fix::TtmMoveUnmapLate),
    (Fix::TtmPfnMapDev, Fix::TtmOrderedPtes),
    (Fix::UserptrNoRetry, Fix::UserptrRetryUnlocked),
];
/// Pairs of which the first makes no sense without the second.
const REQUIRE: &[(Fix, Fix)] =
    &[(Fix::WpReuseExclusive, Fix::WpReuseRefcount), (Fix::UserptrMark, Fix::UserptrInterval)];
/// Entries that build on what a release took away, how that is called, and what a spec gives it back
/// with.  To take it away from an older release is to ask what happens then.
const ENDED: &[(Fix, &str, Fix)] = &[(Fix::TtmPfnMapDev, "devmap entries", Fix::NoDevmap)];

/// A kernel as one writes it, and what it has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spec {
    text: String,
    /// The fixes in force.
    pub fixes: FixSet,
}

impl Default for Spec {
    fn default() -> Spec {
        Spec { text: "newest".into(), fixes: FixSet::newest() }
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a spec is none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SpecError {
    /// The character of the text at which it goes wrong, from 0.
    pub at: usize,
    /// What was wrong and what was expected.
    pub message: String,
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for SpecError {}

/// The entry of a name.
pub fn entry_by_name(name: &str) -> Option<&'static Entry> {
    FIXES.iter().find(|e| e.name == name)
}

impl FromStr for Spec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Spec, SpecError> {
        let shown = |word: &str| word.chars().take(40).flat_map(char::escape_debug).collect::<String>();
        // A word is a part of the text: how far in, in characters.
        let place = |word: &str| text[..word.as_ptr().addr() - text.as_ptr().addr()].chars().count();
        let error = |word, message| SpecError { at: place(word), message };
        let mut words = text.split_ascii_whitespace();
        let Some(base) = words.next() else {
            return Err(error(text, "expected a kernel, for example `newest` or `v5.12`".into()));
        };
        let released = match RELEASES.iter().find(|r| r.to_string() == base) {
            Some(release) => FixSet::release(*release),
            None if base == "newest" => FixSet::newest(),
            None => {
                let known = RELEASES.iter().map(Release::to_string).collect::<Vec<_>>().join(", ");
                return Err(error(base, format!("no kernel is called `{}`; expected newest, {known}", shown(base))));
            }
        };
        let mut fixes = released;
        let mut named = Vec::new();
        for word in words {
            let (add, name) = match word.split_at_checked(1) {
                Some(("+", name)) => (true, name),
                Some(("-", name)) => (false, name),
                _ => return Err(error(word, format!("expected +FIX or -FIX, found `{}`", shown(word)))),
            };
            let Some(entry) = entry_by_name(name) else {
                let message = format!("no fix is called `{}`; `gupfuzz list fixes` has them all", shown(name));
                return Err(error(word, message));
            };
            if named.contains(&name) {
                return Err(error(word, format!("a second `{name}`, expected one")));
            }
            named.push(name);
            if fixes.has(entry.fix) == add {
                let has = if add { "has it already" } else { "does not have it" };
                return Err(error(word, format!("`{word}` changes nothing: `{base}` {has}")));
            }
            fixes = if add { fixes.with(entry.fix) } else { fixes.without(entry.fix) };
        }
        let name = |fix: Fix| FIXES[fix as usize].name;
        for &(a, b) in EXCLUDE {
            if fixes.has(a) && fixes.has(b) {
                return Err(error(base, format!("`{}` and `{}` exclude each other", name(a), name(b))));
            }
        }
        for &(a, b) in REQUIRE {
            if fixes.has(a) && !fixes.has(b) {
                return Err(error(base, format!("`{}` makes no sense without `{}`", name(a), name(b))));
            }
        }
        for &(a, what, end) in ENDED {
            if fixes.has(a) && fixes.has(end) && released.has(end) {
                let (a, end) = (name(a), name(end));
                return Err(error(base, format!("`{a}` needs {what}, which `{base}` has no more; add `-{end}`")));
            }
        }
        Ok(Spec { text: text.split_ascii_whitespace().collect::<Vec<_>>().join(" "), fixes })
    }
}
