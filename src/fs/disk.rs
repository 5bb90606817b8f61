// SPDX-License-Identifier: GPL-2.0-or-later
//! The disk: a device that reads and writes memory at a time of its own.  Linux: block/genhd.c, block/blk-mq.c.
//!
//! Kept:       a request is carried out any number of steps after its submission; the interrupt.
//! Simplified: one queue in order of arrival; a block is a page, and a page is one byte.
//! Left out:   the IOMMU: the device reaches any frame (may miss what an IOMMU would catch).

use super::bio::{Bio, bio_endio};
use super::ext4::page_io::{Ext4SbInfo, ext4_rq};
use crate::kernel::*;
use crate::limits::*;
use crate::mm::highmem::use_page;
use crate::mm::page_io::swap_rq;
use crate::mm::*;
use crate::trace::{Access, UseKind, obj};
use std::cell::Cell;

/// A disk, its queue and its requests.
#[derive(Debug)]
pub(crate) struct Gendisk {
    /// The bio_set.
    pub(super) bios: [Cell<Option<Bio>>; NR_BIOS],
    /// What the blocks hold.  Only the disk itself looks.
    media: [Cell<u8>; NR_BLOCKS],
}

impl Gendisk {
    pub(crate) fn new() -> Gendisk {
        Gendisk {
            bios: std::array::from_fn(|_| Cell::new(None)),
            media: std::array::from_fn(|block| Cell::new(written_at_the_factory(block))),
        }
    }

    pub(crate) fn reset(&self) {
        self.bios.iter().for_each(|b| b.set(None));
        self.media.iter().enumerate().for_each(|(block, m)| m.set(written_at_the_factory(block)));
    }

    /// The request in a slot that is in use.
    pub(super) fn bio(&self, slot: u8) -> Bio {
        self.bios[slot as usize].get().expect("whoever has the number owns the request")
    }
}

/// What a block holds at first: each something else, and nothing that a fresh page holds.
const fn written_at_the_factory(block: usize) -> u8 {
    0x40 + block as u8
}

/// The block that belongs to page `i` of a request; the disk ends where it begins.
const fn block_of(first: u8, i: usize) -> usize {
    (first as usize + i) % NR_BLOCKS
}

/// What the disk does for as long as the machine runs.
pub(crate) async fn disk_main(k: &Kernel, disk: &Gendisk, sb: &Ext4SbInfo) {
    loop {
        let Work { func, arg: slot, .. } = next_request(k).await;
        match func {
            WorkFunc::FileRead | WorkFunc::FileWrite => {
                ext4_rq(k, sb, func == WorkFunc::FileWrite, slot).await;
                continue;
            }
            WorkFunc::SwapRead | WorkFunc::SwapWrite => {
                swap_rq(k, func == WorkFunc::SwapWrite, slot).await;
                continue;
            }
            _ => {}
        }
        let bio = disk.bio(slot);
        for (i, &page) in bio.pages.as_slice().iter().enumerate() {
            let media = &disk.media[block_of(bio.block, i)];
            match bio.write {
                true => dma_read(k, page, media).await,
                false => dma_write(k, page, media).await,
            }
        }
        local_irq_save(k).await;
        bio_endio(k, disk, slot).await;
        local_irq_restore(k);
    }
}

/// The device writes a page of memory.
async fn dma_write(k: &Kernel, page: PageRef, media: &Cell<u8>) {
    enter!(k);
    let act = || use_page(k, page, UseKind::DmaWrite, Some(media.get()));
    k.step(obj::data(page.pfn), Access::Write, act).await;
}

/// The device reads a page of memory.
async fn dma_read(k: &Kernel, page: PageRef, media: &Cell<u8>) {
    enter!(k);
    let act = || media.set(use_page(k, page, UseKind::DmaRead, None));
    k.step(obj::data(page.pfn), Access::Read, act).await;
}

/// Waits until no request is in flight.  Nobody submits one any more.  Linux: block/blk-mq.c.
pub(crate) async fn blk_mq_freeze_queue(k: &Kernel, disk: &Gendisk) {
    enter!(k);
    for (slot, bio) in disk.bios.iter().enumerate() {
        if bio.get().is_some() {
            wait_event(k, WORD_BIO + slot as u8).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_wrap_around_the_end_of_the_disk() {
        let last = NR_BLOCKS as u8 - 1;
        assert_eq!([0, 1, 2].map(|i| block_of(last, i)), [NR_BLOCKS - 1, 0, 1]);
        assert!((0..NR_BLOCKS as u8).all(|b| (0..BIO_MAX_VECS).all(|i| block_of(b, i) < NR_BLOCKS)));
    }

    #[test]
    fn blocks_differ_and_none_is_zero() {
        let disk = Gendisk::new();
        let values: std::collections::BTreeSet<u8> = disk.media.iter().map(Cell::get).collect();
        assert_eq!((values.len(), values.first(), values.last()), (NR_BLOCKS, Some(&0x40), Some(&0x4f)));
    }
}
