// SPDX-License-Identifier: GPL-2.0-or-later
//! Who maps a page, and how to take it from them.  Linux: mm/rmap.c.
//!
//! Kept:       the entry is cleared and flushed, then the page's pins are looked at, then its entry says
//!             where it is; MMU notifiers are told before any of it.
//! Simplified: the flush is at once (no try_to_unmap_flush()).  A huge page is taken as a whole only to move it;
//!             who wants to split it asks page by page, who reclaims it splits it first.
//! Left out:   page_referenced(): a page counts as not used lately.

mod anon;
mod huge;
mod mkclean;

pub(super) use anon::{folio_exclusive, folio_try_share_anon_rmap};
pub(crate) use huge::hugetlb_add_new_anon_rmap;
pub(crate) use mkclean::folio_mkclean;

use super::gup::page_maybe_dma_pinned;
use super::huge_memory::set_pmd_migration_entry;
use super::mm_types::*;
use super::mmu_gather::flush_tlb_range;
use super::mmu_notifier::*;
use super::page_writeback::set_page_dirty;
use super::pgtable::*;
use super::swap::put_page;
use super::swapfile::{swap_duplicate, swap_free};
use crate::fixes::Fix;
use crate::kernel::{Lock, Touch, Wait, down_read, enter, spin_lock, spin_unlock, up_read};
use crate::limits::NR_MMS;
use crate::trace::{Access, Event, Notify, Pfn, obj};
use anon::replace_anon_pte;
use huge::unmap_folio_range;
use std::future::Future;

#[track_caller]
fn mapcount_add(k: &Kernel, pfn: Pfn, delta: i32) -> impl Future<Output = ()> {
    k.step(obj::mapcount(pfn), Access::Commute, move || {
        let mapcount = k.page_mapcount_add(pfn, delta);
        k.emit(Event::Mapcount { pfn, delta, mapcount, entire: false });
    })
}

/// A page of the page cache is mapped once more.
#[track_caller]
pub(crate) fn page_add_file_rmap(k: &Kernel, pfn: Pfn) -> impl Future<Output = ()> {
    mapcount_add(k, pfn, 1)
}

/// The first mapping of an anonymous page that nobody else sees yet, huge if it is compound: no step.
pub(crate) fn page_add_new_anon_rmap(k: &Kernel, pfn: Pfn, vma: &Vma, va: u8) {
    k.init_anon(pfn, k.anon_vma(vma.mm), vma.pgoff_of(va));
    let entire = k.page_head(pfn);
    k.emit(Event::Mapcount { pfn, delta: 1, mapcount: 1, entire });
}

/// A page is mapped by a child too; it is nobody's alone any more.
#[track_caller]
pub(crate) fn page_dup_rmap(k: &Kernel, pfn: Pfn) -> impl Future<Output = ()> {
    let touch = [Touch::write(obj::page(pfn, 1)), Touch::write(obj::mapcount(pfn)), Touch::default()];
    k.step_on(touch, Wait::Ready, move || {
        k.set_page_anon_exclusive(pfn, false);
        let mapcount = k.page_mapcount_add(pfn, 1);
        k.emit(Event::Mapcount { pfn, delta: 1, mapcount, entire: false });
    })
}

/// As [`page_dup_rmap`], by a leaf.
#[track_caller]
pub(crate) fn folio_dup_anon_rmap_pmd(k: &Kernel, head: Pfn) -> impl Future<Output = ()> {
    let touch = [Touch::write(obj::page(head, 1)), Touch::write(obj::mapcount(head)), Touch::default()];
    k.step_on(touch, Wait::Ready, move || {
        k.set_page_anon_exclusive(head, false);
        let mapcount = k.entire_mapcount_add(head, 1);
        k.emit(Event::Mapcount { pfn: head, delta: 1, mapcount, entire: true });
    })
}

/// All pages of a compound page are mapped by ptes, too; what is said of the whole is said of each.
#[track_caller]
pub(crate) fn folio_add_anon_rmap_ptes(k: &Kernel, head: Pfn) -> impl Future<Output = ()> {
    let nr = 1 << k.folio_order(head);
    let touch = [Touch::write(obj::page(head, nr)), Touch::write(obj::mapcounts(head, nr)), Touch::default()];
    k.step_on(touch, Wait::Ready, move || {
        let exclusive = k.page_anon_exclusive(head);
        for pfn in (0..nr).map(|i| head.add(i)) {
            k.set_page_anon_exclusive(pfn, exclusive);
            let mapcount = k.page_mapcount_add(pfn, 1);
            k.emit(Event::Mapcount { pfn, delta: 1, mapcount, entire: false });
        }
    })
}

