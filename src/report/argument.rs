// SPDX-License-Identifier: GPL-2.0-or-later
//! Why a violation is one: let there be, then it follows, but it is not so.

use super::history::{History, Life};
use super::page::name;
use super::task;
use crate::oracles::Violation;
use crate::trace::{Event, Pfn, Record, UseKind};

/// Three lines where the trace has them, else the oracle's own sentence.
pub(super) fn new(h: &History<'_>, v: &Violation) -> Vec<String> {
    let lines = match (v.kind, v.pfn) {
        ("use-after-recycle", Some(pfn)) => recycled(h, v, pfn),
        ("use-after-recycle", None) => table(h, v),
        ("double-free", Some(pfn)) => double_free(h, v, pfn),
        ("page-table-check-free" | "page-table-check-alloc", Some(pfn)) => mapped(h, v, pfn),
        ("stale-tlb", Some(pfn)) => cached(h, v, pfn),
        ("lost-write", Some(pfn)) => lost(h, v, pfn),
        ("data-leak", Some(pfn)) => leaked(h, v, pfn),
        _ => None,
    };
    let lines = lines.map(|(a, b, c)| vec![format!("Let  {a}"), format!("Then {b}"), format!("But  {c}")]);
    lines.unwrap_or_else(|| vec![format!("That is: {}.", v.message)])
}

type Lines = Option<(String, String, String)>;

fn since(h: &History<'_>, life: Life) -> String {
    life.begin.map_or("boot".into(), |i| format!("step {}", h.step(i)))
}

/// Somebody has the frame, as he got it, and the frame went on without him.
fn recycled(h: &History<'_>, v: &Violation, pfn: Pfn) -> Lines {
    let Event::Use { kind, took, now, .. } = v.record.event else { return None };
    let (a, b) = (h.life(pfn, took), h.life(pfn, now));
    let freed = a.end?;
    let (step, by) = (h.step(freed), task(h.records[freed].task));
    let (was, is) = (h.owner(pfn, a), h.owner(pfn, b));
    let page = format!("A = what pfn {pfn} held from {} to step {step} ({})", since(h, a), name(was));
    let me = task(v.record.task);
    let why = because(h, v, kind, pfn, took);
    let free = is.is_free();
    let freed = match h.records[freed].event {
        Event::Free { .. } => format!("A was freed in step {step} by {by}"),
        _ => format!("A ended in step {step}, when {by} allocated it"),
    };
    Some(match free {
        true => (
            format!("{page}."),
            format!("{me} believes that it has A, because {why}."),
            format!("{freed}, and pfn {pfn} is free since ({}): a contradiction.", name(is)),
        ),
        false => (
            format!("{page}, B = what it holds since {} ({}).", since(h, b), name(is)),
            format!("{me} believes that it has A, because {why}."),
            format!("pfn {pfn} holds B since {}, and {freed}: a contradiction.", since(h, b)),
        ),
    })
}

/// How the user came by the generation it took.
fn because(h: &History<'_>, v: &Violation, kind: UseKind, pfn: Pfn, took: u16) -> String {
    if matches!(kind, UseKind::Load | UseKind::Store) {
        let fill = |r: &Record| match r.event {
            Event::TlbFill { cpu, pfn: p, gen_, .. } => (cpu, p, gen_) == (v.record.task, pfn, took),
            _ => false,
        };
        if let Some(i) = h.last(h.end(), fill)
            && let Event::TlbFill { cpu, va, .. } = h.records[i].event
        {
            return format!("CPU {cpu} cached the translation of va{va} to it in step {}", h.step(i));
        }
    } else if let Some(i) = h.pin(pfn, took)
        && let Event::GupPin { mm, va, .. } = h.records[i].event
    {
        let who = task(h.records[i].task);
        return format!("GUP gave it to {who} for va{va} of mm {mm} in step {}", h.step(i));
    }
    let life = h.life(pfn, took);
    let map = |r: &Record| matches!(r.event, Event::Map { pfn: p, nr, .. } if (p.0..p.0 + nr).contains(&pfn.0));
    match h.last(life.end.unwrap_or(h.end()), map).filter(|&i| i >= life.begin.unwrap_or(0)) {
        Some(i) => match h.records[i].event {
            Event::Map { va, mm, .. } => format!("va{va} of mm {mm} was mapped to it in step {}", h.step(i)),
            _ => unreachable!("a mapping was looked for"),
        },
        None => "it got it then".into(),
    }
}

fn table(h: &History<'_>, v: &Violation) -> Lines {
    let Event::TableUse { table, took, now } = v.record.event else { return None };
    let ends = |r: &Record| matches!(r.event, Event::Table { table: t, live: false, .. } if t == table);
    let end = h.last(h.end(), ends)?;
    let (me, by) = (task(v.record.task), task(h.records[end].task));
    Some((
        format!("A = page table {table} in its generation {took}."),
        format!("{me} believes that it walks A, because its pointer was taken then."),
        format!(
            "{by} freed page table {table} in step {}, and by now its generation is {now}: a contradiction.",
            h.step(end)
        ),
    ))
}

