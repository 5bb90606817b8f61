// SPDX-License-Identifier: GPL-2.0-or-later
//! The path under mmap_lock: areas are looked at, pages are faulted in.

use super::*;
use crate::kernel::{down_read, spin_lock, spin_unlock, up_read};
use crate::mm::address_space::dax_mapping;
use crate::mm::huge_memory::pfn_has_page;
use crate::mm::memory::{handle_mm_fault, vm_normal_page, vma_needs_dirty_tracking};
use crate::mm::memremap::get_dev_pagemap;
use crate::mm::mmap::find_vma;
use crate::mm::pgtable::*;

/// Pins `nr` pages from `start` of the current address space under mmap_lock.
///
/// # Errors
/// -EFAULT: no area there, one that may not be pinned, or no permission; -EEXIST: a page frame; -ENOMEM.
pub(crate) async fn get_user_pages(k: &Kernel, start: u8, nr: u8, flags: Foll, pages: &mut Pages) -> Result<(), Errno> {
    enter!(k);
    let mm = k.current_mm();
    if flags.contains(Foll::PIN) {
        k.set_has_pinned(mm).await;
    }
    down_read(k, mmap_lock(mm)).await;
    let ret = __get_user_pages(k, mm, start, nr, flags, pages).await;
    up_read(k, mmap_lock(mm));
    ret
}

