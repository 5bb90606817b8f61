// SPDX-License-Identifier: GPL-2.0-or-later
//! A thread with a search of its own.

use super::RunArgs;
use gupfuzz::fuzz::{Campaign, Counts, Found, Options, job_seed};
use gupfuzz::prog::Prog;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;

/// Programs between two looks at the world outside.
const SLICE: u64 = 256;

/// What jobs and their master share.
#[derive(Default)]
pub(super) struct Shared {
    /// All are to end.
    pub(super) stop: AtomicBool,
    /// What each has done so far.
    pub(super) progress: Vec<Mutex<Progress>>,
}

/// How far a job is.
#[derive(Clone, Copy, Default)]
pub(super) struct Progress {
    pub(super) counts: Counts,
    /// Programs it builds on, pairs it has reached, restarts.
    pub(super) state: (usize, u32, u32),
}

/// What a job tells its master.
pub(super) enum News {
    /// A violation that ends the search.
    Wanted(Box<Found>),
    /// A title not seen before, or a smaller program for one.
    Better(Box<Found>),
    /// It ended.
    Ended,
    /// The model is broken: this program makes it panic.
    Broken(Box<Prog>),
}

/// Searches until told to stop, its share of programs is run, or it finds what is looked for.
pub(super) fn search(args: &RunArgs, job: u16, share: u64, shared: &Shared, news: &Sender<News>) -> Campaign {
    let options = Options {
        until: args.until.clone(),
        without: args.without.iter().map(|op| op.nr).collect(),
        keep_going: args.keep_going,
        digest: args.digest,
        ..Options::default()
    };
    let mut campaign = Campaign::new(args.target, &args.kernel, job_seed(args.seed, job), options);
    let result = catch_unwind(AssertUnwindSafe(|| go_on(&mut campaign, usize::from(job), share, shared, news)));
    if result.is_err() {
        send(news, News::Broken(Box::new(campaign.prog().clone())));
    }
    send(news, News::Ended);
    campaign
}

fn go_on(campaign: &mut Campaign, job: usize, mut left: u64, shared: &Shared, news: &Sender<News>) {
    let mut told = BTreeMap::new();
    while left > 0 && !shared.stop.load(Ordering::Relaxed) {
        let slice = left.min(SLICE);
        let before = campaign.counts().violations;
        if let Some(found) = campaign.run(slice) {
            send(news, News::Wanted(Box::new(found.clone())));
            left = 0;
        } else if campaign.counts().violations > before {
            tell_better(campaign, &mut told, news);
        }
        left = left.saturating_sub(slice);
        if let Ok(mut progress) = shared.progress[job].lock() {
            *progress = Progress { counts: *campaign.counts(), state: campaign.state() };
        }
    }
}

/// Tells of programs that are smaller than those told of before, by title.
fn tell_better(campaign: &Campaign, told: &mut BTreeMap<String, usize>, news: &Sender<News>) {
    for (title, found) in campaign.found() {
        let size = found.prog.records.len();
        if told.get(title).is_none_or(|old| size < *old) {
            told.insert(title.clone(), size);
            send(news, News::Better(Box::new(found.clone())));
        }
    }
}

fn send(news: &Sender<News>, what: News) {
    // The master may have heard enough.
    _ = news.send(what);
}
