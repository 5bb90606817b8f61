// SPDX-License-Identifier: GPL-2.0-or-later
//! Events made by hand, and what the oracle says to them.

use super::super::testing::{feed, record, title};
use super::*;
use crate::entry::op_by_name;

const A: Pfn = Pfn(4);
const B: Pfn = Pfn(5);

fn begin(task: u8, name: &str, args: [u8; 5]) -> (u8, Event) {
    (task, Event::CallBegin { call: 0, op: op_by_name(name).unwrap().nr, args, mm: 0 })
}
fn end(task: u8, ret: i32) -> (u8, Event) {
    (task, Event::CallEnd { call: 0, ret })
}
/// Plain anonymous memory at va8 and va9.
fn anon() -> [(u8, Event); 2] {
    [begin(0, "mmap", [8, 1, 3, 0, 0]), end(0, 0)]
}
fn touch(task: u8, kind: UseKind, pfn: Pfn, value: u8, at: Option<u8>) -> (u8, Event) {
    let (owner, at) = (Owner::Anon(0), at.map(|va| (0, va)));
    (task, Event::Use { kind, pfn, took: 3, now: 3, owner, value, written: 3, at })
}
/// An entry of va8 comes or goes.
fn event_of(pfn: Pfn, write: bool, comes: bool) -> Event {
    match comes {
        true => Event::Map { mm: 0, va: 8, pfn, nr: 1, gen_: 3, anon: true, write, special: false },
        false => Event::Unmap { mm: 0, va: 8, pfn, nr: 1, anon: true, write, special: false },
    }
}
fn store(pfn: Pfn, value: u8) -> (u8, Event) {
    touch(0, UseKind::Store, pfn, value, Some(8))
}
fn load(pfn: Pfn, value: u8) -> (u8, Event) {
    touch(0, UseKind::Load, pfn, value, Some(8))
}
fn dma(pfn: Pfn, value: u8) -> (u8, Event) {
    touch(8, UseKind::DmaWrite, pfn, value, None)
}
fn pin(kind: Pin, pfn: Pfn) -> (u8, Event) {
    (0, Event::GupPin { mm: 0, va: 8, pfn, took: 3, entry: 3, kind, write: true })
}
fn unpin(pfn: Pfn) -> (u8, Event) {
    (0, Event::GupUnpin { pfn, took: 3, kind: Pin::Pin })
}

#[test]
fn what_a_former_owner_left_is_a_leak() {
    let read = |written, value| {
        let at = Some((0, 8));
        [(0, Event::Use { kind: UseKind::Load, pfn: A, took: 3, now: 3, owner: Owner::Bo(1), value, written, at })]
    };
    assert_eq!(title::<PageOwner>(&read(3, 7)), "");
    assert_eq!(title::<PageOwner>(&read(1, 0)), "");
    assert_eq!(title::<PageOwner>(&read(1, 7)), "data-leak in f");
}

#[test]
fn what_was_stored_moves_with_its_page() {
    let map = |pfn, nr| {
        let map = Event::Map { mm: 0, va: 8, pfn, nr, gen_: 3, anon: true, write: true, special: false };
        (0, map)
    };
    // Not promised to be seen, and not promised not to be.
    for (pfn, nr) in [(B, 1), (B, 4)] {
        let moved = [&anon()[..], &[map(A, 1), store(A, 1), map(pfn, nr), dma(B, 7)]].concat();
        assert_eq!(title::<PageOwner>(&[&moved[..], &[load(B, 7)]].concat()), "");
        assert_eq!(title::<PageOwner>(&[&moved[..], &[load(B, 1)]].concat()), "");
    }
    // By way of the old page it is nothing to the owner.
    let stale = [&anon()[..], &[map(A, 1), store(A, 1), map(B, 1), store(B, 2), dma(A, 7), load(B, 7)]].concat();
    assert_eq!(title::<PageOwner>(&stale), "lost-write in f");
}

