// SPDX-License-Identifier: GPL-2.0-or-later
//! Putting pages of a file in memory together to a huge one.  Linux: mm/khugepaged.c.
//!
//! ```text
//!   khugepaged                                fault, truncation
//!   a. lock the page, unmap it everywhere
//!   b. nobody but we and the file has it
//!                                             1. the file's page: take a reference
//!   c. the huge page has its place            2. wait for its lock: is it the file's?  no, look again
//!   d. unlock it, drop it
//! ```
//!
//! So that faults can bring the huge page as a whole, page tables that show it go.  Such a table is looked for by way of
//! the address space, of the file, of the anonymous memory: who takes it away must have the locks of all three.  Since
//! v6.1 (8d3c106e19e8) he has; before, collapse_pte_mapped_thp() had mmap_lock alone.
//!
//! Kept:       what cannot be had stays as it is, but unmapped; a hole stays a hole, or nothing is collapsed.
//! Simplified: the order of v6.4: count, copy, replace.  Before, pages were replaced first, and copied or put back then.
//! Simplified: pages are unmapped as to v5.17, by unmap_mapping_pages().  Since v5.18 (mm/thp: collapse_file() do
//!             try_to_unmap(TTU_BATCH_FLUSH)) it is try_to_unmap(), and one flush before the copy: what
//!             ttu-skip-pinned changes there does not show here.
//! Simplified: tables go as in v6.1 on every release: under its locks, and with the entries still in them.  Since
//!             v6.6 (1d65b771bc08 mm/khugepaged: retract_page_tables() without mmap or i_mmap lock) entries are
//!             cleared one by one, walkers look whether the table still is the one, and it goes by RCU.  The pmd's
//!             lock is held for it, which v6.1 to v6.5 do without.
//! Left out:   leaves of huge pages of files: a fault maps them by ptes.  Files on a disk (CONFIG_READ_ONLY_THP_FOR_FS).
//!             The list of tables that were busy when the page was collapsed: a call goes on with its own, as MADV_COLLAPSE
//!             does (v6.1), and another finds them.

use super::*;
use crate::mm::filemap::filemap_get_folio;
use crate::mm::memory::{mapping_next_vma, unmap_mapping_range};
use crate::mm::page_ref::{add, get_page};
use crate::mm::rmap::rmap_order;
use crate::mm::shmem::shmem_mapping;
use crate::mm::swap::folio_put_refs;

/// The small pages of a huge one to be, locked and with a reference; `None`: a hole.
type Small = [Option<PageRef>; HPAGE_PMD_NR];

/// The file in memory behind a pmd and its page there, if an area shows it so that one leaf could.  mmap_lock is held.
pub(super) fn file_area(k: &Kernel, p: PmdPtr) -> Option<(u8, u8)> {
    let vma = find_vma(k, p.mm, p.base()).filter(|vma| shmem_mapping(vma.mapping) && thp_vma_suitable(vma, p))?;
    let index = vma.pgoff_of(p.base());
    (index as usize).is_multiple_of(HPAGE_PMD_NR).then_some((vma.mapping, index))
}

/// Makes one huge page of pages `index..` of a file; if it is one, takes the table away that shows it at `p`.
///
/// # Errors
/// -EINVAL: no page there, or the area does not show just these; -EAGAIN: a page is locked or referenced by more than
/// entries; -ENOMEM.
pub(super) async fn hpage_collapse_scan_file(k: &Kernel, p: PmdPtr, mapping: u8, index: u8) -> Result<(), Errno> {
    enter!(k);
    let (mut present, mut suitable) = (false, true);
    spin_lock(k, i_pages(mapping)).await;
    let huge = k.xa_load(mapping, index).is_some_and(|page| k.page_head(page.pfn));
    for page in (index..index + HPAGE_PMD_NR as u8).filter_map(|index| k.xa_load(mapping, index)) {
        present = true;
        if !huge && suitable && k.fixed(Fix::CollapseScanCount) {
            suitable = is_file_refcount_suitable(k, page.pfn, 1).await;
        }
    }
    spin_unlock(k, i_pages(mapping));
    match (present, suitable) {
        (false, _) => return Err(Errno::EINVAL),
        (_, false) => return Err(Errno::EAGAIN),
        _ if !huge => collapse_file(k, mapping, index).await?,
        _ => {}
    }
    // The table may have been busy, or be there again.
    down_write(k, mmap_lock(p.mm)).await;
    let ret = collapse_pte_mapped_thp(k, p, mapping, index).await;
    up_write(k, mmap_lock(p.mm));
    ret
}

