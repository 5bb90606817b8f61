// SPDX-License-Identifier: GPL-2.0-or-later
//! The rows and columns: kernels and proposals, paths that take a page away.

use crate::fuzz::Only;
use crate::prog::Target;

/// A way to lose a page, as a restriction of what programs call.
#[derive(Debug)]
pub struct Path {
    /// What programs may call; its name is the column's.
    pub target: Target,
    /// What they may pass.
    pub only: &'static [Only],
    /// Kinds of violations that are another question's.
    pub ignored: &'static [&'static str],
}

/// Bugs of TTM's unmapping and of its pools, and of mappings that cannot be copied: no pin is needed for them.
const NO_PIN: &[&str] = &["stale-tlb", "data-leak", "double-free", "bug-on-pfnmap-cow"];
/// A fork that copies a page while others write to it is open, and nothing a check for pins could mend.
const TORN: &[&str] = &["torn-snapshot"];
const NONE: &[&str] = &[];

/// Releases, then what the two threads proposed, each on the kernel it was proposed for.
pub const KERNELS: &[&str] = &[
    "v5.7",
    "v5.10",
    "v5.12",
    "v6.1",
    "v6.12",
    "v7.2",
    "newest",
    "newest +page-pin-strict",
    "newest +page-pin-strict -collapse-scan-count",
    "newest +collapse-count-early",
    "newest -fork-early-cow",
    "newest -fork-early-cow +fork-skip-pinned",
    "v5.10 +ttu-skip-pinned",
    "v5.10 +shrink-skip-pinned",
    "v5.10 +swap-no-pinned",
    "v5.12 +ttm-pfn-map",
    "v5.12 +ttm-order-ptes",
    "v5.12 +pmd-special",
    "v5.12 +ttm-no-huge-faults",
    "v5.12 -pte-special",
    "v5.12 -pte-special +dma-buf-pfnmap",
];

macro_rules! paths {
    ($($name:literal, $about:literal, [$($op:ident $weight:literal)*], [$($only:tt)*], $ignored:expr;)*) => {
        /// Every path: the users of pages are everywhere the same.
        pub static PATHS: &[Path] = &[$(Path {
            target: Target {
                name: $name,
                about: $about,
                weights: &[
                    ("load", 12),
                    ("store", 16),
                    ("pin_user_pages", 14),
                    ("unpin_user_pages", 8),
                    ("get_user_pages", 4),
                    ("pins_read", 4),
                    ("pins_write", 10),
                    ("dio_read", 10),
                    ("dio_write", 4),
                    $((stringify!($op), $weight)),*
                ],
            },
            only: paths!(@only [] $($only)*),
            ignored: $ignored,
        }),*];
    };
    (@only [$($done:expr,)*]) => { &[$($done),*] };
    (@only [$($done:expr,)*] $op:ident($arg:ident: $($word:literal)|+) $($rest:tt)*) => {
        paths!(@only [$($done,)* Only { op: stringify!($op), arg: stringify!($arg), words: &[$($word),+] },] $($rest)*)
    };
}

// name, about, [operation weight], [operation(argument: word | word)], kinds that do not count
paths! {
    "reclaim anon", "pageout and reclaim of anonymous pages",
        [mmap 14 madvise 22 reclaim 14],
        [mmap(map: "anon") madvise(advice: "pageout" | "cold")], NONE;
    "reclaim file", "pageout and reclaim of dirty pages of a file on a disk",
        [mmap 14 madvise 16 reclaim 10 fsync 10],
        [mmap(map: "shared") mmap(file: "f4") fsync(file: "f4") madvise(advice: "pageout" | "cold")], NONE;
    "writeback", "writeback of dirty pages of a file on a disk",
        [mmap 14 fsync 18],
        [mmap(map: "shared") mmap(file: "f4") fsync(file: "f4")], NONE;
    "migrate", "move_pages() of anonymous pages",
        [mmap 14 madvise 4 move_pages 20],
        [mmap(map: "anon") madvise(advice: "hugepage")], NONE;
    "split", "huge pages that are split, or lose some of their pages",
        [mmap 14 madvise 14 split_huge_pages 16 munmap 4 mprotect 4],
        [mmap(map: "anon") madvise(advice: "hugepage" | "dontneed")], NONE;
    "collapse", "khugepaged",
        [mmap 14 madvise 10 collapse 20],
        [mmap(map: "anon") madvise(advice: "hugepage" | "dontneed")], NONE;
    "fork", "fork, and writes to what it shares",
        [mmap 14 fork 16 execve 2 munmap 3],
        [mmap(map: "anon")], TORN;
    "truncate", "truncation of a file that is mapped, and holes in it",
        [mmap 14 ftruncate 12 fallocate 12 munmap 4],
        [mmap(map: "shared" | "private") mmap(file: "f0" | "f4") ftruncate(file: "f0" | "f4") fallocate(file: "f0" | "f4")], NONE;
    "TTM huge", "buffer objects of a driver that wires huge faults",
        [ttm_bo_create 16 ttm_bo_mmap 16 ttm_bo_put 16 munmap 16 ttm_bo_swapout 6 ttm_bo_validate 6 ttm_bo_evict 4],
        [ttm_bo_create(driver: "vmwgfx") ttm_bo_mmap(map: "shared")], NO_PIN;
    "TTM pte", "buffer objects of a driver that does not",
        [ttm_bo_create 16 ttm_bo_mmap 16 ttm_bo_put 16 munmap 16 ttm_bo_swapout 6 ttm_bo_validate 6 ttm_bo_evict 4],
        [ttm_bo_create(driver: "amdgpu") ttm_bo_mmap(map: "shared")], NO_PIN;
    "dma-buf ttm", "dma-bufs of buffer objects",
        [ttm_bo_create 12 ttm_bo_put 12 dma_buf_export 14 dma_buf_mmap 16 dma_buf_put 12 munmap 14],
        [dma_buf_export(exporter: "ttm")], NO_PIN;
    "dma-buf shmem", "dma-bufs of drm_gem_shmem_helper",
        [dma_buf_export 16 dma_buf_mmap 16 dma_buf_put 16 munmap 16],
        [dma_buf_export(exporter: "shmem")], NO_PIN;
    "dma-buf vgem", "dma-bufs of vgem and udmabuf",
        [dma_buf_export 16 dma_buf_mmap 16 dma_buf_put 16 munmap 16],
        [dma_buf_export(exporter: "vgem")], NO_PIN;
    "dma-buf heap", "dma-bufs of the system heap",
        [dma_buf_export 16 dma_buf_mmap 16 dma_buf_put 16 munmap 16],
        [dma_buf_export(exporter: "system_heap")], NO_PIN;
}
