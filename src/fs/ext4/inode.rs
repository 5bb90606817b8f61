// SPDX-License-Identifier: GPL-2.0-or-later
//! Files: who is asked before a page is written to, and how it gets to the disk.
//! Linux: fs/ext4/inode.c, fs/ext4/extents.c, fs/ext4/fsync.c.
//!
//! Kept:       a page that is written to by a mapping has buffers; it is write-protected before it is
//!             written; blocks are taken away when no page of them is in memory and none can come in.
//! Simplified: every page of a file has its block from the start; a block that was taken away reads 0.
//! Left out:   the journal, delayed allocation, read(2) and write(2).

use super::dax::ext4_break_layouts;
use super::page_io::{Ext4SbInfo, ext4_bio_write_folio, ext4_read_folio};
use crate::fixes::Fix;
use crate::fs::bdev::bdev_open;
use crate::fs::buffer::*;
use crate::kernel::*;
use crate::limits::*;
use crate::mm::address_space::*;
use crate::mm::filemap::folio_wait_writeback;
use crate::mm::page_writeback::*;
use crate::mm::swap::put_page;
use crate::mm::truncate::*;
use crate::mm::*;
use crate::trace::{Access, Event, obj};
use std::rc::Rc;

/// A file.
pub(crate) struct Ext4Inode {
    pub(super) sb: Rc<Ext4SbInfo>,
    pub(super) mapping: u8,
}

impl AddressSpaceOperations for Ext4Inode {
    fn read_folio<'a>(&'a self, k: &'a Kernel, page: PageRef, index: u8) -> Boxed<'a, ()> {
        Box::pin(ext4_read_folio(k, self, page, index))
    }
    fn page_mkwrite<'a>(&'a self, k: &'a Kernel, page: PageRef) -> Boxed<'a, bool> {
        Box::pin(ext4_page_mkwrite(k, self.mapping, page))
    }
    fn release_folio<'a>(&'a self, k: &'a Kernel, page: PageRef) -> Boxed<'a, bool> {
        Box::pin(try_to_free_buffers(k, page))
    }
    fn migrate_folio<'a>(&'a self, k: &'a Kernel, dst: PageRef, src: PageRef) -> Boxed<'a, bool> {
        Box::pin(buffer_migrate_folio(k, dst, src))
    }
    fn invalidate_folio<'a>(&'a self, k: &'a Kernel, page: PageRef) -> Boxed<'a, ()> {
        Box::pin(block_invalidate_folio(k, page))
    }
}

/// Makes the files.
pub(crate) fn ext4_fill_super(k: &Kernel, sb: &Rc<Ext4SbInfo>) {
    bdev_open(k, &sb.bdev);
    for nr in 0..NR_EXT4_FILES {
        let mapping = (FIRST_EXT4_FILE + nr) as u8;
        k.set_a_ops(mapping, Rc::new(Ext4Inode { sb: sb.clone(), mapping }));
    }
}

/// Somebody is about to write to a page by a shared mapping: gives it buffers, dirties it, and waits until
/// the disk does not read it.  The page is locked afterwards; false: it is not the file's any more.
async fn ext4_page_mkwrite(k: &Kernel, mapping: u8, page: PageRef) -> bool {
    enter!(k);
    down_read(k, invalidate_lock(mapping)).await;
    mutex_lock(k, folio_lock(page.pfn)).await;
    let ours = k.folio_mapping(page.pfn) == mapping;
    if ours {
        // block_page_mkwrite()
        create_empty_buffers(k, page).await;
        k.emit(Event::PageMkwrite { pfn: page.pfn });
        set_page_dirty(k, page.pfn).await;
        folio_wait_writeback(k, page.pfn, mapping, k.folio_index(page.pfn)).await;
        queue_work(k, WorkFunc::Writeback, mapping).await; // __mark_inode_dirty()
    } else {
        mutex_unlock(k, folio_lock(page.pfn));
    }
    up_read(k, invalidate_lock(mapping));
    ours
}

/// Begins to write the dirty pages of a file; the flusher comes here, too.
pub(crate) async fn ext4_writepages(k: &Kernel, sb: &Ext4SbInfo, mapping: u8) {
    enter!(k);
    let mut next = 0;
    while let Some((index, page)) = filemap_get_folio_tag(k, mapping, next, PageFlags::DIRTY).await {
        next = index + 1;
        mutex_lock(k, folio_lock(page.pfn)).await;
        if k.folio_mapping(page.pfn) == mapping {
            folio_wait_writeback(k, page.pfn, mapping, index).await;
            if !has_buffers(k, page).await {
                // ext4_warning_inode(): nobody has asked us, there is nothing to write it to.
                folio_clear_dirty_for_io(k, page).await;
            } else if folio_clear_dirty_for_io(k, page).await {
                ext4_bio_write_folio(k, sb, mapping, index, page).await;
            }
        }
        mutex_unlock(k, folio_lock(page.pfn));
        put_page(k, page).await;
    }
}

