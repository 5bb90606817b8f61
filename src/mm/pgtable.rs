// SPDX-License-Identifier: GPL-2.0-or-later
//! Entries of page tables, and the steps that read and write them.
//! Linux: include/linux/pgtable.h, arch/x86/include/asm/pgtable.h.
//!
//! Two levels: a pmd entry is none, a table, or a leaf of [`HPAGE_PMD_NR`] pages; a pte is none or a page.

use super::mm_types::*;
use crate::fixes::Fix;
use crate::kernel::Touch;
use crate::limits::*;
use crate::trace::{Access, Event, Pfn, obj};
use std::fmt;
use std::future::Future;

/// A pmd or pte entry.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Pte(u32);

const PRESENT: u32 = 1 << 8;
const WRITE: u32 = 1 << 9;
const DIRTY: u32 = 1 << 10;
const YOUNG: u32 = 1 << 11;
const SPECIAL: u32 = 1 << 12;
const DEVMAP: u32 = 1 << 13;
/// A pmd that maps pages itself (PSE).
const LEAF: u32 = 1 << 14;
/// A pmd that points to a table.
const TABLE: u32 = 1 << 15;
/// PROT_NONE: present to the kernel, not to the MMU.
const PROTNONE: u32 = 1 << 16;

impl Pte {
    pub(crate) const NONE: Pte = Pte(0);

    /// mk_pte().
    pub(crate) fn page(pfn: Pfn) -> Pte {
        Pte(pfn.0 as u32 | PRESENT | YOUNG)
    }
    /// A pmd that points to `table`.
    pub(crate) fn table(table: u8) -> Pte {
        Pte(table as u32 | PRESENT | TABLE)
    }
    /// pmd_mkhuge().
    pub(crate) fn mkhuge(self) -> Pte {
        Pte(self.0 | LEAF)
    }
    /// pte_mkwrite().
    pub(crate) fn mkwrite(self, write: bool) -> Pte {
        Pte(if write { self.0 | WRITE } else { self.0 & !WRITE })
    }
    /// pte_mkdirty().
    pub(crate) fn mkdirty(self) -> Pte {
        Pte(self.0 | DIRTY)
    }
    /// pte_mkyoung().
    pub(crate) fn mkyoung(self) -> Pte {
        Pte(self.0 | YOUNG)
    }
    /// pte_mkspecial(): nothing where the architecture has no such bit.
    pub(crate) fn mkspecial(self, k: &Kernel) -> Pte {
        Pte(if k.fixed(Fix::PteSpecial) { self.0 | SPECIAL } else { self.0 })
    }
    /// pte_mkdevmap(): at pte level SPECIAL too, at pmd level DEVMAP alone.
    pub(crate) fn mkdevmap(self, k: &Kernel) -> Pte {
        let devmap = Pte(self.0 | DEVMAP);
        if self.is_leaf() { devmap } else { devmap.mkspecial(k) }
    }
    pub(crate) fn none(self) -> bool {
        self.0 == 0
    }
    /// pte_present(): as the kernel sees it.
    pub(crate) fn present(self) -> bool {
        self.0 & (PRESENT | PROTNONE) != 0
    }
    /// pte_modify(), as far as PROT_NONE goes.
    pub(crate) fn mkaccessible(self, read: bool) -> Pte {
        if read { Pte(self.0 & !PROTNONE | PRESENT) } else { Pte(self.0 & !PRESENT | PROTNONE) }
    }
    pub(crate) fn write(self) -> bool {
        self.0 & WRITE != 0
    }
    pub(crate) fn dirty(self) -> bool {
        self.0 & DIRTY != 0
    }
    pub(crate) fn special(self) -> bool {
        self.0 & SPECIAL != 0
    }
    pub(crate) fn devmap(self) -> bool {
        self.0 & DEVMAP != 0
    }
    /// pmd_leaf(): trans_huge or devmap.
    pub(crate) fn is_leaf(self) -> bool {
        self.0 & LEAF != 0
    }
    pub(crate) fn is_table(self) -> bool {
        self.0 & TABLE != 0
    }
    pub(crate) fn pfn(self) -> Pfn {
        Pfn(self.0 as u8)
    }
    /// The table a pmd points to.
    pub(crate) fn table_nr(self) -> Option<u8> {
        self.is_table().then_some(self.0 as u8)
    }
    /// Linux: arch/x86/include/asm/pgtable.h, pte_access_permitted().
    pub(crate) fn access_permitted(self, write: bool) -> bool {
        self.0 & PRESENT != 0 && (!write || self.write())
    }
    /// What distinguishes entries, less whose they are; for search feedback.
    pub(crate) fn kind(self) -> u8 {
        (self.0 >> 8) as u8
    }
}

