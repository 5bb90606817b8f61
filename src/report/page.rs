// SPDX-License-Identifier: GPL-2.0-or-later
//! What struct page says of the frame.  Linux: mm/debug.c, dump_page().
//!
//! The counts are followed through the trace from boot.  What the kernel would print as a pointer to
//! the mapping is its name here; the index is known of anonymous pages only.

use super::history::History;
use crate::limits::{NR_DEVDAX, NR_FRAMES};
use crate::oracles::Violation;
use crate::trace::{Event, Owner, Pfn};

/// The lines of dump_page().
pub(super) fn dump(h: &History<'_>, v: &Violation, pfn: Pfn) -> Vec<String> {
    if !pfn.valid() {
        return vec![format!("pfn:{pfn} is device memory and has no struct page")];
    }
    let dev = pfn.index() >= NR_FRAMES - NR_DEVDAX;
    let (mut refcount, mut mapcount, mut index) = (i32::from(dev), 0, None);
    let mut pool = false;
    let covers = |first: Pfn, order: u8| (first.0..first.0 + (1 << order)).contains(&pfn.0);
    for r in &h.records[..h.end()] {
        match r.event {
            Event::Alloc { pfn: first, order, .. } if covers(first, order) => {
                if !pool {
                    refcount = (first == pfn).into();
                }
                (pool, index) = (false, None);
            }
            Event::Free { pfn: first, order, owner, .. } if covers(first, order) => {
                pool = matches!(owner, Owner::Pool(_));
            }
            Event::Get { pfn: p, refcount: now, .. } | Event::Put { pfn: p, refcount: now, .. } if p == pfn => {
                refcount = now;
            }
            Event::Mapcount { pfn: p, mapcount: now, .. } if p == pfn => mapcount = now,
            Event::Map { pfn: p, va, anon: true, .. } if p == pfn => index = Some(va),
            _ => {}
        }
    }
    let owner = h.owner(pfn, h.life(pfn, v.now));
    let owner = if dev { Owner::Dev } else { owner };
    let mapping = match owner {
        Owner::Anon(mm) => format!("anon-mm{mm}"),
        Owner::File(mapping) => format!("file-{mapping}"),
        _ => "0000000000000000".into(),
    };
    let index = index.map_or("?".into(), |va| format!("{va:#x}"));
    let tracks = if owner.is_free() { "freed" } else { "allocated" };
    vec![
        format!("page: refcount:{refcount} mapcount:{mapcount} mapping:{mapping} index:{index} pfn:{pfn}"),
        format!("page dumped because: {}", reason(v)),
        format!("page_owner tracks the page as {tracks} ({})", name(owner)),
    ]
}

fn reason(v: &Violation) -> String {
    match (v.oracle, v.record.event) {
        ("kasan", _) => "kasan: bad access detected".into(),
        ("debug_vm", Event::Free { refcount, .. }) if refcount != 0 => "nonzero _refcount".into(),
        ("debug_vm", Event::Free { .. }) => "nonzero mapcount".into(),
        ("debug_vm", Event::Mapcount { .. }) => "bad pte".into(),
        ("debug_vm", Event::Bug { what, .. }) => format!("VM_BUG_ON_PAGE({what})"),
        ("debug_vm", Event::Put { .. }) => "VM_BUG_ON_PAGE(page_ref_count(page) == 0)".into(),
        (oracle, _) => format!("{oracle}: {}", v.kind),
    }
}

/// An owner in words.
pub(super) fn name(owner: Owner) -> String {
    match owner {
        Owner::Buddy => "buddy allocator".into(),
        Owner::Kernel => "kernel memory".into(),
        Owner::Anon(mm) => format!("anonymous memory of mm {mm}"),
        Owner::File(mapping) => format!("page cache of mapping {mapping}"),
        Owner::Bo(bo) => format!("buffer object b{bo}"),
        Owner::Pool(pool) => format!("TTM pool {pool}"),
        Owner::Dev => "device memory".into(),
    }
}
