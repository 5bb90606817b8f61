// SPDX-License-Identifier: GPL-2.0-or-later
//! Memory management: GUP, faults and unmapping, direct I/O, pipes, registered buffers.
#![no_main]

gupfuzz_fuzz::target!("mm");
