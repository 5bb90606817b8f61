// SPDX-License-Identifier: GPL-2.0-or-later
//! The page cache of a disk, and the buffers by which a file system reads and writes what is its own there.
//! Linux: block/bdev.c, block/fops.c, fs/buffer.c.
//!
//! Kept:       a buffer is found under i_private_lock, since v6.15 under the lock of its page; who uses it
//!             holds a reference of the buffer and none of the page; it moves with its page.
//! Simplified: one buffer a page, dirty as the page is; a page that is read is all zeros, at once.
//! Left out:   writing to the disk, so that no dirty page leaves; each CPU's list of buffers that it found
//!             last; BH_Lock; lookups of who may not sleep.

use crate::fixes::Fix;
use crate::kernel::*;
use crate::limits::NR_EXT4_FILES;
use crate::mm::address_space::*;
use crate::mm::filemap::*;
use crate::mm::highmem::copy_user_highpage;
use crate::mm::migrate::{folio_migrate_mapping, folio_ref_count};
use crate::mm::page_alloc::fill;
use crate::mm::swap::put_page;
use crate::mm::truncate::truncate_pagecache;
use crate::mm::*;
use crate::trace::{Access, Event, Kref, Obj, obj};
use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;

use super::buffer::block_invalidate_folio;

/// A buffer: a block of the disk in memory.
#[derive(Debug, Default)]
struct BufferHead {
    /// Who uses it.  Lockless: references are dropped without any lock.
    b_count: Cell<u8>,
    /// Its page.  Lockless: who has a reference counts on it.
    b_folio: Cell<PageRef>,
}

/// A disk: its blocks that are in memory, a page each.
#[derive(Debug, Default)]
pub(crate) struct BlockDevice([BufferHead; NR_EXT4_FILES]);

/// What changes a buffer touches.
const fn buffer(block: u8) -> Obj {
    obj::kref(Kref::Buffer, block)
}

impl BlockDevice {
    pub(crate) fn reset(&self) {
        self.0.iter().for_each(|bh| bh.b_count.set(0));
    }

    fn bh(&self, k: &Kernel, block: u8, access: Access) -> &BufferHead {
        k.assert_announced(buffer(block), access);
        &self.0[block as usize]
    }

    fn count(&self, k: &Kernel, block: u8, delta: i8) {
        let b_count = &self.bh(k, block, Access::Write).b_count;
        b_count.set(b_count.get().checked_add_signed(delta).expect("who drops a reference has one"));
        k.emit(Event::Kref { kind: Kref::Buffer as u8, slot: block, count: b_count.get().into() });
    }
}

/// mapping->a_ops of a disk: def_blk_aops.
struct DefBlkAops(Rc<BlockDevice>);

impl AddressSpaceOperations for DefBlkAops {
    fn read_folio<'a>(&'a self, k: &'a Kernel, page: PageRef, _index: u8) -> Boxed<'a, ()> {
        Box::pin(k.step(obj::data(page.pfn), Access::Write, move || fill(k, page, 0)))
    }
    fn page_mkwrite<'a>(&'a self, _: &'a Kernel, _: PageRef) -> Boxed<'a, bool> {
        unreachable!("nobody maps the disk")
    }
    fn release_folio<'a>(&'a self, k: &'a Kernel, page: PageRef) -> Boxed<'a, bool> {
        Box::pin(try_to_free_buffers(k, &self.0, page))
    }
    fn migrate_folio<'a>(&'a self, k: &'a Kernel, dst: PageRef, src: PageRef) -> Boxed<'a, bool> {
        Box::pin(buffer_migrate_folio_norefs(k, &self.0, dst, src))
    }
    fn invalidate_folio<'a>(&'a self, k: &'a Kernel, page: PageRef) -> Boxed<'a, ()> {
        Box::pin(block_invalidate_folio(k, page))
    }
}

