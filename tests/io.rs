// SPDX-License-Identifier: GPL-2.0-or-later
//! Direct I/O, pipes and registered buffers, whole runs: what user space sees.

use gupfuzz::fixes::Spec;
use gupfuzz::init::{Observe, Verdict, start_kernel};
use gupfuzz::prog::Script;
use gupfuzz::trace::{Event, Record, UseKind};

const EAGAIN: i32 = -11;
const EBADF: i32 = -9;
const EEXIST: i32 = -17;
const EFAULT: i32 = -14;

/// Runs a program, which must be silent; its events.
fn trace(kernel: &str, text: &str) -> Vec<Record> {
    let script = Script::parse(text).unwrap_or_else(|e| panic!("{e}"));
    let spec: Spec = kernel.parse().unwrap_or_else(|e| panic!("{e}"));
    let mut computer = start_kernel(spec.fixes);
    let outcome = computer.run(&script.prog, script.prog.seed, Observe::Keep);
    assert!(matches!(outcome.verdict, Verdict::Silent), "{kernel}: {:?}", outcome.verdict);
    computer.take_trace().0
}

/// What the calls returned, in their order in the program.
fn results(records: &[Record]) -> Vec<i32> {
    let mut ends: Vec<(u8, i32)> = records
        .iter()
        .filter_map(|r| if let Event::CallEnd { call, ret } = r.event { Some((call, ret)) } else { None })
        .collect();
    ends.sort();
    ends.into_iter().map(|(_, ret)| ret).collect()
}

fn run(kernel: &str, text: &str) -> Vec<i32> {
    results(&trace(kernel, text))
}

const KERNELS: [&str; 7] = ["newest", "v7.2", "v6.12", "v6.1", "v5.12", "v5.10", "v5.7"];

#[test]
fn what_is_written_to_the_disk_is_read_back() {
    for kernel in KERNELS {
        let ret = run(
            kernel,
            "0: mmap(addr=va0, len=4, prot=r|w, map=anon)
             0: store(addr=va0, value=7)
             0: store(addr=va1, value=8)
             0: dio_write(addr=va0, len=2, block=15)
             0: dio_read(addr=va2, len=2, block=15)
             0: load(addr=va2)
             0: load(addr=va3)
             0: dio_read(addr=va0, len=1, block=3)
             0: load(addr=va0)",
        );
        assert_eq!(ret, [0, 0, 0, 2, 2, 7, 8, 1, 0x43], "{kernel}");
    }
}

#[test]
fn a_short_pin_is_a_short_request_and_none_is_an_error() {
    for kernel in KERNELS {
        let ret = run(
            kernel,
            "0: mmap(addr=va0, len=2, prot=r|w, map=anon)
             0: dio_read(addr=va0, len=4, block=0)
             0: dio_read(addr=va8, len=4, block=0)
             0: dio_write(addr=va1, len=8, block=0)
             0: mprotect(addr=va0, len=2, prot=r)
             0: dio_read(addr=va0, len=1, block=0)
             0: dio_write(addr=va0, len=1, block=0)",
        );
        assert_eq!(ret, [0, 2, EFAULT, 1, 0, EFAULT, 1], "{kernel}");
    }
}

#[test]
fn an_asynchronous_request_lands_when_the_disk_runs() {
    for kernel in KERNELS {
        let ret = run(
            kernel,
            "schedule: explicit
             0: mmap(addr=va0, len=2, prot=r|w, map=anon)
             0: dio_read(addr=va0, len=2, block=1, flags=aio)
             0: load(addr=va0)
             disk: steps 2
             0: load(addr=va0)
             0: load(addr=va1)
             disk: run
             0: load(addr=va1)",
        );
        assert_eq!(ret, [0, 2, 0, 0x41, 0, 0x42], "{kernel}");
    }
}

#[test]
fn the_ninth_request_in_flight_is_refused() {
    let mut text = String::from("schedule: explicit\n0: mmap(addr=va0, len=8, prot=r|w, map=anon)\n");
    for i in 0..9 {
        text += &format!("0: dio_read(addr=va{}, len=1, block=0, flags=aio)\n", i % 8);
    }
    text += "disk: run\n0: dio_read(addr=va0, len=1, block=0, flags=aio)\n";
    assert_eq!(run("newest", &text), [0, 1, 1, 1, 1, 1, 1, 1, 1, EAGAIN, 1]);
}

/// A file is truncated under a read: its page is clean again, so that the interrupt cannot just drop it.
#[test]
fn the_kworker_dirties_what_was_cleaned_during_the_read() {
    for kernel in KERNELS {
        let text = |truncate: &str| {
            format!(
                "schedule: explicit
                 0: mmap(addr=va0, len=1, prot=r|w, map=shared, file=f0)
                 0: dio_read(addr=va0, len=1, block=0, flags=aio)
                 {truncate}
                 disk: run
                 kworker: run
                 0: load(addr=va0)"
            )
        };
        let ran = |records: &[Record]| records.iter().any(|r| r.func.name() == "bio_dirty_fn");
        let (kept, cut) = (trace(kernel, &text("")), trace(kernel, &text("1: ftruncate(file=f0, len=0)")));
        assert!(!ran(&kept) && ran(&cut), "{kernel}");
        assert_eq!(results(&kept), [0, 1, 0x40], "{kernel}");
        assert_eq!(results(&cut), [0, 1, 0, EFAULT], "{kernel}");
    }
}

