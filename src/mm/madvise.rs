// SPDX-License-Identifier: GPL-2.0-or-later
//! Advice.  Linux: mm/madvise.c.

use super::memory::{Zap, zap_page_range_single};
use super::mm_types::*;
use super::mmap::*;
use crate::kernel::{Errno, down_read, down_write, enter, up_read, up_write};

/// MADV_DONTNEED: the contents of pages `start..end` are not needed any more.
///
/// # Errors
/// -EINVAL: an area holds page frames (VM_PFNMAP); -ENOMEM: not all of the range is mapped.
pub(crate) async fn madvise_dontneed(k: &Kernel, start: u8, end: u8) -> Result<(), Errno> {
    enter!(k);
    let mm = k.current_mm();
    down_read(k, mmap_lock(mm)).await;
    let mut ret = Ok(());
    let mut va = start;
    while va < end {
        let Some(vma) = find_vma_from(k, mm, va).filter(|vma| vma.start < end) else {
            ret = Err(Errno::ENOMEM);
            break;
        };
        if vma.flags.contains(VmFlags::PFNMAP) {
            ret = Err(Errno::EINVAL);
            break;
        }
        if vma.start > va {
            ret = Err(Errno::ENOMEM);
        }
        let (from, to) = (va.max(vma.start), end.min(vma.end));
        zap_page_range_single(k, &vma, from, to, Zap::ALL).await;
        va = to;
    }
    up_read(k, mmap_lock(mm));
    ret
}

/// MADV_DONTFORK and MADV_DOFORK: whether a child gets pages `start..end`; MADV_HUGEPAGE and
/// MADV_NOHUGEPAGE: whether their faults may bring huge pages.  `set` or not the flag that says so.
///
/// # Errors
/// -EINVAL: MADV_DOFORK of an area that a driver maps (VM_IO); -ENOMEM: not all of the range is
/// mapped, or too many areas.
pub(crate) async fn madvise_flag(k: &Kernel, start: u8, end: u8, flag: VmFlags, set: bool) -> Result<(), Errno> {
    enter!(k);
    let mm = k.current_mm();
    down_write(k, mmap_lock(mm)).await;
    let ret = madvise_vma_behavior(k, mm, start, end, flag, set).await;
    up_write(k, mmap_lock(mm));
    ret
}

async fn madvise_vma_behavior(k: &Kernel, mm: u8, start: u8, end: u8, flag: VmFlags, set: bool) -> Result<(), Errno> {
    enter!(k);
    split_vmas(k, mm, start, end).await?;
    let mut va = start;
    while va < end {
        let vma = find_vma(k, mm, va).ok_or(Errno::ENOMEM)?;
        if flag == VmFlags::DONTCOPY && !set && vma.flags.contains(VmFlags::IO) {
            return Err(Errno::EINVAL);
        }
        set_vm_flags(k, &vma, if set { vma.flags | flag } else { vma.flags - flag });
        va = vma.end;
    }
    Ok(())
}
