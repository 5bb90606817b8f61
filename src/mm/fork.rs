// SPDX-License-Identifier: GPL-2.0-or-later
//! New processes.  Linux: kernel/fork.c; dup_mmap() is in mm/mmap.c since v6.14.
//!
//! Kept:       areas in order, each linked before its entries are copied; the parent is flushed once, at the end.
//! Simplified: the child is a task that exists and is in no system call; it leaves its old address space.
//! Left out:   everything of a process that is not its memory.

use super::memory::{copy_page_range, vma_needs_copy};
use super::mm_types::*;
use super::mmap::*;
use super::mmu_gather::flush_tlb_range;
use crate::kernel::{Errno, TaskId, Touch, Wait, down_write, enter, trylock, up_write};
use crate::limits::*;
use crate::trace::{Access, Event, obj};
use std::future::Future;

/// A new, empty address space; `parent`: whose family it is of.
#[track_caller]
pub(crate) fn mm_alloc(k: &Kernel, parent: Option<u8>) -> impl Future<Output = Option<u8>> {
    k.step(obj::mms(), Access::Write, move || k.take_mm(parent))
}

/// Drops a use of an address space; the last one takes it down.
pub(crate) async fn mmput(k: &Kernel, mm: u8) {
    enter!(k);
    if k.step(obj::mm_users(mm), Access::Write, || k.mm_users_dec_and_test(mm)).await {
        exit_mmap(k, mm).await;
        mmdrop(k, mm).await;
    }
}

/// Nobody takes it down any more: its number is free.
#[track_caller]
fn mmdrop(k: &Kernel, mm: u8) -> impl Future<Output = ()> {
    k.step(obj::mm_users(mm), Access::Write, move || k.free_mm(mm))
}

/// Copies what the current task has into a new address space, of which task `child` becomes the one thread.
///
/// # Errors
/// -EINVAL: `child` is the caller; -EAGAIN: `child` is in a system call; -ENOMEM.
pub(crate) async fn kernel_clone(k: &Kernel, child: TaskId) -> Result<(), Errno> {
    enter!(k);
    if child == k.current() {
        return Err(Errno::EINVAL);
    }
    let mm = dup_mm(k, k.current_mm()).await?;
    // Entering the kernel is a step of its own, on the same object: a task is inside or it is not.
    let touch = [Touch::write(obj::tlb(child)), Touch::write(obj::counter(obj::CALLS_BEGUN)), Touch::default()];
    let moved = k.step_on(touch, Wait::Ready, || {
        (k.depth(child) == 0).then(|| {
            let old = k.task_mm(child);
            k.switch_mm(child, mm);
            k.emit(Event::TlbFlush { cpu: child, mm: old, start: 0, end: TASK_SIZE as u8 });
            old
        })
    });
    let Some(old) = moved.await else {
        mmput(k, mm).await;
        return Err(Errno::EAGAIN);
    };
    mmput(k, old).await;
    Ok(())
}

async fn dup_mm(k: &Kernel, oldmm: u8) -> Result<u8, Errno> {
    enter!(k);
    let mm = mm_alloc(k, Some(oldmm)).await.ok_or(Errno::ENOMEM)?;
    let copied = dup_mmap(k, mm, oldmm).await;
    if copied.is_err() {
        mmput(k, mm).await;
    }
    copied.map(|()| mm)
}

/// Copies areas and entries.
///
/// Until the flush at the end a thread of the parent may go on writing through its TLB to what is
/// shared already; the child does not run yet, and both see it.
async fn dup_mmap(k: &Kernel, mm: u8, oldmm: u8) -> Result<(), Errno> {
    enter!(k);
    down_write(k, mmap_lock(oldmm)).await;
    // SINGLE_DEPTH_NESTING: nobody else knows this one.
    let nested = trylock(k, mmap_lock(mm)).await;
    assert!(nested, "a new address space is not locked");
    // Not before: another fork of the same parent may have come first.
    k.emit(Event::ForkBegin { parent: oldmm, child: mm });
    let mut ret = Ok(());
    let mut va = 0;
    while let Some(mpnt) = find_vma_from(k, oldmm, va) {
        va = mpnt.end;
        if mpnt.flags.contains(VmFlags::DONTCOPY) {
            continue;
        }
        let tmp = Vma { mm, ..mpnt.clone() };
        if let Some(ops) = &tmp.ops {
            ops.open(k).await;
        }
        vma_link(k, &tmp).await;
        if vma_needs_copy(&mpnt) {
            ret = copy_page_range(k, &tmp, &mpnt).await;
        }
        if ret.is_err() {
            break;
        }
    }
    up_write(k, mmap_lock(mm));
    flush_tlb_range(k, oldmm, 0, TASK_SIZE as u8).await;
    if ret.is_ok() {
        k.emit(Event::ForkEnd { parent: oldmm, child: mm });
    }
    up_write(k, mmap_lock(oldmm));
    ret
}
