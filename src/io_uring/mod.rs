// SPDX-License-Identifier: GPL-2.0-or-later
//! Requests on registered buffers.  Linux: io_uring/.

mod rsrc;
mod rw;

pub(crate) use rsrc::{IoRingCtx, io_sqe_buffer_register, io_sqe_buffer_unregister};
pub(crate) use rw::io_read_fixed;
