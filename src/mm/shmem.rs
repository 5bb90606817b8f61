// SPDX-License-Identifier: GPL-2.0-or-later
//! Files in memory: a page cache and nothing behind it.  Linux: mm/shmem.c.
//!
//! Simplified: huge pages come by khugepaged alone (/sys/kernel/mm/transparent_hugepage/shmem_enabled is `never`).

use super::mm_types::*;
use super::page_alloc::alloc_filled;
use super::page_ref::get_page;
use super::swap::put_page;
use super::truncate::*;
use crate::kernel::{enter, spin_lock, spin_unlock};
use crate::limits::FIRST_EXT4_FILE;
use crate::trace::Owner;

/// Whether a file is in shmem.
pub(crate) fn shmem_mapping(mapping: u8) -> bool {
    (mapping as usize) < FIRST_EXT4_FILE
}

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
            k.set_folio_mapping(page.pfn, mapping, Some(pgoff));
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
pub(crate) async fn shmem_truncate(k: &Kernel, mapping: u8, size: u8) {
    enter!(k);
    spin_lock(k, i_pages(mapping)).await;
    let old = k.i_size_read(mapping);
    k.i_size_write(mapping, size);
    spin_unlock(k, i_pages(mapping));
    if size >= old {
        return;
    }
    truncate_pagecache(k, mapping, size).await;
}

/// Takes pages `start..end` of a file away; private copies stay.  Linux: shmem_fallocate(), FALLOC_FL_PUNCH_HOLE.
pub(crate) async fn shmem_fallocate(k: &Kernel, mapping: u8, start: u8, end: u8) {
    enter!(k);
    truncate_pagecache_range(k, mapping, start, end).await;
}
