// SPDX-License-Identifier: GPL-2.0-or-later
//! `run`: searches on all cores.

use super::interrupt::Interrupt;
use super::job::{News, Shared, search};
use super::out::{name, note, print, say};
use super::progress::Teller;
use super::replay::again;
use super::save::{Folder, Saved};
use super::{Error, RunArgs, Status};
use gupfuzz::fuzz::{Campaign, Counts, Found, explain};
use gupfuzz::init::start_kernel;
use std::collections::BTreeMap;
use std::process::exit;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// How often the world outside is looked at.
const TICK: Duration = Duration::from_millis(50);

/// What a search came to.
struct Search<'a> {
    args: &'a RunArgs,
    folder: Folder<'a>,
    /// What ended it.
    wanted: Option<Box<Found>>,
    /// The smallest program by title.
    kept: BTreeMap<String, Kept>,
    interrupted: bool,
    /// The model has panicked.
    broken: bool,
}

/// A program that shows a violation.
struct Kept {
    found: Box<Found>,
    /// Its file; if it could not be written, why.
    file: Result<Saved, Error>,
}

/// Searches, and tells what was found.
pub(super) fn run(args: &RunArgs) -> Result<Status, Error> {
    if args.target.weights.iter().all(|(name, _)| args.without.iter().any(|op| op.name == *name)) {
        return Err(format!("--without leaves nothing that `{}` calls", args.target.name));
    }
    let interrupt = Interrupt::catch()?;
    let mut search = Search::new(args)?;
    let jobs = args.jobs.unwrap_or_else(|| thread::available_parallelism().map_or(1, |n| n.get().min(1024) as u16));
    note!("searching {} on {}, seed {}, {jobs} jobs", args.target.name, args.kernel, args.seed);

    let campaigns = search.go(jobs, &|| interrupt.pressed());
    Ok(search.tell(&campaigns))
}

/// What is left of a campaign when its thread has ended.
struct Ended {
    counts: Counts,
    /// How often each title was seen.
    titles: Vec<(String, u64)>,
}

impl From<Campaign> for Ended {
    fn from(campaign: Campaign) -> Ended {
        let titles = campaign.found().iter().map(|(title, found)| (title.clone(), found.count)).collect();
        Ended { counts: *campaign.counts(), titles }
    }
}

