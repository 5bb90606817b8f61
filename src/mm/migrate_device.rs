// SPDX-License-Identifier: GPL-2.0-or-later
//! Moving pages for a driver whose device uses them.  Linux: mm/migrate_device.c.
//!
//! ```text
//!   migrate_vma                               GUP-fast
//!                                             1. read the entry
//!   a. lock the page, clear its entry
//!   b. is it pinned?  put the entry back      2. take a reference
//!   c. migration entry, flush
//!   d. is it referenced by others?            3. the entry is the same, or drop
//!   e. the driver copies
//!   f. is it referenced by now?
//! ```
//!
//! b is there since v5.19, for pages that are their owner's alone; whoever comes too late for b is seen by d.
//!
//! Memory of the device is coherent, pages like any other that CPUs go on using in place, or private: an entry says
//! where the page is, and whoever touches it, GUP too, has it moved back first.
//!
//! Kept:       collect, unmap, copy, move, finish, each for all pages of the range; what cannot move comes back.
//! Simplified: the device's memory comes from the same allocator; its entries are flushed like any others.
//! Left out:   holes, which the kernel fills with the device's memory; pages of files, huge pages but to split those that a leaf maps; devices that use what they were
//!             given; a page of the swap cache has one reference too many.

use super::highmem::{copy_user_highpage, kernel_read};
use super::huge_memory::split_leaf;
use super::memory::vm_normal_page;
use super::migrate::*;
use super::mm_types::*;
use super::mmap::find_vma;
use super::mmu_gather::flush_tlb_range;
use super::mmu_notifier::*;
use super::page_alloc::alloc_pages;
use super::page_ref::get_page;
use super::page_writeback::set_page_dirty;
use super::pgtable::*;
use super::rmap::*;
use super::swap::put_page;
use super::vmscan::{Isolated, folio_isolate_lru, folio_putback_lru};
use crate::fixes::Fix;
use crate::kernel::*;
use crate::limits::*;
use crate::trace::{Notify, Owner, Pfn};
use std::ops::Range;

/// What to move where.  Linux: struct migrate_vma.
#[derive(Clone, Copy, Default)]
struct MigrateVma {
    /// MIGRATE_VMA_SELECT_DEVICE_PRIVATE, else _SYSTEM.
    select_device: bool,
    /// To memory that only the device reaches.
    private: bool,
    /// A CPU has faulted at this page: it has locked it, and holds a reference.
    fault_page: Option<Pfn>,
}

impl MigrateVma {
    fn unlock(&self, k: &Kernel, pfn: Pfn) {
        if self.fault_page != Some(pfn) {
            mutex_unlock(k, folio_lock(pfn));
        }
    }
    /// References of a page that may move: ours, and that of who has faulted.
    fn refs(&self, pfn: Pfn) -> i32 {
        1 + i32::from(self.fault_page == Some(pfn))
    }
}

/// Moves pages `start..end` of the current address space, of one area, to the device's coherent memory or its
/// `private` one; returns how many it could.
///
/// # Errors
/// -EINVAL: no area there, or one of a driver or of hugetlb pages.
pub(crate) async fn migrate_vma(k: &Kernel, start: u8, end: u8, private: bool) -> Result<u32, Errno> {
    enter!(k);
    let mm = k.current_mm();
    let special = VmFlags::IO | VmFlags::PFNMAP | VmFlags::MIXEDMAP | VmFlags::HUGETLB;
    down_read(k, mmap_lock(mm)).await;
    let vma = find_vma(k, mm, start).filter(|vma| end <= vma.end && !vma.flags.intersects(special));
    let ret = match vma {
        Some(vma) => {
            Ok(migrate_vma_range(k, &vma, start..end, MigrateVma { private, ..MigrateVma::default() }).await.0)
        }
        None => Err(Errno::EINVAL),
    };
    up_read(k, mmap_lock(mm));
    ret
}

