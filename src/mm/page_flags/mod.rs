// SPDX-License-Identifier: GPL-2.0-or-later
//! struct page, and who may look at which part of it when.
//! Linux: include/linux/mm_types.h, page-flags.h, page_ref.h.
//!
//! ```text
//!   refcount, pincount, PG_dirty   lockless: the step has announced the page
//!   mapcount, contents             lockless: the step has announced them
//!   mapping                        written under i_pages, read under the page's lock
//!   PageHead, order, head, anon,
//!   device private, hugetlb        stay as they are while somebody holds the page
//!   generation, owner              no part of the kernel: for oracles
//! ```

mod anon;
mod debug;

use super::mm_types::{Kernel, NO_MAPPING, folio_lock, i_pages};
use crate::limits::NR_FRAMES;
use crate::trace::{Access, Owner, Pfn, obj};
use bitflags::bitflags;
use std::cell::Cell;

bitflags! {
    /// page->flags, as far as somebody reads them.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub(crate) struct PageFlags: u16 {
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
        /// PG_lru: on a list of pages that reclaim looks at.
        const LRU = 32;
        /// PG_swapbacked: what it holds must be written to swap before it can go.
        const SWAPBACKED = 64;
        /// PG_swapcache.
        const SWAPCACHE = 128;
        /// PG_referenced.
        const REFERENCED = 256;
        /// PG_active.
        const ACTIVE = 512;
        /// PG_writeback: the disk reads it.
        const WRITEBACK = 1024;
        /// PG_private: the file system has buffers for it.
        const PRIVATE = 2048;
        /// is_device_private_page(): no CPU reaches it.
        const DEVICE_PRIVATE = 1 << 12;
        /// PG_hugetlb.
        const HUGETLB = 1 << 13;
        const HWPOISON = 1 << 15;
    }
}

/// What a frame holds.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Contents {
    pub(crate) value: u8,
    /// The generation it was written under; for oracles.
    pub(crate) written: u16,
}

/// The memory of a frame.
#[derive(Debug, Default)]
pub(crate) struct Memory(Cell<Contents>);

/// A page frame and its struct page.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    refcount: Cell<i32>,
    mapcount: Cell<i32>,
    entire_mapcount: Cell<i32>,
    pincount: Cell<i32>,
    flags: Cell<PageFlags>,
    order: Cell<u8>,
    head: Cell<Pfn>,
    gen_: Cell<u16>,
    owner: Cell<Owner>,
    contents: Memory,
    mapping: Cell<u8>,
    index: Cell<u8>,
    private: Cell<u8>,
}

/// What a struct page said at one moment, all of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    /// `_refcount`.
    pub(crate) refcount: i32,
    /// Number of ptes that map it.
    pub(crate) mapcount: i32,
    /// Number of leaves that map the compound page of which it is the head.
    pub(crate) entire_mapcount: i32,
    /// Exact number of FOLL_PIN references, compound pages only.
    pub(crate) pincount: i32,
    pub(crate) flags: PageFlags,
    /// Order of the block that begins here.
    pub(crate) order: u8,
    /// The page whose refcount counts: compound_head().  Itself unless [`PageFlags::TAIL`].
    pub(crate) head: Pfn,
    /// Which allocation, or which free, of all there were; for oracles.
    pub(crate) gen_: u16,
    pub(crate) owner: Owner,
    /// page->mapping of a page-cache page, the anon_vma of an anonymous one, or [`NO_MAPPING`].
    pub(crate) mapping: u8,
    /// page->index: page of the file, or of the address space that first mapped an anonymous page.
    pub(crate) index: u8,
    /// page->private: the slot of a page of the swap cache.
    pub(crate) private: u8,
}

impl Frame {
    /// At boot.
    pub(super) fn init(&self, page: Page) {
        self.set(page);
        self.contents.clear();
    }

    fn set(&self, page: Page) {
        self.refcount.set(page.refcount);
        self.mapcount.set(page.mapcount);
        self.entire_mapcount.set(page.entire_mapcount);
        self.pincount.set(page.pincount);
        self.flags.set(page.flags);
        self.order.set(page.order);
        self.head.set(page.head);
        self.gen_.set(page.gen_);
        self.owner.set(page.owner);
        self.mapping.set(page.mapping);
        self.index.set(page.index);
        self.private.set(page.private);
    }
}