/// A compound page is mapped by a leaf less.
#[track_caller]
pub(crate) fn folio_remove_rmap_pmd(k: &Kernel, head: Pfn) -> impl Future<Output = ()> {
    k.step(obj::mapcount(head), Access::Commute, move || {
        let mapcount = k.entire_mapcount_add(head, -1);
        k.emit(Event::Mapcount { pfn: head, delta: -1, mapcount, entire: true });
    })
}

/// How many entries map a page, or any page of a compound one.
#[track_caller]
pub(crate) fn folio_mapcount(k: &Kernel, head: Pfn) -> impl Future<Output = i32> {
    let nr = 1 << k.folio_order(head);
    let total = move || k.entire_mapcount(head) + (0..nr).map(|i| k.page_mapcount(head.add(i))).sum::<i32>();
    k.step(obj::mapcounts(head, nr), Access::Read, total)
}

/// How many entries map a page.
#[track_caller]
pub(crate) fn page_mapcount(k: &Kernel, pfn: Pfn) -> impl Future<Output = i32> {
    let head = k.compound_head(pfn);
    let touch = [Touch::read(obj::mapcount(pfn)), Touch::read(obj::mapcount(head)), Touch::default()];
    k.step_on(touch, Wait::Ready, move || k.page_mapcount(pfn) + k.entire_mapcount(head))
}

/// A page that was swapped in is mapped again; `exclusive`: by us alone.
#[track_caller]
pub(crate) fn page_add_anon_rmap(k: &Kernel, pfn: Pfn, vma: &Vma, va: u8, exclusive: bool) -> impl Future<Output = ()> {
    let (anon_vma, index) = (k.anon_vma(vma.mm), vma.pgoff_of(va));
    let touch = [Touch::write(obj::page(pfn, 1)), Touch::write(obj::mapcount(pfn)), Touch::default()];
    k.step_on(touch, Wait::Ready, move || {
        if !k.folio_test_anon(pfn) {
            k.set_folio_anon(pfn, anon_vma, index);
        }
        if exclusive {
            k.set_page_anon_exclusive(pfn, true);
        }
        let mapcount = k.page_mapcount_add(pfn, 1);
        k.emit(Event::Mapcount { pfn, delta: 1, mapcount, entire: false });
    })
}

/// A huge page that moved is mapped by a leaf again; `exclusive`: by us alone.
#[track_caller]
pub(crate) fn folio_add_anon_rmap_pmd(k: &Kernel, head: Pfn, exclusive: bool) -> impl Future<Output = ()> {
    let touch = [Touch::write(obj::page(head, 1)), Touch::write(obj::mapcount(head)), Touch::default()];
    k.step_on(touch, Wait::Ready, move || {
        if exclusive {
            k.set_page_anon_exclusive(head, true);
        }
        let mapcount = k.entire_mapcount_add(head, 1);
        k.emit(Event::Mapcount { pfn: head, delta: 1, mapcount, entire: true });
    })
}

/// A page is mapped once less.
#[track_caller]
pub(crate) fn page_remove_rmap(k: &Kernel, pfn: Pfn) -> impl Future<Output = ()> {
    mapcount_add(k, pfn, -1)
}

/// Where an area stands among those that may map a page: by descent, address space and address.
pub(crate) type RmapOrder = (u8, u8, u8);

pub(crate) fn rmap_order(k: &Kernel, vma: &Vma) -> RmapOrder {
    (k.descent(vma.mm), vma.mm, vma.start)
}

/// The first area behind `after` for which `test` holds; `rwsem` guards those that can be it.
///
/// A child comes after its parent: fork fills its entries while somebody walks, and what the walk
/// has not found in the parent it finds in the child.
pub(crate) fn next_in_rmap_order(
    k: &Kernel,
    rwsem: Lock,
    after: Option<RmapOrder>,
    test: impl Fn(&Vma) -> bool,
) -> Option<Vma> {
    let mut best: Option<(RmapOrder, Vma)> = None;
    for mm in 0..NR_MMS as u8 {
        for vma in k.rmap_vmas(rwsem, mm).iter().filter(|v| test(v)) {
            let order = rmap_order(k, vma);
            if after.is_none_or(|a| order > a) && best.as_ref().is_none_or(|(b, _)| order < *b) {
                best = Some((order, vma.clone()));
            }
        }
    }
    best.map(|(_, vma)| vma)
}

/// The lock of the areas that may map a locked page; `None`: nobody maps it by now.
pub(crate) fn rmap_lock(k: &Kernel, pfn: Pfn) -> Option<Lock> {
    if k.folio_test_anon(pfn) {
        return Some(anon_vma_rwsem(k.folio_anon_vma(pfn).0));
    }
    let mapping = k.folio_mapping(pfn);
    (mapping != NO_MAPPING).then(|| i_mmap_rwsem(mapping))
}

