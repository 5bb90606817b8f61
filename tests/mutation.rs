// SPDX-License-Identifier: GPL-2.0-or-later
//! The mutator and the crossover of the fuzz targets: what they reach, and that a seed decides.

use gupfuzz::prog::{
    Call, Generator, HEADER_SIZE, Prog, RECORD_SIZE, Rec, ScheduleKind, Script, TARGETS, crossover_bytes, mutate_bytes,
    target,
};
use std::collections::BTreeMap;

fn prog(text: &str) -> Prog {
    Script::parse(text).unwrap_or_else(|e| panic!("{e}")).prog
}

/// An input as libFuzzer hands it over: in a buffer with something else behind it.
fn mutate_input(prog: &Prog, seed: u32, generator: &Generator, junk: u8) -> Vec<u8> {
    let bytes = prog.encode();
    let mut data = vec![junk; 512];
    data[..bytes.len()].copy_from_slice(&bytes);
    let size = mutate_bytes(&mut data, bytes.len(), 512, seed, generator);
    data.truncate(size);
    data
}

/// What one change did to a program; `None`: nothing, or several things.
fn change(old: &Prog, new: &Prog) -> Option<&'static str> {
    let (a, b) = (&old.records, &new.records);
    let same_head = (old.schedule, old.seed, old.burst) == (new.schedule, new.seed, new.burst);
    if !same_head {
        let what = if old.schedule != new.schedule {
            "schedule"
        } else if old.seed != new.seed {
            "seed"
        } else {
            "burst"
        };
        return (a == b || what == "schedule").then_some(what);
    }
    let without = |long: &[Rec], short: &[Rec]| {
        (0..long.len()).find(|i| long[..*i] == short[..*i] && long[i + 1..] == short[*i..]).map(|i| long[i])
    };
    if b.len() == a.len() + 1 {
        return Some(match without(b, a)? {
            rec if a.contains(&rec) => "duplicate",
            Rec::Call(_) => "insert a call",
            Rec::Override { .. } => "insert an override",
            Rec::Choices { .. } => "insert choices",
            Rec::Resume { .. } => "insert a resume",
        });
    }
    if b.len() + 1 == a.len() {
        return without(a, b).map(|_| "drop");
    }
    if a.len() != b.len() {
        return None;
    }
    let differ: Vec<usize> = (0..a.len()).filter(|i| a[*i] != b[*i]).collect();
    match differ[..] {
        [i, j] if a[i] == b[j] && a[j] == b[i] => Some("swap"),
        [i] => match (a[i], b[i]) {
            (Rec::Call(old), Rec::Call(new)) => change_of_call(old, new),
            (Rec::Override { .. }, Rec::Override { .. }) => Some("change an override"),
            (Rec::Choices { .. }, Rec::Choices { .. }) => Some("change choices"),
            (Rec::Resume { .. }, Rec::Resume { .. }) => Some("change a resume"),
            _ => None,
        },
        _ => None,
    }
}

fn change_of_call(old: Call, new: Call) -> Option<&'static str> {
    let args = old.args.iter().zip(new.args).filter(|(old, new)| **old != *new).count();
    let differ = [
        (old.op != new.op, "operation"),
        (old.task != new.task, "task"),
        (old.concurrent != new.concurrent, "mark"),
        (old.steps != new.steps, "salt or steps"),
        (args == 1, "argument"),
        (args > 1, "arguments"),
    ];
    let mut differ = differ.into_iter().filter(|(differs, _)| *differs).map(|(_, what)| what);
    differ.next().filter(|_| differ.next().is_none())
}

const SCENE: &str = "\
0: ttm_bo_create(bo=b1, order=2)
0: ttm_bo_mmap(bo=b1, addr=va8, len=4)
1: dio_read(addr=va8, len=1) & salt=3
0: ttm_bo_put(bo=b1) & salt=9
";