/// Whether a page is referenced by entries and `refs` others alone.
async fn is_file_refcount_suitable(k: &Kernel, pfn: Pfn, refs: i32) -> bool {
    let expected = folio_mapcount(k, pfn).await + refs;
    k.step(obj::page(pfn, 1), Access::Read, || k.page_count(pfn)).await == expected
}

/// Gives a new huge page the place of pages `index..` of a file.
async fn collapse_file(k: &Kernel, mapping: u8, index: u8) -> Result<(), Errno> {
    enter!(k);
    let folio = alloc_pages(k, HPAGE_PMD_ORDER, true, Owner::File(mapping)).await.ok_or(Errno::ENOMEM)?;
    let locked = trylock(k, folio_lock(folio.pfn)).await;
    assert!(locked, "nobody else knows the page");
    let mut small = Small::default();
    let mut ret = isolate_file_pages(k, mapping, index, &mut small).await;
    if ret.is_ok() {
        for (i, page) in small.iter().enumerate() {
            let to = PageRef { pfn: folio.pfn.add(i), ..folio };
            match *page {
                Some(page) => copy_user_highpage(k, to, page).await,
                None => clear_user_highpage(k, to).await,
            }
        }
        ret = replace_file_pages(k, mapping, index, &small, folio).await;
    }
    if ret.is_ok() {
        retract_page_tables(k, mapping, index).await;
    }
    mutex_unlock(k, folio_lock(folio.pfn));
    for page in small.into_iter().flatten() {
        mutex_unlock(k, folio_lock(page.pfn));
        // Ours, and the page cache's.
        folio_put_refs(k, page, if ret.is_ok() { 2 } else { 1 }).await;
    }
    if ret.is_err() {
        put_page(k, folio).await;
    }
    ret
}

/// Locks and unmaps pages of a file, unless there is none left, or somebody has one locked, holds it, or it is huge by
/// now.
async fn isolate_file_pages(k: &Kernel, mapping: u8, index: u8, small: &mut Small) -> Result<(), Errno> {
    let mut empty = true;
    for (index, slot) in (index..).zip(small) {
        spin_lock(k, i_pages(mapping)).await;
        let Some(page) = k.xa_load(mapping, index) else {
            spin_unlock(k, i_pages(mapping));
            continue;
        };
        let pfn = page.pfn;
        let locked = k.compound_head(pfn) == pfn && !k.page_head(pfn) && trylock(k, folio_lock(pfn)).await;
        if locked {
            get_page(k, pfn).await;
            *slot = Some(page);
        }
        spin_unlock(k, i_pages(mapping));
        if !locked {
            return Err(Errno::EAGAIN);
        }
        if folio_mapcount(k, pfn).await > 0 {
            unmap_mapping_range(k, mapping, index, index + 1, false).await;
        }
        // Whoever takes a reference from now on takes it from the page cache, and waits for the lock.
        if !is_file_refcount_suitable(k, pfn, 2).await {
            return Err(Errno::EAGAIN);
        }
        empty = false;
    }
    if empty { Err(Errno::EINVAL) } else { Ok(()) }
}

