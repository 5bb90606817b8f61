// SPDX-License-Identifier: GPL-2.0-or-later
//! Programs: every form of a program is the same program.

use gupfuzz::entry::{OPS, op_by_name};
use gupfuzz::limits::{MAX_CALLS, MAX_RECORDS};
use gupfuzz::prog::{
    Call, Generator, Place, Prog, Rec, ScheduleKind, Script, TARGETS, mutate, mutate_bytes, splice, target,
};

/// Numbers and order of arguments are ABI: a line may be added, never changed.
const ABI: &[(u8, &str)] = &[
    (1, "mmap(addr len prot map file)"),
    (2, "munmap(addr len)"),
    (3, "mremap(addr len new)"),
    (4, "mprotect(addr len prot)"),
    (5, "madvise(addr len advice)"),
    (6, "load(addr)"),
    (7, "store(addr value)"),
    (8, "execve()"),
    (9, "ftruncate(file len)"),
    (10, "fail_nth(n)"),
    (11, "devdax_mmap(addr len)"),
    (12, "fork(child)"),
    (13, "reclaim(nr)"),
    (14, "fsync(file)"),
    (15, "fallocate(file start len)"),
    (16, "get_user_pages(pins addr len flags)"),
    (17, "pin_user_pages(pins addr len flags)"),
    (18, "unpin_user_pages(pins)"),
    (19, "pins_read(pins)"),
    (20, "pins_write(pins value)"),
    (21, "pins_verify(pins)"),
    (24, "dio_read(addr len block flags)"),
    (25, "dio_write(addr len block flags)"),
    (26, "vmsplice(pipe addr len repeat)"),
    (27, "pipe_read(pipe)"),
    (28, "pipe_close(pipe)"),
    (29, "io_uring_register(buf addr len)"),
    (30, "io_uring_read_fixed(buf block flags)"),
    (31, "io_uring_unregister(buf)"),
    (32, "setxattr(inode value)"),
    (33, "getxattr(inode)"),
    (40, "ttm_bo_create(bo order caching placement driver)"),
    (41, "ttm_bo_mmap(bo addr len map)"),
    (42, "ttm_bo_put(bo)"),
    (43, "ttm_bo_validate(bo placement)"),
    (44, "ttm_bo_swapout(bo)"),
    (45, "ttm_bo_evict(bo)"),
    (46, "ttm_bo_pipeline_gutting(bo)"),
    (47, "ttm_pool_shrink()"),
    (48, "gpu_submit(bo value flags)"),
    (56, "dma_buf_export(buf exporter order bo)"),
    (57, "dma_buf_mmap(buf addr len map)"),
    (58, "dma_buf_put(buf)"),
    (64, "collapse(addr len)"),
    (65, "move_pages(addr len)"),
    (66, "split_huge_pages(addr len)"),
    (67, "migrate_vma(addr len)"),
    (68, "memory_failure(addr len)"),
    (69, "compact(nr)"),
    (70, "migrate_to_device(addr len)"),
    (80, "userptr_create(obj addr len driver)"),
    (81, "userptr_submit(obj value flags)"),
    (82, "userptr_put(obj)"),
    (88, "hugetlb_mmap(addr len prot)"),
];

#[test]
fn operations_keep_their_numbers() {
    let table: Vec<_> = OPS
        .iter()
        .map(|op| {
            let args: Vec<_> = op.args.iter().map(|arg| arg.name).collect();
            (op.nr, format!("{}({})", op.name, args.join(" ")))
        })
        .collect();
    for (nr, op) in ABI {
        assert!(table.contains(&(*nr, op.to_string())), "{nr} {op} has changed or is gone");
    }
    assert_eq!(table.len(), ABI.len(), "a new operation needs its line in ABI");
    assert!(OPS.iter().all(|op| op.nr < 0xf0), "0xf0 and up are records that are no calls");
}

fn assert_round_trips(prog: &Prog) {
    let bytes = prog.encode();
    assert_eq!(&Prog::decode(&bytes), prog);
    assert_eq!(&Prog::from_input(&bytes), prog);

    let text = prog.to_string();
    let script = Script::parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    assert_eq!(&script.prog, prog, "{text}");
    assert!(script.warnings.is_empty(), "{text}");
    assert_eq!(&Prog::from_input(text.as_bytes()), prog);

    let calls = prog.calls().count();
    assert!(calls <= MAX_CALLS && prog.records.len() <= MAX_RECORDS);
}

