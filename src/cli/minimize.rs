// SPDX-License-Identifier: GPL-2.0-or-later
//! `minimize`: from a crash to a program one can read.

use super::out::{name, note, print, say};
use super::{Error, MinimizeArgs, Status, file};
use gupfuzz::fuzz::{Progress, minimize as make_small};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, stderr};
use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// Makes a program small and writes it.
pub(super) fn minimize(args: &MinimizeArgs) -> Result<Status, Error> {
    // Not in place: the input may be all there is of a bug, and its comments have the picture of it.
    args.out.as_ref().map_or(Ok(()), |out| file::check_other(out, &args.file))?;
    let (script, _) = file::read(&args.file)?;
    let (own, silent) = file::kernels(&args.file, &script)?;
    let kernel = args.kernel.clone().unwrap_or(own);
    let interrupts = Arc::new(AtomicU8::new(0));
    let counter = Arc::clone(&interrupts);
    ctrlc::set_handler(move || {
        if counter.fetch_add(1, Ordering::Relaxed) > 0 {
            exit(130);
        }
    })
    .map_err(|e| format!("cannot catch Ctrl-C: {e}"))?;

    let bar = stderr().is_terminal().then(|| {
        let style = ProgressStyle::with_template("{elapsed} {spinner} {msg}").expect("a template");
        ProgressBar::no_length().with_style(style)
    });
    let mut watch = |Progress { runs, best }: Progress<'_>| {
        if let Some(bar) = &bar {
            bar.set_message(format!("{runs} interleavings, {} calls left", best.calls().count()));
            bar.tick();
        }
        interrupts.load(Ordering::Relaxed) == 0
    };
    let small = make_small(&script, &kernel, &silent, &mut watch);
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let Some(small) = small else {
        say!("silent on {kernel}: there is nothing to minimize");
        return Ok(if script.expect.is_some() { Status::NotMet } else { Status::Silent });
    };
    if interrupts.load(Ordering::Relaxed) > 0 {
        note!("interrupted: this is the best so far");
    }
    if let Some(expected) = script.expect.as_ref().filter(|title| Some(*title) != small.script.expect.as_ref()) {
        note!("{}: warning: it no longer shows {expected}", name(&args.file));
    }
    let unsaved = args.out.as_ref().and_then(|out| file::write(out, small.to_string()).err());
    if args.out.is_none() || unsaved.is_some() {
        // What took a while to find is not lost for want of a file.
        print(format_args!("{small}"));
    }
    let calls = |script: &gupfuzz::prog::Script| script.prog.calls().count();
    note!("{} of {} calls left after {} interleavings", calls(&small.script), calls(&script), small.runs);
    unsaved.map_or(Ok(Status::Violation), Err)
}
