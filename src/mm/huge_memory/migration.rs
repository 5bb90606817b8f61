// SPDX-License-Identifier: GPL-2.0-or-later
//! Leaves of huge pages that move (CONFIG_ARCH_ENABLE_THP_MIGRATION, since v4.14).  Linux: mm/huge_memory.c.
//!
//! ```text
//!   migration                                     another CPU
//!   1. read the leaf
//!                                                 a. store: the MMU sets the dirty bit
//!   2. hide it from the MMU, flush
//!   3. is it pinned?  put it back
//!   4. is it dirty?  so is the page
//!   5. a migration entry in its place             b. fault: wait for the page's lock
//! ```
//!
//! So 4 asks what 2 found, not what 1 read.
//!
//! The table that was put aside for the leaf stays: the entry can be split as the leaf could.

use super::*;
use crate::kernel::mutex_lock;

/// The leaf that maps a huge page says that it moves; false: it is pinned, and the leaf is back.  `None`: there
/// is no such leaf by now.
pub(crate) async fn set_pmd_migration_entry(k: &Kernel, p: PmdPtr, folio: PageRef) -> Option<bool> {
    enter!(k);
    let head = folio.pfn;
    spin_lock(k, page_table_lock(p.mm)).await;
    let read = pmdp_get(k, p);
    if !read.is_leaf() || read.pfn() != head {
        spin_unlock(k, page_table_lock(p.mm));
        return None;
    }
    let found = pmdp_invalidate(k, p).await;
    let old = if k.fixed(Fix::PmdMigrationDirty) { found } else { read };
    let exclusive = folio_exclusive(k, head);
    if exclusive && !folio_try_share_anon_rmap(k, head).await {
        move_pmd_at(k, p, old, pmd_gens(k, p)).await;
        spin_unlock(k, page_table_lock(p.mm));
        return Some(false);
    }
    if old.dirty() {
        set_page_dirty(k, head).await;
    }
    set_pmd_at(k, p, Pte::migration(head, old.write(), exclusive)).await;
    folio_remove_rmap_pmd(k, head).await;
    put_page(k, folio).await;
    spin_unlock(k, page_table_lock(p.mm));
    Some(true)
}

/// The migration entry of `old` becomes a leaf of `new`, which may be the same; `flags`: of the area as it is by
/// now.  False: there is no such entry by now.
pub(crate) async fn remove_migration_pmd(k: &Kernel, p: PmdPtr, flags: VmFlags, old: PageRef, new: PageRef) -> bool {
    enter!(k);
    spin_lock(k, page_table_lock(p.mm)).await;
    let entry = pmdp_get(k, p);
    let found = entry.is_migration() && entry.pfn() == old.pfn;
    if found {
        get_page(k, new.pfn).await;
        folio_add_anon_rmap_pmd(k, new.pfn, entry.write() || entry.exclusive()).await;
        let write = entry.write() && flags.contains(VmFlags::WRITE);
        let leaf = Pte::page(new.pfn).mkhuge().mkwrite(write).mkaccessible(flags.contains(VmFlags::READ));
        set_pmd_at(k, p, leaf).await;
    }
    spin_unlock(k, page_table_lock(p.mm));
    found
}

/// A fault waits until whoever moves the page is done: it holds the page's lock.
pub(crate) async fn pmd_migration_entry_wait(k: &Kernel, p: PmdPtr) -> VmFault {
    enter!(k);
    spin_lock(k, page_table_lock(p.mm)).await;
    let entry = pmdp_get(k, p);
    spin_unlock(k, page_table_lock(p.mm));
    if entry.is_migration() {
        let moving = folio_lock(k.compound_head(entry.pfn()));
        mutex_lock(k, moving).await;
        mutex_unlock(k, moving);
    }
    VmFault::NoPage
}

/// A child gets the entry, too: both copies are for reading, and the page is nobody's alone.
pub(super) async fn copy_pmd_migration(k: &Kernel, dst: PmdPtr, src: PmdPtr, table: u8) {
    let mut entry = pmdp_get(k, src);
    if entry.write() || entry.exclusive() {
        entry = Pte::migration(entry.pfn(), false, false);
        set_pmd_at(k, src, entry).await;
    }
    add_mm_counter(k, dst.mm, entry.pfn(), HPAGE_PMD_NR as i32);
    inc_nr_ptes(k, dst.mm, 1);
    pgtable_trans_huge_deposit(k, dst, table);
    set_pmd_at(k, dst, entry).await;
}

/// The table that was put aside takes the entry's place, with an entry for each page.
pub(super) async fn split_pmd_migration(k: &Kernel, p: PmdPtr) {
    let entry = pmdp_get(k, p);
    let table = pgtable_trans_huge_withdraw(k, p).expect("anonymous memory has a table put aside");
    let pte = |i| Pte::migration(entry.pfn().add(i), entry.write(), entry.exclusive());
    pmd_populate(k, p, table, std::array::from_fn(pte)).await;
}
