// SPDX-License-Identifier: GPL-2.0-or-later
//! Splitting a huge page itself, not only its entries.  Linux: mm/huge_memory.c.
//!
//! ```text
//!   split_huge_page                           munmap, MADV_DONTNEED
//!   a. references: ours and the entries'
//!                                             1. clear an entry
//!   b. the entry is none: pass on
//!                                             2. count the mapping down, unlock
//!   c. still mapped: a kernel BUG
//! ```
//!
//! So b takes the table's lock even to see that there is no entry (TTU_SYNC).
//!
//! Kept:       references are looked at, pages unmapped, references frozen, and all is mapped again.
//! Kept:       pages of a file are unmapped, and stay so; those behind its end are its no more.
//! Simplified: freeze, split and unfreeze are one step: nobody gets a page without references; page by page.
//! Left out:   pages of the swap cache; the locks of the pages that come into being: who faults
//!             at one of them tries until it is back.

use super::*;
use crate::kernel::{down_read, down_write, up_read, up_write};
use crate::mm::migrate::remove_migration_ptes_locked;
use crate::mm::mmap::find_vma;
use crate::mm::page_ref::add;
use crate::mm::pagewalk::{folio_walk_end, folio_walk_start};
use crate::mm::shmem::shmem_mapping;

/// Splits the huge pages behind pages `start..end` of the current address space; returns how many.
/// Linux: debugfs, split_huge_pages.
///
/// # Errors
/// -EAGAIN: a huge page is locked, or referenced by more than entries.
pub(crate) async fn split_huge_pages_pid(k: &Kernel, start: u8, end: u8) -> Result<u32, Errno> {
    enter!(k);
    let mm = k.current_mm();
    let (mut split, mut ret) = (0, Ok(0));
    down_read(k, mmap_lock(mm)).await;
    for va in start..end {
        let suitable = |vma: &Vma| vma.is_anonymous() || shmem_mapping(vma.mapping);
        let Some(vma) = find_vma(k, mm, va).filter(suitable) else {
            continue;
        };
        let Some(folio) = get_huge_page(k, &vma, va).await else {
            continue;
        };
        if !trylock(k, folio_lock(folio.pfn)).await {
            ret = Err(Errno::EAGAIN);
        } else {
            match split_huge_page(k, folio, folio.pfn).await {
                Ok(()) => split += 1,
                Err(errno) => ret = Err(errno),
            }
            mutex_unlock(k, folio_lock(folio.pfn));
        }
        put_page(k, folio).await;
    }
    up_read(k, mmap_lock(mm));
    if split > 0 { Ok(split) } else { ret }
}

/// The huge page behind `va`, with a reference.
async fn get_huge_page(k: &Kernel, vma: &Vma, va: u8) -> Option<PageRef> {
    let walk = folio_walk_start(k, vma, va).await;
    let found = walk.folio.filter(|folio| k.page_head(folio.pfn));
    if let Some(folio) = found {
        get_page(k, folio.pfn).await;
    }
    folio_walk_end(k, walk);
    found
}

/// Makes small pages of a huge one, which the caller has locked and holds: his reference is that of page `keep` then.
///
/// # Errors
/// -EAGAIN: somebody else holds it too.
pub(crate) async fn split_huge_page(k: &Kernel, folio: PageRef, keep: Pfn) -> Result<(), Errno> {
    split_huge_page_to_list(k, folio).await?;
    let head = folio.pfn;
    // Pages of files in memory are on no list here.
    let list = k.folio_test_anon(head);
    for page in (1..HPAGE_PMD_NR).map(|i| PageRef { pfn: head.add(i), ..folio }) {
        if list {
            k.step(obj::page(page.pfn, 1), Access::Write, || k.folio_assign(page.pfn, PageFlags::LRU, true)).await;
        }
        if page.pfn != keep {
            put_page(k, page).await;
        }
    }
    if keep != head {
        put_page(k, folio).await;
    }
    Ok(())
}

/// As [`split_huge_page`]; all pages are the caller's then, each with a reference and off the list.
///
/// # Errors
/// As there.
pub(crate) async fn split_huge_page_to_list(k: &Kernel, folio: PageRef) -> Result<(), Errno> {
    enter!(k);
    let head = folio.pfn;
    if !k.folio_test_anon(head) {
        return split_file_folio(k, folio).await;
    }
    let anon_vma = anon_vma_rwsem(k.folio_anon_vma(head).0);
    down_write(k, anon_vma).await;
    let mut split = k.page_head(head) && can_split_folio(k, head).await;
    if split {
        unmap_folio(k, folio).await;
        split = __split_huge_page(k, head, None).await;
        for i in 0..HPAGE_PMD_NR {
            let page = PageRef { pfn: head.add(i), ..folio };
            remove_migration_ptes_locked(k, page, page, anon_vma).await; // remap_page()
        }
    }
    up_write(k, anon_vma);
    if split { Ok(()) } else { Err(Errno::EAGAIN) }
}

