// SPDX-License-Identifier: GPL-2.0-or-later
//! Anonymous pages.  Linux: include/linux/page-flags.h, rmap.h.

use super::{Kernel, PageFlags};
use crate::trace::{Access, Pfn};

impl Kernel {
    /// PageAnon().
    pub(crate) fn folio_test_anon(&self, pfn: Pfn) -> bool {
        self.frames[pfn.index()].flags.get().contains(PageFlags::ANON)
    }

    /// page_anon_vma() and page->index of an anonymous page.
    pub(crate) fn folio_anon_vma(&self, pfn: Pfn) -> (u8, u8) {
        let frame = &self.frames[pfn.index()];
        assert!(self.folio_test_anon(pfn));
        (frame.mapping.get(), frame.index.get())
    }

    /// SetPageAnonExclusive(), ClearPageAnonExclusive(): under the lock of the page table that maps it.
    pub(crate) fn set_page_anon_exclusive(&self, pfn: Pfn, exclusive: bool) {
        self.folio_assign(pfn, PageFlags::ANON_EXCLUSIVE, exclusive);
    }

    /// PageAnonExclusive(); stays while the lock of the page table that maps it is held.
    pub(crate) fn page_anon_exclusive(&self, pfn: Pfn) -> bool {
        self.frames[pfn.index()].flags.get().contains(PageFlags::ANON_EXCLUSIVE)
    }

    /// A page that nobody else sees yet becomes anonymous, mapped once and exclusive: of a compound
    /// page, the head says so as long as leaves map it.
    pub(crate) fn init_anon(&self, head: Pfn, anon_vma: u8, index: u8) {
        let nr = 1 << self.folio_order(head);
        for i in 0..nr {
            let frame = &self.frames[head.add(i as usize).index()];
            frame.mapping.set(anon_vma);
            frame.index.set(index + i);
            frame.flags.set(frame.flags.get() | PageFlags::ANON);
        }
        let frame = &self.frames[head.index()];
        let flags = PageFlags::ANON_EXCLUSIVE | PageFlags::SWAPBACKED | PageFlags::LRU;
        frame.flags.set(frame.flags.get() | flags);
        let mapcount = if nr > 1 { &frame.entire_mapcount } else { &frame.mapcount };
        mapcount.set(1);
    }

    /// An anonymous page that nobody else sees yet is one of hugetlb: on no list, and never written to swap.
    pub(crate) fn init_hugetlb(&self, head: Pfn) {
        let flags = &self.frames[head.index()].flags;
        flags.set((flags.get() - PageFlags::SWAPBACKED - PageFlags::LRU) | PageFlags::HUGETLB);
    }

    /// folio_test_hugetlb(), for as long as the page lives.
    pub(crate) fn folio_test_hugetlb(&self, head: Pfn) -> bool {
        self.frames[head.index()].flags.get().contains(PageFlags::HUGETLB)
    }

    /// A page that was swapped in or moved here becomes anonymous, with all its tails; the step has announced them.
    pub(crate) fn set_folio_anon(&self, head: Pfn, anon_vma: u8, index: u8) {
        for i in 0..1 << self.folio_order(head) {
            let frame = self.lockless(head.add(i as usize), Access::Write);
            frame.mapping.set(anon_vma);
            frame.index.set(index + i);
            let mut head = if i == 0 { PageFlags::SWAPBACKED | PageFlags::LRU } else { PageFlags::empty() };
            head.set(PageFlags::LRU, i == 0 && !frame.flags.get().contains(PageFlags::DEVICE_PRIVATE));
            frame.flags.set(frame.flags.get() | PageFlags::ANON | head);
        }
    }
}
