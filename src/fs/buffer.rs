// SPDX-License-Identifier: GPL-2.0-or-later
//! Buffers: what a file system keeps of a page that it is to write.  Linux: fs/buffer.c.
//!
//! Kept:       buffers hold a reference of their page; they go with the page's lock held, when the page
//!             is clean and not under writeback.
//! Simplified: one buffer a page, as dirty as the page; what i_private_lock guards is one step.

use crate::kernel::enter;
use crate::mm::highmem::copy_user_highpage;
use crate::mm::migrate::{folio_migrate_mapping, folio_ref_count};
use crate::mm::swap::put_page;
use crate::mm::*;
use crate::trace::{Access, obj};

/// Gives a locked page its buffers, unless it has them.
pub(crate) async fn create_empty_buffers(k: &Kernel, page: PageRef) {
    enter!(k);
    k.step(obj::page(page.pfn, 1), Access::Write, || {
        if !k.folio_test(page.pfn, PageFlags::PRIVATE) {
            page_ref::add(k, page.pfn, 1);
            k.folio_assign(page.pfn, PageFlags::PRIVATE, true); // folio_attach_private()
        }
    })
    .await;
}

/// Takes the buffers of a locked page away; false: they are needed.
pub(crate) async fn try_to_free_buffers(k: &Kernel, page: PageRef) -> bool {
    enter!(k);
    let drop_buffers = || {
        let pfn = page.pfn;
        let busy = k.folio_test(pfn, PageFlags::WRITEBACK | PageFlags::DIRTY);
        let attached = k.folio_test(pfn, PageFlags::PRIVATE);
        if attached && !busy {
            k.folio_assign(pfn, PageFlags::PRIVATE, false); // folio_detach_private()
        }
        (attached, busy)
    };
    let (attached, busy) = k.step(obj::page(page.pfn, 1), Access::Write, drop_buffers).await;
    if attached && !busy {
        put_page(k, page).await;
    }
    !busy
}

/// Takes the buffers of a locked page away, what they hold is not needed any more.
pub(crate) async fn block_invalidate_folio(k: &Kernel, page: PageRef) {
    enter!(k);
    // discard_buffer()
    let discard = || {
        let attached = k.folio_test(page.pfn, PageFlags::PRIVATE);
        k.folio_assign(page.pfn, PageFlags::PRIVATE, false);
        attached
    };
    if k.step(obj::page(page.pfn, 1), Access::Write, discard).await {
        put_page(k, page).await;
    }
}

/// Copies a locked page that nobody maps, and gives the copy its place and its buffers; false: somebody else
/// references it.  Linux: mm/migrate.c.
///
/// A pin, a lookup in the page cache and writeback's look at the page all count.
pub(crate) async fn buffer_migrate_folio(k: &Kernel, dst: PageRef, src: PageRef) -> bool {
    enter!(k);
    let attached = || k.folio_test(src.pfn, PageFlags::PRIVATE);
    let attached = k.step(obj::page(src.pfn, 1), Access::Read, attached).await;
    // Ours, the page cache's, and that of the buffers.
    let refs = 2 + i32::from(attached);
    if folio_ref_count(k, src.pfn).await != refs {
        return false;
    }
    copy_user_highpage(k, dst, src).await;
    if !folio_migrate_mapping(k, dst, src, refs).await {
        return false;
    }
    if attached {
        create_empty_buffers(k, dst).await; // folio_attach_private(dst, folio_detach_private(src))
        block_invalidate_folio(k, src).await;
    }
    true
}
