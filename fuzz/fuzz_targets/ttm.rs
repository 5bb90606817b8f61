// SPDX-License-Identifier: GPL-2.0-or-later
//! Buffer objects: TTM, its drivers, dma-buf, and whoever pins what they map.
#![no_main]

use gupfuzz_fuzz::{boot, mutate, run};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_target!(init: boot("ttm"), |data: &[u8]| run(data));
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| { mutate(data, size, max_size, seed) });
