// SPDX-License-Identifier: GPL-2.0-or-later
//! How programs enter the kernel: the system call table, arguments, handles.

mod args;
mod dma_buf;
mod gup;
mod io;
mod memory;
mod place;
mod system;
mod table;
mod ttm;
mod userptr;

pub use args::{ArgKind, HandleKind};
pub use system::System;
pub use table::{ArgDesc, OPS, Op, op, op_by_name};

pub(crate) use place::{Place, place};
pub(crate) use table::{Ret, syscall};
