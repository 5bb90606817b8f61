// SPDX-License-Identifier: GPL-2.0-or-later
//! A report of a trace made by hand: a buffer object is freed while the disk still writes into it.

use super::*;
use crate::entry::op_by_name;
use crate::prog::{Call, Rec};
use crate::trace::{Access, Notify, Owner, Pfn, Pin, Site, obj};

const P: Pfn = Pfn(9);

fn func(path: &'static str) -> Func {
    Func::by_hand(path)
}

/// A trace under construction.
#[derive(Default)]
struct Story {
    records: Vec<Record>,
    stacks: Vec<Vec<Func>>,
}

impl Story {
    #[track_caller]
    fn event(&mut self, step: u32, task: u8, stack: &[Func], event: Event) -> &mut Story {
        let site = Site::here();
        let func = stack.last().copied().unwrap_or(Func::IDLE);
        self.records.push(Record { step, task, func, site, event });
        self.stacks.push(stack.to_vec());
        self
    }

    /// A step and what it says.
    #[track_caller]
    fn step(&mut self, step: u32, task: u8, stack: &[Func], obj: crate::trace::Obj, event: Event) -> &mut Story {
        self.event(step, task, stack, Event::Step { obj, access: Access::Write }).event(step, task, stack, event)
    }
}

fn call(task: u8, name: &str, args: [u8; 5]) -> Rec {
    let op = op_by_name(name).unwrap().nr;
    Rec::Call(Call { op, task, concurrent: true, steps: 3, args })
}

fn prog() -> Prog {
    let records = vec![
        call(0, "ttm_bo_create", [0, 2, 1, 0, 0]),
        call(1, "dio_read", [8, 3, 0, 0, 0]),
        call(0, "munmap", [8, 3, 0, 0, 0]),
        call(2, "ttm_bo_create", [1, 2, 1, 0, 0]),
    ];
    Prog { seed: 0x2a, burst: 1, records, ..Prog::default() }
}

fn begin(call: u8) -> Event {
    match prog().records[call as usize] {
        Rec::Call(Call { op, args, .. }) => Event::CallBegin { call, op, args, mm: 0 },
        _ => unreachable!(),
    }
}

fn dma(now: u16, owner: Owner) -> Event {
    Event::Use { kind: UseKind::DmaWrite, pfn: P, took: 1, now, owner, value: 7, written: 1, at: None }
}

/// `again`: task 2 got the frame meanwhile.
fn story(again: bool) -> Story {
    let pool_alloc = [
        func("gupfuzz::ttm::bo::ttm_bo_validate::{{closure}}::here"),
        func("gupfuzz::ttm::pool::ttm_pool_alloc::here"),
    ];
    let pool_free = [func("gupfuzz::mm::mmap::vm_munmap::here"), func("gupfuzz::ttm::pool::ttm_pool_free::here")];
    let gup = [func("gupfuzz::mm::gup::gup_fast_pmd_leaf::here")];
    let disk = [func("gupfuzz::fs::disk::blk_mq_run::here"), func("gupfuzz::fs::disk::dma_write::{{closure}}::here")];
    let (order, first) = (2, Pfn(8));
    let bo = |slot| Event::Own { pfn: first, order, owner: Owner::Bo(slot) };
    let mut s = Story::default();
    s.event(0, 0, &[], begin(0));
    s.step(1, 0, &pool_alloc, obj::frames(first, 4), Event::Alloc { pfn: first, order, gen_: 1, owner: Owner::Kernel });
    s.event(1, 0, &pool_alloc, bo(0));
    let map = Event::Map { mm: 0, va: 8, pfn: first, nr: 4, gen_: 1, anon: false, write: true, special: false };
    s.step(2, 0, &pool_alloc, obj::pmd(0, 2), map).event(2, 0, &[], Event::CallEnd { call: 0, ret: 0 });
    s.event(3, 1, &[], begin(1));
    s.event(4, 1, &gup, Event::Step { obj: obj::pmd(0, 2), access: Access::Read });
    let pin = Event::GupPin { mm: 0, va: 9, pfn: P, took: 1, entry: 1, kind: Pin::Get, write: true };
    s.step(5, 1, &gup, obj::page(first, 1), pin).event(5, 1, &[], Event::CallEnd { call: 1, ret: 4 });
    s.event(5, 0, &[], begin(2));
    let unmap = Event::Unmap { mm: 0, va: 8, pfn: first, nr: 4, anon: false, write: true, special: false };
    let range = |begin| Event::Notify { mm: 0, start: 8, end: 12, kind: Notify::Unmap, begin };
    s.event(5, 0, &[], range(true)).step(6, 0, &pool_free, obj::pmd(0, 2), unmap).event(6, 0, &[], range(false));
    let free = Event::Free { pfn: first, order, gen_: 1, owner: Owner::Pool(3), refcount: 5, mapcount: 0 };
    s.step(7, 0, &pool_free, obj::frames(first, 4), free).event(7, 0, &[], Event::CallEnd { call: 2, ret: 0 });
    if again {
        let take = Event::Alloc { pfn: first, order, gen_: 3, owner: Owner::Kernel };
        s.event(7, 2, &[], begin(3)).step(8, 2, &pool_alloc, obj::frames(first, 4), take);
        s.event(8, 2, &pool_alloc, bo(1));
    }
    s.event(8, 8, &disk, Event::Step { obj: obj::word(0), access: Access::Write });
    s.event(9, 8, &disk[..1], Event::Step { obj: obj::word(1), access: Access::Read });
    let (now, owner) = if again { (3, Owner::Bo(1)) } else { (2, Owner::Pool(3)) };
    s.step(10, 8, &disk, obj::data(P), dma(now, owner));
    s
}

