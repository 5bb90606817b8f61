// SPDX-License-Identifier: GPL-2.0-or-later
//! Moving pages to other frames.  Linux: mm/migrate.c.
//!
//! ```text
//!   migration                                 GUP-fast
//!                                             1. read the entry
//!   a. entries become migration entries
//!   b. is the page referenced by others?      2. take a reference
//!   c. copy; entries of the copy              3. the entry is the same, or drop
//! ```
//!
//! Either b sees 2, or 3 sees a.  Since v5.19 a pinned page that is its owner's alone is not even
//! unmapped: a puts its entry back (mm/rmap.rs).  Who faults meanwhile waits for the page's lock.
//!
//! Kept:       the page is locked until all entries are back, of the copy or of the page itself.
//! Simplified: a call moves what the caller maps (MPOL_MF_MOVE_ALL), and tries once.  A huge page moves as a whole;
//!             if there is no room for it, it is split, and its pages move at once, not behind the others.
//! Left out:   pages of shmem.

use super::address_space::AddressSpaceOperations;
use super::filemap::folio_wait_writeback;
use super::highmem::copy_user_highpage;
use super::huge_memory::{remove_migration_pmd, split_huge_page_to_list};
use super::mm_types::*;
use super::mmap::find_vma;
use super::page_alloc::alloc_pages;
use super::page_ref::{add, get_page};
use super::pagewalk::{folio_walk_end, folio_walk_start};
use super::pgtable::*;
use super::rmap::*;
use super::swap::put_page;
use super::swap_state::{__add_to_swap_cache, __delete_from_swap_cache, swapper_pages};
use super::swapfile;
use super::vmscan::{Isolated, folio_isolate_lru, folio_putback_lru};
use crate::fixes::Fix;
use crate::kernel::*;
use crate::limits::PTRS_PER_PTE;
use crate::trace::{Access, Event, Pfn, obj};
use std::future::Future;
use std::ops::Range;

/// Moves pages `start..end` of the current address space; returns how many it could.  Linux: move_pages(2).
///
/// # Errors
/// -EFAULT: no area there, or page frames; -ENOENT: no page there; -EBUSY: a page is not on the list.
pub(crate) async fn do_pages_move(k: &Kernel, start: u8, end: u8) -> Result<u32, Errno> {
    enter!(k);
    let mut list = Isolated::default();
    let mut ret = Ok(0);
    for va in start..end {
        match add_page_for_migration(k, va).await {
            Ok(page) => list.push(page),
            Err(errno) => ret = Err(errno),
        }
    }
    if list.as_slice().is_empty() {
        return ret;
    }
    Ok(migrate_pages(k, list.as_slice()).await)
}

/// Takes the page behind `va` off the list, with a reference; of a huge page the head.
async fn add_page_for_migration(k: &Kernel, va: u8) -> Result<PageRef, Errno> {
    enter!(k);
    let mm = k.current_mm();
    down_read(k, mmap_lock(mm)).await;
    // vma_migratable(): hugetlb as where the architecture cannot (hugepage_migration_supported()).
    let special = VmFlags::IO | VmFlags::PFNMAP | VmFlags::HUGETLB;
    let ret = match find_vma(k, mm, va).filter(|vma| !vma.flags.intersects(special)) {
        Some(vma) => isolate_page(k, &vma, va).await,
        None => Err(Errno::EFAULT),
    };
    up_read(k, mmap_lock(mm));
    ret
}

async fn isolate_page(k: &Kernel, vma: &Vma, va: u8) -> Result<PageRef, Errno> {
    let walk = folio_walk_start(k, vma, va).await;
    let ret = match walk.folio {
        Some(folio) if folio_isolate_lru(k, folio.pfn, true).await => Ok(folio),
        Some(_) => Err(Errno::EBUSY),
        None => Err(Errno::ENOENT),
    };
    folio_walk_end(k, walk);
    ret
}

/// Moves isolated pages; what cannot move is put back.  Returns how many moved.
pub(crate) async fn migrate_pages(k: &Kernel, list: &[PageRef]) -> u32 {
    enter!(k);
    let mut moved = 0;
    for &src in list {
        let nr = 1 << k.folio_order(src.pfn);
        match get_new_folio(k, src).await {
            Some(dst) => moved += unmap_and_move_or_put_back(k, src, dst).await,
            None if nr > 1 && try_split_folio(k, src).await => {
                for src in (0..nr).map(|i| PageRef { pfn: src.pfn.add(i), ..src }) {
                    match get_new_folio(k, src).await {
                        Some(dst) => moved += unmap_and_move_or_put_back(k, src, dst).await,
                        None => folio_putback_lru(k, src).await,
                    }
                }
            }
            None => folio_putback_lru(k, src).await,
        }
    }
    moved
}

