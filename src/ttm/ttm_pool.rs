// SPDX-License-Identifier: GPL-2.0-or-later
//! Pools of pages that wait for their next buffer object.  Linux: drivers/gpu/drm/ttm/ttm_pool.c (v5.11).
//!
//! Kept:       last in, first out, by caching and order; blocks are not compound, so that only
//!             their first page has a reference; no reference count is ever looked at; cached pages
//!             have no pool and go back to the buddy allocator at once.
//! Simplified: one device, no dma32; shrinker_lock is the spinlock of today, not v5.11's mutex, which
//!             was held over the free.

use super::ttm_bo_api::{TtmBo, TtmCaching};
use super::ttm_device::TtmDevice;
use super::ttm_tt::{TT_PAGES, Tt};
use crate::fixes::Fix;
use crate::kernel::*;
use crate::limits::*;
use crate::mm::page_alloc::{__free_pages, alloc_pages, fill};
use crate::mm::{Kernel, Page, PageRef};
use crate::trace::{Access, Event, Owner, Pfn, obj};
use std::cell::Cell;
use std::future::Future;

/// The counter of pages in all pools.
const ALLOCATED_PAGES: u8 = 0;
/// Blocks a pool type can hold.
const POOL_DEPTH: usize = NR_FRAMES;
/// Pages all pools together may hold before they shrink (page_pool_size).
const PAGE_POOL_SIZE: isize = 24;

/// A pool type: a stack of blocks.  Guarded by its lock.
#[derive(Debug)]
pub(super) struct PoolType {
    blocks: [Cell<Pfn>; POOL_DEPTH],
    nr: Cell<usize>,
}

/// All pool types.
#[derive(Debug)]
pub(crate) struct Pools {
    types: [PoolType; NR_POOL_TYPES],
    /// The pool type the shrinker looks at next.  Guarded by shrinker_lock.
    shrinker_list: Cell<usize>,
    /// Pages in all pools; below zero while a giver has yet to count what somebody took already.
    /// Looked at in steps that announce the counter.
    allocated_pages: Cell<isize>,
}

impl Default for Pools {
    fn default() -> Pools {
        Pools {
            types: std::array::from_fn(|_| PoolType {
                blocks: std::array::from_fn(|_| Cell::default()),
                nr: Cell::new(0),
            }),
            shrinker_list: Cell::new(0),
            allocated_pages: Cell::new(0),
        }
    }
}

impl Pools {
    pub(crate) fn reset(&self) {
        self.types.iter().for_each(|t| t.nr.set(0));
        self.shrinker_list.set(0);
        self.allocated_pages.set(0);
    }

    fn list(&self, k: &Kernel, type_: usize) -> &PoolType {
        k.assert_held(pool_lock(type_));
        &self.types[type_]
    }

    /// The next pool type in turn.
    fn next_to_shrink(&self, k: &Kernel) -> usize {
        k.assert_held(shrinker_lock());
        let type_ = self.shrinker_list.get();
        self.shrinker_list.set((type_ + 1) % NR_POOL_TYPES);
        type_
    }

    /// atomic_long_add().
    #[track_caller]
    fn account<'k>(&'k self, k: &'k Kernel, pages: isize) -> impl Future<Output = ()> + 'k {
        k.step(obj::counter(ALLOCATED_PAGES), Access::Commute, move || {
            k.assert_announced(obj::counter(ALLOCATED_PAGES), Access::Commute);
            self.allocated_pages.set(self.allocated_pages.get() + pages);
        })
    }

    /// atomic_long_read().
    #[track_caller]
    fn allocated_pages<'k>(&'k self, k: &'k Kernel) -> impl Future<Output = isize> + 'k {
        k.step(obj::counter(ALLOCATED_PAGES), Access::Read, || self.allocated_pages.get())
    }
}

/// The pool type of pages of some caching and order; cached pages have none.
fn ttm_pool_select_type(caching: TtmCaching, order: u8) -> Option<usize> {
    match caching {
        TtmCaching::Cached => None,
        _ => Some((caching as usize - 1) * (MAX_ORDER as usize + 1) + order as usize),
    }
}

fn pool_lock(type_: usize) -> Lock {
    Lock::new(LockClass::Pool, type_)
}

fn shrinker_lock() -> Lock {
    Lock::new(LockClass::Shrinker, 0)
}

/// The order of the blocks of a pool type.
fn order_of(type_: usize) -> u8 {
    (type_ % (MAX_ORDER as usize + 1)) as u8
}

