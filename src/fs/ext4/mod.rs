// SPDX-License-Identifier: GPL-2.0-or-later
//! A file system on a disk.  Linux: fs/ext4/.

pub(crate) mod dax;
pub(crate) mod inode;
pub(crate) mod page_io;
pub(crate) mod xattr;