/// Room for a copy of the page.
async fn get_new_folio(k: &Kernel, src: PageRef) -> Option<PageRef> {
    let owner = k.peek_page(src.pfn).owner;
    let order = k.folio_order(src.pfn);
    alloc_pages(k, order, order > 0, owner).await
}

/// Splits an isolated huge page into isolated small ones.
async fn try_split_folio(k: &Kernel, folio: PageRef) -> bool {
    enter!(k);
    mutex_lock(k, folio_lock(folio.pfn)).await;
    let split = k.folio_test_anon(folio.pfn) && split_huge_page_to_list(k, folio).await.is_ok();
    mutex_unlock(k, folio_lock(folio.pfn));
    split
}

/// How many moved: 1 or 0.
async fn unmap_and_move_or_put_back(k: &Kernel, src: PageRef, dst: PageRef) -> u32 {
    let moved = unmap_and_move(k, src, dst).await;
    if !moved {
        folio_putback_lru(k, src).await;
    }
    moved.into()
}

/// Moves one page; true: it is gone.
async fn unmap_and_move(k: &Kernel, src: PageRef, dst: PageRef) -> bool {
    enter!(k);
    let mut moved = false;
    mutex_lock(k, folio_lock(src.pfn)).await;
    if !k.fixed(Fix::MigrateSkipPinned) || !folio_maybe_dma_pinned(k, src.pfn).await {
        moved = match k.folio_test_anon(src.pfn) {
            true => migrate_anon_folio(k, src, dst).await,
            false => migrate_file_folio(k, src, dst).await,
        };
    }
    mutex_unlock(k, folio_lock(src.pfn));
    put_page(k, dst).await;
    if moved {
        put_page(k, src).await;
    }
    moved
}

async fn migrate_anon_folio(k: &Kernel, src: PageRef, dst: PageRef) -> bool {
    if k.folio_test_swapcache(src.pfn) {
        swapfile::folio_wait_writeback(k, src.pfn, k.folio_swap(src.pfn)).await;
    }
    migrate_folio(k, src, dst, None).await
}

async fn migrate_file_folio(k: &Kernel, src: PageRef, dst: PageRef) -> bool {
    let (mapping, index) = (k.folio_mapping(src.pfn), k.folio_index(src.pfn));
    let Some(ops) = k.a_ops(mapping) else {
        return false; // a page of no file is only somebody's who holds it
    };
    folio_wait_writeback(k, src.pfn, mapping, index).await;
    migrate_folio(k, src, dst, Some(ops)).await
}

/// Unmaps, copies and maps again a locked page, of a file with `ops` or an anonymous one.
async fn migrate_folio(k: &Kernel, src: PageRef, dst: PageRef, ops: Option<&dyn AddressSpaceOperations>) -> bool {
    let locked = trylock(k, folio_lock(dst.pfn)).await;
    assert!(locked, "nobody else knows the copy");
    // The mutant looks while the page is still mapped, and not again.
    let early = ops.is_none() && k.fixed(Fix::MigrateCountEarly);
    let mut moved = !early || folio_ref_count(k, src.pfn).await == 1 + folio_mapcount(k, src.pfn).await;
    if moved {
        try_to_migrate(k, src).await;
        moved = folio_mapcount(k, src.pfn).await == 0
            && match ops {
                Some(ops) => ops.migrate_folio(k, dst, src).await,
                None => move_to_new_folio(k, src, dst, early).await,
            };
    }
    remove_migration_ptes(k, src, if moved { dst } else { src }).await;
    mutex_unlock(k, folio_lock(dst.pfn));
    moved
}