#[test]
fn a_pipe_gives_back_the_pages_it_was_given_in_order() {
    for kernel in KERNELS {
        let ret = run(
            kernel,
            "0: mmap(addr=va0, len=8, prot=r|w, map=anon)
             0: store(addr=va0, value=1)
             0: store(addr=va1, value=2)
             0: pipe_read(pipe=p0)
             0: vmsplice(pipe=p0, addr=va0, len=2, repeat=1024)
             0: vmsplice(pipe=p0, addr=va0, len=8, repeat=16)
             0: vmsplice(pipe=p0, addr=va0, len=1, repeat=1)
             0: store(addr=va0, value=3)
             0: pipe_read(pipe=p0)
             0: pipe_read(pipe=p0)
             1: pipe_close(pipe=p0)
             0: pipe_close(pipe=p0)
             0: vmsplice(pipe=p0, addr=va16, len=1, repeat=1)
             0: pipe_read(pipe=p0)",
        );
        // The store of 3 goes into the page that the pipe holds: it is no copy.
        assert_eq!(ret, [0, 0, 0, EBADF, 2, 6, EAGAIN, 0, 3, 2, 0, EBADF, EFAULT, EAGAIN], "{kernel}");
    }
}

#[test]
fn a_registered_buffer_is_pinned_until_its_last_request_is_done() {
    for kernel in KERNELS {
        let records = trace(
            kernel,
            "schedule: explicit
             0: mmap(addr=va0, len=2, prot=r|w, map=anon)
             0: io_uring_register(buf=r0, addr=va0, len=3)
             0: io_uring_register(buf=r0, addr=va0, len=2)
             0: io_uring_register(buf=r0, addr=va0, len=2)
             0: io_uring_read_fixed(buf=r1, block=5)
             0: io_uring_read_fixed(buf=r0, block=6, flags=aio)
             0: io_uring_read_fixed(buf=r0, block=5, flags=aio)
             1: io_uring_unregister(buf=r0) steps 2
             0: io_uring_read_fixed(buf=r0, block=5)
             0: io_uring_register(buf=r0, addr=va0, len=2)
             0: io_uring_unregister(buf=r0)
             0: load(addr=va0)
             disk: run
             0: load(addr=va0)
             resume(1)
             0: io_uring_unregister(buf=r0)",
        );
        let expected = [0, EFAULT, 2, EEXIST, EBADF, 2, 2, 2, EBADF, EEXIST, EBADF, 0, 0x45, EBADF];
        assert_eq!(results(&records), expected, "{kernel}");
        let last_dma = records.iter().rposition(|r| matches!(r.event, Event::Use { kind: UseKind::DmaWrite, .. }));
        let unpin = records.iter().position(|r| {
            matches!(r.event, Event::GupUnpin { .. })
                && records.iter().any(|c| c.step < r.step && matches!(c.event, Event::CallEnd { call: 6, .. }))
        });
        assert!(last_dma < unpin, "{kernel}: unpinned under the request");
    }
}

#[test]
fn a_synchronous_read_into_a_registered_buffer_is_seen_at_once() {
    for kernel in ["newest", "newest -io-uring-pin-fast", "v5.12"] {
        let ret = run(
            kernel,
            "0: mmap(addr=va0, len=1, prot=r|w, map=anon)
             0: io_uring_register(buf=r2, addr=va0, len=1)
             0: io_uring_read_fixed(buf=r2, block=9)
             0: load(addr=va0)",
        );
        assert_eq!(ret, [0, 1, 1, 0x49], "{kernel}");
    }
}

#[test]
fn registration_takes_the_lock_or_not_by_kernel() {
    let text = "0: mmap(addr=va0, len=1, prot=r|w, map=anon)
                0: store(addr=va0, value=1)
                0: io_uring_register(buf=r0, addr=va0, len=1)";
    let lockless = |kernel| trace(kernel, text).iter().any(|r| r.func.name() == "gup_fast_pte_range");
    assert!(lockless("newest") && lockless("v6.12") && !lockless("v6.1") && !lockless("newest -io-uring-pin-fast"));
}

/// What is left open is closed at the end: nothing leaks, or debug_vm and kmemleak would say so.
#[test]
fn everything_may_be_left_open() {
    for kernel in KERNELS {
        run(
            kernel,
            "schedule: explicit
             0: mmap(addr=va0, len=8, prot=r|w, map=anon)
             0: mmap(addr=va8, len=8, prot=r|w, map=shared, file=f0)
             0: io_uring_register(buf=r0, addr=va0, len=8)
             0: io_uring_register(buf=r7, addr=va8, len=8)
             0: vmsplice(pipe=p0, addr=va4, len=8, repeat=1024)
             0: vmsplice(pipe=p7, addr=va0, len=8, repeat=1024)
             0: io_uring_read_fixed(buf=r7, block=0, flags=aio)
             0: dio_read(addr=va4, len=8, block=0, flags=aio)
             0: dio_write(addr=va4, len=8, block=0, flags=aio)
             1: ftruncate(file=f0, len=0)
             1: munmap(addr=va0, len=8)
             2: dio_read(addr=va8, len=1, block=0) steps 4
             3: pipe_close(pipe=p0) steps 2",
        );
    }
}
