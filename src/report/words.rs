// SPDX-License-Identifier: GPL-2.0-or-later
//! What an event did, in a few words, and how much that tells: 3 is most.

use crate::kernel::{lock_class, lock_name};
use crate::trace::{Access, Event, Obj, Owner, Pfn, Record, UseKind};

/// The state the words about a frame depend on.
#[derive(Default)]
pub(super) struct Scan {
    /// Entries that map the frame: the object, and the page of which address space.
    entries: Vec<(Obj, u8, u8)>,
    /// Translations to the frame: CPU and page.
    cached: Vec<(u8, u8)>,
    pool: bool,
    /// By ptes and by leaves: events count these apart.
    mapcount: i32,
}

impl Scan {
    /// What an event did to a frame.
    pub(super) fn frame(&mut self, r: &Record, pfn: Pfn, entry: Obj) -> Option<(u8, String)> {
        let covers = |first: Pfn, nr: u8| (first.0..first.0 + nr).contains(&pfn.0);
        Some(match r.event {
            Event::Alloc { pfn: first, order, .. } if covers(first, 1 << order) => {
                let from = if std::mem::take(&mut self.pool) { "take from pool" } else { "alloc" };
                (3, format!("{from} {}", span(first, order)))
            }
            Event::Free { pfn: first, order, owner, .. } if covers(first, 1 << order) => {
                self.pool = matches!(owner, Owner::Pool(_));
                let what = if self.pool { "give to pool" } else { "free" };
                (3, format!("{what} {}", span(first, order)))
            }
            Event::Own { pfn: first, order, owner } if covers(first, 1 << order) => {
                (2, format!("pfn {pfn} is {}", super::page::name(owner)))
            }
            Event::Get { pfn: p, refs, refcount } if p == pfn => {
                (2, format!("get pfn {pfn} +{refs}, refcount {refcount}"))
            }
            Event::Put { pfn: p, refs, refcount } if p == pfn => {
                (3, format!("put pfn {pfn} -{refs}, refcount {refcount}"))
            }
            Event::Mapcount { pfn: p, delta, .. } if p == pfn => {
                self.mapcount += delta;
                (1, format!("mapcount {}", self.mapcount))
            }
            Event::GupPin { pfn: p, va, .. } if p == pfn => (3, format!("GUP: va{va} is pfn {pfn}")),
            Event::GupUnpin { pfn: p, .. } if p == pfn => (3, format!("unpin pfn {pfn}")),
            Event::Use { kind, pfn: p, value, .. } if p == pfn => of_use(kind, pfn, value),
            Event::Fill { pfn: p, value, .. } if p == pfn => (1, format!("fill pfn {pfn} with {value}")),
            Event::Map { mm, va, pfn: first, nr, write, .. } if covers(first, nr) => {
                self.entries.push((entry, mm, va));
                (3, format!("set {} va{va} to {first}{}", level(nr), if write { "|w" } else { "" }))
            }
            Event::Unmap { mm, va, pfn: first, nr, .. } if covers(first, nr) => {
                if let Some(i) = self.entries.iter().position(|e| (e.1, e.2) == (mm, va)) {
                    self.entries.remove(i);
                }
                (3, format!("clear {} va{va}", level(nr)))
            }
            Event::TlbFill { cpu, va, pfn: p, .. } => {
                self.cached.retain(|&c| c != (cpu, va));
                if p != pfn {
                    return None;
                }
                self.cached.push((cpu, va));
                (2, format!("TLB: va{va} is pfn {pfn}"))
            }
            Event::TlbFlush { cpu, start, end, .. } => {
                let before = self.cached.len();
                self.cached.retain(|&(c, va)| c != cpu || !(start..end).contains(&va));
                if self.cached.len() == before {
                    return None;
                }
                (3, format!("flush CPU {cpu}"))
            }
            Event::FolioMigrate { from, to } if from == pfn => (3, format!("pfn {to} takes its place")),
            Event::FolioMigrate { from, to } if to == pfn => (3, format!("takes the place of pfn {from}")),
            Event::SecondaryMap { nr, va, pfn: p, .. } if p == pfn => {
                (3, format!("GPU maps va{va} of u{nr} to pfn {pfn}"))
            }
            Event::Step { obj, access } if obj.pfns().contains(&pfn.0) => {
                (1, format!("{} {obj}", if access == Access::Read { "look at" } else { "touch" }))
            }
            Event::Step { obj, access: Access::Read } => {
                let &(_, _, va) = self.entries.iter().find(|e| e.0.overlaps(obj))?;
                (2, format!("read entry va{va}: pfn {pfn}"))
            }
            _ => return None,
        })
    }
}

