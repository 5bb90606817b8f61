// SPDX-License-Identifier: GPL-2.0-or-later
//! The command line when something comes between: files that cannot be written or are somebody's, Ctrl-C, a closed pipe.

mod typed;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;
use typed::{Dir, LOST, LOST_KERNEL, LOST_TITLE, QUIET, has};

#[test]
fn what_something_was_made_of_is_not_overwritten() {
    let dir = Dir::new("input");
    dir.file("a.prog", QUIET);
    for args in [
        &["pack", "a.prog", "-o", "a.prog"][..],
        &["minimize", "a.prog", "-o", "./a.prog"],
        &["explain", "a.prog", "--html", "./a.prog"],
        &["explain", "a.prog", "--trace", "../input/a.prog"],
    ] {
        let (code, _, err) = dir.gupfuzz(args);
        assert_eq!(code, 2, "{args:?}");
        assert!(err.contains("expected another file than the input"), "{err}");
        assert_eq!(dir.read("a.prog"), QUIET);
    }
}

#[test]
fn run_never_overwrites_another_program() {
    let dir = Dir::new("overwrite");
    let args = ["run", "ttm", "--kernel", "v5.12", "--jobs", "1"];
    assert_eq!(dir.gupfuzz(&args).0, 1);
    let [name] = &dir.names()[..] else { panic!("{:?}", dir.names()) };
    let text = dir.read(name);
    dir.file(name, "mine");
    assert_eq!(dir.gupfuzz(&args).0, 1);
    assert_eq!(dir.gupfuzz(&args).0, 1);
    let second = name.replace(".prog", "-2.prog");
    assert_eq!(dir.names(), [second.as_str(), name]);
    assert_eq!((dir.read(name), dir.read(&second)), ("mine".into(), text));
}

/// By a shell, for what only a shell can say.
fn shell(dir: &Dir, script: &str) -> (Option<i32>, String, String) {
    let script = script.replace("GUPFUZZ", env!("CARGO_BIN_EXE_gupfuzz"));
    let out = Command::new("sh").current_dir(&dir.0).args(["-c", &script]).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (out.status.code(), text(out.stdout), text(out.stderr))
}

#[test]
fn what_cannot_be_saved_is_printed() {
    let dir = Dir::new("full");
    let full = "trap '' XFSZ; ulimit -f 0; exec GUPFUZZ run ttm --kernel v5.12 --jobs 1";
    let (code, out, err) = shell(&dir, full);
    assert_eq!(code, Some(1), "{err}");
    has(&out, "\nBUG: ");
    let (_, prog) = out.split_once("the program could not be saved, it is\n\n").expect("the program");
    has(prog, "kernel: v5.12\n");
    assert!(err.lines().any(|l| l.starts_with("gupfuzz: ./") && l.contains("too large")), "{err}");
    let (code, out, err) = shell(&dir, &format!("{full} --keep-going --runs 3000"));
    assert_eq!(code, Some(1), "{err}");
    has(&out, "the program could not be saved, it is\n\n");
    assert_eq!(dir.names(), [""; 0]);
}

