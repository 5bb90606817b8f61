// SPDX-License-Identifier: GPL-2.0-or-later
//! Page tables, and the steps that read and write them.
//! Linux: include/linux/pgtable.h, mm/pgtable-generic.c, include/asm-generic/pgalloc.h.
//!
//! An entry is written under its lock and in a step that announced it.  It is read in such a step, or
//! under its lock.  The MMU takes no lock.

use super::mm_types::*;
pub(crate) use super::pgtable_types::*;
use crate::arch::TlbEntry;
use crate::kernel::{Touch, Wait, enter, spin_lock_of};
use crate::limits::*;
use crate::trace::{Access, Event, Pfn, obj};
use std::cell::Cell;
use std::future::Future;

/// The pmd entries of an address space.
#[derive(Debug, Default)]
pub(crate) struct Pmds {
    entries: [Cell<Pte>; PTRS_PER_PMD],
    /// Generation of the frames a leaf had when it was installed; for oracles.
    gens: [Cell<[u16; HPAGE_PMD_NR]>; PTRS_PER_PMD],
    /// Page tables put aside for the split of a leaf, table number plus one.
    deposited: [Cell<u8>; PTRS_PER_PMD],
}

/// A page table.
#[derive(Debug, Default)]
pub(crate) struct PgTable {
    /// In use.
    live: Cell<bool>,
    /// Counts uses; a pointer into a table remembers which.
    gen_: Cell<u16>,
    entries: [Cell<Pte>; PTRS_PER_PTE],
    /// Generation of the frame when the entry was installed; for oracles.
    gens: [Cell<u16>; PTRS_PER_PTE],
    /// Whose, and which page its first entry maps; for traces.
    mm: Cell<u8>,
    base: Cell<u8>,
}

/// At boot: no entries, all tables unused.
pub(crate) fn pgtable_cache_init(k: &Kernel) {
    for mm in k.mms.iter().filter(|mm| mm.used.get()) {
        mm.pmds.entries.iter().for_each(|p| p.set(Pte::NONE));
        mm.pmds.deposited.iter().for_each(|d| d.set(0));
    }
    // They are taken lowest first: behind the first that never was, none was.
    for table in k.tables.iter().take_while(|table| table.live.get() || table.gen_.get() > 0) {
        table.live.set(false);
        table.gen_.set(0);
        table.entries.iter().for_each(|p| p.set(Pte::NONE));
    }
}

fn pmd(k: &Kernel, p: PmdPtr) -> &Cell<Pte> {
    &k.mm(p.mm).pmds.entries[p.i as usize]
}

fn table(k: &Kernel, table: u8) -> &PgTable {
    &k.tables[table as usize]
}

impl Kernel {
    /// Whose entries a table has.
    pub(super) fn table_mm(&self, nr: u8) -> u8 {
        table(self, nr).mm.get()
    }
}

/// Which life of a table it is.
pub(super) fn table_gen(k: &Kernel, nr: u8) -> u16 {
    table(k, nr).gen_.get()
}

/// A pmd, for oracles, for who keeps all others from changing it, and to guess what a step will touch: it must look again.
pub(crate) fn peek_pmd(k: &Kernel, p: PmdPtr) -> Pte {
    pmd(k, p).get()
}

/// A pte, for oracles.
pub(crate) fn peek_pte(k: &Kernel, nr: u8, i: u8) -> Pte {
    table(k, nr).entries[i as usize].get()
}

/// Whether a table is in use, for oracles.
pub(crate) fn peek_table(k: &Kernel, nr: u8) -> bool {
    table(k, nr).live.get()
}

/// Makes a table used or unused, as an oracle's test needs it.
#[cfg(test)]
pub(crate) fn poke_table(k: &Kernel, nr: u8, live: bool) {
    table(k, nr).live.set(live);
}