#[test]
fn every_kind_of_record_is_inserted_changed_and_dropped() {
    let generator = Generator::new(target("ttm").unwrap(), 1);
    let both = ["insert a call", "duplicate", "drop", "swap", "argument", "task", "mark", "salt or steps", "schedule"];
    for (schedule, steering, own) in [
        (
            "pos seed=7 burst=4",
            "override(n=1, priority=0x10)",
            ["seed", "burst", "insert an override", "change an override"].as_slice(),
        ),
        ("bytes", "choices(1, 2, 3)", &["insert choices", "change choices"]),
        ("explicit", "resume(1) steps 2", &["insert a resume", "change a resume"]),
    ] {
        let scene = if schedule == "explicit" { SCENE.replace("salt=", "steps ") } else { SCENE.into() };
        let bare = prog(&format!("schedule: {schedule}\n{scene}"));
        let steered = prog(&format!("schedule: {schedule}\n{scene}{steering}\n"));
        let mut seen = BTreeMap::new();
        for seed in 0..24_000 {
            for old in [&bare, &steered] {
                let data = mutate_input(old, seed, &generator, 0x5a);
                assert_eq!(data, mutate_input(old, seed, &generator, 0xa5), "the seed decides, not what is around");
                let new = Prog::decode(&data);
                assert_eq!(new.encode(), data, "what comes out is a program, and nothing else");
                *seen.entry(change(old, &new).unwrap_or("several")).or_insert(0) += 1;
            }
        }
        for what in both.iter().chain(own) {
            assert!(seen.get(what).is_some_and(|n| *n > 20), "{what} under {schedule}: {seen:?}");
        }
    }
}

/// An argument that names an object moves to one that is there, mostly.
#[test]
fn arguments_are_retargeted_to_live_objects() {
    let generator = Generator::new(target("ttm").unwrap(), 1);
    let old = prog("0: ttm_bo_create(bo=b1)\n0: ttm_bo_create(bo=b5)\n0: ttm_bo_put(bo=b5)\n0: ttm_bo_put(bo=b3)\n");
    let mut to = [0; 8];
    for seed in 0..120_000 {
        let new = Prog::decode(&mutate_input(&old, seed, &generator, 0));
        if change(&old, &new) == Some("argument")
            && let Some(Rec::Call(put)) = new.records.last()
            && put.args[0] != 3
        {
            to[put.args[0] as usize] += 1;
        }
    }
    let others = (0..8).filter(|bo| *bo != 1).map(|bo| to[bo]).sum::<u32>();
    assert!(to[1] > 100 && to[1] > others / 2 && (0..8).all(|bo| to[bo] <= to[1]), "{to:?}");
}

#[test]
fn crossover_takes_from_both_and_the_seed_decides() {
    let mut both = 0;
    for target in TARGETS {
        let mut generator = Generator::new(target, 2);
        let (mut a, mut b) = (Prog::default(), Prog::default());
        for seed in 0..500 {
            generator.generate(&mut a);
            generator.generate(&mut b);
            let cross = |junk, room| {
                let mut out = vec![junk; room];
                let size = crossover_bytes(&a.encode(), &b.encode(), &mut out, seed);
                out.truncate(size);
                out
            };
            let data = cross(0, 512);
            assert_eq!(data, cross(0xff, 512));
            let new = Prog::decode(&data);
            assert_eq!(new.encode(), data);
            assert_eq!((new.schedule, new.seed, new.burst), (a.schedule, a.seed, a.burst));
            let of = |p: &Prog| new.records.iter().filter(|rec| p.records.contains(rec)).count();
            both += usize::from(of(&a) > 0 && of(&b) > 0);
            for room in [0, HEADER_SIZE, HEADER_SIZE + RECORD_SIZE, 100] {
                let short = cross(0, room);
                assert!(short.len() <= room && data.starts_with(&short), "{} of {room}", short.len());
            }
        }
    }
    assert!(both > 250 * TARGETS.len(), "{both}");
    // A text is a program, too.
    let mut out = [0; 512];
    let size = crossover_bytes(SCENE.as_bytes(), SCENE.as_bytes(), &mut out, 3);
    assert_eq!(Prog::decode(&out[..size]).schedule, ScheduleKind::Pos);
    assert!(Prog::decode(&out[..size]).calls().next().is_some());
}
