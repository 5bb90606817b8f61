// SPDX-License-Identifier: GPL-2.0-or-later
//! I/O: direct I/O, pipes, registered buffers.

use super::args::*;
use super::memory::end_of;
use super::{Ret, System};
use crate::fs::direct_io::{Kiocb, do_blockdev_direct_io};
use crate::fs::disk::blk_mq_freeze_queue;
use crate::fs::{pipe, splice};
use crate::io_uring;
use crate::kernel::enter;

pub(super) async fn dio_read(s: &System, addr: Addr, len: Len, block: Block, flags: IoFlags) -> Ret {
    enter!(s);
    dio(s, false, addr, len, block, flags).await
}

pub(super) async fn dio_write(s: &System, addr: Addr, len: Len, block: Block, flags: IoFlags) -> Ret {
    enter!(s);
    dio(s, true, addr, len, block, flags).await
}

async fn dio(s: &System, write: bool, addr: Addr, len: Len, block: Block, flags: IoFlags) -> Ret {
    end_of(addr, len)?;
    let is_async = flags.contains(IoFlags::AIO);
    let iocb = Kiocb { write, block: block.0, start: addr.0, nr: len.0, is_async };
    do_blockdev_direct_io(s, &s.disk, iocb).await
}

pub(super) async fn vmsplice(s: &System, pipe: Pipe, addr: Addr, len: Len, repeat: Repeat) -> Ret {
    enter!(s);
    end_of(addr, len)?;
    splice::vmsplice_to_pipe(s, &s.pipes[pipe.0 as usize], addr.0, len.0, repeat.0).await
}

pub(super) async fn pipe_read(s: &System, pipe: Pipe) -> Ret {
    pipe::pipe_read(s, &s.pipes[pipe.0 as usize]).await.map(u32::from)
}

pub(super) async fn pipe_close(s: &System, pipe: Pipe) -> Ret {
    enter!(s);
    pipe::pipe_release(s, &s.pipes[pipe.0 as usize]).await.map(|()| 0)
}

pub(super) async fn io_uring_register(s: &System, buf: NewBuf, addr: Addr, len: Len) -> Ret {
    enter!(s);
    end_of(addr, len)?;
    io_uring::io_sqe_buffer_register(s, &s.uring, buf.0, addr.0, len.0).await
}

pub(super) async fn io_uring_read_fixed(s: &System, buf: Buf, block: Block, flags: IoFlags) -> Ret {
    enter!(s);
    io_uring::io_read_fixed(s, &s.uring, &s.disk, buf.0, block.0, flags.contains(IoFlags::AIO)).await
}

pub(super) async fn io_uring_unregister(s: &System, buf: Buf) -> Ret {
    enter!(s);
    io_uring::io_sqe_buffer_unregister(s, &s.uring, buf.0).await
}

/// Waits for I/O in flight, then closes what is open.
pub(super) async fn close_all(s: &System) {
    enter!(s);
    blk_mq_freeze_queue(s, &s.disk).await;
    for pipe in s.pipes.iter().filter(|pipe| pipe.is_open()) {
        let closed = pipe::pipe_release(s, pipe).await;
        assert!(closed.is_ok(), "nobody else closes pipes any more");
    }
    for buf in s.uring.registered() {
        let unregistered = io_uring::io_sqe_buffer_unregister(s, &s.uring, buf).await;
        assert!(unregistered.is_ok(), "nobody else unregisters buffers any more");
    }
}