#[test]
fn what_cannot_be_written_leaves_what_was_there() {
    let dir = Dir::new("beside");
    dir.file("a.prog", format!("kernel: {LOST_KERNEL}\n{LOST}")).file("old", "mine");
    for args in
        ["pack a.prog -o old", "explain a.prog --html old", "explain a.prog --trace old", "minimize a.prog -o old"]
    {
        let (code, out, err) = shell(&dir, &format!("trap '' XFSZ; ulimit -f 0; exec GUPFUZZ {args}"));
        assert_eq!(code, Some(2), "{args}: {err}");
        has(&err, "gupfuzz: old: ");
        assert_eq!((dir.read("old"), dir.names()), ("mine".into(), vec!["a.prog".into(), "old".into()]), "{args}");
        assert_eq!(out.contains(LOST_TITLE), args.starts_with("minimize"), "{args}: {out}");
    }
    // A link stays a link, and who may read a file still may; a device is no file to be replaced.
    let (code, _, err) = shell(&dir, "chmod 640 old && ln -s old link && GUPFUZZ pack a.prog -o link");
    assert_eq!(code, Some(0), "{err}");
    assert!(dir.0.join("link").is_symlink());
    assert_eq!(fs::metadata(dir.0.join("old")).unwrap().permissions().mode() & 0o777, 0o640);
    assert_ne!(dir.read("old"), "mine");
    assert_eq!(dir.names(), ["a.prog", "link", "old"]);
    let (code, out, err) =
        shell(&dir, "GUPFUZZ pack a.prog -o /dev/stdout | cmp - old && GUPFUZZ pack a.prog -o /dev/null");
    assert_eq!((code, out.as_str()), (Some(0), ""), "{err}");
}

#[test]
fn matrix_loses_neither_its_table_nor_what_was_there() {
    let dir = Dir::new("matrix_ends");
    let matrix = "matrix --runs 2000 --jobs 1 --path 'TTM huge' --kernel v5.12";
    let program = "found/TTM_huge@v5.12.prog";
    let (code, table, _) = shell(&dir, &format!("GUPFUZZ {matrix} --out found"));
    assert_eq!(code, Some(0));
    let text = dir.read(program);
    dir.file(program, "mine");
    for _ in 0..2 {
        let (code, out, err) = shell(&dir, &format!("GUPFUZZ {matrix} --out found"));
        assert_eq!((code, out), (Some(0), table.clone()));
        has(&err, "TTM_huge@v5.12.prog holds something else: wrote found/TTM_huge@v5.12-2.prog");
        assert_eq!((dir.read(program), dir.read("found/TTM_huge@v5.12-2.prog")), ("mine".into(), text.clone()));
    }
    assert_eq!(fs::read_dir(dir.0.join("found")).unwrap().count(), 2);

    // Every error is told, and the table printed where its file cannot be written.
    let full = format!("trap '' XFSZ; ulimit -f 0; exec GUPFUZZ {matrix} --kernel v5.10 --out new -o no/where");
    let (code, out, err) = shell(&dir, &full);
    assert_eq!(code, Some(2), "{err}");
    has(&out, "\n| `v5.12` | **");
    has(&err, "gupfuzz: new/TTM_huge@v5.12.prog: ");
    has(&err, "gupfuzz: new/TTM_huge@v5.10.prog: ");
    has(&err, "gupfuzz: no/where: ");
}

/// Whether a process catches Ctrl-C.
fn catches(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or_default().trim();
    u64::from_str_radix(caught, 16).is_ok_and(|signals| signals & 1 << (2 - 1) != 0)
}

/// Starts gupfuzz on `late.prog`, which it waits for, and presses Ctrl-C so many times as soon as it heeds that.
fn pressed(dir: &Dir, args: &[&str], times: u32) -> Child {
    assert_eq!(shell(dir, "mkfifo late.prog").0, Some(0));
    let mut gupfuzz = Command::new(env!("CARGO_BIN_EXE_gupfuzz"));
    let gupfuzz = gupfuzz.current_dir(&dir.0).args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = gupfuzz.spawn().unwrap();
    let ready = (0..3000).any(|_| {
        sleep(Duration::from_millis(10));
        catches(child.id())
    });
    assert!(ready, "{args:?} does not catch Ctrl-C");
    for _ in 0..times {
        assert_eq!(shell(dir, &format!("kill -INT {}", child.id())).0, Some(0));
        // A thread has to hear of it.
        sleep(Duration::from_millis(300));
    }
    child
}

fn end(child: Child) -> (Option<i32>, String, String) {
    let out = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (out.status.code(), text(out.stdout), text(out.stderr))
}

