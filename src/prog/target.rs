// SPDX-License-Identifier: GPL-2.0-or-later
//! Targets: which operations the generator likes.  Decoding never depends on them.

/// A table of weights.
#[derive(Debug)]
pub struct Target {
    /// As the command line and the fuzz targets call it.
    pub name: &'static str,
    /// What it looks for, in one line.
    pub about: &'static str,
    /// Operations by name; those not listed are never generated.
    pub weights: &'static [(&'static str, u8)],
}

/// The target with a name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Every target.
pub static TARGETS: &[Target] = &[
    Target {
        name: "ttm",
        about: "buffer objects whose pages are pinned while they are unmapped, moved and recycled",
        weights: &[
            ("ttm_bo_create", 20),
            ("ttm_bo_mmap", 16),
            ("ttm_bo_put", 20),
            ("ttm_bo_validate", 8),
            ("ttm_bo_swapout", 6),
            ("ttm_bo_evict", 6),
            ("ttm_bo_pipeline_gutting", 4),
            ("ttm_pool_shrink", 6),
            ("gpu_submit", 8),
            ("dma_buf_export", 6),
            ("dma_buf_mmap", 8),
            ("dma_buf_put", 6),
            ("dio_read", 20),
            ("dio_write", 12),
            ("vmsplice", 6),
            ("pipe_read", 3),
            ("pipe_close", 3),
            ("get_user_pages", 6),
            ("pin_user_pages", 6),
            ("unpin_user_pages", 6),
            ("pins_read", 4),
            ("pins_write", 4),
            ("io_uring_register", 2),
            ("io_uring_read_fixed", 2),
            ("io_uring_unregister", 2),
            ("mmap", 3),
            ("munmap", 20),
            ("mremap", 3),
            ("mprotect", 2),
            ("madvise", 3),
            ("load", 8),
            ("store", 12),
            ("execve", 1),
            ("fail_nth", 5),
        ],
    },
    Target {
        name: "mm",
        about: "anonymous, file and dax pages that are pinned while they are unmapped, shared and truncated",
        weights: &[
            ("mmap", 20),
            ("munmap", 20),
            ("mremap", 10),
            ("mprotect", 14),
            ("madvise", 14),
            ("collapse", 8),
            ("move_pages", 10),
            ("split_huge_pages", 8),
            ("load", 12),
            ("store", 16),
            ("execve", 1),
            ("ftruncate", 12),
            ("fail_nth", 4),
            ("devdax_mmap", 5),
            ("fork", 8),
            ("reclaim", 8),
            ("get_user_pages", 12),
            ("pin_user_pages", 12),
            ("unpin_user_pages", 10),
            ("pins_read", 6),
            ("pins_write", 6),
            ("pins_verify", 2),
            ("dio_read", 16),
            ("dio_write", 12),
            ("vmsplice", 10),
            ("pipe_read", 6),
            ("pipe_close", 6),
            ("io_uring_register", 8),
            ("io_uring_read_fixed", 8),
            ("io_uring_unregister", 6),
            ("userptr_create", 8),
            ("userptr_submit", 12),
            ("userptr_put", 5),
            ("ttm_bo_create", 3),
            ("ttm_bo_mmap", 3),
            ("ttm_bo_put", 2),
            ("dma_buf_export", 3),
            ("dma_buf_mmap", 3),
            ("dma_buf_put", 2),
        ],
    },
];
