// SPDX-License-Identifier: GPL-2.0-or-later
//! The memory manager.  Linux: mm/.

pub(crate) mod address_space;
pub(crate) mod compaction;
pub(crate) mod filemap;
pub(crate) mod fork;
pub(crate) mod gup;
pub(crate) mod highmem;
pub(crate) mod hmm;
pub(crate) mod huge_memory;
pub(crate) mod hugetlb;
pub(crate) mod khugepaged;
pub(crate) mod madvise;
pub(crate) mod memory;
pub(crate) mod memory_failure;
pub(crate) mod memremap;
pub(crate) mod migrate;
pub(crate) mod migrate_device;
pub(crate) mod mm_struct;
pub(crate) mod mm_types;
pub(crate) mod mmap;
pub(crate) mod mmu_gather;
pub(crate) mod mmu_notifier;
pub(crate) mod mprotect;
pub(crate) mod mremap;
pub(crate) mod page_alloc;
pub(crate) mod page_flags;
pub(crate) mod page_io;
pub(crate) mod page_ref;
pub(crate) mod page_writeback;
pub(crate) mod pagewalk;
pub(crate) mod pgtable;
mod pgtable_types;
pub(crate) mod rmap;
pub(crate) mod shmem;
pub(crate) mod swap;
pub(crate) mod swap_state;
pub(crate) mod swapfile;
pub(crate) mod truncate;
pub(crate) mod uaccess;
pub(crate) mod vmscan;

pub(crate) use mm_types::*;
