// SPDX-License-Identifier: GPL-2.0-or-later
//! Memory of a process: mappings, loads and stores.

use super::args::*;
use super::{Ret, System};
use crate::fs::devdax::{DAX_VM_FLAGS, DevDax};
use crate::fs::ext4::dax::DaxFile;
use crate::fs::ext4::inode::*;
use crate::fs::ext4::xattr::*;
use crate::kernel::{Errno, down_write, enter, up_write};
use crate::limits::*;
use crate::mm::address_space::{dax_mapping, mapping_can_writeback};
use crate::mm::*;
use std::rc::Rc;

/// The end of `len` pages from `addr`.
pub(super) fn end_of(addr: Addr, len: Len) -> Result<u8, Errno> {
    let end = addr.0 + len.0;
    if end as usize <= TASK_SIZE { Ok(end) } else { Err(Errno::EINVAL) }
}

/// vm_flags of a protection; writable implies readable.  Linux: include/linux/mman.h, calc_vm_prot_bits().
pub(super) fn vm_prot(prot: Prot) -> VmFlags {
    match (prot.contains(Prot::READ), prot.contains(Prot::WRITE)) {
        (_, true) => VmFlags::READ | VmFlags::WRITE,
        (true, false) => VmFlags::READ,
        (false, false) => VmFlags::empty(),
    }
}

/// Maps an area; see [`mmap::mmap_region`].
pub(super) async fn map(s: &System, vma: &Vma) -> Ret {
    down_write(s, mmap_lock(vma.mm)).await;
    let ret = mmap::mmap_region(s, vma).await;
    up_write(s, mmap_lock(vma.mm));
    ret.map(|()| 0)
}

pub(super) async fn mmap(s: &System, addr: Addr, len: Len, prot: Prot, map_type: MapType, file: File) -> Ret {
    enter!(s);
    let (sharing, mapping) = match map_type {
        MapType::Anon => (VmFlags::empty(), NO_MAPPING),
        MapType::Private => (VmFlags::empty(), file.0),
        MapType::Shared => (VmFlags::SHARED, file.0),
    };
    let flags = vm_prot(prot) | VmFlags::MAYWRITE | sharing;
    let end = end_of(addr, len)?;
    let pgoff = if mapping == NO_MAPPING { addr.0 } else { 0 };
    let ops = dax_mapping(mapping).then(|| Rc::new(DaxFile { sb: s.ext4.clone() }) as Rc<dyn VmOps>);
    map(s, &Vma { mm: s.current_mm(), start: addr.0, end, flags, mapping, pgoff, anon_vma: false, ops }).await
}

pub(super) async fn munmap(s: &System, addr: Addr, len: Len) -> Ret {
    enter!(s);
    let (mm, end) = (s.current_mm(), end_of(addr, len)?);
    down_write(s, mmap_lock(mm)).await;
    let ret = mmap::do_munmap(s, mm, addr.0, end).await;
    up_write(s, mmap_lock(mm));
    ret.map(|()| 0)
}

pub(super) async fn mremap(s: &System, addr: Addr, len: Len, new: Addr) -> Ret {
    enter!(s);
    end_of(addr, len).and(end_of(new, len))?;
    mremap::mremap_to(s, addr.0, len.0, new.0).await.map(|()| new.0.into())
}

pub(super) async fn mprotect(s: &System, addr: Addr, len: Len, prot: Prot) -> Ret {
    enter!(s);
    mprotect::do_mprotect(s, addr.0, end_of(addr, len)?, vm_prot(prot)).await.map(|()| 0)
}

pub(super) async fn madvise(s: &System, addr: Addr, len: Len, advice: Advice) -> Ret {
    enter!(s);
    let (start, end) = (addr.0, end_of(addr, len)?);
    let ret = match advice {
        Advice::Dontneed => madvise::madvise_dontneed(s, start, end).await,
        Advice::Dontfork => madvise::madvise_flag(s, start, end, VmFlags::DONTCOPY, true).await,
        Advice::Dofork => madvise::madvise_flag(s, start, end, VmFlags::DONTCOPY, false).await,
        Advice::Hugepage => madvise::madvise_flag(s, start, end, VmFlags::HUGEPAGE, true).await,
        Advice::Nohugepage => madvise::madvise_flag(s, start, end, VmFlags::HUGEPAGE, false).await,
        Advice::Pageout => madvise::madvise_cold(s, start, end, true).await,
        Advice::Cold => madvise::madvise_cold(s, start, end, false).await,
        Advice::Free => madvise::madvise_free(s, start, end).await,
    };
    ret.map(|()| 0)
}

/// The pages go to other frames, as those of another NUMA node would be.
pub(super) async fn move_pages(s: &System, addr: Addr, len: Len) -> Ret {
    enter!(s);
    migrate::do_pages_move(s, addr.0, end_of(addr, len)?).await
}

/// A driver moves the pages to memory of its device, which is memory like any other.
pub(super) async fn migrate_vma(s: &System, addr: Addr, len: Len) -> Ret {
    enter!(s);
    migrate_device::migrate_vma(s, addr.0, end_of(addr, len)?, false).await
}

/// A driver moves the pages to memory that only its device reaches.
pub(super) async fn migrate_to_device(s: &System, addr: Addr, len: Len) -> Ret {
    enter!(s);
    migrate_device::migrate_vma(s, addr.0, end_of(addr, len)?, true).await
}

/// Up to `nr` pages of anybody go to other frames, as by /proc/sys/vm/compact_memory.
pub(super) async fn compact(s: &System, nr: Len) -> Ret {
    enter!(s);
    Ok(compaction::compact_zone(s, nr.0).await)
}

