// SPDX-License-Identifier: GPL-2.0-or-later
//! Files on dax: a mapping shows the blocks themselves.  Linux: fs/dax.c.
//!
//! Kept:       an entry of the page cache is a block; until v6.15 whoever maps it holds no reference; whoever takes
//!             blocks away unmaps them, and then looks who references them.
//! Simplified: invalidate_lock stands for the lock of an entry.
//! Left out:   huge faults, dirty entries, errors of the memory; that v6.15 forgets entries while it waits.

use crate::fixes::Fix;
use crate::kernel::{enter, spin_lock, spin_unlock};
use crate::limits::FILE_PAGES;
use crate::mm::memory::*;
use crate::mm::page_ref::get_page;
use crate::mm::*;
use crate::trace::{Access, Pfn, obj};

/// Maps the block behind a page of a file; a private copy of it for a write to a private mapping.
pub(super) async fn dax_iomap_fault(k: &Kernel, vma: &Vma, vmf: Vmf, block: PageRef) -> VmFault {
    enter!(k);
    if vmf.write && vma.flags.is_cow() {
        get_page(k, block.pfn).await;
        return VmFault::Page(block); // dax_fault_cow_page()
    }
    if k.fixed(Fix::NoDevmap) {
        return vmf_insert_page_mkwrite(k, vma, vmf.va, block.pfn, vmf.write).await;
    }
    vmf_insert_mixed_prot(k, vma, vmf.va, PfnT { pfn: block.pfn, dev: true, map: true }, vmf.write).await
}

/// Unmaps a file, and returns a block of it that somebody references all the same.
///
/// ```text
///   truncate                              GUP-fast
///                                         1. read the entry
///   a. unmap the file                     2. take a reference of the block
///   b. is a block referenced?             3. the entry is the same, or drop
/// ```
///
/// Either b sees 2, or 3 sees a.  No entry comes back: invalidate_lock is held.
pub(super) async fn dax_layout_busy_page(k: &Kernel, mapping: u8) -> Option<Pfn> {
    enter!(k);
    if !k.fixed(Fix::DaxUnmappedBusy) && !mapping_mapped(k, mapping).await {
        return None; // who has pinned a block and unmapped it is forgotten
    }
    let early = k.fixed(Fix::DaxLookFirst);
    let mut busy = if early { dax_busy_page(k, mapping).await } else { None };
    unmap_mapping_range(k, mapping, 0, FILE_PAGES as u8, false).await;
    if !early {
        busy = dax_busy_page(k, mapping).await;
    }
    busy
}

async fn dax_busy_page(k: &Kernel, mapping: u8) -> Option<Pfn> {
    enter!(k);
    let mut busy = None;
    spin_lock(k, i_pages(mapping)).await;
    for index in 0..FILE_PAGES as u8 {
        if let Some(page) = k.xa_load(mapping, index)
            && k.step(obj::page(page.pfn, 1), Access::Read, || k.page_count(page.pfn) > 1).await
        {
            busy = Some(page.pfn);
            break;
        }
    }
    spin_unlock(k, i_pages(mapping));
    busy
}
