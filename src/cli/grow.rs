// SPDX-License-Identifier: GPL-2.0-or-later
//! `grow`: a small corpus of short programs that reach much.

use super::out::{name, note, say};
use super::{Error, GrowArgs, Status, file};
use gupfuzz::fuzz::Growth;
use gupfuzz::prog::{Prog, Script};
use std::fs;

/// Searches, begins with what is given, and writes what is left when it is made small.
pub(super) fn grow(args: &GrowArgs) -> Result<Status, Error> {
    let told = |e| format!("{}: {e}", name(&args.out));
    fs::create_dir_all(&args.out).map_err(told)?;
    if fs::read_dir(&args.out).map_err(told)?.next().is_some() {
        return Err(format!("{}: expected an empty folder", name(&args.out)));
    }
    let mut growth = Growth::new(args.target, &args.kernel, args.seed);
    for path in &args.files {
        let (script, _) = file::read(path)?;
        growth.add(&script.prog);
    }
    let given = growth.sum();
    growth.search(args.runs);
    let searched = growth.sum();
    let (progs, sum) = growth.finish();
    for prog in &progs {
        let path = args.out.join(format!("{:016x}.prog", prog.hash64()));
        let script = Script { prog: prog.clone(), kernel: Some(args.kernel.to_string()), ..Script::default() };
        let text = format!("# Grown for {}: it reaches what no other of this folder does.\n{script}", args.target.name);
        fs::write(&path, text).map_err(|e| format!("{}: {e}", name(&path)))?;
    }
    let count = |prog: &Prog| prog.records.len();
    say!("given     {:>6} pairs, {:>6} programs", given.pairs, given.kept);
    say!("searched  {:>6} pairs, {:>6} programs", searched.pairs, searched.kept);
    say!("written   {:>6} pairs, {:>6} programs", sum.pairs, progs.len());
    say!("records a program {:.1}", progs.iter().map(count).sum::<usize>() as f64 / progs.len().max(1) as f64);
    if sum.unfit > 0 {
        note!("{} programs are left out: they show a violation, or do not end", sum.unfit);
    }
    Ok(Status::Silent)
}