/// The pages break, as by MADV_HWPOISON.
pub(super) async fn memory_failure(s: &System, addr: Addr, len: Len) -> Ret {
    enter!(s);
    memory_failure::madvise_inject_error(s, addr.0, end_of(addr, len)?).await.map(|()| 0)
}

/// As by /sys/kernel/debug/split_huge_pages.
pub(super) async fn split_huge_pages(s: &System, addr: Addr, len: Len) -> Ret {
    enter!(s);
    huge_memory::split_huge_pages_pid(s, addr.0, end_of(addr, len)?).await
}

/// khugepaged finds the pmds of these pages, or somebody asks for it by MADV_COLLAPSE.
pub(super) async fn collapse(s: &System, addr: Addr, len: Len) -> Ret {
    enter!(s);
    let end = end_of(addr, len)?;
    let mut ret = Ok(0);
    for base in (addr.0 - addr.0 % HPAGE_PMD_NR as u8..end).step_by(HPAGE_PMD_NR) {
        ret = ret.and(khugepaged::collapse_huge_page(s, base).await.map(|()| 0));
    }
    ret
}

pub(super) async fn load(s: &System, addr: Addr) -> Ret {
    enter!(s);
    uaccess::access_user(s, addr.0, None).await.map(u32::from)
}

pub(super) async fn store(s: &System, addr: Addr, value: Value) -> Ret {
    enter!(s);
    uaccess::access_user(s, addr.0, Some(value.0)).await.map(|_| 0)
}

/// The task goes on in a new, empty address space; the other threads stay in the old one.
pub(super) async fn execve(s: &System) -> Ret {
    enter!(s);
    mmap::exec_mmap(s, false).await.map(|()| 0)
}

/// The other task goes on in a copy of our address space.
pub(super) async fn fork(s: &System, child: Task) -> Ret {
    enter!(s);
    fork::kernel_clone(s, child.0).await.map(|()| child.0.into())
}

/// Reclaims up to so many pages, as a write to memory.reclaim does.
pub(super) async fn reclaim(s: &System, nr: Len) -> Ret {
    enter!(s);
    Ok(vmscan::shrink_inactive_list(s, nr.0).await)
}

pub(super) async fn ftruncate(s: &System, file: File, len: FileLen) -> Ret {
    enter!(s);
    truncate(s, file.0, len.0).await.map(|()| 0)
}

/// Sets the size of a file, wherever that is.
pub(super) async fn truncate(s: &System, file: u8, size: u8) -> Result<(), Errno> {
    if mapping_can_writeback(file) || dax_mapping(file) {
        return ext4_setattr(s, &s.ext4, file, size).await;
    }
    shmem::shmem_truncate(s, file, size).await;
    Ok(())
}

/// Writes what is dirty of a file to its disk, and waits.
pub(super) async fn fsync(s: &System, file: File) -> Ret {
    enter!(s);
    if mapping_can_writeback(file.0) {
        ext4_sync_file(s, &s.ext4, file.0).await;
    }
    Ok(0)
}

/// FALLOC_FL_PUNCH_HOLE: pages of a file go, the others stay where they are.
pub(super) async fn fallocate(s: &System, file: File, start: FileIndex, len: Len) -> Ret {
    enter!(s);
    let end = (start.0 + len.0).min(FILE_PAGES as u8);
    if mapping_can_writeback(file.0) || dax_mapping(file.0) {
        return ext4_punch_hole(s, &s.ext4, file.0, start.0, end).await.map(|()| 0);
    }
    shmem::shmem_fallocate(s, file.0, start.0, end).await;
    Ok(0)
}

/// Which file of the page cache it is.
fn mapping_of(inode: Inode) -> u8 {
    FIRST_EXT4_FILE as u8 + inode as u8
}

pub(super) async fn setxattr(s: &System, inode: Inode, value: Value) -> Ret {
    enter!(s);
    ext4_xattr_set(s, &s.ext4, mapping_of(inode), value.0).await.map(|()| 0)
}

pub(super) async fn getxattr(s: &System, inode: Inode) -> Ret {
    enter!(s);
    ext4_xattr_get(s, &s.ext4, mapping_of(inode)).await.map(u32::from)
}

pub(super) async fn fail_nth(s: &System, n: Nth) -> Ret {
    s.set_fail_nth(n.0);
    Ok(0)
}

/// Maps memory of the dax device.  Linux: drivers/dax/device.c, dax_mmap().
pub(super) async fn devdax_mmap(s: &System, addr: Addr, len: Len) -> Ret {
    enter!(s);
    let end = end_of(addr, Len(len.0.min(NR_DEVDAX as u8)))?;
    let (flags, ops) = (DAX_VM_FLAGS, Some(Rc::new(DevDax) as Rc<dyn VmOps>));
    map(s, &Vma { mm: s.current_mm(), start: addr.0, end, flags, mapping: NO_MAPPING, pgoff: 0, anon_vma: false, ops })
        .await
}

/// MAP_HUGETLB | MAP_NORESERVE of anonymous private memory: the huge pages that hold these pages.
pub(super) async fn hugetlb_mmap(s: &System, addr: Addr, len: Len, prot: Prot) -> Ret {
    enter!(s);
    let (start, end) = hugetlb::huge_pages(addr.0, end_of(addr, len)?);
    let flags = vm_prot(prot) | VmFlags::MAYWRITE | VmFlags::HUGETLB | VmFlags::DONTEXPAND;
    let (mm, mapping) = (s.current_mm(), NO_MAPPING);
    map(s, &Vma { mm, start, end, flags, mapping, pgoff: start, anon_vma: false, ops: None }).await
}