/// A use of a frame.
fn of_use(kind: UseKind, pfn: Pfn, value: u8) -> (u8, String) {
    match kind {
        UseKind::Load => (3, format!("load {value} from pfn {pfn}")),
        UseKind::Store => (3, format!("store {value} to pfn {pfn}")),
        UseKind::DmaRead => (3, format!("DMA reads {value} from pfn {pfn}")),
        UseKind::DmaWrite => (3, format!("DMA writes {value} to pfn {pfn}")),
        UseKind::KernelRead | UseKind::Copy => (3, format!("read {value} from pfn {pfn}")),
        UseKind::KernelWrite => (3, format!("write {value} to pfn {pfn}")),
        UseKind::Put => (2, format!("put pfn {pfn}")),
    }
}

/// What an event did to a page of an address space, by way of another frame.
pub(super) fn elsewhere(r: &Record, at: (u8, u8)) -> Option<(u8, String)> {
    let va = at.1;
    Some(match r.event {
        Event::Use { kind: UseKind::Load, pfn, value, at: Some(a), .. } if a == at => {
            (3, format!("load {value} from va{va}, pfn {pfn}"))
        }
        Event::Use { kind: UseKind::Store, pfn, value, at: Some(a), .. } if a == at => {
            (3, format!("store {value} to va{va}, pfn {pfn}"))
        }
        Event::Map { mm, va: v, pfn, nr: 1, write, .. } if (mm, v) == at => {
            (3, format!("set pte va{va} to {pfn}{}", if write { "|w" } else { "" }))
        }
        _ => return None,
    })
}

/// What an event did to a page table.
pub(super) fn of_table(r: &Record, table: u8) -> Option<(u8, String)> {
    Some(match r.event {
        Event::Table { table: t, live, .. } if t == table => {
            (3, format!("{} page table {table}", if live { "alloc" } else { "free" }))
        }
        Event::TableUse { table: t, .. } if t == table => (3, format!("walk page table {table}")),
        Event::Step { obj, access } if obj.pte_index().is_some_and(|(t, _)| t == table) => {
            (1, format!("{} {obj}", if access == Access::Read { "read" } else { "write" }))
        }
        _ => return None,
    })
}

/// What an event did to locks.
pub(super) fn of_locks(r: &Record) -> Option<(u8, String)> {
    Some(match r.event {
        Event::LockContended { lock: l, .. } => (2, format!("want {}", lock(l))),
        Event::LockAcquired { lock: l, .. } => (3, format!("take {}", lock(l))),
        Event::LockRelease { lock: l, .. } => (2, format!("drop {}", lock(l))),
        Event::Irq { off } => (2, format!("interrupts {}", if off { "off" } else { "on" })),
        Event::MightSleep => (1, "may sleep".into()),
        _ => return None,
    })
}

fn span(first: Pfn, order: u8) -> String {
    match order {
        0 => format!("pfn {first}"),
        _ => format!("pfn {first}..{}", first.add(1 << order)),
    }
}

fn level(nr: u8) -> &'static str {
    if nr > 1 { "pmd" } else { "pte" }
}

/// What an event did that is about no frame.
pub(super) fn of_others(r: &Record) -> Option<(u8, String)> {
    Some(match r.event {
        // A lock is said when it is taken.
        Event::LockContended { .. } | Event::MightSleep | Event::Work { .. } => return None,
        Event::Table { table, .. } | Event::TableUse { table, .. } => return of_table(r, table),
        Event::TlbFlush { cpu, .. } => (3, format!("flush CPU {cpu}")),
        Event::Bio { nr, done: false, write, .. } => {
            (3, format!("submit {} of {nr} pages", if write { "a write" } else { "a read" }))
        }
        Event::MmExit { .. } => (2, "the address space ends".into()),
        Event::Deadlock { .. } => (3, "nobody can run".into()),
        Event::Bug { what, .. } => (3, what.into()),
        _ => return of_locks(r),
    })
}

/// A lock by the kernel's name of its class, and its number there.
pub(super) fn lock(lock: u8) -> String {
    let (class, i) = lock_class(lock);
    format!("{} {i}", lock_name(class))
}

/// What a step announced.
pub(super) fn access(obj: Obj, access: Access) -> String {
    let verb = match access {
        Access::Read => "read",
        Access::Write => "write",
        Access::Commute => "count",
    };
    match obj.lock_index() {
        Some(l) => format!("{verb} {}", lock(l)),
        None => format!("{verb} {obj}"),
    }
}

/// The frame an event is about: the first of a block.
pub(super) fn pfn(event: &Event) -> Option<Pfn> {
    Some(match *event {
        Event::Alloc { pfn, .. }
        | Event::Free { pfn, .. }
        | Event::Own { pfn, .. }
        | Event::Get { pfn, .. }
        | Event::Put { pfn, .. }
        | Event::Mapcount { pfn, .. }
        | Event::GupPin { pfn, .. }
        | Event::GupUnpin { pfn, .. }
        | Event::Use { pfn, .. }
        | Event::Fill { pfn, .. }
        | Event::Map { pfn, .. }
        | Event::Unmap { pfn, .. }
        | Event::TlbFill { pfn, .. } => pfn,
        _ => return None,
    })
}