/// Ends the block's generation: it is nobody's until it is taken.
#[track_caller]
fn recycle(k: &Kernel, pfn: Pfn, order: u8, owner: Owner) -> impl Future<Output = ()> {
    let nr = 1 << order;
    let touch = [Touch::write(obj::frames(pfn, nr)), Touch::read(obj::mapcounts(pfn, nr)), Touch::default()];
    k.step_on(touch, Wait::Ready, move || {
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
    enter!(k, for_caller);
    let order = order_of(type_);
    recycle(k, pfn, order, Owner::Pool(type_ as u8)).await;
    if k.fixed(Fix::TtmPoolClear) {
        for i in 0..1 << order {
            let page = PageRef { pfn: pfn.add(i), gen_: k.page_gen(pfn.add(i)) };
            k.step(obj::data(page.pfn), Access::Write, || fill(k, page, 0)).await;
        }
    }
    spin_lock(k, pool_lock(type_)).await;
    let pool = bdev.pools.list(k, type_);
    pool.blocks[pool.nr.get()].set(pfn);
    pool.nr.set(pool.nr.get() + 1);
    spin_unlock(k, pool_lock(type_));
    bdev.pools.account(k, 1 << order).await;
}

/// Takes the block that came in last.
async fn ttm_pool_type_take(k: &Kernel, bdev: &TtmDevice, type_: usize) -> Option<Pfn> {
    enter!(k);
    spin_lock(k, pool_lock(type_)).await;
    let pool = bdev.pools.list(k, type_);
    let block = pool.nr.get().checked_sub(1).map(|last| {
        pool.nr.set(last);
        pool.blocks[last].get()
    });
    if block.is_some() {
        bdev.pools.account(k, -(1 << order_of(type_))).await;
    }
    spin_unlock(k, pool_lock(type_));
    block
}

/// A block for `bo`: from its pool, cleared when it came in, or from the buddy, zeroed.
async fn ttm_pool_alloc_block(k: &Kernel, bdev: &TtmDevice, bo: u8, order: u8) -> Option<(PageRef, bool)> {
    let owner = Owner::Bo(bo);
    if let Some(type_) = ttm_pool_select_type(bdev.bo(bo).caching(), order)
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
    let (mut done, mut order) = (0, b.order());
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
                put_block(k, b, done, page, order);
                return ttm_pool_alloc_failed(k, bdev, b, caching_divide, done + (1 << order)).await;
            }
            caching_divide = done + (1 << order);
        }
        put_block(k, b, done, page, order);
        done += 1 << order;
    }
    if ttm_pool_apply_caching(k, b, caching_divide, done).is_err() {
        return ttm_pool_alloc_failed(k, bdev, b, caching_divide, done).await;
    }
    Ok(())
}

fn put_block(k: &Kernel, bo: &TtmBo, at: usize, page: PageRef, order: u8) {
    bo.reserved(k).tt.blocks[at].set(order + 1);
    bo.reserved(k).tt.dma_mapped.set(true);
    for i in 0..1 << order {
        bo.reserved(k).tt.pages[at + i].set(Some(PageRef { pfn: page.pfn.add(i), gen_: page.gen_ }));
    }
}

/// set_pages_array_wc() and _uc() of pages `from..to`; can fail.
fn ttm_pool_apply_caching(k: &Kernel, bo: &TtmBo, from: usize, to: usize) -> Result<(), Errno> {
    let none = from == to || bo.caching() == TtmCaching::Cached;
    if !none && k.should_fail() { Err(Errno::ENOMEM) } else { Ok(()) }
}

/// The error path: pages with their caching set go to the pool, the others to the buddy.  Before v6.4
/// all went to the buddy, and the device could still reach them.
async fn ttm_pool_alloc_failed(
    k: &Kernel,
    bdev: &TtmDevice,
    bo: &TtmBo,
    caching_divide: usize,
    done: usize,
) -> Result<(), Errno> {
    enter!(k);
    let tt = &bo.reserved(k).tt;
    if k.fixed(Fix::TtmPoolErrorUnmap) {
        tt.dma_mapped.set(false);
        ttm_pool_free_range(k, bdev, tt, bo.caching(), 0, caching_divide).await;
        // Without the fix the second range begins at the first page again, index and all.
        let start = if k.fixed(Fix::TtmPoolErrorFree) { caching_divide } else { 0 };
        ttm_pool_free_range(k, bdev, tt, TtmCaching::Cached, start, start + (done - caching_divide)).await;
    } else {
        ttm_pool_free_range(k, bdev, tt, TtmCaching::Cached, 0, done).await;
    }
    tt.forget();
    Err(Errno::ENOMEM)
}

/// Frees the blocks of pages `from..to`.
async fn ttm_pool_free_range(k: &Kernel, bdev: &TtmDevice, tt: &Tt, caching: TtmCaching, from: usize, to: usize) {
    enter!(k, for_caller);
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
    enter!(k, for_caller);
    if !k.fixed(Fix::TtmGiveBeforeDmaUnmap) {
        tt.dma_mapped.set(false);
    }
    ttm_pool_free_range(k, bdev, tt, bo.caching(), 0, bo.num_pages()).await;
    tt.forget();
    while bdev.pools.allocated_pages(k).await > PAGE_POOL_SIZE {
        ttm_pool_shrink(k, bdev).await;
    }
}

/// Frees a block of the pool type whose turn it is, if it has one; returns its pages.
async fn ttm_pool_shrink(k: &Kernel, bdev: &TtmDevice) -> u32 {
    enter!(k);
    spin_lock(k, shrinker_lock()).await;
    let type_ = bdev.pools.next_to_shrink(k);
    spin_unlock(k, shrinker_lock());
    let Some(pfn) = ttm_pool_type_take(k, bdev, type_).await else {
        return 0;
    };
    let order = order_of(type_);
    recycle(k, pfn, order, Owner::Kernel).await;
    __free_pages(k, PageRef { pfn, gen_: k.page_gen(pfn) }, order).await;
    1 << order
}

/// Frees a block of some pool; returns its pages.
pub(crate) async fn ttm_pool_shrinker_scan(k: &Kernel, bdev: &TtmDevice) -> u32 {
    enter!(k);
    // Bounded, for one who took the last block and has yet to count it may not run at all.
    for _ in 0..2 * NR_POOL_TYPES {
        let freed = ttm_pool_shrink(k, bdev).await;
        if freed > 0 || bdev.pools.allocated_pages(k).await == 0 {
            return freed;
        }
    }
    0
}
