// SPDX-License-Identifier: GPL-2.0-or-later
//! The page cache of files on a disk.  Linux: mm/filemap.c.
//!
//! Kept:       a page is locked until it is read; who finds it holds a reference and locks it to see
//!             whether it still is the file's.
//! Left out:   read-ahead, errors of the disk, read(2) and write(2).

use super::address_space::*;
use super::mm_types::*;
use super::page_alloc::alloc_pages;
use super::page_ref::{add, get_page};
use super::swap::put_page;
use crate::kernel::*;
use crate::limits::FILE_PAGES;
use crate::trace::{Access, Owner, Pfn, obj};
use std::ops::Range;

/// The page of a file, with a reference, if it is in memory.
pub(crate) async fn filemap_get_folio(k: &Kernel, mapping: u8, index: u8) -> Option<PageRef> {
    spin_lock(k, i_pages(mapping)).await;
    let found = k.xa_load(mapping, index);
    if let Some(page) = found {
        get_page(k, page.pfn).await;
    }
    spin_unlock(k, i_pages(mapping));
    found
}

/// The next page of a file that is in memory, of those in `range`, with a reference.  Linux: find_get_entries(), whose
/// walk passes what is not there.
pub(super) async fn find_get_entry(k: &Kernel, mapping: u8, range: Range<u8>) -> Option<(u8, PageRef)> {
    spin_lock(k, i_pages(mapping)).await;
    let found = k.xa_find(mapping, range);
    if let Some((_, page)) = found {
        get_page(k, page.pfn).await;
    }
    spin_unlock(k, i_pages(mapping));
    found
}

/// Finds or reads a page of a file and returns it with a reference.
pub(crate) async fn filemap_fault(k: &Kernel, mapping: u8, index: u8) -> VmFault {
    enter!(k);
    loop {
        if let Some(page) = filemap_get_folio(k, mapping, index).await {
            return VmFault::Page(page);
        }
        down_read(k, invalidate_lock(mapping)).await;
        let ret = filemap_create_folio(k, mapping, index).await;
        up_read(k, invalidate_lock(mapping));
        match ret {
            Err(VmFault::Retry) => {}
            Err(fault) => return fault,
            Ok(page) => return VmFault::Page(page),
        }
    }
}

/// Reads a page that is not in memory.
///
/// # Errors
/// VM_FAULT_OOM; VM_FAULT_SIGBUS: the file ends before it; VM_FAULT_RETRY: somebody was faster.
pub(crate) async fn filemap_create_folio(k: &Kernel, mapping: u8, index: u8) -> Result<PageRef, VmFault> {
    enter!(k);
    let page = alloc_pages(k, 0, false, Owner::File(mapping)).await.ok_or(VmFault::Oom)?;
    let locked = trylock(k, folio_lock(page.pfn)).await;
    assert!(locked, "nobody else knows the page");
    let added = filemap_add_folio(k, mapping, index, page).await;
    if added.is_ok()
        && let Some(ops) = k.a_ops(mapping)
    {
        ops.read_folio(k, page, index).await;
    }
    mutex_unlock(k, folio_lock(page.pfn));
    if added.is_err() {
        put_page(k, page).await;
    }
    added.map(|()| page)
}

/// Puts a locked page into the page cache, which takes a reference.
///
/// # Errors
/// As [`filemap_create_folio`].
async fn filemap_add_folio(k: &Kernel, mapping: u8, index: u8, page: PageRef) -> Result<(), VmFault> {
    enter!(k);
    spin_lock(k, i_pages(mapping)).await;
    let ret = if index >= k.i_size_read(mapping) {
        Err(VmFault::Sigbus)
    } else if k.xa_load(mapping, index).is_some() {
        Err(VmFault::Retry)
    } else {
        k.xa_store(mapping, index, Some(page));
        k.set_folio_mapping(page.pfn, mapping, Some(index));
        k.step(obj::page(page.pfn, 1), Access::Write, || {
            add(k, page.pfn, 1);
            k.folio_assign(page.pfn, PageFlags::LRU, true); // folio_add_lru()
        })
        .await;
        Ok(())
    };
    spin_unlock(k, i_pages(mapping));
    ret
}

/// The word that says that no request is under way for a page of a file.
pub(crate) fn file_word(mapping: u8, index: u8) -> u8 {
    WORD_FILE + (ext4_nr(mapping) * FILE_PAGES) as u8 + index
}

/// Waits until the disk has the page.  The caller holds the page's lock, or a reference.
pub(crate) async fn folio_wait_writeback(k: &Kernel, pfn: Pfn, mapping: u8, index: u8) {
    enter!(k);
    let under_way = || k.folio_test(pfn, PageFlags::WRITEBACK);
    while k.step(obj::page(pfn, 1), Access::Read, under_way).await {
        wait_event(k, file_word(mapping, index)).await;
    }
}
