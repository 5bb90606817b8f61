// SPDX-License-Identifier: GPL-2.0-or-later
//! Pages out of the page cache.  Linux: mm/truncate.c.
//!
//! Kept:       whoever still references a page keeps it: it is nobody's file any more.  It is unmapped,
//!             not under writeback, without buffers and clean by then.
//!             A huge page is split if only a part of it goes; if somebody holds it, that part is cleared and stays.
//! Left out:   parts of a small page, invalidate_inode_pages2(), another walk for pages that came behind the first.

use super::address_space::dax_mapping;
use super::filemap::{find_get_entry, folio_wait_writeback};
use super::highmem::folio_zero_range;
use super::huge_memory::split_huge_page;
use super::memory::unmap_mapping_range;
use super::mm_types::*;
use super::page_writeback::folio_cancel_dirty;
use super::swap::{folio_put_refs, put_page};
use crate::kernel::{enter, mutex_lock, mutex_unlock, spin_lock, spin_unlock};
use crate::limits::{FILE_PAGES, HPAGE_PMD_NR};
use crate::trace::Pfn;
use std::ops::Range;

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
    if dax_mapping(mapping) {
        return dax_delete_mapping_entries(k, mapping, start..end).await;
    }
    let mut pgoff = start;
    while pgoff < end
        && let Some((index, page)) = find_get_entry(k, mapping, pgoff..end).await
    {
        pgoff = truncate_inode_page(k, mapping, index, page, start..end).await;
    }
}

/// Takes a page out of the page cache whoever else holds it; where to go on: there again, if it was of a huge page that
/// is split by now, or has left the file while we waited for it.
async fn truncate_inode_page(k: &Kernel, mapping: u8, pgoff: u8, page: PageRef, range: Range<u8>) -> u8 {
    enter!(k);
    let folio = PageRef { pfn: k.compound_head(page.pfn), ..page };
    let mut next = pgoff;
    mutex_lock(k, folio_lock(folio.pfn)).await;
    if k.folio_mapping(page.pfn) == mapping {
        let index = k.folio_index(folio.pfn);
        let end = index + (1 << k.folio_order(folio.pfn));
        if range.start <= index && end <= range.end {
            truncate_inode_folio(k, mapping, index, folio).await;
            next = end;
        } else if !truncate_inode_partial_folio(k, folio, index, range, page.pfn).await {
            next = end;
        }
    }
    mutex_unlock(k, folio_lock(folio.pfn));
    put_page(k, page).await;
    next
}

/// Clears the part of a huge page that lies in `range`, and splits it; false: somebody holds it, and so it stays.  The
/// caller's reference is that of page `keep` then.
async fn truncate_inode_partial_folio(k: &Kernel, folio: PageRef, index: u8, range: Range<u8>, keep: Pfn) -> bool {
    enter!(k);
    for i in (0..HPAGE_PMD_NR).filter(|&i| range.contains(&(index + i as u8))) {
        folio_zero_range(k, PageRef { pfn: folio.pfn.add(i), ..folio }).await;
    }
    split_huge_page(k, folio, keep).await.is_ok()
}

/// Takes a locked page out of the page cache, which drops its reference.
pub(super) async fn truncate_inode_folio(k: &Kernel, mapping: u8, pgoff: u8, page: PageRef) {
    let end = pgoff + (1 << k.folio_order(page.pfn));
    if let Some(ops) = k.a_ops(mapping) {
        folio_wait_writeback(k, page.pfn, mapping, pgoff).await;
        unmap_mapping_range(k, mapping, pgoff, end, false).await;
        ops.invalidate_folio(k, page).await;
    } else {
        unmap_mapping_range(k, mapping, pgoff, end, false).await;
    }
    folio_cancel_dirty(k, page.pfn).await;
    spin_lock(k, i_pages(mapping)).await;
    for (i, pgoff) in (pgoff..end).enumerate() {
        k.xa_store(mapping, pgoff, None);
        k.set_folio_mapping(page.pfn.add(i), mapping, None);
    }
    spin_unlock(k, i_pages(mapping));
    folio_put_refs(k, page, (end - pgoff).into()).await; // the page cache's
}

/// A file on dax forgets which blocks are in memory, whoever references them.  Linux: fs/dax.c, dax_delete_mapping_entry()
/// of one after the other.
async fn dax_delete_mapping_entries(k: &Kernel, mapping: u8, range: Range<u8>) {
    enter!(k);
    let mut pgoff = range.start;
    while pgoff < range.end {
        spin_lock(k, i_pages(mapping)).await;
        let found = k.xa_find(mapping, pgoff..range.end);
        if let Some((index, page)) = found {
            k.xa_store(mapping, index, None);
            k.set_folio_mapping(page.pfn, mapping, None);
        }
        spin_unlock(k, i_pages(mapping));
        pgoff = found.map_or(range.end, |(index, _)| index + 1);
    }
}
