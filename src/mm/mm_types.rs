// SPDX-License-Identifier: GPL-2.0-or-later
//! Pages, areas, address spaces, mappings.  Linux: include/linux/mm_types.h, mm.h, fs.h.
//!
//! Kept:       what a branch or an oracle reads.
//! Simplified: one flat array each; an address space is a number, a mapping too.
//! Simplified: one anon_vma for all address spaces that descend from one another by fork.
//! Left out:   zones, memcg, page->lru.

use super::address_space::AddressSpaceOperations;
pub(crate) use super::mm_struct::*;
use super::page_alloc::FreeArea;
pub(crate) use super::page_flags::*;
use super::pgtable::PgTable;
use super::swapfile::SwapInfo;
use crate::fixes::FixSet;
use crate::kernel::{Draw, Lock, LockClass, Machine, NR_MAPPINGS};
use crate::limits::*;
use crate::trace::Pfn;

use bitflags::bitflags;
use std::cell::{Cell, OnceCell};
use std::future::Future;
use std::ops::{Deref, Range};
use std::pin::Pin;
use std::rc::Rc;

bitflags! {
    /// vma->vm_flags.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub(crate) struct VmFlags: u16 {
        const READ = 1;
        const WRITE = 2;
        const SHARED = 4;
        const MAYWRITE = 8;
        const IO = 16;
        const PFNMAP = 32;
        const MIXEDMAP = 64;
        const DONTEXPAND = 128;
        const DONTCOPY = 256;
        const HUGEPAGE = 512;
        const HUGETLB = 1024;
    }
}

impl VmFlags {
    /// A private mapping that can become writable.  Linux: include/linux/mm.h, is_cow_mapping().
    pub(crate) fn is_cow(self) -> bool {
        self & (VmFlags::SHARED | VmFlags::MAYWRITE) == VmFlags::MAYWRITE
    }
}

/// A reference to a page, and the generation it was taken of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct PageRef {
    pub(crate) pfn: Pfn,
    pub(crate) gen_: u16,
}

/// A future behind a function pointer.
pub(crate) type Boxed<'a, R> = Pin<Box<dyn Future<Output = R> + 'a>>;

/// Why a fault ends, as VM_FAULT_* codes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum VmFault {
    /// The entry is in place, or the access may be tried again.
    NoPage,
    /// mmap_lock was dropped; find the area again.
    Retry,
    /// No huge entry here; use ptes.
    Fallback,
    Sigbus,
    Oom,
    /// A page with a reference for the caller to map.
    Page(PageRef),
}

/// A fault.  Linux: struct vm_fault.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vmf {
    pub(crate) mm: u8,
    /// Faulting page of the address space.
    pub(crate) va: u8,
    pub(crate) write: bool,
    /// FAULT_FLAG_UNSHARE: somebody wants to pin the page and must not share it.
    pub(crate) unshare: bool,
    /// The handler may drop mmap_lock and ask for another try.
    pub(crate) allow_retry: bool,
    /// Page of the object.
    pub(crate) pgoff: u8,
}

/// vma->vm_ops.  The object carries its own state.
pub(crate) trait VmOps {
    /// ->fault, mmap_lock held for reading.
    fn fault<'a>(&'a self, k: &'a Kernel, vma: &'a Vma, vmf: Vmf) -> Boxed<'a, VmFault>;
    /// ->huge_fault at pmd level, if the driver has one.
    fn huge_fault<'a>(&'a self, _k: &'a Kernel, _vma: &'a Vma, _vmf: Vmf) -> Option<Boxed<'a, VmFault>> {
        None
    }
    /// ->open: the area was copied, moved or split.
    fn open<'a>(&'a self, k: &'a Kernel) -> Boxed<'a, ()>;
    /// ->close: the area goes; its entries are gone.
    fn close<'a>(&'a self, k: &'a Kernel) -> Boxed<'a, ()>;
}

/// No mapping.
pub(crate) const NO_MAPPING: u8 = u8::MAX;
/// The mapping of the TTM device's own inode.
pub(crate) const TTM_MAPPING: u8 = NR_HANDLES as u8;
/// The first mapping of dma-buf exporters.
pub(crate) const DMA_BUF_MAPPING: u8 = NR_HANDLES as u8 + 1;

/// The mapping of the disk: what its file system keeps there of itself.  Linux: bdev->bd_mapping.
pub(crate) const BD_MAPPING: u8 = NR_MAPPINGS as u8 - 1;

