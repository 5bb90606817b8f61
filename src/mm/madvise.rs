// SPDX-License-Identifier: GPL-2.0-or-later
//! Advice.  Linux: mm/madvise.c.

use super::memory::{Zap, zap_page_range_single};
use super::mm_types::*;
use super::mmap::find_vma_from;
use crate::kernel::{Errno, down_read, enter, up_read};

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
