// SPDX-License-Identifier: GPL-2.0-or-later
//! Pages, areas, address spaces, mappings.  Linux: include/linux/mm_types.h, mm.h, fs.h.
//!
//! Kept:       what a branch or an oracle reads.
//! Simplified: one flat array each; an address space is a number, a mapping too.
//! Left out:   zones, memcg, page->lru, anon_vma.

use super::pgtable::Pte;
use crate::fixes::FixSet;
use crate::kernel::{Draw, Lock, LockClass, Machine, NR_MAPPINGS};
use crate::limits::*;
use crate::trace::{Owner, Pfn};
use bitflags::bitflags;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::rc::Rc;

bitflags! {
    /// page->flags, as far as somebody reads them.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub(crate) struct PageFlags: u8 {
        /// PG_head: a compound page begins here.
        const HEAD = 1;
        /// Tail of a compound page.
        const TAIL = 2;
        /// PG_dirty.
        const DIRTY = 4;
        /// PageAnon: page->mapping has its lowest bit set.
        const ANON = 8;
        /// PG_anon_exclusive.
        const ANON_EXCLUSIVE = 16;
    }

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
    }
}

impl VmFlags {
    /// A private mapping that can become writable.  Linux: include/linux/mm.h, is_cow_mapping().
    pub(crate) fn is_cow(self) -> bool {
        self & (VmFlags::SHARED | VmFlags::MAYWRITE) == VmFlags::MAYWRITE
    }
}

/// What a frame holds.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Contents {
    pub(crate) value: u8,
    /// The generation it was written under; for oracles.
    pub(crate) written: u16,
}

/// A page frame and its struct page.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    /// `_refcount`.  Lockless readers: GUP-fast, whoever else holds a reference.
    pub(crate) refcount: Cell<i32>,
    /// Number of entries that map it.  Lockless readers: everybody.
    pub(crate) mapcount: Cell<i32>,
    /// Exact number of FOLL_PIN references, compound pages only.
    pub(crate) pincount: Cell<i32>,
    pub(crate) flags: Cell<PageFlags>,
    /// Order of the block that begins here.
    pub(crate) order: Cell<u8>,
    /// The page whose refcount counts: compound_head().  Itself unless [`PageFlags::TAIL`].
    pub(crate) head: Cell<Pfn>,
    /// Which allocation, or which free, of all there were; for oracles.
    pub(crate) gen_: Cell<u16>,
    pub(crate) owner: Cell<Owner>,
    /// Lockless readers: CPUs, devices.
    pub(crate) contents: Cell<Contents>,
    /// page->mapping of a page-cache page, `u8::MAX`: none.
    pub(crate) mapping: Cell<u8>,
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
    /// Page of the mapping that `start` shows; for TTM of the device's address space.
    pub(crate) pgoff: u8,
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
    /// Anonymous memory.
    pub(crate) fn is_anonymous(&self) -> bool {
        self.mapping == NO_MAPPING && self.ops.is_none()
    }
    /// Linux: include/linux/huge_mm.h, vma_is_special_huge().
    pub(crate) fn is_special_huge(&self) -> bool {
        self.ops.is_some() && self.flags.intersects(VmFlags::PFNMAP | VmFlags::MIXEDMAP)
    }
}

/// An address space.
pub(crate) struct Mm {
    /// mm_users: tasks that run in it.
    pub(crate) users: Cell<u8>,
    /// Sorted by start.  Guarded by mmap_lock.
    pub(crate) vmas: RefCell<Vec<Vma>>,
    /// Lockless readers: GUP-fast, the MMU.
    pub(crate) pmds: [Cell<Pte>; PTRS_PER_PMD],
    /// Generation of the frames a pmd leaf had when it was installed; for oracles.
    pub(crate) pmd_gens: [Cell<[u16; HPAGE_PMD_NR]>; PTRS_PER_PMD],
    /// Page tables put aside for the split of a huge entry, table number plus one.
    pub(crate) deposited: [Cell<u8>; PTRS_PER_PMD],
    pub(crate) rss_anon: Cell<i32>,
    pub(crate) rss_file: Cell<i32>,
    /// Page tables, in tables.
    pub(crate) pgtables: Cell<i32>,
    pub(crate) tlb_flush_pending: Cell<u8>,
    pub(crate) write_protect_seq: Cell<u32>,
}

/// A page table.
#[derive(Debug)]
pub(crate) struct Table {
    /// In use.
    pub(crate) live: Cell<bool>,
    /// Counts uses; a pointer into a table remembers which.
    pub(crate) gen_: Cell<u16>,
    /// Lockless readers: GUP-fast, the MMU.
    pub(crate) ptes: [Cell<Pte>; PTRS_PER_PTE],
    /// Generation of the frame when the entry was installed; for oracles.
    pub(crate) gens: [Cell<u16>; PTRS_PER_PTE],
    /// Whose, and which page its first entry maps.
    pub(crate) mm: Cell<u8>,
    pub(crate) base: Cell<u8>,
}

