// SPDX-License-Identifier: GPL-2.0-or-later
//! Which pages are dirty.  Linux: mm/page-writeback.c.
//!
//! Kept:       whoever dirties a page that may lose its mapping holds the page's lock.
//! Left out:   dirty limits, stable pages: DMA can change a page while the disk reads it.

use super::address_space::mapping_can_writeback;
use super::mm_types::*;
use super::rmap::folio_mkclean;
use crate::kernel::{enter, mutex_lock, mutex_unlock};
use crate::trace::{Access, Event, Pfn, obj};
use std::future::Future;

/// Dirties a page that the caller holds a reference of and nothing else.
pub(crate) async fn set_page_dirty_lock(k: &Kernel, pfn: Pfn) {
    enter!(k);
    let head = k.compound_head(pfn);
    mutex_lock(k, folio_lock(head)).await;
    set_page_dirty(k, head).await;
    mutex_unlock(k, folio_lock(head));
}

/// Dirties a page whose lock is held, or whose mapping cannot go: the lock of the page table that maps it is.
#[track_caller]
pub(crate) fn set_page_dirty(k: &Kernel, head: Pfn) -> impl Future<Output = ()> {
    k.step(obj::page(head, 1), Access::Write, move || {
        k.folio_assign_dirty(head, true);
        let Page { flags, mapping, .. } = k.peek_page(head);
        if !flags.contains(PageFlags::ANON) && mapping_can_writeback(mapping) {
            k.emit(Event::PageDirty { pfn: head, buffers: flags.contains(PageFlags::PRIVATE) });
        }
    })
}

/// Makes a locked page of a file clean, so that it can be written: it becomes dirty again by a write
/// fault of a mapping, or by whoever still references it.  False: it was clean.
///
/// ```text
///   writeback                           another CPU
///   1. entries: read-only, clean;
///      the page is dirty if one was
///   2. the page is clean                a. store: a fault, which waits for the page's lock
///   3. write it
/// ```
pub(crate) async fn folio_clear_dirty_for_io(k: &Kernel, page: PageRef) -> bool {
    enter!(k);
    if folio_mkclean(k, page).await {
        set_page_dirty(k, page.pfn).await;
    }
    k.step(obj::page(page.pfn, 1), Access::Write, || {
        let dirty = k.folio_test_dirty(page.pfn);
        k.folio_assign_dirty(page.pfn, false);
        k.emit(Event::PageClean { pfn: page.pfn });
        dirty
    })
    .await
}

/// Whether a locked page of a file holds what the disk does not; the dirty bits of entries become the page's.
pub(super) async fn folio_mkclean_dirty(k: &Kernel, page: PageRef) -> bool {
    if page_dirty(k, page.pfn).await {
        return true;
    }
    let dirty = mapping_can_writeback(k.folio_mapping(page.pfn)) && folio_mkclean(k, page).await;
    if dirty {
        set_page_dirty(k, page.pfn).await;
    }
    dirty
}

/// PageDirty(), without a lock.
#[track_caller]
pub(crate) fn page_dirty(k: &Kernel, pfn: Pfn) -> impl Future<Output = bool> {
    let head = k.compound_head(pfn);
    k.step(obj::page(head, 1), Access::Read, move || k.folio_test_dirty(head))
}

/// What a page holds need not be written any more: it leaves the page cache.
#[track_caller]
pub(crate) fn folio_cancel_dirty(k: &Kernel, pfn: Pfn) -> impl Future<Output = ()> {
    let head = k.compound_head(pfn);
    k.step(obj::page(head, 1), Access::Write, move || k.folio_assign_dirty(head, false))
}