fn double_free(h: &History<'_>, v: &Violation, pfn: Pfn) -> Lines {
    let freed = h.life(pfn, v.now).begin?;
    let (me, by) = (task(v.record.task), task(h.records[freed].task));
    Some((
        format!("A = what pfn {pfn} held until {by} freed it in step {}.", h.step(freed)),
        format!("nobody has anything to free in pfn {pfn} until it is allocated again."),
        format!("{me} frees it in step {}, and it was not: a contradiction.", v.record.step),
    ))
}

/// Entries and translations that are there at the violation, with what made them.
fn mapped(h: &History<'_>, v: &Violation, pfn: Pfn) -> Lines {
    let mut entries: Vec<usize> = Vec::new();
    for (i, r) in h.records[..h.here].iter().enumerate() {
        match r.event {
            Event::Map { pfn: p, nr, .. } if (p.0..p.0 + nr).contains(&pfn.0) => entries.push(i),
            Event::Unmap { mm, va, pfn: p, nr, .. } if (p.0..p.0 + nr).contains(&pfn.0) => {
                let same =
                    |&i: &usize| matches!(h.records[i].event, Event::Map { mm: m, va: v, .. } if (m, v) == (mm, va));
                if let Some(i) = entries.iter().position(same) {
                    entries.remove(i);
                }
            }
            _ => {}
        }
    }
    let i = *entries.first()?;
    let Event::Map { mm, va, .. } = h.records[i].event else { return None };
    let (me, by, step) = (task(v.record.task), task(h.records[i].task), v.record.step);
    let does = if v.kind == "page-table-check-free" { "frees" } else { "allocates" };
    Some((
        format!("E = the entry of va{va} of mm {mm}, which {by} set to pfn {pfn} in step {}.", h.step(i)),
        format!("pfn {pfn} is in use, because E is there."),
        format!("{me} {does} it in step {step}: a contradiction."),
    ))
}

fn cached(h: &History<'_>, v: &Violation, pfn: Pfn) -> Lines {
    let mut fills: Vec<(u8, u8, usize)> = Vec::new();
    for (i, r) in h.records[..h.here].iter().enumerate() {
        match r.event {
            Event::TlbFill { cpu, va, pfn: p, .. } => {
                fills.retain(|f| (f.0, f.1) != (cpu, va));
                if p == pfn {
                    fills.push((cpu, va, i));
                }
            }
            Event::TlbFlush { cpu, start, end, .. } => fills.retain(|f| f.0 != cpu || !(start..end).contains(&f.1)),
            _ => {}
        }
    }
    let &(cpu, va, i) = fills.first()?;
    let (me, step) = (task(v.record.task), v.record.step);
    Some((
        format!("T = the translation of va{va} to pfn {pfn}, which CPU {cpu} cached in step {}.", h.step(i)),
        format!("CPU {cpu} can reach pfn {pfn} by T, because it was not flushed since."),
        format!("{me} frees pfn {pfn} in step {step}: a contradiction."),
    ))
}

fn lost(h: &History<'_>, v: &Violation, pfn: Pfn) -> Lines {
    let Event::Use { at: Some((mm, va)), value: got, pfn: from, .. } = v.record.event else { return None };
    let writes = |r: &Record| match r.event {
        Event::Use { kind: UseKind::Store, at, .. } => at == Some((mm, va)),
        Event::Use { kind: UseKind::DmaWrite | UseKind::KernelWrite, pfn: p, .. } => p == pfn,
        _ => false,
    };
    let i = h.last(h.here, writes)?;
    let Event::Use { value, .. } = h.records[i].event else { return None };
    let (me, by, step) = (task(v.record.task), task(h.records[i].task), v.record.step);
    Some((
        format!("W = the {value} that {by} wrote to va{va} of mm {mm}, in pfn {pfn}, in step {}.", h.step(i)),
        format!("a load of va{va} returns W, because nobody wrote or discarded it since."),
        format!("{me} loads {got} in step {step}, from pfn {from}: a contradiction."),
    ))
}

fn leaked(h: &History<'_>, v: &Violation, pfn: Pfn) -> Lines {
    let Event::Use { value, now, .. } = v.record.event else { return None };
    let life = h.life(pfn, now);
    let begin = life.begin?;
    let i = h.left(pfn, begin)?;
    if !matches!(h.records[i].event, Event::Use { value: left, .. } if left == value) {
        return None;
    }
    let (me, by, owner) = (task(v.record.task), task(h.records[i].task), h.owner(pfn, life));
    Some((
        format!("D = the {value} that {by} left in pfn {pfn} in step {}.", h.step(i)),
        format!("nobody sees D any more, because pfn {pfn} changed hands in step {} ({}).", h.step(begin), name(owner)),
        format!("{me} reads {value} there in step {}: a contradiction.", v.record.step),
    ))
}
