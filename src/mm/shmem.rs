// SPDX-License-Identifier: GPL-2.0-or-later
//! Files in memory: a page cache and nothing behind it.  Linux: mm/shmem.c, mm/truncate.c.

use super::memory::unmap_mapping_range;
use super::mm_types::*;
use super::page_alloc::alloc_filled;
use super::page_ref::get_page;
use super::page_writeback::folio_cancel_dirty;
use super::swap::put_page;
use crate::kernel::{enter, mutex_lock, mutex_unlock, spin_lock, spin_unlock};
use crate::limits::*;
use crate::trace::Owner;

/// Finds or makes a page of a file and returns it with a reference.  Linux: shmem_getpage_gfp().
pub(crate) async fn shmem_fault(k: &Kernel, mapping: u8, pgoff: u8) -> VmFault {
    enter!(k);
    let mut spare = None;
    loop {
        spin_lock(k, i_pages(mapping)).await;
        if pgoff >= k.i_size_read(mapping) {
            spin_unlock(k, i_pages(mapping));
            return put_spare(k, spare, VmFault::Sigbus).await;
        }
        if let Some(page) = k.xa_load(mapping, pgoff) {
            get_page(k, page.pfn).await;
            spin_unlock(k, i_pages(mapping));
            return put_spare(k, spare, VmFault::Page(page)).await;
        }
        if let Some(page) = spare {
            // One reference for the page cache, one for the caller.
            k.xa_store(mapping, pgoff, Some(page));
            k.set_folio_mapping(page.pfn, mapping, true);
            get_page(k, page.pfn).await;
            spin_unlock(k, i_pages(mapping));
            return VmFault::Page(page);
        }
        spin_unlock(k, i_pages(mapping));
        spare = alloc_filled(k, Owner::File(mapping), 0).await;
        if spare.is_none() {
            return VmFault::Oom;
        }
    }
}

async fn put_spare(k: &Kernel, spare: Option<PageRef>, ret: VmFault) -> VmFault {
    if let Some(page) = spare {
        put_page(k, page).await;
    }
    ret
}

/// Shortens or lengthens a file to `size` pages: size first, then the mappings, then the page cache.
///
/// Unmaps twice: a fault between the first unmapping and the removal may map a page again.
pub(crate) async fn shmem_truncate(k: &Kernel, mapping: u8, size: u8) {
    enter!(k);
    spin_lock(k, i_pages(mapping)).await;
    let old = k.i_size_read(mapping);
    k.i_size_write(mapping, size);
    spin_unlock(k, i_pages(mapping));
    if size >= old {
        return;
    }
    unmap_mapping_range(k, mapping, size, FILE_PAGES as u8, true).await;
    for pgoff in size..FILE_PAGES as u8 {
        truncate_inode_page(k, mapping, pgoff).await;
    }
    unmap_mapping_range(k, mapping, size, FILE_PAGES as u8, true).await;
}

/// Takes a page out of the page cache whoever else holds it.  Linux: mm/truncate.c.
async fn truncate_inode_page(k: &Kernel, mapping: u8, pgoff: u8) {
    enter!(k);
    spin_lock(k, i_pages(mapping)).await;
    let found = k.xa_load(mapping, pgoff);
    spin_unlock(k, i_pages(mapping));
    let Some(page) = found else {
        return;
    };
    mutex_lock(k, folio_lock(page.pfn)).await;
    unmap_mapping_range(k, mapping, pgoff, pgoff + 1, false).await;
    folio_cancel_dirty(k, page.pfn).await;
    spin_lock(k, i_pages(mapping)).await;
    let ours = k.xa_load(mapping, pgoff) == Some(page);
    if ours {
        k.xa_store(mapping, pgoff, None);
        k.set_folio_mapping(page.pfn, mapping, false);
    }
    spin_unlock(k, i_pages(mapping));
    mutex_unlock(k, folio_lock(page.pfn));
    if ours {
        put_page(k, page).await;
    }
}
