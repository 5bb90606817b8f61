// SPDX-License-Identifier: GPL-2.0-or-later
//! I/O that gets user pages: direct I/O and the disk, pipes; device dax.  Linux: fs/, block/, drivers/dax/.

pub(crate) mod bdev;
pub(crate) mod bio;
pub(crate) mod buffer;
pub(crate) mod dax;
pub(crate) mod devdax;
pub(crate) mod direct_io;
pub(crate) mod disk;
pub(crate) mod ext4;
pub(crate) mod pipe;
pub(crate) mod splice;
