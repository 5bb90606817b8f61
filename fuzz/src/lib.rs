// SPDX-License-Identifier: GPL-2.0-or-later
//! What the fuzz targets share: which kernel, one machine that is booted again and again, the
//! mutator, and libFuzzer's extra counters.
//!
//! The targets differ in what they generate; any input runs the same under each of them.

use gupfuzz::fixes::Spec;
use gupfuzz::fuzz::{Fuzzer, crash_text, replay};
use gupfuzz::oracles::panic_for;
use gupfuzz::prog::{Generator, mutate_bytes, target};
use std::cell::RefCell;
use std::sync::atomic::{AtomicU8, Ordering};

/// The kernel to fuzz, as in the headers of programs: `v5.12 +pmd-special`.  Unset: `newest`.
pub const KERNEL_VAR: &str = "GUPFUZZ_KERNEL";
/// Stop only at a violation with this in its title, as `gupfuzz run --until`.  Unset: at any.
pub const UNTIL_VAR: &str = "GUPFUZZ_UNTIL";
/// Operations, with commas between, that a program must not have.  Unset: none.
pub const WITHOUT_VAR: &str = "GUPFUZZ_WITHOUT";

struct Setup {
    kernel: Spec,
    fuzzer: Fuzzer,
    generator: Generator,
}

thread_local! {
    static SETUP: RefCell<Option<Setup>> = const { RefCell::new(None) };
}

/// For `fuzz_target!(init: ...)`: reads and prints the kernel, and builds the machine.
pub fn boot(name: &str) {
    let target = target(name).unwrap_or_else(|| panic!("the library has no target `{name}`"));
    let usable = kernel().and_then(|kernel| Ok((fuzzer(&kernel)?, kernel)));
    let (fuzzer, kernel) = usable.unwrap_or_else(|error| {
        eprintln!("{error}");
        std::process::exit(2);
    });
    eprintln!("gupfuzz: target {name}, kernel {kernel}");
    SETUP.set(Some(Setup { kernel, fuzzer, generator: Generator::new(target, 0) }));
}

fn kernel() -> Result<Spec, String> {
    match variable(KERNEL_VAR)? {
        Some(text) => text.parse().map_err(|error| format!("{KERNEL_VAR}: {error}")),
        None => Ok(Spec::default()),
    }
}

fn variable(name: &str) -> Result<Option<String>, String> {
    match std::env::var(name) {
        Ok(text) => Ok(Some(text)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(error) => Err(format!("{name}: {error}")),
    }
}

/// The machine, and which of its violations count.
fn fuzzer(kernel: &Spec) -> Result<Fuzzer, String> {
    let mut fuzzer = Fuzzer::new(kernel);
    if let Some(title) = variable(UNTIL_VAR)? {
        eprintln!("gupfuzz: until `{title}`");
        fuzzer.until(title);
    }
    if let Some(names) = variable(WITHOUT_VAR)? {
        let unknown = |name| format!("{WITHOUT_VAR}: no operation is called `{name}`");
        fuzzer.without(names.split(',').map(str::trim)).map_err(unknown)?;
        eprintln!("gupfuzz: without {names}");
    }
    Ok(fuzzer)
}

fn with_setup<R>(f: impl FnOnce(&mut Setup) -> R) -> R {
    SETUP.with_borrow_mut(|setup| f(setup.as_mut().expect("libFuzzer calls the target's init first")))
}

/// Runs one input; a violation is told, and panics from a function of its oracle's own.
pub fn run(data: &[u8]) {
    with_setup(|Setup { kernel, fuzzer, .. }| {
        let found = fuzzer.run_input(data);
        fuzzer.computer().states.drain(count);
        if let Some((violation, seed)) = found {
            let prog = fuzzer.prog().clone();
            let run = replay(fuzzer.computer(), &prog, seed);
            eprintln!("{}", crash_text(&run, kernel).unwrap_or_else(|| "it does not happen again".into()));
            panic_for(&violation)
        }
    });
}

/// For `fuzz_mutator!`: changes records; one time in eight bytes, as libFuzzer itself does.
///
/// libFuzzer's own turn is what uses compare tracing and its dictionary.
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    match seed % 8 {
        0 => libfuzzer_sys::fuzzer_mutate(data, size, max_size),
        _ => with_setup(|setup| mutate_bytes(data, size, max_size, seed, &setup.generator)),
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
fn count(pair: usize) {
    let counter = &COUNTERS[pair % NR_COUNTERS];
    let class = CLASSES[pair / NR_COUNTERS % CLASSES.len()];
    counter.store(class.max(counter.load(Ordering::Relaxed)), Ordering::Relaxed);
}

#[cfg(test)]
#[path = "../../tests/all_traces/mod.rs"]
mod all_traces;

#[cfg(test)]
mod tests {
    use super::*;
    use gupfuzz::prog::Prog;

    #[test]
    fn an_input_runs_and_counts_what_it_reached() {
        boot("mm");
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
        }
        assert!(Prog::decode(&data[..size]).calls().next().is_some());
    }

    #[test]
    fn all_traces_are_those_of_the_library() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the library is above");
        println!("all traces {:016x}", all_traces::digest(root));
    }
}
