// SPDX-License-Identifier: GPL-2.0-or-later
//! `list`: the tables.

use super::out::say;
use super::{Status, Table};
use gupfuzz::entry::{ArgKind, OPS};
use gupfuzz::fixes::{FIXES, FixSet, Kind, RELEASES};
use gupfuzz::limits::NR_HANDLES;
use gupfuzz::oracles::ORACLES;
use gupfuzz::prog::TARGETS;

/// Prints a table.
pub(super) fn list(what: Table) -> Status {
    match what {
        Table::Ops => {
            columns(
                ["nr", "call", "arguments"],
                OPS.iter().map(|op| {
                    let args = op.args.iter().map(|arg| format!("{}={}", arg.name, range(arg.kind)));
                    [op.nr.to_string(), op.name.into(), args.collect::<Vec<_>>().join(", ")]
                }),
            );
            say!("{LEGEND}");
        }
        Table::Fixes => columns(
            ["fix", "kind", "since", "shows on", "what it is", "source"],
            FIXES.iter().map(|entry| {
                let kind = format!("{:?}", entry.kind).to_lowercase();
                let since = match (entry.since, entry.kind) {
                    (Some(release), _) => release.to_string(),
                    (None, Kind::Open) => "newest".into(),
                    (None, _) => "-".into(),
                };
                [entry.name.into(), kind, since, format!("`{}`", entry.on), entry.why.into(), entry.source.into()]
            }),
        ),
        Table::Kernels => {
            let releases = RELEASES.iter().map(|r| (r.to_string(), FixSet::release(*r), "mainline, no back-ports"));
            let newest = ("newest".into(), FixSet::newest(), "the last release with the `open` entries mended");
            columns(
                ["kernel", "has", "what it is"],
                releases.chain([newest]).map(|(name, fixes, what)| {
                    let has = FIXES.iter().filter(|entry| fixes.has(entry.fix)).count();
                    [name, format!("{has} of {} fixes", FIXES.len()), what.into()]
                }),
            );
        }
        Table::Oracles => columns(
            ["oracle", "what it catches", "must fire on"],
            ORACLES.iter().map(|o| [o.name, o.about, o.canary].map(Into::into)),
        ),
        Table::Targets => {
            columns(["target", "what it looks for"], TARGETS.iter().map(|t| [t.name, t.about].map(Into::into)))
        }
    }
    Status::Silent
}

const LEGEND: &str = "
a..b  from a to b     a/b  one of them     a|b  any of them, joined by `|`, or 0
(new)  the call fills that slot, which has to be empty     A missing argument is the first value, or 0.";

/// What a program can write there.
fn range(kind: ArgKind) -> String {
    match kind {
        ArgKind::Addr => format!("va0..va{}", kind.values() - 1),
        ArgKind::Num { min, max } => format!("{min}..{max}"),
        ArgKind::OneOf(all) => all.iter().map(u32::to_string).collect::<Vec<_>>().join("/"),
        ArgKind::Enum(all) => all.join("/"),
        ArgKind::Flags(all) => all.join("|"),
        ArgKind::Handle { kind, new } => {
            let letter = kind.letter();
            format!("{letter}0..{letter}{}{}", NR_HANDLES - 1, if new { "(new)" } else { "" })
        }
    }
}

/// A head and rows with their columns aligned; the last is as long as it is.
pub(super) fn columns<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) {
    let rows: Vec<[String; N]> = std::iter::once(head.map(Into::into)).chain(rows).collect();
    let width = |i: usize| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        say!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}
