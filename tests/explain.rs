// SPDX-License-Identifier: GPL-2.0-or-later
//! What `gupfuzz explain` writes: a page that a real browser shows, a trace that Perfetto opens.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const STORY: &str = "corpus/stories/ttm_huge_fault_dio.prog";

/// A folder of a test's own.
fn folder(test: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("explain").join(test);
    _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn explain(program: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_gupfuzz")).arg("explain").arg(program).args(args).output().unwrap();
    (out.status.code(), String::from_utf8(out.stdout).unwrap(), String::from_utf8(out.stderr).unwrap())
}

fn corpus() -> Vec<PathBuf> {
    let folders = ["stories", "regress", "quiet"].map(|folder| root().join("corpus").join(folder));
    let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Slices of a thread nest, tracks of locks end after they begin, counters end as the page does.
fn check_trace(trace: &Value, story: &Value, name: &str) {
    let events = trace["traceEvents"].as_array().unwrap();
    let time = |e: &Value, key: &str| e[key].as_u64().unwrap_or_else(|| panic!("{name}: {key} of {e}"));
    let of = |ph: &'static str| events.iter().filter(move |e| e["ph"] == ph);
    let mut threads: BTreeMap<u64, Vec<(u64, u64)>> = BTreeMap::new();
    for slice in of("X") {
        let (from, to) = (time(slice, "ts"), time(slice, "ts") + time(slice, "dur"));
        let open = threads.entry(time(slice, "tid")).or_default();
        open.retain(|around| around.1 > from);
        assert!(open.iter().all(|around| around.0 <= from && to <= around.1), "{name}: {slice} in {open:?}");
        open.push((from, to));
    }
    let names: Vec<u64> = of("M").filter(|e| e["name"] == "thread_name").map(|e| time(e, "tid")).collect();
    assert!(threads.keys().all(|tid| names.contains(tid)), "{name}");
    for begin in of("b") {
        let mut end =
            of("e").filter(|e| (&e["id"], &e["cat"], &e["name"]) == (&begin["id"], &begin["cat"], &begin["name"]));
        assert!(time(end.next().unwrap(), "ts") > time(begin, "ts") && end.next().is_none(), "{name}: {begin}");
    }
    assert_eq!(
        (of("b").count(), of("i").count()),
        (of("e").count(), story["steps"].as_array().unwrap().len()),
        "{name}"
    );
    for count in ["refcount", "mapcount", "pincount", "generation"] {
        let last = of("C").rfind(|e| e["name"].as_str().unwrap().ends_with(count));
        let is = &story["steps"].as_array().unwrap().last().unwrap()["page"][count];
        assert_eq!(last.map_or(&Value::Null, |e| &e["args"]["value"]), is, "{name}: {count}");
    }
}

#[test]
fn every_program_has_a_trace_and_a_page() {
    let folder = folder("corpus");
    let (trace, page) = (folder.join("trace.json"), folder.join("page.html"));
    for path in corpus() {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let args = ["--json", "--trace", trace.to_str().unwrap(), "--html", page.to_str().unwrap()];
        let (code, story, err) = explain(&path, &args);
        assert!(matches!(code, Some(0 | 1)), "{name}: {err}");
        let story: Value = serde_json::from_str(&story).unwrap();
        check_trace(&serde_json::from_str(&fs::read_to_string(&trace).unwrap()).unwrap(), &story, name);
        let page = fs::read_to_string(&page).unwrap();
        let steps = story["steps"].as_array().unwrap();
        assert_eq!(page.matches("<tr id=\"s").count(), steps.len(), "{name}");
        assert_eq!(page.matches("<tr id=\"s").count(), page.matches("<th scope=\"row\">").count(), "{name}");
        for foreign in ["http:", "https:", "src=", "@import", "url("] {
            assert!(!page.contains(foreign), "{name}: {foreign}");
        }
    }
}

/// A file name that would be obeyed if somebody let it.
const HOSTILE: &str =
    "\"><img src=x onerror=alert(1)>\u{1b}[31m\u{202e}<script>document.title='mine'</script>'&amp;{{ 1337*3 }}";

fn hostile(folder: &Path) -> PathBuf {
    // With a slash in it, it is a folder and a file.
    let path = folder.join(HOSTILE);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::copy(root().join(STORY), &path).unwrap();
    path
}

/// Nothing that a terminal would obey.
#[track_caller]
fn is_harmless(text: &str) {
    let bad = text.chars().find(|c| c.is_control() && *c != '\n' || ('\u{202a}'..='\u{202e}').contains(c));
    assert_eq!(bad, None, "{}", text.escape_debug());
}

#[test]
fn hostile_programs_break_nothing() {
    let folder = folder("hostile");
    let (trace, page) = (folder.join("trace.json"), folder.join("page.html"));
    let args = ["--trace", trace.to_str().unwrap(), "--html", page.to_str().unwrap()];
    let check = |path: &Path, codes: &[i32]| {
        for json in [&[][..], &["--json"]] {
            let (code, out, err) = explain(path, &[&args[..], json].concat());
            assert!(codes.contains(&code.unwrap()), "{}: {code:?}\n{err}", path.display());
            is_harmless(&out);
            is_harmless(&err);
        }
        for written in [&trace, &page] {
            is_harmless(&fs::read_to_string(written).unwrap());
        }
    };
    check(&hostile(&folder), &[1]);
    let page = fs::read_to_string(&page).unwrap();
    assert!(!page.contains("<img") && !page.contains("<script>document") && !page.contains("4011"));
    assert_eq!(page.matches("</script>").count(), 2);

    // As many bytes as are read, and as many calls as there can be.
    let mut seed = 1_u32;
    let mut noise = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8
    };
    let bytes: Vec<u8> = (0..1 << 20).map(|_| noise()).collect();
    let path = folder.join("noise");
    for bytes in [&bytes[..], &[0xff; 1 << 20], &[], b"\x01"] {
        fs::write(&path, bytes).unwrap();
        check(&path, &[0, 1]);
    }
    let comment = format!("# {}\n", "<script>alert(1)</script>".repeat(40_000));
    fs::write(&path, format!("{comment}0: load(addr=va8)\n")).unwrap();
    check(&path, &[0]);
    for text in [
        "# \u{1b}]0;mine\u{7}\n0: load(addr=va8)\n",
        "expect: \u{202e}\u{1b}[2J\n0: load(addr=va8)\n",
        "kernel: <b>\u{9b}\n",
    ] {
        fs::write(folder.join("a.prog"), text).unwrap();
        let (_, out, err) = explain(&folder.join("a.prog"), &[]);
        is_harmless(&out);
        is_harmless(&err);
    }
}

/// A Chromium: `CHROMIUM`, or what is in PATH.
fn chromium() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("CHROMIUM") {
        return Some(path.into());
    }
    let path = std::env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome"];
    std::env::split_paths(&path).flat_map(|dir| names.map(|name| dir.join(name))).find(|path| path.is_file())
}

