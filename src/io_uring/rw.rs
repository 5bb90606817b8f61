// SPDX-License-Identifier: GPL-2.0-or-later
//! Reads into registered buffers.  Linux: io_uring/rw.c.
//!
//! Kept:       a request takes no references of pages: it counts on the buffer's.
//! Simplified: one request a call, on the whole buffer.

use super::rsrc::{IoRingCtx, URING_LOCK, node};
use crate::fs::bio::{Bio, Held, bio_alloc, bio_put, submit_bio};
use crate::fs::disk::Gendisk;
use crate::kernel::*;
use crate::mm::*;

/// Lets the disk write blocks from `block` on into buffer `buf`; returns how many pages.
///
/// # Errors
/// -EBADF: there is no such buffer; -EAGAIN: too many requests are in flight.
pub(crate) async fn io_read_fixed(
    k: &Kernel,
    ctx: &IoRingCtx,
    disk: &Gendisk,
    buf: u8,
    block: u8,
    is_async: bool,
) -> Result<u32, Errno> {
    enter!(k);
    mutex_lock(k, URING_LOCK).await;
    let submitted = match ctx.user_buf(k, buf).get().filter(|imu| !imu.quiesce) {
        None => Err(Errno::EBADF),
        Some(imu) => {
            let held = Held::Node(node(buf));
            let bio = Bio { pages: imu.pages, held, write: false, block, is_async };
            let slot = bio_alloc(k, disk, bio).await.ok_or(Errno::EAGAIN);
            if let Ok(slot) = slot {
                submit_bio(k, disk, slot).await;
            }
            slot.map(|slot| (slot, imu.pages.len()))
        }
    };
    mutex_unlock(k, URING_LOCK);
    let (slot, nr) = submitted?;
    if !is_async {
        wait_event(k, WORD_BIO + slot).await;
        bio_put(k, disk, slot).await;
    }
    Ok(nr.into())
}
