// SPDX-License-Identifier: GPL-2.0-or-later
//! Same program, same kernel: same trace, whatever ran before on the machine.

mod all_traces;

use gupfuzz::fixes::Spec;
use gupfuzz::init::{Observe, Outcome, start_kernel};
use gupfuzz::limits::MAX_STEPS;
use gupfuzz::prog::{Generator, Prog, Script, TARGETS};

const KERNELS: &[&str] = &["newest", "v7.2", "v6.12", "v6.1", "v5.12", "v5.10", "v5.7"];

#[test]
fn generated_programs_run_the_same_on_a_used_and_on_a_new_machine() {
    for (i, kernel) in KERNELS.iter().enumerate() {
        let spec: Spec = kernel.parse().unwrap();
        for target in TARGETS {
            let mut generator = Generator::new(target, i as u64);
            let mut used = start_kernel(spec.fixes);
            let mut prog = Prog::default();
            for _ in 0..750 {
                generator.generate(&mut prog);
                let text = Script::parse(&prog.to_string()).unwrap().prog;
                assert_eq!(text, prog);
                let a = used.run(&prog, prog.seed, Observe::Digest);
                let b = start_kernel(spec.fixes).run(&Prog::decode(&prog.encode()), prog.seed, Observe::Keep);
                let came_to = |run: &Outcome| {
                    let violation = run.violation().map(|v| (v.title(), v.message.clone(), v.alternatives.clone()));
                    (run.digest, run.steps, run.calls, run.pin_across_unmap, violation)
                };
                assert_eq!(came_to(&a), came_to(&b), "{kernel} {}\n{prog}", target.name);
            }
        }
    }
}

#[test]
fn any_bytes_end_within_the_step_limit() {
    let mut rng = fastrand::Rng::with_seed(1);
    for kernel in KERNELS {
        let mut computer = start_kernel(kernel.parse::<Spec>().unwrap().fixes);
        for size in [0, 1, 7, 8, 9, 15, 16, 64, 100, 500, 513, 4096, 1 << 20] {
            for _ in 0..20 {
                let bytes: Vec<u8> = (0..size).map(|_| rng.u8(..)).collect();
                computer.run_burst(&Prog::from_input(&bytes), |outcome| assert!(outcome.steps <= MAX_STEPS));
            }
        }
    }
}

#[test]
fn all_traces_have_one_digest() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let digest = all_traces::digest(root);
    assert_eq!(digest, all_traces::digest(root));
    println!("all traces {digest:016x}");
}
