// SPDX-License-Identifier: GPL-2.0-or-later
//! The mutator of the fuzz targets as a custom mutator library of AFL++: its C interface, and no more.
//!
//! AFL++ calls it beside its own mutations, or instead of them with `AFL_CUSTOM_MUTATOR_ONLY=1`.

use fastrand::Rng;
use gupfuzz::prog::{Generator, crossover_bytes, mutate_bytes, target};
use std::ffi::{c_uint, c_void};
use std::slice::from_raw_parts;

/// Which target's operations to draw; unset: `mm`.
pub const TARGET_VAR: &str = "GUPFUZZ_TARGET";

/// What one instance of `afl-fuzz` owns.
pub struct Mutator {
    generator: Generator,
    rng: Rng,
    /// The input that was made last; AFL++ reads it until the next call.
    out: Vec<u8>,
}

impl Mutator {
    fn new(seed: u32) -> Result<Mutator, String> {
        let name = std::env::var(TARGET_VAR).unwrap_or_else(|_| "mm".into());
        let target = target(&name).ok_or_else(|| format!("{TARGET_VAR}: no target is called `{name}`"))?;
        Ok(Mutator { generator: Generator::new(target, 0), rng: Rng::with_seed(seed.into()), out: Vec::new() })
    }

    /// A new input near `data`; one in four has parts of `other`.
    fn mutate(&mut self, data: &[u8], other: &[u8], max_size: usize) -> &mut [u8] {
        self.out.resize(max_size.max(data.len()), 0);
        let mut size = data.len();
        self.out[..size].copy_from_slice(data);
        if !other.is_empty() && self.rng.u8(0..4) == 0 {
            size = crossover_bytes(data, other, &mut self.out[..max_size], self.rng.u32(..));
        }
        size = mutate_bytes(&mut self.out, size, max_size, self.rng.u32(..), &self.generator);
        &mut self.out[..size]
    }
}

/// AFL++ makes a mutator; null, and it gives up.
#[unsafe(no_mangle)]
pub extern "C" fn afl_custom_init(_afl: *mut c_void, seed: c_uint) -> *mut Mutator {
    match Mutator::new(seed) {
        Ok(mutator) => Box::into_raw(Box::new(mutator)),
        Err(error) => {
            eprintln!("{error}");
            std::ptr::null_mut()
        }
    }
}

/// AFL++ asks for an input; returns its size.
///
/// # Safety
/// `mutator` is of [`afl_custom_init`] and in no other call; `buf` and `add_buf`, unless null, have
/// the given sizes; `out_buf` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn afl_custom_fuzz(
    mutator: *mut Mutator,
    buf: *mut u8,
    buf_size: usize,
    out_buf: *mut *mut u8,
    add_buf: *mut u8,
    add_buf_size: usize,
    max_size: usize,
) -> usize {
    let bytes = |data: *mut u8, size| if data.is_null() { &[][..] } else { unsafe { from_raw_parts(data, size) } };
    let (data, other) = (bytes(buf, buf_size), bytes(add_buf, add_buf_size));
    let out = unsafe { &mut *mutator }.mutate(data, other, max_size);
    unsafe { *out_buf = out.as_mut_ptr() };
    out.len()
}

/// AFL++ ends.
///
/// # Safety
/// `mutator` is of [`afl_custom_init`], and not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn afl_custom_deinit(mutator: *mut Mutator) {
    drop(unsafe { Box::from_raw(mutator) });
}

#[cfg(test)]
mod tests {
    use super::*;
    use gupfuzz::prog::Prog;
    use std::ptr::null_mut;

    /// What AFL++ does: a mutator of a seed, a queue entry, another to splice with, room for so many bytes.
    fn inputs(seed: u32, max_size: usize) -> Vec<Vec<u8>> {
        let mutator = afl_custom_init(null_mut(), seed);
        let mut data = b"0: mmap(addr=va0, len=1, prot=r|w, map=anon)\n".to_vec();
        let mut other = data.clone();
        let inputs = (0..200).map(|i| {
            let (add, add_size) = if i % 2 == 0 { (null_mut(), 0) } else { (other.as_mut_ptr(), other.len()) };
            let mut out = null_mut();
            // SAFETY: as the function asks.
            let made = unsafe {
                let size = afl_custom_fuzz(mutator, data.as_mut_ptr(), data.len(), &mut out, add, add_size, max_size);
                from_raw_parts(out, size).to_vec()
            };
            other = std::mem::replace(&mut data, made.clone());
            made
        });
        let inputs = inputs.collect();
        // SAFETY: it is not used again.
        unsafe { afl_custom_deinit(mutator) };
        inputs
    }

    #[test]
    fn its_inputs_are_programs_that_fit_and_its_seed_decides() {
        for max_size in [64, 512] {
            let made = inputs(7, max_size);
            assert_eq!(made, inputs(7, max_size));
            assert_ne!(made, inputs(8, max_size));
            for data in &made {
                let prog = Prog::decode(data);
                assert!(data.len() <= max_size && prog.calls().next().is_some() && prog.encode() == *data, "{prog}");
            }
            assert!(made.windows(2).filter(|two| two[0] != two[1]).count() > 150);
        }
    }
}