/// Runs a browser on a page, and returns what the page is like then.
fn browse(chromium: &Path, folder: &Path, page: &Path, fragment: &str, more: &[&str]) -> String {
    let dom = folder.join("dom");
    let out = fs::File::create(&dom).unwrap();
    let mut browser = Command::new(chromium)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-extensions",
        ])
        .args(["--no-first-run", "--window-size=1400,900"])
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .args(more)
        .arg("--dump-dom")
        .arg(format!("file://{}{fragment}", page.display()))
        .stdout(out)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    while browser.try_wait().unwrap().is_none() {
        if begin.elapsed() > Duration::from_secs(120) {
            _ = browser.kill();
            panic!("{} does not end", chromium.display());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    fs::read_to_string(&dom).unwrap()
}

/// Presses keys, and writes down what came of each.
const PROBE: &str = r#"<pre id="probe"></pre><script>
(() => {
  const said = [];
  const at = () => said.push([
    document.querySelectorAll("[aria-current=step]").length, document.querySelector("[aria-current=step]").id,
    location.hash, document.activeElement.id, document.getElementById("at").textContent,
  ]);
  const press = (key, how) => { dispatchEvent(new KeyboardEvent("keydown", { key, cancelable: true, ...how })); at(); };
  at();
  ["Home", "j", "ArrowDown", "ArrowUp", "k", "k", "n", "n", "p", "End", "j"].forEach((key) => press(key));
  press("k", { ctrlKey: true });
  const rows = [...document.querySelectorAll("tbody tr")];
  const shown = () => rows.filter((row) => row.getClientRects().length > 0).length;
  const counts = [shown()];
  document.getElementById("few").click();
  counts.push(shown());
  press("Home");
  press("j");
  const style = (element) => getComputedStyle(document.querySelector(element));
  const wide = rows.every((row) => row.cells.length === rows[0].cells.length);
  const foreign = performance.getEntriesByType("resource").length + document.images.length;
  document.getElementById("probe").textContent = JSON.stringify({
    said, counts, wide, foreign, stack: document.getElementById("stack").textContent, title: document.title,
    paper: style("body").backgroundColor, ink: style("body").color, scripts: document.scripts.length,
    over: document.documentElement.scrollWidth - innerWidth,
  });
})();
</script>"#;

/// What the probe found on the page of a program.
fn probe(chromium: &Path, folder: &Path, program: &Path, fragment: &str, more: &[&str]) -> Value {
    let page = folder.join("page.html");
    assert_eq!(explain(program, &["--html", page.to_str().unwrap()]).0, Some(1));
    let html = fs::read_to_string(&page).unwrap();
    fs::write(&page, html.replace("</body>", &format!("{PROBE}</body>"))).unwrap();
    let dom = browse(chromium, folder, &page, fragment, more);
    let (_, found) = dom.split_once("<pre id=\"probe\">").unwrap_or_else(|| panic!("no probe in\n{dom}"));
    let (found, _) = found.split_once("</pre>").unwrap();
    let found = found.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    serde_json::from_str(&found).unwrap_or_else(|e| panic!("{e}: {found}"))
}

#[test]
fn a_browser_shows_the_page_and_obeys_the_keyboard() {
    let Some(chromium) = chromium() else {
        println!("no Chromium, not tested");
        return;
    };
    let folder = folder("browser");
    let program = root().join(STORY);
    let story: Value = serde_json::from_str(&explain(&program, &["--json"]).1).unwrap();
    let steps = story["steps"].as_array().unwrap();
    let touching: Vec<u64> = (1..).zip(steps).filter(|(_, s)| s["touches"] == true).map(|(n, _)| n).collect();
    let (last, first) = (steps.len() as u64, touching[0]);
    let found = probe(&chromium, &folder, &program, "#s5", &[]);
    let at = |n: u64| {
        let task = steps[n as usize - 1]["task"].as_u64().unwrap();
        let name = if task < 8 { format!("task {task}") } else { "disk".into() };
        serde_json::json!([1, format!("s{n}"), format!("#s{n}"), format!("s{n}"), format!("{n}, {name}")])
    };
    let keys = [5, 1, 2, 3, 2, 1, 1, first, touching[1], first, last, last, last, first, touching[1]];
    assert_eq!(found["said"], Value::Array(keys.map(at).to_vec()));
    assert_eq!(found["counts"], serde_json::json!([last, touching.len()]));
    assert_eq!((&found["wide"], &found["foreign"]), (&true.into(), &0.into()));
    assert!(found["over"].as_i64().unwrap() <= 0, "it fits the window: {found}");
    let innermost = &steps[touching[1] as usize - 1]["stack"][0];
    let line = format!("{}  {}", innermost["func"].as_str().unwrap(), innermost["site"].as_str().unwrap());
    assert!(found["stack"].as_str().unwrap().starts_with(&line), "{found}");

    // Without a fragment it begins where the page in question does; and it is dark if one likes.
    let dark = probe(&chromium, &folder, &program, "", &["--blink-settings=preferredColorScheme=0"]);
    assert_eq!(dark["said"][0][1], format!("s{first}"));
    assert_ne!((&dark["paper"], &dark["ink"]), (&found["paper"], &found["ink"]));

    let hostile = probe(&chromium, &folder, &hostile(&folder), "", &[]);
    assert_eq!((&hostile["title"], &hostile["foreign"], &hostile["scripts"]), (&found["title"], &0.into(), &3.into()));
}