/// The area behind `after` that may map any of the `nr` pages from a locked one on, and where it begins to.
/// Linux: rmap_walk().
pub(crate) fn rmap_walk_next(k: &Kernel, pfn: Pfn, nr: u8, rwsem: Lock, after: Option<RmapOrder>) -> Option<(Vma, u8)> {
    let anon = k.folio_test_anon(pfn).then(|| k.folio_anon_vma(pfn));
    let mapping = if anon.is_some() { NO_MAPPING } else { k.folio_mapping(pfn) };
    let ours = |v: &Vma| match anon {
        Some((anon_vma, _)) => v.anon_vma(k) == Some(anon_vma),
        None => v.mapping == mapping,
    };
    let index = anon.map_or_else(|| k.folio_index(pfn), |(_, index)| index);
    let shows = |v: &Vma| ours(v) && v.pgoff < index + nr && index < v.pgoff + (v.end - v.start);
    let vma = next_in_rmap_order(k, rwsem, after, shows)?;
    let va = vma.start + index.saturating_sub(vma.pgoff);
    Some((vma, va))
}

/// Where an area ends to map any of the `nr` pages of a locked anonymous one.  Linux: vma_address_end().
pub(crate) fn rmap_end(k: &Kernel, head: Pfn, nr: u8, vma: &Vma) -> u8 {
    vma.end.min(vma.start + (k.folio_anon_vma(head).1 + nr - vma.pgoff))
}

/// Locks the entry at `va` if it maps the page; `sync`: takes the lock even to see that it does not (PVMW_SYNC).
async fn page_vma_mapped_walk(k: &Kernel, pfn: Pfn, vma: &Vma, va: u8, sync: bool) -> Option<(PtePtr, Pte)> {
    enter!(k);
    let table = pmdp_get_lockless(k, PmdPtr::of(vma.mm, va)).await.table_nr()?;
    let p = PtePtr::of(k, table, va);
    if !sync && !ptep_get_lockless(k, p).await.present() {
        return None;
    }
    pte_offset_map_lock(k, p).await;
    let pte = ptep_get(k, p);
    if (pte.present() && !pte.special() || pte.is_device_private()) && pte.pfn() == pfn {
        return Some((p, pte));
    }
    spin_unlock(k, ptl(table));
    None
}

/// What becomes of the entries of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ttu {
    /// They say where the contents are, or nothing.
    Unmap,
    /// They say that the page moves.
    Migrate,
    /// The same, of a page of a huge one.
    Split,
    /// They say that the page is broken.
    Poison,
}

/// Takes a locked page from all who map it; a page in the swap cache becomes swap entries.
///
/// It need not succeed: the caller looks at the map count.
pub(crate) async fn try_to_unmap(k: &Kernel, page: PageRef) {
    enter!(k);
    rmap_walk(k, page, 1, Ttu::Unmap).await;
}

/// As [`try_to_unmap`], for a page that moves, or a huge one: entries become migration entries, at which
/// faults wait for the page's lock.
pub(crate) async fn try_to_migrate(k: &Kernel, page: PageRef) {
    enter!(k);
    rmap_walk(k, page, 1 << k.folio_order(page.pfn), Ttu::Migrate).await;
}

/// As [`try_to_migrate`], of a page of a huge one that is to be split: the caller holds the anon_vma's
/// lock (TTU_RMAP_LOCKED).
pub(crate) async fn try_to_migrate_locked(k: &Kernel, page: PageRef) {
    enter!(k);
    rmap_walk_locked(k, page, 1, Ttu::Split, anon_vma_rwsem(k.folio_anon_vma(page.pfn).0)).await;
}

/// As [`try_to_unmap`], of a page of a huge one of a file that is to be split: the caller holds i_mmap's lock.
pub(crate) async fn try_to_unmap_locked(k: &Kernel, page: PageRef, rwsem: Lock) {
    enter!(k);
    rmap_walk_locked(k, page, 1, Ttu::Unmap, rwsem).await;
}

/// As [`try_to_unmap`], for a page that is broken (TTU_HWPOISON): nobody asks who has pinned it.
pub(crate) async fn unmap_poisoned_folio(k: &Kernel, page: PageRef) {
    enter!(k);
    rmap_walk(k, page, 1, Ttu::Poison).await;
}

async fn rmap_walk(k: &Kernel, page: PageRef, nr: u8, what: Ttu) {
    let Some(rwsem) = rmap_lock(k, page.pfn) else {
        return;
    };
    down_read(k, rwsem).await;
    rmap_walk_locked(k, page, nr, what, rwsem).await;
    up_read(k, rwsem);
}

