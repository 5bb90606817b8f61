// SPDX-License-Identifier: GPL-2.0-or-later
//! `minimize`: from a crash to a program one can read.

use super::interrupt::Interrupt;
use super::out::{harmless, name, note, print, say};
use super::replay::{Differs, run_twice, tell_nothing, word};
use super::{Error, MinimizeArgs, Status, file};
use gupfuzz::fixes::Spec;
use gupfuzz::fuzz::{Progress, minimize as make_small};
use gupfuzz::init::{Verdict, start_kernel};
use gupfuzz::prog::Script;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, stderr};

/// Makes a program small and writes it.
pub(super) fn minimize(args: &MinimizeArgs) -> Result<Status, Error> {
    // Not in place: the input may be all there is of a bug, and its comments have the picture of it.
    args.out.as_ref().map_or(Ok(()), |out| file::check_other(out, &args.file))?;
    let interrupt = Interrupt::catch()?;
    let (script, _) = file::read(&args.file)?;
    let (own, silent) = file::kernels(&args.file, &script)?;
    let kernel = args.kernel.clone().unwrap_or(own);

    let bar = stderr().is_terminal().then(|| {
        let style = ProgressStyle::with_template("{elapsed} {spinner} {msg}").expect("a template");
        ProgressBar::no_length().with_style(style)
    });
    let mut watch = |Progress { runs, best }: Progress<'_>| {
        if let Some(bar) = &bar {
            bar.set_message(format!("{runs} interleavings, {} calls left", best.calls().count()));
            bar.tick();
        }
        !interrupt.pressed()
    };
    let small = make_small(&script, &kernel, &silent, &mut watch);
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let Some(small) = small else { return Ok(tell_none(args, &script, &kernel, &interrupt)) };
    if interrupt.pressed() {
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
    let calls = |script: &Script| script.prog.calls().count();
    note!("{} of {} calls left after {} interleavings", calls(&small.script), calls(&script), small.runs);
    unsaved.map_or(Ok(Status::Violation), Err)
}

/// Says why there is nothing to minimize.
fn tell_none(args: &MinimizeArgs, script: &Script, kernel: &Spec, interrupt: &Interrupt) -> Status {
    let (run, differs) = run_twice(&mut start_kernel(kernel.fixes), &script.prog, script.title());
    if let Some(differs) = differs {
        return differs.tell(&args.file);
    }
    match (script.title(), &run.outcome.verdict) {
        (Some(title), _) if interrupt.pressed() => {
            say!("interrupted: no interleaving that was tried on {kernel} shows {}", harmless(title));
        }
        // What shows a violation can be minimized: it did not show it before.
        (_, Verdict::Violation(v)) => {
            let then = v.title();
            return Differs { first: "silent".into(), then }.tell(&args.file);
        }
        (_, verdict) => tell_nothing(verdict, kernel, "there is nothing to minimize"),
    }
    if script.expect.as_ref().is_some_and(|expect| *expect != word(&run.outcome.verdict)) {
        return Status::NotMet;
    }
    Status::Silent
}