impl fmt::Debug for Pte {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.none() {
            return f.write_str("none");
        }
        write!(f, "{}{:#x}", if self.is_table() { "table " } else { "" }, self.0 as u8)?;
        for (bit, name) in [
            (WRITE, "|w"),
            (DIRTY, "|dirty"),
            (SPECIAL, "|special"),
            (DEVMAP, "|devmap"),
            (LEAF, "|huge"),
            (PROTNONE, "|none"),
        ] {
            f.write_str(if self.0 & bit != 0 { name } else { "" })?;
        }
        Ok(())
    }
}

/// A pointer to a pmd entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PmdPtr {
    pub(crate) mm: u8,
    pub(crate) i: u8,
}

impl PmdPtr {
    /// pmd_offset().
    pub(crate) fn of(mm: u8, va: u8) -> PmdPtr {
        PmdPtr { mm, i: va / PTRS_PER_PTE as u8 }
    }
    /// The first page it maps.
    pub(crate) fn base(self) -> u8 {
        self.i * PTRS_PER_PTE as u8
    }
}

/// A pointer to a pte, and which life of its table it was taken from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PtePtr {
    pub(crate) table: u8,
    pub(crate) i: u8,
    pub(crate) gen_: u16,
}

impl PtePtr {
    /// pte_offset_map(), of a pmd value that points to a table.
    pub(crate) fn of(k: &Kernel, table: u8, va: u8) -> PtePtr {
        PtePtr { table, i: va % PTRS_PER_PTE as u8, gen_: k.tables[table as usize].gen_.get() }
    }
}

/// Reads a pmd without its lock.
#[track_caller]
pub(crate) fn pmdp_get_lockless(k: &Kernel, p: PmdPtr) -> impl Future<Output = Pte> {
    k.step(obj::pmd(p.mm, p.i), Access::Read, move || k.mm(p.mm).pmds[p.i as usize].get())
}

/// Reads a pmd under its lock, or where nobody else can write it.
pub(crate) fn pmdp_get(k: &Kernel, p: PmdPtr) -> Pte {
    k.mm(p.mm).pmds[p.i as usize].get()
}

/// Reads a pte without its lock.
#[track_caller]
pub(crate) fn ptep_get_lockless(k: &Kernel, p: PtePtr) -> impl Future<Output = Pte> {
    let touch = [Touch::read(obj::pte(p.table, p.i)), Touch::read(obj::table(p.table)), Touch::default()];
    k.step_on(touch, crate::kernel::Wait::Ready, move || {
        let now = k.tables[p.table as usize].gen_.get();
        k.emit(Event::TableUse { table: p.table, took: p.gen_, now });
        k.tables[p.table as usize].ptes[p.i as usize].get()
    })
}

/// Reads a pte under its lock.
pub(crate) fn ptep_get(k: &Kernel, p: PtePtr) -> Pte {
    k.assert_held(ptl(p.table));
    k.tables[p.table as usize].ptes[p.i as usize].get()
}

