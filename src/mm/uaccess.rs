// SPDX-License-Identifier: GPL-2.0-or-later
//! Loads and stores of user space: the MMU, and the fault it raises.
//! Linux: arch/x86/mm/fault.c.
//!
//! An instruction is two steps, translation and access; a shootdown waits until it retires.

use super::highmem::use_page_at;
use super::memory::handle_mm_fault;
use super::mm_types::*;
use super::mmap::find_vma;
use super::pgtable::*;
use crate::arch::TlbEntry;
use crate::kernel::{
    Errno, Touch, Wait, down_read, enter, instruction_begin, instruction_end, peek_tlb, tlb_fill, tlb_lookup, up_read,
};
use crate::trace::{Access, Event, Obj, UseKind, obj};

/// Loads from page `va` without faulting; `None`: there is no translation any more.
/// Linux: __copy_from_user_inatomic().
pub(crate) async fn copy_from_user_inatomic(k: &Kernel, va: u8) -> Option<u8> {
    enter!(k);
    loop {
        match translate(k, va, false).await {
            Xlate::Hit(entry) => return Some(access_memory(k, va, entry, None).await),
            Xlate::Again => {}
            Xlate::Fault => return None,
        }
    }
}

/// What a translation comes to.
enum Xlate {
    Hit(TlbEntry),
    Fault,
    /// The tables changed while we came: what was announced is not what would be read.
    Again,
}

/// Loads from, or stores `value` to, page `va` of the current address space; returns the value there.
///
/// # Errors
/// -EFAULT for what would be SIGSEGV or SIGBUS, -ENOMEM.
pub(crate) async fn access_user(k: &Kernel, va: u8, value: Option<u8>) -> Result<u8, Errno> {
    enter!(k);
    let write = value.is_some();
    loop {
        match translate(k, va, write).await {
            Xlate::Hit(entry) => return Ok(access_memory(k, va, entry, value).await),
            Xlate::Again => {}
            Xlate::Fault => do_user_addr_fault(k, va, write).await?,
        }
    }
}

/// Looks into the TLB, and if need be walks the tables, sets accessed and dirty bits and fills it.
async fn translate(k: &Kernel, va: u8, write: bool) -> Xlate {
    let (cpu, mm) = (k.current(), k.current_mm());
    let permits = |entry: &TlbEntry| entry.write || !write;
    let pmdp = PmdPtr::of(mm, va);

    // Announce what the walk would touch as things stand.
    let expect_hit = peek_tlb(k, va).filter(permits).is_some();
    let expect_pmd = peek_pmd(k, pmdp);
    let (pmd_obj, pte_obj) = match (expect_hit, expect_pmd.table_nr()) {
        (true, _) => (Obj::NONE, Obj::NONE),
        (false, Some(table)) => (obj::pmd(mm, pmdp.i), obj::pte(table, PtePtr::of(k, table, va).i)),
        (false, None) => (obj::pmd(mm, pmdp.i), Obj::NONE),
    };
    let leaf = if expect_pmd.is_leaf() { Access::Write } else { Access::Read };
    let touch = [Touch::write(obj::tlb(cpu)), Touch::new(pmd_obj, leaf), Touch::write(pte_obj)];
    k.step_on(touch, Wait::Ready, move || {
        if let Some(entry) = tlb_lookup(k, va).filter(permits) {
            instruction_begin(k);
            return Xlate::Hit(entry);
        }
        if expect_hit || peek_pmd(k, pmdp) != expect_pmd {
            return Xlate::Again;
        }
        let Some(entry) = mmu_walk(k, mm, va, write) else {
            return Xlate::Fault;
        };
        tlb_fill(k, va, entry);
        let TlbEntry { pfn, gen_, write } = entry;
        k.emit(Event::TlbFill { cpu, mm, va, pfn, gen_, write });
        instruction_begin(k);
        Xlate::Hit(entry)
    })
    .await
}

async fn access_memory(k: &Kernel, va: u8, entry: TlbEntry, value: Option<u8>) -> u8 {
    let at = Some((k.current_mm(), va));
    let (kind, access) = match value {
        Some(_) => (UseKind::Store, Access::Write),
        None => (UseKind::Load, Access::Read),
    };
    let page = PageRef { pfn: entry.pfn, gen_: entry.gen_ };
    k.step(obj::data(entry.pfn), access, move || {
        let value = use_page_at(k, page, kind, value, at);
        instruction_end(k);
        value
    })
    .await
}

/// A page fault of user space.
async fn do_user_addr_fault(k: &Kernel, va: u8, write: bool) -> Result<(), Errno> {
    enter!(k);
    let mm = k.current_mm();
    let mut allow_retry = true;
    loop {
        down_read(k, mmap_lock(mm)).await;
        let need = if write { VmFlags::WRITE } else { VmFlags::READ };
        let Some(vma) = find_vma(k, mm, va).filter(|vma| vma.flags.contains(need)) else {
            up_read(k, mmap_lock(mm));
            return Err(Errno::EFAULT);
        };
        let vmf = Vmf { mm, va, write, unshare: false, allow_retry, pgoff: vma.pgoff_of(va) };
        let ret = handle_mm_fault(k, &vma, vmf).await;
        if ret == VmFault::Retry {
            // mmap_lock was dropped on the way.
            allow_retry = false;
            continue;
        }
        up_read(k, mmap_lock(mm));
        return match ret {
            VmFault::Oom => Err(Errno::ENOMEM),
            VmFault::Sigbus => Err(Errno::EFAULT),
            _ => Ok(()),
        };
    }
}
