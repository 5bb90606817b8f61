// SPDX-License-Identifier: GPL-2.0-or-later
//! libFuzzer: targets, their mutator and crossover, extra counters.

use gupfuzz::prog::{Generator, Target, crossover_bytes, mutate_bytes};
use std::cell::RefCell;
use std::sync::atomic::{AtomicU8, Ordering};

/// Makes the file a fuzz target.
#[macro_export]
macro_rules! target {
    ($name:literal) => {
        libfuzzer_sys::fuzz_target!(init: $crate::boot($name), |input: $crate::Input| $crate::run(input.0));
        libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
            $crate::mutate(data, size, max_size, seed)
        });
        libfuzzer_sys::fuzz_crossover!(|data1: &[u8], data2: &[u8], out: &mut [u8], seed: u32| {
            $crate::crossover(data1, data2, out, seed)
        });
    };
}

/// What is mutated: `records` of programs, or `bytes`, as libFuzzer does without us.  Unset: `records`.
pub(crate) const MUTATOR_VAR: &str = "GUPFUZZ_MUTATOR";

thread_local! {
    /// What the mutator draws from is the target's; `None`: bytes are all it knows.
    static GENERATOR: RefCell<Option<Generator>> = const { RefCell::new(None) };
}

pub(super) fn boot(target: &'static Target) -> Result<(), String> {
    let records = crate::choice(MUTATOR_VAR, ["records", "bytes"])? == "records";
    GENERATOR.set(records.then(|| Generator::new(target, 0)));
    Ok(())
}

/// For `fuzz_mutator!`: changes records; one time in eight bytes, as libFuzzer itself does.
///
/// libFuzzer's own turn is what uses compare tracing and its dictionary.
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    GENERATOR.with_borrow(|generator| match generator {
        Some(generator) if !seed.is_multiple_of(8) => mutate_bytes(data, size, max_size, seed, generator),
        _ => libfuzzer_sys::fuzzer_mutate(data, size, max_size),
    })
}

/// For `fuzz_crossover!`: joins records of two inputs.
///
/// libFuzzer draws mutator and crossover equally often, which is too much of this; after 0 it draws again.
pub fn crossover(data: &[u8], other: &[u8], out: &mut [u8], seed: u32) -> usize {
    match seed % 4 {
        0 if GENERATOR.with_borrow(Option::is_some) => crossover_bytes(data, other, out, seed),
        _ => 0,
    }
}

const NR_COUNTERS: usize = 4096;

/// Counters beside those of code coverage: libFuzzer clears them before an execution and looks
/// at them after it.  Without `#[used]` they would silently not be there.
#[used]
#[unsafe(link_section = "__libfuzzer_extra_counters")]
static COUNTERS: [AtomicU8; NR_COUNTERS] = [const { AtomicU8::new(0) }; NR_COUNTERS];

/// One value each of libFuzzer's eight classes of counts: a counter tells eight pairs apart.
const CLASSES: [u8; 8] = [1, 2, 3, 4, 8, 16, 32, 128];

/// The run reached an (object state, site) pair.
pub(super) fn count(pair: usize) {
    let counter = &COUNTERS[pair % NR_COUNTERS];
    let class = CLASSES[pair / NR_COUNTERS % CLASSES.len()];
    counter.store(class.max(counter.load(Ordering::Relaxed)), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{boot, run};
    use gupfuzz::prog::Prog;

    #[test]
    fn an_input_runs_and_counts_what_it_reached() {
        boot("mm");
        crate::SETUP.with_borrow_mut(|setup| setup.as_mut().expect("it has booted").note_states());
        run(b"0: mmap(addr=va0, len=1, prot=r|w, map=anon)\n0: store(addr=va0, value=1)\n");
        assert!(COUNTERS.iter().any(|c| c.load(Ordering::Relaxed) != 0));
        run(&[0xff; 600]);
    }

    #[test]
    fn record_mutations_stay_within_the_buffer() {
        boot("ttm");
        let mut data = [0; 256];
        let mut size = 0;
        for seed in (0..4000).filter(|seed| seed % 8 != 0) {
            size = mutate(&mut data, size, 256, seed);
            assert!(size <= 256);
            let (other, mut out) = (data, [0; 128]);
            assert!(crossover(&data[..size], &other, &mut out, seed) <= 128);
        }
        assert!(Prog::decode(&data[..size]).calls().next().is_some());
    }
}
