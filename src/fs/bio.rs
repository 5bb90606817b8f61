// SPDX-License-Identifier: GPL-2.0-or-later
//! Requests to the disk.  Linux: block/bio.c.
//!
//! Kept:       who holds the pages of a request, and who drops them: the submitter, the interrupt or
//!             the kworker; pages dirtied early are looked at again.
//! Simplified: a request is one bio of at most `BIO_MAX_VECS` pages; there are `NR_BIOS`.
//! Left out:   merging, splitting, errors of the disk.

use super::direct_io::dio_bio_complete;
use super::disk::Gendisk;
use crate::kernel::*;
use crate::mm::gup::{Pages, unpin_user_page};
use crate::mm::page_writeback::{page_dirty, set_page_dirty_lock};
use crate::mm::*;
use crate::trace::{Access, Event, Pin, obj};
use std::future::Future;

/// Who holds the pages of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Held {
    /// The bio itself, by such references.
    Bio(Pin),
    /// A registered buffer (BIO_NO_PAGE_REF); this word is set when none of its requests is left.
    Node(u8),
}

/// A request.  Only its present owner looks at it: submitter, disk, kworker, one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bio {
    pub(crate) pages: Pages,
    pub(crate) held: Held,
    /// REQ_OP_WRITE: memory to disk.
    pub(crate) write: bool,
    /// First block of the disk.
    pub(crate) block: u8,
    /// Nobody waits for it: the interrupt completes it.
    pub(crate) is_async: bool,
}

const IN_FLIGHT: u8 = 1;

/// Takes a slot for a request; `None`: all are in use.
#[track_caller]
pub(crate) fn bio_alloc<'k>(k: &'k Machine, disk: &'k Gendisk, bio: Bio) -> impl Future<Output = Option<u8>> {
    let touch = [Touch::write(obj::counter(IN_FLIGHT)), touch_node(bio.held), Touch::default()];
    k.step_on(touch, Wait::Ready, move || {
        let slot = disk.bios.iter().position(|b| b.get().is_none())? as u8;
        disk.bios[slot as usize].set(Some(bio));
        clear_word(k, WORD_BIO + slot); // nobody waits for a slot that is free
        if let Held::Node(word) = bio.held {
            clear_word(k, word);
        }
        Some(slot)
    })
}

/// The request is over: frees its slot, and its buffer if it was the last one of it.
#[track_caller]
pub(crate) fn bio_put<'k>(k: &'k Machine, disk: &'k Gendisk, slot: u8) -> impl Future<Output = ()> {
    let Bio { pages, held, write, .. } = disk.bio(slot);
    let touch = [Touch::write(obj::counter(IN_FLIGHT)), Touch::write(obj::word(WORD_BIO + slot)), touch_node(held)];
    k.step_on(touch, Wait::Ready, move || {
        disk.bios[slot as usize].set(None);
        k.emit(Event::Bio { slot, nr: pages.len(), write, done: true });
        wake_up(k, WORD_BIO + slot);
        match held {
            Held::Node(word) if !disk.bios.iter().flat_map(|b| b.get()).any(|b| b.held == held) => wake_up(k, word),
            _ => {}
        }
    })
}

fn touch_node(held: Held) -> Touch {
    match held {
        Held::Node(word) => Touch::write(obj::word(word)),
        Held::Bio(_) => Touch::default(),
    }
}

/// Hands a request to the disk.
#[track_caller]
pub(crate) fn submit_bio<'k>(k: &'k Machine, disk: &'k Gendisk, slot: u8) -> impl Future<Output = ()> {
    let Bio { pages, write, .. } = disk.bio(slot);
    k.step(obj::word(WORD_DISK), Access::Write, move || {
        queue_request(k, WorkFunc::Bio, slot);
        k.emit(Event::Bio { slot, nr: pages.len(), write, done: false });
    })
}

/// The disk has carried a request out.  Interrupt context.
pub(super) async fn bio_endio(k: &Kernel, disk: &Gendisk, slot: u8) {
    enter!(k);
    let bio = disk.bio(slot);
    match bio.held {
        _ if !bio.is_async => complete(k, WORD_BIO + slot).await,
        Held::Bio(_) => dio_bio_complete(k, disk, slot).await,
        Held::Node(_) => bio_put(k, disk, slot).await,
    }
}

/// Drops the pages of a request.
pub(super) async fn bio_release_pages(k: &Kernel, bio: &Bio, mark_dirty: bool) {
    enter!(k);
    let Held::Bio(pin) = bio.held else { return };
    for &page in bio.pages.as_slice() {
        if mark_dirty {
            set_page_dirty_lock(k, page.pfn).await;
        }
        unpin_user_page(k, page, pin).await;
    }
}

/// The disk is about to write into the pages: dirties them, as it cannot be done in the interrupt.
pub(super) async fn bio_set_pages_dirty(k: &Kernel, bio: &Bio) {
    enter!(k);
    for page in bio.pages.as_slice() {
        set_page_dirty_lock(k, page.pfn).await;
    }
}

/// The disk has written into the pages: drops them, if nobody has cleaned one meanwhile.
///
/// ```text
///   direct I/O                          truncate, writeback
///   1. dirty the page
///   2. submit                           a. take the page's lock
///      the disk writes                  b. clean the page
///   3. not dirty any more: the kworker
///      takes the lock and dirties it
/// ```
pub(super) async fn bio_check_pages_dirty(k: &Kernel, disk: &Gendisk, slot: u8) {
    enter!(k);
    let bio = disk.bio(slot);
    for page in bio.pages.as_slice() {
        if !page_dirty(k, page.pfn).await {
            queue_work(k, WorkFunc::BioDirty, slot).await;
            return;
        }
    }
    bio_release_pages(k, &bio, false).await;
    bio_put(k, disk, slot).await;
}

/// What the kworker does with such a request.
pub(crate) async fn bio_dirty_fn(k: &Kernel, disk: &Gendisk, slot: u8) {
    enter!(k);
    bio_release_pages(k, &disk.bio(slot), true).await;
    bio_put(k, disk, slot).await;
}