#[test]
fn ctrl_c_ends_minimize_and_bisect_with_what_there_is() {
    let dir = Dir::new("interrupt_late");
    let late = |args: &[&str], text: &str| {
        let child = pressed(&dir, args, 1);
        fs::write(dir.0.join("late.prog"), text).unwrap();
        fs::remove_file(dir.0.join("late.prog")).unwrap();
        end(child)
    };
    let race =
        LOST.replace("value=1)\n", "value=1) &\n").replace("0: pin_", "1: pin_").replace("=write)\n", "=write) &\n");
    let whole = format!("kernel: {LOST_KERNEL}\n{LOST}");
    let (code, out, err) = late(&["minimize", "late.prog"], &whole);
    assert_eq!(code, Some(1), "{err}");
    has(&err, "interrupted: this is the best so far");
    has(&out, LOST_TITLE);

    // While it looks for an interleaving that shows what the file says.
    let (code, out, err) = late(&["minimize", "late.prog"], &format!("expect: {LOST_TITLE}\n{race}"));
    let expected = format!("interrupted: no interleaving that was tried on newest shows {LOST_TITLE}\n");
    assert_eq!((code, out), (Some(3), expected), "{err}");

    let (code, out, err) =
        late(&["bisect", "late.prog"], &format!("{whole}0: load(addr=va20) &\n1: load(addr=va21) &\n"));
    assert_eq!(code, Some(1), "{err}");
    has(&err, "interrupted: `?` are kernels");
    has(&out, LOST_TITLE);
    assert!(out.lines().any(|line| line.starts_with("newest ") && line.ends_with('?')), "{out}");
    let (code, _, err) = late(&["bisect", "late.prog"], &format!("expect: {LOST_TITLE}\n{race}"));
    assert_eq!(code, Some(0), "not known: {err}");
}

#[test]
fn ctrl_c_ends_matrix_with_the_cells_there_are() {
    let dir = Dir::new("interrupt_matrix");
    let args = ["matrix", "--runs=1_000_000_000", "--jobs=1", "--kernel=newest", "--path=split", "--path=fork"];
    let (code, out, err) = end(pressed(&dir, &args, 1));
    assert_eq!(code, Some(0), "{err}");
    has(&out, "\n| `newest` | ? | ? |\n");
    has(&err, "interrupted: `?` are cells");
}

#[test]
fn a_second_ctrl_c_ends_it_at_once() {
    let dir = Dir::new("interrupt_twice");
    assert_eq!(end(pressed(&dir, &["minimize", "late.prog"], 2)), (Some(130), String::new(), String::new()));
    has(&dir.gupfuzz(&["--help"]).1, "130 ended by a second Ctrl-C");
}

#[test]
fn ctrl_c_ends_a_search_with_its_result() {
    let dir = Dir::new("interrupt");
    let interrupt = |args: &str| shell(&dir, &format!("GUPFUZZ run {args} & sleep 0.5; kill -INT $!; wait $!"));
    let (code, out, err) = interrupt("mm --jobs 2");
    assert_eq!((code, out.lines().last()), (Some(0), Some("interrupted: silent")), "{err}");
    has(&out, "calls that succeeded");
    let (code, out, _) = interrupt("ttm --kernel v5.12 --jobs 2 --keep-going");
    let last = out.lines().last().unwrap();
    assert!(code == Some(1) && last.starts_with("interrupted: ") && last.ends_with(" different violations"), "{out}");
}

#[test]
fn a_closed_pipe_is_no_panic() {
    let dir = Dir::new("pipe");
    dir.file("a.prog", QUIET.repeat(16));
    for args in [&["list", "fixes"][..], &["replay", "--steps", "a.prog"]] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_gupfuzz"))
            .current_dir(&dir.0)
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let out = child.wait_with_output().unwrap();
        assert_eq!((out.status.code(), out.stderr.as_slice()), (Some(0), &b""[..]), "{args:?}");
    }
}