/// A CPU has faulted at a page of the device's own: the driver moves it to where it is reached.
///
/// ```text
///   fault                               another fault, MADV_DONTNEED
///   1. the entry says which page
///                                       2. the page moves back or goes: it is free
///   3. the driver asks the page which
///      memory of the device it is
/// ```
///
/// So since v6.1 a fault holds a reference from 1 on.
///
/// Linux: pgmap->ops->migrate_to_ram(), as lib/test_hmm.c has it.
pub(super) async fn migrate_to_ram(k: &Kernel, vma: &Vma, va: u8, page: PageRef, locked: bool) -> VmFault {
    enter!(k);
    kernel_read(k, page).await; // stands for page->zone_device_data
    let fault_page = locked.then_some(page.pfn);
    match migrate_vma_range(k, vma, va..va + 1, MigrateVma { select_device: true, private: false, fault_page }).await {
        (_, true) => VmFault::Oom,
        _ => VmFault::NoPage, // if it did not move, the CPU faults again
    }
}

/// What a driver does between migrate_vma_setup() and migrate_vma_finalize(): how many pages moved, and whether
/// there was no memory for others.
async fn migrate_vma_range(k: &Kernel, vma: &Vma, range: Range<u8>, args: MigrateVma) -> (u32, bool) {
    let mut list = Isolated::default();
    migrate_vma_collect(k, vma, range, args, &mut list).await;
    let list = migrate_vma_unmap(k, list.as_slice(), args).await;
    let mut copies = [None; BIO_MAX_VECS];
    for (copy, &src) in copies.iter_mut().zip(list.as_slice()) {
        *copy = alloc_and_copy(k, vma.mm, src, args.private).await;
    }
    let mut moved = [false; BIO_MAX_VECS];
    for ((moved, copy), &src) in moved.iter_mut().zip(copies).zip(list.as_slice()) {
        if let Some(dst) = copy {
            *moved = migrate_vma_page(k, src, dst, args).await;
        }
    }
    for ((moved, copy), &src) in moved.into_iter().zip(copies).zip(list.as_slice()) {
        migrate_vma_finalize(k, src, copy, moved, args).await;
    }
    let oom = copies[..list.as_slice().len()].contains(&None);
    (moved.iter().filter(|&&moved| moved).count() as u32, oom)
}

async fn migrate_vma_collect(k: &Kernel, vma: &Vma, range: Range<u8>, args: MigrateVma, list: &mut Isolated) {
    enter!(k);
    let notify = MmuNotifierRange::new(Notify::Clear, vma.mm, range.start, range.end);
    mmu_notifier_invalidate_range_start(k, &notify).await;
    let Range { start: mut va, end } = range;
    while va < end {
        let p = PmdPtr::of(vma.mm, va);
        let next = end.min(p.base() + PTRS_PER_PTE as u8);
        let mut pmd = pmdp_get_lockless(k, p).await;
        if pmd.is_leaf() && vma.is_anonymous() {
            split_leaf(k, p, false).await;
            pmd = pmdp_get_lockless(k, p).await;
        }
        if let Some(table) = pmd.table_nr() {
            migrate_vma_collect_pmd(k, vma, table, va..next, args, list).await;
        }
        va = next;
    }
    mmu_notifier_invalidate_range_end(k, &notify).await;
}

/// Locks and unmaps, of the pages behind one table, those that nobody has locked.
///
/// ```text
///   migrate_vma                     another thread
///   1. clear an entry
///   2. unlock, no flush yet
///                                   a. MADV_DONTNEED: no page there, nothing to flush
///                                   b. store, load: through an old translation
/// ```
///
/// So it flushes before the table's lock goes.
async fn migrate_vma_collect_pmd(
    k: &Kernel,
    vma: &Vma,
    table: u8,
    range: Range<u8>,
    args: MigrateVma,
    list: &mut Isolated,
) {
    enter!(k);
    let mut unmapped = false;
    spin_lock(k, ptl(table)).await;
    for va in range.clone() {
        unmapped |= collect_pte(k, vma, PtePtr::of(k, table, va), va, args, list).await;
    }
    let early = k.fixed(Fix::MigrateVmaFlush);
    if unmapped && early {
        flush_tlb_range(k, vma.mm, range.start, range.end).await;
    }
    spin_unlock(k, ptl(table));
    if unmapped && !early {
        flush_tlb_range(k, vma.mm, range.start, range.end).await;
    }
}