impl Memory {
    /// At boot.
    pub(super) fn clear(&self) {
        self.0.set(Contents::default());
    }
}

/// What changes while others look: in a step that announced it.
impl Kernel {
    fn lockless(&self, pfn: Pfn, access: Access) -> &Frame {
        self.assert_announced(obj::page(pfn, 1), access);
        &self.frames[pfn.index()]
    }

    /// page_ref_count() of the page itself.
    pub(crate) fn page_count(&self, pfn: Pfn) -> i32 {
        self.lockless(pfn, Access::Read).refcount.get()
    }

    /// Adds references and returns what that makes; a blind increment may be announced as commuting.
    pub(crate) fn page_ref_add(&self, pfn: Pfn, refs: i32) -> i32 {
        let refcount = &self.lockless(pfn, Access::Commute).refcount;
        refcount.set(refcount.get() + refs);
        refcount.get()
    }

    /// folio->_pincount.
    pub(crate) fn page_pincount(&self, pfn: Pfn) -> i32 {
        self.lockless(pfn, Access::Read).pincount.get()
    }

    pub(crate) fn page_pincount_add(&self, pfn: Pfn, refs: i32) {
        let pincount = &self.lockless(pfn, Access::Write).pincount;
        pincount.set(pincount.get() + refs);
    }

    /// PageDirty().
    pub(crate) fn folio_test_dirty(&self, pfn: Pfn) -> bool {
        self.folio_test(pfn, PageFlags::DIRTY)
    }
    /// SetPageDirty(), ClearPageDirty().
    pub(crate) fn folio_assign_dirty(&self, pfn: Pfn, dirty: bool) {
        self.folio_assign(pfn, PageFlags::DIRTY, dirty);
    }

    /// Whether any of these flags is set.
    pub(crate) fn folio_test(&self, pfn: Pfn, flags: PageFlags) -> bool {
        self.lockless(pfn, Access::Read).flags.get().intersects(flags)
    }

    /// Sets or clears flags.
    pub(crate) fn folio_assign(&self, pfn: Pfn, flags: PageFlags, set: bool) {
        let all = &self.lockless(pfn, Access::Write).flags;
        all.set(if set { all.get() | flags } else { all.get() - flags });
    }

    /// page_ref_freeze(): takes the count from `count` to 0, if it is that.
    pub(crate) fn page_ref_freeze(&self, pfn: Pfn, count: i32) -> bool {
        let refcount = &self.lockless(pfn, Access::Write).refcount;
        let frozen = refcount.get() == count;
        if frozen {
            refcount.set(0);
        }
        frozen
    }

    /// page_ref_unfreeze().
    pub(crate) fn page_ref_unfreeze(&self, pfn: Pfn, count: i32) {
        self.lockless(pfn, Access::Write).refcount.set(count);
    }

    /// How many ptes map the page.
    pub(crate) fn page_mapcount(&self, pfn: Pfn) -> i32 {
        self.assert_announced(obj::mapcount(pfn), Access::Read);
        self.frames[pfn.index()].mapcount.get()
    }

    /// How many leaves map a compound page.
    pub(crate) fn entire_mapcount(&self, head: Pfn) -> i32 {
        self.assert_announced(obj::mapcount(head), Access::Read);
        self.frames[head.index()].entire_mapcount.get()
    }

    /// Counts leaves that map a compound page, and returns how many there are now.
    pub(crate) fn entire_mapcount_add(&self, head: Pfn, delta: i32) -> i32 {
        self.assert_announced(obj::mapcount(head), Access::Commute);
        let mapcount = &self.frames[head.index()].entire_mapcount;
        mapcount.set(mapcount.get() + delta);
        mapcount.get()
    }

    /// Counts entries that map the page, and returns how many there are now.
    pub(crate) fn page_mapcount_add(&self, pfn: Pfn, delta: i32) -> i32 {
        self.assert_announced(obj::mapcount(pfn), Access::Commute);
        let mapcount = &self.frames[pfn.index()].mapcount;
        mapcount.set(mapcount.get() + delta);
        mapcount.get()
    }

    fn memory(&self, pfn: Pfn, access: Access) -> &Cell<Contents> {
        self.assert_announced(obj::data(pfn), access);
        match pfn.valid() {
            true => &self.frames[pfn.index()].contents.0,
            false => &self.iomem[pfn.index() - NR_FRAMES].0,
        }
    }

