// SPDX-License-Identifier: GPL-2.0-or-later
//! `matrix`: which kernels and proposals lose a page to which path.

use super::out::{name, note, print};
use super::{Error, MatrixArgs, Status};
use gupfuzz::fixes::Spec;
use gupfuzz::fuzz::matrix::{Cell, KERNELS, PATHS, Path, cell, markdown};
use indicatif::{ProgressBar, ProgressStyle};
use std::fs;
use std::io::{IsTerminal, stderr};
use std::process::exit;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// The table in the making.
struct Work<'a> {
    args: &'a MatrixArgs,
    kernels: &'a [Spec],
    paths: &'a [&'static Path],
    /// The next cell nobody works on.
    next: AtomicUsize,
    stop: Arc<AtomicBool>,
    cells: Vec<Mutex<Option<Cell>>>,
    /// What could not be written.
    errors: Mutex<Vec<Error>>,
    bar: Option<ProgressBar>,
}

/// Searches every cell and prints the table.
pub(super) fn matrix(args: &MatrixArgs) -> Result<Status, Error> {
    let own = || KERNELS.iter().map(|kernel| kernel.parse().expect("a kernel")).collect();
    let kernels: Vec<Spec> = if args.kernel.is_empty() { own() } else { args.kernel.clone() };
    let paths: Vec<&Path> = if args.path.is_empty() { PATHS.iter().collect() } else { args.path.clone() };
    if let Some(out) = &args.out {
        fs::create_dir_all(out).map_err(|e| format!("{}: {e}", name(out)))?;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    ctrlc::set_handler(move || {
        if stopped.swap(true, Ordering::Relaxed) {
            exit(130);
        }
    })
    .map_err(|e| format!("cannot catch Ctrl-C: {e}"))?;

    let number = kernels.len() * paths.len();
    let work = Work {
        args,
        kernels: &kernels,
        paths: &paths,
        next: AtomicUsize::new(0),
        stop,
        cells: (0..number).map(|_| Mutex::default()).collect(),
        errors: Mutex::default(),
        bar: stderr().is_terminal().then(|| {
            let form = "{elapsed} [{bar:30}] {pos} of {len} cells, {eta} left";
            ProgressBar::new(number as u64).with_style(ProgressStyle::with_template(form).expect("a template"))
        }),
    };
    let jobs = args.jobs.map_or_else(|| thread::available_parallelism().map_or(1, |n| n.get()), usize::from);
    thread::scope(|scope| (0..jobs).for_each(|_| _ = scope.spawn(|| work.work())));
    work.tell()
}

impl Work<'_> {
    /// One cell after the other.
    fn work(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            let nr = self.next.fetch_add(1, Ordering::Relaxed);
            if nr >= self.cells.len() {
                return;
            }
            let (kernel, path) = (&self.kernels[nr / self.paths.len()], self.paths[nr % self.paths.len()]);
            let go_on = &mut || !self.stop.load(Ordering::Relaxed);
            let cell = cell(path, kernel, self.args.seed, self.args.runs, go_on);
            self.save(path, kernel, &cell);
            if let Ok(mut slot) = self.cells[nr].lock() {
                *slot = Some(cell);
            }
            if let Some(bar) = &self.bar {
                bar.inc(1);
            }
        }
    }

    /// Writes the program of a cell, if there is one.
    fn save(&self, path: &Path, kernel: &Spec, cell: &Cell) {
        let Some(out) = &self.args.out else { return };
        let Some(script) = cell.script(kernel) else { return };
        let stem = format!("{}@{kernel}", path.target.name).replace(' ', "_");
        let file = out.join(format!("{stem}.prog"));
        if let Err(error) = fs::write(&file, script.to_string())
            && let Ok(mut errors) = self.errors.lock()
        {
            errors.push(format!("{}: {error}", name(&file)));
        }
    }

    fn tell(self) -> Result<Status, Error> {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let cells: Vec<Option<Cell>> = self.cells.into_iter().map(|cell| cell.into_inner().unwrap_or(None)).collect();
        let rows: Vec<_> = cells.chunks(self.paths.len()).map(<[_]>::to_vec).collect();
        let text = markdown(self.kernels, self.paths, &rows, self.args.runs);
        if self.stop.load(Ordering::Relaxed) {
            note!("interrupted: `?` are cells that were not searched to their end");
        }
        match &self.args.table {
            Some(file) => fs::write(file, text).map_err(|e| format!("{}: {e}", name(file)))?,
            None => print(format_args!("{text}")),
        }
        let errors = self.errors.into_inner().unwrap_or_default();
        match errors.into_iter().next() {
            Some(error) => Err(error),
            None => Ok(Status::Silent),
        }
    }
}