/// Makes a migration entry of one entry, if its page can be had.
async fn collect_pte(k: &Kernel, vma: &Vma, p: PtePtr, va: u8, args: MigrateVma, list: &mut Isolated) -> bool {
    let pte = ptep_get(k, p);
    let normal = match args.select_device {
        true => pte.is_device_private().then(|| pte.pfn()),
        false => pte.present().then(|| vm_normal_page(k, vma, va, pte)).flatten(),
    };
    let small = |pfn| k.compound_head(pfn) == pfn && !k.page_head(pfn);
    let Some(pfn) = normal.filter(|&pfn| small(pfn) && k.folio_test_anon(pfn)) else {
        return false;
    };
    let page = PageRef { pfn, gen_: pte_gen(k, p) };
    get_page(k, pfn).await;
    if args.fault_page != Some(pfn) && !trylock(k, folio_lock(pfn)).await {
        put_page(k, page).await;
        return false;
    }
    let exclusive = folio_exclusive(k, pfn);
    let pte = ptep_get_and_clear(k, p).await;
    if exclusive {
        flush_tlb_range(k, vma.mm, va, va + 1).await;
        if !folio_try_share_anon_rmap(k, pfn).await {
            set_pte_at(k, p, pte).await;
            args.unlock(k, pfn);
            put_page(k, page).await;
            return false;
        }
    }
    if pte.dirty() && k.fixed(Fix::MigrateVmaDirty) {
        set_page_dirty(k, pfn).await;
    }
    set_pte_at(k, p, Pte::migration(pfn, pte.write(), exclusive)).await;
    page_remove_rmap(k, pfn).await;
    put_page(k, page).await;
    list.push(page);
    true
}

/// Takes pages off the list, on which a device's own are not, and from whoever else maps them; those that can move.
async fn migrate_vma_unmap(k: &Kernel, pages: &[PageRef], args: MigrateVma) -> Isolated {
    enter!(k);
    let mut list = Isolated::default();
    for &page in pages {
        let isolated = !args.select_device && folio_isolate_lru(k, page.pfn, true).await;
        if isolated || args.select_device {
            if isolated {
                put_page(k, page).await; // collect's
            }
            if folio_mapcount(k, page.pfn).await > 0 {
                try_to_migrate(k, page).await;
            }
            if migrate_vma_check_page(k, page, args).await {
                list.push(page);
                continue;
            }
        }
        remove_migration_ptes(k, page, page).await;
        args.unlock(k, page.pfn);
        match isolated {
            true => folio_putback_lru(k, page).await,
            false => put_page(k, page).await,
        }
    }
    list
}

/// Whether nobody maps the page, and nobody holds it whom we do not know.
async fn migrate_vma_check_page(k: &Kernel, page: PageRef, args: MigrateVma) -> bool {
    enter!(k);
    folio_mapcount(k, page.pfn).await == 0 && folio_ref_count(k, page.pfn).await == args.refs(page.pfn)
}

/// What the driver does: a page of its device's memory, or of the system's, with the contents of `src`, locked.
async fn alloc_and_copy(k: &Kernel, mm: u8, src: PageRef, private: bool) -> Option<PageRef> {
    let dst = alloc_pages(k, 0, false, Owner::Anon(mm)).await?;
    if private {
        k.init_device_private(dst.pfn);
    }
    let locked = trylock(k, folio_lock(dst.pfn)).await;
    assert!(locked, "nobody else knows the copy");
    copy_user_highpage(k, dst, src).await;
    Some(dst)
}

/// One page of migrate_vma_pages(): gives the copy its place, unless somebody has got a reference since.
async fn migrate_vma_page(k: &Kernel, src: PageRef, dst: PageRef, args: MigrateVma) -> bool {
    enter!(k);
    folio_migrate_anon(k, src, dst, Some(args.refs(src.pfn))).await
}

/// Entries of the copy, or of the page itself again.
async fn migrate_vma_finalize(k: &Kernel, src: PageRef, copy: Option<PageRef>, moved: bool, args: MigrateVma) {
    enter!(k);
    remove_migration_ptes(k, src, copy.filter(|_| moved).unwrap_or(src)).await;
    args.unlock(k, src.pfn);
    match moved || args.select_device {
        true => put_page(k, src).await,
        false => folio_putback_lru(k, src).await,
    }
    if let Some(dst) = copy {
        mutex_unlock(k, folio_lock(dst.pfn));
        put_page(k, dst).await;
    }
}
