// SPDX-License-Identifier: GPL-2.0-or-later
//! Extended attributes: they lie in the inode, so in a block of the file system's own.  Linux: fs/ext4/xattr.c.
//!
//! Kept:       the inode's block is found, read and written by its buffer (fs/bdev.rs), anew each time.
//! Simplified: one attribute a file, one byte; a block an inode.
//! Left out:   the journal; attributes in a block of their own.

use super::page_io::Ext4SbInfo;
use crate::fs::bdev::*;
use crate::kernel::*;
use crate::mm::address_space::*;
use crate::mm::highmem::use_page;
use crate::mm::*;
use crate::trace::{Access, Event, UseKind, obj};

/// Where the inode of a file is on the disk, as a buffer with a reference.
async fn ext4_get_inode_loc(k: &Kernel, sb: &Ext4SbInfo, mapping: u8) -> Result<u8, Errno> {
    enter!(k);
    let block = ext4_nr(mapping) as u8;
    sb_bread(k, &sb.bdev, block).await.map(|()| block)
}

/// Sets the attribute of a file.
///
/// # Errors
/// -ENOMEM
pub(crate) async fn ext4_xattr_set(k: &Kernel, sb: &Ext4SbInfo, mapping: u8, value: u8) -> Result<(), Errno> {
    enter!(k);
    down_write(k, i_rwsem(mapping)).await;
    down_write(k, xattr_sem(mapping)).await;
    let iloc = ext4_get_inode_loc(k, sb, mapping).await;
    if let Ok(block) = iloc {
        ext4_xattr_ibody_set(k, sb, block, value).await;
        brelse(k, &sb.bdev, block).await;
    }
    up_write(k, xattr_sem(mapping));
    up_write(k, i_rwsem(mapping));
    iloc.map(|_| ())
}

async fn ext4_xattr_ibody_set(k: &Kernel, sb: &Ext4SbInfo, block: u8, value: u8) {
    enter!(k);
    let page = b_data(k, &sb.bdev, block).await;
    k.step(obj::data(page.pfn), Access::Write, || {
        use_page(k, page, UseKind::KernelWrite, Some(value));
        k.emit(Event::Metadata { block, pfn: page.pfn, value, write: true });
    })
    .await;
    mark_buffer_dirty(k, &sb.bdev, block).await;
}

/// The attribute of a file.
///
/// # Errors
/// -ENOMEM
pub(crate) async fn ext4_xattr_get(k: &Kernel, sb: &Ext4SbInfo, mapping: u8) -> Result<u8, Errno> {
    enter!(k);
    down_read(k, xattr_sem(mapping)).await;
    let iloc = ext4_get_inode_loc(k, sb, mapping).await;
    let value = match iloc {
        Ok(block) => Ok(ext4_xattr_ibody_get(k, sb, block).await),
        Err(errno) => Err(errno),
    };
    if let Ok(block) = iloc {
        brelse(k, &sb.bdev, block).await;
    }
    up_read(k, xattr_sem(mapping));
    value
}

async fn ext4_xattr_ibody_get(k: &Kernel, sb: &Ext4SbInfo, block: u8) -> u8 {
    enter!(k);
    let page = b_data(k, &sb.bdev, block).await;
    k.step(obj::data(page.pfn), Access::Read, || {
        let value = use_page(k, page, UseKind::KernelRead, None);
        k.emit(Event::Metadata { block, pfn: page.pfn, value, write: false });
        value
    })
    .await
}
