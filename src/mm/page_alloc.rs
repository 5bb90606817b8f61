// SPDX-License-Identifier: GPL-2.0-or-later
//! The buddy allocator.  Linux: mm/page_alloc.c.
//!
//! Kept:       compound and non-compound blocks and how each is freed; merging of buddies.
//! Simplified: one zone, lowest block first; an allocation and a free are two steps each, free list
//!             and struct page.
//! Left out:   per-cpu lists, migrate types, watermarks: an allocation that fails is -ENOMEM.

use super::memremap::{DEVDAX_START, FSDAX_START};
use super::mm_types::*;
use super::page_ref::put_page_testzero;
use crate::fixes::Fix;
use crate::kernel::{Touch, Wait, enter};
use crate::limits::*;
use crate::trace::{Access, Event, Owner, Pfn, obj};
use std::cell::Cell;
use std::future::Future;

/// First pages of the free blocks of an order, one bit a frame.
#[derive(Debug, Default)]
pub(crate) struct FreeArea(Cell<u64>);

/// The free blocks of an order; for a step that announced the free lists.
fn free_area(k: &Kernel, order: u8) -> &Cell<u64> {
    k.assert_announced(obj::buddy(), Access::Write);
    &k.free_area[order as usize].0
}

/// All memory in free blocks of the largest order, but for what devices have.
pub(crate) fn mem_init(k: &Kernel) {
    let ram = FSDAX_START.index();
    for (pfn, frame) in k.frames.iter().enumerate() {
        let owner = match Pfn(pfn as u8) {
            pfn if pfn < FSDAX_START => Owner::Buddy,
            pfn if pfn < DEVDAX_START => Owner::Blocks,
            _ => Owner::Dev,
        };
        let (refcount, flags, head) = ((pfn >= ram).into(), PageFlags::empty(), Pfn(pfn as u8));
        let (mapcount, entire_mapcount, pincount, order, gen_, mapping) = (0, 0, 0, 0, 0, NO_MAPPING);
        let (index, private) = (0, 0);
        frame.init(Page {
            refcount,
            mapcount,
            entire_mapcount,
            pincount,
            flags,
            order,
            head,
            gen_,
            owner,
            mapping,
            index,
            private,
        });
    }
    k.iomem.iter().for_each(Memory::clear);
    k.free_area.iter().for_each(|a| a.0.set(0));
    let all = (0..ram).step_by(1 << MAX_ORDER).fold(0, |set, pfn| set | 1u64 << pfn);
    k.free_area[MAX_ORDER as usize].0.set(all);
}

/// Takes a block off the free lists, splitting a larger one if need be.
#[track_caller]
fn rmqueue(k: &Kernel, order: u8) -> impl Future<Output = Option<Pfn>> {
    k.step(obj::buddy(), Access::Write, move || {
        let from = (order..=MAX_ORDER).find(|&o| free_area(k, o).get() != 0)?;
        let area = free_area(k, from);
        let pfn = area.get().trailing_zeros() as u8;
        area.set(area.get() & (area.get() - 1));
        for o in order..from {
            let area = free_area(k, o);
            area.set(area.get() | 1 << (pfn + (1 << o)));
        }
        Some(Pfn(pfn))
    })
}

/// Gives a block that left the free lists its struct page.
#[track_caller]
fn prep_new_page(k: &Kernel, pfn: Pfn, order: u8, comp: bool, owner: Owner) -> impl Future<Output = ()> {
    let nr = 1 << order;
    k.step(obj::frames(pfn, nr), Access::Write, move || {
        let gen_ = k.next_generation();
        for i in 0..nr {
            let (refcount, order) = if i == 0 { (1, order) } else { (0, 0) };
            let (head, flags) = match (comp && nr > 1, i) {
                (true, 0) => (pfn, PageFlags::HEAD),
                (true, _) => (pfn, PageFlags::TAIL),
                (false, _) => (pfn.add(i), PageFlags::empty()),
            };
            k.init_page(pfn.add(i), |page| {
                let mapping = NO_MAPPING;
                Page { refcount, order, head, flags, gen_, owner, mapping, ..page }
            });
        }
        k.emit(Event::Alloc { pfn, order, gen_, owner });
        if comp && nr > 1 {
            k.emit(Event::Compound { pfn, order, whole: true });
        }
    })
}

