// SPDX-License-Identifier: GPL-2.0-or-later
//! Types of arguments.  Each maps any byte into its range, so that any bytes are a program.

use crate::limits::*;
use bitflags::bitflags;

/// Kinds of handles, [`NR_HANDLES`] slots each, and the letter they are written with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum HandleKind {
    /// Buffer objects, `b0`.
    Bo,
    /// Files in shmem and on a disk, `f0`.
    File,
    /// Pipes, `p0`.
    Pipe,
    /// dma-bufs, `d0`.
    DmaBuf,
    /// Pages that get_user_pages handed out, `g0`.
    Pins,
    /// Registered buffers of an io_uring, `r0`.
    Buf,
    /// User memory of a GPU, `u0`.
    Userptr,
}

impl HandleKind {
    /// How many kinds there are.
    pub const COUNT: usize = HandleKind::Userptr as usize + 1;

    /// Whether its pages can be mapped; the other kinds hold references of pages.
    pub(crate) const fn is_mapped(self) -> bool {
        matches!(self, HandleKind::Bo | HandleKind::File | HandleKind::DmaBuf)
    }

    /// The letter.
    pub const fn letter(self) -> char {
        ['b', 'f', 'p', 'd', 'g', 'r', 'u'][self as usize]
    }
}

/// How an argument is encoded in its byte and written as text.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum ArgKind {
    /// A page of the address space: `va0` to `va63`, byte 0 to 63.
    Addr,
    /// A number from `min`: byte 0 is `min`.
    Num {
        /// Smallest value.
        min: u16,
        /// Largest value.
        max: u16,
    },
    /// One of some numbers: byte i is the i-th.
    OneOf(&'static [u32]),
    /// One of some words: byte i is the i-th.
    Enum(&'static [&'static str]),
    /// Any of some words, joined by `|`, or `0`: bit i is the i-th.
    Flags(&'static [&'static str]),
    /// A slot of handles; `new`: the call fills it.
    Handle {
        /// What the slot holds.
        kind: HandleKind,
        /// The call fills the slot.
        new: bool,
    },
}

impl ArgKind {
    /// How many different values there are; they are the bytes from 0 on.
    pub const fn values(self) -> usize {
        match self {
            ArgKind::Addr => TASK_SIZE,
            ArgKind::Num { min, max } => (max - min) as usize + 1,
            ArgKind::OneOf(all) => all.len(),
            ArgKind::Enum(all) => all.len(),
            ArgKind::Flags(all) => 1 << all.len(),
            ArgKind::Handle { .. } => NR_HANDLES,
        }
    }

    /// The byte of a word.
    pub(crate) fn byte_of(self, word: &str) -> Option<u8> {
        match self {
            ArgKind::Enum(all) => all.iter().position(|other| *other == word).map(|i| i as u8),
            _ => None,
        }
    }

    /// Any byte, mapped into the range.
    pub const fn normalize(self, byte: u8) -> u8 {
        (byte as usize % self.values()) as u8
    }
}

/// An argument type of an entry point.
pub(crate) trait Arg: Sized {
    const KIND: ArgKind;
    /// From a normalized byte.
    fn from_byte(byte: u8) -> Self;
}

/// A slot of handles of some kind.
macro_rules! handles {
    ($($(#[$doc:meta])* $name:ident $(+ $new:ident)?: $kind:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) struct $name(pub(crate) u8);
        impl Arg for $name {
            const KIND: ArgKind = ArgKind::Handle { kind: HandleKind::$kind, new: false };
            fn from_byte(byte: u8) -> Self { $name(byte) }
        }
        $(
            /// The same, to be filled by the call.
            #[derive(Clone, Copy, PartialEq, Eq, Debug)]
            pub(crate) struct $new(pub(crate) u8);
            impl Arg for $new {
                const KIND: ArgKind = ArgKind::Handle { kind: HandleKind::$kind, new: true };
                fn from_byte(byte: u8) -> Self { $new(byte) }
            }
        )?
    )*};
}

handles! {
    /// A buffer object.
    Bo + NewBo: Bo;
    /// A pipe; made by the first vmsplice into it.
    Pipe: Pipe;
    /// A dma-buf.
    DmaBuf + NewDmaBuf: DmaBuf;
    /// Pinned pages.
    Pins + NewPins: Pins;
    /// A registered buffer.
    Buf + NewBuf: Buf;
    /// User memory of a GPU.
    Userptr + NewUserptr: Userptr;
    /// A file, which always exists: the first ones in shmem, `f4` and `f5` on a disk.
    File: File;
}

/// Numbers that are wrapped as they are.
macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident($ty:ty) = $kind:expr, |$byte:ident| $value:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) struct $name(pub(crate) $ty);
        impl Arg for $name {
            const KIND: ArgKind = $kind;
            fn from_byte($byte: u8) -> Self { $name($value) }
        }
    )*};
}

const REPEATS: &[u32] = &[1, 2, 16, 256, 1024];

