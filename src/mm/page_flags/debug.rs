// SPDX-License-Identifier: GPL-2.0-or-later
//! Pages as traces and oracles see them.  Linux: mm/debug.c, dump_page().

use super::*;

/// For traces and oracles: no branch of the kernel may look.
impl Kernel {
    pub(crate) fn peek_page(&self, pfn: Pfn) -> Page {
        let f = &self.frames[pfn.index()];
        Page {
            refcount: f.refcount.get(),
            mapcount: f.mapcount.get(),
            entire_mapcount: f.entire_mapcount.get(),
            pincount: f.pincount.get(),
            flags: f.flags.get(),
            order: f.order.get(),
            head: f.head.get(),
            gen_: f.gen_.get(),
            owner: f.owner.get(),
            mapping: f.mapping.get(),
            index: f.index.get(),
            private: f.private.get(),
        }
    }

    /// Makes a page what an oracle's test needs.
    #[cfg(test)]
    pub(crate) fn poke_page(&self, pfn: Pfn, to: impl FnOnce(Page) -> Page) {
        self.frames[pfn.index()].set(to(self.peek_page(pfn)));
    }

    pub(crate) fn peek_memory(&self, pfn: Pfn) -> Contents {
        self.frames[pfn.index()].contents.0.get()
    }
}