#[test]
fn a_load_returns_the_last_store() {
    assert_eq!(title::<PageOwner>(&[&anon()[..], &[store(A, 1), store(A, 2), load(A, 2)]].concat()), "");
    let v = feed::<PageOwner>(&[&anon()[..], &[store(A, 1), load(B, 0)]].concat()).unwrap();
    assert_eq!(v.title(), "lost-write in f");
    assert_eq!(v.message, "task 0 loads 0 from va8 of mm 0, but 1 was written there in step 2 by way of pfn 0x4");
    // A file's page, or a buffer object's, is not promised.
    let file = [begin(0, "mmap", [8, 1, 3, 1, 0]), end(0, 0)];
    assert_eq!(title::<PageOwner>(&[&file[..], &[store(A, 1), load(B, 0)]].concat()), "");
    assert_eq!(title::<PageOwner>(&[store(A, 1), load(B, 0)]), "");
}

#[test]
fn what_the_process_discards_is_gone_from_the_begin_of_the_call_to_its_end() {
    for (name, args) in [("munmap", [7, 3, 0, 0, 0]), ("madvise", [8, 0, 0, 0, 0]), ("mremap", [8, 0, 20, 0, 0])] {
        let before = [store(A, 1), begin(1, name, args), load(B, 0), end(1, 0)];
        assert_eq!(title::<PageOwner>(&[&anon()[..], &before].concat()), "", "{name}");
        let within = [begin(1, name, args), store(A, 1), end(1, 0), load(B, 0)];
        assert_eq!(title::<PageOwner>(&[&anon()[..], &within].concat()), "", "{name}");
    }
    let elsewhere = [store(A, 1), begin(1, "munmap", [9, 0, 0, 0, 0]), end(1, 0), load(B, 0)];
    assert_eq!(title::<PageOwner>(&[&anon()[..], &elsewhere].concat()), "lost-write in f");
    let after = [begin(1, "madvise", [8, 0, 0, 0, 0]), end(1, 0), store(A, 1), load(B, 0)];
    assert_eq!(title::<PageOwner>(&[&anon()[..], &after].concat()), "lost-write in f");
    let exited = [store(A, 1), (0, Event::MmExit { mm: 0, rss_anon: 0, rss_file: 0, pgtables: 0 }), load(B, 0)];
    assert_eq!(title::<PageOwner>(&[&anon()[..], &exited].concat()), "");
}

#[test]
fn mappings_that_race_are_not_trusted() {
    let race = [begin(1, "ttm_bo_mmap", [0, 8, 0, 0, 0]), anon()[0], end(0, 0), end(1, 0), store(A, 1), load(B, 0)];
    assert_eq!(title::<PageOwner>(&race), "");
    // What moves stays plain memory.
    let moved = [begin(1, "mremap", [20, 0, 8, 0, 0]), end(1, 0), store(A, 1), load(B, 0)];
    let anon20 = [begin(0, "mmap", [20, 0, 3, 0, 0]), end(0, 0)];
    assert_eq!(title::<PageOwner>(&[&anon20[..], &moved].concat()), "lost-write in f");
}

#[test]
fn pinned_dma_is_seen_by_the_owner() {
    let lost = [store(A, 1), pin(Pin::Pin, A), store(B, 1), dma(A, 9), load(B, 1)];
    assert_eq!(title::<PageOwner>(&[&anon()[..], &lost].concat()), "lost-write in f");
    let seen = [store(A, 1), pin(Pin::Pin, A), dma(A, 9), load(A, 9), unpin(A), load(A, 9)];
    assert_eq!(title::<PageOwner>(&[&anon()[..], &seen].concat()), "");
    let again = [pin(Pin::Pin, A), store(A, 1), dma(A, 9), store(A, 2), load(A, 2)];
    assert_eq!(title::<PageOwner>(&[&anon()[..], &again].concat()), "");
}

