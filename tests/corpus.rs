// SPDX-License-Identifier: GPL-2.0-or-later
//! The corpus holds what it says, and the fix table is covered by it, both ways.

use gupfuzz::fixes::{FIXES, Kind, Spec};
use gupfuzz::init::{Observe, Verdict, start_kernel};
use gupfuzz::oracles::ORACLES;
use gupfuzz::prog::{Prog, Script, TARGETS};
use std::fs;
use std::path::{Path, PathBuf};

fn corpus(folder: &str) -> Vec<(PathBuf, Script)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(folder);
    let mut found: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "prog"))
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let script = Script::parse(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            (path, script)
        })
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(!found.is_empty(), "{} is empty", folder.display());
    found
}

/// The title of the first violation, or how else the program ended.
fn outcome(prog: &Prog, spec: &Spec) -> String {
    let outcome = start_kernel(spec.fixes).run_burst(prog, |_| ());
    match outcome.verdict {
        Verdict::Silent => "silent".into(),
        Verdict::Cut => "cut".into(),
        Verdict::Violation(v) => v.title(),
    }
}

fn spec(path: &Path, text: &str) -> Spec {
    text.parse().unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn holds(path: &Path, script: &Script) {
    let kernel = spec(path, script.kernel.as_deref().unwrap_or("newest"));
    let expected = script.expect.as_deref().unwrap_or("silent");
    assert_eq!(outcome(&script.prog, &kernel), expected, "{} on {kernel}", path.display());
    for text in &script.silent {
        assert_eq!(outcome(&script.prog, &spec(path, text)), "silent", "{} on {text}", path.display());
    }
}

#[test]
fn stories_fire_where_they_should_and_nowhere_else() {
    for (path, script) in corpus("stories") {
        assert!(script.expect.is_some(), "{}: a story has an end: `expect:`", path.display());
        assert!(!script.silent.is_empty(), "{}: a story says where it does not happen: `silent:`", path.display());
        holds(&path, &script);
    }
}

#[test]
fn legal_surprises_stay_silent() {
    for (path, script) in corpus("quiet") {
        assert!(script.expect.is_none(), "{}: expects a violation", path.display());
        holds(&path, &script);
    }
}

#[test]
fn programs_of_the_fix_table_fire_without_their_fix_and_are_silent_with_it() {
    for (path, script) in corpus("regress") {
        holds(&path, &script);
    }
}

/// `on` with the fix taken away (mutants and proposals: with the wrong order, without the proposal),
/// and `on` as it should be.  Of a policy neither setting is wrong.
fn kernels(entry: &gupfuzz::fixes::Entry) -> (Spec, Spec) {
    let on: Spec = entry.on.parse().unwrap();
    let change = |sign: &str| format!("{} {sign}{}", entry.on, entry.name).parse().unwrap();
    match (entry.kind, on.fixes.has(entry.fix)) {
        (Kind::Mutant, false) => (change("+"), on),
        (_, true) => (change("-"), on),
        (_, false) => (on, change("+")),
    }
}

#[test]
fn every_entry_of_the_fix_table_has_its_program() {
    let programs = corpus("regress");
    for entry in FIXES {
        let file = format!("{}.prog", entry.name);
        let Some((path, script)) = programs.iter().find(|(path, _)| path.file_name().unwrap() == file.as_str()) else {
            panic!("corpus/regress/{file} is missing");
        };
        let (mut broken, mut mended) = kernels(entry);
        if entry.kind == Kind::Policy && outcome(&script.prog, &broken) == "silent" {
            std::mem::swap(&mut broken, &mut mended);
        }
        let title = script.expect.as_deref().unwrap_or_else(|| panic!("{}: no `expect:`", path.display()));
        assert_eq!(outcome(&script.prog, &broken), title, "{} on {broken}", path.display());
        assert_eq!(outcome(&script.prog, &mended), "silent", "{} on {mended}", path.display());
    }
    for (path, _) in &programs {
        let name = path.file_stem().unwrap().to_string_lossy();
        assert!(FIXES.iter().any(|e| e.name == name), "{}: no fix is called {name}", path.display());
    }
}

/// What `gupfuzz grow` has written, see fuzz/README.md: seeds for the fuzz targets.
#[test]
fn grown_programs_are_small_and_silent() {
    let mut size = 0;
    let mut computer = start_kernel(Spec::default().fixes);
    for target in TARGETS {
        for (path, script) in corpus(target.name) {
            let is_silent = computer.run_burst(&script.prog, |_| ()).is_silent();
            assert!(is_silent && script.expect.is_none(), "{}: not silent on newest", path.display());
            size += fs::metadata(path).unwrap().len();
        }
    }
    assert!(size <= 2 << 20, "{size} bytes");
}

#[test]
fn every_oracle_has_its_canary() {
    for oracle in ORACLES {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(oracle.canary);
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", oracle.canary));
        let script = Script::parse(&text).unwrap();
        let kernel = spec(&path, script.kernel.as_deref().unwrap_or("newest"));
        let outcome = start_kernel(kernel.fixes).run_burst(&script.prog, |_| ());
        let fired = outcome.violation().unwrap_or_else(|| panic!("{} does not fire on {kernel}", oracle.canary));
        assert_eq!(fired.oracle, oracle.name, "{} fires another oracle: {}", oracle.canary, fired.title());
    }
}

#[test]
fn corpus_programs_run_the_same_twice_and_from_bytes() {
    for folder in ["stories", "regress", "quiet"] {
        for (path, script) in corpus(folder) {
            let kernel = spec(&path, script.kernel.as_deref().unwrap_or("newest"));
            let digest = |prog: &Prog| {
                let outcome = start_kernel(kernel.fixes).run(prog, prog.seed, Observe::Digest);
                (outcome.digest, outcome.steps)
            };
            let bytes = Prog::decode(&script.prog.encode());
            assert_eq!(bytes, script.prog, "{}", path.display());
            assert_eq!(digest(&script.prog), digest(&script.prog), "{}", path.display());
            assert_eq!(digest(&script.prog), digest(&bytes), "{}", path.display());
        }
    }
}

/// A driver's leaf of device memory reaches into the anonymous area behind it, where calls look for a struct page.
#[test]
fn a_leaf_that_reaches_too_far_has_no_struct_page() {
    let calls = [
        "mprotect(addr=va10, len=1, prot=r)",
        "madvise(addr=va10, len=2, advice=dontneed)",
        "madvise(addr=va10, len=2, advice=pageout)",
        "madvise(addr=va10, len=2, advice=free)",
        "migrate_vma(addr=va10, len=2)",
        "get_user_pages(pins=g0, addr=va10, len=2, flags=longterm)",
    ];
    for call in calls {
        let text = format!(
            "schedule: explicit\n\
             0: ttm_bo_create(bo=b0, order=2, caching=wc, placement=vram, driver=vmwgfx)\n\
             0: ttm_bo_mmap(bo=b0, addr=va8, len=2, map=shared)\n\
             0: mmap(addr=va10, len=2, prot=r|w, map=anon, file=f0)\n\
             0: load(addr=va8)\n0: {call}\n"
        );
        let prog = Script::parse(&text).unwrap().prog;
        let title = outcome(&prog, &"v5.12".parse().unwrap());
        assert!(title.starts_with("wild-memory-access in "), "{call}: {title}");
        assert_eq!(outcome(&prog, &"v5.12 +ttm-huge-fits".parse().unwrap()), "silent", "{call}");
    }
}
