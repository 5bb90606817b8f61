// SPDX-License-Identifier: GPL-2.0-or-later
//! Telling how far a search is: a bar on a terminal, now and then a line elsewhere.

use super::job::Shared;
use super::out::note;
use indicatif::{ProgressBar, ProgressStyle};
use std::fmt::Arguments;
use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

/// Longest time between two lines.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// What is told, to standard error.
pub(super) struct Teller {
    bar: Option<ProgressBar>,
    begin: Instant,
    /// When the next line is due, and how long the one after that is to wait.
    next: Duration,
    pause: Duration,
    /// Programs and seconds after which it ends.
    runs: Option<u64>,
    time: Option<f64>,
}

impl Teller {
    /// For a search with these bounds.
    pub(super) fn new(runs: Option<u64>, time: Option<f64>) -> Teller {
        let bar = stderr().is_terminal().then(|| {
            let bounded = runs.is_some() || time.is_some();
            let bar = if bounded { ProgressBar::new(1000) } else { ProgressBar::no_length() };
            let form = if bounded { "{elapsed} [{bar:30}] {msg}" } else { "{elapsed} {spinner} {msg}" };
            bar.with_style(ProgressStyle::with_template(form).expect("a template"))
        });
        let pause = Duration::from_secs(1);
        Teller { bar, begin: Instant::now(), next: pause, pause, runs, time }
    }

    /// Time since the search began.
    pub(super) fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }

    /// Tells how far the jobs are, if that is due.
    pub(super) fn tick(&mut self, shared: &Shared) {
        let elapsed = self.elapsed();
        if self.bar.is_none() && elapsed < self.next {
            return;
        }
        let (mut programs, mut violations, mut corpus, mut pairs, mut restarts) = (0, 0, 0, 0, 0);
        for progress in &shared.progress {
            let Ok(progress) = progress.lock() else { continue };
            programs += progress.counts.programs;
            violations += progress.counts.violations;
            corpus += progress.state.0;
            pairs = pairs.max(progress.state.1);
            restarts += progress.state.2;
        }
        let seconds = elapsed.as_secs_f64();
        let rate = programs as f64 / seconds.max(0.001);
        let line = format!(
            "{programs} programs, {rate:.0} a second, {violations} violations, corpus {corpus}, pairs {pairs}, restarts {restarts}"
        );
        match &self.bar {
            Some(bar) => {
                let share = |done: f64, of: f64| done / of.max(f64::MIN_POSITIVE);
                let runs = self.runs.map_or(0.0, |runs| share(programs as f64, runs as f64));
                let time = self.time.map_or(0.0, |time| share(seconds, time));
                bar.set_position((runs.max(time).min(1.0) * 1000.0) as u64);
                bar.set_message(line);
                bar.tick();
            }
            None => {
                note!("{:4.0} s: {line}", seconds);
                self.next = elapsed + self.pause;
                self.pause = MAX_PAUSE.min(self.pause * 2);
            }
        }
    }

    /// A line of its own.
    pub(super) fn line(&self, text: Arguments<'_>) {
        match &self.bar {
            Some(bar) => bar.suspend(|| note!("{text}")),
            None => note!("{text}"),
        }
    }

    /// Nothing more is told.
    pub(super) fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