/// An address_space: the page cache of a file, or the pages of an exporter.
#[derive(Debug, Default)]
pub(crate) struct Mapping {
    /// Pages present.  Guarded by i_pages.
    pub(crate) pages: [Cell<Option<PageRef>>; FILE_PAGES],
    /// i_size in pages.
    pub(crate) size: Cell<u8>,
}

/// Memory, on top of the machine.
pub struct Kernel {
    machine: Machine,
    pub(crate) frames: [Frame; NR_FRAMES],
    /// Contents of VRAM, which has no struct page.
    pub(crate) iomem: [Cell<Contents>; NR_IOMEM],
    /// First pages of free blocks by order, one bit a frame.
    pub(crate) free_area: [Cell<u64>; MAX_ORDER as usize + 1],
    pub(crate) mms: [Mm; NR_MMS],
    /// The address space of each task, `u8::MAX`: none.
    pub(crate) task_mm: [Cell<u8>; NR_TASKS],
    pub(crate) tables: [Table; NR_TABLES],
    /// Pages of the dax device are usable (its pgmap lives).
    pub(crate) pgmap_live: Cell<bool>,
    pub(crate) pgmap_refs: Cell<i32>,
    pub(crate) mappings: [Mapping; NR_MAPPINGS],
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
            iomem: std::array::from_fn(|_| Cell::default()),
            free_area: std::array::from_fn(|_| Cell::new(0)),
            mms: std::array::from_fn(|_| Mm {
                users: Cell::new(0),
                vmas: RefCell::default(),
                pmds: std::array::from_fn(|_| Cell::new(Pte::NONE)),
                pmd_gens: std::array::from_fn(|_| Cell::default()),
                deposited: std::array::from_fn(|_| Cell::new(0)),
                rss_anon: Cell::new(0),
                rss_file: Cell::new(0),
                pgtables: Cell::new(0),
                tlb_flush_pending: Cell::new(0),
                write_protect_seq: Cell::new(0),
            }),
            task_mm: std::array::from_fn(|_| Cell::new(u8::MAX)),
            tables: std::array::from_fn(|_| Table {
                live: Cell::new(false),
                gen_: Cell::new(0),
                ptes: std::array::from_fn(|_| Cell::new(Pte::NONE)),
                gens: std::array::from_fn(|_| Cell::new(0)),
                mm: Cell::new(0),
                base: Cell::new(0),
            }),
            pgmap_live: Cell::new(true),
            pgmap_refs: Cell::new(0),
            mappings: std::array::from_fn(|_| Mapping::default()),
            generation: Cell::new(0),
        }
    }

    /// Boots: all memory free, every user task a thread of address space 0.
    pub(crate) fn reset(&self, fixes: FixSet, draw: Draw) {
        self.machine.reset(fixes, draw);
        self.generation.set(0);
        super::page_alloc::mem_init(self);
        for mm in &self.mms {
            mm.users.set(0);
            mm.vmas.borrow_mut().clear();
            mm.pmds.iter().for_each(|p| p.set(Pte::NONE));
            mm.deposited.iter().for_each(|d| d.set(0));
            mm.rss_anon.set(0);
            mm.rss_file.set(0);
            mm.pgtables.set(0);
            mm.tlb_flush_pending.set(0);
            mm.write_protect_seq.set(0);
        }
        self.mms[0].users.set(NR_USER_TASKS as u8);
        for (task, mm) in self.task_mm.iter().enumerate() {
            mm.set(if task < NR_USER_TASKS { 0 } else { u8::MAX });
        }
        for table in &self.tables {
            table.live.set(false);
            table.gen_.set(0);
        }
        self.pgmap_live.set(true);
        self.pgmap_refs.set(0);
        for mapping in &self.mappings {
            mapping.pages.iter().for_each(|p| p.set(None));
            mapping.size.set(FILE_PAGES as u8);
        }
    }

    /// A generation no block had before: all frames of a block have the same.
    pub(crate) fn next_generation(&self) -> u16 {
        self.generation.set(self.generation.get() + 1);
        self.generation.get()
    }

    /// current->mm.
    pub(crate) fn current_mm(&self) -> u8 {
        self.task_mm[self.current() as usize].get()
    }

    /// CPUs whose task runs in an address space.
    pub(crate) fn mm_cpumask(&self, mm: u8) -> u16 {
        (0..NR_TASKS).filter(|&t| self.task_mm[t].get() == mm).fold(0, |set, t| set | 1 << t)
    }

    /// The struct page of a frame that has one.
    pub(crate) fn frame(&self, pfn: Pfn) -> &Frame {
        &self.frames[pfn.index()]
    }

    pub(crate) fn mm(&self, mm: u8) -> &Mm {
        &self.mms[mm as usize]
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
/// The lock of a mapping's pages.
pub(crate) fn i_pages(mapping: u8) -> Lock {
    Lock::new(LockClass::IPages, mapping as usize)
}