/// A disk appears.
pub(crate) fn bdev_open(k: &Kernel, bdev: &Rc<BlockDevice>) {
    k.set_a_ops(BD_MAPPING, Rc::new(DefBlkAops(bdev.clone())));
}

/// Nobody uses the disk any more: its page cache goes, whatever is dirty there.
pub(crate) async fn kill_bdev(k: &Kernel) {
    enter!(k);
    if k.peek_mapping(BD_MAPPING).next().is_some() {
        truncate_pagecache(k, BD_MAPPING, 0).await;
    }
}

/// The buffer of a block, with a reference, if it is in memory.
///
/// ```text
///   __find_get_block()                        migration
///                                             1. lock the page; nobody uses its buffer
///   a. the page is in the page cache
///   b. a reference of its buffer, and none
///      of the page
///                                             2. copy the page, the buffer goes to the copy
///   c. write where the buffer was: to nobody
/// ```
///
/// From 1 to 2 migration holds what b needs: i_private_lock since v5.3, and since v6.15 the page's lock,
/// which it always held.
async fn __find_get_block(k: &Kernel, bdev: &BlockDevice, block: u8) -> bool {
    enter!(k);
    let Some(page) = filemap_get_folio(k, BD_MAPPING, block).await else {
        return false;
    };
    let lock = if k.fixed(Fix::FindGetBlockNonatomic) { folio_lock(page.pfn) } else { i_private_lock() };
    spin_lock(k, lock).await; // or folio_lock()
    let touch = [Touch::read(obj::page(page.pfn, 1)), Touch::write(buffer(block)), Touch::default()];
    let get_bh = || {
        let attached = k.folio_test(page.pfn, PageFlags::PRIVATE);
        if attached {
            bdev.count(k, block, 1);
        }
        attached
    };
    let found = k.step_on(touch, Wait::Ready, get_bh).await;
    spin_unlock(k, lock);
    put_page(k, page).await;
    found
}

/// The buffer of a block, read and with a reference.  Linux: sb_getblk(), ext4_read_bh().
///
/// # Errors
/// -ENOMEM
pub(crate) async fn sb_bread(k: &Kernel, bdev: &BlockDevice, block: u8) -> Result<(), Errno> {
    enter!(k);
    while !__find_get_block(k, bdev, block).await {
        grow_buffers(k, bdev, block).await?;
    }
    Ok(())
}

/// Makes a page for a block, and a buffer for the page.
async fn grow_buffers(k: &Kernel, bdev: &BlockDevice, block: u8) -> Result<(), Errno> {
    enter!(k);
    let page = match filemap_get_folio(k, BD_MAPPING, block).await {
        Some(page) => page,
        None => match filemap_create_folio(k, BD_MAPPING, block).await {
            Ok(page) => page,
            Err(VmFault::Retry) => return Ok(()),
            Err(_) => return Err(Errno::ENOMEM),
        },
    };
    mutex_lock(k, folio_lock(page.pfn)).await;
    if k.folio_mapping(page.pfn) == BD_MAPPING {
        spin_lock(k, i_private_lock()).await;
        let touch = [Touch::write(obj::page(page.pfn, 1)), Touch::write(buffer(block)), Touch::default()];
        let link_dev_buffers = || {
            if !k.folio_test(page.pfn, PageFlags::PRIVATE) {
                attach_buffer(k, bdev, block, page);
            }
        };
        k.step_on(touch, Wait::Ready, link_dev_buffers).await;
        spin_unlock(k, i_private_lock());
    }
    mutex_unlock(k, folio_lock(page.pfn));
    put_page(k, page).await;
    Ok(())
}

/// folio_attach_private(): the buffer holds a reference of its page.
fn attach_buffer(k: &Kernel, bdev: &BlockDevice, block: u8, page: PageRef) {
    page_ref::add(k, page.pfn, 1);
    k.folio_assign(page.pfn, PageFlags::PRIVATE, true);
    bdev.bh(k, block, Access::Write).b_folio.set(page);
}

