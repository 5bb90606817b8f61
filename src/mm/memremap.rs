// SPDX-License-Identifier: GPL-2.0-or-later
//! Device memory with struct pages.  Linux: mm/memremap.c, include/linux/memremap.h.
//!
//! Simplified: two pgmaps, of the last frames; they never go away, so that nobody needs a reference.  A page that
//! nobody uses has one reference on every release; since v6.15 a block has none, and GUP-fast heeds that.
//! Left out:   memunmap_pages().

use crate::fixes::Fix;
use crate::kernel::{Machine, WORD_DAX, clear_word, wake_up};
use crate::limits::*;
use crate::trace::Pfn;

/// The first frame of the dax device.
pub(crate) const DEVDAX_START: Pfn = Pfn((NR_FRAMES - NR_DEVDAX) as u8);
/// The first block of the file system on dax.
pub(crate) const FSDAX_START: Pfn = Pfn(DEVDAX_START.0 - NR_FSDAX as u8);

/// Whether a page is device memory's.
pub(crate) fn is_zone_device_page(pfn: Pfn) -> bool {
    pfn >= FSDAX_START && pfn.valid()
}

/// Whether a page is a block of a file system: MEMORY_DEVICE_FS_DAX.
pub(crate) fn is_fsdax_page(pfn: Pfn) -> bool {
    (FSDAX_START..DEVDAX_START).contains(&pfn)
}

/// Whether a frame belongs to a pgmap.  The kernel's reference to that is for its end.
pub(crate) fn get_dev_pagemap(pfn: Pfn) -> bool {
    is_zone_device_page(pfn)
}

/// How many references stand for none: GUP-fast takes none of a page that nobody uses.
///
/// Until v6.15 it takes one of a block that no file has any more, and drops it as it looks again.
pub(super) fn unused_refs(k: &Machine, pfn: Pfn) -> i32 {
    i32::from(is_fsdax_page(pfn) && k.fixed(Fix::NoDevmap))
}

/// The word that says that nobody uses a block.
pub(crate) fn idle_word(pfn: Pfn) -> u8 {
    WORD_DAX + (pfn.0 - FSDAX_START.0)
}

/// References of a page have come or gone: whoever waits for a block to be idle hears of it.
/// Linux: __put_devmap_managed_page(), since v6.15 free_zone_device_folio().
#[inline]
pub(super) fn counted(k: &Machine, pfn: Pfn, refcount: i32) {
    if is_fsdax_page(pfn) {
        let set = if refcount == 1 { wake_up } else { clear_word };
        set(k, idle_word(pfn));
    }
}
