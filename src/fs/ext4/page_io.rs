// SPDX-License-Identifier: GPL-2.0-or-later
//! Pages of files to the disk and back.  Linux: fs/ext4/page-io.c, fs/ext4/readpage.c.
//!
//! Simplified: a request is a page.

use super::dax::DaxBlocks;
use super::inode::Ext4Inode;
use crate::fs::bdev::BlockDevice;
use crate::kernel::*;
use crate::limits::*;
use crate::mm::address_space::ext4_nr;
use crate::mm::filemap::file_word;
use crate::mm::highmem::use_page;
use crate::mm::page_alloc::fill;
use crate::mm::*;
use crate::trace::{Access, UseKind, obj};
use std::cell::Cell;
use std::rc::Rc;

/// The file system: its blocks, and the requests for them.
#[derive(Debug, Default)]
pub(crate) struct Ext4SbInfo {
    /// Where its own blocks are in memory.
    pub(crate) bdev: Rc<BlockDevice>,
    /// The blocks of files on dax.
    pub(super) blocks: DaxBlocks,
    media: [Cell<u8>; NR_EXT4_FILES * FILE_PAGES],
    /// The page of each request under way.
    requests: [Cell<Option<PageRef>>; NR_EXT4_FILES * FILE_PAGES],
}

fn block_of(mapping: u8, index: u8) -> u8 {
    (ext4_nr(mapping) * FILE_PAGES) as u8 + index
}

impl Ext4SbInfo {
    pub(crate) fn reset(&self) {
        self.bdev.reset();
        self.blocks.reset();
        self.media.iter().for_each(|m| m.set(0));
        self.requests.iter().for_each(|r| r.set(None));
    }

    /// Takes the blocks of a part of a file away; no page of them is in memory.
    pub(super) fn free_blocks(&self, mapping: u8, start: u8, end: u8) {
        for index in start..end {
            self.media[block_of(mapping, index) as usize].set(0);
        }
    }
}

/// Begins to write a locked page that is clean.
pub(super) async fn ext4_bio_write_folio(k: &Kernel, sb: &Ext4SbInfo, mapping: u8, index: u8, page: PageRef) {
    enter!(k);
    let block = block_of(mapping, index);
    let touch = [Touch::write(obj::page(page.pfn, 1)), Touch::write(obj::word(file_word(mapping, index)))];
    let folio_start_writeback = || {
        k.folio_assign(page.pfn, PageFlags::WRITEBACK, true);
        clear_word(k, file_word(mapping, index));
        sb.requests[block as usize].set(Some(page));
    };
    k.step_on([touch[0], touch[1], Touch::default()], Wait::Ready, folio_start_writeback).await;
    submit_request(k, WorkFunc::FileWrite, block).await;
}

/// Fills a locked page, and waits for the disk.
pub(super) async fn ext4_read_folio(k: &Kernel, inode: &Ext4Inode, page: PageRef, index: u8) {
    enter!(k);
    let (block, word) = (block_of(inode.mapping, index), file_word(inode.mapping, index));
    k.step(obj::word(word), Access::Write, || {
        clear_word(k, word);
        inode.sb.requests[block as usize].set(Some(page));
    })
    .await;
    submit_request(k, WorkFunc::FileRead, block).await;
    wait_event(k, word).await;
}

/// What the disk does with either.
pub(crate) async fn ext4_rq(k: &Kernel, sb: &Ext4SbInfo, write: bool, block: u8) {
    enter!(k);
    let page = sb.requests[block as usize].take().expect("a request is of a page");
    let media = &sb.media[block as usize];
    if write {
        k.step(obj::data(page.pfn), Access::Read, || media.set(use_page(k, page, UseKind::DmaRead, None))).await;
    } else {
        k.step(obj::data(page.pfn), Access::Write, || fill(k, page, media.get())).await;
    }
    local_irq_save(k).await;
    // folio_end_writeback()
    let word = WORD_FILE + block;
    let end = || {
        k.folio_assign(page.pfn, PageFlags::WRITEBACK, false);
        wake_up(k, word);
    };
    let touch = [Touch::write(obj::page(page.pfn, 1)), Touch::write(obj::word(word)), Touch::default()];
    k.step_on(touch, Wait::Ready, end).await;
    local_irq_restore(k);
}