#[test]
fn generated_and_mutated_programs_survive_both_forms() {
    for target in TARGETS {
        let mut generator = Generator::new(target, 1);
        let mut rng = fastrand::Rng::with_seed(2);
        let mut prog = Prog::default();
        let mut other = Prog::default();
        for i in 0..10_000 {
            generator.generate(&mut prog);
            assert_round_trips(&prog);
            for _ in 0..i % 8 {
                mutate(&mut prog, &mut rng, &generator);
            }
            splice(&mut other, &prog, &mut rng);
            assert_round_trips(&prog);
            assert_round_trips(&other);
        }
    }
}

#[test]
fn any_bytes_are_a_program() {
    let mut rng = fastrand::Rng::with_seed(3);
    let mut prog = Prog::default();
    let mut schedules = [0; 3];
    for i in 0..3_000 {
        let size = rng.usize(0..if i % 100 == 0 { 65_537 } else { 512 });
        let mut data: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(size).collect();
        // Random numbers are seldom operations.
        for record in data.chunks_mut(8).skip(1).filter(|_| i % 2 == 0) {
            record[0] = if rng.u8(0..4) == 0 { 0xf0 + rng.u8(0..3) } else { OPS[rng.usize(0..OPS.len())].nr };
        }
        prog.decode_into(&data);
        assert_eq!(prog, Prog::decode(&data));
        assert_round_trips(&prog);
        schedules[prog.schedule as usize] += 1;
    }
    assert!(schedules.iter().all(|n| *n > 500), "{schedules:?}");
}

#[test]
fn mutated_inputs_keep_their_size() {
    let generator = Generator::new(&TARGETS[0], 4);
    let mut data = [0; 300];
    let mut size = 0;
    for seed in 0..5_000 {
        let max = [0, 8, 15, 16, 100, 300][seed as usize % 6];
        size = mutate_bytes(&mut data, size.min(max), max, seed, &generator);
        assert!(size <= max);
        assert_round_trips(&Prog::decode(&data[..size]));
    }
    // A text from the corpus becomes bytes.
    let text = b"0: load(addr=va3)\n";
    data[..text.len()].copy_from_slice(text);
    let size = mutate_bytes(&mut data, text.len(), 300, 9, &generator);
    assert_eq!(data[0], 1);
    assert_round_trips(&Prog::decode(&data[..size]));
}

#[test]
fn mutation_and_generation_depend_on_the_seed_only() {
    let run = || {
        let mut generator = Generator::new(&TARGETS[1], 5);
        let mut rng = fastrand::Rng::with_seed(6);
        let mut prog = Prog::default();
        (0..100).fold(0_u32, |hash, _| {
            generator.generate(&mut prog);
            mutate(&mut prog, &mut rng, &generator);
            hash.rotate_left(1) ^ prog.hash32()
        })
    };
    assert_eq!(run(), run());
}

#[test]
fn targets_name_operations_and_generate_them_all() {
    for t in TARGETS {
        assert!(std::ptr::eq(t, target(t.name).expect("a target has its name")));
        let mut generator = Generator::new(t, 7);
        let mut prog = Prog::default();
        let (mut made, mut calls, mut marked, mut explicit) = ([0; 256], 0, 0, 0);
        for _ in 0..2_000 {
            generator.generate(&mut prog);
            explicit += usize::from(prog.schedule == ScheduleKind::Explicit);
            for call in prog.calls() {
                made[call.op as usize] += 1;
                calls += 1;
                marked += usize::from(call.concurrent);
            }
        }
        for (name, weight) in t.weights {
            let op = op_by_name(name).unwrap_or_else(|| panic!("{name} is no operation"));
            assert!(*weight > 0 && made[op.nr as usize] > 20, "{}: {name} {}", t.name, made[op.nr as usize]);
        }
        assert_eq!(made.iter().filter(|n| **n > 0).count(), t.weights.len());
        assert!((4..=32).contains(&(calls / 2_000)), "{calls}");
        assert!(marked > calls / 4 && marked < calls, "{marked} of {calls}");
        assert!((400..900).contains(&explicit), "sampling comes first: {explicit} of 2000 are explicit");
    }
    assert!(target("").is_none());
}

