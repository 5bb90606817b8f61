// SPDX-License-Identifier: GPL-2.0-or-later
//! Buffer objects of a DRM driver as dma-bufs.  Linux: drivers/gpu/drm/drm_prime.c.
//!
//! Kept:       the buffer holds a reference of the object, and so does every area, by the driver's
//!             own open and close; faults are the driver's.
//! Left out:   import.

use super::DmaBufOps;
use crate::kernel::{Errno, enter};
use crate::mm::*;
use std::rc::Rc;

/// A driver's object.  Linux: include/drm/drm_gem.h, struct drm_gem_object_funcs.
pub(crate) trait GemObject {
    /// In pages.
    fn size(&self) -> u8;
    /// ->mmap: sets flags, operations, mapping and page offset of a new area; its close drops a reference.
    ///
    /// # Errors
    /// As the driver likes.
    fn mmap(&self, k: &Kernel, vma: &mut Vma) -> Result<(), Errno>;
    /// drm_gem_object_get().
    fn get<'a>(&'a self, k: &'a Kernel) -> Boxed<'a, ()>;
    /// drm_gem_object_put().
    fn put<'a>(&'a self, k: &'a Kernel) -> Boxed<'a, ()>;
}

/// An object for export; takes over the caller's reference.
pub(crate) fn drm_gem_prime_export(obj: Rc<dyn GemObject>) -> Rc<dyn DmaBufOps> {
    Rc::new(GemDmaBuf { obj })
}

struct GemDmaBuf {
    obj: Rc<dyn GemObject>,
}

impl DmaBufOps for GemDmaBuf {
    fn size(&self) -> u8 {
        self.obj.size()
    }
    fn mmap<'a>(self: Rc<Self>, k: &'a Kernel, vma: &'a mut Vma) -> Boxed<'a, Result<(), Errno>> {
        Box::pin(async move { drm_gem_prime_mmap(k, &*self.obj, vma).await })
    }
    fn release<'a>(&'a self, k: &'a Kernel) -> Boxed<'a, ()> {
        self.obj.put(k)
    }
}

async fn drm_gem_prime_mmap(k: &Kernel, obj: &dyn GemObject, vma: &mut Vma) -> Result<(), Errno> {
    enter!(k);
    obj.get(k).await;
    let ret = obj.mmap(k, vma);
    if ret.is_err() {
        obj.put(k).await;
    }
    ret
}
