// SPDX-License-Identifier: GPL-2.0-or-later
//! The command line, as one types it.

mod typed;

use std::fs;
use typed::{Dir, LOST, LOST_KERNEL, LOST_TITLE, QUIET, has};

#[test]
fn silent_programs_replay_with_0() {
    let dir = Dir::new("silent");
    dir.file("a.prog", QUIET);
    assert_eq!(dir.gupfuzz(&["replay", "a.prog"]), (0, "silent on newest\n".into(), String::new()));
    assert_eq!(dir.gupfuzz(&["replay", "a.prog", "--kernel", "v6.1"]).1, "silent on v6.1\n");
    let (code, out, _) = dir.gupfuzz(&["replay", "a.prog", "a.prog"]);
    assert_eq!((code, out.as_str()), (0, "a.prog: silent on newest\na.prog: silent on newest\n"));
}

#[test]
fn violations_replay_with_1_and_what_is_not_met_with_3() {
    let dir = Dir::new("violation");
    dir.file("plain.prog", LOST);
    let (code, out, _) = dir.gupfuzz(&["replay", "plain.prog", "--kernel", LOST_KERNEL]);
    assert_eq!(code, 1);
    has(&out, LOST_TITLE);
    has(&out, "gupfuzz replay --kernel \"newest -wp-exclusive\" plain.prog");

    let headers =
        |expect: &str, silent: &str| format!("kernel: {LOST_KERNEL}\nsilent: {silent}\nexpect: {expect}\n{LOST}");
    dir.file("met.prog", headers(LOST_TITLE, "newest; v6.1"));
    let (code, out, _) = dir.gupfuzz(&["replay", "met.prog"]);
    assert_eq!(code, 1);
    has(&out, "silent on newest\nsilent on v6.1\n");

    dir.file("expect.prog", headers("use-after-recycle in f", "newest"));
    let (code, out, _) = dir.gupfuzz(&["replay", "expect.prog"]);
    assert_eq!(code, 3);
    has(&out, "not met: expected use-after-recycle in f on newest -wp-exclusive, found lost-write in change_pte_range");
    // On another kernel the file says nothing.
    assert_eq!(dir.gupfuzz(&["replay", "expect.prog", "--kernel", "v6.12"]).0, 0);
    assert_eq!(dir.gupfuzz(&["replay", "expect.prog", "--kernel", LOST_KERNEL]).0, 3);

    dir.file("silent.prog", format!("silent: v6.1; {LOST_KERNEL}\n{LOST}"));
    let (code, out, _) = dir.gupfuzz(&["replay", "silent.prog"]);
    assert_eq!(code, 3);
    has(&out, "not met: expected silence on newest -wp-exclusive, found lost-write");

    dir.file("missing.prog", format!("expect: {LOST_TITLE}\n{LOST}"));
    let (code, out, _) = dir.gupfuzz(&["replay", "missing.prog"]);
    assert_eq!(
        (code, out.lines().last()),
        (3, Some("not met: expected lost-write in change_pte_range on newest, found silent"))
    );

    for (expect, code) in [("silent", 0), ("cut", 3)] {
        dir.file("quiet.prog", format!("expect: {expect}\n{QUIET}"));
        assert_eq!(dir.gupfuzz(&["replay", "quiet.prog"]).0, code, "{expect}");
    }
    dir.file("loud.prog", headers("silent", "newest"));
    assert_eq!(dir.gupfuzz(&["replay", "loud.prog"]).0, 3);
}