/// A reference too many keeps a page, and whoever loses the last one is not seen.
#[test]
fn who_gives_a_reference_back_in_a_race_often_has_the_only_one() {
    let [register, unregister] = ["io_uring_register", "io_uring_unregister"].map(|name| op_by_name(name).unwrap().nr);
    let mut generator = Generator::new(target("pin").unwrap(), 11);
    let mut prog = Prog::default();
    let (mut races, mut only) = (0, 0);
    for _ in 0..100_000 {
        generator.generate(&mut prog);
        let races_as = |call: &Call, nr: u8, task: u8| call.concurrent && call.op == nr && call.task == task;
        let calls: Vec<&Call> = prog.calls().collect();
        let Some(first) = calls.iter().position(|call| call.op == register) else { continue };
        let chain = calls.iter().enumerate().find(|(i, call)| {
            let given_back = |after: &&Call| races_as(after, unregister, call.task) && after.args[0] == call.args[0];
            races_as(call, register, call.task) && calls[*i..].iter().any(given_back)
        });
        races += usize::from(chain.is_some());
        only += usize::from(chain.is_some_and(|(i, _)| i == first));
    }
    assert!(races > 100 && only * 2 > races, "{only} of {races}");
}

#[test]
fn text_may_say_less_and_in_another_order() {
    let text = "\
# a comment
  kernel:  v5.12   # with a tail
silent: v6.1;  v5.12 +pmd-special
schedule: pos burst=4 seed=0x2a\r
expect: use-after-recycle in dma_write

0: mmap ( prot=w|r , addr=va8 ) & salt=7
override(priority=0x1234, n=3)
\t1:load() # va0
2: pin_user_pages(len=8, pins=g1)
choices(1,0x02)
resume(1)
disk: steps 1
rcu: run
";
    let script = Script::parse(text).expect("a program");
    assert_eq!(script.kernel.as_deref(), Some("v5.12"));
    assert_eq!(script.silent, ["v6.1", "v5.12 +pmd-special"]);
    assert_eq!(script.expect.as_deref(), Some("use-after-recycle in dma_write"));
    let place = |line, column| Place { line, column };
    assert_eq!(script.places, (place(2, 12), vec![place(3, 9), place(3, 16)]));
    assert!(script.warnings.is_empty());
    let expected = "\
kernel: v5.12
silent: v6.1; v5.12 +pmd-special
schedule: pos seed=0x2a burst=4
expect: use-after-recycle in dma_write

0: mmap(addr=va8, len=1, prot=r|w, map=anon, file=f0) & salt=7
override(n=3, priority=0x1234)
1: load(addr=va0)
2: pin_user_pages(pins=g1, addr=va0, len=8, flags=0)
choices(1, 2)
resume(1)
disk: steps 1
rcu: run
";
    assert_eq!(script.to_string(), expected);
    assert_eq!(Prog::from_input(text.as_bytes()), script.prog);
    let marked = format!("\u{feff}{text}");
    assert_eq!(Prog::from_input(marked.as_bytes()), script.prog);
    assert_eq!(Script::parse(&marked), Ok(script));
    assert_eq!(Script::parse(""), Ok(Script::default()));
}

