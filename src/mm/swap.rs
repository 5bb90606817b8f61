// SPDX-License-Identifier: GPL-2.0-or-later
//! Dropping references to pages.  Linux: mm/swap.c, include/linux/mm.h.

use super::mm_types::*;
use super::page_alloc::free_the_page;
use super::page_ref::folio_put_testzero;
use crate::kernel::enter;

/// Drops a reference; the last one frees the page, or the whole compound page.
pub(crate) async fn put_page(k: &Kernel, page: PageRef) {
    enter!(k, for_caller);
    folio_put_refs(k, page, 1).await;
}

/// Drops `refs` references at once.
pub(crate) async fn folio_put_refs(k: &Kernel, page: PageRef, refs: i32) {
    if let Some(head) = folio_put_testzero(k, page, refs).await {
        free_the_page(k, head, k.folio_order(head)).await;
    }
}