#[test]
fn who_parted_the_owner_from_his_page_is_blamed() {
    let (took_write, gave_write) = (event_of(A, true, false), event_of(A, true, true));
    let lost = |between: &[(u8, &'static str, Event)]| {
        let (mut oracle, mut found) = (PageOwner::default(), Findings::default());
        oracle.reset();
        let known = [&anon()[..], &[(0, gave_write), store(A, 1)]].concat();
        let after = [store(B, 1), dma(A, 9), load(B, 1)];
        let events = known.iter().map(|&(t, e)| (t, "f", e)).chain(between.iter().copied());
        for (step, (task, func, event)) in events.chain(after.iter().map(|&(t, e)| (t, "f", e))).enumerate() {
            oracle.event(&record(step as u32, task, func, event), &mut found);
        }
        found.violation.map(|v| v.title()).unwrap_or_default()
    };
    let pin = |func| (0, func, pin(Pin::Pin, A).1);
    let fork = (2, "fork", Event::ForkBegin { parent: 0, child: 1 });
    let (gone, back) = ((2, "reclaim", took_write), (2, "fault", gave_write));
    assert_eq!(lost(&[pin("gup"), gone]), "lost-write in reclaim");
    assert_eq!(lost(&[pin("gup"), gone, (2, "later", took_write)]), "lost-write in reclaim");
    assert_eq!(lost(&[pin("gup"), gone, back, (2, "fork", took_write)]), "lost-write in fork");
    assert_eq!(lost(&[pin("gup"), gone, back]), "lost-write in f");
    assert_eq!(lost(&[fork, pin("gup"), gone]), "lost-write in gup");
    assert_eq!(lost(&[fork, gone, pin("gup")]), "lost-write in gup");
    assert_eq!(lost(&[pin("gup"), fork, gone]), "lost-write in reclaim");
}

#[test]
fn dma_by_a_plain_reference_or_after_the_pin_is_not_promised() {
    let got = [store(A, 1), pin(Pin::Get, A), dma(A, 9), load(B, 1)];
    assert_eq!(title::<PageOwner>(&[&anon()[..], &got].concat()), "");
    let late = [store(A, 1), pin(Pin::Pin, A), unpin(A), dma(A, 9), load(B, 1)];
    assert_eq!(title::<PageOwner>(&[&anon()[..], &late].concat()), "");
    let unmapped = [pin(Pin::Pin, A), begin(1, "madvise", [8, 0, 0, 0, 0]), end(1, 0), store(B, 1), dma(A, 9)];
    assert_eq!(title::<PageOwner>(&[&anon()[..], &unmapped, &[load(B, 1)]].concat()), "");
}

#[test]
fn a_pin_taken_while_the_page_was_discarded_is_not_trusted() {
    let late = [begin(2, "dio_read", [8, 0, 0, 0, 0]), begin(1, "madvise", [8, 0, 0, 0, 0]), end(1, 0)];
    let (task, event) = (2, pin(Pin::Pin, A).1);
    let events = [&anon()[..], &late, &[(task, event), store(B, 1), dma(A, 9), load(B, 1)]].concat();
    assert_eq!(title::<PageOwner>(&events), "");
}

#[test]
fn a_child_has_what_its_parent_had_at_one_moment() {
    let begin = (0, Event::ForkBegin { parent: 0, child: 1 });
    let copy = (0, Event::ForkCopy { parent: 0, va: 8 });
    let end = (0, Event::ForkEnd { parent: 0, child: 1 });
    let other = |value| touch(1, UseKind::Store, B, value, Some(9));
    let torn = [begin, copy, store(A, 1), other(2), end];
    assert_eq!(title::<PageOwner>(&[&anon()[..], &torn].concat()), "torn-snapshot in f");
    for well in [[begin, copy, other(2), store(A, 1), end], [begin, store(A, 1), copy, other(2), end]] {
        assert_eq!(title::<PageOwner>(&[&anon()[..], &well].concat()), "");
    }
}

#[test]
fn a_child_loads_what_its_parent_stored_before() {
    let fork = [(0, Event::ForkBegin { parent: 0, child: 1 }), (0, Event::ForkEnd { parent: 0, child: 1 })];
    let child = |value| {
        (
            3,
            Event::Use {
                kind: UseKind::Load,
                pfn: B,
                took: 3,
                now: 3,
                owner: Owner::Anon(1),
                value,
                written: 3,
                at: Some((1, 8)),
            },
        )
    };
    assert_eq!(title::<PageOwner>(&[&anon()[..], &[store(A, 1)], &fork, &[child(1)]].concat()), "");
    assert_eq!(title::<PageOwner>(&[&anon()[..], &[store(A, 1)], &fork, &[child(2)]].concat()), "lost-write in f");
    // Written while the fork ran: nobody says which of the two it is.
    let during = [fork[0], store(A, 2), fork[1], child(1)];
    assert_eq!(title::<PageOwner>(&[&anon()[..], &[store(A, 1)], &during].concat()), "");
}

#[test]
fn a_child_shares_the_frame_that_its_parent_has_in_the_swap_cache() {
    let fork = [(0, Event::ForkBegin { parent: 0, child: 1 }), (0, Event::ForkEnd { parent: 0, child: 1 })];
    let map = |mm, pfn| (0, Event::Map { mm, va: 8, pfn, nr: 1, gen_: 3, anon: true, write: true, special: false });
    let load = |pfn, value| {
        let (kind, owner, at) = (UseKind::Load, Owner::Anon(1), Some((1, 8)));
        (3, Event::Use { kind, pfn, took: 3, now: 3, owner, value, written: 3, at })
    };
    // The page has moved since the store; what a reference writes there shows to both, promised to none.
    let shared = [&anon()[..], &[map(0, A), store(A, 1), map(0, B)], &fork, &[dma(B, 7), load(B, 7)]].concat();
    assert_eq!(title::<PageOwner>(&shared), "");
    // What another process had there is nothing to the child, before and after a boot.
    let exit = (0, Event::MmExit { mm: 1, rss_anon: 0, rss_file: 0, pgtables: 0 });
    assert_eq!(title::<PageOwner>(&[&[map(1, A), exit], &shared[..]].concat()), "");
    let (mut oracle, mut found) = (PageOwner::default(), Findings::default());
    oracle.event(&record(0, 0, "f", map(1, A).1), &mut found);
    oracle.reset();
    for (step, &(task, event)) in shared.iter().enumerate() {
        oracle.event(&record(step as u32, task, "f", event), &mut found);
    }
    assert!(found.violation.is_none(), "{:?}", found.violation);
}

/// A frame of which nobody knows what it holds may hold the page that was stored to.
#[test]
fn what_is_in_the_swap_is_in_no_frame_that_holds_something_else() {
    let stored = [&anon()[..], &[(0, event_of(A, true, true)), store(A, 1), (0, event_of(A, true, false))]].concat();
    let elsewhere = touch(0, UseKind::Store, B, 2, Some(9));
    assert_eq!(title::<PageOwner>(&[&stored[..], &[dma(B, 7), load(A, 7)]].concat()), "");
    assert_eq!(title::<PageOwner>(&[&stored[..], &[elsewhere, dma(B, 7), load(A, 7)]].concat()), "lost-write in f");
}

#[test]
fn a_reference_of_another_process_does_not_show_private_stores() {
    let got = |mm| (3, Event::GupPin { mm, va: 8, pfn: A, took: 3, entry: 3, kind: Pin::Get, write: false });
    let read = touch(3, UseKind::KernelRead, A, 1, None);
    let put = (3, Event::GupUnpin { pfn: A, took: 3, kind: Pin::Get });
    assert_eq!(title::<PageOwner>(&[&anon()[..], &[got(1), store(A, 1), read]].concat()), "private-store-seen in f");
    for well in [[got(0), store(A, 1), read], [store(A, 1), got(1), read]] {
        assert_eq!(title::<PageOwner>(&[&anon()[..], &well].concat()), "");
    }
    // Whose reference it reads by is not known, or none is left.
    assert_eq!(title::<PageOwner>(&[&anon()[..], &[got(1), got(0), store(A, 1), read]].concat()), "");
    assert_eq!(title::<PageOwner>(&[&anon()[..], &[got(1), store(A, 1), put, read]].concat()), "");
}
