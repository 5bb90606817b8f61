// SPDX-License-Identifier: GPL-2.0-or-later
//! What the fuzz targets share: which kernel, and one machine that is booted again and again.
//!
//! The targets differ in what they generate; any input runs the same under each of them.  A target
//! names no engine: [`target!`] makes it one for libFuzzer, or for AFL++ with `--no-default-features
//! --features afl`.

#[cfg(all(feature = "afl", feature = "libfuzzer"))]
compile_error!("one engine at a time: AFL++ needs --no-default-features");

#[cfg(feature = "afl")]
mod aflplusplus;
#[cfg(feature = "libfuzzer")]
mod libfuzzer;

#[cfg(feature = "afl")]
use aflplusplus as engine;
#[cfg(feature = "libfuzzer")]
use libfuzzer as engine;
#[cfg(feature = "libfuzzer")]
pub use libfuzzer::{crossover, mutate};

use arbitrary::{Arbitrary, Unstructured};
use gupfuzz::fixes::Spec;
use gupfuzz::fuzz::{Fuzzer, crash_text, replay};
use gupfuzz::oracles::panic_for;
use gupfuzz::prog::{Prog, target};
use std::cell::RefCell;
use std::fmt;

/// The kernel to fuzz, as in the headers of programs: `v5.12 +pmd-special`.  Unset: `newest`.
pub const KERNEL_VAR: &str = "GUPFUZZ_KERNEL";
/// Stop only at a violation with this in its title, as `gupfuzz run --until`.  Unset: at any.
pub const UNTIL_VAR: &str = "GUPFUZZ_UNTIL";
/// Operations, with commas between, that a program must not have.  Unset: none.
pub const WITHOUT_VAR: &str = "GUPFUZZ_WITHOUT";
/// What is feedback beside code coverage: `states`, pairs of an object's state and a site, or
/// `none`.  Unset: `none`, for states cost up to half as much again and find nothing sooner.
pub const FEEDBACK_VAR: &str = "GUPFUZZ_FEEDBACK";

struct Setup {
    kernel: Spec,
    fuzzer: Fuzzer,
    /// Whether states are feedback.
    states: bool,
    inputs: u64,
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gupfuzz: {} inputs, {} programs", self.inputs, self.fuzzer.programs())
    }
}

/// Who ends without a violation tells how many interleavings its inputs were, too.
impl Drop for Setup {
    fn drop(&mut self) {
        eprintln!("{self}");
    }
}

thread_local! {
    static SETUP: RefCell<Option<Setup>> = const { RefCell::new(None) };
}

/// Before the first input: reads and prints the kernel, and builds the machine.
pub fn boot(name: &str) {
    let target = target(name).unwrap_or_else(|| panic!("the library has no target `{name}`"));
    let setup = setup().and_then(|setup| Ok((engine::boot(target)?, setup).1));
    let setup = setup.unwrap_or_else(|error| {
        eprintln!("{error}");
        std::process::exit(2);
    });
    eprintln!("gupfuzz: target {name}, kernel {}", setup.kernel);
    SETUP.set(Some(setup));
}

fn setup() -> Result<Setup, String> {
    let kernel = kernel()?;
    let fuzzer = fuzzer(&kernel)?;
    let mut setup = Setup { kernel, fuzzer, states: false, inputs: 0 };
    if choice(FEEDBACK_VAR, ["none", "states"])? == "states" {
        setup.note_states();
    }
    Ok(setup)
}

impl Setup {
    /// States are feedback from here on.
    fn note_states(&mut self) {
        self.fuzzer.computer().note_states();
        self.states = true;
    }
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

/// One of two words, the first if nothing is said.
fn choice(name: &str, words: [&'static str; 2]) -> Result<&'static str, String> {
    let Some(text) = variable(name)? else { return Ok(words[0]) };
    let word = words.into_iter().find(|word| *word == text);
    let word = word.ok_or_else(|| format!("{name}: expected {} or {}", words[0], words[1]))?;
    eprintln!("gupfuzz: {name} is {word}");
    Ok(word)
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

/// Runs one input; a violation is told, and panics from a function of its oracle's own.
pub fn run(data: &[u8]) {
    SETUP.with_borrow_mut(|setup| {
        let setup = setup.as_mut().expect("a target boots first");
        setup.inputs += 1;
        let Setup { kernel, fuzzer, states, .. } = setup;
        let found = fuzzer.run_input(data);
        if *states {
            fuzzer.computer().states().drain(engine::count);
        }
        if let Some((violation, seed)) = found {
            let prog = fuzzer.prog().clone();
            let run = replay(fuzzer.computer(), &prog, seed);
            eprintln!("{}", crash_text(&run, kernel).unwrap_or_else(|| "it does not happen again".into()));
            eprintln!("{setup}");
            panic_for(&violation)
        }
    });
}

/// An input of a typed target.  It prints as the text of its program: see `cargo fuzz fmt`.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Arbitrary<'a> for Input<'a> {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Input<'a>> {
        Ok(Input(u.bytes(u.len())?))
    }

    fn arbitrary_take_rest(u: Unstructured<'a>) -> arbitrary::Result<Input<'a>> {
        Ok(Input(u.take_rest()))
    }
}

impl fmt::Debug for Input<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Prog::from_input(self.0), f)
    }
}

#[cfg(test)]
#[path = "../../tests/all_traces/mod.rs"]
mod all_traces;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_prints_as_text() {
        let text = "schedule: pos\n\n0: load(addr=va3)\n1: store(addr=va4, value=1) &\n";
        let bytes = Prog::from_input(text.as_bytes()).encode();
        for data in [text.as_bytes(), &bytes] {
            let input = Input::arbitrary_take_rest(Unstructured::new(data)).unwrap();
            assert_eq!(input.0, data);
            assert_eq!(Prog::from_input(format!("{input:#?}").as_bytes()), Prog::decode(&bytes));
        }
    }

    #[test]
    fn all_traces_are_those_of_the_library() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the library is above");
        println!("all traces {:016x}", all_traces::digest(root));
    }
}
