// SPDX-License-Identifier: GPL-2.0-or-later
//! Every bound of the model, in one place.
//!
//! Small scope: a bug that needs more than a handful of pages, tasks or objects is not looked for.

/// Page frames with a struct page: pfn 0 up to this.
pub const NR_FRAMES: usize = 64;
/// Page frames of VRAM behind the memory map: pfn `NR_FRAMES` up to `NR_FRAMES + NR_IOMEM`, no struct page.
pub const NR_IOMEM: usize = 16;
/// The last frames are ZONE_DEVICE memory of the dax device: never in the buddy.
pub const NR_DEVDAX: usize = 4;
/// Before them ZONE_DEVICE memory with a file system on it: its blocks, a page each, never in the buddy either.
pub const NR_FSDAX: usize = 4;
/// Largest buddy order, also the order of a pmd leaf.
pub const MAX_ORDER: u8 = 2;
/// Order of the block behind a pmd leaf, in pages: `1 << HPAGE_PMD_ORDER`.
pub const HPAGE_PMD_ORDER: u8 = 2;
/// Pages behind a pmd leaf.
pub const HPAGE_PMD_NR: usize = 1 << HPAGE_PMD_ORDER;
/// Entries of a page table.
pub const PTRS_PER_PTE: usize = HPAGE_PMD_NR;
/// Entries of a pmd table, one such table an address space.
pub const PTRS_PER_PMD: usize = 16;
/// Pages of an address space.
pub const TASK_SIZE: usize = PTRS_PER_PMD * PTRS_PER_PTE;
/// Address spaces: one a user task, and the one an execve makes.
pub const NR_MMS: usize = 9;
/// Page-table pages of all address spaces together.
pub const NR_TABLES: usize = 64;
/// Areas an address space can hold (`sysctl_max_map_count`).
pub const MAX_MAP_COUNT: usize = 16;
/// Pages of a file or a buffer object.
pub const FILE_PAGES: usize = 8;
/// Slots of each kind of handle.
pub const NR_HANDLES: usize = 8;
/// Files on a disk, from file [`FIRST_EXT4_FILE`] on; all others are in shmem.
pub const NR_EXT4_FILES: usize = 2;
/// The first file on a disk.
pub const FIRST_EXT4_FILE: usize = 4;
/// Files on dax, whose blocks are mapped as they are: those behind the files on a disk.
pub const NR_DAX_FILES: usize = 2;
/// The first file on dax.
pub const FIRST_DAX_FILE: usize = FIRST_EXT4_FILE + NR_EXT4_FILES;
/// Direct I/O requests in flight.
pub const NR_BIOS: usize = 8;
/// Pages of one direct I/O request, pipe or registered buffer.
pub const BIO_MAX_VECS: usize = 8;
/// Slots of the swap device, one page each.
pub const NR_SWAP: usize = 8;
/// Blocks of the disk, one page each.
pub const NR_BLOCKS: usize = 16;

/// User tasks.
pub const NR_USER_TASKS: usize = 8;
/// User and kernel tasks; task n runs on CPU n.
pub const NR_TASKS: usize = 12;
/// Modelled functions a task can be inside of.
pub const MAX_CALL_DEPTH: usize = 31;
/// Locks.
pub const NR_LOCKS: usize = 256;
/// Words a task can wait for.
pub const NR_WAIT_WORDS: usize = 88;
/// Items of deferred work, RCU callbacks.
pub const NR_WORKS: usize = 64;

/// Calls a program can have; further ones are ignored.
pub const MAX_CALLS: usize = 64;
/// Records a program can have, overrides, choices and resumes included.
pub const MAX_RECORDS: usize = 256;
/// Steps after which a run is cut.
pub const MAX_STEPS: u32 = 8192;

/// What FOLL_PIN adds to the refcount of a small page.  Linux: include/linux/mm.h.
pub const GUP_PIN_COUNTING_BIAS: i32 = 1024;
/// Pages a TTM fault maps at once.  Linux: include/drm/ttm/ttm_bo_api.h, 16 there.
pub const TTM_BO_VM_NUM_PREFAULT: usize = 4;
