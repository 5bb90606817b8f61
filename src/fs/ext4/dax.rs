// SPDX-License-Identifier: GPL-2.0-or-later
//! A file system on dax: who gets which block, and when a file gives one up.
//! Linux: fs/ext4/file.c, fs/ext4/inode.c, fs/ext4/mballoc.c.
//!
//! Kept:       a block that a file gave up is the next file's, cleared; before a file gives blocks up it waits
//!             until nobody references one of its own, without the lock that faults take.
//! Simplified: a page of a file gets its block when it is touched first; the lowest that is free.
//! Left out:   the journal, read(2) and write(2), a file system whose inode goes while somebody waits.

use super::page_io::Ext4SbInfo;
use crate::fixes::Fix;
use crate::fs::dax::*;
use crate::kernel::*;
use crate::limits::*;
use crate::mm::address_space::*;
use crate::mm::memremap::*;
use crate::mm::page_alloc::fill;
use crate::mm::*;
use crate::trace::{Access, Event, Owner, Pfn, obj};
use std::cell::Cell;
use std::rc::Rc;

/// Which blocks there are, and which of them files have.
#[derive(Debug, Default)]
pub(crate) struct DaxBlocks {
    /// One bit a block.
    taken: Cell<u8>,
    /// By file and page; changes under the file's i_pages, or its invalidate_lock held for writing.
    extents: [[Cell<Option<PageRef>>; FILE_PAGES]; NR_DAX_FILES],
}

impl DaxBlocks {
    pub(super) fn reset(&self) {
        self.taken.set(0);
        self.extents.iter().flatten().for_each(|block| block.set(None));
    }

    fn extent(&self, mapping: u8, index: u8) -> &Cell<Option<PageRef>> {
        &self.extents[mapping as usize - FIRST_DAX_FILE][index as usize]
    }

    /// A file gives up its blocks of pages `start..end`.
    pub(super) async fn free(&self, k: &Kernel, mapping: u8, start: u8, end: u8) {
        for index in start..end {
            let Some(PageRef { pfn, gen_ }) = self.extent(mapping, index).take() else {
                continue;
            };
            k.step(obj::frames(pfn, 1), Access::Write, || {
                // Nobody looks at its counts.
                let owner = Owner::Blocks;
                k.emit(Event::Free { pfn, order: 0, gen_, owner, refcount: 0, mapcount: 0 });
                k.set_generation(pfn, 1, owner);
                self.taken.set(self.taken.get() & !(1 << (pfn.0 - FSDAX_START.0)));
            })
            .await;
        }
    }

    /// A block for a page of a file, cleared; `None`: all are taken.
    async fn allocate(&self, k: &Kernel, mapping: u8) -> Option<PageRef> {
        k.step(obj::frames(FSDAX_START, NR_FSDAX), Access::Write, || {
            let nr = self.taken.get().trailing_ones() as usize;
            let pfn = (nr < NR_FSDAX).then(|| FSDAX_START.add(nr))?;
            self.taken.set(self.taken.get() | 1 << nr);
            let owner = Owner::File(mapping);
            let gen_ = k.set_generation(pfn, 1, owner);
            k.init_page(pfn, |page| Page { flags: PageFlags::empty(), ..page });
            k.emit(Event::Alloc { pfn, order: 0, gen_, owner });
            let page = PageRef { pfn, gen_ };
            fill(k, page, 0);
            Some(page)
        })
        .await
    }
}

/// What a mapping of a file on dax does: ext4_dax_vm_ops.
pub(crate) struct DaxFile {
    pub(crate) sb: Rc<Ext4SbInfo>,
}

impl VmOps for DaxFile {
    fn fault<'a>(&'a self, k: &'a Kernel, vma: &'a Vma, vmf: Vmf) -> Boxed<'a, VmFault> {
        Box::pin(ext4_dax_fault(k, &self.sb, vma, vmf))
    }
    fn open<'a>(&'a self, _: &'a Kernel) -> Boxed<'a, ()> {
        Box::pin(std::future::ready(()))
    }
    fn close<'a>(&'a self, _: &'a Kernel) -> Boxed<'a, ()> {
        Box::pin(std::future::ready(()))
    }
}

async fn ext4_dax_fault(k: &Kernel, sb: &Ext4SbInfo, vma: &Vma, vmf: Vmf) -> VmFault {
    enter!(k);
    down_read(k, invalidate_lock(vma.mapping)).await;
    let ret = match ext4_map_blocks(k, sb, vma.mapping, vmf.pgoff).await {
        Some(block) => dax_iomap_fault(k, vma, vmf, block).await,
        None => VmFault::Sigbus,
    };
    up_read(k, invalidate_lock(vma.mapping));
    ret
}

/// The block of a page, and its entry in the page cache; `None`: the file ends before it, or no block is left.
async fn ext4_map_blocks(k: &Kernel, sb: &Ext4SbInfo, mapping: u8, index: u8) -> Option<PageRef> {
    enter!(k);
    spin_lock(k, i_pages(mapping)).await;
    let mut block = sb.blocks.extent(mapping, index).get();
    if index >= k.i_size_read(mapping) {
        block = None;
    } else if block.is_none() {
        block = sb.blocks.allocate(k, mapping).await;
        sb.blocks.extent(mapping, index).set(block);
    }
    // dax_insert_entry()
    if let Some(page) = block
        && k.xa_load(mapping, index).is_none()
    {
        k.xa_store(mapping, index, Some(page));
        k.set_folio_mapping(page.pfn, mapping, Some(index));
    }
    spin_unlock(k, i_pages(mapping));
    block
}

/// Waits until nobody references a block of a file on dax, so that blocks of it may go.  The file's
/// invalidate_lock is held for writing; it is dropped to wait.
///
/// # Errors
/// -EINTR: whoever references a block does not let go of it.
pub(super) async fn ext4_break_layouts(k: &Kernel, mapping: u8) -> Result<(), Errno> {
    enter!(k);
    if !dax_mapping(mapping) || !k.fixed(Fix::DaxLayoutBusy) {
        return Ok(());
    }
    while let Some(page) = dax_layout_busy_page(k, mapping).await {
        ext4_wait_dax_page(k, mapping, page).await?;
    }
    Ok(())
}

async fn ext4_wait_dax_page(k: &Kernel, mapping: u8, page: Pfn) -> Result<(), Errno> {
    enter!(k);
    up_write(k, invalidate_lock(mapping));
    let idle = wait_event_interruptible(k, idle_word(page)).await;
    down_write(k, invalidate_lock(mapping)).await;
    if idle { Ok(()) } else { Err(Errno::EINTR) }
}
