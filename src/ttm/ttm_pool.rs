// SPDX-License-Identifier: GPL-2.0-or-later
//! Pools of pages that wait for their next buffer object.  Linux: drivers/gpu/drm/ttm/ttm_pool.c (v5.11).
//!
//! Kept:       last in, first out, by caching and order; blocks are not compound, so that only
//!             their first page has a reference; no reference count is ever looked at; cached pages
//!             have no pool and go back to the buddy allocator at once.
//! Simplified: one device, no dma32.

use super::ttm_device::*;
use super::ttm_tt::{TT_PAGES, Tt};
use crate::fixes::Fix;
use crate::kernel::*;
use crate::limits::*;
use crate::mm::page_alloc::{__free_pages, alloc_pages, fill};
use crate::mm::{Kernel, Page, PageRef};
use crate::trace::{Access, Event, Owner, Pfn, obj};
use std::cell::Cell;
use std::future::Future;

/// Blocks a pool type can hold.
const POOL_DEPTH: usize = NR_FRAMES;
/// Pages all pools together may hold before they shrink (page_pool_size).
const PAGE_POOL_SIZE: usize = 24;

/// A pool type: a stack of blocks.  Guarded by its lock.
#[derive(Debug)]
struct PoolType {
    blocks: [Cell<Pfn>; POOL_DEPTH],
    nr: Cell<usize>,
}

/// All pool types.
#[derive(Debug)]
pub(crate) struct Pools {
    types: [PoolType; NR_POOL_TYPES],
    /// Where the shrinker goes on.
    next: Cell<usize>,
    /// allocated_pages: pages in all pools.
    pages: Cell<usize>,
}

impl Default for Pools {
    fn default() -> Pools {
        Pools {
            types: std::array::from_fn(|_| PoolType {
                blocks: std::array::from_fn(|_| Cell::default()),
                nr: Cell::new(0),
            }),
            next: Cell::new(0),
            pages: Cell::new(0),
        }
    }
}

impl Pools {
    pub(crate) fn reset(&self) {
        self.types.iter().for_each(|t| t.nr.set(0));
        self.next.set(0);
        self.pages.set(0);
    }
}

/// The pool type of pages of some caching and order; cached pages have none.
fn ttm_pool_select_type(caching: TtmCaching, order: u8) -> Option<usize> {
    match caching {
        TtmCaching::Cached => None,
        _ => Some(caching as usize * (MAX_ORDER as usize + 1) + order as usize),
    }
}

fn pool_lock(type_: usize) -> Lock {
    Lock::new(LockClass::Pool, type_)
}

/// The order of the blocks of a pool type.
fn order_of(type_: usize) -> u8 {
    (type_ % (MAX_ORDER as usize + 1)) as u8
}

/// Ends the block's generation: it is nobody's until it is taken.
#[track_caller]
fn recycle(k: &Kernel, pfn: Pfn, order: u8, owner: Owner) -> impl Future<Output = ()> {
    let nr = 1 << order;
    k.step(obj::frames(pfn, nr), Access::Write, move || {
        let Page { refcount, mapcount, gen_, .. } = k.peek_page(pfn);
        if owner.is_free() {
            k.emit(Event::Free { pfn, order, gen_, owner, refcount, mapcount });
        }
        let gen_ = k.set_generation(pfn, nr, owner);
        if !owner.is_free() {
            k.emit(Event::Alloc { pfn, order, gen_, owner });
        }
    })
}

/// Puts a block into a pool, cleared.
async fn ttm_pool_type_give(k: &Kernel, bdev: &TtmDevice, type_: usize, pfn: Pfn) {
    enter!(k);
    let order = order_of(type_);
    recycle(k, pfn, order, Owner::Pool(type_ as u8)).await;
    if k.fixed(Fix::TtmPoolClear) {
        for i in 0..1 << order {
            let page = PageRef { pfn: pfn.add(i), gen_: k.page_gen(pfn.add(i)) };
            k.step(obj::data(page.pfn), Access::Write, || fill(k, page, 0)).await;
        }
    }
    let pool = &bdev.pools.types[type_];
    spin_lock(k, pool_lock(type_)).await;
    pool.blocks[pool.nr.get()].set(pfn);
    pool.nr.set(pool.nr.get() + 1);
    spin_unlock(k, pool_lock(type_));
    bdev.pools.pages.set(bdev.pools.pages.get() + (1 << order));
}

/// Takes the block that came in last.
async fn ttm_pool_type_take(k: &Kernel, bdev: &TtmDevice, type_: usize) -> Option<Pfn> {
    enter!(k);
    let pool = &bdev.pools.types[type_];
    spin_lock(k, pool_lock(type_)).await;
    let block = pool.nr.get().checked_sub(1).map(|last| {
        pool.nr.set(last);
        bdev.pools.pages.set(bdev.pools.pages.get() - (1 << order_of(type_)));
        pool.blocks[last].get()
    });
    spin_unlock(k, pool_lock(type_));
    block
}

/// A block for `bo`: from its pool, cleared when it came in, or from the buddy, zeroed.
async fn ttm_pool_alloc_block(k: &Kernel, bdev: &TtmDevice, bo: u8, order: u8) -> Option<(PageRef, bool)> {
    let owner = Owner::Bo(bo);
    if let Some(type_) = ttm_pool_select_type(bdev.bo(bo).caching.get(), order)
        && let Some(pfn) = ttm_pool_type_take(k, bdev, type_).await
    {
        recycle(k, pfn, order, owner).await;
        return Some((PageRef { pfn, gen_: k.page_gen(pfn) }, true));
    }
    // Deliberately not compound: nobody is meant to take references of parts.
    let page = alloc_pages(k, order, false, owner).await?;
    for i in 0..1 << order {
        fill(k, PageRef { pfn: page.pfn.add(i), gen_: page.gen_ }, 0);
    }
    Some((page, false))
}