#[test]
fn broken_text_names_the_line_and_what_was_expected() {
    for (text, error) in [
        ("\n# c\n0: munmpa(addr=va8)", "line 3: unknown operation `munmpa`, did you mean `munmap`?"),
        ("0: bo_put(bo=b0)", "line 1: unknown operation `bo_put`, did you mean `ttm_bo_put`?"),
        ("0: load(adr=va8)", "line 1: load has no argument `adr`, did you mean `addr`?"),
        ("0: execve(addr=va8)", "line 1: execve has no argument `addr`, it takes none"),
        ("0: load(addr=va64)", "line 1: addr: expected va0 to va63, found `va64`"),
        ("0: load(addr=)", "line 1: addr: expected va0 to va63, found `)`"),
        ("0: load(addr=va1, addr=va2)", "line 1: a second `addr=`, expected one"),
        ("0: munmap(len=9)", "line 1: len: expected 1 to 8, found `9`"),
        ("0: mprotect(prot=r|x)", "line 1: prot: expected 0 or any of r, w joined by `|`, found `r|x`"),
        ("0: mprotect(prot=r|r)", "line 1: prot: expected 0 or any of r, w joined by `|`, found `r|r`"),
        ("0: mmap(map=anonymous)", "line 1: map: expected one of anon, shared, private, found `anonymous`"),
        ("0: vmsplice(repeat=3)", "line 1: repeat: expected one of 1, 2, 16, 256, 1024, found `3`"),
        ("0: ttm_bo_put(bo=d0)", "line 1: bo: expected b0 to b7, found `d0`"),
        ("0: ", "line 1: expected an operation, found the end of the line"),
        ("0: (addr=va8)", "line 1: expected an operation, found `(`"),
        ("0: load(,)", "line 1: expected an argument of load, found `,`"),
        ("0: load(", "line 1: expected an argument of load, found the end of the line"),
        (": load()", "line 1: expected `header: ...`, `task: call(...)` or a comment, found `:`"),
        ("(", "line 1: expected `header: ...`, `task: call(...)` or a comment, found `(`"),
        ("0:\u{a0}load()", "line 1: unknown operation `\\u{a0}load`, did you mean `load`?"),
        ("0: load() \u{2003}", "line 1: expected `&`, `steps N`, `salt=N` or the end, found `\\u{2003}`"),
        ("0: load(addr=va1", "line 1: expected `,` or `)`, found the end of the line"),
        ("0: load addr=va1", "line 1: expected `(`, found `addr=va1`"),
        ("0: load(addr)", "line 1: expected `=`, found `)`"),
        ("0: load() & &", "line 1: expected `&`, `steps N`, `salt=N` or the end, found `&`"),
        ("0: load() salt=256", "line 1: expected a number from 0 to 255, found `256`"),
        ("0: load() salt=1 x", "line 1: expected the end of the line, found `x`"),
        (
            "9: load()",
            "line 1: unknown header or task `9`, expected one of kernel, silent, schedule, expect, \
             0, 1, 2, 3, 4, 5, 6, 7, disk, gpu, kworker, rcu",
        ),
        ("kernal: v5.12", "line 1: unknown header or task `kernal`, did you mean `kernel`?"),
        ("load(addr=va8)", "line 1: expected a task before `load`, as in `0: load(addr=va8)`"),
        ("what is this", "line 1: expected `header: ...`, `task: call(...)` or a comment, found `what`"),
        ("disk: load()", "line 1: expected `run` or `steps N`, found `load`"),
        ("resume(8)", "line 1: expected a task from 0 to 7, found `8`"),
        ("choices()", "line 1: expected one to six choices, found 0"),
        ("choices(1,2,3,4,5,6,7)", "line 1: expected one to six choices, found 7"),
        ("choices(1,2,x)", "line 1: expected a number from 0 to 255, found `x`"),
        ("\noverride(n=1)", "line 2: expected a call before `override`, which changes a draw of it"),
        ("0: load()\noverride(m=1)", "line 2: expected n=N or priority=N, found `m`"),
        ("0: load()\noverride(priority=0x100000000)", "line 2: expected a priority of 32 bits, found `0x100000000`"),
        ("schedule: random", "line 1: expected the schedule pos, bytes or explicit, found `random`"),
        ("schedule:", "line 1: expected the schedule pos, bytes or explicit, found the end of the line"),
        ("schedule: pos seed=1 seed=2", "line 1: a second `seed=`, expected one"),
        ("schedule: pos burst=2 seed=1 burst=2", "line 1: a second `burst=`, expected one"),
        ("0: load()\noverride(n=1, n=2)", "line 2: a second `n=`, expected one"),
        ("silent: ;", "line 1: expected a kernel on both sides of every `;`, found none"),
        ("silent: v6.1; ;v7.2", "line 1: expected a kernel on both sides of every `;`, found none"),
        ("schedule: pos burst=3", "line 1: expected a burst of 1, 2, 4, 8 or 16, found `3`"),
        ("schedule: pos seed=-1", "line 1: expected a seed of 32 bits, found `-1`"),
        ("schedule: bytes seed=1", "line 1: expected the end of the line, found `seed=1`"),
        ("kernel: v5.7\nkernel: v6.1", "line 2: a second `kernel:`, expected one"),
        ("kernel:", "line 1: expected plain text behind `kernel:`, found nothing"),
        ("expect: \u{fc}ber", "line 1: expected plain text behind `expect:`, found `\u{fc}ber`"),
        ("0: load()\nexpect: x", "line 2: expected `expect:` before the first call"),
        ("0: load()\n\u{1b}[2J", "line 2: control character U+001B, expected text"),
    ] {
        assert_eq!(Script::parse(text).map_err(|e| e.to_string()), Err(error.into()), "{text}");
        assert_eq!(Prog::from_input(text.as_bytes()), Prog::decode(text.as_bytes()));
    }
    let error = Script::parse("0: munmap(addr=va8, len=9)").expect_err("too long");
    assert_eq!(error.place, Place { line: 1, column: 25 });
}