fn report(s: &Story, file: &str) -> Report {
    let mut oracles = crate::oracles::Oracles::default();
    oracles.reset();
    s.records.iter().for_each(|r| oracles.event(r));
    let v = oracles.take_violation().expect("the story ends badly");
    Report::new(&v, &s.records, &s.stacks, &prog(), "v5.12 -gup-fast-recheck-pte", file)
}

/// The text without the places in this file, whose lines change.
fn text(report: &Report) -> String {
    let line = |line: &str| line.split("   report/tests.rs:").next().unwrap_or_default().trim_end().to_string();
    report.to_string().lines().map(|l| line(l) + "\n").collect()
}

#[test]
fn the_report_tells_who_gave_who_took_and_why_it_is_wrong() {
    let want = r#"==================================================================
BUG: KASAN: use-after-recycle in dma_write+0x2/0x2
Write of size 8 at addr 0000000000009000 by task disk/8

Call Trace:
 dma_write+0x2/0x2
 blk_mq_run+0x1/0x1

Allocated by task 0:
 ttm_pool_alloc <- ttm_bo_validate <- ttm_bo_create(bo=b0, order=2, caching=wc, placement=system, driver=vmwgfx)   step 1
Freed by task 0:
 ttm_pool_free <- vm_munmap <- munmap(addr=va8, len=4)   step 7
Allocated again by task 2:
 ttm_pool_alloc <- ttm_bo_validate <- ttm_bo_create(bo=b1, order=2, caching=wc, placement=system, driver=vmwgfx)   step 8
Pinned by task 1:
 gup_fast_pmd_leaf <- dio_read(addr=va8, len=4, block=0, flags=0)   step 5

page: refcount:0 mapcount:0 mapping:0000000000000000 index:? pfn:0x9
page dumped because: kasan: bad access detected
page_owner tracks the page as allocated (buffer object b1)

Timeline (. = not running)
 step  task 0                     task 1                   task 2                       disk
    1  alloc pfn 0x8..0xc         .                        .                            .
    2  set pmd va8 to 0x8|w       .                        .                            .
    4  .                          read entry va8: pfn 0x9  .                            .
    5  .                          GUP: va9 is pfn 0x9      .                            .
    6  clear pmd va8              .                        .                            .
    7  give to pool pfn 0x8..0xc  .                        .                            .
    8  .                          .                        take from pool pfn 0x8..0xc  .
   10  .                          .                        .                            DMA writes 7 to pfn 0x9   <== here

Let  A = what pfn 0x9 held from step 1 to step 7 (buffer object b0), B = what it holds since step 8 (buffer object b1).
Then disk believes that it has A, because GUP gave it to task 1 for va9 of mm 0 in step 5.
But  pfn 0x9 holds B since step 8, and A was freed in step 7 by task 0: a contradiction.

schedule: pos seed=0x2a
replay:   gupfuzz replay --kernel "v5.12 -gup-fast-recheck-pte" crash.prog
==================================================================
"#;
    assert_eq!(text(&report(&story(true), "crash.prog")), want);
}

#[test]
fn a_frame_that_is_free_has_no_second_owner() {
    let r = report(&story(false), "crash.prog");
    assert_eq!(r.title, "use-after-recycle in dma_write");
    assert_eq!(r.origins.iter().map(|o| o.what).collect::<Vec<_>>(), ["Allocated", "Freed", "Pinned"]);
    assert_eq!(
        r.argument[2],
        "But  A was freed in step 7 by task 0, and pfn 0x9 is free since (TTM pool 3): a contradiction."
    );
    assert_eq!(r.page[2], "page_owner tracks the page as freed (TTM pool 3)");
}

