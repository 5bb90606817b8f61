// SPDX-License-Identifier: GPL-2.0-or-later
//! Memory management: GUP, faults and unmapping, direct I/O, pipes, registered buffers.
#![cfg_attr(feature = "libfuzzer", no_main)]

gupfuzz_fuzz::target!("mm");
