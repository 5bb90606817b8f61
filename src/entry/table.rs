// SPDX-License-Identifier: GPL-2.0-or-later
//! The system call table: the one place that declares an operation.
//!
//! Numbers are ABI: a retired one stays unassigned for ever.  Decoding, encoding, text, generation,
//! counters and `gupfuzz list ops` derive from here.

use super::args::*;
use super::place::{Place, place};
use super::{System, dma_buf, gup, io, memory, ttm, userptr};
use crate::kernel::Errno;
use std::rc::Rc;

/// What a call returns: a count or a value, or an errno.
pub(crate) type Ret = Result<u32, Errno>;

/// An argument of an operation.
#[derive(Clone, Copy, Debug)]
pub struct ArgDesc {
    /// As programs write it.
    pub name: &'static str,
    /// Its range and its text.
    pub kind: ArgKind,
}

/// An operation.
#[derive(Clone, Copy, Debug)]
pub struct Op {
    /// Its number in binary programs.
    pub nr: u8,
    /// Its name in text programs.
    pub name: &'static str,
    /// At most five.
    pub args: &'static [ArgDesc],
}

macro_rules! syscall_table {
    ($($nr:literal $name:ident($($arg:ident: $ty:ty),*) = $entry:path;)*) => {
        /// Every operation, by number.
        pub static OPS: &[Op] = &[$(Op {
            nr: $nr,
            name: stringify!($name),
            args: &[$(ArgDesc { name: stringify!($arg), kind: <$ty as Arg>::KIND }),*],
        }),*];

        /// A place for calls of operation `nr`; arguments are normalized bytes.
        pub(crate) fn syscall(sys: &Rc<System>, nr: u8) -> Box<dyn Place> {
            match nr {
                $($nr => place(sys, |s, args| async move {
                    #[allow(unused_mut, unused_variables, reason = "calls without arguments")]
                    let mut args = args.into_iter();
                    $entry(&s $(, <$ty as Arg>::from_byte(args.next().expect("at most five arguments")))*).await
                }),)*
                _ => unreachable!("operation {nr} is not in the table"),
            }
        }
    };
}

