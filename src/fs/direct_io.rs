// SPDX-License-Identifier: GPL-2.0-or-later
//! Direct I/O: the disk reads and writes the pages of user space.  Linux: fs/direct-io.c.
//!
//! Kept:       the lockless pin; who dirties and drops pages when: a synchronous request's submitter
//!             after the wait, an asynchronous one's interrupt or kworker.
//! Simplified: one request a call; a short pin is a short request.
//! Left out:   the file system, its page cache and its allocation of blocks.

use super::bio::*;
use super::disk::Gendisk;
use crate::fixes::Fix;
use crate::kernel::{Errno, WORD_BIO, enter, wait_event};
use crate::mm::gup::{Foll, Pages, get_user_pages_fast, unpin_user_pages};
use crate::mm::*;

/// What a call of read or write asks for.  Linux: struct kiocb, struct iov_iter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kiocb {
    /// Memory to disk.
    pub(crate) write: bool,
    /// First block.
    pub(crate) block: u8,
    /// First page of the address space, and how many.
    pub(crate) start: u8,
    pub(crate) nr: u8,
    /// Return after submission.
    pub(crate) is_async: bool,
}

/// Transfers pages between the current address space and the disk; returns how many.
///
/// # Errors
/// Those of get_user_pages() if no page was had; -EAGAIN: too many requests are in flight.
pub(crate) async fn do_blockdev_direct_io(k: &Kernel, disk: &Gendisk, iocb: Kiocb) -> Result<u32, Errno> {
    enter!(k);
    let Kiocb { write, block, is_async, .. } = iocb;
    let foll = if k.fixed(Fix::DioPin) { Foll::PIN } else { Foll::GET };
    let pages = bio_iov_iter_get_pages(k, iocb, foll).await?;
    let bio = Bio { pages, held: Held::Bio(foll.pin()), write, block, is_async };

    let Some(slot) = bio_alloc(k, disk, bio).await else {
        unpin_user_pages(k, &pages, foll.pin()).await;
        return Err(Errno::EAGAIN);
    };
    if is_async && !write {
        bio_set_pages_dirty(k, &bio).await;
    }
    submit_bio(k, disk, slot).await;
    if !is_async {
        dio_await_completion(k, disk, slot).await;
    }
    Ok(pages.len().into())
}

async fn bio_iov_iter_get_pages(k: &Kernel, iocb: Kiocb, foll: Foll) -> Result<Pages, Errno> {
    enter!(k);
    let foll = if iocb.write { foll } else { foll | Foll::WRITE };
    let mut pages = Pages::default();
    get_user_pages_fast(k, iocb.start, iocb.nr, foll, &mut pages).await?;
    Ok(pages)
}

async fn dio_await_completion(k: &Kernel, disk: &Gendisk, slot: u8) {
    enter!(k);
    wait_event(k, WORD_BIO + slot).await;
    dio_bio_complete(k, disk, slot).await;
}

/// Drops the pages of a request that the disk has carried out.  Interrupt context if asynchronous.
pub(super) async fn dio_bio_complete(k: &Kernel, disk: &Gendisk, slot: u8) {
    enter!(k);
    let bio = disk.bio(slot);
    let should_dirty = !bio.write;
    if bio.is_async && should_dirty {
        bio_check_pages_dirty(k, disk, slot).await; // the request is not ours any more
    } else {
        bio_release_pages(k, &bio, should_dirty).await;
        bio_put(k, disk, slot).await;
    }
}
