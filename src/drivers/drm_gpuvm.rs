// SPDX-License-Identifier: GPL-2.0-or-later
//! User memory in a GPU's address space: handles, the secondary page table, jobs.
//! Linux: drivers/gpu/drm/drm_gpuvm.c, drm_gem.c.
//!
//! Kept:       the device translates in one step and accesses memory in another: in between it goes
//!             by what its TLB holds, and a flush waits for the job.
//! Simplified: one job an object at a time; all entries of an object change in one step; whoever drops
//!             the last reference waits for the job.

use super::i915_gem_userptr as i915;
use super::xe_userptr as xe;
use crate::kernel::*;
use crate::limits::*;
use crate::mm::gup::Pages;
use crate::mm::highmem::use_page;
use crate::mm::hmm::HmmPfns;
use crate::mm::mmu_notifier::*;
use crate::mm::*;
use crate::trace::{Access, Event, Kref, UseKind, obj};
use crate::ttm::TtmDevice;
use crate::ttm::sched_main::{DrmSchedBackendOps, drm_sched_entity_push_job};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// Whose rules an object goes by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum UserptrDriver {
    /// Pins the pages.
    I915,
    /// Holds no reference: the callback makes the device let go.
    Xe,
}

/// User memory that the GPU reaches.  Linux: struct drm_i915_gem_object, struct xe_userptr_vma.
pub(crate) struct Userptr {
    pub(super) driver: UserptrDriver,
    pub(super) notifier: MmuIntervalNotifier,
    /// Guarded by the object's lock: pages that are pinned, the sequence they were looked up under,
    /// whether the device wrote, and whether somebody is about to pin them.
    pub(super) pvec: Cell<Option<Pages>>,
    pub(super) notifier_seq: Cell<u32>,
    pub(super) dirty: Cell<bool>,
    pub(super) work: Cell<bool>,
    /// The secondary page table.
    entries: Cell<HmmPfns>,
    /// What is to be stored, if anything, by the job under way.
    job: Cell<Option<u8>>,
}

/// A slot of handles.
#[derive(Default)]
struct Slot {
    userptr: RefCell<Option<Rc<Userptr>>>,
    /// From creation to release.
    in_use: Cell<bool>,
    handle: Cell<bool>,
    kref: Cell<u8>,
}

/// The GPU's objects of user memory.
#[derive(Default)]
pub(crate) struct Gpu {
    slots: [Slot; NR_HANDLES],
}

/// The lock of an object's pages: obj->mm.lock, then obj->base.resv.
pub(super) fn object_lock(u: &Userptr) -> Lock {
    Lock::new(LockClass::Userptr, u.notifier.nr as usize)
}

/// The lock under which a driver compares sequences.
pub(super) fn notifier_lock(driver: UserptrDriver) -> Lock {
    Lock::new(LockClass::Notifier, driver as usize)
}

impl Gpu {
    pub(crate) fn reset(&self) {
        for slot in &self.slots {
            slot.userptr.take();
            slot.in_use.set(false);
            slot.handle.set(false);
            slot.kref.set(0);
        }
    }

    /// Objects that have a handle, at the end of a run.
    pub(crate) fn peek_handles(&self) -> impl Iterator<Item = u8> {
        (0..NR_HANDLES as u8).filter(|&nr| self.slots[nr as usize].handle.get())
    }

    fn slot(&self, k: &Kernel, nr: u8) -> &Slot {
        k.assert_announced(obj::kref(Kref::Userptr, nr), Access::Write);
        &self.slots[nr as usize]
    }
}

impl Userptr {
    /// The word that is set while no job runs.
    pub(super) fn fence(&self) -> u8 {
        WORD_USERPTR + self.notifier.nr
    }
}

impl MmuIntervalNotifierOps for Userptr {
    fn notifier(&self) -> &MmuIntervalNotifier {
        &self.notifier
    }
    fn invalidate<'a>(&'a self, k: &'a Kernel, cur_seq: u32) -> Boxed<'a, ()> {
        match self.driver {
            UserptrDriver::I915 => Box::pin(i915::i915_gem_userptr_invalidate(k, self, cur_seq)),
            UserptrDriver::Xe => Box::pin(xe::vma_userptr_invalidate(k, self, cur_seq)),
        }
    }
}

/// Makes an object of pages `start..end` of the current address space, and a handle.
///
/// # Errors
/// -EEXIST: the slot is in use.
pub(crate) async fn userptr_ioctl(
    k: &Kernel,
    gpu: &Gpu,
    nr: u8,
    start: u8,
    end: u8,
    driver: UserptrDriver,
) -> Result<(), Errno> {
    enter!(k);
    let reserve = || gpu.slot(k, nr).in_use.replace(true);
    if k.step(obj::kref(Kref::Userptr, nr), Access::Write, reserve).await {
        return Err(Errno::EEXIST);
    }
    let userptr = Rc::new(Userptr {
        driver,
        notifier: MmuIntervalNotifier::new(nr, k.current_mm(), start, end),
        pvec: Cell::new(None),
        notifier_seq: Cell::new(0),
        dirty: Cell::new(false),
        work: Cell::new(false),
        entries: Cell::default(),
        job: Cell::new(None),
    });
    mmu_interval_notifier_insert(k, userptr.clone()).await;
    let publish = || {
        let slot = gpu.slot(k, nr);
        slot.userptr.replace(Some(userptr.clone()));
        slot.kref.set(1);
        slot.handle.set(true);
        wake_up(k, userptr.fence());
    };
    k.step(obj::kref(Kref::Userptr, nr), Access::Write, publish).await;
    Ok(())
}