/// The page cache has the huge page, if what was a hole still is.
async fn replace_file_pages(k: &Kernel, mapping: u8, index: u8, small: &Small, folio: PageRef) -> Result<(), Errno> {
    spin_lock(k, i_pages(mapping)).await;
    let filled = (index..).zip(small).any(|(index, page)| page.is_none() && k.xa_load(mapping, index).is_some());
    if !filled {
        let replace = || {
            for (i, index) in (index..).take(HPAGE_PMD_NR).enumerate() {
                let page = PageRef { pfn: folio.pfn.add(i), ..folio };
                k.xa_store(mapping, index, Some(page));
                k.set_folio_mapping(page.pfn, mapping, Some(index));
            }
            // A reference a page; ours becomes one of them.
            add(k, folio.pfn, HPAGE_PMD_NR as i32 - 1);
        };
        k.step(obj::page(folio.pfn, HPAGE_PMD_NR), Access::Write, replace).await;
        for page in small.iter().flatten() {
            k.set_folio_mapping(page.pfn, mapping, None);
        }
    }
    spin_unlock(k, i_pages(mapping));
    if filled { Err(Errno::EAGAIN) } else { Ok(()) }
}

/// Takes away the tables that show the huge page, which is locked, so that nobody maps it, and whose address spaces
/// nobody uses.
async fn retract_page_tables(k: &Kernel, mapping: u8, index: u8) {
    enter!(k);
    down_write(k, i_mmap_rwsem(mapping)).await;
    let mut after = None;
    while let Some(vma) = mapping_next_vma(k, mapping, index, index + 1, after) {
        after = Some(rmap_order(k, &vma));
        let Some(p) = retractable(&vma, index) else {
            continue;
        };
        if !pmdp_get_lockless(k, p).await.is_table() || !trylock(k, mmap_lock(vma.mm)).await {
            continue;
        }
        // A fault may have been faster than us.  Linux looks again since v6.2 (023f47a8250c mm/khugepaged: fix
        // ->anon_vma race), the model on every release.
        let same = |v: &&Vma| v.start == vma.start && !v.anon_vma;
        if k.rmap_vmas(i_mmap_rwsem(mapping), vma.mm).iter().any(|v| same(&v)) {
            collapse_and_free_pmd(k, p).await;
        }
        up_write(k, mmap_lock(vma.mm));
    }
    up_write(k, i_mmap_rwsem(mapping));
}

/// The pmd of page `index` of a file, if the area could show a huge page there, and holds nothing else.
fn retractable(vma: &Vma, index: u8) -> Option<PmdPtr> {
    let p = PmdPtr::of(vma.mm, vma.start + index.checked_sub(vma.pgoff)?);
    (!vma.anon_vma && thp_vma_suitable(vma, p) && vma.pgoff_of(p.base()) == index).then_some(p)
}

/// Takes the table away that shows a huge page at `p`; mmap_lock is held for writing.
///
/// ```text
///   collapse_pte_mapped_thp                   truncation, reclaim
///                                             1. i_mmap lock, read the pmd: a table
///   a. the mappings of its entries go
///                                             2. clear an entry, and its mapping goes again
///   b. clear the pmd, free the table
///                                             3. take the table's lock
/// ```
///
/// # Errors
/// -EINVAL: no such huge page, or a table that shows something else, too.
async fn collapse_pte_mapped_thp(k: &Kernel, p: PmdPtr, mapping: u8, index: u8) -> Result<(), Errno> {
    enter!(k);
    if file_area(k, p) != Some((mapping, index)) {
        return Err(Errno::EINVAL);
    }
    let locks = k.fixed(Fix::CollapseFileLocks);
    // Else anon_vma's lock would be needed, too; since v6.2 (ab0c3f1251b4) it is taken.
    if locks && find_vma(k, p.mm, p.base()).is_none_or(|vma| vma.anon_vma) {
        return Err(Errno::EINVAL);
    }
    let folio = filemap_get_folio(k, mapping, index).await.ok_or(Errno::EINVAL)?;
    let head = k.compound_head(folio.pfn);
    mutex_lock(k, folio_lock(head)).await;
    let huge = k.page_head(folio.pfn) && k.folio_mapping(folio.pfn) == mapping;
    // Without a table there is nothing to do: a fault brings the page (SCAN_PMD_NONE).
    let mut ret = if huge { Ok(()) } else { Err(Errno::EINVAL) };
    if let Some(table) = pmdp_get_lockless(k, p).await.table_nr().filter(|_| huge) {
        if locks {
            down_write(k, i_mmap_rwsem(mapping)).await;
        }
        ret = remove_pte_mappings(k, p, table, folio).await;
        if ret.is_ok() {
            collapse_and_free_pmd(k, p).await;
        }
        if locks {
            up_write(k, i_mmap_rwsem(mapping));
        }
    }
    mutex_unlock(k, folio_lock(head));
    put_page(k, folio).await;
    ret
}

