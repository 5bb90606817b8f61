// SPDX-License-Identifier: GPL-2.0-or-later
//! Gathering what was unmapped, so that nothing is freed before its flush.  Linux: mm/mmu_gather.c.
//!
//! ```text
//!   unmapper                     another CPU
//!   1. clear the pte
//!                                a. store through its TLB: still the old page
//!   2. flush, wait for the CPUs
//!   3. drop the reference
//! ```
//!
//! Kept:       nested unmappers: whoever finishes flushes for the other too.
//! Simplified: one batch; no lazy mode, no deferred flush.

use super::mm_types::*;
use super::pgtable::pte_free;
use super::swap::put_page;
use super::swapfile::free_swap_cache;
use crate::arch;
use crate::fixes::Fix;
use crate::kernel::{WorkFunc, call_rcu, enter, flush_tlb_others, smp_call_function};
use crate::limits::*;
use crate::trace::{Access, obj};

/// What one unmapper has gathered.
pub(crate) struct MmuGather {
    pub(crate) mm: u8,
    start: u8,
    end: u8,
    pages: [PageRef; BIO_MAX_VECS],
    nr_pages: u8,
    tables: [u8; PTRS_PER_PMD],
    nr_tables: u8,
}

/// Begins.
pub(crate) async fn tlb_gather_mmu(k: &Kernel, mm: u8) -> MmuGather {
    enter!(k);
    k.step(obj::tlb_flush_pending(mm), Access::Commute, || {
        k.tlb_flush_pending_add(mm, 1);
    })
    .await;
    MmuGather {
        mm,
        start: u8::MAX,
        end: 0,
        pages: [PageRef::default(); BIO_MAX_VECS],
        nr_pages: 0,
        tables: [0; PTRS_PER_PMD],
        nr_tables: 0,
    }
}

impl MmuGather {
    /// `start..end` has to be flushed.
    pub(crate) fn range(&mut self, start: u8, end: u8) {
        self.start = self.start.min(start);
        self.end = self.end.max(end);
    }

    /// Queues a page that was mapped; true if the batch is full and must be flushed.
    pub(crate) fn remove_page(&mut self, page: PageRef) -> bool {
        self.pages[self.nr_pages as usize] = page;
        self.nr_pages += 1;
        self.nr_pages as usize == BIO_MAX_VECS
    }

    /// Queues a page table that no entry points to any more.
    pub(crate) fn remove_table(&mut self, table: u8) {
        self.tables[self.nr_tables as usize] = table;
        self.nr_tables += 1;
    }
}

/// Flushes what was gathered, and frees nothing yet.
pub(crate) async fn tlb_flush_mmu_tlbonly(k: &Kernel, tlb: &mut MmuGather) {
    enter!(k);
    if tlb.start < tlb.end {
        flush_tlb_range(k, tlb.mm, tlb.start, tlb.end).await;
    }
    (tlb.start, tlb.end) = (u8::MAX, 0);
}

/// Flushes what was gathered, and only then drops the references.
pub(crate) async fn tlb_flush_mmu(k: &Kernel, tlb: &mut MmuGather) {
    enter!(k);
    tlb_flush_mmu_tlbonly(k, tlb).await;
    for i in 0..std::mem::take(&mut tlb.nr_pages) {
        let page = tlb.pages[i as usize];
        if k.folio_test_anon(page.pfn) {
            free_swap_cache(k, page).await;
        }
        put_page(k, page).await;
    }
    for i in 0..std::mem::take(&mut tlb.nr_tables) {
        tlb_remove_table(k, tlb.tables[i as usize]).await;
    }
}

/// Frees a table that GUP-fast may still be walking: after a grace period.
///
/// Linux: MMU_GATHER_RCU_TABLE_FREE, on x86 since v6.14 for all, before for paravirt; native x86
/// relied on the flush above having interrupted every CPU that could walk it.
async fn tlb_remove_table(k: &Kernel, table: u8) {
    enter!(k);
    if k.fixed(Fix::TableFreeNoRcu) {
        pte_free(k, table).await;
        return;
    }
    call_rcu(k, WorkFunc::FreeTable, table).await;
}

/// Waits until nobody walks a table any more that was reachable before.
pub(crate) async fn tlb_remove_table_sync_one(k: &Kernel) {
    enter!(k);
    smp_call_function(k).await;
}

/// Ends.
pub(crate) async fn tlb_finish_mmu(k: &Kernel, mut tlb: MmuGather) {
    enter!(k);
    let mm = tlb.mm;
    let nested = k.step(obj::tlb_flush_pending(mm), Access::Read, || k.tlb_flush_pending(mm) > 1).await;
    if nested {
        // Entries that another unmapper cleared and has not flushed yet were none for us.
        tlb.range(0, TASK_SIZE as u8);
    }
    tlb_flush_mmu(k, &mut tlb).await;
    k.step(obj::tlb_flush_pending(mm), Access::Commute, || k.tlb_flush_pending_add(mm, -1)).await;
}

/// Makes every CPU of `mm` forget the translations of pages `start..end`.  Linux: arch/x86/mm/tlb.c.
pub(crate) async fn flush_tlb_range(k: &Kernel, mm: u8, start: u8, end: u8) {
    let pages = arch::pages(start as usize, end as usize);
    flush_tlb_others(k, || k.mm_cpumask(mm), pages).await;
}
