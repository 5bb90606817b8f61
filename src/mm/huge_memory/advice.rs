// SPDX-License-Identifier: GPL-2.0-or-later
//! Advice on memory that a leaf maps.  Linux: mm/huge_memory.c, mm/madvise.c.
//!
//! Advice on a part of a huge page splits the page itself, if nobody else maps or holds it.

use super::*;
use crate::mm::vmscan::folio_isolate_lru;

/// The page behind a leaf that nobody has locked, locked; `alone`: and that nobody else maps.
async fn lock_huge_page(k: &Kernel, p: PmdPtr, alone: bool) -> Option<PageRef> {
    let pmd = pmdp_get(k, p);
    if !pmd.is_leaf() || !pfn_has_page(k, pmd.pfn()) || alone && folio_mapcount(k, pmd.pfn()).await != 1 {
        return None;
    }
    let locked = trylock(k, folio_lock(pmd.pfn())).await;
    locked.then(|| PageRef { pfn: pmd.pfn(), gen_: pmd_gens(k, p)[0] })
}

/// Makes small pages of the huge one behind a leaf, as far as that is possible; `alone`: if nobody else maps it.
pub(crate) async fn split_leaf(k: &Kernel, p: PmdPtr, alone: bool) {
    spin_lock(k, page_table_lock(p.mm)).await;
    let folio = lock_huge_page(k, p, alone).await;
    if let Some(folio) = folio {
        get_page(k, folio.pfn).await;
    }
    spin_unlock(k, page_table_lock(p.mm));
    if let Some(folio) = folio {
        // Who holds it otherwise keeps it whole.
        _ = split_huge_page(k, folio, folio.pfn).await;
        mutex_unlock(k, folio_lock(folio.pfn));
        put_page(k, folio).await;
    }
}

/// MADV_FREE of all that a leaf maps: until somebody writes to it nobody needs it.
pub(crate) async fn madvise_free_huge_pmd(k: &Kernel, tlb: &mut MmuGather, p: PmdPtr) {
    enter!(k);
    spin_lock(k, page_table_lock(p.mm)).await;
    if let Some(PageRef { pfn: head, .. }) = lock_huge_page(k, p, true).await {
        k.step(obj::page(head, 1), Access::Write, || k.folio_assign_dirty(head, false)).await;
        mutex_unlock(k, folio_lock(head));
        if pmdp_get(k, p).dirty() {
            let pmd = pmdp_invalidate(k, p).await;
            move_pmd_at(k, p, pmd.mkclean(), pmd_gens(k, p)).await;
            tlb.range(p.base(), p.base() + HPAGE_PMD_NR as u8);
        }
        // folio_mark_lazyfree()
        let lazy = PageFlags::SWAPBACKED | PageFlags::ACTIVE;
        k.step(obj::page(head, 1), Access::Write, || k.folio_assign(head, lazy, false)).await;
    }
    spin_unlock(k, page_table_lock(p.mm));
}

/// MADV_COLD and MADV_PAGEOUT of all that a leaf maps; the page for reclaim, if we alone map it.
pub(crate) async fn madvise_cold_or_pageout_pmd(k: &Kernel, p: PmdPtr, pageout: bool) -> Option<PageRef> {
    enter!(k);
    let (mut isolated, mut aged) = (None, false);
    spin_lock(k, page_table_lock(p.mm)).await;
    let pmd = pmdp_get(k, p);
    let head = pmd.pfn();
    if pmd.is_leaf() && pfn_has_page(k, head) && folio_mapcount(k, head).await == 1 {
        if !pageout {
            if pmd.young() {
                pmdp_modify(k, p, Pte::mkold).await;
                aged = true;
            }
            k.step(obj::page(head, 1), Access::Write, || k.folio_assign(head, PageFlags::ACTIVE, false)).await;
        } else if folio_isolate_lru(k, head, true).await {
            isolated = Some(PageRef { pfn: head, gen_: pmd_gens(k, p)[0] });
        }
    }
    spin_unlock(k, page_table_lock(p.mm));
    if aged {
        flush_tlb_range(k, p.mm, p.base(), p.base() + HPAGE_PMD_NR as u8).await;
    }
    isolated
}
