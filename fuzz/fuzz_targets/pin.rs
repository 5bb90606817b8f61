// SPDX-License-Identifier: GPL-2.0-or-later
//! Pinned pages against reclaim, swap, migration, collapse and fork.
#![cfg_attr(feature = "libfuzzer", no_main)]

gupfuzz_fuzz::target!("pin");
