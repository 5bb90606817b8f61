// SPDX-License-Identifier: GPL-2.0-or-later
//! Pages handed out to a program, as drivers/misc would.  Linux: mm/gup_test.c.

use super::args::*;
use super::system::PinSlot;
use super::{Ret, System};
use crate::kernel::{Errno, enter};
use crate::mm::gup::{self, Foll, Pages, unpin_user_pages_dirty_lock};
use crate::mm::highmem::use_page;
use crate::trace::{Access, UseKind, obj};

pub(super) async fn get_user_pages(s: &System, pins: NewPins, addr: Addr, len: Len, flags: GupFlags) -> Ret {
    enter!(s);
    gup(s, pins, addr, len, flags, Foll::GET).await
}

pub(super) async fn pin_user_pages(s: &System, pins: NewPins, addr: Addr, len: Len, flags: GupFlags) -> Ret {
    enter!(s);
    let longterm = if flags.contains(GupFlags::LONGTERM) { Foll::LONGTERM } else { Foll::empty() };
    gup(s, pins, addr, len, flags, Foll::PIN | longterm).await
}

async fn gup(s: &System, pins: NewPins, addr: Addr, len: Len, flags: GupFlags, foll: Foll) -> Ret {
    let slot = &s.pins[pins.0 as usize];
    if slot.get().is_some() {
        return Err(Errno::EEXIST);
    }
    super::memory::end_of(addr, len)?;
    let foll = if flags.contains(GupFlags::WRITE) { foll | Foll::WRITE } else { foll };
    let empty = PinSlot { pages: Pages::default(), pin: foll.pin(), write: foll.contains(Foll::WRITE), users: 0 };
    // The slot is ours from here on, and in use until the pages are in it.
    slot.set(Some(PinSlot { pages: Pages::default(), users: 1, ..empty }));
    let mut pages = Pages::default();
    let ret = match flags.contains(GupFlags::FAST) {
        true => gup::get_user_pages_fast(s, addr.0, len.0, foll, &mut pages).await,
        false => gup::get_user_pages(s, addr.0, len.0, foll, &mut pages).await,
    };
    slot.set(ret.is_ok().then_some(PinSlot { pages, ..empty }));
    ret.map(|()| pages.len().into())
}

/// Uses what a slot holds: nobody may unpin it meanwhile.
fn get_slot(s: &System, pins: Pins) -> Result<PinSlot, Errno> {
    let cell = &s.pins[pins.0 as usize];
    let slot = cell.get().ok_or(Errno::EBADF)?;
    cell.set(Some(PinSlot { users: slot.users + 1, ..slot }));
    Ok(slot)
}

fn put_slot(s: &System, pins: Pins) {
    let cell = &s.pins[pins.0 as usize];
    let slot = cell.get().expect("a slot in use stays");
    cell.set(Some(PinSlot { users: slot.users - 1, ..slot }));
}

pub(super) async fn unpin_user_pages(s: &System, pins: Pins) -> Ret {
    enter!(s);
    let cell = &s.pins[pins.0 as usize];
    let slot = cell.get().ok_or(Errno::EBADF)?;
    if slot.users > 0 {
        return Err(Errno::EBUSY);
    }
    cell.set(None);
    unpin_user_pages_dirty_lock(s, &slot.pages, slot.pin, slot.write).await;
    Ok(slot.pages.len().into())
}

/// Reads every page; returns what the last one holds.
pub(super) async fn pins_read(s: &System, pins: Pins) -> Ret {
    enter!(s);
    let slot = get_slot(s, pins)?;
    let mut value = 0;
    for &page in slot.pages.as_slice() {
        let read = s.step(obj::data(page.pfn), Access::Read, || use_page(s, page, UseKind::KernelRead, None));
        value = read.await;
    }
    put_slot(s, pins);
    Ok(value.into())
}

/// Writes every page.
pub(super) async fn pins_write(s: &System, pins: Pins, value: Value) -> Ret {
    enter!(s);
    let slot = get_slot(s, pins)?;
    for &page in slot.pages.as_slice() {
        let act = || use_page(s, page, UseKind::KernelWrite, Some(value.0));
        s.step(obj::data(page.pfn), Access::Write, act).await;
    }
    put_slot(s, pins);
    Ok(slot.pages.len().into())
}

/// How many of the pages look pinned to the kernel: page_maybe_dma_pinned().
///
/// One that only has very many references looks pinned too.  Linux: mm/gup_test.c, verify_dma_pinned().
pub(super) async fn pins_verify(s: &System, pins: Pins) -> Ret {
    enter!(s);
    let slot = get_slot(s, pins)?;
    let mut pinned = 0;
    for &page in slot.pages.as_slice() {
        let head = s.compound_head(page.pfn);
        let look = s.step(obj::page(head, 1), Access::Read, || gup::page_maybe_dma_pinned(s, page.pfn));
        pinned += look.await as u32;
    }
    put_slot(s, pins);
    Ok(pinned)
}

pub(super) async fn close_all(s: &System) {
    for pins in &s.pins {
        if let Some(slot) = pins.take() {
            unpin_user_pages_dirty_lock(s, &slot.pages, slot.pin, slot.write).await;
        }
    }
}
