// SPDX-License-Identifier: GPL-2.0-or-later
//! Which pages are dirty.  Linux: mm/page-writeback.c.
//!
//! Kept:       whoever dirties a page that may lose its mapping holds the page's lock.
//! Left out:   writeback, the file system's part in it, dirty limits.

use super::mm_types::*;
use crate::kernel::{enter, mutex_lock, mutex_unlock};
use crate::trace::{Access, Pfn, obj};
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
    k.step(obj::page(head, 1), Access::Write, move || k.folio_assign_dirty(head, true))
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
