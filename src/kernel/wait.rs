// SPDX-License-Identifier: GPL-2.0-or-later
//! Waiting for a word to be set.  Linux: kernel/sched/wait.c, swait.c.

use super::machine::Machine;
use super::pending::Wait;
use super::step::Touch;
use super::workqueue::{Work, WorkQueue};
use crate::limits::*;
use crate::trace::{Access, Event, obj};
use std::future::Future;

/// The disk has requests.
pub(crate) const WORD_DISK: u8 = 0;
/// The GPU has jobs.
pub(crate) const WORD_GPU: u8 = 1;
/// There are work items.
pub(crate) const WORD_KWORKER: u8 = 2;
/// There are RCU callbacks.  The four are in the order of their tasks.
pub(crate) const WORD_RCU: u8 = 3;
/// An I/O request is complete, by slot.
pub(crate) const WORD_BIO: u8 = 4;
/// A fence is signaled, by slot.
pub(crate) const WORD_FENCE: u8 = WORD_BIO + NR_BIOS as u8;
/// No request of a registered buffer is in flight, by slot of the buffer.
pub(crate) const WORD_RSRC: u8 = WORD_FENCE + 2 * NR_HANDLES as u8;

/// A page is back from the swap device, or there, by slot.
pub(crate) const WORD_SWAP: u8 = WORD_RSRC + NR_HANDLES as u8;
/// No job of an object of user memory is under way, by object.
pub(crate) const WORD_USERPTR: u8 = WORD_SWAP + NR_SWAP as u8;
/// No range of an address space invalidates anything, by address space.
pub(crate) const WORD_MMU_NOTIFIER: u8 = WORD_USERPTR + NR_HANDLES as u8;
/// A page of a file is read from the disk, or written, by file and page.
pub(crate) const WORD_FILE: u8 = WORD_MMU_NOTIFIER + NR_MMS as u8;

/// A block of the file system on dax is nobody's but the file's, by block.
pub(crate) const WORD_DAX: u8 = WORD_FILE + (NR_EXT4_FILES * FILE_PAGES) as u8;

const _: () = assert!(WORD_DAX as usize + NR_FSDAX <= NR_WAIT_WORDS);

/// Sets a word; belongs to the step before it.
pub(crate) fn wake_up(k: &Machine, word: u8) {
    k.set_word(word, 1);
}

/// Clears a word; belongs to the step before it.
pub(crate) fn clear_word(k: &Machine, word: u8) {
    k.set_word(word, 0);
}

/// Whether a word is set, as a step.
#[track_caller]
pub(crate) fn word_is_set(k: &Machine, word: u8) -> impl Future<Output = bool> {
    k.step(obj::word(word), Access::Read, move || k.words[word as usize].get() != 0)
}

/// Sets a word, as a step.
#[track_caller]
pub(crate) fn complete(k: &Machine, word: u8) -> impl Future<Output = ()> {
    k.step(obj::word(word), Access::Write, move || wake_up(k, word))
}

/// Sleeps until a word is set.
#[track_caller]
pub(crate) fn wait_event(k: &Machine, word: u8) -> impl Future<Output = ()> {
    k.emit(Event::MightSleep);
    k.step_on([Touch::read(obj::word(word)), Touch::default(), Touch::default()], Wait::Event(word), || ())
}

/// As [`wait_event`], for a task that may be interrupted: by a signal, which it gets when nobody else can run.
/// False: it was.
#[track_caller]
pub(crate) fn wait_event_interruptible(k: &Machine, word: u8) -> impl Future<Output = bool> {
    k.emit(Event::MightSleep);
    let touch = [Touch::read(obj::word(word)), Touch::default(), Touch::default()];
    k.step_on(touch, Wait::Interruptible(word), move || {
        k.clear_signal();
        k.words[word as usize].get() != 0
    })
}

/// A kernel task sleeps until its queue has something, and takes the oldest.
#[track_caller]
pub(crate) fn wait_for_work<'k>(k: &'k Machine, word: u8, queue: &'k WorkQueue) -> impl Future<Output = Work> {
    let touch = [Touch::write(obj::word(word)), Touch::default(), Touch::default()];
    k.step_on(touch, Wait::Event(word), move || {
        let work = queue.pop().expect("the word is set while there is work");
        if queue.is_empty() {
            clear_word(k, word);
        }
        k.begin_work(work);
        work
    })
}