/// As [`get_user_pages`], for a caller that holds mmap_lock.
///
/// # Errors
/// As there.
pub(crate) async fn __get_user_pages(
    k: &Kernel,
    mm: u8,
    start: u8,
    nr: u8,
    flags: Foll,
    pages: &mut Pages,
) -> Result<(), Errno> {
    enter!(k);
    let before = pages.len();
    for va in start..start.saturating_add(nr) {
        let ret = match find_vma(k, mm, va) {
            None => Err(Errno::EFAULT),
            Some(vma) => get_one(k, &vma, va, flags).await,
        };
        match ret {
            Ok((page, entry)) => record_page(k, pages, (mm, va), page, entry, flags),
            Err(_) if pages.len() > before => return Ok(()),
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

async fn get_one(k: &Kernel, vma: &Vma, va: u8, flags: Foll) -> Result<(PageRef, u16), Errno> {
    check_vma_flags(k, vma, flags)?;
    let mut flags = flags;
    if k.fixed(Fix::GupForceCow) && vma.flags.is_cow() {
        flags |= Foll::WRITE; // should_force_cow_break()
    }
    loop {
        let unshare = match follow_page_mask(k, vma, va, flags).await {
            Ok(Some(page)) => return Ok(page),
            Ok(None) => false,
            Err(Errno::EMLINK) => true,
            Err(errno) => return Err(errno),
        };
        // What is faulted in can be gone again before it is looked up: as often as somebody unmaps it.
        faultin_page(k, vma, va, flags, unshare).await?;
        // v5.8 says so only once the fault has copied or reused the page, VM_FAULT_WRITE.
        if flags.contains(Foll::WRITE) && !vma.flags.contains(VmFlags::WRITE) {
            flags |= Foll::COW;
        }
    }
}

/// Whether an entry is one to take for `flags`.  Linux: can_follow_write_pte(), as v5.8 had it.
fn can_follow(entry: Pte, flags: Foll) -> bool {
    let write = flags.contains(Foll::WRITE) && !(flags.contains(Foll::COW) && entry.dirty());
    entry.access_permitted(write)
}

fn check_vma_flags(k: &Kernel, vma: &Vma, flags: Foll) -> Result<(), Errno> {
    if flags.contains(Foll::LONGTERM_WRITE) && k.fixed(Fix::LongtermNoFile) && vma_needs_dirty_tracking(k, vma) {
        return Err(Errno::EFAULT); // writable_file_mapping_allowed()
    }
    if flags.contains(Foll::LONGTERM) && dax_mapping(vma.mapping) {
        return Err(Errno::EOPNOTSUPP); // vma_is_fsdax(); before v5.11 only once all pages are pinned
    }
    let need = if flags.contains(Foll::WRITE) { VmFlags::WRITE } else { VmFlags::READ };
    match vma.flags.intersects(VmFlags::IO | VmFlags::PFNMAP) || !vma.flags.contains(need) {
        true => Err(Errno::EFAULT),
        false => Ok(()),
    }
}

/// The page behind `va`, referenced, and the generation its entry was made for; `None`: it must be
/// faulted in; -EMLINK: it must be unshared.
async fn follow_page_mask(k: &Kernel, vma: &Vma, va: u8, flags: Foll) -> Result<Option<(PageRef, u16)>, Errno> {
    enter!(k);
    let pmd = pmdp_get_lockless(k, PmdPtr::of(vma.mm, va)).await;
    match pmd.table_nr() {
        Some(table) => follow_page_pte(k, vma, va, table, flags).await,
        None if pmd.is_leaf() => follow_huge_pmd(k, vma, va, flags).await,
        None => Ok(None),
    }
}

/// As [`follow_page_pte`], of a page of a leaf; to v6.5 follow_hugetlb_page() did the same for hugetlb.
async fn follow_huge_pmd(k: &Kernel, vma: &Vma, va: u8, flags: Foll) -> Result<Option<(PageRef, u16)>, Errno> {
    enter!(k);
    let p = PmdPtr::of(vma.mm, va);
    spin_lock(k, page_table_lock(vma.mm)).await;
    let pmd = pmdp_get(k, p);
    if !pmd.is_leaf() || !can_follow(pmd, flags) {
        spin_unlock(k, page_table_lock(vma.mm));
        return Ok(None);
    }
    let head = pmd.pfn();
    if !vma.is_anonymous() && !vma.flags.contains(VmFlags::HUGETLB) {
        // A driver's leaf; check_vma_flags() stops all areas that have one.
        k.emit(Event::Bug { what: "vm-bug-on-page-not-head", pfn: Some(head) });
        spin_unlock(k, page_table_lock(vma.mm));
        return Err(Errno::EFAULT);
    }
    if !pfn_has_page(k, head) {
        spin_unlock(k, page_table_lock(vma.mm));
        return Err(Errno::EFAULT);
    }
    if !pmd.write() && gup_must_unshare(k, head, flags).await {
        spin_unlock(k, page_table_lock(vma.mm));
        return Err(Errno::EMLINK);
    }
    let got = try_grab_folio(k, head, flags).await;
    let i = (va - p.base()) as usize;
    let page = (PageRef { pfn: head.add(i), gen_: k.page_gen(head.add(i)) }, pmd_gens(k, p)[i]);
    spin_unlock(k, page_table_lock(vma.mm));
    if got { Ok(Some(page)) } else { Err(Errno::ENOMEM) }
}

async fn follow_page_pte(
    k: &Kernel,
    vma: &Vma,
    va: u8,
    table: u8,
    flags: Foll,
) -> Result<Option<(PageRef, u16)>, Errno> {
    enter!(k);
    spin_lock(k, ptl(table)).await;
    let p = PtePtr::of(k, table, va);
    let pte = ptep_get(k, p);
    if !can_follow(pte, flags) {
        spin_unlock(k, ptl(table));
        return Ok(None);
    }
    // Device memory is no normal page while its entries have the devmap bit.
    let dax = pte.devmap() && get_dev_pagemap(pte.pfn());
    if !dax && vm_normal_page(k, vma, va, pte).is_none() {
        spin_unlock(k, ptl(table));
        return Err(Errno::EEXIST); // to v5.17 -EFAULT for FOLL_GET
    }
    let pfn = pte.pfn();
    if !dax && !pte.write() && gup_must_unshare(k, pfn, flags).await {
        spin_unlock(k, ptl(table));
        return Err(Errno::EMLINK);
    }
    let head = k.compound_head(pfn);
    let got = try_grab_folio(k, head, flags).await;
    let page = (PageRef { pfn, gen_: k.page_gen(pfn) }, pte_gen(k, p));
    spin_unlock(k, ptl(table));
    if got { Ok(Some(page)) } else { Err(Errno::ENOMEM) }
}

/// Takes a reference of `head`, which cannot go: its entry is locked.  A pin of a small page is one
/// access, of a compound page two.
async fn try_grab_folio(k: &Kernel, head: Pfn, flags: Foll) -> bool {
    let pin = flags.contains(Foll::PIN);
    let grab = k.step(obj::page(head, 1), Access::Write, || {
        let counted = k.page_count(head) > 0;
        let exact = has_pincount(k, head);
        if counted {
            add(k, head, if pin && !exact { GUP_PIN_COUNTING_BIAS } else { 1 });
        }
        (counted, exact)
    });
    let (counted, exact) = grab.await;
    if counted && pin && exact {
        folio_add_pins(k, head, 1).await;
    }
    counted
}

async fn faultin_page(k: &Kernel, vma: &Vma, va: u8, flags: Foll, unshare: bool) -> Result<(), Errno> {
    enter!(k);
    let write = flags.contains(Foll::WRITE);
    let vmf = Vmf { mm: vma.mm, va, write, unshare, allow_retry: false, pgoff: vma.pgoff_of(va) };
    match handle_mm_fault(k, vma, vmf).await {
        VmFault::Oom => Err(Errno::ENOMEM),
        VmFault::Sigbus => Err(Errno::EFAULT),
        _ => Ok(()),
    }
}
