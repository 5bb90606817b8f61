// SPDX-License-Identifier: GPL-2.0-or-later
//! Mapping and unmapping of pages.  Linux: mm/memory.c.

mod copy;
mod fault;
mod insert;
mod shared;
mod swapin;
mod zap;

pub(crate) use copy::*;
pub(crate) use fault::handle_mm_fault;
pub(crate) use insert::*;
pub(crate) use shared::vma_needs_dirty_tracking;
pub(crate) use zap::*;

use super::mm_types::*;
use super::pgtable::*;
use crate::fixes::Fix;
use crate::kernel::{enter, spin_lock, spin_unlock};
use crate::trace::{Event, Pfn};

/// The page behind a pte that mm may reference, if there is one.
///
/// With a special bit the bit decides; without, the kind of area does: see the table in
/// Linux' mm/memory.c above vm_normal_page().
pub(crate) fn vm_normal_page(k: &Kernel, vma: &Vma, va: u8, pte: Pte) -> Option<Pfn> {
    let pfn = pte.pfn();
    if k.fixed(Fix::PteSpecial) {
        if !pte.special() {
            return pfn.valid().then_some(pfn);
        }
        if !vma.flags.intersects(VmFlags::PFNMAP | VmFlags::MIXEDMAP) && !pte.devmap() {
            k.emit(Event::Bug { what: "bad-page-map", pfn: Some(pfn) });
        }
        return None;
    }
    normal_page_by_area(vma, va, pte)
}

/// As [`vm_normal_page`], for a pmd leaf.  Until [`Fix::PmdSpecial`] there is no bit to look at.
pub(crate) fn vm_normal_page_pmd(k: &Kernel, vma: &Vma, va: u8, pmd: Pte) -> Option<Pfn> {
    if pmd.special() && k.fixed(Fix::PmdSpecial) {
        return None;
    }
    normal_page_by_area(vma, va, pmd)
}

fn normal_page_by_area(vma: &Vma, va: u8, entry: Pte) -> Option<Pfn> {
    let pfn = entry.pfn();
    if entry.devmap() || !pfn.valid() {
        return None;
    }
    if vma.flags.contains(VmFlags::PFNMAP) {
        // remap_pfn_range() left the order in which it mapped; what is out of it is a private copy.
        return (vma.flags.is_cow() && pfn.0 != vma.pgoff_of(va)).then_some(pfn);
    }
    Some(pfn)
}

/// The table behind a pmd, made if there is none; `None`: out of memory, or the pmd is a leaf.
pub(crate) async fn pte_alloc(k: &Kernel, mm: u8, va: u8) -> Result<Option<u8>, VmFault> {
    enter!(k);
    let p = PmdPtr::of(mm, va);
    let pmd = pmdp_get_lockless(k, p).await;
    if !pmd.none() {
        return Ok(pmd.table_nr());
    }
    let Some(table) = pte_alloc_one(k, mm, p.base()).await else {
        return Err(VmFault::Oom);
    };
    spin_lock(k, page_table_lock(mm)).await;
    let found = pmdp_get(k, p);
    if found.none() {
        set_pmd_at(k, p, Pte::table(table)).await;
        inc_nr_ptes(k, mm, 1);
        spin_unlock(k, page_table_lock(mm));
        return Ok(Some(table));
    }
    spin_unlock(k, page_table_lock(mm));
    pte_free(k, table).await;
    Ok(found.table_nr())
}
