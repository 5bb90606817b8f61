// SPDX-License-Identifier: GPL-2.0-or-later
//! Looking pages up for a device without taking references.  Linux: mm/hmm.c.
//!
//! Nothing keeps the pages: the caller asks mmu_interval_read_retry() before he uses them.

use super::memory::handle_mm_fault;
use super::mm_types::*;
use super::mmap::find_vma;
use super::mmu_notifier::{MmuIntervalNotifier, mmu_interval_read_retry};
use super::pgtable::*;
use crate::kernel::{Errno, enter};
use crate::limits::BIO_MAX_VECS;

/// Pages by their place in an object.
pub(crate) type HmmPfns = [Option<PageRef>; BIO_MAX_VECS];

/// Finds the pages that a listener listens for, faulted in for reading or writing.  mmap_lock is held.
///
/// # Errors
/// -EBUSY: look again from mmu_interval_read_begin() on; -EFAULT: no page there; -EPERM; -ENOMEM.
pub(crate) async fn hmm_range_fault(
    k: &Kernel,
    n: &MmuIntervalNotifier,
    seq: u32,
    write: bool,
) -> Result<HmmPfns, Errno> {
    enter!(k);
    let mut pfns = HmmPfns::default();
    let mut va = n.start;
    while va < n.end {
        if mmu_interval_read_retry(k, n, seq).await {
            return Err(Errno::EBUSY);
        }
        let vma = find_vma(k, n.mm, va).ok_or(Errno::EFAULT)?;
        if vma.flags.intersects(VmFlags::IO | VmFlags::PFNMAP) || !vma.flags.contains(VmFlags::READ) {
            return Err(Errno::EFAULT);
        }
        match hmm_vma_walk_pmd(k, n.mm, va, write).await? {
            Some(page) => {
                pfns[(va - n.start) as usize] = Some(page);
                va += 1;
            }
            None => hmm_vma_fault(k, &vma, va, write).await?,
        }
    }
    Ok(pfns)
}

/// The page behind an entry, which is read without a lock; `None`: it must be faulted in.
async fn hmm_vma_walk_pmd(k: &Kernel, mm: u8, va: u8, write: bool) -> Result<Option<PageRef>, Errno> {
    enter!(k);
    let pmdp = PmdPtr::of(mm, va);
    let pmd = pmdp_get_lockless(k, pmdp).await;
    let Some(table) = pmd.table_nr() else {
        let offset = (va - pmdp.base()) as usize;
        let page = || PageRef { pfn: pmd.pfn().add(offset), gen_: pmd_gens(k, pmdp)[offset] };
        return Ok((pmd.is_leaf() && pmd.access_permitted(write)).then(page));
    };
    let p = PtePtr::of(k, table, va);
    let pte = ptep_get_lockless(k, p).await;
    if !pte.access_permitted(write) {
        return Ok(None);
    }
    if pte.special() && !pte.devmap() {
        return Err(Errno::EFAULT);
    }
    Ok(Some(PageRef { pfn: pte.pfn(), gen_: pte_gen(k, p) }))
}

async fn hmm_vma_fault(k: &Kernel, vma: &Vma, va: u8, write: bool) -> Result<(), Errno> {
    enter!(k);
    if write && !vma.flags.contains(VmFlags::WRITE) {
        return Err(Errno::EPERM);
    }
    let vmf = Vmf { mm: vma.mm, va, write, unshare: false, allow_retry: false, pgoff: vma.pgoff_of(va) };
    match handle_mm_fault(k, vma, vmf).await {
        VmFault::Oom => Err(Errno::ENOMEM),
        VmFault::Sigbus => Err(Errno::EFAULT),
        _ => Ok(()),
    }
}
