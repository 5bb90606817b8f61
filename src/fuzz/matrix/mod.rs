// SPDX-License-Identifier: GPL-2.0-or-later
//! Where must the check be?  Every kernel and every proposal against every path that takes a page away.
//!
//! A cell is a search of its own, of one path on one kernel: a function of these two, a seed and a
//! number of programs, whatever else is searched at the same time.

mod paths;

pub use paths::{KERNELS, PATHS, Path};

use super::{Campaign, Found, Options, minimize};
use crate::fixes::Spec;
use crate::prog::Script;
use std::fmt::Write;

/// Programs between two looks whether to go on.
const SLICE: u64 = 256;

/// What the search of a cell came to.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Executed interleavings, the one that shows a violation included.
    pub programs: u64,
    /// The first violation that counts on this path.
    pub found: Option<Found>,
    /// It ended before its time.
    pub interrupted: bool,
}

/// Searches one path on one kernel for so many programs; `go_on` is asked now and then.
pub fn cell(path: &'static Path, kernel: &Spec, seed: u64, programs: u64, go_on: &mut dyn FnMut() -> bool) -> Cell {
    let options = Options { only: path.only, ignored: path.ignored, ..Options::default() };
    let mut campaign = Campaign::new(&path.target, kernel, cell_seed(seed, path, kernel), options);
    let mut interrupted = false;
    while campaign.counts().programs < programs && campaign.wanted().is_none() && !interrupted {
        let left = programs - campaign.counts().programs;
        campaign.run(left.min(SLICE));
        interrupted = !go_on();
    }
    let found = campaign.wanted().cloned();
    Cell { programs: campaign.counts().programs, interrupted: interrupted && found.is_none(), found }
}

/// A seed for each cell.
fn cell_seed(seed: u64, path: &Path, kernel: &Spec) -> u64 {
    // FNV-1a
    let bytes = format!("{}@{kernel}", path.target.name).into_bytes();
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325 ^ seed, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

impl Cell {
    /// The program of the cell, made small as long as `go_on` says so, which is silent on newest if the
    /// one found is.
    pub fn script(&self, kernel: &Spec, go_on: &mut dyn FnMut() -> bool) -> Option<Script> {
        let Found { violation, prog, .. } = self.found.as_ref()?;
        let script = Script { prog: prog.clone(), expect: Some(violation.title()), ..Script::default() };
        Some(minimize(&script, kernel, &[Spec::default()], &mut |_| go_on())?.script)
    }
}

/// The table as Markdown: a row a kernel, a column a path; titles are letters that a list explains.
pub fn markdown(kernels: &[Spec], paths: &[&Path], cells: &[Vec<Option<Cell>>], programs: u64) -> String {
    let mut titles: Vec<String> = Vec::new();
    let mut text = String::from("| kernel |");
    paths.iter().for_each(|path| _ = write!(text, " {} |", path.target.name));
    text += "\n| --- |";
    text += &" --- |".repeat(paths.len());
    for (kernel, row) in kernels.iter().zip(cells) {
        _ = write!(text, "\n| `{kernel}` |");
        for cell in row {
            let cell = match cell {
                Some(Cell { found: Some(found), programs, .. }) => {
                    let title = found.violation.title();
                    let nr = titles.iter().position(|t| *t == title).unwrap_or_else(|| {
                        titles.push(title);
                        titles.len() - 1
                    });
                    format!("**{}** {programs}", letter(nr))
                }
                Some(Cell { interrupted: false, .. }) => "·".into(),
                _ => "?".into(),
            };
            _ = write!(text, " {cell} |");
        }
    }
    _ = write!(text, "\n\n`·` silent after {programs} programs; else what was found, and after how many:\n");
    for (nr, title) in titles.iter().enumerate() {
        _ = write!(text, "{} **{}** {title}", if nr == 0 { "" } else { "," }, letter(nr));
    }
    text + "\n"
}

/// `a` to `z`, then `aa` and so on.
fn letter(nr: usize) -> String {
    let last = char::from(b'a' + (nr % 26) as u8);
    match nr / 26 {
        0 => last.into(),
        more => letter(more - 1) + &last.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_go_on() {
        assert_eq!([0, 1, 25, 26, 27, 701, 702].map(letter), ["a", "b", "z", "aa", "ab", "zz", "aaa"]);
    }

    #[test]
    fn each_cell_has_a_seed() {
        let mut seeds = std::collections::BTreeSet::new();
        for kernel in KERNELS {
            let kernel = kernel.parse().unwrap();
            seeds.extend(PATHS.iter().flat_map(|path| [cell_seed(0, path, &kernel), cell_seed(1, path, &kernel)]));
        }
        assert_eq!(seeds.len(), KERNELS.len() * PATHS.len() * 2);
    }

    #[test]
    fn a_cell_depends_on_nothing_else() {
        let (path, kernel) = (PATHS.iter().find(|p| p.target.name == "TTM huge").unwrap(), "v5.12".parse().unwrap());
        let alone = cell(path, &kernel, 3, 20_000, &mut || true);
        let mut slices = 0;
        let again = cell(path, &kernel, 3, 20_000, &mut || {
            slices += 1;
            true
        });
        let found = |cell: &Cell| cell.found.as_ref().map(|found| (found.violation.title(), found.prog.clone()));
        assert!(found(&alone).is_some() && slices > 0);
        assert_eq!((found(&alone), alone.programs), (found(&again), again.programs));
        let script = alone.script(&kernel, &mut || true).unwrap();
        assert_eq!(script.expect, found(&alone).map(|found| found.0));
        let part = cell(path, &"newest".parse().unwrap(), 3, 20_000, &mut || false);
        assert!(part.interrupted && part.programs == SLICE);
    }
}
