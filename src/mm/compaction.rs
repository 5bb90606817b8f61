// SPDX-License-Identifier: GPL-2.0-or-later
//! Compaction: pages move so that free memory lies together.  Linux: mm/compaction.c.
//!
//! Kept:       whose pages move: anybody's, mapped or not, of files, and what the disk's page cache holds.
//! Simplified: pages in order of page frames; they go wherever there is room; a call, as by
//!             /proc/sys/vm/compact_memory.
//! Left out:   kcompactd, zones and pageblocks, isolation modes.

use super::migrate::migrate_pages;
use super::mm_types::*;
use super::vmscan::{Isolated, folio_isolate_lru};
use crate::kernel::{Touch, Wait, enter};
use crate::limits::NR_FRAMES;
use crate::trace::{Pfn, obj};

/// Moves up to `nr` pages; returns how many it could.
pub(crate) async fn compact_zone(k: &Kernel, nr: u8) -> u32 {
    enter!(k);
    let mut list = Isolated::default();
    for pfn in (0..NR_FRAMES as u8).map(Pfn) {
        if list.as_slice().len() < nr.into() && isolate_migratepages_block(k, pfn).await {
            list.push(PageRef { pfn, gen_: k.page_gen(pfn) });
        }
    }
    migrate_pages(k, list.as_slice()).await
}

/// Takes a page off the list, unless it is anonymous, not of the swap cache, and somebody beside its mappings references
/// it; huge pages are what the room is for.
async fn isolate_migratepages_block(k: &Kernel, pfn: Pfn) -> bool {
    let flags = k.peek_page(pfn).flags;
    if !flags.contains(PageFlags::LRU) || flags.contains(PageFlags::HEAD) {
        return false;
    }
    let touch = [Touch::read(obj::page(pfn, 1)), Touch::read(obj::mapcount(pfn)), Touch::default()];
    let mapping = || !k.folio_test(pfn, PageFlags::ANON) || k.folio_test(pfn, PageFlags::SWAPCACHE); // folio_mapping()
    let referenced = || !mapping() && k.page_count(pfn) > k.page_mapcount(pfn);
    !k.step_on(touch, Wait::Ready, referenced).await && folio_isolate_lru(k, pfn, true).await
}
