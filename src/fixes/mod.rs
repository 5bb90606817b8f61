// SPDX-License-Identifier: GPL-2.0-or-later
//! Which kernel: one table of fixes, and the grammar that picks some of them.
//!
//! The tree as written is the newest kernel.  A bug is a fix taken away: at the place where the
//! kernel has it, the model asks `k.fixed(Fix::...)`.  A spec is a release and changes to it:
//! `v5.12 +pmd-special -gup-fast-recheck-pte`.

mod spec;

pub use spec::{FixSet, RELEASES, Spec, SpecError, entry_by_name};

use std::fmt;

/// A kernel release, major and minor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Release(pub u8, pub u8);

impl Release {
    /// Whether what came in release `since` is there.
    const fn has(self, since: Release) -> bool {
        since.0 < self.0 || since.0 == self.0 && since.1 <= self.1
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}.{}", self.0, self.1)
    }
}

/// What sort of entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A fix that went upstream.
    Upstream,
    /// A fix that was proposed and never merged.
    Proposed,
    /// A choice that drivers, architectures or releases make differently.
    Policy,
    /// A wrong order that never was upstream: a canary for the oracles.
    Mutant,
    /// Wrong upstream to this day, or until the code went; `newest` has it mended.
    Open,
}

/// An entry of the table.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Which one.
    pub fix: Fix,
    /// Its name in specs.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// Upstream commit, or title and date of the proposal.
    pub source: &'static str,
    /// First release that has it; `None`: none has.
    pub since: Option<Release>,
    /// Why, in one line.
    pub why: &'static str,
    /// The kernel on which taking it away (a mutant or proposal: adding it; a policy: changing it) shows.
    pub on: &'static str,
}

