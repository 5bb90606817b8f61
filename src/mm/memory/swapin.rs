// SPDX-License-Identifier: GPL-2.0-or-later
//! Faults at entries that say where the page is meanwhile.  Linux: mm/memory.c, do_swap_page().
//!
//! A page that reclaim has unmapped and then could not free is still in the swap cache: the fault maps
//! the same page again.  Whether it may be written at once differs:
//!
//! * to v5.17 a write fault reuses a page that is mapped or swapped out once (reuse_swap_page()); a read
//!   fault maps it read-only, and what the next write fault does is do_wp_page()'s business;
//! * since v5.19 the swap entry remembers that the page was one process' alone, and so it is again.

use super::add_mm_counter;
use super::fault::do_wp_page;
use crate::fixes::Fix;
use crate::kernel::{enter, mutex_lock, mutex_unlock, spin_lock, spin_unlock, trylock};
use crate::mm::migrate_device::migrate_to_ram;
use crate::mm::mm_types::*;
use crate::mm::page_ref::get_page;
use crate::mm::pgtable::*;
use crate::mm::rmap::page_add_anon_rmap;
use crate::mm::swap::put_page;
use crate::mm::swap_state::*;
use crate::mm::swapfile::*;
use crate::trace::{Access, obj};

/// The entry is not present and not none.
pub(super) async fn do_swap_page(k: &Kernel, vma: &Vma, vmf: Vmf, orig: Pte) -> VmFault {
    enter!(k);
    if orig.is_hwpoison() {
        return VmFault::Sigbus;
    }
    if orig.is_device_private() {
        return do_device_private_page(k, vma, vmf, orig).await;
    }
    let Some(slot) = orig.swap_slot() else {
        // migration_entry_wait(): whoever moves the page holds its lock until all entries are back.
        let moving = folio_lock(k.compound_head(orig.pfn()));
        mutex_lock(k, moving).await;
        mutex_unlock(k, moving);
        return VmFault::NoPage;
    };
    let page = match swap_cache_get_folio(k, slot).await {
        Some(page) => page,
        None => match read_swap_cache_async(k, slot, vmf.mm).await {
            Ok(page) => page,
            Err(fault) => return fault,
        },
    };
    mutex_lock(k, folio_lock(page.pfn)).await;
    let look = || {
        let same = k.folio_test(page.pfn, PageFlags::SWAPCACHE) && k.folio_swap(page.pfn) == slot;
        (same, k.folio_test(page.pfn, PageFlags::HWPOISON))
    };
    let (same, broken) = k.step(obj::page(page.pfn, 1), Access::Read, look).await;
    let mapped = match same && !broken {
        true => map_swapped_page(k, vma, vmf, orig, slot, page).await,
        false => None,
    };
    mutex_unlock(k, folio_lock(page.pfn));
    if same && broken {
        put_page(k, page).await;
        return VmFault::Sigbus; // VM_FAULT_HWPOISON
    }
    let Some(pte) = mapped else {
        put_page(k, page).await;
        return VmFault::NoPage;
    };
    if vmf.write && !pte.write() {
        return do_wp_page(k, vma, vmf, pte).await;
    }
    VmFault::NoPage
}

/// As [`do_swap_page`], of a page that only a device reaches: it comes back.
///
/// The fault takes a reference (v6.1, 16ce101db85d) and the lock (v6.15, 1afaeb8293c9 mm/migrate: Trylock device page in
/// do_swap_page()), so that no other fault's reference keeps it from moving.
///
/// Simplified: both come with the first; who finds it locked waits, which is younger; and without them, too, the
/// entry is looked at again under its lock, which the kernel did not.
async fn do_device_private_page(k: &Kernel, vma: &Vma, vmf: Vmf, orig: Pte) -> VmFault {
    let Some(table) = pmdp_get_lockless(k, PmdPtr::of(vmf.mm, vmf.va)).await.table_nr() else {
        return VmFault::NoPage;
    };
    let lock = folio_lock(orig.pfn());
    spin_lock(k, ptl(table)).await;
    let p = PtePtr::of(k, table, vmf.va);
    if ptep_get(k, p) != orig {
        spin_unlock(k, ptl(table));
        return VmFault::NoPage;
    }
    let page = PageRef { pfn: orig.pfn(), gen_: pte_gen(k, p) };
    let hold = k.fixed(Fix::DevicePrivateRef);
    let locked = hold && trylock(k, lock).await;
    if locked {
        get_page(k, page.pfn).await;
    }
    spin_unlock(k, ptl(table));
    if hold && !locked {
        // softleaf_entry_wait_on_locked()
        mutex_lock(k, lock).await;
        mutex_unlock(k, lock);
        return VmFault::NoPage;
    }
    let ret = migrate_to_ram(k, vma, vmf.va, page, locked).await;
    if locked {
        mutex_unlock(k, lock);
        put_page(k, page).await;
    }
    ret
}

/// Maps a locked page of the swap cache in place of the entry, unless that has changed; takes over the
/// reference.
async fn map_swapped_page(k: &Kernel, vma: &Vma, vmf: Vmf, orig: Pte, slot: u8, page: PageRef) -> Option<Pte> {
    enter!(k);
    let table = pmdp_get_lockless(k, PmdPtr::of(vmf.mm, vmf.va)).await.table_nr()?;
    spin_lock(k, ptl(table)).await;
    let p = PtePtr::of(k, table, vmf.va);
    if ptep_get(k, p) != orig {
        spin_unlock(k, ptl(table));
        return None;
    }
    k.set_vma_anon(vma.mm, vma.start);
    let exclusive = match k.fixed(Fix::WpReuseExclusive) {
        true => {
            swap_free(k, slot).await;
            may_be_exclusive(k, vmf, orig, page).await
        }
        false => vmf.write && reuse_swap_page(k, page).await,
    };
    let pte = match vmf.write && exclusive && vma.flags.contains(VmFlags::WRITE) {
        true => Pte::page(page.pfn).mkwrite(true).mkdirty(),
        false => Pte::page(page.pfn),
    };
    page_add_anon_rmap(k, page.pfn, vma, vmf.va, exclusive).await;
    add_mm_counter(k, vmf.mm, page.pfn, 1);
    set_pte_at(k, p, pte).await;
    if !k.fixed(Fix::WpReuseExclusive) {
        swap_free(k, slot).await;
    }
    spin_unlock(k, ptl(table));
    Some(pte)
}

/// The entry says so, or nobody else references the page; should_try_to_free_swap().
async fn may_be_exclusive(k: &Kernel, vmf: Vmf, orig: Pte, page: PageRef) -> bool {
    let count = || k.step(obj::page(page.pfn, 1), Access::Read, || k.page_count(page.pfn));
    if vmf.write && count().await == 2 {
        try_to_free_swap(k, page).await;
    }
    orig.exclusive() || count().await == 1
}
