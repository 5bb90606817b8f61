// SPDX-License-Identifier: GPL-2.0-or-later
//! Error numbers.  Linux: include/uapi/asm-generic/errno-base.h.

macro_rules! errnos {
    ($($name:ident = $nr:literal, $doc:literal;)*) => {
        /// Why a call failed.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(i32)]
        pub enum Errno { $(#[doc = $doc] $name = $nr),* }

        impl Errno {
            /// The name of the errno that a call returned as a negative number.
            pub fn name_of(ret: i32) -> Option<&'static str> {
                match -ret { $($nr => Some(stringify!($name)),)* _ => None }
            }
        }
    };
}

errnos! {
    EPERM = 1, "Operation not permitted.";
    ENOENT = 2, "No page there.";
    EINTR = 4, "Interrupted system call.";
    EIO = 5, "I/O error.";
    EBADF = 9, "No such handle.";
    EAGAIN = 11, "Try again.";
    ENOMEM = 12, "Out of memory.";
    EFAULT = 14, "Bad address.";
    EBUSY = 16, "Device or resource busy.";
    EEXIST = 17, "The handle is in use.";
    ENODEV = 19, "No such device.";
    EINVAL = 22, "Invalid argument.";
    ENOSPC = 28, "No space left.";
    EMLINK = 31, "Too many links; inside GUP: the page must be unshared.";
    EOPNOTSUPP = 95, "Operation not supported.";
    EHWPOISON = 133, "Memory page has hardware error.";
}
