// SPDX-License-Identifier: GPL-2.0-or-later
//! Everything a program can reach: memory, and what handles stand for.

use crate::dma_buf::DmaBuf;
use crate::drivers::Gpu;
use crate::fixes::FixSet;
use crate::fs::bdev::kill_bdev;
use crate::fs::disk::Gendisk;
use crate::fs::ext4::inode::ext4_fill_super;
use crate::fs::ext4::page_io::Ext4SbInfo;
use crate::fs::pipe::PipeInodeInfo;
use crate::io_uring::IoRingCtx;
use crate::kernel::Draw;
use crate::limits::NR_HANDLES;
use crate::mm::Kernel;
use crate::mm::gup::Pages;
use crate::mm::memory_failure::unpoison_memory;
use crate::mm::swapfile::try_to_unuse;
use crate::trace::Pin;
use crate::ttm::TtmDevice;
use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::rc::Rc;

/// Pages a task got by get_user_pages or pin_user_pages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PinSlot {
    pub(crate) pages: Pages,
    pub(crate) pin: Pin,
    /// They were taken to be written.
    pub(crate) write: bool,
    /// Calls that use them at the moment.
    pub(crate) users: u8,
}

/// The whole machine.
pub struct System {
    kernel: Kernel,
    pub(crate) pins: [Cell<Option<PinSlot>>; NR_HANDLES],
    pub(crate) disk: Gendisk,
    pub(crate) ext4: Rc<Ext4SbInfo>,
    pub(crate) pipes: [PipeInodeInfo; NR_HANDLES],
    pub(crate) uring: IoRingCtx,
    pub(crate) ttm: Rc<TtmDevice>,
    pub(crate) gpu: Gpu,
    pub(crate) dma_bufs: [RefCell<Option<Rc<DmaBuf>>>; NR_HANDLES],
}

impl Deref for System {
    type Target = Kernel;
    fn deref(&self) -> &Kernel {
        &self.kernel
    }
}

impl System {
    pub(crate) fn new(fixes: FixSet) -> System {
        let (kernel, ext4) = (Kernel::new(fixes), Rc::new(Ext4SbInfo::default()));
        ext4_fill_super(&kernel, &ext4);
        System {
            kernel,
            pins: std::array::from_fn(|_| Cell::new(None)),
            disk: Gendisk::new(),
            ext4,
            pipes: std::array::from_fn(PipeInodeInfo::new),
            uring: IoRingCtx::new(),
            ttm: Rc::new(TtmDevice::new()),
            gpu: Gpu::default(),
            dma_bufs: std::array::from_fn(|_| RefCell::default()),
        }
    }

    /// Back to the state after boot.
    pub(crate) fn reset(&self, fixes: FixSet, draw: Draw) {
        self.kernel.reset(fixes, draw);
        self.pins.iter().for_each(|p| p.set(None));
        self.disk.reset();
        self.ext4.reset();
        self.pipes.iter().for_each(PipeInodeInfo::reset);
        self.uring.reset();
        self.ttm.reset();
        self.gpu.reset();
        self.dma_bufs.iter().for_each(|buf| drop(buf.take()));
    }

    /// Closes every handle; the epilogue's last call.
    pub(crate) async fn close_all(&self) {
        super::io::close_all(self).await;
        super::gup::close_all(self).await;
        super::userptr::close_all(self).await;
        super::dma_buf::close_all(self).await;
        super::ttm::close_all(self).await;
        for file in 0..NR_HANDLES as u8 {
            if self.peek_mapping(file).next().is_some() {
                let truncated = super::memory::truncate(self, file, 0).await;
                assert!(truncated.is_ok(), "nobody uses a block any more");
            }
        }
        kill_bdev(self).await;
        unpoison_memory(self).await;
        if self.swap.peek_used() > 0 {
            try_to_unuse(self).await;
        }
    }
}