/// Puts the copy of a page into the page cache in the page's place; false: there are more than `refs`
/// references to the page.
pub(crate) async fn folio_migrate_mapping(k: &Kernel, dst: PageRef, src: PageRef, refs: i32) -> bool {
    enter!(k, for_caller);
    let (mapping, index) = (k.folio_mapping(src.pfn), k.folio_index(src.pfn));
    spin_lock(k, i_pages(mapping)).await;
    let touch = [Touch::write(obj::page(src.pfn, 1)), Touch::write(obj::page(dst.pfn, 1)), Touch::default()];
    let replace = || {
        let frozen = k.page_ref_freeze(src.pfn, refs);
        if frozen {
            add(k, dst.pfn, 1);
            for flag in [PageFlags::DIRTY, PageFlags::ACTIVE] {
                k.folio_assign(dst.pfn, flag, k.folio_test(src.pfn, flag));
            }
            k.folio_assign(dst.pfn, PageFlags::LRU, true);
            k.folio_assign_dirty(src.pfn, false);
            k.xa_store(mapping, index, Some(dst));
            k.set_folio_mapping(dst.pfn, mapping, Some(index));
            k.set_folio_mapping(src.pfn, mapping, None);
            k.page_ref_unfreeze(src.pfn, refs - 1);
            k.emit(Event::Put { pfn: src.pfn, refs: 1, refcount: refs - 1 });
            k.emit(Event::FolioMigrate { from: src.pfn, to: dst.pfn });
        }
        frozen
    };
    let replaced = k.step_on(touch, Wait::Ready, replace).await;
    spin_unlock(k, i_pages(mapping));
    replaced
}

#[track_caller]
pub(crate) fn folio_ref_count(k: &Kernel, pfn: Pfn) -> impl Future<Output = i32> {
    k.step(obj::page(pfn, 1), Access::Read, move || k.page_count(pfn))
}

/// Copies a page that nobody maps, and gives the copy its place, unless somebody else holds a reference:
/// contents first since v6.11.
async fn move_to_new_folio(k: &Kernel, src: PageRef, dst: PageRef, early: bool) -> bool {
    enter!(k);
    let cached = k.folio_test_swapcache(src.pfn);
    if !early && folio_ref_count(k, src.pfn).await != 1 + i32::from(cached) {
        return false;
    }
    for i in 0..1 << k.folio_order(src.pfn) {
        let page = |folio: PageRef| PageRef { pfn: folio.pfn.add(i), ..folio };
        copy_user_highpage(k, page(dst), page(src)).await;
    }
    match cached {
        true => folio_migrate_swapcache(k, src, dst).await,
        false => folio_migrate_anon(k, src, dst, if early { None } else { Some(1) }).await,
    }
}

/// As [`folio_migrate_mapping`], of a page of the swap cache.
///
/// ```text
///   migration                           fault at a swap entry
///                                       1. reference the page that has the slot
///   a. freeze: nobody else has one
///   b. the copy has the slot            2. lock it: does it have the slot?
/// ```
async fn folio_migrate_swapcache(k: &Kernel, src: PageRef, dst: PageRef) -> bool {
    spin_lock(k, swapper_pages()).await;
    let touch = [Touch::write(obj::page(src.pfn, 1)), Touch::write(obj::page(dst.pfn, 1)), Touch::default()];
    let replace = || {
        let frozen = k.page_ref_freeze(src.pfn, 2);
        if frozen {
            let slot = __delete_from_swap_cache(k, src);
            __add_to_swap_cache(k, dst, slot);
            folio_migrate_flags(k, src, dst);
            k.folio_assign_dirty(src.pfn, false);
            k.page_ref_unfreeze(src.pfn, 1);
            k.emit(Event::Put { pfn: src.pfn, refs: 1, refcount: 1 });
        }
        frozen
    };
    let replaced = k.step_on(touch, Wait::Ready, replace).await;
    spin_unlock(k, swapper_pages());
    replaced
}

/// What is said of an anonymous page is said of the one in its place; the step has announced both.
fn folio_migrate_flags(k: &Kernel, src: PageRef, dst: PageRef) {
    let (anon_vma, index) = k.folio_anon_vma(src.pfn);
    k.set_folio_anon(dst.pfn, anon_vma, index);
    for flag in [PageFlags::SWAPBACKED, PageFlags::DIRTY, PageFlags::ACTIVE] {
        k.folio_assign(dst.pfn, flag, k.folio_test(src.pfn, flag));
    }
}

/// Gives a page that no address_space knows the place of another, unless that has not `refs` references.
/// Linux: folio_migrate_mapping() of a folio without one.
#[track_caller]
pub(super) fn folio_migrate_anon(
    k: &Kernel,
    src: PageRef,
    dst: PageRef,
    refs: Option<i32>,
) -> impl Future<Output = bool> {
    let nr = 1 << k.folio_order(src.pfn);
    let touch = [Touch::read(obj::page(src.pfn, 1)), Touch::write(obj::page(dst.pfn, nr)), Touch::default()];
    k.step_on(touch, Wait::Ready, move || {
        let alone = refs.is_none_or(|refs| k.page_count(src.pfn) == refs);
        if alone {
            folio_migrate_flags(k, src, dst);
        }
        alone
    })
}

