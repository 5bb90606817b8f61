// SPDX-License-Identifier: GPL-2.0-or-later
//! Values of arguments as text, and what to say about words that are none.

use crate::entry::ArgKind;
use crate::limits::{NR_HANDLES, TASK_SIZE};
use std::fmt::{Formatter, Result as FmtResult};

/// Prints a normalized byte.
pub(super) fn print_value(kind: ArgKind, byte: u8, f: &mut Formatter<'_>) -> FmtResult {
    match kind {
        ArgKind::Addr => write!(f, "va{byte}"),
        ArgKind::Num { min, .. } => write!(f, "{}", min + u16::from(byte)),
        ArgKind::OneOf(all) => write!(f, "{}", all[byte as usize]),
        ArgKind::Enum(all) => f.write_str(all[byte as usize]),
        ArgKind::Flags(_) if byte == 0 => f.write_str("0"),
        ArgKind::Flags(all) => {
            let set = all.iter().enumerate().filter(|(bit, _)| byte >> bit & 1 != 0);
            for (i, (_, word)) in set.enumerate() {
                write!(f, "{}{word}", if i == 0 { "" } else { "|" })?;
            }
            Ok(())
        }
        ArgKind::Handle { kind, .. } => write!(f, "{}{byte}", kind.letter()),
    }
}

/// The byte of a value; `None`: not in the range.
pub(super) fn parse_value(kind: ArgKind, text: &str) -> Option<u8> {
    let byte = match kind {
        ArgKind::Addr => number(text.strip_prefix("va")?)?,
        ArgKind::Num { min, .. } => number(text)?.checked_sub(u32::from(min))?,
        ArgKind::OneOf(all) => {
            let value = number(text)?;
            all.iter().position(|v| *v == value)? as u32
        }
        ArgKind::Enum(all) => all.iter().position(|word| *word == text)? as u32,
        ArgKind::Flags(_) if text == "0" => 0,
        ArgKind::Flags(all) => {
            // Each at most once.
            text.split('|').try_fold(0, |bits, word| {
                let bit = 1 << all.iter().position(|w| *w == word)?;
                (bits & bit == 0).then_some(bits | bit)
            })?
        }
        ArgKind::Handle { kind, .. } => number(text.strip_prefix(kind.letter())?)?,
    };
    ((byte as usize) < kind.values()).then_some(byte as u8)
}

/// The range, for people.
pub(super) fn range(kind: ArgKind) -> String {
    match kind {
        ArgKind::Addr => format!("va0 to va{}", TASK_SIZE - 1),
        ArgKind::Num { min, max } => format!("{min} to {max}"),
        ArgKind::OneOf(all) => any_of(all.iter().map(u32::to_string)),
        ArgKind::Enum(all) => any_of(all.iter().map(ToString::to_string)),
        ArgKind::Flags(all) => format!("0 or any of {} joined by `|`", all.join(", ")),
        ArgKind::Handle { kind, .. } => format!("{0}0 to {0}{1}", kind.letter(), NR_HANDLES - 1),
    }
}

fn any_of(all: impl Iterator<Item = String>) -> String {
    format!("one of {}", all.collect::<Vec<_>>().join(", "))
}

/// A number, decimal or 0x hex; `None` also when it does not fit.
pub(super) fn number(text: &str) -> Option<u32> {
    let (digits, radix) = match text.strip_prefix("0x") {
        Some(hex) => (hex, 16),
        None => (text, 10),
    };
    // from_str_radix() would take a sign.
    digits.starts_with(|c: char| c.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, radix).ok())?
}

/// Text of unknown origin, fit for a message: escaped, and no longer than a name.
pub(super) fn quote(text: &str) -> String {
    const MAX: usize = 40;
    let mut quoted: String = text.chars().take(MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(MAX).is_some() {
        quoted.push_str("...");
    }
    format!("`{quoted}`")
}

/// What to add to a message about an unknown name: the one that may have been meant, or all.
pub(super) fn did_you_mean<'n>(text: &str, names: impl Iterator<Item = &'n str> + Clone) -> String {
    match near(text, names.clone()) {
        Some(name) => format!(", did you mean `{name}`?"),
        None if names.clone().count() > 24 => "; `gupfuzz list ops` has them all".into(),
        None => format!(", expected one of {}", names.collect::<Vec<_>>().join(", ")),
    }
}

/// The name that may have been meant.
fn near<'n>(text: &str, names: impl Iterator<Item = &'n str> + Clone) -> Option<&'n str> {
    let part = |name: &&str| text.len() > 2 && name.contains(text);
    names.clone().find(part).or_else(|| {
        let (d, name) = names.map(|name| (distance(text, name), name)).min()?;
        (d <= 2.max(name.len() / 3) && d < name.len()).then_some(name)
    })
}

/// Levenshtein's distance, or a large one if `a` is far longer than any name.
fn distance(a: &str, b: &str) -> usize {
    if a.len() > 64 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::OPS;

    struct Value(ArgKind, u8);

    impl std::fmt::Display for Value {
        fn fmt(&self, f: &mut Formatter<'_>) -> FmtResult {
            print_value(self.0, self.1, f)
        }
    }

    #[test]
    fn every_value_is_read_back() {
        for desc in OPS.iter().flat_map(|op| op.args) {
            for byte in 0..desc.kind.values() as u16 {
                let text = Value(desc.kind, byte as u8).to_string();
                assert_eq!(parse_value(desc.kind, &text), Some(byte as u8), "{}={text}", desc.name);
            }
        }
    }

    #[test]
    fn what_is_out_of_range_is_none() {
        let len = ArgKind::Num { min: 1, max: 8 };
        assert_eq!(["0", "1", "8", "9", "0x3", "+1", "-1", ""].map(|t| parse_value(len, t)), {
            [None, Some(0), Some(7), None, Some(2), None, None, None]
        });
        assert_eq!(["va64", "va", "64", "vaa"].map(|t| parse_value(ArgKind::Addr, t)), [None; 4]);
        let prot = ArgKind::Flags(&["r", "w"]);
        assert_eq!(["w|r", "0", "r|0", "r|r", "", "x"].map(|t| parse_value(prot, t)), {
            [Some(3), Some(0), None, None, None, None]
        });
        assert_eq!(number("4294967296"), None);
    }

    #[test]
    fn near_names() {
        let names = || ["munmap", "mmap", "ttm_bo_put"].into_iter();
        assert_eq!(did_you_mean("munmpa", names()), ", did you mean `munmap`?");
        assert_eq!(did_you_mean("bo_put", names()), ", did you mean `ttm_bo_put`?");
        assert_eq!(did_you_mean("\u{1b}", ["r"].into_iter()), ", expected one of r");
        assert_eq!(quote("a\u{1b}[2J\u{202e}"), r"`a\u{1b}[2J\u{202e}`");
        assert_eq!(quote(&"x".repeat(1 << 20)).len(), 45);
    }
}
