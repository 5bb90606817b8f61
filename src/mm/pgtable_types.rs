// SPDX-License-Identifier: GPL-2.0-or-later
//! Entries of page tables, and pointers to them.
//! Linux: arch/x86/include/asm/pgtable_types.h, pgtable.h, include/linux/pgtable.h.
//!
//! Two levels: a pmd entry is none, a table, or a leaf of [`HPAGE_PMD_NR`] pages; a pte is none, a page, or
//! says where the page is meanwhile (include/linux/swapops.h): in swap, under migration, with a device, poisoned.

use super::mm_types::*;
use crate::fixes::Fix;
use crate::limits::*;
use crate::trace::Pfn;
use std::fmt;

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
/// Not present: the low byte is a swap slot.
const SWAP: u32 = 1 << 17;
/// Not present: the page moves elsewhere; WRITE and EXCLUSIVE say what its entry was.
const MIGRATION: u32 = 1 << 18;
/// Not present: the page is broken.
const HWPOISON: u32 = 1 << 19;
/// pte_swp_exclusive(), or SWP_MIGRATION_READ_EXCLUSIVE.
const EXCLUSIVE: u32 = 1 << 20;
/// Not present: the page is in memory that only a device reaches; WRITE says whether it was writable.
const DEVICE: u32 = 1 << 21;

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
    /// pte_mkclean().
    pub(crate) fn mkclean(self) -> Pte {
        Pte(self.0 & !DIRTY)
    }
    /// pte_mkyoung().
    pub(crate) fn mkyoung(self) -> Pte {
        Pte(self.0 | YOUNG)
    }
    /// pte_mkold().
    pub(crate) fn mkold(self) -> Pte {
        Pte(self.0 & !YOUNG)
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
    /// swp_entry_to_pte().
    pub(crate) fn swap(slot: u8) -> Pte {
        Pte(slot as u32 | SWAP)
    }
    /// The slot of a swap entry.
    pub(crate) fn swap_slot(self) -> Option<u8> {
        (self.0 & SWAP != 0).then_some(self.0 as u8)
    }
    /// make_readable_migration_entry(), make_readable_exclusive_.., make_writable_..; of a pmd it says so of all
    /// pages of a huge one, and is no leaf.
    pub(crate) fn migration(pfn: Pfn, write: bool, exclusive: bool) -> Pte {
        Pte(pfn.0 as u32 | MIGRATION).mkwrite(write).mkexclusive(exclusive && !write)
    }
    /// make_hwpoison_entry().
    pub(crate) fn hwpoison(pfn: Pfn) -> Pte {
        Pte(pfn.0 as u32 | HWPOISON)
    }
    /// make_readable_device_private_entry(), make_writable_device_private_entry().
    pub(crate) fn device_private(pfn: Pfn, write: bool) -> Pte {
        Pte(pfn.0 as u32 | DEVICE).mkwrite(write)
    }
    pub(crate) fn is_device_private(self) -> bool {
        self.0 & DEVICE != 0
    }
    /// pte_swp_mkexclusive(), pte_swp_clear_exclusive().
    pub(crate) fn mkexclusive(self, exclusive: bool) -> Pte {
        Pte(if exclusive { self.0 | EXCLUSIVE } else { self.0 & !EXCLUSIVE })
    }
    pub(crate) fn is_migration(self) -> bool {
        self.0 & MIGRATION != 0
    }
    pub(crate) fn is_hwpoison(self) -> bool {
        self.0 & HWPOISON != 0
    }
    /// pte_swp_exclusive(), is_readable_exclusive_migration_entry().
    pub(crate) fn exclusive(self) -> bool {
        self.0 & EXCLUSIVE != 0
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
    pub(crate) fn young(self) -> bool {
        self.0 & YOUNG != 0
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
    /// A leaf, or the migration entry of one.  Linux: is_swap_pmd() || pmd_trans_huge().
    pub(crate) fn maps_huge(self) -> bool {
        self.0 & (LEAF | MIGRATION) != 0
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
    pub(crate) fn kind(self) -> u16 {
        (self.0 >> 8) as u16
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
            (SWAP, "|swap"),
            (MIGRATION, "|migration"),
            (HWPOISON, "|hwpoison"),
            (EXCLUSIVE, "|exclusive"),
            (DEVICE, "|device"),
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
        PtePtr { table, i: va % PTRS_PER_PTE as u8, gen_: super::pgtable::table_gen(k, table) }
    }
}
