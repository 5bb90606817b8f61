// SPDX-License-Identifier: GPL-2.0-or-later
//! AFL++: persistent targets.  The mutator is a library of its own, `../afl_mutator`.

use gupfuzz::prog::Target;
use std::sync::atomic::AtomicU32;

/// Makes the file a fuzz target.
#[macro_export]
macro_rules! target {
    ($name:literal) => {
        fn main() {
            $crate::boot($name);
            afl::fuzz!(|data: &[u8]| $crate::run(data));
        }
    };
}

/// The mutator knows its target from its environment.
pub(super) fn boot(_target: &Target) -> Result<(), String> {
    Ok(())
}

/// AFL++ gives states a place beside code in its map if the target has this; its runtime writes it, too.
#[unsafe(no_mangle)]
static __afl_ijon_enabled: AtomicU32 = AtomicU32::new(1);

/// The run reached an (object state, site) pair.
pub(super) fn count(pair: usize) {
    // SAFETY: the function checks the number, and that AFL++ is there.
    unsafe { afl::ijon_set(pair as u32, 0) }
}