/// Migration entries of `old` become entries of `new`, which may be the same page.
pub(super) async fn remove_migration_ptes(k: &Kernel, old: PageRef, new: PageRef) {
    enter!(k);
    let Some(rwsem) = rmap_lock(k, new.pfn) else {
        return;
    };
    down_read(k, rwsem).await;
    let nr = 1 << k.folio_order(new.pfn);
    let mut after = None;
    while let Some((vma, va)) = rmap_walk_next(k, new.pfn, nr, rwsem, after) {
        after = Some(rmap_order(k, &vma));
        match nr {
            1 => remove_migration_pte(k, &vma, va, rwsem, old, new).await,
            _ => remove_migration_range(k, &vma, va..rmap_end(k, new.pfn, nr, &vma), rwsem, old, new).await,
        }
    }
    up_read(k, rwsem);
}

/// As [`remove_migration_ptes`], page by page and for a caller that holds the lock of the areas (RMP_LOCKED).
pub(super) async fn remove_migration_ptes_locked(k: &Kernel, old: PageRef, new: PageRef, rwsem: Lock) {
    let mut after = None;
    while let Some((vma, va)) = rmap_walk_next(k, new.pfn, 1, rwsem, after) {
        after = Some(rmap_order(k, &vma));
        remove_migration_pte(k, &vma, va, rwsem, old, new).await;
    }
}

/// As [`remove_migration_pte`], of a huge page, of which an area shows pages `range`.
async fn remove_migration_range(k: &Kernel, vma: &Vma, range: Range<u8>, rwsem: Lock, old: PageRef, new: PageRef) {
    let index = k.folio_anon_vma(new.pfn).1;
    let Range { start: mut va, end } = range;
    while va < end {
        let p = PmdPtr::of(vma.mm, va);
        let next = end.min(p.base() + PTRS_PER_PTE as u8);
        let mut pmd = pmdp_get_lockless(k, p).await;
        if pmd.none() {
            // Somebody may be about to move a leaf here (PVMW_SYNC).
            spin_lock(k, page_table_lock(vma.mm)).await;
            pmd = pmdp_get(k, p);
            spin_unlock(k, page_table_lock(vma.mm));
        }
        if pmd.is_migration() && pmd.pfn() == old.pfn {
            if !remove_migration_pmd(k, p, flags_now(k, vma, va, rwsem), old, new).await {
                continue; // split under us: its ptes are there
            }
        } else if pmd.is_table() {
            for va in va..next {
                let page =
                    |folio: PageRef| PageRef { pfn: folio.pfn.add((vma.pgoff_of(va) - index) as usize), ..folio };
                remove_migration_pte(k, vma, va, rwsem, page(old), page(new)).await;
            }
        }
        va = next;
    }
}

/// The flags of an area as it is by now: mprotect leaves us the entry.
fn flags_now(k: &Kernel, vma: &Vma, va: u8, rwsem: Lock) -> VmFlags {
    k.rmap_vmas(rwsem, vma.mm).iter().find(|v| v.contains(va)).map_or(vma.flags, |v| v.flags)
}

async fn remove_migration_pte(k: &Kernel, vma: &Vma, va: u8, rwsem: Lock, old: PageRef, new: PageRef) {
    enter!(k);
    let Some(table) = pmdp_get_lockless(k, PmdPtr::of(vma.mm, va)).await.table_nr() else {
        return;
    };
    spin_lock(k, ptl(table)).await;
    let p = PtePtr::of(k, table, va);
    let entry = ptep_get(k, p);
    if entry.is_migration() && entry.pfn() == old.pfn {
        get_page(k, new.pfn).await;
        match k.folio_test_anon(new.pfn) {
            true => page_add_anon_rmap(k, new.pfn, vma, va, entry.write() || entry.exclusive()).await,
            false => page_add_file_rmap(k, new.pfn).await,
        }
        let now = flags_now(k, vma, va, rwsem);
        let write = entry.write() && now.contains(VmFlags::WRITE);
        let pte = match k.is_device_private_page(new.pfn) {
            true => Pte::device_private(new.pfn, write),
            false => Pte::page(new.pfn).mkaccessible(now.contains(VmFlags::READ)).mkwrite(write),
        };
        set_pte_at(k, p, pte).await;
    }
    spin_unlock(k, ptl(table));
}
