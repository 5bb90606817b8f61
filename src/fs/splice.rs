// SPDX-License-Identifier: GPL-2.0-or-later
//! Pages of user space into a pipe, without a copy.  Linux: fs/splice.c.
//!
//! Kept:       plain references by the lockless path, not for writing, and no pin to this day.
//! Simplified: `repeat` splices of a page are one, with that many references.
//! Left out:   splice() between files, tee(), gifts.

use super::pipe::{PipeBuffer, PipeInodeInfo, pipe_buf_release};
use crate::kernel::{Errno, enter, mutex_lock, mutex_unlock};
use crate::mm::gup::{Foll, Pages, get_user_pages_fast};
use crate::mm::page_ref::folio_ref_add;
use crate::mm::*;

/// Puts `nr` pages from `start` of the current address space into a pipe, each `repeat` times;
/// returns how many there was room for.
///
/// # Errors
/// -EAGAIN: the pipe is full; those of get_user_pages() if no page was had.
pub(crate) async fn vmsplice_to_pipe(
    k: &Kernel,
    pipe: &PipeInodeInfo,
    start: u8,
    nr: u8,
    repeat: u32,
) -> Result<u32, Errno> {
    enter!(k);
    mutex_lock(k, pipe.mutex).await;
    pipe.open(k);
    let ret = match pipe.is_full(k) {
        true => Err(Errno::EAGAIN),
        false => iter_to_pipe(k, pipe, start, nr, repeat as i32).await,
    };
    mutex_unlock(k, pipe.mutex);
    ret
}

async fn iter_to_pipe(k: &Kernel, pipe: &PipeInodeInfo, start: u8, nr: u8, repeat: i32) -> Result<u32, Errno> {
    enter!(k);
    let mut pages = Pages::default();
    get_user_pages_fast(k, start, nr, Foll::GET, &mut pages).await?;
    let mut total = 0;
    for &page in pages.as_slice() {
        if pipe.is_full(k) {
            pipe_buf_release(k, PipeBuffer { page, refs: 1 }).await;
            continue;
        }
        let refs = if repeat > 1 && folio_ref_add(k, page.pfn, repeat - 1).await { repeat } else { 1 };
        pipe.push(k, PipeBuffer { page, refs });
        total += 1;
    }
    Ok(total)
}
