// SPDX-License-Identifier: GPL-2.0-or-later
//! `coverage`: which modelled functions and which conditions of fixes programs reach.

use super::list::columns;
use super::out::{note, say};
use super::{CoverageArgs, Error, Status, file};
use gupfuzz::fuzz::{Coverage, Place};
use std::collections::BTreeMap;

/// Every modelled function: where it says that it is entered, and its name.
static FUNCTIONS: &[(Place, &str)] = include!(concat!(env!("OUT_DIR"), "/functions.rs"));

/// Runs programs and prints what they reach, and what none does.
pub(super) fn coverage(args: &CoverageArgs) -> Result<Status, Error> {
    let mut coverage = Coverage::default();
    for path in &args.files {
        let (script, _) = file::read(path)?;
        let (own, _) = file::kernels(path, &script)?;
        coverage.add(&script.prog, args.kernel.as_ref().unwrap_or(&own));
    }
    tell_functions(&coverage);
    say!("");
    tell_fixes(&coverage);
    note!("of {} programs", args.files.len());
    Ok(Status::Silent)
}

/// A file and its functions.
#[derive(Default)]
struct Room {
    functions: usize,
    missing: Vec<&'static str>,
}

fn tell_functions(coverage: &Coverage) {
    let mut rooms: BTreeMap<&str, Room> = BTreeMap::new();
    for (place, name) in FUNCTIONS {
        let room = rooms.entry(place.0).or_default();
        room.functions += 1;
        if !coverage.functions().contains(place) {
            room.missing.push(name);
        }
    }
    let row = |file: &str, functions: usize, missing: &[&str]| {
        let reached = functions - missing.len();
        [file.into(), functions.to_string(), format!("{reached}"), missing.join(", ")]
    };
    let missing = rooms.values().map(|room| room.missing.len()).sum::<usize>();
    let all = ["all".into(), FUNCTIONS.len().to_string(), (FUNCTIONS.len() - missing).to_string(), String::new()];
    let rows = rooms.iter().map(|(file, room)| row(file, room.functions, &room.missing));
    columns(["file", "functions", "reached", "not reached"], rows.chain([all]));
}

fn tell_fixes(coverage: &Coverage) {
    let rows = coverage.fixes().iter().map(|fix| {
        let [on, other] = &fix.kernels;
        [fix.entry.name.into(), fix.told_apart.to_string(), fix.shown.to_string(), format!("`{on}` and `{other}`")]
    });
    let (mut told_apart, mut shown) = (0, 0);
    for fix in coverage.fixes() {
        told_apart += usize::from(fix.told_apart > 0);
        shown += usize::from(fix.shown > 0);
    }
    let all = format!("all {}", coverage.fixes().len());
    let last = [all, told_apart.to_string(), shown.to_string(), String::new()];
    columns(["fix", "told apart by", "shown by", "on"], rows.chain([last]));
}