numbers! {
    /// A page-aligned address, as a page number.
    Addr(u8) = ArgKind::Addr, |b| b;
    /// A length in pages, from 1.
    Len(u8) = ArgKind::Num { min: 1, max: 8 }, |b| b + 1;
    /// A length a file can be truncated to, in pages.
    FileLen(u8) = ArgKind::Num { min: 0, max: FILE_PAGES as u16 }, |b| b;
    /// A page of a file.
    FileIndex(u8) = ArgKind::Num { min: 0, max: FILE_PAGES as u16 - 1 }, |b| b;
    /// A byte to store.
    Value(u8) = ArgKind::Num { min: 0, max: 255 }, |b| b;
    /// A block of the disk.
    Block(u8) = ArgKind::Num { min: 0, max: NR_BLOCKS as u16 - 1 }, |b| b;
    /// log2 of a number of pages.
    Order(u8) = ArgKind::Num { min: 0, max: MAX_ORDER as u16 }, |b| b;
    /// A user task.
    Task(u8) = ArgKind::Num { min: 0, max: NR_USER_TASKS as u16 - 1 }, |b| b;
    /// Which allocation fails.
    Nth(u8) = ArgKind::Num { min: 1, max: 16 }, |b| b + 1;
    /// How often.
    Repeat(u32) = ArgKind::OneOf(REPEATS), |b| REPEATS[b as usize];
}

/// Enums written as words.
macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub(crate) enum $name { $($(#[$vdoc])* $variant),* }
        impl Arg for $name {
            const KIND: ArgKind = ArgKind::Enum(&[$($word),*]);
            fn from_byte(byte: u8) -> Self { [$($name::$variant),*][byte as usize] }
        }
    )*};
}

words! {
    /// What is mapped.
    MapType {
        /// MAP_PRIVATE | MAP_ANONYMOUS.
        Anon = "anon",
        /// MAP_SHARED of a file.
        Shared = "shared",
        /// MAP_PRIVATE of a file.
        Private = "private",
    }
    /// MAP_SHARED or MAP_PRIVATE of a device or dma-buf.
    Sharing {
        /// MAP_SHARED.
        Shared = "shared",
        /// MAP_PRIVATE.
        Private = "private",
    }
    /// A file on a disk.
    Inode {
        /// The first of them.
        F4 = "f4",
        /// The second.
        F5 = "f5",
    }
    /// Advice of madvise.
    Advice {
        /// MADV_DONTNEED.
        Dontneed = "dontneed",
        /// MADV_DONTFORK.
        Dontfork = "dontfork",
        /// MADV_DOFORK.
        Dofork = "dofork",
        /// MADV_HUGEPAGE.
        Hugepage = "hugepage",
        /// MADV_NOHUGEPAGE.
        Nohugepage = "nohugepage",
        /// MADV_PAGEOUT.
        Pageout = "pageout",
        /// MADV_COLD.
        Cold = "cold",
        /// MADV_FREE.
        Free = "free",
    }
    /// How the CPU maps pages of a buffer object.
    Caching {
        /// Write-back.
        Cached = "cached",
        /// Write-combined.
        Wc = "wc",
        /// Uncached.
        Uc = "uc",
    }
    /// Where a buffer object lives.
    Placement {
        /// TTM_PL_SYSTEM.
        System = "system",
        /// TTM_PL_VRAM: device memory without struct pages.
        Vram = "vram",
    }
    /// The driver of a buffer object.
    Driver {
        /// vmwgfx: wires huge faults.
        Vmwgfx = "vmwgfx",
        /// amdgpu: does not.
        Amdgpu = "amdgpu",
    }
    /// The driver of user memory of a GPU.
    UserptrDriver {
        /// i915: pins the pages.
        I915 = "i915",
        /// xe: holds no reference.
        Xe = "xe",
    }
    /// Who exports a dma-buf, and so how it is mapped.
    Exporter {
        /// A TTM buffer object.
        Ttm = "ttm",
        /// drm_gem_shmem_helper: vm_insert_page, later vmf_insert_pfn.
        Shmem = "shmem",
        /// vgem and udmabuf: a fault handler that returns the page.
        Vgem = "vgem",
        /// system_heap: remap_pfn_range.
        SystemHeap = "system_heap",
    }
}

bitflags! {
    /// Protection of a mapping.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(crate) struct Prot: u8 {
        /// PROT_READ.
        const READ = 1;
        /// PROT_WRITE.
        const WRITE = 2;
    }
    /// How to get user pages.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(crate) struct GupFlags: u8 {
        /// FOLL_WRITE.
        const WRITE = 1;
        /// FOLL_LONGTERM.
        const LONGTERM = 2;
        /// By the lockless path first (`*_fast`).
        const FAST = 4;
    }
    /// How to do I/O.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(crate) struct IoFlags: u8 {
        /// Return after submission.
        const AIO = 1;
    }
    /// What a GPU job does.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(crate) struct GpuFlags: u8 {
        /// It writes; else it reads.
        const WRITE = 1;
    }
}

macro_rules! flag_words {
    ($($name:ident: $($word:literal)*;)*) => {$(
        impl Arg for $name {
            const KIND: ArgKind = ArgKind::Flags(&[$($word),*]);
            fn from_byte(byte: u8) -> Self { $name::from_bits_truncate(byte) }
        }
    )*};
}

flag_words! {
    Prot: "r" "w";
    GupFlags: "write" "longterm" "fast";
    IoFlags: "aio";
    GpuFlags: "write";
}
