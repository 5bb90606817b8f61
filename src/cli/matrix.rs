// SPDX-License-Identifier: GPL-2.0-or-later
//! `matrix`: which kernels and proposals lose a page to which path.

use super::interrupt::Interrupt;
use super::out::{error, name, note, print};
use super::save::{make_folder, write_new};
use super::{Error, MatrixArgs, Status, file};
use gupfuzz::fixes::Spec;
use gupfuzz::fuzz::matrix::{Cell, KERNELS, PATHS, Path, cell, markdown};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, stderr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// The table in the making.
struct Work<'a> {
    args: &'a MatrixArgs,
    kernels: &'a [Spec],
    paths: &'a [&'static Path],
    /// The next cell nobody works on.
    next: AtomicUsize,
    interrupt: Interrupt,
    cells: Vec<Mutex<Option<Cell>>>,
    /// What could not be written.
    errors: Mutex<Vec<Error>>,
    /// What is in a file of another name, for its own is taken.
    renamed: Mutex<Vec<String>>,
    bar: Option<ProgressBar>,
}

/// Searches every cell and prints the table.
pub(super) fn matrix(args: &MatrixArgs) -> Result<Status, Error> {
    let own = || KERNELS.iter().map(|kernel| kernel.parse().expect("a kernel")).collect();
    let kernels: Vec<Spec> = if args.kernel.is_empty() { own() } else { args.kernel.clone() };
    let paths: Vec<&Path> = if args.path.is_empty() { PATHS.iter().collect() } else { args.path.clone() };
    if let Some(out) = &args.out {
        make_folder(out)?;
    }
    let interrupt = Interrupt::catch()?;
    let number = kernels.len() * paths.len();
    let work = Work {
        args,
        kernels: &kernels,
        paths: &paths,
        next: AtomicUsize::new(0),
        interrupt,
        cells: (0..number).map(|_| Mutex::default()).collect(),
        errors: Mutex::default(),
        renamed: Mutex::default(),
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
        while !self.interrupt.pressed() {
            let nr = self.next.fetch_add(1, Ordering::Relaxed);
            if nr >= self.cells.len() {
                return;
            }
            let (kernel, path) = (&self.kernels[nr / self.paths.len()], self.paths[nr % self.paths.len()]);
            let go_on = &mut || !self.interrupt.pressed();
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
        let Some(script) = cell.script(kernel, &mut || !self.interrupt.pressed()) else { return };
        let stem = format!("{}@{kernel}", path.target.name).replace(' ', "_");
        let (list, text) = match write_new(out, &stem, &script.to_string()) {
            Err(error) => (&self.errors, error),
            Ok(saved) if saved.path.file_stem().is_some_and(|own| own != stem.as_str()) => {
                (&self.renamed, format!("{stem}.prog holds something else: wrote {}", name(&saved.path)))
            }
            Ok(_) => return,
        };
        if let Ok(mut list) = list.lock() {
            list.push(text);
        }
    }

    fn tell(self) -> Result<Status, Error> {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let cells: Vec<Option<Cell>> = self.cells.into_iter().map(|cell| cell.into_inner().unwrap_or(None)).collect();
        let rows: Vec<_> = cells.chunks(self.paths.len()).map(<[_]>::to_vec).collect();
        let text = markdown(self.kernels, self.paths, &rows, self.args.runs);
        if self.interrupt.pressed() {
            note!("interrupted: `?` are cells that were not searched to their end");
        }
        self.renamed.into_inner().unwrap_or_default().iter().for_each(|text| note!("{text}"));
        let mut errors = self.errors.into_inner().unwrap_or_default();
        let unsaved = self.args.table.as_ref().and_then(|table| file::write(table, &text).err());
        if self.args.table.is_none() || unsaved.is_some() {
            // Minutes of work are not lost for want of a file.
            print(format_args!("{text}"));
        }
        errors.extend(unsaved);
        errors.iter().for_each(|text| error(text));
        Ok(if errors.is_empty() { Status::Silent } else { Status::Unusable })
    }
}
