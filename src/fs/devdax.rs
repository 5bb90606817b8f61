// SPDX-License-Identifier: GPL-2.0-or-later
//! Device dax: memory of a device, mapped as it is.  Linux: drivers/dax/device.c.
//!
//! Kept:       how a fault maps a page: with the devmap bit and no reference; since v6.15 as any page.
//! Left out:   huge faults, unbinding the driver.

use crate::fixes::Fix;
use crate::kernel::enter;
use crate::limits::NR_DEVDAX;
use crate::mm::memory::{PfnT, vmf_insert_mixed_prot, vmf_insert_page_mkwrite};
use crate::mm::memremap::DEVDAX_START;
use crate::mm::*;

/// The flags of an area of the device: shared, and of no special kind.
pub(crate) const DAX_VM_FLAGS: VmFlags =
    VmFlags::READ.union(VmFlags::WRITE).union(VmFlags::MAYWRITE).union(VmFlags::SHARED);

/// The device.
pub(crate) struct DevDax;

impl VmOps for DevDax {
    fn fault<'a>(&'a self, k: &'a Kernel, vma: &'a Vma, vmf: Vmf) -> Boxed<'a, VmFault> {
        Box::pin(dev_dax_fault(k, vma, vmf))
    }
    fn open<'a>(&'a self, _: &'a Kernel) -> Boxed<'a, ()> {
        Box::pin(std::future::ready(()))
    }
    fn close<'a>(&'a self, _: &'a Kernel) -> Boxed<'a, ()> {
        Box::pin(std::future::ready(()))
    }
}

async fn dev_dax_fault(k: &Kernel, vma: &Vma, vmf: Vmf) -> VmFault {
    enter!(k);
    if vmf.pgoff as usize >= NR_DEVDAX {
        return VmFault::Sigbus;
    }
    let pfn = DEVDAX_START.add(vmf.pgoff as usize);
    if k.fixed(Fix::NoDevmap) {
        return vmf_insert_page_mkwrite(k, vma, vmf.va, pfn, vmf.write).await;
    }
    vmf_insert_mixed_prot(k, vma, vmf.va, PfnT { pfn, dev: true, map: true }, vmf.write).await
}