/// An area.  A copy: areas change only under mmap_lock held for writing, and those of a file only
/// under its i_mmap_rwsem too.
#[derive(Clone)]
pub(crate) struct Vma {
    pub(crate) mm: u8,
    /// Pages of the address space.
    pub(crate) start: u8,
    pub(crate) end: u8,
    pub(crate) flags: VmFlags,
    /// vm_file->f_mapping, or [`NO_MAPPING`].
    pub(crate) mapping: u8,
    /// Page of the mapping that `start` shows; for TTM of the device's address space; of anonymous
    /// memory the page it began its life as; of private page frames the first one's number.
    pub(crate) pgoff: u8,
    /// May hold anonymous pages: vma->anon_vma is set.
    pub(crate) anon_vma: bool,
    pub(crate) ops: Option<Rc<dyn VmOps>>,
}

impl Vma {
    /// The page of the mapping behind `va`.
    pub(crate) fn pgoff_of(&self, va: u8) -> u8 {
        self.pgoff + (va - self.start)
    }
    pub(crate) fn contains(&self, va: u8) -> bool {
        (self.start..self.end).contains(&va)
    }
    /// vma->anon_vma.
    pub(crate) fn anon_vma(&self, k: &Kernel) -> Option<u8> {
        self.anon_vma.then(|| k.anon_vma(self.mm))
    }
    /// Anonymous memory; hugetlb has operations of its own.
    pub(crate) fn is_anonymous(&self) -> bool {
        self.mapping == NO_MAPPING && self.ops.is_none() && !self.flags.contains(VmFlags::HUGETLB)
    }
    /// Linux: include/linux/huge_mm.h, vma_is_special_huge().
    pub(crate) fn is_special_huge(&self) -> bool {
        self.ops.is_some() && self.flags.intersects(VmFlags::PFNMAP | VmFlags::MIXEDMAP)
    }
}

/// An address_space: the page cache of a file, or the pages of an exporter.
#[derive(Default)]
pub(crate) struct Mapping {
    pages: [Cell<Option<PageRef>>; FILE_PAGES],
    nrpages: Cell<u8>,
    /// i_size in pages.
    size: Cell<u8>,
    /// What a file system does.
    a_ops: OnceCell<Rc<dyn AddressSpaceOperations>>,
}

impl Mapping {
    fn set(&self, pgoff: u8, page: Option<PageRef>) {
        let old = self.pages[pgoff as usize].replace(page);
        self.nrpages.set(self.nrpages.get() + u8::from(page.is_some()) - u8::from(old.is_some()));
    }
}

/// Memory, on top of the machine.
pub struct Kernel {
    machine: Machine,
    pub(super) frames: [Frame; NR_FRAMES],
    /// VRAM, which has no struct page.
    pub(super) iomem: [Memory; NR_IOMEM],
    pub(super) free_area: [FreeArea; MAX_ORDER as usize + 1],
    pub(super) mms: [Mm; NR_MMS],
    /// The address space of each task, `u8::MAX`: none.
    pub(super) task_mm: [Cell<u8>; NR_TASKS],
    pub(super) tables: [PgTable; NR_TABLES],
    pub(crate) swap: SwapInfo,
    mappings: [Mapping; NR_MAPPINGS],
    /// The last generation given to a block; one more at each allocation and at each free.
    generation: Cell<u16>,
}

impl Deref for Kernel {
    type Target = Machine;
    fn deref(&self) -> &Machine {
        &self.machine
    }
}

impl Kernel {
    pub(crate) fn new(fixes: FixSet) -> Kernel {
        Kernel {
            machine: Machine::new(fixes),
            frames: std::array::from_fn(|_| Frame::default()),
            iomem: std::array::from_fn(|_| Memory::default()),
            free_area: std::array::from_fn(|_| FreeArea::default()),
            mms: std::array::from_fn(|_| Mm::default()),
            task_mm: std::array::from_fn(|_| Cell::new(u8::MAX)),
            tables: std::array::from_fn(|_| PgTable::default()),
            swap: SwapInfo::default(),
            mappings: std::array::from_fn(|_| Mapping::default()),
            generation: Cell::new(0),
        }
    }