#[test]
fn who_is_cut_is_not_silent() {
    let dir = Dir::new("cut");
    let mut long = String::new();
    for va in (0..64).step_by(8) {
        long += &format!("0: mmap(addr=va{va}, len=8, prot=r|w, map=shared)\n");
    }
    long += &"0: dio_read(addr=va0, len=8)\n0: ftruncate(len=0)\n0: ftruncate(len=8)\n".repeat(18);
    dir.file("a.prog", &long);
    let cut = "cut on newest after 8192 steps";
    let replayed = format!("{cut}: neither silent nor a violation\n");
    assert_eq!(dir.gupfuzz(&["replay", "a.prog"]), (0, replayed, String::new()));
    for (command, nothing) in [("minimize", "minimize"), ("bisect", "look for")] {
        let told = format!("{cut}, neither silent nor a violation: there is nothing to {nothing}\n");
        assert_eq!(dir.gupfuzz(&[command, "a.prog"]), (0, told, String::new()));
    }
    for (expect, text, code) in [("cut", &*long, 0), ("silent", &long, 3), ("silent", QUIET, 0), ("cut", QUIET, 3)] {
        dir.file("b.prog", format!("expect: {expect}\n{text}"));
        for command in ["replay", "minimize"] {
            assert_eq!(dir.gupfuzz(&[command, "b.prog"]).0, code, "{command}: {expect}");
        }
    }
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_text() {
    let dir = Dir::new("mark");
    for file in ["a.prog", "a"] {
        dir.file(file, format!("\u{feff}kernel: v6.1\n{QUIET}"));
        assert_eq!(dir.gupfuzz(&["replay", file]), (0, "silent on v6.1\n".into(), String::new()));
    }
}

#[test]
fn every_seed_of_a_burst_is_tried() {
    let dir = Dir::new("burst");
    // Pinning races with mprotect: it fails if it comes second.
    let race = LOST
        .replace("flags=write)\n", "flags=write) &\n")
        .replace("0: mprotect(addr=va8, len=1, prot=r)\n", "1: mprotect(addr=va8, len=1, prot=r) &\n");
    let replay = |seed: u32, burst: u32| {
        dir.file("a.prog", format!("kernel: {LOST_KERNEL}\nschedule: pos seed={seed} burst={burst}\n{race}"));
        dir.gupfuzz(&["replay", "a.prog"])
    };
    let silent = (0..16).find(|seed| replay(*seed, 1).0 == 0).expect("some interleaving is silent");
    let (code, out, _) = replay(silent, 16);
    assert_eq!(code, 1, "{out}");
}

#[test]
fn observe_prints_what_user_space_saw() {
    let dir = Dir::new("observe");
    dir.file("a.prog", QUIET);
    let (_, out, _) = dir.gupfuzz(&["replay", "a.prog", "--observe"]);
    let expected = "\
0: mmap(addr=va8, len=1, prot=r|w, map=anon, file=f0)         = 0
0: store(addr=va8, value=7)                                   = 0  stores 7
0: load(addr=va8)                                             = 7  loads 7
0: load(addr=va9)                                       = -EFAULT
silent on newest
";
    assert_eq!(out, expected);

    let disk = "0: mmap(addr=va8, len=2, prot=r|w, map=anon)\n0: store(addr=va8, value=7)\n0: dio_write(addr=va8, len=1, block=1)\n\
                0: dio_read(addr=va9, len=1, block=1)\n0: load(addr=va9)\n";
    let (_, out, _) = dir.file("disk.prog", disk).gupfuzz(&["replay", "disk.prog", "--observe"]);
    has(&out, "device reads 7");
    has(&out, "device writes 7");
    has(&out, "loads 7");
}

#[test]
fn steps_prints_every_step() {
    let dir = Dir::new("steps");
    let (code, out, _) = dir.file("a.prog", QUIET).gupfuzz(&["replay", "a.prog", "--steps"]);
    assert_eq!(code, 0);
    has(&out, " step  task");
    has(&out, "mm/");
    has(&out, "load(addr=va8) begins");
    let steps: Vec<u32> = out.lines().filter_map(|l| l.get(..5)?.trim().parse().ok()).collect();
    assert_eq!(steps, (1..=steps.len() as u32).collect::<Vec<_>>());
    assert!(steps.len() > 20);
}

#[test]
fn pack_and_show_are_inverse() {
    let dir = Dir::new("pack");
    dir.file("a.prog", format!("# a comment\nkernel: v6.1\nexpect: x\n{QUIET}"));
    let (code, out, err) = dir.gupfuzz(&["pack", "a.prog", "-o", "a.bin"]);
    assert_eq!((code, out.as_str()), (0, ""));
    has(&err, "dropped, as bytes hold none: `kernel:`, `expect:`, comments");
    let (code, shown, err) = dir.gupfuzz(&["show", "a.bin"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(shown.starts_with("schedule: pos seed=0x0\n\n0: mmap(addr=va8"), "{shown}");
    dir.file("b.prog", &shown);
    assert_eq!(dir.gupfuzz(&["show", "b.prog"]).1, shown, "text is shown as it is");
    assert_eq!(dir.gupfuzz(&["show", "a.prog"]).1.lines().next(), Some("kernel: v6.1"));
    assert_eq!(dir.gupfuzz(&["pack", "b.prog", "--out", "b.bin"]).0, 0);
    assert_eq!(fs::read(dir.0.join("a.bin")).unwrap(), fs::read(dir.0.join("b.bin")).unwrap());
    assert_eq!(dir.gupfuzz(&["replay", "a.bin"]), (0, "silent on newest\n".into(), String::new()));
}

#[test]
fn several_programs_are_packed_into_a_folder() {
    let dir = Dir::new("pack_all");
    fs::create_dir_all(dir.0.join("more")).unwrap();
    dir.file("a.prog", format!("kernel: v6.1\n{QUIET}")).file("more/a.prog", QUIET).file("more/b.prog", LOST);
    let (code, out, err) = dir.gupfuzz(&["pack", "a.prog", "more/a.prog", "more/b.prog", "-o", "seeds/all"]);
    assert_eq!((code, out.as_str()), (0, ""), "{err}");
    has(&err, "dropped, as bytes hold none: `kernel:`\nseeds/all: 2 programs, ");
    // Bytes are not to be called `.prog`, for that is read as text.
    for (packed, of) in [("seeds/all/a", QUIET), ("seeds/all/b", LOST)] {
        dir.file("one.prog", of);
        assert_eq!(dir.gupfuzz(&["pack", "one.prog", "-o", "one"]).0, 0);
        assert_eq!(fs::read(dir.0.join(packed)).unwrap(), fs::read(dir.0.join("one")).unwrap(), "{packed}");
    }
    assert_eq!(dir.gupfuzz(&["replay", "seeds/all/a"]), (0, "silent on newest\n".into(), String::new()));
    // A folder takes a single one, too: one that is there, or is said to be one.
    for folder in ["seeds", "new/"] {
        assert_eq!(dir.gupfuzz(&["pack", "one", "-o", folder]).0, 0, "{folder}");
        assert_eq!(fs::read(dir.0.join(folder).join("one")).unwrap(), fs::read(dir.0.join("one")).unwrap());
    }
    // No program is lost, and none is half done.
    dir.file("more/a.prog", LOST).file("c", QUIET);
    for (args, message) in [
        (["a.prog", "more/a.prog"], "a.prog, more/a.prog: two programs, one name"),
        (["a.prog", "none.prog"], "none.prog"),
        (["a.prog", "c"], "expected another file than the input"),
    ] {
        let out = if args[1] == "c" { "." } else { "refused" };
        let (code, _, err) = dir.gupfuzz(&["pack", args[0], args[1], "-o", out]);
        assert_eq!(code, 2, "{args:?}");
        has(&err, message);
        assert!(!dir.0.join("refused").exists() && !dir.0.join("a").exists());
    }
    assert_eq!(dir.read("c"), QUIET);
    for args in [&["pack", "a.prog", "more/b.prog", "-o", "c"][..], &["pack", "a.prog", "-o", "c/"]] {
        let (code, _, err) = dir.gupfuzz(args);
        assert_eq!((code, dir.read("c").as_str()), (2, QUIET), "{args:?}");
        has(&err, "expected a folder, not a file");
    }
}

#[test]
fn any_bytes_are_a_program() {
    let dir = Dir::new("bytes");
    dir.file("empty", "").file("zeros", [0; 100]).file("ones", [0xff; 3000]).file("large", vec![7; (1 << 20) + 1]);
    for file in ["empty", "zeros", "ones"] {
        assert_eq!(dir.gupfuzz(&["replay", file]).0, 0, "{file}");
    }
    has(&dir.gupfuzz(&["replay", "empty"]).2, "empty: warning: a program without calls");
    let (code, _, err) = dir.gupfuzz(&["replay", "large"]);
    assert_eq!(code, 0);
    has(&err, "large: warning: only the first 1048576 bytes are read");
}

#[test]
fn unusable_files_say_where_and_what_was_expected() {
    let dir = Dir::new("unusable");
    let large = "#\n".repeat(1 << 20);
    let long = "0: load(addr=va8)\n".repeat(65);
    for (content, message) in [
        ("0: load(addr=va8)\n0: laod(addr=va8)\n", "a.prog:2:4: unknown operation `laod`, did you mean `load`?"),
        ("0: load(addr=va64)\n", "expected va0 to va63"),
        ("kernel: v5.11\n", "a.prog:1:9: kernel: no kernel is called `v5.11`; expected newest, v5.7"),
        ("# x\nsilent: newest; newest -x\n", "a.prog:2:24: silent: no fix is called `x`"),
        ("0: load(addr=va8) \u{1b}[31m\n", "a.prog:1:19: control character U+001B"),
        (&large, "a.prog: more than 1048576 bytes"),
    ] {
        let (code, out, err) = dir.file("a.prog", content).gupfuzz(&["replay", "a.prog"]);
        assert_eq!((code, out.as_str()), (2, ""), "{message}: {err}");
        has(&err, message);
        assert!(!err.contains('\u{1b}'));
    }
    // Without the name of a program it is text all the same.
    let (code, _, err) =
        dir.file("a", "0: execve()\n0: load(addr=va8)\n0: load(addr=va8) \u{7}\n").gupfuzz(&["replay", "a"]);
    assert_eq!(code, 2);
    has(&err, "a:3:19: control character U+0007, expected text");
    let (code, _, err) = dir.file("a.prog", b"0: execve()\n\xff\n").gupfuzz(&["show", "a.prog"]);
    assert_eq!(code, 2);
    has(&err, "a.prog:2: expected text, found bytes that are not UTF-8");
    let (code, _, err) = dir.file("a.prog", long).gupfuzz(&["replay", "a.prog"]);
    assert_eq!(code, 0);
    has(&err, "a.prog: warning: line 65: more than 64 calls");
    for args in [&["replay", "none.prog"][..], &["show", "."], &["pack", "a.prog", "-o", "no/where"]] {
        let (code, out, err) = dir.gupfuzz(args);
        assert_eq!((code, out.as_str()), (2, ""), "{args:?}");
        assert!(err.starts_with("gupfuzz: ") || err.contains("warning"), "{err}");
    }
    // One bad file does not keep the others from being run, but it is the result.
    let (code, out, _) = dir.gupfuzz(&["replay", "none.prog", "a.prog"]);
    assert_eq!((code, out.as_str()), (2, "a.prog: silent on newest\n"));
}

#[test]
fn unusable_arguments_are_refused_with_2() {
    let dir = Dir::new("arguments");
    for (args, message) in [
        (&["run", "xx"][..], "expected one of ttm, mm"),
        (&["run", "mm", "--kernel", "v9"], "no kernel is called `v9`"),
        (&["run", "mm", "--kernel", "newest -wp-refcount"], "makes no sense without"),
        (&["run", "mm", "--runs", "x"], "expected a number"),
        (&["run", "mm", "--time", "-1"], ""),
        (&["run", "mm", "--time=nan"], "expected a number of seconds"),
        (&["run", "mm", "--jobs", "0"], "1..=1024"),
        (&["run", "mm", "--until", "x", "--keep-going"], "cannot be used with"),
        (&["run", "mm", "--until", ""], "expected part of a title, found nothing"),
        (&["run", "mm", "--until= "], "expected part of a title, found nothing"),
        (&["run", "mm", "--runs=1", "--out", "/dev/null/x"], "/dev/null/x"),
        (&["replay"], "<FILE>..."),
        (&["list", "all"], "ops, fixes, kernels, oracles, targets"),
        (&["pack", "a.prog"], "--out <PATH>"),
        (&[], "Usage"),
    ] {
        let (code, out, err) = dir.gupfuzz(args);
        assert_eq!((code, out.as_str()), (2, ""), "{args:?}");
        has(&err, message);
    }
    assert_eq!(dir.gupfuzz(&["--help"]).0, 0);
}

#[test]
fn run_finds_writes_and_explains() {
    let dir = Dir::new("run");
    let args = ["run", "ttm", "--kernel", "v5.12", "--jobs", "2", "--out", "found", "--until", "use-after-recycle"];
    let (code, out, _) = dir.gupfuzz(&args);
    assert_eq!(code, 1);
    has(&out, "BUG: KASAN: use-after-recycle in ");
    has(&out, "\nprograms ");
    let found = dir.0.join("found");
    let files: Vec<_> = fs::read_dir(&found).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    let name = files[0].file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("use-after-recycle-in-") && name.ends_with(".prog"));
    has(&out, &format!("\nreplay:   gupfuzz replay --kernel \"v5.12\" found/{name}\n"));
    has(&out, &format!("\nthe program is found/{name}; `gupfuzz minimize found/{name}` makes it small\n"));
    let text = fs::read_to_string(&files[0]).unwrap();
    has(&text, "kernel: v5.12\n");
    has(&text, "expect: use-after-recycle in ");
    assert!(!text.contains("burst"), "{text}");
    let (code, again, err) = dir.gupfuzz(&["replay", files[0].to_str().unwrap()]);
    assert_eq!((code, err.as_str()), (1, ""));
    has(&again, "BUG: KASAN: use-after-recycle in ");
}

#[test]
fn explain_tells_of_any_program() {
    let dir = Dir::new("explain");
    dir.file("a.prog", QUIET).file("b.prog", LOST);
    let (code, out, err) = dir.gupfuzz(&["explain", "a.prog"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.starts_with("silent on newest\n\nIt is told of pfn 0x0.\n\nTimeline"), "{out}");
    has(&out, "  store 7 to pfn 0x0 ");
    has(&out, "\nreplay:   gupfuzz replay --kernel \"newest\" a.prog\n");
    has(&dir.gupfuzz(&["explain", "a.prog", "--pfn", "0x3f"]).1, "It is told of pfn 0x3f.\n");
    has(&dir.gupfuzz(&["explain", "a.prog", "--pfn", "0x50"]).2, "expected less than 0x50");

    // A violation is told as replay tells it.
    let (code, out, _) = dir.gupfuzz(&["explain", "b.prog", "--kernel", LOST_KERNEL]);
    assert_eq!((code, &out), (1, &dir.gupfuzz(&["replay", "b.prog", "--kernel", LOST_KERNEL]).1));
    assert_eq!(dir.gupfuzz(&["explain", "none.prog"]).0, 2);
}

#[test]
fn json_has_what_the_text_has() {
    let dir = Dir::new("json");
    dir.file("b.prog", format!("kernel: {LOST_KERNEL}\nsilent: newest\nexpect: {LOST_TITLE}\n{LOST}"));
    let (code, out, _) = dir.gupfuzz(&["replay", "b.prog", "--json"]);
    let lines: Vec<serde_json::Value> = out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!((code, lines.len()), (1, 2));
    let report = &lines[0]["report"];
    assert_eq!((&lines[0]["verdict"], &report["title"]), (&LOST_TITLE.into(), &LOST_TITLE.into()));
    assert_eq!((&report["checker"], &report["place"]["func"]), (&"page_owner".into(), &"change_pte_range".into()));
    let text = dir.gupfuzz(&["replay", "b.prog"]).1;
    for row in report["timeline"]["rows"].as_array().unwrap() {
        has(&text, row["text"].as_str().unwrap());
    }
    for line in report["page"].as_array().unwrap().iter().chain(report["argument"].as_array().unwrap()) {
        has(&text, line.as_str().unwrap());
    }
    let silent = serde_json::json!({ "file": "b.prog", "kernel": "newest", "verdict": "silent",
                                     "expected": "silent", "missed": false, "report": null });
    assert_eq!(lines[1], silent);

    let (code, out, _) = dir.gupfuzz(&["explain", "b.prog", "--json"]);
    let story: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &story["report"]), (1, report));
    let steps = story["steps"].as_array().unwrap();
    assert_eq!(steps.last().unwrap()["here"], true);
    assert!(steps.len() > 20 && story["spans"].as_array().unwrap().len() > 20);
}

#[test]
fn minimize_writes_a_file_that_speaks_for_itself() {
    let dir = Dir::new("minimize");
    let noise = "2: mmap(addr=va20, len=8, prot=r, map=shared, file=f3)\n1: load(addr=va21)\n";
    dir.file(
        "a.prog",
        format!("kernel: {LOST_KERNEL} -mremap-flush\nschedule: pos seed=9 burst=4\n{noise}{LOST}{noise}"),
    );
    let (code, out, err) = dir.gupfuzz(&["minimize", "a.prog"]);
    assert_eq!(code, 1, "{err}");
    has(&out, "# lost-write in change_pte_range: ");
    has(
        &out,
        "kernel: newest -wp-exclusive\nsilent: newest\nschedule: explicit\nexpect: lost-write in change_pte_range\n",
    );
    assert!(!out.contains("va20") && !out.contains("2: "), "{out}");
    has(&err, " of 12 calls left after ");

    assert_eq!(dir.gupfuzz(&["minimize", "a.prog", "-o", "b.prog"]).1, "");
    assert_eq!(dir.read("b.prog"), out);
    assert_eq!(dir.gupfuzz(&["replay", "b.prog"]).0, 1);
    assert_eq!(dir.gupfuzz(&["minimize", "b.prog"]).1, out, "a fixed point");
    // From the bytes of a fuzzer, which hold no kernel.
    dir.gupfuzz(&["pack", "a.prog", "-o", "crash-1"]);
    assert_eq!(dir.gupfuzz(&["minimize", "crash-1", "--kernel", LOST_KERNEL]).1, out);

    let (code, out, _) = dir.file("quiet.prog", QUIET).gupfuzz(&["minimize", "quiet.prog"]);
    assert_eq!((code, out.as_str()), (0, "silent on newest: there is nothing to minimize\n"));
    dir.file("lost.prog", format!("expect: {LOST_TITLE}\n{QUIET}"));
    assert_eq!(dir.gupfuzz(&["minimize", "lost.prog"]).0, 3);
    dir.file("other.prog", format!("kernel: {LOST_KERNEL}\nexpect: double-free in f\n{LOST}"));
    let (code, _, err) = dir.gupfuzz(&["minimize", "other.prog"]);
    assert_eq!(code, 1);
    has(&err, "other.prog: warning: it no longer shows double-free in f");
    assert_eq!(dir.gupfuzz(&["minimize", "none.prog"]).0, 2);
    let (code, unsaved, err) = dir.gupfuzz(&["minimize", "b.prog", "-o", "no/where"]);
    assert_eq!((code, unsaved), (2, dir.read("b.prog")), "the result is not lost");
    has(&err, "gupfuzz: no/where: ");
}

#[test]
fn bisect_says_which_kernels_have_it() {
    let dir = Dir::new("bisect");
    dir.file("a.prog", format!("kernel: {LOST_KERNEL}\n{LOST}"));
    let (code, out, err) = dir.gupfuzz(&["bisect", "a.prog"]);
    assert_eq!((code, err.as_str()), (1, ""));
    let row = |kernel: &str| {
        let found = out.lines().rfind(|line| line.starts_with(&format!("{kernel}  ")));
        found.unwrap_or_else(|| panic!("no row of {kernel} in:\n{out}")).to_owned()
    };
    for (kernel, verdict) in [("v5.7", "silent"), ("v5.12", "has it"), ("v6.1", "silent"), (LOST_KERNEL, "has it")] {
        has(&row(kernel), &format!("  {verdict}"));
    }
    has(&row("newest"), "policy, v5.19: a write fault reuses an exclusive");

    dir.file("quiet.prog", QUIET);
    assert_eq!(dir.gupfuzz(&["bisect", "quiet.prog"]).0, 0);
    let (code, out, _) = dir.gupfuzz(&["bisect", "a.prog", "--kernel", "newest"]);
    assert_eq!((code, out.lines().last()), (0, Some("silent on newest: there is nothing to look for")));
    dir.file("expect.prog", format!("expect: {LOST_TITLE}\n{LOST}"));
    let (code, out, _) = dir.gupfuzz(&["bisect", "expect.prog"]);
    assert_eq!(code, 3);
    has(&out, "newest -wp-exclusive  has it");
    has(&out, "not met: expected lost-write in change_pte_range on newest, found silent");
}

#[test]
fn one_job_and_one_seed_give_one_result() {
    let dir = Dir::new("determinism");
    let run = |args: &[&str]| dir.gupfuzz(&[&["run", "mm", "--digest", "--jobs"], args].concat());
    let (code, out, _) = run(&["1", "--seed", "7", "--runs", "3000"]);
    assert_eq!(code, 0);
    has(&out, "programs                       3000\n");
    has(&out, "\ndigest ");
    for row in ["steps a program  ", "calls that succeeded  ", "pin across an unmap  ", "cut at the step limit  "] {
        let number =
            out.lines().find_map(|line| line.strip_prefix(row)).unwrap_or_else(|| panic!("no {row}in:\n{out}"));
        let number: f64 = number.trim().trim_end_matches('%').parse().unwrap();
        assert!(if row.starts_with("cut") { number < 1.0 } else { number > 1.0 }, "{row}{number}");
    }
    assert_eq!(out.lines().last(), Some("silent"));
    assert_eq!(run(&["1", "--seed=0x7", "--runs=3_000"]).1, out);
    assert_ne!(run(&["1", "--seed", "8", "--runs", "3000"]).1, out);
    let two = ["2", "--seed", "7", "--runs", "3001", "--keep-going"];
    let (_, out, _) = run(&two);
    has(&out, "programs                       3001\n");
    assert_eq!(run(&two).1, out);
}

#[test]
fn run_ends_at_its_bounds() {
    let dir = Dir::new("bounds");
    let (code, out, err) = dir.gupfuzz(&["run", "ttm", "--runs", "500", "--until", "nothing"]);
    assert_eq!((code, out.lines().last()), (0, Some("no violation with `nothing` in its title")), "{err}");
    let (code, out, _) = dir.gupfuzz(&["run", "mm", "--time", "0.1"]);
    assert_eq!((code, out.lines().last()), (0, Some("silent")));
    assert_eq!(dir.gupfuzz(&["run", "mm", "--runs", "0"]).0, 0);
    assert_eq!(dir.names(), [""; 0]);
}

#[test]
fn keep_going_collects_a_program_a_title() {
    let dir = Dir::new("keep_going");
    let args = ["run", "ttm", "--kernel", "v5.12", "--runs", "6000", "--keep-going"];
    let (code, out, err) = dir.gupfuzz(&args);
    assert_eq!(code, 1, "{out}{err}");
    has(&out, "programs                       6000\n");
    for file in dir.names() {
        let title = file.trim_end_matches(".prog").replacen("-in-", " in ", 1);
        has(&out, &format!(" times {title}, ./{file}\n"));
        assert_eq!(dir.gupfuzz(&["replay", &file]).0, 1);
    }
    let names = dir.names();
    let last = format!("{} different violations", names.len());
    assert_eq!(out.lines().last(), Some(last.as_str()));
    let texts: Vec<_> = names.iter().map(|name| dir.read(name)).collect();
    // Again: nothing is left behind, and what was there is as it was.
    assert_eq!(dir.gupfuzz(&args).1, out);
    assert_eq!(dir.names(), names);
    assert_eq!(names.iter().map(|name| dir.read(name)).collect::<Vec<_>>(), texts);
}

#[test]
fn lists_are_tables() {
    let dir = Dir::new("list");
    for (what, part) in [
        ("ops", "7   store                    addr=va0..va63, value=0..255"),
        ("fixes", "gup-fast-recheck-pte"),
        ("kernels", "v5.12"),
        ("oracles", "corpus/stories/"),
        ("targets", "\nmm      anonymous"),
    ] {
        let (code, out, err) = dir.gupfuzz(&["list", what]);
        assert_eq!((code, err.as_str()), (0, ""));
        has(&out, part);
    }
}

#[test]
fn a_cell_of_the_matrix_is_the_same_whoever_works_beside_it() {
    let dir = Dir::new("matrix");
    let row = |text: &str| text.lines().find(|line| line.starts_with("| `v5.12`")).unwrap().to_owned();
    let one = ["matrix", "--runs", "2000", "--jobs", "1", "--path", "TTM huge", "--kernel", "v5.12", "--out", "found"];
    let (code, alone, _) = dir.gupfuzz(&one);
    assert_eq!(code, 0, "{alone}");
    has(&alone, "| kernel | TTM huge |\n| --- | --- |\n");
    has(&row(&alone), "| **a** ");
    let more = ["matrix", "--runs", "2000", "--jobs", "3", "--kernel", "newest", "--kernel", "v5.12"];
    let more = [&more[..], &["--path", "TTM huge", "--path", "split", "-o", "table.md"]].concat();
    assert_eq!(dir.gupfuzz(&more).0, 0);
    let table = dir.read("table.md");
    assert!(row(&table).starts_with(&row(&alone)), "{table}\n{alone}");
    has(&table, "| `newest` | · | · |");
    has(&table, "`·` silent after 2000 programs");

    // The program of the cell does what the cell says.
    let (code, report, _) = dir.gupfuzz(&["replay", "found/TTM_huge@v5.12.prog"]);
    assert_eq!(code, 1, "{report}");
    let program = dir.read("found/TTM_huge@v5.12.prog");
    let title = program.lines().find_map(|line| line.strip_prefix("expect: ")).unwrap();
    has(&alone, &format!("**a** {title}"));
    has(&program, "silent: newest");
    assert_eq!(dir.gupfuzz(&["matrix", "--path", "nowhere"]).0, 2);
}