/// Whether a locked page that is to be written has buffers: before v5.18 it must.
async fn has_buffers(k: &Kernel, page: PageRef) -> bool {
    let attached = || k.folio_test(page.pfn, PageFlags::PRIVATE);
    let attached = k.step(obj::page(page.pfn, 1), Access::Read, attached).await;
    if !attached && !k.fixed(Fix::Ext4WarnNoBuffers) {
        k.emit(Event::Bug { what: "bug-on-page-without-buffers", pfn: Some(page.pfn) });
    }
    attached
}

/// The next page of a file from `next` on that has such a flag, with a reference.  Linux: filemap_get_folios_tag().
async fn filemap_get_folio_tag(k: &Kernel, mapping: u8, next: u8, flag: PageFlags) -> Option<(u8, PageRef)> {
    if next == FILE_PAGES as u8 {
        return None;
    }
    spin_lock(k, i_pages(mapping)).await;
    let mut found = None;
    for index in next..FILE_PAGES as u8 {
        let Some(page) = k.xa_load(mapping, index) else { continue };
        let look = || {
            let flagged = k.folio_test(page.pfn, flag);
            if flagged {
                page_ref::add(k, page.pfn, 1);
            }
            flagged
        };
        if k.step(obj::page(page.pfn, 1), Access::Write, look).await {
            found = Some((index, page));
            break;
        }
    }
    spin_unlock(k, i_pages(mapping));
    found
}

/// Writes a file's dirty pages and waits for the disk.  Linux: file_write_and_wait_range().
pub(crate) async fn ext4_sync_file(k: &Kernel, sb: &Ext4SbInfo, mapping: u8) {
    enter!(k);
    ext4_writepages(k, sb, mapping).await;
    let mut next = 0;
    while let Some((index, page)) = filemap_get_folio_tag(k, mapping, next, PageFlags::WRITEBACK).await {
        next = index + 1;
        folio_wait_writeback(k, page.pfn, mapping, index).await;
        put_page(k, page).await;
    }
}

/// Sets the size of a file.
///
/// # Errors
/// Those of [`ext4_break_layouts`].
pub(crate) async fn ext4_setattr(k: &Kernel, sb: &Ext4SbInfo, mapping: u8, size: u8) -> Result<(), Errno> {
    enter!(k);
    down_write(k, i_rwsem(mapping)).await;
    down_write(k, invalidate_lock(mapping)).await;
    let ret = ext4_break_layouts(k, mapping).await;
    if ret.is_ok() {
        spin_lock(k, i_pages(mapping)).await;
        let old = k.i_size_read(mapping);
        k.i_size_write(mapping, size);
        spin_unlock(k, i_pages(mapping));
        if size < old {
            truncate_pagecache(k, mapping, size).await;
            ext4_free_blocks(k, sb, mapping, size, FILE_PAGES as u8).await;
        }
    }
    up_write(k, invalidate_lock(mapping));
    up_write(k, i_rwsem(mapping));
    ret
}

/// Blocks of a file are nobody's any more.  Linux: fs/ext4/mballoc.c.
async fn ext4_free_blocks(k: &Kernel, sb: &Ext4SbInfo, mapping: u8, start: u8, end: u8) {
    enter!(k);
    match dax_mapping(mapping) {
        true => sb.blocks.free(k, mapping, start, end).await,
        false => sb.free_blocks(mapping, start, end),
    }
}

/// Takes pages `start..end` of a file away (FALLOC_FL_PUNCH_HOLE); private copies stay.  Linux: ext4_fallocate().
///
/// # Errors
/// Those of [`ext4_break_layouts`].
pub(crate) async fn ext4_punch_hole(k: &Kernel, sb: &Ext4SbInfo, mapping: u8, start: u8, end: u8) -> Result<(), Errno> {
    enter!(k);
    down_write(k, i_rwsem(mapping)).await;
    down_write(k, invalidate_lock(mapping)).await;
    let ret = ext4_break_layouts(k, mapping).await;
    if ret.is_ok() {
        truncate_pagecache_range(k, mapping, start, end).await;
        ext4_free_blocks(k, sb, mapping, start, end).await;
    }
    up_write(k, invalidate_lock(mapping));
    up_write(k, i_rwsem(mapping));
    ret
}
