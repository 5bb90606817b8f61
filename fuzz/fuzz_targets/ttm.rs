// SPDX-License-Identifier: GPL-2.0-or-later
//! Buffer objects: TTM, its drivers, dma-buf, and whoever pins what they map.
#![cfg_attr(feature = "libfuzzer", no_main)]

gupfuzz_fuzz::target!("ttm");
