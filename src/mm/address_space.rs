// SPDX-License-Identifier: GPL-2.0-or-later
//! Files on a disk: what the page cache asks their file system.  Linux: include/linux/fs.h.

use super::mm_types::*;
use crate::kernel::{Lock, LockClass};
use crate::limits::*;

/// mapping->a_ops, and ->page_mkwrite of the file system's vm_ops.  Files in shmem have none.
pub(crate) trait AddressSpaceOperations {
    /// ->read_folio: fills a page that is locked and stays so.
    fn read_folio<'a>(&'a self, k: &'a Kernel, page: PageRef, index: u8) -> Boxed<'a, ()>;
    /// ->page_mkwrite: somebody is about to write to a page by a shared mapping.  Locks the page; false: it
    /// is not the file's any more, and not locked.
    fn page_mkwrite<'a>(&'a self, k: &'a Kernel, page: PageRef) -> Boxed<'a, bool>;
    /// ->release_folio: what the file system keeps for a locked page is wanted; false: it is needed.
    fn release_folio<'a>(&'a self, k: &'a Kernel, page: PageRef) -> Boxed<'a, bool>;
    /// ->migrate_folio: copies a page that nobody maps, and gives the copy its place; false: it is in use.
    fn migrate_folio<'a>(&'a self, k: &'a Kernel, dst: PageRef, src: PageRef) -> Boxed<'a, bool>;
    /// ->invalidate_folio: what the file system keeps for a locked page goes with it.
    fn invalidate_folio<'a>(&'a self, k: &'a Kernel, page: PageRef) -> Boxed<'a, ()>;
}

/// Whether a file is on a disk: writes to it must reach that.  Linux: mapping_can_writeback().
pub(crate) fn mapping_can_writeback(mapping: u8) -> bool {
    (FIRST_EXT4_FILE..FIRST_EXT4_FILE + NR_EXT4_FILES).contains(&(mapping as usize))
}

/// Whether a file is on dax: its pages are its blocks.  Linux: dax_mapping().
pub(crate) fn dax_mapping(mapping: u8) -> bool {
    (FIRST_DAX_FILE..FIRST_DAX_FILE + NR_DAX_FILES).contains(&(mapping as usize))
}

/// Which of the files on a disk or on dax it is.
pub(crate) fn ext4_nr(mapping: u8) -> usize {
    mapping as usize - FIRST_EXT4_FILE
}

/// inode->i_rwsem: one changes a file at a time.
pub(crate) fn i_rwsem(mapping: u8) -> Lock {
    Lock::new(LockClass::Inode, ext4_nr(mapping))
}

/// EXT4_I(inode)->xattr_sem: what an inode holds beside the file.
pub(crate) fn xattr_sem(mapping: u8) -> Lock {
    Lock::new(LockClass::Xattr, ext4_nr(mapping))
}

/// mapping->i_private_lock of the disk: which page has buffers, and who uses them.
pub(crate) fn i_private_lock() -> Lock {
    Lock::new(LockClass::Private, 0)
}

/// mapping->invalidate_lock: no page comes in while blocks are taken away (v5.15; before each file
/// system had its own).
pub(crate) fn invalidate_lock(mapping: u8) -> Lock {
    Lock::new(LockClass::Invalidate, ext4_nr(mapping))
}