/// What the MMU does at a miss: reads the entries, which the step has announced, and sets accessed
/// and dirty bits.
pub(crate) fn mmu_walk(k: &Kernel, mm: u8, va: u8, write: bool) -> Option<TlbEntry> {
    let pmdp = PmdPtr::of(mm, va);
    k.assert_announced(obj::pmd(mm, pmdp.i), Access::Read);
    let (obj, cell, gen_, offset) = match pmd(k, pmdp).get().table_nr() {
        Some(nr) => {
            let p = PtePtr::of(k, nr, va);
            (obj::pte(nr, p.i), &table(k, nr).entries[p.i as usize], pte_gen(k, p), 0)
        }
        None => {
            let offset = (va - pmdp.base()) as usize;
            (obj::pmd(mm, pmdp.i), pmd(k, pmdp), pmd_gens(k, pmdp)[offset], offset)
        }
    };
    let entry = cell.get();
    if !entry.access_permitted(write) {
        return None;
    }
    k.assert_announced(obj, Access::Write);
    cell.set(if write { entry.mkyoung().mkdirty() } else { entry.mkyoung() });
    let pfn = entry.pfn().add(offset);
    Some(TlbEntry { pfn, write: entry.write() && (write || entry.dirty()), gen_ })
}

/// Reads a pmd without its lock.
#[track_caller]
pub(crate) fn pmdp_get_lockless(k: &Kernel, p: PmdPtr) -> impl Future<Output = Pte> {
    k.step(obj::pmd(p.mm, p.i), Access::Read, move || pmd(k, p).get())
}

/// Reads a pmd under its lock.
pub(crate) fn pmdp_get(k: &Kernel, p: PmdPtr) -> Pte {
    k.assert_held(page_table_lock(p.mm));
    pmd(k, p).get()
}

/// The frames' generations when the leaf was installed.
pub(crate) fn pmd_gens(k: &Kernel, p: PmdPtr) -> [u16; HPAGE_PMD_NR] {
    k.mm(p.mm).pmds.gens[p.i as usize].get()
}

/// Reads a pte without its lock.
#[track_caller]
pub(crate) fn ptep_get_lockless(k: &Kernel, p: PtePtr) -> impl Future<Output = Pte> {
    let touch = [Touch::read(obj::pte(p.table, p.i)), Touch::read(obj::table(p.table)), Touch::default()];
    k.step_on(touch, Wait::Ready, move || {
        k.emit(Event::TableUse { table: p.table, took: p.gen_, now: table_gen(k, p.table) });
        peek_pte(k, p.table, p.i)
    })
}

/// Takes the lock of a table, which lies in the table: who has looked it up must have kept it from going.
#[track_caller]
pub(crate) fn pte_offset_map_lock(k: &Kernel, p: PtePtr) -> impl Future<Output = ()> {
    spin_lock_of(k, ptl(p.table), obj::table(p.table), move || {
        let now = table_gen(k, p.table);
        if p.gen_ != now {
            k.emit(Event::TableUse { table: p.table, took: p.gen_, now });
        }
    })
}

/// Reads a pte under its lock.
pub(crate) fn ptep_get(k: &Kernel, p: PtePtr) -> Pte {
    k.assert_held(ptl(p.table));
    peek_pte(k, p.table, p.i)
}

/// The frame's generation when the entry was installed.
pub(crate) fn pte_gen(k: &Kernel, p: PtePtr) -> u16 {
    table(k, p.table).gens[p.i as usize].get()
}

fn anon_of(k: &Kernel, pfn: Pfn) -> bool {
    pfn.valid() && k.folio_test_anon(pfn)
}

/// Tells the oracles of an entry that changes.
fn trace_entry(k: &Kernel, mm: u8, va: u8, old: Pte, new: Pte) {
    let nr = |pte: Pte| if pte.is_leaf() { HPAGE_PMD_NR as u8 } else { 1 };
    if old.present() && !old.is_table() {
        let (pfn, nr) = (old.pfn(), nr(old));
        let (anon, write, special) = (anon_of(k, pfn), old.write(), old.special());
        k.emit(Event::Unmap { mm, va, pfn, nr, anon, write, special });
    }
    if new.present() && !new.is_table() {
        let (pfn, nr) = (new.pfn(), nr(new));
        let (anon, write, special) = (anon_of(k, pfn), new.write(), new.special());
        k.emit(Event::Map { mm, va, pfn, nr, gen_: k.page_gen(pfn), anon, write, special });
    }
}

