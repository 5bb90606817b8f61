// SPDX-License-Identifier: GPL-2.0-or-later
//! Contents of pages, and who uses them.  Linux: include/linux/highmem.h.

use super::mm_types::*;
use crate::limits::NR_FRAMES;
use crate::trace::{Access, Event, Owner, UseKind, obj};
use std::future::Future;

/// Reads contents by way of a reference.
#[track_caller]
pub(crate) fn kernel_read(k: &Kernel, page: PageRef) -> impl Future<Output = u8> {
    k.step(obj::data(page.pfn), Access::Read, move || use_page(k, page, UseKind::KernelRead, None))
}

/// Uses contents in the present step: returns them, or replaces them by `value`.
pub(crate) fn use_page(k: &Kernel, page: PageRef, kind: UseKind, value: Option<u8>) -> u8 {
    use_page_at(k, page, kind, value, None)
}

/// As [`use_page`], through a translation of page `at.1` of address space `at.0`.
pub(crate) fn use_page_at(k: &Kernel, page: PageRef, kind: UseKind, value: Option<u8>, at: Option<(u8, u8)>) -> u8 {
    let PageRef { pfn, gen_: took } = page;
    let (cell, now, owner) = match pfn.valid() {
        true => (&k.frame(pfn).contents, k.frame(pfn).gen_.get(), k.frame(pfn).owner.get()),
        false => (&k.iomem[pfn.index() - NR_FRAMES], took, Owner::Dev),
    };
    let Contents { value: old, written } = cell.get();
    let value = match value {
        Some(new) => {
            cell.set(Contents { value: new, written: now });
            new
        }
        None => old,
    };
    k.emit(Event::Use { kind, pfn, took, now, owner, value, written, at });
    value
}