/// The frame's generation when the entry was installed.
pub(crate) fn pte_gen(k: &Kernel, p: PtePtr) -> u16 {
    k.tables[p.table as usize].gens[p.i as usize].get()
}

fn gen_of(k: &Kernel, pfn: Pfn) -> u16 {
    if pfn.valid() { k.frame(pfn).gen_.get() } else { 0 }
}

fn anon_of(k: &Kernel, pfn: Pfn) -> bool {
    pfn.valid() && k.frame(pfn).flags.get().contains(PageFlags::ANON)
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
        k.emit(Event::Map { mm, va, pfn, nr, gen_: gen_of(k, pfn), anon, write, special });
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
    let table = &k.tables[p.table as usize];
    let old = table.ptes[p.i as usize].replace(pte);
    if !old.present() || old.pfn() != pte.pfn() {
        table.gens[p.i as usize].set(gen_.unwrap_or_else(|| gen_of(k, pte.pfn())));
    }
    trace_entry(k, table.mm.get(), table.base.get() + p.i, old, pte);
}

/// Clears a pte and returns what it was; its lock is held.
#[track_caller]
pub(crate) fn ptep_get_and_clear(k: &Kernel, p: PtePtr) -> impl Future<Output = Pte> {
    k.step(obj::pte(p.table, p.i), Access::Write, move || {
        k.assert_held(ptl(p.table));
        let table = &k.tables[p.table as usize];
        let old = table.ptes[p.i as usize].replace(Pte::NONE);
        trace_entry(k, table.mm.get(), table.base.get() + p.i, old, Pte::NONE);
        old
    })
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

fn set_pmd_now(k: &Kernel, p: PmdPtr, pmd: Pte, gens: Option<[u16; HPAGE_PMD_NR]>) {
    k.assert_held(page_table_lock(p.mm));
    let mm = k.mm(p.mm);
    let old = mm.pmds[p.i as usize].replace(pmd);
    if pmd.is_leaf() {
        let now = || std::array::from_fn(|i| gen_of(k, pmd.pfn().add(i)));
        mm.pmd_gens[p.i as usize].set(gens.unwrap_or_else(now));
    }
    trace_entry(k, p.mm, p.base(), old, pmd);
}

/// Clears a pmd and returns what it was; page_table_lock is held.
#[track_caller]
pub(crate) fn pmdp_huge_get_and_clear(k: &Kernel, p: PmdPtr) -> impl Future<Output = Pte> {
    k.step(obj::pmd(p.mm, p.i), Access::Write, move || {
        let old = pmdp_get(k, p);
        set_pmd_now(k, p, Pte::NONE, None);
        old
    })
}

/// Takes an unused page table for `mm`; it maps the pmd of `base`.  Nobody sees it yet.
pub(crate) fn pte_alloc_one(k: &Kernel, mm: u8, base: u8) -> Option<u8> {
    if k.should_fail() {
        return None;
    }
    let nr = k.tables.iter().position(|t| !t.live.get())?;
    let table = &k.tables[nr];
    table.live.set(true);
    table.mm.set(mm);
    table.base.set(base);
    table.ptes.iter().for_each(|p| p.set(Pte::NONE));
    k.emit(Event::Table { table: nr as u8, mm, live: true });
    Some(nr as u8)
}

/// Gives a page table back.
#[track_caller]
pub(crate) fn pte_free(k: &Kernel, table: u8) -> impl Future<Output = ()> {
    k.step(obj::table(table), Access::Write, move || pte_free_now(k, table))
}

/// As [`pte_free`], of a table that nobody else ever saw.
pub(crate) fn pte_free_now(k: &Kernel, table: u8) {
    let t = &k.tables[table as usize];
    assert!(t.live.get(), "page table {table} is freed twice");
    t.live.set(false);
    t.gen_.set(t.gen_.get() + 1);
    k.emit(Event::Table { table, mm: t.mm.get(), live: false });
}