/// Gives a buffer object its pages, in blocks as large as can be had.
///
/// # Errors
/// -ENOMEM.
pub(crate) async fn ttm_pool_alloc(k: &Kernel, bdev: &TtmDevice, bo: u8) -> Result<(), Errno> {
    enter!(k);
    let b = bdev.bo(bo);
    let (mut done, mut order) = (0, b.order.get());
    // Pages before this one have their caching set.
    let mut caching_divide = 0;
    while done < b.num_pages() {
        order = order.min((b.num_pages() - done).ilog2() as u8);
        let Some((page, pooled)) = ttm_pool_alloc_block(k, bdev, bo, order).await else {
            if order == 0 {
                return ttm_pool_alloc_failed(k, bdev, b, caching_divide, done).await;
            }
            order -= 1;
            continue;
        };
        if pooled {
            if ttm_pool_apply_caching(k, b, caching_divide, done).is_err() {
                put_block(b, done, page, order);
                return ttm_pool_alloc_failed(k, bdev, b, caching_divide, done + (1 << order)).await;
            }
            caching_divide = done + (1 << order);
        }
        put_block(b, done, page, order);
        done += 1 << order;
    }
    if ttm_pool_apply_caching(k, b, caching_divide, done).is_err() {
        return ttm_pool_alloc_failed(k, bdev, b, caching_divide, done).await;
    }
    b.tt.dma_mapped.set(true);
    Ok(())
}

fn put_block(bo: &TtmBo, at: usize, page: PageRef, order: u8) {
    bo.tt.blocks[at].set(order + 1);
    for i in 0..1 << order {
        bo.tt.pages[at + i].set(Some(PageRef { pfn: page.pfn.add(i), gen_: page.gen_ }));
    }
}

/// set_pages_array_wc() and _uc() of pages `from..to`; can fail.
fn ttm_pool_apply_caching(k: &Kernel, bo: &TtmBo, from: usize, to: usize) -> Result<(), Errno> {
    let none = from == to || bo.caching.get() == TtmCaching::Cached;
    if !none && k.should_fail() { Err(Errno::ENOMEM) } else { Ok(()) }
}

/// The error path: pages with their caching set go to the pool, the others to the buddy.
async fn ttm_pool_alloc_failed(
    k: &Kernel,
    bdev: &TtmDevice,
    bo: &TtmBo,
    caching_divide: usize,
    done: usize,
) -> Result<(), Errno> {
    enter!(k);
    ttm_pool_free_range(k, bdev, &bo.tt, bo.caching.get(), 0, caching_divide).await;
    // Without the fix the second range begins at the first page again, index and all.
    let start = if k.fixed(Fix::TtmPoolErrorFree) { caching_divide } else { 0 };
    ttm_pool_free_range(k, bdev, &bo.tt, TtmCaching::Cached, start, start + (done - caching_divide)).await;
    bo.tt.forget();
    Err(Errno::ENOMEM)
}

/// Frees the blocks of pages `from..to`.
async fn ttm_pool_free_range(k: &Kernel, bdev: &TtmDevice, tt: &Tt, caching: TtmCaching, from: usize, to: usize) {
    enter!(k);
    for i in from..to.min(TT_PAGES) {
        let (Some(page), Some(order)) = (tt.pages[i].get(), tt.blocks[i].get().checked_sub(1)) else {
            continue;
        };
        if tt.dma_mapped.get() {
            debug_dma_assert_idle(k, page.pfn);
        }
        match ttm_pool_select_type(caching, order) {
            Some(type_) => ttm_pool_type_give(k, bdev, type_, page.pfn).await,
            None => __free_pages(k, page, order).await,
        }
    }
}

/// The check of CONFIG_DMA_API_DEBUG: memory goes while the device can still reach it.
fn debug_dma_assert_idle(k: &Kernel, pfn: Pfn) {
    enter!(k);
    k.emit(Event::Bug { what: "dma-api-debug", pfn: Some(pfn) });
}

/// Frees all pages of a buffer object, whoever else holds references; then shrinks the pools.
pub(crate) async fn ttm_pool_free(k: &Kernel, bdev: &TtmDevice, bo: &TtmBo, tt: &Tt) {
    enter!(k);
    if !k.fixed(Fix::TtmGiveBeforeDmaUnmap) {
        tt.dma_mapped.set(false);
    }
    ttm_pool_free_range(k, bdev, tt, bo.caching.get(), 0, bo.num_pages()).await;
    tt.forget();
    while bdev.pools.pages.get() > PAGE_POOL_SIZE {
        ttm_pool_shrink(k, bdev).await;
    }
}

/// Frees one block of the next pool type that has one; returns its pages.
pub(crate) async fn ttm_pool_shrink(k: &Kernel, bdev: &TtmDevice) -> u32 {
    enter!(k);
    let lock = Lock::new(LockClass::Shrinker, 0);
    mutex_lock(k, lock).await;
    let mut freed = 0;
    for _ in 0..NR_POOL_TYPES {
        let type_ = bdev.pools.next.replace((bdev.pools.next.get() + 1) % NR_POOL_TYPES);
        if bdev.pools.types[type_].nr.get() == 0 {
            continue;
        }
        if let Some(pfn) = ttm_pool_type_take(k, bdev, type_).await {
            let order = order_of(type_);
            recycle(k, pfn, order, Owner::Kernel).await;
            __free_pages(k, PageRef { pfn, gen_: k.page_gen(pfn) }, order).await;
            freed = 1 << order;
            break;
        }
    }
    mutex_unlock(k, lock);
    freed
}
