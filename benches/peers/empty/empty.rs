// SPDX-License-Identifier: GPL-2.0-or-later
//! What libFuzzer can do at most.
#![no_main]

libfuzzer_sys::fuzz_target!(|_data: &[u8]| {});