/// As [`split_huge_page_to_list`], of a page that is a file's.
async fn split_file_folio(k: &Kernel, folio: PageRef) -> Result<(), Errno> {
    let (head, mapping) = (folio.pfn, k.folio_mapping(folio.pfn));
    if !k.page_head(head) || mapping == NO_MAPPING {
        return Err(Errno::EBUSY);
    }
    let i_mmap = i_mmap_rwsem(mapping);
    down_read(k, i_mmap).await;
    let mut split = can_split_folio(k, head).await;
    if split {
        for i in 0..HPAGE_PMD_NR {
            try_to_unmap_locked(k, PageRef { pfn: head.add(i), ..folio }, i_mmap).await;
        }
        spin_lock(k, i_pages(mapping)).await;
        split = __split_huge_page(k, head, Some(mapping)).await;
        spin_unlock(k, i_pages(mapping));
    }
    up_read(k, i_mmap);
    if split { Ok(()) } else { Err(Errno::EAGAIN) }
}

/// The references of the page cache: one a page of a file.
fn extra_pins(k: &Kernel, head: Pfn) -> i32 {
    if k.folio_test_anon(head) { 0 } else { HPAGE_PMD_NR as i32 }
}

/// Whether nobody but entries, the page cache and the caller references it.
pub(crate) async fn can_split_folio(k: &Kernel, head: Pfn) -> bool {
    enter!(k);
    let expected = folio_mapcount(k, head).await + extra_pins(k, head) + 1;
    k.step(obj::page(head, 1), Access::Read, || k.page_count(head)).await == expected
}

/// Leaves become ptes, and these migration entries.
async fn unmap_folio(k: &Kernel, folio: PageRef) {
    enter!(k);
    let rwsem = anon_vma_rwsem(k.folio_anon_vma(folio.pfn).0);
    let mut after = None;
    while let Some((vma, va)) = rmap_walk_next(k, folio.pfn, 1, rwsem, after) {
        after = Some(rmap_order(k, &vma));
        let p = PmdPtr::of(vma.mm, va);
        let pmd = pmdp_get_lockless(k, p).await;
        if pmd.is_leaf() && pmd.pfn() == folio.pfn || pmd.is_migration() {
            __split_huge_pmd(k, &vma, p, Some(folio.pfn)).await;
        }
    }
    for i in 0..HPAGE_PMD_NR {
        try_to_migrate_locked(k, PageRef { pfn: folio.pfn.add(i), ..folio }).await;
    }
    if !k.fixed(Fix::TtuSync) && folio_mapcount(k, folio.pfn).await != 0 {
        k.emit(Event::Bug { what: "vm-bug-on-page-still-mapped", pfn: Some(folio.pfn) });
    }
}

/// Each page gets a reference count of its own, if the one of all is the caller's and the page cache's alone; `mapping`:
/// whose page it is, if it is a file's.
#[track_caller]
fn __split_huge_page(k: &Kernel, head: Pfn, mapping: Option<u8>) -> impl Future<Output = bool> {
    k.step(obj::page(head, HPAGE_PMD_NR), Access::Write, move || {
        let pins = extra_pins(k, head);
        if k.page_count(head) != 1 + pins {
            return false;
        }
        k.emit(Event::Compound { pfn: head, order: HPAGE_PMD_ORDER, whole: false });
        // What is said of the whole is said of each.
        let inherited = PageFlags::SWAPBACKED | PageFlags::DIRTY | PageFlags::ACTIVE;
        let inherited = k.peek_page(head).flags & inherited;
        for pfn in (0..HPAGE_PMD_NR).map(|i| head.add(i)) {
            k.init_page(pfn, |page| {
                let flags = (page.flags - PageFlags::HEAD - PageFlags::TAIL) | inherited;
                let refcount = if pfn == head { 1 + pins } else { 0 };
                Page { refcount, order: 0, head: pfn, flags, ..page }
            });
            if pfn != head {
                add(k, pfn, 1);
            }
            if let Some(mapping) = mapping {
                move_reference(k, mapping, head, pfn);
            }
        }
        true
    })
}

/// A reference of the page cache goes from the head to the page that it is for, unless that lies behind the end of the
/// file, which does without it.
fn move_reference(k: &Kernel, mapping: u8, head: Pfn, pfn: Pfn) {
    if pfn == head {
        return;
    }
    let refcount = k.page_ref_add(head, -1);
    k.emit(Event::Put { pfn: head, refs: 1, refcount });
    let index = k.folio_index(head) + (pfn.0 - head.0);
    if index < k.i_size_read(mapping) {
        add(k, pfn, 1);
    } else {
        k.xa_store(mapping, index, None);
        k.set_folio_mapping(pfn, mapping, None);
    }
}
