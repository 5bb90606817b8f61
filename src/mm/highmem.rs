// SPDX-License-Identifier: GPL-2.0-or-later
//! Contents of pages, and who uses them.  Linux: include/linux/highmem.h.

use super::mm_types::*;
use super::page_alloc::fill;
use crate::kernel::{Touch, Wait};
use crate::trace::{Access, Event, Owner, UseKind, obj};
use std::future::Future;

/// Reads contents by way of a reference.
#[track_caller]
pub(crate) fn kernel_read(k: &Kernel, page: PageRef) -> impl Future<Output = u8> {
    k.step(obj::data(page.pfn), Access::Read, move || use_page(k, page, UseKind::KernelRead, None))
}

/// Copies contents to a page that nobody else sees yet.
#[track_caller]
pub(crate) fn copy_user_highpage(k: &Kernel, to: PageRef, from: PageRef) -> impl Future<Output = ()> {
    let touch = [Touch::read(obj::data(from.pfn)), Touch::write(obj::data(to.pfn)), Touch::default()];
    k.step_on(touch, Wait::Ready, move || {
        let value = use_page(k, from, UseKind::Copy, None);
        fill(k, to, value);
    })
}

/// Clears a page that nobody else sees yet.
#[track_caller]
pub(crate) fn clear_user_highpage(k: &Kernel, page: PageRef) -> impl Future<Output = ()> {
    k.step(obj::data(page.pfn), Access::Write, move || fill(k, page, 0))
}

/// Clears a page that others may use meanwhile.
#[track_caller]
pub(crate) fn folio_zero_range(k: &Kernel, page: PageRef) -> impl Future<Output = u8> {
    k.step(obj::data(page.pfn), Access::Write, move || use_page(k, page, UseKind::KernelWrite, Some(0)))
}

/// Uses contents in the present step: returns them, or replaces them by `value`.
pub(crate) fn use_page(k: &Kernel, page: PageRef, kind: UseKind, value: Option<u8>) -> u8 {
    use_page_at(k, page, kind, value, None)
}

/// As [`use_page`], through a translation of page `at.1` of address space `at.0`.
pub(crate) fn use_page_at(k: &Kernel, page: PageRef, kind: UseKind, value: Option<u8>, at: Option<(u8, u8)>) -> u8 {
    let PageRef { pfn, gen_: took } = page;
    let (now, owner) = match pfn.valid() {
        true => (k.page_gen(pfn), k.peek_page(pfn).owner),
        false => (took, Owner::Dev),
    };
    let Contents { value: old, written } = k.read_memory(pfn);
    let value = match value {
        Some(new) => {
            k.write_memory(pfn, Contents { value: new, written: now });
            new
        }
        None => old,
    };
    k.emit(Event::Use { kind, pfn, took, now, owner, value, written, at });
    value
}
