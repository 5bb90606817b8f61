// SPDX-License-Identifier: GPL-2.0-or-later
//! Writeback's rmap walk.  Linux: mm/rmap.c.

use super::*;

/// Write-protects the entries of all shared mappings of a locked page, and makes them clean; true: one
/// was dirty or writable.
pub(crate) async fn folio_mkclean(k: &Kernel, page: PageRef) -> bool {
    enter!(k);
    if page_mapcount(k, page.pfn).await == 0 {
        return false;
    }
    let Some(rwsem) = rmap_lock(k, page.pfn) else {
        return false;
    };
    down_read(k, rwsem).await;
    let (mut cleaned, mut after) = (false, None);
    while let Some((vma, va)) = rmap_walk_next(k, page.pfn, 1, rwsem, after) {
        after = Some(rmap_order(k, &vma));
        if vma.flags.contains(VmFlags::SHARED) {
            cleaned |= page_mkclean_one(k, page, &vma, va).await;
        }
    }
    up_read(k, rwsem);
    cleaned
}

async fn page_mkclean_one(k: &Kernel, page: PageRef, vma: &Vma, va: u8) -> bool {
    enter!(k);
    let range = MmuNotifierRange::new(Notify::ProtectionPage, vma.mm, va, va + 1);
    mmu_notifier_invalidate_range_start(k, &range).await;
    let mut cleaned = false;
    // With the table's lock: who has cleared a dirty entry under it has dirtied the page, too.
    if let Some((p, pte)) = page_vma_mapped_walk(k, page.pfn, vma, va, true).await {
        cleaned = pte.dirty() || pte.write();
        if cleaned {
            let pte = ptep_clear_flush(k, vma, va, p).await;
            set_pte_at(k, p, pte.mkwrite(false).mkclean()).await;
        }
        spin_unlock(k, ptl(p.table));
    }
    mmu_notifier_invalidate_range_end(k, &range).await;
    cleaned
}