macro_rules! fixes {
    ($($(#[$doc:meta])* $fix:ident = $name:literal, $kind:ident, ($($since:tt)*), $source:literal, $why:literal, on $on:literal;)*) => {
        /// A fix, by name.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum Fix { $(#[doc = $why] $fix),* }

        /// The table.
        pub const FIXES: &[Entry] = &[$(Entry {
            fix: Fix::$fix, name: $name, kind: Kind::$kind, source: $source, since: fixes!(@since $($since)*), why: $why, on: $on,
        }),*];
    };
    (@since never) => { None };
    (@since $major:literal, $minor:literal) => { Some(Release($major, $minor)) };
}

// name, kind, (first release), commit and title, why, on
fixes! {
    GupFastRecheckPte = "gup-fast-recheck-pte", Upstream, (3, 18),
        "2667f50e8b81 mm: introduce a general RCU get_user_pages_fast()",
        "GUP-fast reads the pte again after it took its reference",
        on "newest -tlb-flush-ipi";
    GupRecheckHead = "gup-recheck-head", Upstream, (5, 14),
        "c24d37322548 mm/gup: fix try_grab_compound_head() race with split_huge_page()",
        "GUP-fast looks whether the page still belongs to the head it took its reference of",
        on "newest -tlb-flush-ipi";
    GupRecheckPmd = "gup-recheck-pmd", Upstream, (6, 1),
        "70cbc3cc78a9 mm: gup: fix the fast GUP race against THP collapse",
        "GUP-fast reads the pmd again after it took its reference",
        on "newest -tlb-flush-ipi -collapse-ipi";
    CollapseIpi = "collapse-ipi", Upstream, (6, 1),
        "2ba99c5e0881 mm/khugepaged: fix GUP-fast interaction by sending IPI",
        "khugepaged waits for every GUP-fast before it looks at reference counts",
        on "newest -tlb-flush-ipi -gup-recheck-pmd";
    TtuSync = "ttu-sync", Upstream, (5, 13),
        "732ed55823fc mm/thp: try_to_unmap() use TTU_SYNC for safe splitting",
        "a split takes the table's lock even to see that there is no entry",
        on "newest";
    PmdMigrationDirty = "pmd-migration-dirty", Upstream, (5, 7),
        "8a8683ad9ba4 mm: fix possible PMD dirty bit lost in set_pmd_migration_entry()",
        "who makes a migration entry of a leaf asks whether it was dirty when it was hidden from the MMU",
        on "newest";
    SplitPmdMigration = "split-pmd-migration", Upstream, (6, 15),
        "be6e843fc51a mm/huge_memory: fix dereferencing invalid pmd migration entry",
        "a split does not ask the migration entry of another huge page for its page",
        on "v6.12";
    HwpoisonSplitCount = "hwpoison-split-count", Upstream, (3, 13),
        "a3e0f9e47d5e mm/memory-failure.c: transfer page count from head page to tail page after split thp",
        "a huge page is split so that the reference of memory failure is that of the page that breaks",
        on "newest";
    MremapFlush = "mremap-flush", Upstream, (4, 19),
        "eb66ae030829 mremap: properly flush TLB before releasing the page",
        "mremap flushes the old address before it drops the page-table lock",
        on "newest";
    ZapFlushDirty = "zap-flush-dirty", Upstream, (3, 15),
        "1cf35d47712d mm: split 'tlb_flush_mmu()' into tlb flushing and memory freeing parts",
        "who took a dirty entry of a file's page away flushes it before the page table's lock goes",
        on "newest";
    DelayRmap = "delay-rmap", Upstream, (6, 2),
        "5df397dec7c4 mm: delay page_remove_rmap() until after the TLB has been flushed",
        "a page whose dirty entry went counts as mapped until the flush, so that writeback looks for it",
        on "newest";
    ReclaimPinAfterUnmap = "reclaim-pin-after-unmap", Upstream, (6, 4),
        "d824ec2a1546 mm: do not reclaim private data from pinned page",
        "reclaim looks for pins once a page is unmapped, before it takes its buffers away",
        on "v6.1";
    LongtermNoFile = "longterm-no-file", Upstream, (6, 5),
        "8ac268436e6d mm/gup: disallow FOLL_LONGTERM GUP-nonfast writing to file-backed mappings; a6e79df92e4a the same of GUP-fast",
        "no pin to write a page for long of a file whose file system is asked before writes",
        on "v6.1";
    IoUringNoFile = "io-uring-no-file", Upstream, (5, 1),
        "edafccee56ff io_uring: add support for pre-mapped user IO buffers; 34ed8d0dcd69 io_uring: rsrc: delegate VMA file-backed check to GUP (v6.5)",
        "io_uring registers no memory of a file, until GUP refuses to pin it",
        on "v6.1 +io-uring-unpin-dirty";
    Ext4WarnNoBuffers = "ext4-warn-no-buffers", Upstream, (5, 18),
        "cc5095747edf ext4: don't BUG if someone dirty pages without asking ext4 first",
        "writeback warns of a dirty page without buffers, and does not write it",
        on "v5.12";
    FreeNonCompound = "free-non-compound", Upstream, (5, 10),
        "e320d3012d25 mm/page_alloc.c: fix freeing non-compound pages",
        "__free_pages frees the rest of a block whose head is still referenced",
        on "v5.12";
    FreePagesHeadFirst = "free-pages-head-first", Upstream, (6, 2),
        "462a8e08e0e6 Fix page corruption caused by racy check in __free_pages",
        "__free_pages looks whether the page is compound before it drops its reference",
        on "newest";
    TtDestroyOnce = "tt-destroy-once", Upstream, (5, 9),
        "5de5b6ecf97a drm/ttm/nouveau: don't call tt destroy callback on alloc failure.",
        "a ttm_tt whose setup failed is destroyed by its maker alone (CVE-2021-20292)",
        on "newest";
    DaxLayoutBusy = "dax-layout-busy", Upstream, (4, 18),
        "5fac7408d828 mm, fs, dax: handle layout changes to pinned dax mappings; 430657b6be89 ext4: handle layout changes to pinned DAX mappings",
        "a file on dax does not give up a block that somebody references: it waits",
        on "newest";
    DaxUnmappedBusy = "dax-unmapped-busy", Upstream, (6, 15),
        "cee91fa13a8e fs/dax: return unmapped busy pages from dax_layout_busy_page_range()",
        "a file on dax looks for references of its blocks even if nobody maps it any more",
        on "v6.12";
    MigrateHoldsPrivateLock = "migrate-private-lock", Upstream, (5, 3),
        "ebdf4de5642f mm: migrate: fix reference check race between __find_get_block() and migration",
        "migration of a page of the disk keeps lookups of its buffers away until it has moved, not until it has counted",
        on "newest -find-get-block-nonatomic";
    FindGetBlockNonatomic = "find-get-block-nonatomic", Policy, (6, 15),
        "7ffe3de53a88 fs/buffer: split locking for pagecache lookups; 2d900efff915 mm/migrate: fix sleep in atomic for large folios and buffer heads",
        "a buffer is looked up under the lock of its page, which migration holds, not under i_private_lock",
        on "newest -migrate-private-lock";
    GupForceCow = "gup-force-cow", Policy, (never),
        "17839856fd58 gup: document and work around \"COW can break either way\" issue, in v5.8 alone: a308c71bf1e6 mm/gup: Remove enfornced COW mechanism",
        "GUP copies what it shares even to read it, so that it cannot be on the wrong side of a later copy",
        on "v5.7";
    WpReuseRefcount = "wp-refcount", Policy, (5, 9),
        "09854ba94c6a mm: do_wp_page() simplification",
        "a write fault reuses a page that nobody else references, not one that nobody else maps",
        on "newest -wp-exclusive";
    WpReuseExclusive = "wp-exclusive", Policy, (5, 19),
        "6c287605fd56 mm: remember exclusively mapped anonymous pages with PG_anon_exclusive",
        "a write fault reuses an exclusive anonymous page however often it is referenced",
        on "newest";
    ForkEarlyCow = "fork-early-cow", Upstream, (5, 9),
        "70e806e4e645 mm: Do early cow for pinned pages during fork() for ptes; 008cfe4418b3 mm: Introduce mm_struct.has_pinned",
        "fork gives the child a copy of a page that may be pinned, and the parent keeps it",
        on "newest";
    GupFastForkSeq = "gup-fast-fork-seq", Upstream, (5, 11),
        "57efa1fe5957 mm/gup: prevent gup_fast from racing with COW during fork",
        "GUP-fast gives back what it pinned while a fork was write-protecting",
        on "newest";
    ForkSplitPinned = "fork-split-pinned", Upstream, (5, 9),
        "d042035eaf5f mm/thp: Split huge pmds/puds if they're pinned when fork()",
        "fork splits the entry of a huge page that may be pinned, and copies what is behind it",
        on "newest";
    HugetlbForkEarlyCow = "hugetlb-fork-early-cow", Upstream, (5, 12),
        "4eae4efa2c29 hugetlb: do early cow when page pinned on src mm",
        "fork gives the child a copy of a hugetlb page that may be pinned, and the parent keeps it",
        on "newest";
    HugetlbForkWrprotect = "hugetlb-fork-wrprotect", Upstream, (5, 13),
        "84894e1c42e9 mm/hugetlb: fix cow where page writtable in child",
        "fork write-protects what the child gets of hugetlb, not the parent's leaf alone",
        on "newest";
    HugetlbForkSeq = "hugetlb-fork-seq", Upstream, (5, 19),
        "623a1ddfeb23 mm/hugetlb: take src_mm->write_protect_seq in copy_hugetlb_page_range()",
        "GUP-fast gives back what it pinned while a fork was write-protecting hugetlb pages",
        on "newest";
    LazyfreeCount = "lazyfree-count", Upstream, (5, 18),
        "6c8e2a256915 mm: fix race between MADV_FREE reclaim and blkdev direct IO read",
        "reclaim does not discard a page that somebody references, even if nobody needs what it holds",
        on "newest";
    TtuShareTest = "ttu-share-test", Upstream, (5, 19),
        "6c287605fd56 mm: remember exclusively mapped anonymous pages with PG_anon_exclusive",
        "who takes the entry of an exclusive page puts it back if the page is pinned",
        on "newest";
    MigrateVmaFlush = "migrate-vma-flush", Upstream, (6, 0),
        "60bae7370896 mm/migrate_device.c: flush TLB while holding PTL",
        "migrate_vma flushes before it drops the page-table lock",
        on "newest";
    MigrateVmaDirty = "migrate-vma-dirty", Upstream, (6, 0),
        "fd35ca3d12cc mm/migrate_device.c: copy pte dirty bit to page",
        "migrate_vma keeps the dirty bit of an entry that it clears",
        on "newest";
    DevicePrivateRef = "device-private-ref", Upstream, (6, 1),
        "16ce101db85d mm/memory.c: fix race when faulting a device private page",
        "who faults at a page of a device holds it until its driver has moved it back (CVE-2022-3523)",
        on "newest";
    CollapseFileNotify = "collapse-file-notify", Upstream, (6, 1),
        "f268f6cf875f mm/khugepaged: invoke MMU notifiers in shmem/file collapse paths",
        "notifiers hear of page tables of files that khugepaged takes away",
        on "newest";
    CollapseFileLocks = "collapse-file-locks", Upstream, (6, 1),
        "8d3c106e19e8 mm/khugepaged: take the right locks for page table retraction",
        "khugepaged takes a page table of a file away under all locks by which others come to it",
        on "newest";
    GupUnshare = "gup-unshare", Upstream, (5, 19),
        "a7f226604170 mm/gup: trigger FAULT_FLAG_UNSHARE when R/O-pinning a possibly shared anonymous page",
        "a pin for reading gets a page of its own, not one that the next write would copy",
        on "newest";
    SwapNoPinned = "swap-no-pinned", Upstream, (5, 11),
        "feb889fb40fa mm: don't put pinned pages into the swap cache",
        "reclaim looks for pins before it puts an anonymous page into the swap cache",
        on "v5.12";
    RmapNotifierRange = "rmap-notifier-range", Upstream, (4, 14),
        "369ea8242c0f mm/rmap: update to new mmu_notifier semantic v2",
        "rmap walks tell notifiers before they take an entry, not after",
        on "newest";
    UserptrTrylock = "userptr-trylock", Upstream, (5, 3),
        "505a8ec7e11a Revert \"drm/i915/userptr: Acquire the page lock around set_page_dirty()\"",
        "a notifier does not wait for the lock of a page: whoever calls it may hold it",
        on "v5.12";
    UserptrInterval = "userptr-interval", Upstream, (5, 13),
        "ed29c2691188 drm/i915: Fix userptr so we do not have to worry about obj->mm.lock, v7.",
        "pages that were pinned while entries changed are looked up again, not given to the GPU",
        on "v5.12";
    UserptrMark = "userptr-mark", Policy, (6, 9),
        "drm/i915/gem: Atomically invalidate userptr on mmu-notifier (November 2023)",
        "the notifier says that pages must be looked up again, and does not wait for the GPU",
        on "v5.12 +userptr-interval";
    TtmPoolClear = "ttm-pool-clear", Upstream, (5, 11),
        "811ee9dff580 drm/ttm: make sure pool pages are cleared",
        "pages are cleared as they go into a TTM pool",
        on "newest";
    TtmVmPfnmap = "ttm-pfnmap", Upstream, (5, 14),
        "f91142c62161 drm/ttm: nuke VM_MIXEDMAP on BO mappings v3",
        "TTM maps buffer objects VM_PFNMAP, so that no architecture takes references",
        on "newest -pte-special";
    TtmNoHugeFaults = "ttm-no-huge-faults", Upstream, (5, 16),
        "0d979509539e drm/ttm: remove ttm_bo_vm_insert_huge()",
        "TTM no longer maps buffer objects with huge entries",
        on "v5.12";
    ShmemHelperInsertPfn = "shmem-helper-insert-pfn", Policy, (5, 16),
        "8b93d1d7dbd5 drm/shmem-helper: Switch to vmf_insert_pfn",
        "the shmem helper maps its pages VM_PFNMAP, without references",
        on "v6.1";
    ShmemHelperNoCow = "shmem-helper-no-cow", Upstream, (6, 10),
        "39bc27bd6880 drm/shmem-helper: Fix BUG_ON() on mmap(PROT_WRITE, MAP_PRIVATE)",
        "the shmem helper refuses private writable mappings, which VM_PFNMAP cannot copy",
        on "newest";
    IoUringPinFast = "io-uring-pin-fast", Policy, (6, 10),
        "1943f96b3816 io_uring: unify io_pin_pages()",
        "a registered buffer is pinned by the lockless path, not under mmap_lock",
        on "v5.12";
    MmuGatherPfnmapFlush = "mmu-gather-pfnmap-flush", Upstream, (5, 19),
        "b67fbebd4cf9 mmu_gather: Force tlb-flush VM_PFNMAP vmas",
        "munmap flushes page frames before unmap_mapping_range() can miss their area (CVE-2022-39188)",
        on "newest";
    DioPin = "dio-pin", Policy, (6, 5),
        "a7e689dd1c06 block: Convert bio_iov_iter_get_pages to use iov_iter_extract_pages",
        "direct I/O takes FOLL_PIN, not FOLL_GET",
        on "v5.12";
    PmdSpecial = "pmd-special", Upstream, (6, 12),
        "3c8e44c9b369 mm: mark special bits for huge pfn mappings when inject; ae3c99e650da mm/gup: detect huge pfnmap entries in gup-fast",
        "huge pfn mappings carry the special bit and GUP-fast backs off",
        on "v6.12 -ttm-no-huge-faults";
    TtmPoolErrorUnmap = "ttm-pool-error-unmap", Upstream, (6, 4),
        "379989e7cbdc drm/ttm/pool: Fix ttm_pool_alloc error path",
        "the error path of ttm_pool_alloc takes pages from the device before it frees them",
        on "newest";
    NoDevmap = "no-devmap", Policy, (6, 17),
        "aed877c2b425 device/dax: properly refcount device dax pages when mapping; d438d2734170 mm: remove devmap related functions and page table bits",
        "no entry has a devmap bit: pages of device memory are ordinary pages with references",
        on "v5.12 +ttm-pfn-map";
    TtmPoolErrorFree = "ttm-pool-error-free", Upstream, (6, 8),
        "40510a941d27 drm/ttm: Fix an invalid freeing on already freed page in error path",
        "the error path of ttm_pool_alloc frees each page once",
        on "newest";
    TtmPfnMapDev = "ttm-pfn-map", Proposed, (never),
        "drm/ttm: PFN_DEV|PFN_MAP for huge entries (Hellstrom, thread of February 2021)",
        "huge entries of TTM look like device memory, so that GUP-fast asks get_dev_pagemap",
        on "v5.12";
    DmaBufPfnmap = "dma-buf-pfnmap", Proposed, (never),
        "dma-buf: Require VM_PFNMAP vma for mmap (Vetter, February 2021 to November 2022)",
        "a dma-buf refuses a mapping that is not VM_PFNMAP",
        on "v5.12 -pte-special";
    TtuSkipPinned = "ttu-skip-pinned", Proposed, (never),
        "mm: Skip opportunistic reclaim for dma pinned pages (Wilson, 24 June 2020)",
        "try_to_unmap_one leaves a page alone that may be pinned",
        on "v5.10";
    ShrinkSkipPinned = "shrink-skip-pinned", Proposed, (never),
        "the same in shrink_page_list (Hocko and Kara in that thread)",
        "reclaim does not even look who maps a page that may be pinned",
        on "v5.10";
    MigrateSkipPinned = "migrate-skip-pinned", Proposed, (never),
        "the same in migrate_pages (that thread: a pinned page cannot be migrated by definition)",
        "migration does not even look who maps a page that may be pinned",
        on "newest +page-pin-strict";
    ForkSkipPinned = "fork-skip-pinned", Proposed, (never),
        "mm: Trial do_wp_page() simplification (Torvalds in that thread, 18 September 2020)",
        "fork does not give the child a page that may be pinned, as if by MADV_DONTFORK",
        on "newest -fork-early-cow";
    TtmOrderedPtes = "ttm-order-ptes", Proposed, (never),
        "order > 0 mappings as a run of special ptes (thread of February 2021)",
        "TTM maps a huge-aligned buffer object by ptes",
        on "v5.12";

    CollapseScanCount = "collapse-scan-count", Policy, (2, 6),
        "ba76149f47d8 thp: khugepaged",
        "khugepaged looks at reference counts before it tells anybody, too",
        on "newest +page-pin-strict";
    TlbFlushIpi = "tlb-flush-ipi", Policy, (2, 6),
        "arch/x86/mm/tlb.c; arm64 broadcasts instead",
        "translations are flushed by interrupt, which waits for every GUP-fast",
        on "newest -gup-fast-recheck-pte";
    PteSpecial = "pte-special", Policy, (2, 6),
        "ARCH_HAS_PTE_SPECIAL",
        "the architecture has a special bit in ptes",
        on "v5.12";
    AmdgpuDiscardable = "amdgpu-discardable", Policy, (6, 1),
        "fab2cc80e4d6 drm/amdgpu: add AMDGPU_GEM_CREATE_DISCARDABLE",
        "a buffer object that user space maps can be gutted instead of moved",
        on "v7.2";

    PagePinStrict = "page-pin-strict", Policy, (never),
        "what the thread of 24 June 2020 asked",
        "no fix: the oracle page_pin reports whatever disturbs a pinned page, whether or not it is lost",
        on "newest";

    TtmGuttingUnmap = "ttm-gutting-unmap", Open, (never),
        "ttm_bo_pipeline_gutting() has no ttm_bo_unmap_virtual()",
        "a gutted buffer object loses its mappings before its pages",
        on "v7.2";

    TtmHugeFits = "ttm-huge-fits", Open, (never),
        "ttm_bo_vm_insert_huge() of v5.7 to v5.15 looks at neither the end of the area nor the offset's alignment",
        "a huge entry of TTM lies inside its area, aligned as the object is",
        on "v5.12";
    ForkSnapshot = "fork-snapshot", Open, (never),
        "mm/memory: ensure fork child sees coherent memory snapshot (Horn, June 2025)",
        "fork stops writes to a page before it copies it for the child",
        on "v7.2";

    HugetlbWpExclusive = "hugetlb-wp-exclusive", Open, (never),
        "hugetlb_wp() goes by the map count: b8a2528835b3 mm/hugetlb: document why hugetlb uses folio_mapcount() for COW reuse decisions; 4bf6a4ebc592 selftests: mm: cow: flag vmsplice() hugetlb tests as XFAIL",
        "a write fault reuses a hugetlb page that is ours alone, not one that nobody else maps",
        on "v7.2";

    IoUringUnpinDirty = "io-uring-unpin-dirty", Open, (never),
        "io_buffer_unmap() unpins without unpin_user_pages_dirty_lock()",
        "pages of a registered buffer are dirtied before they are let go",
        on "v7.2 +userptr-put-lock";
    UserptrPutLock = "userptr-put-lock", Open, (never),
        "i915_gem_userptr_put_pages() tries the lock of a page, as its comment says, at the risk of \"missing some page dirtying\"",
        "pages of a userptr object are dirtied before they are let go, whoever has them locked",
        on "v5.12 +lazyfree-count +io-uring-unpin-dirty";

    ShareBeforeClear = "share-before-clear", Mutant, (never),
        "Z12, as 088b8aa537c2 mm: fix PageAnonExclusive clearing racing with concurrent RCU GUP-fast",
        "a page stops to be exclusive before its entry is cleared, not after",
        on "newest";
    TableFreeNoRcu = "table-free-no-rcu", Mutant, (never),
        "Z10, what 9e52fc2b50de x86/mm: Enable RCU based page table freeing (v4.14) waits for",
        "a page table is freed while GUP-fast may still walk it",
        on "newest -tlb-flush-ipi";
    UserptrNoRetry = "userptr-no-retry", Mutant, (never),
        "Z15", "a driver does not ask whether entries changed while it looked pages up",
        on "newest";
    UserptrRetryUnlocked = "userptr-retry-unlocked", Mutant, (never),
        "Z15", "a driver asks without its lock, and then maps",
        on "newest";
    NotifierStartLate = "notifier-start-late", Mutant, (never),
        "Z15", "notifiers hear of a range when its entries are gone",
        on "newest";
    TtmMoveNoUnmap = "ttm-move-no-unmap", Mutant, (never),
        "Z24a", "a move leaves the mappings of the old placement",
        on "newest";
    TtmMoveUnmapLate = "ttm-move-unmap-late", Mutant, (never),
        "Z24b", "a move unmaps after the old pages are free",
        on "newest";
    TtmFreeBeforeFence = "ttm-free-before-fence", Mutant, (never),
        "Z24c", "old pages are freed before the fence of their last job signals",
        on "newest";
    TtmOpenNoRef = "ttm-open-no-ref", Mutant, (never),
        "Z24d", "vm_open takes no reference to the buffer object",
        on "newest";
    TtmPrefaultUnreserved = "ttm-prefault-unreserved", Mutant, (never),
        "Z24e", "prefault goes on after the fault has let go of the reservation",
        on "newest";
    TtmSwapoutNoUnmap = "ttm-swapout-no-unmap", Mutant, (never),
        "Z24f", "swapout copies and frees pages that are still mapped",
        on "newest";
    ZapKeepsDeposit = "zap-keeps-deposit", Mutant, (never),
        "what drm/ttm: Temporarily disable the huge_fault() callback (April 2020) hid",
        "zapping a huge entry forgets the page table that was put aside for its split",
        on "v5.12";
    TtmGiveBeforeDmaUnmap = "ttm-give-before-dma-unmap", Mutant, (never),
        "Z24h", "pages go to the pool while the device can still reach them",
        on "newest";
    TtmFaultRelock = "ttm-fault-relock", Mutant, (never),
        "what VM_FAULT_RETRY avoids", "a fault that waited for a move takes mmap_lock again under the reservation",
        on "newest";
    MigrateCountEarly = "migrate-count-early", Mutant, (never),
        "Z14b", "migration counts references before it unmaps the page, not after",
        on "v5.12";
    CollapseCountEarly = "collapse-count-early", Mutant, (never),
        "Z9: is_refcount_suitable() in hpage_collapse_scan_pmd() alone",
        "khugepaged looks at reference counts before it clears the pmd, and not after",
        on "newest";
    DaxLookFirst = "dax-look-first", Mutant, (never),
        "J, the order that 5fac7408d828 has not",
        "a file on dax looks for references of its blocks before it unmaps them, not after: mappings hold none until v6.15",
        on "v6.12";
    FenceInitLate = "fence-init-late", Mutant, (never),
        "a lost wake-up", "a job's fence is set up after the GPU has got the job",
        on "newest";
}

const _: () = assert!(FIXES.len() <= 128);

#[cfg(test)]
mod tests;
