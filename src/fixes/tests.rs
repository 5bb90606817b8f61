// SPDX-License-Identifier: GPL-2.0-or-later
//! What a spec says, and what it must not.

use super::*;

fn has(spec: &str, fix: Fix) -> bool {
    spec.parse::<Spec>().unwrap().fixes.has(fix)
}

#[test]
fn a_release_has_what_came_before_it() {
    assert!(!has("v5.12", Fix::TtmNoHugeFaults));
    assert!(has("v6.1", Fix::TtmNoHugeFaults));
    assert!(has("v5.10", Fix::FreeNonCompound));
    assert!(!has("v5.7", Fix::FreeNonCompound));
    assert!(!has("v6.1", Fix::PmdSpecial));
    assert!(has("v6.12", Fix::PmdSpecial));
}

#[test]
fn newest_has_the_open_entries_mended_and_no_mutant() {
    for entry in FIXES {
        match entry.kind {
            Kind::Open => assert!(has("newest", entry.fix) && !has("v7.2", entry.fix), "{}", entry.name),
            Kind::Mutant | Kind::Proposed => assert!(!has("newest", entry.fix), "{}", entry.name),
            Kind::Upstream | Kind::Policy => {}
        }
    }
}

#[test]
fn changes_are_applied_in_order() {
    assert!(has("v5.12 +pmd-special", Fix::PmdSpecial));
    assert!(has("v7.2 +ttm-pfn-map -no-devmap", Fix::TtmPfnMapDev));
    assert!(!has("  newest   -gup-fast-recheck-pte ", Fix::GupFastRecheckPte));
    assert_eq!("  newest   -mremap-flush".parse::<Spec>().unwrap().to_string(), "newest -mremap-flush");
}

#[test]
fn nonsense_is_refused_with_a_reason() {
    for (spec, reason) in [
        ("", "expected a kernel"),
        ("v5.11", "expected newest, v5.7"),
        ("newest pmd-special", "expected +FIX or -FIX"),
        ("newest -pmd-specia1", "no fix is called"),
        ("newest +pmd-special", "changes nothing"),
        ("v5.12 -pmd-special", "`-pmd-special` changes nothing: `v5.12` does not have it"),
        ("v5.12 +pmd-special +pmd-special", "a second `pmd-special`, expected one"),
        ("v5.12 +pmd-special -pmd-special", "a second `pmd-special`, expected one"),
        ("v5.12\u{a0}+pmd-special", "no kernel is called `v5.12\\u{a0}+pmd-special`"),
        ("newest +ttm-move-no-unmap +ttm-move-unmap-late", "exclude each other"),
        ("newest -wp-refcount", "makes no sense without"),
        ("newest +ttm-pfn-map", "needs devmap entries, which `newest` has no more; add `-no-devmap`"),
        ("v5.12 \u{1b}[31m", "\\u{1b}"),
    ] {
        let error = spec.parse::<Spec>().expect_err(spec).to_string();
        assert!(error.contains(reason), "{spec:?}: {error}");
    }
    let error = "\u{e4}  +x".parse::<Spec>().expect_err("no kernel");
    assert_eq!(error.at, 0);
    let error = " v5.12  +pmd-special +x".parse::<Spec>().expect_err("no fix");
    assert_eq!(error.at, 21);
}

#[test]
fn every_on_is_a_kernel() {
    for entry in FIXES {
        let spec = entry.on.parse::<Spec>().unwrap_or_else(|e| panic!("{}: {e}", entry.name));
        let there = spec.fixes.has(entry.fix);
        let expected = !matches!(entry.kind, Kind::Mutant | Kind::Proposed);
        if !matches!(entry.kind, Kind::Policy | Kind::Open) && entry.on.starts_with("newest") {
            assert_eq!(there, expected, "{} on {}", entry.name, entry.on);
        }
    }
}