/// bh->b_data: where the contents of a buffer are, for who has a reference.
#[track_caller]
pub(crate) fn b_data<'k>(k: &'k Kernel, bdev: &'k BlockDevice, block: u8) -> impl Future<Output = PageRef> {
    k.step(buffer(block), Access::Read, move || bdev.bh(k, block, Access::Read).b_folio.get())
}

/// What was written by a buffer is to be written to the disk.
pub(crate) async fn mark_buffer_dirty(k: &Kernel, bdev: &BlockDevice, block: u8) {
    enter!(k);
    let page = b_data(k, bdev, block).await;
    k.step(obj::page(page.pfn, 1), Access::Write, || k.folio_assign_dirty(page.pfn, true)).await;
}

/// Drops a reference of a buffer.
#[track_caller]
pub(crate) fn brelse<'k>(k: &'k Kernel, bdev: &'k BlockDevice, block: u8) -> impl Future<Output = ()> {
    k.step(buffer(block), Access::Write, move || bdev.count(k, block, -1))
}

/// Takes the buffer of a locked page away; false: somebody uses it, or it is dirty.
async fn try_to_free_buffers(k: &Kernel, bdev: &BlockDevice, page: PageRef) -> bool {
    enter!(k);
    let block = k.folio_index(page.pfn);
    spin_lock(k, i_private_lock()).await;
    let touch = [Touch::write(obj::page(page.pfn, 1)), Touch::read(buffer(block)), Touch::default()];
    let drop_buffers = || {
        let used = bdev.bh(k, block, Access::Read).b_count.get() > 0;
        let busy = used || k.folio_test(page.pfn, PageFlags::DIRTY);
        if !busy {
            k.folio_assign(page.pfn, PageFlags::PRIVATE, false);
        }
        !busy
    };
    let freed = k.step_on(touch, Wait::Ready, drop_buffers).await;
    spin_unlock(k, i_private_lock());
    if freed {
        put_page(k, page).await;
    }
    freed
}

/// Copies a locked page of the disk, and gives the copy its place and its buffer; false: somebody uses it.
/// Linux: mm/migrate.c, since v5.0.
///
/// See [`__find_get_block`].  Who has found the buffer already is counted; who is about to look finds the copy.
async fn buffer_migrate_folio_norefs(k: &Kernel, bdev: &BlockDevice, dst: PageRef, src: PageRef) -> bool {
    enter!(k);
    let block = k.folio_index(src.pfn);
    let attached = || k.folio_test(src.pfn, PageFlags::PRIVATE);
    let attached = k.step(obj::page(src.pfn, 1), Access::Read, attached).await;
    let refs = 2 + i32::from(attached);
    if folio_ref_count(k, src.pfn).await != refs {
        return false;
    }
    let hold = k.fixed(Fix::MigrateHoldsPrivateLock) && !k.fixed(Fix::FindGetBlockNonatomic);
    spin_lock(k, i_private_lock()).await;
    let used = || bdev.bh(k, block, Access::Read).b_count.get() > 0;
    let busy = k.step(buffer(block), Access::Read, used).await;
    if busy || !hold {
        spin_unlock(k, i_private_lock());
    }
    if busy {
        return false;
    }
    copy_user_highpage(k, dst, src).await;
    let moved = folio_migrate_mapping(k, dst, src, refs).await;
    if moved && attached {
        let touch = [Touch::write(obj::page(src.pfn, 1)), Touch::write(obj::page(dst.pfn, 1))];
        let touch = [touch[0], touch[1], Touch::write(buffer(block))];
        let move_buffer = || {
            k.folio_assign(src.pfn, PageFlags::PRIVATE, false); // folio_detach_private()
            attach_buffer(k, bdev, block, dst);
        };
        k.step_on(touch, Wait::Ready, move_buffer).await;
    }
    if hold {
        spin_unlock(k, i_private_lock());
    }
    if moved && attached {
        put_page(k, src).await;
    }
    moved
}
