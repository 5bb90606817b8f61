// SPDX-License-Identifier: GPL-2.0-or-later
//! What an address maps.  Linux: mm/pagewalk.c (v6.12; before it follow_page()).

use super::memory::vm_normal_page;
use super::mm_types::*;
use super::pgtable::*;
use crate::kernel::{Lock, spin_lock, spin_unlock};

/// An entry whose lock is held.
pub(crate) struct FolioWalk {
    lock: Lock,
    /// The head of the page that it maps, and the generation that it was made for.
    pub(crate) folio: Option<PageRef>,
}

/// Locks the entry of `va`, a pte or a leaf, and looks what it maps.
pub(crate) async fn folio_walk_start(k: &Kernel, vma: &Vma, va: u8) -> FolioWalk {
    let p = PmdPtr::of(vma.mm, va);
    let pmd = pmdp_get_lockless(k, p).await;
    let lock = pmd.table_nr().map_or(page_table_lock(vma.mm), ptl);
    spin_lock(k, lock).await;
    let (entry, gen_) = match pmd.table_nr() {
        Some(table) => (ptep_get(k, PtePtr::of(k, table, va)), pte_gen(k, PtePtr::of(k, table, va))),
        None => (pmdp_get(k, p), pmd_gens(k, p)[0]),
    };
    let normal = (entry.present() && !entry.is_table()).then(|| vm_normal_page(k, vma, va, entry)).flatten();
    FolioWalk { lock, folio: normal.map(|pfn| PageRef { pfn: k.compound_head(pfn), gen_ }) }
}

/// Lets go of the entry.
pub(crate) fn folio_walk_end(k: &Kernel, walk: FolioWalk) {
    spin_unlock(k, walk.lock);
}