/// Writes a pte; its lock is held.
#[track_caller]
pub(crate) fn set_pte_at(k: &Kernel, p: PtePtr, pte: Pte) -> impl Future<Output = ()> {
    k.step(obj::pte(p.table, p.i), Access::Write, move || set_pte_now(k, p, pte, None))
}

/// As [`set_pte_at`], for an entry that was installed under generation `gen_` and only moves.
#[track_caller]
pub(crate) fn move_pte_at(k: &Kernel, p: PtePtr, pte: Pte, gen_: u16) -> impl Future<Output = ()> {
    k.step(obj::pte(p.table, p.i), Access::Write, move || set_pte_now(k, p, pte, Some(gen_)))
}

fn set_pte_now(k: &Kernel, p: PtePtr, pte: Pte, gen_: Option<u16>) {
    k.assert_held(ptl(p.table));
    k.assert_announced(obj::pte(p.table, p.i), Access::Write);
    let table = table(k, p.table);
    let old = table.entries[p.i as usize].replace(pte);
    let refers = |pte: Pte| pte.present() || pte.is_device_private();
    if refers(pte) && (!refers(old) || old.pfn() != pte.pfn()) {
        table.gens[p.i as usize].set(gen_.unwrap_or_else(|| k.page_gen(pte.pfn())));
    }
    trace_entry(k, table.mm.get(), table.base.get() + p.i, old, pte);
}

/// Makes of a pte what `to` makes of it, whatever the MMU did meanwhile, and returns what it was; its lock is held.
#[track_caller]
pub(crate) fn ptep_modify(k: &Kernel, p: PtePtr, to: impl FnOnce(Pte) -> Pte + Unpin) -> impl Future<Output = Pte> {
    k.step(obj::pte(p.table, p.i), Access::Write, move || {
        let old = ptep_get(k, p);
        set_pte_now(k, p, to(old), None);
        old
    })
}

/// Clears a pte and returns what it was; its lock is held.
#[track_caller]
pub(crate) fn ptep_get_and_clear(k: &Kernel, p: PtePtr) -> impl Future<Output = Pte> {
    ptep_modify(k, p, |_| Pte::NONE)
}

/// Writes a pmd; page_table_lock is held.
#[track_caller]
pub(crate) fn set_pmd_at(k: &Kernel, p: PmdPtr, pmd: Pte) -> impl Future<Output = ()> {
    k.step(obj::pmd(p.mm, p.i), Access::Write, move || set_pmd_now(k, p, pmd, None))
}

/// As [`set_pmd_at`], for a leaf that was installed under generation `gen_` and only moves.
#[track_caller]
pub(crate) fn move_pmd_at(k: &Kernel, p: PmdPtr, pmd: Pte, gen_: [u16; HPAGE_PMD_NR]) -> impl Future<Output = ()> {
    k.step(obj::pmd(p.mm, p.i), Access::Write, move || set_pmd_now(k, p, pmd, Some(gen_)))
}

fn set_pmd_now(k: &Kernel, p: PmdPtr, new: Pte, gens: Option<[u16; HPAGE_PMD_NR]>) {
    k.assert_held(page_table_lock(p.mm));
    k.assert_announced(obj::pmd(p.mm, p.i), Access::Write);
    let old = pmd(k, p).replace(new);
    if new.is_leaf() {
        let now = || std::array::from_fn(|i| k.page_gen(new.pfn().add(i)));
        k.mm(p.mm).pmds.gens[p.i as usize].set(gens.unwrap_or_else(now));
    }
    if old.is_table() != new.is_table() {
        k.emit(Event::PmdTable { mm: p.mm, va: p.base(), live: new.is_table() });
    }
    trace_entry(k, p.mm, p.base(), old, new);
}