/// Takes back mappings and references of entries that stay until their table goes.
async fn remove_pte_mappings(k: &Kernel, p: PmdPtr, table: u8, folio: PageRef) -> Result<(), Errno> {
    let pages = || (p.base()..).zip((0..HPAGE_PMD_NR).map(|i| folio.pfn.add(i)));
    let mut mapped = 0;
    let mut ret = Ok(());
    spin_lock(k, ptl(table)).await;
    for (va, pfn) in pages() {
        let pte = ptep_get(k, PtePtr::of(k, table, va));
        if !(pte.none() || pte.present() && pte.pfn() == pfn) {
            ret = Err(Errno::EINVAL);
        }
    }
    if ret.is_ok() {
        for (_, pfn) in pages().filter(|&(va, _)| !ptep_get(k, PtePtr::of(k, table, va)).none()) {
            page_remove_rmap(k, pfn).await;
            mapped += 1;
        }
    }
    spin_unlock(k, ptl(table));
    if mapped > 0 {
        folio_put_refs(k, folio, mapped).await;
        add_mm_counter(k, p.mm, folio.pfn, -mapped);
    }
    ret
}

/// Nobody but the MMU and GUP-fast can walk the table.
async fn collapse_and_free_pmd(k: &Kernel, p: PmdPtr) {
    enter!(k);
    let range = MmuNotifierRange::new(Notify::Clear, p.mm, p.base(), p.base() + HPAGE_PMD_NR as u8);
    if k.fixed(Fix::CollapseFileNotify) {
        mmu_notifier_invalidate_range_start(k, &range).await;
    }
    spin_lock(k, page_table_lock(p.mm)).await;
    let pmd = pmdp_collapse_flush(k, p).await;
    spin_unlock(k, page_table_lock(p.mm));
    if k.fixed(Fix::CollapseIpi) {
        tlb_remove_table_sync_one(k).await;
    }
    if k.fixed(Fix::CollapseFileNotify) {
        mmu_notifier_invalidate_range_end(k, &range).await;
    }
    inc_nr_ptes(k, p.mm, -1);
    pte_free(k, pmd.table_nr().expect("tables only go under mmap_lock held for writing")).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_goes_if_it_shows_the_huge_page_alone() {
        let area = |start, end, pgoff| {
            let (mm, flags, mapping, anon_vma, ops) = (3, VmFlags::SHARED, 0, false, None);
            Vma { mm, start, end, flags, mapping, pgoff, anon_vma, ops }
        };
        let at = |vma: &Vma, index| retractable(vma, index).map(|p| (p.mm, p.base()));
        assert_eq!(at(&area(8, 16, 0), 4), Some((3, 12)));
        assert_eq!(at(&area(8, 12, 4), 4), Some((3, 8)));
        assert_eq!(at(&area(8, 15, 0), 4), None, "a part of it");
        assert_eq!(at(&area(10, 18, 0), 4), None, "across two tables");
        assert_eq!(at(&area(9, 16, 1), 0), None, "not from the first page on");
        assert_eq!(at(&Vma { anon_vma: true, ..area(8, 16, 0) }, 0), None, "perhaps private copies, too");
    }
}
