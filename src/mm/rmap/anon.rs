// SPDX-License-Identifier: GPL-2.0-or-later
//! What takes the place of the entry of an anonymous page.  Linux: mm/rmap.c.
//!
//! ```text
//!   reclaim, migration                  GUP-fast
//!   1. clear the entry                  a. read the entry
//!   2. is the page pinned?              b. pin
//!   3. it is nobody's alone any more    c. the entry is the same, the page is exclusive
//! ```
//!
//! From v5.19 on.  Before, nobody looks: a pinned page is unmapped like any other.  With 2 and 3 before
//! 1 nobody would see b (the kernel's barriers are there for CPUs that do it in that order: 088b8aa537c2).

use super::*;

/// PageAnonExclusive(), since there is such a bit.
pub(in crate::mm) fn folio_exclusive(k: &Kernel, pfn: Pfn) -> bool {
    k.fixed(Fix::WpReuseExclusive) && k.folio_test_anon(pfn) && k.page_anon_exclusive(pfn)
}

/// The entry says where the contents are, that the page moves, or nothing; false: it is back, and all
/// stays as it is.  `shared`: the page was its owner's alone, and is not any more.
pub(super) async fn replace_anon_pte(k: &Kernel, page: PageRef, p: PtePtr, pte: Pte, what: Ttu, shared: bool) -> bool {
    let (pfn, mm) = (page.pfn, k.table_mm(p.table));
    if pte.dirty() {
        set_page_dirty(k, k.compound_head(pfn)).await;
    }
    let lazyfree = k.step(obj::page(pfn, 1), Access::Read, || !k.folio_test(pfn, PageFlags::SWAPBACKED)).await;
    if lazyfree && what == Ttu::Unmap {
        let discard = discard_lazyfree(k, pfn).await;
        if discard {
            add_mm_counter(k, mm, pfn, -1);
        } else {
            set_pte_at(k, p, pte).await;
        }
        return discard;
    }
    let exclusive = shared || folio_exclusive(k, pfn);
    let slot = if what == Ttu::Unmap { k.folio_swap(pfn) } else { 0 };
    if what == Ttu::Unmap {
        swap_duplicate(k, slot).await;
    }
    if exclusive && !shared && !folio_try_share_anon_rmap(k, pfn).await {
        if what == Ttu::Unmap {
            swap_free(k, slot).await;
        }
        set_pte_at(k, p, pte).await;
        return false;
    }
    let entry = match what {
        Ttu::Unmap | Ttu::Poison => Pte::swap(slot).mkexclusive(exclusive),
        Ttu::Migrate | Ttu::Split => Pte::migration(pfn, pte.write(), exclusive),
    };
    if what == Ttu::Unmap {
        add_mm_counter(k, mm, pfn, -1);
    }
    set_pte_at(k, p, entry).await;
    true
}

/// Whether a page whose contents nobody needs (MADV_FREE) is mapped by us alone, unpinned, and not
/// written to since.
///
/// To v5.17 references did not count: a disk that was about to write to it wrote for nobody.
async fn discard_lazyfree(k: &Kernel, pfn: Pfn) -> bool {
    let touch = [Touch::write(obj::page(pfn, 1)), Touch::read(obj::mapcount(pfn)), Touch::default()];
    k.step_on(touch, Wait::Ready, || {
        // Ours for the isolation, and those of the entries.
        let ours = !k.fixed(Fix::LazyfreeCount) || k.page_count(pfn) == 1 + k.page_mapcount(pfn);
        let dirty = k.folio_test_dirty(pfn);
        if dirty || !ours {
            k.folio_assign(pfn, PageFlags::SWAPBACKED, dirty || k.folio_test(pfn, PageFlags::SWAPBACKED));
        }
        ours && !dirty
    })
    .await
}

/// The page is not its owner's alone any more, unless it is pinned.  Before v6.8 page_try_share_anon_rmap().
pub(in crate::mm) async fn folio_try_share_anon_rmap(k: &Kernel, pfn: Pfn) -> bool {
    enter!(k);
    if k.fixed(Fix::TtuShareTest) && folio_maybe_dma_pinned(k, pfn).await {
        return false;
    }
    k.step(obj::page(pfn, 1), Access::Write, || k.set_page_anon_exclusive(pfn, false)).await;
    true
}
