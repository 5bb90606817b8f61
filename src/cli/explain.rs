// SPDX-License-Identifier: GPL-2.0-or-later
//! `explain`: tells what a program did, whether it is a violation or not.

use super::out::{name, note, print, say};
use super::replay::run_twice;
use super::{Error, ExplainArgs, Status, file};
use gupfuzz::fuzz::story;
use gupfuzz::init::{Verdict, start_kernel};
use gupfuzz::report::{html, json, perfetto};
use gupfuzz::trace::Pfn;
use std::path::Path;

/// Runs a program once, and tells it as text, JSON, a page or a trace.
pub(super) fn explain(args: &ExplainArgs) -> Result<Status, Error> {
    for out in args.html.iter().chain(&args.trace) {
        file::check_other(out, &args.file)?;
    }
    let (script, _) = file::read(&args.file)?;
    let (own, _) = file::kernels(&args.file, &script)?;
    let kernel = args.kernel.clone().unwrap_or(own);
    let mut computer = start_kernel(kernel.fixes);
    let (run, differs) = run_twice(&mut computer, &script.prog, script.expect.as_deref());
    let story = story(&run, &kernel, &args.file.to_string_lossy(), args.pfn.map(Pfn));
    if let Some(out) = &args.html {
        write(out, &html::page(&story))?;
    }
    if let Some(out) = &args.trace {
        write(out, &perfetto::trace(&story))?;
    }
    match args.json {
        true => say!("{}", json::pretty(&story)),
        false => print(format_args!("{story}")),
    }
    if let Some(differs) = differs {
        return Ok(differs.tell(&args.file));
    }
    Ok(match run.outcome.verdict {
        Verdict::Violation(_) => Status::Violation,
        Verdict::Cut | Verdict::Silent => Status::Silent,
    })
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    file::write(path, text)?;
    note!("wrote {}", name(path));
    Ok(())
}