#[test]
fn syzkaller_and_clusterfuzz_can_read_the_headline() {
    let text = report(&story(true), "crash.prog").to_string();
    // syzkaller, pkg/report/linux.go: `BUG: KASAN: ([a-z\-]+) in {{FUNC}}(?:.*\n)+?.*(Read|Write) of size ([0-9]+)`,
    // where {{FUNC}} is `([a-zA-Z0-9_]+)(?:\.|\+)`.
    let (_, rest) = text.split_once("BUG: KASAN: ").unwrap();
    let (kind, rest) = rest.split_once(" in ").unwrap();
    assert!(!kind.is_empty() && kind.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{kind}");
    let (func, rest) = rest.split_once(['.', '+']).unwrap();
    assert!(!func.is_empty() && func.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{func}");
    let (_, line) = rest.split_once('\n').unwrap();
    let size = line.strip_prefix("Write of size ").or(line.strip_prefix("Read of size ")).unwrap();
    // ClusterFuzz, stack_parsing/stack_analyzer.py: `(Read|Write) of size ([0-9]+) at (addr|address) ([a-f0-9]+)`,
    // and `BUG: KASAN: (.*) (in|on).*(addr|address) ([a-f0-9]+)?` over the line.
    let (size, addr) = size.split_once(" at addr ").unwrap();
    assert!(size.parse::<u32>().is_ok(), "{size}");
    let (addr, by) = addr.split_once(" by task ").unwrap();
    assert!(addr.len() == 16 && u64::from_str_radix(addr, 16).is_ok(), "{addr}");
    let (comm, pid) = by.lines().next().unwrap().split_once('/').unwrap();
    assert!(!comm.is_empty() && pid.parse::<u8>().is_ok(), "{by}");
    // And a stack frame of both: ` func+0x1/0x2`.
    let frame = text.lines().skip_while(|l| *l != "Call Trace:").nth(1).unwrap();
    let (_, offsets) = frame.trim().split_once("+0x").unwrap();
    assert!(offsets.contains("/0x"), "{frame}");
}

#[test]
fn names_from_outside_reach_neither_terminal_nor_shell() {
    let r = report(&story(true), "a b\u{1b}[31m'\n\u{202e}.prog");
    let text = r.to_string();
    assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text}");
    let command =
        r#"gupfuzz replay --kernel "v5.12 -gup-fast-recheck-pte" $'a b\U0000001b[31m\'\U0000000a\U0000202e.prog'"#;
    assert_eq!(r.replay, command);
    assert_eq!(quote_path("-x"), "./-x");
    assert_eq!(quote_path("it's.prog"), r"'it'\''s.prog'");
    assert_eq!(quote("newest", true), "\"newest\"");
    let mut r = r;
    r.comm = "x\u{9b}y\r".into();
    assert!(r.to_string().contains(r"by task x\u{9b}y\r/8"));
}

#[test]
fn long_stories_are_cut_where_they_tell_least() {
    let mut s = story(true);
    let last = s.records.len() - 2;
    let look =
        |n| Record { step: 9, event: Event::Step { obj: obj::page(P, 1), access: Access::Read }, ..s.records[n] };
    let looks: Vec<_> = (0..100).map(|n| Record { step: 100 + n, ..look(last) }).collect();
    s.records.splice(last..last, looks);
    s.stacks.splice(last..last, vec![Vec::new(); 100]);
    for r in s.records.iter_mut().skip(last + 100) {
        r.step = 300;
    }
    let r = report(&s, "crash.prog");
    assert_eq!((r.timeline.rows.len(), r.timeline.left_out), (30, 78));
    assert_eq!(r.timeline.rows[0].text, "alloc pfn 0x8..0xc");
    assert!(r.timeline.rows.last().unwrap().here);
    assert!(r.timeline.to_string().starts_with("Timeline (. = not running; 78 more left out)"));
}

#[test]
fn a_deadlock_shows_its_locks_and_an_empty_trace_is_no_reason_to_panic() {
    use crate::kernel::{LockClass, lock_class};
    let lock = |class| (0..=u8::MAX).find(|&l| lock_class(l) == (class, 1)).unwrap();
    let (a, b) = (lock(LockClass::Folio), lock(LockClass::IMmap));
    let (f, g) = ([func("gupfuzz::mm::f::here")], [func("gupfuzz::mm::g::here")]);
    let mut s = Story::default();
    for (task, stack, first, second) in [(0, &f, a, b), (1, &g, b, a)] {
        s.event(1 + 2 * u32::from(task), task, stack, Event::LockAcquired { lock: first, read: false, try_: true });
        s.event(2 + 2 * u32::from(task), task, stack, Event::LockContended { lock: second, read: false });
    }
    s.records.pop();
    s.stacks.pop();
    s.event(4, 1, &g, Event::MightSleep).event(5, 0, &f, Event::Deadlock { tasks: 3 });
    let r = report(&s, "crash.prog");
    assert_eq!(r.title, "deadlock in f");
    let rows: Vec<_> = r.timeline.rows.iter().map(|r| r.text.as_str()).collect();
    assert_eq!(rows, ["take folio_lock 1", "want i_mmap_rwsem 1", "take i_mmap_rwsem 1", "may sleep", "deadlock"]);
    assert_eq!(r.argument, ["That is: nobody can run: task 0 in f, task 1 in g wait for ever."]);

    let mut oracles = crate::oracles::Oracles::default();
    oracles.reset();
    s.records.iter().for_each(|r| oracles.event(r));
    let v = oracles.take_violation().unwrap();
    let empty = Report::new(&v, &[], &[], &Prog::default(), "newest", "x.prog");
    assert!(
        empty.to_string().contains("BUG: hung_task: deadlock in f+0x0/0x0\nWrite of size 8 at addr 0000000000000000")
    );
}
