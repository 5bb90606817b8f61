// SPDX-License-Identifier: GPL-2.0-or-later
//! Pages out of the page cache.  Linux: mm/truncate.c.
//!
//! Kept:       whoever still references a page keeps it: it is nobody's file any more.  It is unmapped,
//!             not under writeback, without buffers and clean by then.
//! Left out:   parts of a page, invalidate_inode_pages2().

use super::address_space::dax_mapping;
use super::filemap::{filemap_get_folio, folio_wait_writeback};
use super::memory::unmap_mapping_range;
use super::mm_types::*;
use super::page_writeback::folio_cancel_dirty;
use super::swap::put_page;
use crate::kernel::{enter, mutex_lock, mutex_unlock, spin_lock, spin_unlock};
use crate::limits::FILE_PAGES;

/// Unmaps and removes what lies behind the end of a file, which is set.
///
/// Unmaps twice: a fault between the first unmapping and the removal may map a private copy again.
pub(crate) async fn truncate_pagecache(k: &Kernel, mapping: u8, size: u8) {
    unmap_mapping_range(k, mapping, size, FILE_PAGES as u8, true).await;
    truncate_inode_pages_range(k, mapping, size, FILE_PAGES as u8).await;
    unmap_mapping_range(k, mapping, size, FILE_PAGES as u8, true).await;
}

/// Unmaps and removes a part of a file; private copies stay.
pub(crate) async fn truncate_pagecache_range(k: &Kernel, mapping: u8, start: u8, end: u8) {
    unmap_mapping_range(k, mapping, start, end, false).await;
    truncate_inode_pages_range(k, mapping, start, end).await;
}

async fn truncate_inode_pages_range(k: &Kernel, mapping: u8, start: u8, end: u8) {
    for pgoff in start..end {
        truncate_inode_page(k, mapping, pgoff).await;
    }
}

/// Takes a page out of the page cache whoever else holds it.
async fn truncate_inode_page(k: &Kernel, mapping: u8, pgoff: u8) {
    enter!(k);
    if dax_mapping(mapping) {
        return dax_delete_mapping_entry(k, mapping, pgoff).await;
    }
    let Some(page) = filemap_get_folio(k, mapping, pgoff).await else {
        return;
    };
    mutex_lock(k, folio_lock(page.pfn)).await;
    if k.folio_mapping(page.pfn) == mapping {
        truncate_inode_folio(k, mapping, pgoff, page).await;
    }
    mutex_unlock(k, folio_lock(page.pfn));
    put_page(k, page).await;
}

/// Takes a locked page out of the page cache, which drops its reference.
pub(super) async fn truncate_inode_folio(k: &Kernel, mapping: u8, pgoff: u8, page: PageRef) {
    if let Some(ops) = k.a_ops(mapping) {
        folio_wait_writeback(k, page.pfn, mapping, pgoff).await;
        unmap_mapping_range(k, mapping, pgoff, pgoff + 1, false).await;
        ops.invalidate_folio(k, page).await;
    } else {
        unmap_mapping_range(k, mapping, pgoff, pgoff + 1, false).await;
    }
    folio_cancel_dirty(k, page.pfn).await;
    spin_lock(k, i_pages(mapping)).await;
    k.xa_store(mapping, pgoff, None);
    k.set_folio_mapping(page.pfn, mapping, None);
    spin_unlock(k, i_pages(mapping));
    put_page(k, page).await; // the page cache's
}

/// A file on dax forgets that a block is in memory, whoever references it.  Linux: fs/dax.c.
async fn dax_delete_mapping_entry(k: &Kernel, mapping: u8, pgoff: u8) {
    enter!(k);
    spin_lock(k, i_pages(mapping)).await;
    if let Some(page) = k.xa_load(mapping, pgoff) {
        k.xa_store(mapping, pgoff, None);
        k.set_folio_mapping(page.pfn, mapping, None);
    }
    spin_unlock(k, i_pages(mapping));
}
