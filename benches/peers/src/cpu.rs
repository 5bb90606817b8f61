// SPDX-License-Identifier: GPL-2.0-or-later
//! CPU time, and what many measurements of one thing say.

use cpu_time::ProcessTime;
use std::time::Duration;

/// CPU seconds that `f` took.
pub fn seconds(f: impl FnOnce()) -> f64 {
    let start = ProcessTime::now();
    f();
    start.elapsed().as_secs_f64()
}

/// CPU time, looked at now and then.
pub struct Budget {
    start: ProcessTime,
    most: Duration,
    asked: u32,
    over: bool,
}

impl Budget {
    pub fn of(seconds: f64) -> Budget {
        Budget { start: ProcessTime::now(), most: Duration::from_secs_f64(seconds), asked: 0, over: false }
    }

    /// Whether it is used up: a system call in 16 questions.
    pub fn over(&mut self) -> bool {
        self.asked += 1;
        if self.asked.is_multiple_of(16) {
            self.over |= self.start.elapsed() >= self.most;
        }
        self.over
    }

    pub fn used(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }
}

/// Lower quartile, median, upper quartile.
#[derive(Clone, Copy)]
pub struct Spread(pub f64, pub f64, pub f64);

impl Spread {
    pub fn of(mut values: Vec<f64>) -> Spread {
        values.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = share * (values.len() - 1) as f64;
            let (low, high) = (values[place.floor() as usize], values[place.ceil() as usize]);
            low + (high - low) * place.fract()
        };
        if values.is_empty() { Spread(f64::NAN, f64::NAN, f64::NAN) } else { Spread(at(0.25), at(0.5), at(0.75)) }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = f.precision().unwrap_or(1);
        let text = format!("{:.digits$} [{:.digits$} {:.digits$}]", self.1, self.0, self.2);
        write!(f, "{text:<0$}", f.width().unwrap_or_default())
    }
}

/// Geometric mean.
pub fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (sum, n) = values.into_iter().fold((0.0, 0), |(sum, n), value| (sum + value.ln(), n + 1));
    (sum / f64::from(n)).exp()
}