/// Makes of a pmd what `to` makes of it, whatever the MMU did meanwhile, and returns what it was;
/// page_table_lock is held.  Linux: pmdp_establish().
#[track_caller]
pub(crate) fn pmdp_modify(k: &Kernel, p: PmdPtr, to: fn(Pte) -> Pte) -> impl Future<Output = Pte> {
    k.step(obj::pmd(p.mm, p.i), Access::Write, move || {
        let old = pmdp_get(k, p);
        set_pmd_now(k, p, to(old), Some(pmd_gens(k, p)));
        old
    })
}

/// Clears a pmd and returns what it was; page_table_lock is held.
#[track_caller]
pub(crate) fn pmdp_huge_get_and_clear(k: &Kernel, p: PmdPtr) -> impl Future<Output = Pte> {
    pmdp_modify(k, p, |_| Pte::NONE)
}

/// Puts a table aside for the day the leaf is split.
pub(crate) fn pgtable_trans_huge_deposit(k: &Kernel, p: PmdPtr, nr: u8) {
    k.assert_held(page_table_lock(p.mm));
    table(k, nr).base.set(p.base());
    k.mm(p.mm).pmds.deposited[p.i as usize].set(nr + 1);
}

/// Takes the table that was put aside, if one was.
pub(crate) fn pgtable_trans_huge_withdraw(k: &Kernel, p: PmdPtr) -> Option<u8> {
    k.assert_held(page_table_lock(p.mm));
    k.mm(p.mm).pmds.deposited[p.i as usize].take().checked_sub(1)
}

/// Puts the table that was put aside for a leaf in its place, filled with `ptes`: nobody walked it before.
/// Linux: pmd_populate().
#[track_caller]
pub(crate) fn pmd_populate(k: &Kernel, p: PmdPtr, nr: u8, ptes: [Pte; HPAGE_PMD_NR]) -> impl Future<Output = ()> {
    let touch = [Touch::write(obj::pmd(p.mm, p.i)), Touch::write(obj::ptes(nr)), Touch::default()];
    k.step_on(touch, Wait::Ready, move || {
        let gens = pmd_gens(k, p);
        set_pmd_now(k, p, Pte::table(nr), None);
        for (i, pte) in ptes.into_iter().enumerate() {
            table(k, nr).entries[i].set(pte);
            table(k, nr).gens[i].set(gens[i]);
            trace_entry(k, p.mm, p.base() + i as u8, Pte::NONE, pte);
        }
    })
}

/// Takes an unused page table for `mm`; it maps the pmd of `base`.
pub(crate) async fn pte_alloc_one(k: &Kernel, mm: u8, base: u8) -> Option<u8> {
    enter!(k);
    if k.should_fail() {
        return None;
    }
    let take = || {
        let nr = k.tables.iter().position(|t| !t.live.get())? as u8;
        let table = table(k, nr);
        table.live.set(true);
        // For traces of whoever will be told of the table.
        table.mm.set(mm);
        table.base.set(base);
        k.emit(Event::Table { table: nr, mm, live: true });
        Some(nr)
    };
    k.step(obj::pgtables(), Access::Write, take).await
}

/// Gives a page table back; entries that it still has are gone (page_table_check_pte_clear_range()).
#[track_caller]
pub(crate) fn pte_free(k: &Kernel, nr: u8) -> impl Future<Output = ()> {
    let touch = [obj::table(nr), obj::ptes(nr), obj::pgtables()].map(Touch::write);
    k.step_on(touch, Wait::Ready, move || {
        let table = table(k, nr);
        assert!(table.live.get(), "page table {nr} is freed twice");
        table.live.set(false);
        table.gen_.set(table.gen_.get() + 1);
        for (i, entry) in table.entries.iter().enumerate() {
            trace_entry(k, table.mm.get(), table.base.get() + i as u8, entry.replace(Pte::NONE), Pte::NONE);
        }
        k.emit(Event::Table { table: nr, mm: table.mm.get(), live: false });
    })
}