syscall_table! {
     1 mmap(addr: Addr, len: Len, prot: Prot, map: MapType, file: File) = memory::mmap;
     2 munmap(addr: Addr, len: Len) = memory::munmap;
     3 mremap(addr: Addr, len: Len, new: Addr) = memory::mremap;
     4 mprotect(addr: Addr, len: Len, prot: Prot) = memory::mprotect;
     5 madvise(addr: Addr, len: Len, advice: Advice) = memory::madvise;
     6 load(addr: Addr) = memory::load;
     7 store(addr: Addr, value: Value) = memory::store;
     8 execve() = memory::execve;
     9 ftruncate(file: File, len: FileLen) = memory::ftruncate;
    10 fail_nth(n: Nth) = memory::fail_nth;
    11 devdax_mmap(addr: Addr, len: Len) = memory::devdax_mmap;
    12 fork(child: Task) = memory::fork;
    13 reclaim(nr: Len) = memory::reclaim;
    14 fsync(file: File) = memory::fsync;
    15 fallocate(file: File, start: FileIndex, len: Len) = memory::fallocate;

    16 get_user_pages(pins: NewPins, addr: Addr, len: Len, flags: GupFlags) = gup::get_user_pages;
    17 pin_user_pages(pins: NewPins, addr: Addr, len: Len, flags: GupFlags) = gup::pin_user_pages;
    18 unpin_user_pages(pins: Pins) = gup::unpin_user_pages;
    19 pins_read(pins: Pins) = gup::pins_read;
    20 pins_write(pins: Pins, value: Value) = gup::pins_write;
    21 pins_verify(pins: Pins) = gup::pins_verify;

    24 dio_read(addr: Addr, len: Len, block: Block, flags: IoFlags) = io::dio_read;
    25 dio_write(addr: Addr, len: Len, block: Block, flags: IoFlags) = io::dio_write;
    26 vmsplice(pipe: Pipe, addr: Addr, len: Len, repeat: Repeat) = io::vmsplice;
    27 pipe_read(pipe: Pipe) = io::pipe_read;
    28 pipe_close(pipe: Pipe) = io::pipe_close;
    29 io_uring_register(buf: NewBuf, addr: Addr, len: Len) = io::io_uring_register;
    30 io_uring_read_fixed(buf: Buf, block: Block, flags: IoFlags) = io::io_uring_read_fixed;
    31 io_uring_unregister(buf: Buf) = io::io_uring_unregister;
    32 setxattr(inode: Inode, value: Value) = memory::setxattr;
    33 getxattr(inode: Inode) = memory::getxattr;

    40 ttm_bo_create(bo: NewBo, order: Order, caching: Caching, placement: Placement, driver: Driver) = ttm::ttm_bo_create;
    41 ttm_bo_mmap(bo: Bo, addr: Addr, len: Len, map: Sharing) = ttm::ttm_bo_mmap;
    42 ttm_bo_put(bo: Bo) = ttm::ttm_bo_put;
    43 ttm_bo_validate(bo: Bo, placement: Placement) = ttm::ttm_bo_validate;
    44 ttm_bo_swapout(bo: Bo) = ttm::ttm_bo_swapout;
    45 ttm_bo_evict(bo: Bo) = ttm::ttm_bo_evict;
    46 ttm_bo_pipeline_gutting(bo: Bo) = ttm::ttm_bo_pipeline_gutting;
    47 ttm_pool_shrink() = ttm::ttm_pool_shrink;
    48 gpu_submit(bo: Bo, value: Value, flags: GpuFlags) = ttm::gpu_submit;

    56 dma_buf_export(buf: NewDmaBuf, exporter: Exporter, order: Order, bo: Bo) = dma_buf::dma_buf_export;
    57 dma_buf_mmap(buf: DmaBuf, addr: Addr, len: Len, map: Sharing) = dma_buf::dma_buf_mmap;
    58 dma_buf_put(buf: DmaBuf) = dma_buf::dma_buf_put;

    64 collapse(addr: Addr, len: Len) = memory::collapse;
    65 move_pages(addr: Addr, len: Len) = memory::move_pages;
    66 split_huge_pages(addr: Addr, len: Len) = memory::split_huge_pages;
    67 migrate_vma(addr: Addr, len: Len) = memory::migrate_vma;
    68 memory_failure(addr: Addr, len: Len) = memory::memory_failure;
    69 compact(nr: Len) = memory::compact;
    70 migrate_to_device(addr: Addr, len: Len) = memory::migrate_to_device;

    80 userptr_create(obj: NewUserptr, addr: Addr, len: Len, driver: UserptrDriver) = userptr::userptr_create;
    81 userptr_submit(obj: Userptr, value: Value, flags: GpuFlags) = userptr::userptr_submit;
    82 userptr_put(obj: Userptr) = userptr::userptr_put;

    88 hugetlb_mmap(addr: Addr, len: Len, prot: Prot) = memory::hugetlb_mmap;
}

/// Index into [`OPS`] plus one, by number.
const BY_NR: [u8; 256] = {
    let mut by_nr = [0; 256];
    let mut i = 0;
    while i < OPS.len() {
        assert!(OPS[i].args.len() <= 5 && by_nr[OPS[i].nr as usize] == 0);
        by_nr[OPS[i].nr as usize] = i as u8 + 1;
        i += 1;
    }
    by_nr
};

/// The operation with a number.
pub fn op(nr: u8) -> Option<&'static Op> {
    match BY_NR[nr as usize] {
        0 => None,
        i => Some(&OPS[i as usize - 1]),
    }
}

/// The operation with a name.
pub fn op_by_name(name: &str) -> Option<&'static Op> {
    OPS.iter().find(|op| op.name == name)
}