/// Allocates `1 << order` pages; `comp`: one compound page (__GFP_COMP).
///
/// Without `comp` only the first page has a reference, all others have none.
pub(crate) async fn alloc_pages(k: &Kernel, order: u8, comp: bool, owner: Owner) -> Option<PageRef> {
    enter!(k, for_caller);
    if k.should_fail() {
        return None;
    }
    let pfn = rmqueue(k, order).await?;
    prep_new_page(k, pfn, order, comp, owner).await;
    Some(PageRef { pfn, gen_: k.page_gen(pfn) })
}

/// Allocates a page and fills it (__GFP_ZERO, or a copy).  Nobody else sees it yet.
pub(crate) async fn alloc_filled(k: &Kernel, owner: Owner, value: u8) -> Option<PageRef> {
    let page = alloc_pages(k, 0, false, owner).await?;
    fill(k, page, value);
    Some(page)
}

/// Fills a page that nobody else can see.
pub(crate) fn fill(k: &Kernel, page: PageRef, value: u8) {
    k.write_memory(page.pfn, Contents { value, written: page.gen_ });
    k.emit(Event::Fill { pfn: page.pfn, value, gen_: page.gen_ });
}

/// The checks and the end of a block's generation.
#[track_caller]
fn free_pages_prepare(k: &Kernel, pfn: Pfn, order: u8) -> impl Future<Output = ()> {
    let nr = 1 << order;
    let touch = [Touch::write(obj::frames(pfn, nr)), Touch::read(obj::mapcounts(pfn, nr)), Touch::default()];
    k.step_on(touch, Wait::Ready, move || {
        let first =
            |count: fn(&Kernel, Pfn) -> i32| (0..nr).map(|i| count(k, pfn.add(i))).find(|&n| n != 0).unwrap_or(0);
        let mapcount = |k: &Kernel, pfn| k.page_mapcount(pfn) + k.entire_mapcount(pfn);
        let (refcount, mapcount) = (first(Kernel::page_count), first(mapcount));
        let gen_ = k.page_gen(pfn);
        k.emit(Event::Free { pfn, order, gen_, owner: Owner::Buddy, refcount, mapcount });
        let gen_ = k.next_generation();
        for i in 0..nr {
            let (flags, head, owner) = (PageFlags::empty(), pfn.add(i), Owner::Buddy);
            let (mapping, pincount) = (NO_MAPPING, 0);
            k.init_page(head, |page| Page { flags, head, gen_, owner, mapping, pincount, ..page });
        }
    })
}

/// Puts a block on the free lists and merges it with its buddies.
#[track_caller]
fn __free_one_page(k: &Kernel, pfn: Pfn, order: u8) -> impl Future<Output = ()> {
    k.step(obj::buddy(), Access::Write, move || {
        let (mut pfn, mut order) = (pfn.0, order);
        while order < MAX_ORDER {
            let area = free_area(k, order);
            let buddy = pfn ^ (1 << order);
            if area.get() >> buddy & 1 == 0 {
                break;
            }
            area.set(area.get() & !(1 << buddy));
            pfn &= buddy;
            order += 1;
        }
        let area = free_area(k, order);
        area.set(area.get() | 1 << pfn);
    })
}

/// Frees a block whose last reference is gone.  Linux: free_the_page(), free_unref_page().
pub(crate) async fn free_the_page(k: &Kernel, pfn: Pfn, order: u8) {
    enter!(k, for_caller);
    free_pages_prepare(k, pfn, order).await;
    __free_one_page(k, pfn, order).await;
}

/// Drops the allocator's reference to a block.
///
/// A block that is not compound has one reference count, its first page's.  If somebody else still
/// holds a reference there, the rest of the block is freed at once and the first page by its last holder.
pub(crate) async fn __free_pages(k: &Kernel, page: PageRef, order: u8) {
    enter!(k, for_caller);
    let head_first = k.fixed(Fix::FreePagesHeadFirst);
    let mut head = k.page_head(page.pfn);
    if put_page_testzero(k, page, 1).await {
        free_the_page(k, page.pfn, order).await;
        return;
    }
    if !head_first {
        head = k.step(obj::page(page.pfn, 1), Access::Read, || k.page_head(page.pfn)).await;
    }
    if k.fixed(Fix::FreeNonCompound) && !head {
        for o in (0..order).rev() {
            free_the_page(k, page.pfn.add(1 << o), o).await;
        }
    }
}
