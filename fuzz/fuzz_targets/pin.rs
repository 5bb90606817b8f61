// SPDX-License-Identifier: GPL-2.0-or-later
//! Pinned pages against reclaim, swap, migration, collapse and fork.
#![no_main]

use gupfuzz_fuzz::{boot, mutate, run};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_target!(init: boot("pin"), |data: &[u8]| run(data));
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| { mutate(data, size, max_size, seed) });
