// SPDX-License-Identifier: GPL-2.0-or-later
//! User memory that is pinned.  Linux: drivers/gpu/drm/i915/gem/i915_gem_userptr.c.
//!
//! What the callback does, by release:
//!
//! ```text
//!   to v5.12    waits for the GPU, unmaps the object, unpins all its pages
//!   v5.13       waits for the GPU; pages stay pinned, the next job looks them up again
//!   v6.9        only says that they must be looked up again
//! ```
//!
//! Simplified: up to v5.12 whoever submits pins the pages himself, not a worker.
//! Left out:   read-only objects, PF_EXITING.

use super::drm_gpuvm::*;
use crate::fixes::Fix;
use crate::kernel::*;
use crate::mm::gup::{Foll, Pages, get_user_pages_fast, unpin_user_pages};
use crate::mm::hmm::HmmPfns;
use crate::mm::mmu_notifier::*;
use crate::mm::page_writeback::{set_page_dirty, set_page_dirty_lock};
use crate::mm::*;
use crate::trace::Pin;
use crate::ttm::TtmDevice;

/// ->invalidate; up to v5.12 userptr_mn_invalidate_range_start().
pub(super) async fn i915_gem_userptr_invalidate(k: &Kernel, u: &Userptr, cur_seq: u32) {
    enter!(k);
    if !k.fixed(Fix::UserptrInterval) {
        return i915_gem_object_userptr_unbind(k, u).await;
    }
    mutex_lock(k, notifier_lock(u.driver)).await;
    mmu_interval_set_seq(k, &u.notifier, cur_seq).await;
    mutex_unlock(k, notifier_lock(u.driver));
    if !k.fixed(Fix::UserptrMark) {
        wait_event(k, u.fence()).await;
    }
}

/// Waits for the GPU, takes the pages from it, and unpins them.
pub(super) async fn i915_gem_object_userptr_unbind(k: &Kernel, u: &Userptr) {
    enter!(k);
    loop {
        wait_event(k, u.fence()).await;
        mutex_lock(k, object_lock(u)).await;
        if word_is_set(k, u.fence()).await {
            break;
        }
        mutex_unlock(k, object_lock(u)); // somebody was faster with a job
    }
    u.work.set(false);
    unbind(k, u).await;
    if let Some(pages) = u.pvec.take() {
        i915_gem_userptr_put_pages(k, u, &pages).await;
    }
    mutex_unlock(k, object_lock(u));
}

/// Unpins pages, dirty if the device wrote them.
///
/// The notifier may be called by somebody who has locked one of them: 505a8ec7e11a Revert
/// "drm/i915/userptr: Acquire the page lock around set_page_dirty()" (v5.3).  Since v5.13 no notifier comes here, and
/// who only tries the lock forgets what the device wrote to a page that reclaim or migration looks at.
async fn i915_gem_userptr_put_pages(k: &Kernel, u: &Userptr, pages: &Pages) {
    enter!(k);
    let waits = k.fixed(Fix::UserptrInterval) && k.fixed(Fix::UserptrPutLock) || !k.fixed(Fix::UserptrTrylock);
    if u.dirty.take() {
        for page in pages.as_slice() {
            let head = k.compound_head(page.pfn);
            if waits {
                set_page_dirty_lock(k, page.pfn).await;
            } else if trylock(k, folio_lock(head)).await {
                set_page_dirty(k, head).await;
                mutex_unlock(k, folio_lock(head));
            } else if k.fixed(Fix::UserptrPutLock) && k.folio_test_anon(head) {
                set_page_dirty(k, head).await; // no file that could lose it
            }
        }
    }
    unpin_user_pages(k, pages, Pin::Pin).await;
}

/// Gets the object's pages, unless they are there and have not changed.
async fn i915_gem_object_userptr_submit_init(k: &Kernel, u: &Userptr) -> Result<(), Errno> {
    enter!(k);
    let interval = k.fixed(Fix::UserptrInterval);
    let seq = if interval { mmu_interval_read_begin(k, &u.notifier).await } else { 0 };
    mutex_lock(k, object_lock(u)).await;
    let current = u.pvec.get().is_some() && u.notifier_seq.get() == seq;
    u.work.set(true);
    mutex_unlock(k, object_lock(u));
    if current {
        return Ok(());
    }
    if interval {
        i915_gem_object_userptr_unbind(k, u).await;
    }
    let (start, nr) = (u.notifier.start, u.notifier.end - u.notifier.start);
    let mut pages = Pages::default();
    let ret = get_user_pages_fast(k, start, nr, Foll::PIN | Foll::WRITE, &mut pages).await;
    mutex_lock(k, object_lock(u)).await;
    let stale = match interval {
        true => mmu_interval_read_retry(k, &u.notifier, seq).await,
        false => !u.work.get(),
    };
    let ret = match ret {
        Ok(()) if pages.len() < nr => Err(Errno::EFAULT),
        Ok(()) if stale || u.pvec.get().is_some() => Err(Errno::EAGAIN),
        other => other,
    };
    if ret.is_ok() {
        u.pvec.set(Some(pages));
        u.notifier_seq.set(seq);
    }
    mutex_unlock(k, object_lock(u));
    if ret.is_err() {
        unpin_user_pages(k, &pages, Pin::Pin).await;
    }
    ret
}

/// Whether the pages are still the ones to be used; the driver's lock is held.
async fn i915_gem_object_userptr_submit_done(k: &Kernel, u: &Userptr) -> bool {
    enter!(k);
    !k.fixed(Fix::UserptrInterval) || !mmu_interval_read_retry(k, &u.notifier, u.notifier_seq.get()).await
}

pub(super) async fn i915_gem_do_execbuffer(
    k: &Kernel,
    bdev: &TtmDevice,
    u: &Userptr,
    value: Option<u8>,
) -> Result<(), Errno> {
    enter!(k);
    i915_gem_object_userptr_submit_init(k, u).await?;
    mutex_lock(k, object_lock(u)).await;
    let ret = match u.pvec.get() {
        None => Err(Errno::EAGAIN),
        Some(_) if !word_is_set(k, u.fence()).await => Err(Errno::EBUSY),
        Some(pages) => submit(k, bdev, u, &pages, value).await,
    };
    mutex_unlock(k, object_lock(u));
    ret
}

async fn submit(k: &Kernel, bdev: &TtmDevice, u: &Userptr, pages: &Pages, value: Option<u8>) -> Result<(), Errno> {
    let mut pfns = HmmPfns::default();
    for (pfn, &page) in pfns.iter_mut().zip(pages.as_slice()) {
        *pfn = Some(page);
    }
    mutex_lock(k, notifier_lock(u.driver)).await;
    let done = i915_gem_object_userptr_submit_done(k, u).await;
    if done {
        u.dirty.set(u.dirty.get() || value.is_some());
        bind_and_submit(k, bdev, u, pfns, value).await;
    }
    mutex_unlock(k, notifier_lock(u.driver));
    if done { Ok(()) } else { Err(Errno::EAGAIN) }
}