    /// What lies in a frame, device memory too.
    pub(crate) fn read_memory(&self, pfn: Pfn) -> Contents {
        self.memory(pfn, Access::Read).get()
    }

    pub(crate) fn write_memory(&self, pfn: Pfn, contents: Contents) {
        self.memory(pfn, Access::Write).set(contents);
    }
}

/// What is set before others see the page, or under a lock.
impl Kernel {
    /// An allocator gives a page its meaning, or takes it away.
    pub(crate) fn init_page(&self, pfn: Pfn, to: impl FnOnce(Page) -> Page) {
        let page = to(self.peek_page(pfn));
        self.lockless(pfn, Access::Write).set(page);
    }

    /// PageHead().
    pub(crate) fn page_head(&self, pfn: Pfn) -> bool {
        self.frames[pfn.index()].flags.get().contains(PageFlags::HEAD)
    }

    /// compound_head(): the page whose reference count counts, as of now.
    pub(crate) fn compound_head(&self, pfn: Pfn) -> Pfn {
        self.frames[pfn.index()].head.get()
    }

    /// folio_order().
    pub(crate) fn folio_order(&self, head: Pfn) -> u8 {
        if self.page_head(head) { self.frames[head.index()].order.get() } else { 0 }
    }

    /// is_device_private_page(), for as long as the page lives.
    pub(crate) fn is_device_private_page(&self, pfn: Pfn) -> bool {
        self.frames[pfn.index()].flags.get().contains(PageFlags::DEVICE_PRIVATE)
    }

    /// A page that nobody else sees yet is one that no CPU reaches.
    pub(crate) fn init_device_private(&self, pfn: Pfn) {
        let flags = &self.frames[pfn.index()].flags;
        flags.set(flags.get() | PageFlags::DEVICE_PRIVATE);
    }

    /// folio_test_swapcache(), for a page that is locked.
    pub(crate) fn folio_test_swapcache(&self, pfn: Pfn) -> bool {
        self.assert_held(folio_lock(pfn));
        self.frames[pfn.index()].flags.get().contains(PageFlags::SWAPCACHE)
    }

    /// folio->swap: the slot; the page is locked.
    pub(crate) fn folio_swap(&self, pfn: Pfn) -> u8 {
        self.assert_held(folio_lock(pfn));
        self.frames[pfn.index()].private.get()
    }

    pub(crate) fn set_folio_swap(&self, pfn: Pfn, slot: u8) {
        self.assert_held(folio_lock(pfn));
        self.frames[pfn.index()].private.set(slot);
    }

    /// folio->mapping; the page is locked.
    pub(crate) fn folio_mapping(&self, pfn: Pfn) -> u8 {
        self.assert_held(folio_lock(self.compound_head(pfn)));
        self.frames[pfn.index()].mapping.get()
    }
    /// folio->mapping, as whoever only has a reference sees it.
    pub(crate) fn folio_mapping_lockless(&self, pfn: Pfn) -> u8 {
        self.lockless(pfn, Access::Read).mapping.get()
    }
    /// page->index; the page is locked.
    pub(crate) fn folio_index(&self, pfn: Pfn) -> u8 {
        self.assert_held(folio_lock(self.compound_head(pfn)));
        self.frames[pfn.index()].index.get()
    }
    /// A page enters the page cache of `mapping` as page `index`, or leaves it; i_pages is held.
    pub(crate) fn set_folio_mapping(&self, pfn: Pfn, mapping: u8, index: Option<u8>) {
        self.assert_held(i_pages(mapping));
        let frame = &self.frames[pfn.index()];
        frame.mapping.set(if index.is_some() { mapping } else { NO_MAPPING });
        frame.index.set(index.unwrap_or(frame.index.get()));
    }
}

impl Kernel {
    /// The generation of a frame as of now; 0: device memory has none.
    pub(crate) fn page_gen(&self, pfn: Pfn) -> u16 {
        if pfn.valid() { self.frames[pfn.index()].gen_.get() } else { 0 }
    }

    /// Begins or ends a generation of a block; returns it.
    pub(crate) fn set_generation(&self, pfn: Pfn, nr: usize, owner: Owner) -> u16 {
        let gen_ = self.next_generation();
        for i in 0..nr {
            let frame = self.lockless(pfn.add(i), Access::Write);
            frame.gen_.set(gen_);
            frame.owner.set(owner);
        }
        gen_
    }
}
