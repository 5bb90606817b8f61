// SPDX-License-Identifier: GPL-2.0-or-later
//! Device memory with struct pages.  Linux: mm/memremap.c, include/linux/memremap.h.
//!
//! Simplified: one pgmap, of the last frames; it never goes away, so that nobody needs a reference.
//! Left out:   memunmap_pages().

use crate::limits::*;
use crate::trace::Pfn;

/// The first frame of the dax device.
pub(crate) const DEVDAX_START: Pfn = Pfn((NR_FRAMES - NR_DEVDAX) as u8);

/// Whether a page is device memory's.
pub(crate) fn is_zone_device_page(pfn: Pfn) -> bool {
    pfn >= DEVDAX_START && pfn.valid()
}

/// Whether a frame belongs to a pgmap.  The kernel's reference to that is for its end.
pub(crate) fn get_dev_pagemap(pfn: Pfn) -> bool {
    is_zone_device_page(pfn)
}
