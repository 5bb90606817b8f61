// SPDX-License-Identifier: GPL-2.0-or-later
//! A report's every number is true: all are counted again from the trace, by another way.

use gupfuzz::fixes::Spec;
use gupfuzz::fuzz::{Replay, explain, replay, story};
use gupfuzz::init::{Observe, start_kernel};
use gupfuzz::limits::{NR_DEVDAX, NR_FRAMES, NR_FSDAX};
use gupfuzz::prog::Script;
use gupfuzz::report::{Report, Story};
use gupfuzz::trace::{Event, Owner, Pfn, Pin, Record};
use std::fs;
use std::path::{Path, PathBuf};

/// All programs of the corpus, each on its own kernel with the seed that shows most.
fn corpus() -> Vec<(PathBuf, Spec, Replay)> {
    let mut found = Vec::new();
    for folder in ["stories", "regress", "quiet"] {
        for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let script = Script::parse(&fs::read_to_string(&path).unwrap()).unwrap();
            let kernel: Spec = script.kernel.as_deref().unwrap_or("newest").parse().unwrap();
            let mut computer = start_kernel(kernel.fixes);
            let prog = &script.prog;
            let mut seeds = (0..u32::from(prog.burst.max(1))).map(|i| prog.seed.wrapping_add(i));
            let fires = |seed: &u32| computer.run(prog, *seed, Observe::Oracles).violation().is_some();
            let seed = seeds.find(fires).unwrap_or(prog.seed);
            found.push((path, kernel, replay(&mut computer, prog, seed)));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(found.len() > 40);
    found
}

/// Refcount, mapcount, FOLL_PIN references, owner and generation of a frame behind the first `end`
/// records: sums of what was added, not what events say it came to.
fn count(records: &[Record], end: usize, pfn: Pfn) -> (i32, i32, i32, Owner, u16) {
    let records = || records[..end].iter().map(|r| &r.event);
    let block = |event: &Event| match *event {
        Event::Alloc { pfn: first, order, .. }
        | Event::Free { pfn: first, order, .. }
        | Event::Own { pfn: first, order, .. } => first.0 <= pfn.0 && pfn.0 < first.0 + (1 << order),
        _ => false,
    };
    let ram = NR_FRAMES - NR_DEVDAX - NR_FSDAX;
    let blocks = (ram..ram + NR_FSDAX).contains(&pfn.index());
    let (mut refcount, mut in_pool) = (i32::from(pfn.index() >= ram && pfn.valid()), blocks);
    for event in records() {
        match *event {
            // A pool's blocks keep their counts, and so do those of a file system on dax.
            Event::Alloc { .. } if block(event) && in_pool => in_pool = false,
            Event::Alloc { pfn: first, .. } if block(event) => refcount = i32::from(first == pfn),
            Event::Free { owner, .. } if block(event) => in_pool = matches!(owner, Owner::Pool(_) | Owner::Blocks),
            Event::Get { pfn: p, refs, .. } if p == pfn => refcount += refs,
            Event::Put { pfn: p, refs, .. } if p == pfn => refcount -= refs,
            _ => {}
        }
    }
    let mapcount = records().map(|e| match *e {
        Event::Mapcount { pfn: p, delta, .. } if p == pfn => delta,
        _ => 0,
    });
    let pins = records().map(|e| match *e {
        Event::GupPin { pfn: p, kind: Pin::Pin | Pin::Longterm, .. } if p == pfn => 1,
        Event::GupUnpin { pfn: p, kind: Pin::Pin | Pin::Longterm, .. } if p == pfn => -1,
        _ => 0,
    });
    let boot = match pfn.index() {
        _ if blocks => Owner::Blocks,
        index if index < ram => Owner::Buddy,
        _ => Owner::Dev,
    };
    let owner = records().rfind(|e| block(e)).map_or(boot, |event| match *event {
        Event::Alloc { owner, .. } | Event::Free { owner, .. } | Event::Own { owner, .. } => owner,
        _ => unreachable!("no other event is of a block"),
    });
    let turns = |e: &Event| matches!(e, Event::Alloc { .. } | Event::Free { .. });
    let last = records().rposition(|e| turns(e) && block(e));
    let generation = last.map_or(0, |last| records().take(last + 1).filter(|e| turns(e)).count());
    (refcount, mapcount.sum(), pins.sum(), owner, generation as u16)
}

/// What dump_page() says of a page of a compound one.
struct Folio {
    refcount: i32,
    mapcount: i32,
    line: String,
}

fn folio(records: &[Record], pfn: Pfn) -> Option<Folio> {
    let holds = |first: Pfn, order: u8| first.0 <= pfn.0 && pfn.0 < first.0 + (1 << order);
    let turns = |e: &Event| match *e {
        Event::Compound { pfn, order, .. } | Event::Free { pfn, order, .. } => holds(pfn, order),
        _ => false,
    };
    let last = records.iter().rfind(|r| turns(&r.event))?;
    let Event::Compound { pfn: head, order, whole: true } = last.event else { return None };
    let counts = |page: Pfn| count(records, records.len(), page);
    let pages = || (head.0..head.0 + (1 << order)).map(Pfn);
    let leaves = |e: &Event| match *e {
        Event::Mapcount { pfn, delta, entire: true, .. } if pfn == head => delta,
        _ => 0,
    };
    let entire: i32 = records.iter().map(|r| leaves(&r.event)).sum();
    let own = |page: Pfn| counts(page).1 - if page == head { entire } else { 0 };
    let (mapped, pins) =
        (pages().filter(|page| own(*page) > 0).count(), pages().map(|page| counts(page).2).sum::<i32>());
    let all = pages().map(own).sum::<i32>() + entire;
    let line =
        format!("head: order:{order} mapcount:{all} entire_mapcount:{entire} nr_pages_mapped:{mapped} pincount:{pins}");
    Some(Folio { refcount: counts(head).0, mapcount: own(pfn) + entire, line })
}

/// The record of the violation, and how many records count until then.
fn place(run: &Replay) -> (usize, usize) {
    let v = run.outcome.violation().unwrap();
    let is = |r: &Record| (r.step, r.task, r.event) == (v.record.step, v.record.task, v.record.event);
    let here = run.records.iter().rposition(is).expect("the event is in the trace");
    let at_end = run.records.last().unwrap().step != v.record.step;
    (here, if at_end { run.records.len() } else { here + 1 })
}

/// The number behind `before` in a text.
fn number(text: &str, before: &str) -> Option<i64> {
    let (_, rest) = text.split_once(before)?;
    let (rest, radix) = rest.strip_prefix("0x").map_or((rest, 10), |hex| (hex, 16));
    let end = rest.find(|c: char| !c.is_digit(radix) && c != '-').unwrap_or(rest.len());
    i64::from_str_radix(&rest[..end], radix).ok()
}

fn check_dump(report: &Report, run: &Replay, name: &str) -> bool {
    let v = run.outcome.violation().unwrap();
    let Some(pfn) = v.pfn.filter(|pfn| pfn.valid()) else {
        assert!(report.page.iter().all(|line| !line.contains("refcount")), "{name}");
        return false;
    };
    let (mut refcount, mut mapcount, ..) = count(&run.records, place(run).1, pfn);
    let folio = folio(&run.records[..place(run).1], pfn);
    if let Some(folio) = &folio {
        (refcount, mapcount) = (folio.refcount, folio.mapcount);
    }
    let heads: Vec<_> = report.page.iter().filter(|line| line.starts_with("head: ")).cloned().collect();
    assert_eq!(heads, folio.map(|folio| folio.line).into_iter().collect::<Vec<_>>(), "{name}");
    let line = &report.page[0];
    let numbers = ["refcount:", "mapcount:", "pfn:"].map(|what| number(line, what));
    assert_eq!(numbers, [Some(refcount.into()), Some(mapcount.into()), Some(pfn.0.into())], "{name}: {line}");
    assert_eq!(report.addr, u64::from(pfn.0) * 4096, "{name}");
    true
}

/// Every row names a step of the trace, its task, and counts that are those behind that step.
fn check_timeline(report: &Report, run: &Replay, name: &str) -> usize {
    let mut counts = 0;
    let mut before = 0;
    let leaver = report.argument[0].strip_prefix("Let  D = ").map(|line| number(line, "in step ").unwrap());
    if let Some(step) = leaver {
        let told = report.timeline.rows.iter().any(|row| i64::from(row.step) == step);
        assert!(told, "{name}: who left it in step {step} is in the timeline");
    }
    for row in &report.timeline.rows {
        // Who is blocked in a deadlock took the step before.
        assert!(row.step > before || row.here, "{name}: steps go up");
        before = row.step;
        let at = |r: &&Record| (r.step, r.task) == (row.step, row.task);
        let records: Vec<&Record> = run.records.iter().filter(at).collect();
        assert!(!records.is_empty(), "{name}: task {} did nothing in step {}", row.task, row.step);
        for part in row.text.split(", ").collect::<Vec<_>>().windows(2) {
            // `get pfn 0x1 +1, refcount 2`
            let Some(refcount) = number(part[1], "refcount ") else { continue };
            let pfn = Pfn(number(part[0], "pfn ").unwrap() as u8);
            let says =
                |r: &Record| matches!(r.event, Event::Get { pfn: p, .. } | Event::Put { pfn: p, .. } if p == pfn);
            let all = run.records.iter().enumerate().filter(|(_, r)| at(r) && says(r));
            let counted: Vec<i64> = all.map(|(i, _)| count(&run.records, i + 1, pfn).0.into()).collect();
            assert!(counted.contains(&refcount), "{name}: step {}: {} but {counted:?}", row.step, row.text);
            counts += 1;
        }
        if let (Some(mapcount), Some(pfn)) = (number(&row.text, "mapcount "), run.outcome.violation().unwrap().pfn) {
            let last = run.records.iter().rposition(|r| at(&r)).unwrap();
            assert_eq!(mapcount, i64::from(count(&run.records, last + 1, pfn).1), "{name}: step {}", row.step);
            counts += 1;
        }
    }
    counts
}

/// Origins and the call trace name who did it, and when.
fn check_origins(report: &Report, run: &Replay, name: &str) {
    for origin in &report.origins {
        let v = run.outcome.violation().unwrap();
        let did = |r: &Record| match r.event {
            Event::Alloc { .. } => origin.what.starts_with("Allocated"),
            Event::Free { .. } => origin.what == "Freed",
            Event::GupPin { pfn, .. } => origin.what == "Pinned" && Some(pfn) == v.pfn,
            _ => false,
        };
        let there = run.records.iter().any(|r| (r.step, r.task) == (origin.step, origin.task) && did(r));
        assert!(there, "{name}: {} by task {} in step {}", origin.what, origin.task, origin.step);
    }
}

/// The page beside each step.
fn check_story(story: &Story, run: &Replay, end: usize, name: &str) {
    let all: Vec<u32> = story.steps.iter().map(|s| s.step).collect();
    assert_eq!(all, (1..=all.len() as u32).collect::<Vec<_>>(), "{name}: every step once");
    for step in &story.steps {
        let Some(page) = step.page else { continue };
        let pfn = Pfn(story.page.unwrap().pfn);
        let behind = run.records[..end].iter().rposition(|r| r.step <= step.step).unwrap() + 1;
        let says = (page.refcount, page.mapcount, page.pincount, page.owner, page.generation);
        assert_eq!(says, count(&run.records, behind, pfn), "{name}: pfn {pfn} behind step {}", step.step);
    }
    for span in &story.spans {
        assert!(span.from <= span.to && span.to <= story.steps.last().unwrap().step, "{name}: {span:?}");
    }
}

#[test]
fn every_number_is_true() {
    let (mut fired, mut dumps, mut counts, mut folios) = (0, 0, 0, 0);
    for (path, kernel, run) in corpus() {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let story = story(&run, &kernel, name, None);
        let Some(report) = explain(&run, &kernel, name) else {
            assert_eq!((story.verdict.as_str(), story.report.is_some()), ("silent", false), "{name}");
            check_story(&story, &run, run.records.len(), name);
            continue;
        };
        fired += 1;
        dumps += usize::from(check_dump(&report, &run, name));
        folios += report.page.iter().filter(|line| line.starts_with("head: ")).count();
        counts += check_timeline(&report, &run, name);
        check_origins(&report, &run, name);
        check_story(&story, &run, place(&run).1, name);
        let here = story.steps.iter().filter(|s| s.here).count();
        assert!(here <= 1, "{name}: one step gives it away");
        assert_eq!(story.report.unwrap().to_string(), report.to_string(), "{name}");
    }
    assert!(folios > 0);
    println!("{fired} violations, {dumps} page dumps, {counts} counts in timelines");
    assert!(fired > 40 && dumps > 30 && counts > 30);
}
