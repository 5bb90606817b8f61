// SPDX-License-Identifier: GPL-2.0-or-later
//! Who did what when: one row a step, one column a task.
//!
//! Only steps that touch what the violation is about, from when that began: a frame, a page table, or
//! locks.  Of more than [`MAX_ROWS`] rows those that tell least are left out, oldest first.

use super::history::History;
use super::task as name_of;
use crate::kernel::{lock_class, lock_name};
use crate::oracles::Violation;
use crate::trace::{Access, Event, Obj, Owner, Pfn, Record, UseKind};
use std::fmt;

/// Rows of a timeline.
const MAX_ROWS: usize = 30;

/// A step.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its number.
    pub step: u32,
    /// Who took it.
    pub task: u8,
    /// What it did.
    pub text: String,
    /// It is the one that gave the violation away.
    pub here: bool,
    /// How much it tells: 3 is most.
    weight: u8,
}

/// The steps that matter.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// In order.
    pub rows: Vec<Row>,
    /// How many more there were.
    pub left_out: usize,
}

/// What the steps are to touch.
#[derive(Clone, Copy)]
enum Subject {
    /// A frame, and the page of the address space that should show it.
    Frame(Pfn, Option<(u8, u8)>),
    Table(u8),
    Locks,
    Nothing,
}

/// The state the words of a row depend on.
#[derive(Default)]
struct Scan {
    /// Entries that map the frame: the object, and the page of which address space.
    entries: Vec<(Obj, u8, u8)>,
    /// Translations to the frame: CPU and page.
    cached: Vec<(u8, u8)>,
    pool: bool,
}

pub(super) fn new(h: &History<'_>, v: &Violation) -> Timeline {
    let subject = match (v.pfn, v.record.event) {
        (_, Event::TableUse { table, .. } | Event::Table { table, .. }) => Subject::Table(table),
        (Some(pfn), Event::Use { at, .. }) if v.kind == "lost-write" => Subject::Frame(pfn, at),
        (Some(pfn), _) => Subject::Frame(pfn, None),
        (None, _) if matches!(v.oracle, "lockdep" | "hung_task") => Subject::Locks,
        (None, _) => Subject::Nothing,
    };
    let from = match subject {
        Subject::Frame(pfn, _) => h.life(pfn, v.took).begin.unwrap_or(0),
        _ => 0,
    };
    let mut scan = Scan::default();
    let mut rows: Vec<Row> = Vec::new();
    let mut entry = Obj::NONE;
    for (i, r) in h.records[..h.end()].iter().enumerate() {
        if let Event::Step { obj, .. } = r.event {
            entry = obj;
        }
        let text = match subject {
            Subject::Frame(pfn, at) => scan.frame(r, pfn, entry).or_else(|| elsewhere(r, at?)),
            Subject::Table(table) => of_table(r, table),
            Subject::Locks => of_locks(r),
            Subject::Nothing => None,
        };
        let here = i == h.here && !h.at_end;
        let (weight, text) = match text {
            Some(text) => text,
            None if here && !matches!(subject, Subject::Nothing) => (3, v.kind.into()),
            None => continue,
        };
        if i < from {
            continue;
        }
        match rows.last_mut() {
            Some(row) if (row.step, row.task) == (r.step, r.task) => row.add(weight, text),
            _ => rows.push(Row { step: r.step, task: r.task, text, here: false, weight }),
        }
        if let Some(row) = rows.last_mut() {
            row.here |= here;
        }
    }
    let all = rows.len();
    for weight in 1..=3 {
        let mut surplus = rows.len().saturating_sub(MAX_ROWS);
        // The first row says how it began.
        let mut first = true;
        rows.retain(|row| {
            let keep = std::mem::take(&mut first) || row.here || row.weight > weight || surplus == 0;
            surplus -= !keep as usize;
            keep
        });
    }
    Timeline { left_out: all - rows.len(), rows }
}

impl Row {
    /// Something else happened in the same step: what tells most is said.
    fn add(&mut self, weight: u8, text: String) {
        if weight > self.weight {
            (self.weight, self.text) = (weight, text);
        } else if weight == self.weight && weight == 3 && text != self.text {
            self.text = format!("{}, {text}", self.text);
        }
    }
}

impl Scan {
    /// What an event did to a frame.
    fn frame(&mut self, r: &Record, pfn: Pfn, entry: Obj) -> Option<(u8, String)> {
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
            Event::Mapcount { pfn: p, mapcount, .. } if p == pfn => (1, format!("mapcount {mapcount}")),
            Event::GupPin { pfn: p, va, .. } if p == pfn => (3, format!("GUP: va{va} is pfn {pfn}")),
            Event::GupUnpin { pfn: p, .. } if p == pfn => (3, format!("unpin pfn {pfn}")),
            Event::Use { kind, pfn: p, value, .. } if p == pfn => match kind {
                UseKind::Load => (3, format!("load {value} from pfn {pfn}")),
                UseKind::Store => (3, format!("store {value} to pfn {pfn}")),
                UseKind::DmaRead => (3, format!("DMA reads {value} from pfn {pfn}")),
                UseKind::DmaWrite => (3, format!("DMA writes {value} to pfn {pfn}")),
                UseKind::KernelRead | UseKind::Copy => (3, format!("read {value} from pfn {pfn}")),
                UseKind::KernelWrite => (3, format!("write {value} to pfn {pfn}")),
                UseKind::Put => (2, format!("put pfn {pfn}")),
            },
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

/// What an event did to a page of an address space, by way of another frame.
fn elsewhere(r: &Record, at: (u8, u8)) -> Option<(u8, String)> {
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
fn of_table(r: &Record, table: u8) -> Option<(u8, String)> {
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
fn of_locks(r: &Record) -> Option<(u8, String)> {
    let lock = |lock: u8| {
        let (class, i) = lock_class(lock);
        format!("{} {i}", lock_name(class))
    };
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

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tasks: Vec<u8> = self.rows.iter().map(|r| r.task).collect();
        tasks.sort_unstable();
        tasks.dedup();
        let cell = |row: &Row| row.text.chars().count() + if row.here { 11 } else { 0 };
        let width = |task: &u8| {
            let cells = self.rows.iter().filter(|r| r.task == *task).map(cell);
            cells.max().unwrap_or(0).max(name_of(*task).len())
        };
        let left_out = match self.left_out {
            0 => String::new(),
            n => format!("; {n} more left out"),
        };
        writeln!(f, "Timeline (. = not running{left_out})")?;
        let heads = tasks.iter().map(|t| format!("  {:w$}", name_of(*t), w = width(t))).collect::<String>();
        writeln!(f, " step{}", heads.trim_end())?;
        for row in &self.rows {
            let mut line = format!("{:5}", row.step);
            for task in &tasks {
                let text = match (row.task == *task, row.here) {
                    (true, true) => format!("{}   <== here", row.text),
                    (true, false) => row.text.clone(),
                    (false, _) => ".".into(),
                };
                line += &format!("  {text:w$}", w = width(task));
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}