/// Looks a handle up and takes a reference.
///
/// # Errors
/// -EBADF: there is none.
async fn lookup(k: &Kernel, gpu: &Gpu, nr: u8) -> Result<Rc<Userptr>, Errno> {
    let lookup = || {
        let slot = gpu.slot(k, nr);
        slot.handle.get().then(|| {
            slot.kref.set(slot.kref.get() + 1);
            slot.userptr.borrow().clone().expect("a handle is of something")
        })
    };
    k.step(obj::kref(Kref::Userptr, nr), Access::Write, lookup).await.ok_or(Errno::EBADF)
}

/// Drops a reference; the last one frees the object.
async fn put(k: &Kernel, gpu: &Gpu, u: &Userptr) {
    enter!(k);
    let nr = u.notifier.nr;
    let dec_and_test = || {
        let slot = gpu.slot(k, nr);
        slot.kref.set(slot.kref.get() - 1);
        slot.kref.get() == 0
    };
    if !k.step(obj::kref(Kref::Userptr, nr), Access::Write, dec_and_test).await {
        return;
    }
    i915::i915_gem_object_userptr_unbind(k, u).await;
    mmu_interval_notifier_remove(k, &u.notifier).await;
    let free = || {
        let slot = gpu.slot(k, nr);
        slot.userptr.take();
        slot.in_use.set(false);
    };
    k.step(obj::kref(Kref::Userptr, nr), Access::Write, free).await;
}

/// Lets the GPU read every page of an object, or write `value` to it.
///
/// # Errors
/// -EBADF: no such object; -EAGAIN: the memory changed meanwhile; -EBUSY: a job is under way; -EFAULT:
/// another address space, or not all of it can be had; -EPERM; -ENOMEM.
pub(crate) async fn execbuf(k: &Kernel, gpu: &Gpu, bdev: &TtmDevice, nr: u8, value: Option<u8>) -> Result<(), Errno> {
    enter!(k);
    let u = lookup(k, gpu, nr).await?;
    let ret = match u.driver {
        _ if u.notifier.mm != k.current_mm() => Err(Errno::EFAULT),
        UserptrDriver::I915 => i915::i915_gem_do_execbuffer(k, bdev, &u, value).await,
        UserptrDriver::Xe => xe::xe_exec_ioctl(k, bdev, &u, value).await,
    };
    put(k, gpu, &u).await;
    ret
}

/// Closes a handle.
///
/// # Errors
/// -EBADF: there is none.
pub(crate) async fn handle_delete(k: &Kernel, gpu: &Gpu, nr: u8) -> Result<(), Errno> {
    enter!(k);
    let close = || {
        let slot = gpu.slot(k, nr);
        slot.handle.replace(false).then(|| slot.userptr.borrow().clone().expect("a handle is of something"))
    };
    let u = k.step(obj::kref(Kref::Userptr, nr), Access::Write, close).await.ok_or(Errno::EBADF)?;
    put(k, gpu, &u).await;
    Ok(())
}

/// Maps the pages for the device and gives it the job; no other is under way.
pub(super) async fn bind_and_submit(k: &Kernel, bdev: &TtmDevice, u: &Userptr, pfns: HmmPfns, value: Option<u8>) {
    enter!(k);
    let n = &u.notifier;
    k.step(obj::secondary(n.nr), Access::Write, || {
        let old = u.entries.replace(pfns);
        for (i, &page) in pfns.iter().enumerate().filter(|&(i, &page)| page != old[i]) {
            if let Some(PageRef { pfn, gen_ }) = page {
                let now = k.page_gen(pfn);
                k.emit(Event::SecondaryMap { nr: n.nr, mm: n.mm, va: n.start + i as u8, pfn, took: gen_, now });
            }
        }
    })
    .await;
    drm_sched_entity_push_job(k, bdev, n.nr, u.fence(), || u.job.set(value)).await;
}

/// Takes the pages from the device.
pub(super) async fn unbind(k: &Kernel, u: &Userptr) {
    enter!(k);
    let nr = u.notifier.nr;
    k.step(obj::secondary(nr), Access::Write, || {
        u.entries.take();
        k.emit(Event::SecondaryUnmap { nr });
    })
    .await;
}

/// The device translates, then accesses.
async fn gpu_access(k: &Kernel, u: &Userptr, i: usize, value: Option<u8>) {
    enter!(k);
    let entry = k.step(obj::secondary(u.notifier.nr), Access::Read, || u.entries.get()[i]).await;
    let Some(page) = entry else {
        return; // a GPU fault
    };
    let (kind, access) = match value {
        Some(_) => (UseKind::DmaWrite, Access::Write),
        None => (UseKind::DmaRead, Access::Read),
    };
    k.step(obj::data(page.pfn), access, || use_page(k, page, kind, value)).await;
}

impl DrmSchedBackendOps for Gpu {
    fn run_job<'a>(&'a self, k: &'a Kernel, nr: u8) -> Boxed<'a, ()> {
        let u = self.slots[nr as usize].userptr.borrow().clone().expect("an object with a job stays");
        let value = u.job.get();
        Box::pin(async move {
            for i in 0..(u.notifier.end - u.notifier.start) as usize {
                gpu_access(k, &u, i, value).await;
            }
            complete(k, u.fence()).await;
        })
    }
}