async fn rmap_walk_locked(k: &Kernel, page: PageRef, nr: u8, what: Ttu, rwsem: Lock) {
    let mut after = None;
    while let Some((vma, va)) = rmap_walk_next(k, page.pfn, nr, rwsem, after) {
        after = Some(rmap_order(k, &vma));
        let more = match what {
            Ttu::Unmap | Ttu::Poison => try_to_unmap_one(k, page, &vma, va, what).await,
            Ttu::Migrate | Ttu::Split => try_to_migrate_one(k, page, nr, &vma, va, what).await,
        };
        if !more {
            break;
        }
    }
}

async fn try_to_unmap_one(k: &Kernel, page: PageRef, vma: &Vma, va: u8, what: Ttu) -> bool {
    enter!(k);
    unmap_one(k, page, 1, vma, va, what).await
}

async fn try_to_migrate_one(k: &Kernel, page: PageRef, nr: u8, vma: &Vma, va: u8, what: Ttu) -> bool {
    enter!(k);
    unmap_one(k, page, nr, vma, va, what).await
}

/// Takes a page, or the `nr` pages of a huge one, from one area; false: the walk ends.
async fn unmap_one(k: &Kernel, page: PageRef, nr: u8, vma: &Vma, va: u8, what: Ttu) -> bool {
    if k.fixed(Fix::TtuSkipPinned) && folio_maybe_dma_pinned(k, page.pfn).await {
        return true;
    }
    // Only a split cares, and only without the fix does it not wait.
    let sync = what != Ttu::Split || k.fixed(Fix::TtuSync);
    let end = if nr > 1 { rmap_end(k, page.pfn, nr, vma) } else { va + 1 };
    let range = MmuNotifierRange::new(Notify::Clear, vma.mm, va, end);
    // Before v4.14 mmu_notifier_invalidate_page() came when all was over.
    let around = k.fixed(Fix::RmapNotifierRange);
    if around {
        mmu_notifier_invalidate_range_start(k, &range).await;
    }
    let mut ret = true;
    if nr > 1 {
        ret = unmap_folio_range(k, page, vma, va..end, what).await;
    } else if let Some((p, _)) = page_vma_mapped_walk(k, page.pfn, vma, va, sync).await {
        ret = unmap_pte(k, page, vma, va, p, what).await;
        spin_unlock(k, ptl(p.table));
    }
    if !around {
        mmu_notifier_invalidate_range_start(k, &range).await;
    }
    mmu_notifier_invalidate_range_end(k, &range).await;
    ret
}

/// Takes the entry; the lock of its table is held.
async fn unmap_pte(k: &Kernel, page: PageRef, vma: &Vma, va: u8, p: PtePtr, what: Ttu) -> bool {
    // The mutant asks while everybody can still go by the entry.
    let shared = k.fixed(Fix::ShareBeforeClear) && folio_exclusive(k, page.pfn);
    if shared && !folio_try_share_anon_rmap(k, page.pfn).await {
        return false;
    }
    let pte = match k.is_device_private_page(page.pfn) {
        true => ptep_get_and_clear(k, p).await, // no CPU has a translation
        false => ptep_clear_flush(k, vma, va, p).await,
    };
    let ret = match k.folio_test_anon(page.pfn) {
        anon if what == Ttu::Poison => {
            if pte.dirty() && !anon {
                set_page_dirty(k, page.pfn).await;
            }
            add_mm_counter(k, vma.mm, page.pfn, -1);
            set_pte_at(k, p, Pte::hwpoison(page.pfn)).await;
            true
        }
        true => replace_anon_pte(k, page, p, pte, what, shared).await,
        false => replace_file_pte(k, page, p, pte, what).await,
    };
    if ret {
        page_remove_rmap(k, page.pfn).await;
        put_page(k, page).await;
    }
    ret
}

/// Clears an entry, and makes every CPU forget it.  Linux: mm/pgtable-generic.c.
async fn ptep_clear_flush(k: &Kernel, vma: &Vma, va: u8, p: PtePtr) -> Pte {
    let pte = ptep_get_and_clear(k, p).await;
    flush_tlb_range(k, vma.mm, va, va + 1).await;
    pte
}

pub(super) async fn folio_maybe_dma_pinned(k: &Kernel, pfn: Pfn) -> bool {
    let head = k.compound_head(pfn);
    k.step(obj::page(head, 1), Access::Read, || page_maybe_dma_pinned(k, head)).await
}

async fn replace_file_pte(k: &Kernel, page: PageRef, p: PtePtr, pte: Pte, what: Ttu) -> bool {
    if pte.dirty() {
        set_page_dirty(k, k.compound_head(page.pfn)).await;
    }
    match what {
        Ttu::Unmap | Ttu::Poison => add_mm_counter(k, k.table_mm(p.table), page.pfn, -1),
        Ttu::Migrate | Ttu::Split => set_pte_at(k, p, Pte::migration(page.pfn, pte.write(), false)).await,
    }
    true
}
