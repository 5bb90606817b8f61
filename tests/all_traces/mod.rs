// SPDX-License-Identifier: GPL-2.0-or-later
//! One number for the traces of every corpus program and of 10,000 generated ones, whoever asks: the
//! tests in debug, in release, and those of the fuzz crate.  `.ci/run` compares what they print.

use gupfuzz::fixes::Spec;
use gupfuzz::init::{Observe, start_kernel};
use gupfuzz::prog::{Generator, Prog, Script, TARGETS};
use std::path::Path;

const KERNELS: &[&str] = &["newest", "v7.2", "v6.12", "v6.1", "v5.12"];
/// Programs a kernel and target: 10,000 in all.
const PROGRAMS: usize = 1000;

/// `root` is where `corpus/` is.
pub(crate) fn digest(root: &Path) -> u64 {
    let mut digest = 0_u64;
    let mut add = |trace: u64| digest = (digest.rotate_left(7) ^ trace).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for folder in ["stories", "regress", "quiet"] {
        let entries = std::fs::read_dir(root.join("corpus").join(folder)).expect("a folder of the corpus");
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        for path in paths {
            let script = Script::parse(&std::fs::read_to_string(&path).expect("text")).expect("a program");
            let kernel: Spec = script.kernel.as_deref().unwrap_or("newest").parse().expect("a kernel");
            let prog = &script.prog;
            for i in 0..u32::from(prog.burst) {
                add(start_kernel(kernel.fixes).run(prog, prog.seed.wrapping_add(i), Observe::Digest).digest);
            }
        }
    }
    for (i, kernel) in KERNELS.iter().enumerate() {
        for target in TARGETS {
            let mut computer = start_kernel(kernel.parse::<Spec>().expect("a kernel").fixes);
            let mut generator = Generator::new(target, 100 + i as u64);
            let mut prog = Prog::default();
            for _ in 0..PROGRAMS {
                generator.generate(&mut prog);
                add(computer.run(&prog, prog.seed, Observe::Digest).digest);
            }
        }
    }
    digest
}
