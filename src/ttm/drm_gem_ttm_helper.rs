// SPDX-License-Identifier: GPL-2.0-or-later
//! A buffer object as others see it.  Linux: drivers/gpu/drm/drm_gem_ttm_helper.c.

use super::ttm_bo::{ttm_bo_get, ttm_bo_put};
use super::ttm_bo_vm::ttm_bo_mmap_obj;
use super::ttm_device::TtmDevice;
use crate::dma_buf::drm_prime::GemObject;
use crate::kernel::Errno;
use crate::mm::{Boxed, Kernel, Vma};
use std::rc::Rc;

/// A buffer object, by its slot.
pub(crate) struct TtmGem {
    pub(crate) bdev: Rc<TtmDevice>,
    pub(crate) bo: u8,
}

impl GemObject for TtmGem {
    fn size(&self) -> u8 {
        self.bdev.bo(self.bo).num_pages() as u8
    }
    fn mmap(&self, k: &Kernel, vma: &mut Vma) -> Result<(), Errno> {
        ttm_bo_mmap_obj(k, &self.bdev, self.bo, vma)
    }
    fn get<'a>(&'a self, k: &'a Kernel) -> Boxed<'a, ()> {
        Box::pin(ttm_bo_get(k, &self.bdev, self.bo))
    }
    fn put<'a>(&'a self, k: &'a Kernel) -> Boxed<'a, ()> {
        Box::pin(ttm_bo_put(k, &self.bdev, self.bo))
    }
}