#[test]
fn what_is_ignored_is_said() {
    let script = Script::parse("schedule: explicit\n0: load() steps 3\n0: load() salt=3\n").expect("a program");
    assert_eq!(script.warnings, ["line 3: `salt` does nothing under `schedule: explicit`"]);
    let script = Script::parse("0: load() & steps 3\n").expect("a program");
    assert_eq!(script.warnings, ["line 1: `steps` does nothing under `schedule: pos`"]);
    assert_eq!(script.prog.calls().map(|c| c.steps).sum::<u8>(), 0);

    let script = Script::parse(&"0: load()\n".repeat(MAX_CALLS + 9)).expect("a program");
    assert_eq!(script.warnings, ["line 65: more than 64 calls or 256 records, ignored from here on"]);
    assert_eq!(script.prog.records.len(), MAX_CALLS);
    let script = Script::parse(&"disk: run\n".repeat(MAX_RECORDS + 9)).expect("a program");
    assert_eq!(script.prog.records.len(), MAX_RECORDS);
    assert_eq!(script.warnings.len(), 1);
}

#[test]
fn hostile_text_ends_in_a_short_message() {
    let long = "x".repeat(1 << 20);
    let texts = [
        long.clone(),
        format!("{long}: load()"),
        format!("0: {long}("),
        format!("0: load({long}=1)"),
        format!("0: load(addr={long})"),
        format!("0: load(){long}"),
        format!("kernel: {}", "\u{202e}".repeat(1 << 18)),
        "(".repeat(1 << 20),
        "0:".repeat(1 << 19),
        "\u{1f600}".repeat(1 << 18),
        "0: load(\u{85})".into(),
    ];
    // A message may name all operations, and otherwise is one line, whatever the text is.
    let most = 160 + OPS.iter().map(|op| op.name.len() + 2).sum::<usize>();
    for text in texts {
        let error = Script::parse(&text).expect_err("no program").to_string();
        assert!(error.len() < most, "{} of {most}", error.len());
        assert!(!error.chars().any(|c| c.is_control() || c == '\u{202e}'), "{error:?}");
    }

    // Texts with a byte changed: an error or a program, never a panic.
    let mut generator = Generator::new(&TARGETS[0], 8);
    let mut rng = fastrand::Rng::with_seed(9);
    let mut prog = Prog::default();
    for _ in 0..5_000 {
        generator.generate(&mut prog);
        let mut text = prog.to_string().into_bytes();
        for _ in 0..rng.usize(1..4) {
            let at = rng.usize(0..text.len());
            text[at] = if rng.bool() { rng.u8(..) } else { b"(),=&:#|0 \n"[rng.usize(0..11)] };
        }
        let _ = Script::parse(&String::from_utf8_lossy(&text));
        assert_round_trips(&Prog::from_input(&text));
    }
}

#[test]
fn splicing_joins_two_programs() {
    let mut generator = Generator::new(&TARGETS[0], 10);
    let mut rng = fastrand::Rng::with_seed(11);
    let (mut a, mut b) = (Prog::default(), Prog::default());
    let mut both = 0;
    for _ in 0..200 {
        generator.generate(&mut a);
        generator.generate(&mut b);
        let mut c = a.clone();
        splice(&mut c, &b, &mut rng);
        let of = |p: &Prog, r: &Rec| p.records.contains(r);
        assert!(c.records.iter().all(|r| of(&a, r) || of(&b, r)));
        both += usize::from(c.records.iter().any(|r| of(&a, r)) && c.records.iter().any(|r| of(&b, r)));
    }
    assert!(both > 100, "{both}");
}