impl<'a> Search<'a> {
    fn new(args: &'a RunArgs) -> Result<Search<'a>, Error> {
        let folder = Folder::new(&args.out, &args.kernel)?;
        Ok(Search { args, folder, wanted: None, kept: BTreeMap::new(), interrupted: false, broken: false })
    }

    /// Runs the jobs to their end.
    fn go(&mut self, jobs: u16, interrupted: &dyn Fn() -> bool) -> Vec<Ended> {
        let shared = Shared { progress: (0..jobs).map(|_| Mutex::default()).collect(), ..Shared::default() };
        let (sender, news) = channel();
        thread::scope(|scope| {
            let args = self.args;
            let share = |job: u16| match args.runs {
                Some(runs) => runs / u64::from(jobs) + u64::from(u64::from(job) < runs % u64::from(jobs)),
                None => u64::MAX,
            };
            let threads: Vec<_> = (0..jobs)
                .map(|job| {
                    let (sender, shared, share) = (sender.clone(), &shared, share(job));
                    scope.spawn(move || Ended::from(search(args, job, share, shared, &sender)))
                })
                .collect();
            self.watch(jobs, &shared, &news, interrupted);
            shared.stop.store(true, Ordering::Relaxed);
            threads.into_iter().map(|t| t.join().unwrap_or_else(|_| exit(101))).collect()
        })
    }

    /// Listens to the jobs until they have ended; ends them when it is time.
    fn watch(&mut self, mut jobs: u16, shared: &Shared, news: &Receiver<News>, interrupted: &dyn Fn() -> bool) {
        let mut teller = Teller::new(self.args.runs, self.args.time);
        while jobs > 0 {
            match news.recv_timeout(TICK) {
                Ok(News::Ended) => jobs -= 1,
                Ok(News::Wanted(found)) => {
                    shared.stop.store(true, Ordering::Relaxed);
                    self.wanted.get_or_insert(found);
                }
                Ok(News::Better(found)) if self.args.keep_going => self.keep(found, &teller),
                Ok(News::Better(_)) => {}
                Ok(News::Broken(prog)) => {
                    shared.stop.store(true, Ordering::Relaxed);
                    self.broken = true;
                    match self.folder.save_broken(&prog) {
                        Ok(path) => teller.line(format_args!("the model is broken; the program is {}", name(&path))),
                        Err(error) => teller.line(format_args!("the model is broken; {error}; the program is\n{prog}")),
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => teller.tick(shared),
            }
            let late = self.args.time.is_some_and(|time| teller.elapsed().as_secs_f64() >= time);
            self.interrupted |= interrupted();
            if late || self.interrupted {
                shared.stop.store(true, Ordering::Relaxed);
            }
        }
        note_rate(teller, shared);
    }

    /// Keeps the smallest program of a title; of equal ones always the same.
    fn keep(&mut self, found: Box<Found>, teller: &Teller) {
        let title = found.violation.title();
        let rank = |found: &Found| (found.prog.records.len(), found.prog.encode());
        let file = match self.kept.remove(&title) {
            None => {
                let file = self.folder.save(&title, &found.prog);
                match &file {
                    Ok(saved) => teller.line(format_args!("found {title}: {}", name(&saved.path))),
                    Err(error) => teller.line(format_args!("found {title}: not saved: {error}")),
                }
                file
            }
            Some(old) if rank(&found) >= rank(&old.found) => {
                self.kept.insert(title, old);
                return;
            }
            Some(Kept { file: Ok(saved), .. }) => self.folder.replace(saved, &title, &found.prog),
            Some(Kept { file: Err(_), .. }) => self.folder.save(&title, &found.prog),
        };
        self.kept.insert(title, Kept { found, file });
    }

    /// Prints the result.
    fn tell(&self, jobs: &[Ended]) -> Status {
        let mut counts = Counts::default();
        let mut titles: BTreeMap<&str, u64> = BTreeMap::new();
        for job in jobs {
            counts.merge(&job.counts);
            for (title, count) in &job.titles {
                *titles.entry(title).or_default() += count;
            }
        }
        let same = self.wanted.as_ref().is_none_or(|found| self.report(found));
        print(format_args!("{counts}"));
        if self.args.digest {
            say!("digest                 {:016x}", counts.digest);
        }
        if self.wanted.is_none() || titles.len() > 1 {
            for (title, count) in &titles {
                let saved = self.kept.get(*title).and_then(|kept| kept.file.as_ref().ok());
                let file = saved.map(|saved| format!(", {}", name(&saved.path)));
                say!("{count:>12} times {title}{}", file.unwrap_or_default());
            }
        }
        for Kept { found, file } in self.kept.values() {
            if let Err(error) = file {
                self.print_unsaved(found, error);
            }
        }
        if self.broken || !same {
            return Status::Broken;
        }
        let end = if self.interrupted { "interrupted: " } else { "" };
        match (&self.wanted, &self.args.until) {
            (Some(_), _) => return Status::Violation,
            (None, Some(title)) => say!("{end}no violation with `{}` in its title", super::out::harmless(title)),
            (None, None) if titles.is_empty() => say!("{end}silent"),
            (None, None) => {
                say!("{end}{} different violations", titles.len());
                return Status::Violation;
            }
        }
        Status::Silent
    }

    /// Explains a violation and writes its program, in this order if that fails; `false`: it does not
    /// happen again.
    fn report(&self, found: &Found) -> bool {
        let title = found.violation.title();
        let saved = self.folder.save(&title, &found.prog);
        let path = saved.as_ref().map_or_else(|_| self.folder.first_path(&title), |saved| saved.path.clone());
        let mut computer = start_kernel(self.args.kernel.fixes);
        let (run, differs) = again(&mut computer, &found.prog, found.prog.seed, &title);
        if let Some(report) = explain(&run, &self.args.kernel, &path.to_string_lossy()) {
            print(format_args!("{report}"));
        }
        match saved {
            Ok(_) => say!("the program is {0}; `gupfuzz minimize {0}` makes it small", name(&path)),
            Err(error) => self.print_unsaved(found, &error),
        }
        differs.map(|differs| differs.tell(&path)).is_none()
    }

    /// A program that has no file shall not be lost.
    fn print_unsaved(&self, found: &Found, error: &str) {
        super::out::error(error);
        let title = found.violation.title();
        say!("the program could not be saved, it is\n\n{}", self.folder.text(Some(&title), &found.prog));
    }
}

/// The last word about speed, which is no result.
fn note_rate(teller: Teller, shared: &Shared) {
    let seconds = teller.elapsed().as_secs_f64();
    teller.end();
    let programs: u64 = shared.progress.iter().map(|p| p.lock().map_or(0, |p| p.counts.programs)).sum();
    note!("{programs} programs in {seconds:.1} s, {:.0} a second", programs as f64 / seconds.max(0.001));
}

#[cfg(test)]
mod tests {
    use super::super::{Cli, Command};
    use super::*;
    use clap::Parser;
    use gupfuzz::fixes::Spec;
    use gupfuzz::fuzz::Options;
    use gupfuzz::prog::{Prog, Script, target};
    use std::fs;
    use std::path::{Path, PathBuf};

    /// A folder of a test's own, and the arguments of a search that writes there.
    fn args(test: &str, kernel: &str) -> (PathBuf, RunArgs) {
        let folder = std::env::temp_dir().join(format!("gupfuzz-{}-{test}", std::process::id()));
        let out = folder.to_string_lossy().into_owned();
        let words = ["gupfuzz", "run", "mm", "--jobs=1", "--kernel", kernel, "--out", &out];
        let Command::Run(args) = Cli::parse_from(words).command else { unreachable!("it is run") };
        (folder, args)
    }

    fn is_saved(path: &Path, prog: &Prog) {
        let text = fs::read_to_string(path).unwrap();
        assert_eq!(&Script::parse(&text).unwrap().prog, prog, "{text}");
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    // There is no program that makes the model panic, or it would be mended; so a job panics for want of
    // a place for its progress, inside of what catches a panic of the model.
    #[test]
    fn the_program_of_a_panic_is_saved_and_is_a_bug_of_ours() {
        let (folder, args) = args("panic", "newest");
        let (sender, news) = channel();
        let shared = Shared::default();
        let campaign = search(&args, 0, u64::MAX, &shared, &sender);
        let mut search = Search::new(&args).unwrap();
        search.watch(1, &shared, &news, &|| false);
        assert!(search.broken && shared.stop.load(Ordering::Relaxed), "the others are to end");
        let prog = campaign.prog().clone();
        assert_eq!(search.tell(&[Ended::from(campaign)]).code(), 101);
        is_saved(&folder.join("panic.prog"), &prog);
    }

    // No program does that; one that was found on another kernel looks the same.
    #[test]
    fn what_does_not_happen_again_is_a_bug_of_ours() {
        let (folder, args) = args("again", "newest");
        let kernel: Spec = "v5.12".parse().unwrap();
        let mut campaign = Campaign::new(target("ttm").unwrap(), &kernel, 0, Options::default());
        let found = campaign.run(100_000).expect("v5.12 has bugs").clone();
        let title = found.violation.title();
        let mut search = Search::new(&args).unwrap();
        search.wanted = Some(Box::new(found.clone()));
        assert_eq!(search.tell(&[Ended::from(campaign)]).code(), 101);
        is_saved(&search.folder.first_path(&title), &found.prog);
        assert!(!folder.exists());
    }
}