    /// Boots: all memory free, every user task a thread of address space 0.
    pub(crate) fn reset(&self, fixes: FixSet, draw: Draw) {
        self.machine.reset(fixes, draw);
        self.generation.set(0);
        super::page_alloc::mem_init(self);
        super::pgtable::pgtable_cache_init(self);
        super::mm_struct::init_mm(self);
        self.swap.init();
        for (task, mm) in self.task_mm.iter().enumerate() {
            mm.set(if task < NR_USER_TASKS { 0 } else { u8::MAX });
        }
        for mapping in &self.mappings {
            if mapping.nrpages.take() > 0 {
                mapping.pages.iter().for_each(|p| p.set(None));
            }
            mapping.size.set(FILE_PAGES as u8);
        }
    }

    /// A generation no block had before: all frames of a block have the same.
    pub(super) fn next_generation(&self) -> u16 {
        self.generation.set(self.generation.get() + 1);
        self.generation.get()
    }

    /// A file system tells once what it does for a file.
    pub(crate) fn set_a_ops(&self, mapping: u8, ops: Rc<dyn AddressSpaceOperations>) {
        let set = self.mappings[mapping as usize].a_ops.set(ops);
        assert!(set.is_ok(), "a file is one file system's");
    }

    /// mapping->a_ops of a file on the disk.
    pub(crate) fn a_ops(&self, mapping: u8) -> Option<&dyn AddressSpaceOperations> {
        self.mappings.get(mapping as usize)?.a_ops.get().map(Rc::as_ref)
    }

    pub(super) fn mm(&self, mm: u8) -> &Mm {
        &self.mms[mm as usize]
    }

    /// i_size_read().
    pub(crate) fn i_size_read(&self, mapping: u8) -> u8 {
        self.assert_held(i_pages(mapping));
        self.mappings[mapping as usize].size.get()
    }

    pub(crate) fn i_size_write(&self, mapping: u8, size: u8) {
        self.assert_held(i_pages(mapping));
        self.mappings[mapping as usize].size.set(size);
    }

    /// xa_load() of mapping->i_pages: the page there, if one is.
    pub(crate) fn xa_load(&self, mapping: u8, pgoff: u8) -> Option<PageRef> {
        self.assert_held(i_pages(mapping));
        self.mappings[mapping as usize].pages[pgoff as usize].get()
    }

    /// xa_find(): the first page of those in a range that is there, and where.
    pub(crate) fn xa_find(&self, mapping: u8, mut range: Range<u8>) -> Option<(u8, PageRef)> {
        range.find_map(|pgoff| Some((pgoff, self.xa_load(mapping, pgoff)?)))
    }

    /// xa_store(), xa_erase().
    pub(crate) fn xa_store(&self, mapping: u8, pgoff: u8, page: Option<PageRef>) {
        self.assert_held(i_pages(mapping));
        self.mappings[mapping as usize].set(pgoff, page);
    }

    /// Puts a page into a mapping, as an oracle's test needs it.
    #[cfg(test)]
    pub(crate) fn poke_mapping(&self, mapping: u8, pgoff: u8, page: PageRef) {
        self.mappings[mapping as usize].set(pgoff, Some(page));
    }

    /// The pages of a mapping, when all is quiet.
    pub(crate) fn peek_mapping(&self, mapping: u8) -> impl Iterator<Item = PageRef> {
        let Mapping { pages, nrpages, .. } = &self.mappings[mapping as usize];
        let pages = if nrpages.get() > 0 { &pages[..] } else { &[] };
        pages.iter().filter_map(Cell::get)
    }
}

/// The lock of an address space's areas.
pub(crate) fn mmap_lock(mm: u8) -> Lock {
    Lock::new(LockClass::Mmap, mm as usize)
}
/// The lock of an address space's pmd entries.
pub(crate) fn page_table_lock(mm: u8) -> Lock {
    Lock::new(LockClass::Pmd, mm as usize)
}
/// The lock of a page table.
pub(crate) fn ptl(table: u8) -> Lock {
    Lock::new(LockClass::Pte, table as usize)
}
/// The bit of a locked page.
pub(crate) fn folio_lock(pfn: Pfn) -> Lock {
    Lock::new(LockClass::Folio, pfn.index())
}
/// The lock of a mapping's areas.
pub(crate) fn i_mmap_rwsem(mapping: u8) -> Lock {
    Lock::new(LockClass::IMmap, mapping as usize)
}
/// The lock of the areas that may map a family's anonymous pages.
pub(crate) fn anon_vma_rwsem(anon_vma: u8) -> Lock {
    Lock::new(LockClass::AnonVma, anon_vma as usize)
}
/// The lock of a mapping's pages.
pub(crate) fn i_pages(mapping: u8) -> Lock {
    Lock::new(LockClass::IPages, mapping as usize)
}
