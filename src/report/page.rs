// SPDX-License-Identifier: GPL-2.0-or-later
//! What struct page says of the frame.  Linux: mm/debug.c, dump_page().
//!
//! The counts are followed through the trace from boot.  What the kernel would print as a pointer to
//! the mapping is its name here; the index is known of anonymous pages only.

use super::counts::{Counts, Folio, PageState, is_dev};
use super::history::History;
use crate::mm::BD_MAPPING;
use crate::oracles::Violation;
use crate::trace::{Event, Owner, Pfn};

/// The lines of dump_page().
pub(super) fn dump(h: &History<'_>, v: &Violation, pfn: Pfn) -> Vec<String> {
    if !pfn.valid() {
        return vec![format!("pfn:{pfn} is device memory and has no struct page")];
    }
    let mut counts = Counts::new(pfn);
    let records = &h.records[..h.end()];
    records.iter().for_each(|r| counts.event(&r.event));
    let (PageState { mut refcount, mut mapcount, .. }, index) = (counts.state, counts.index);
    let folio = Folio::of(&counts, records);
    if let Some(folio) = &folio {
        (refcount, mapcount) = (folio.refcount, folio.mapcount_of(&counts));
    }
    let owner = if is_dev(pfn) { Owner::Dev } else { h.owner(pfn, h.life(pfn, v.now)) };
    let mapping = match owner {
        Owner::Anon(mm) => format!("anon-mm{mm}"),
        Owner::File(mapping) => format!("file-{mapping}"),
        _ => "0000000000000000".into(),
    };
    let index = index.map_or("?".into(), |va| format!("{va:#x}"));
    let tracks = if owner.is_free() { "freed" } else { "allocated" };
    let mut lines =
        vec![format!("page: refcount:{refcount} mapcount:{mapcount} mapping:{mapping} index:{index} pfn:{pfn}")];
    lines.extend(folio.map(|f| {
        format!(
            "head: order:{} mapcount:{} entire_mapcount:{} nr_pages_mapped:{} pincount:{}",
            f.order, f.mapcount, f.entire_mapcount, f.nr_pages_mapped, f.pincount
        )
    }));
    lines.push(format!("page dumped because: {}", reason(v)));
    lines.push(format!("page_owner tracks the page as {tracks} ({})", name(owner)));
    lines
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
        Owner::File(BD_MAPPING) => "page cache of the disk".into(),
        Owner::File(mapping) => format!("page cache of mapping {mapping}"),
        Owner::Bo(bo) => format!("buffer object b{bo}"),
        Owner::Pool(pool) => format!("TTM pool {pool}"),
        Owner::Blocks => "free blocks of the file system on dax".into(),
        Owner::Dev => "device memory".into(),
    }
}

#[cfg(feature = "cli")]
pub(super) fn serialize<S: serde::Serializer>(owner: &Owner, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&name(*owner))
}
