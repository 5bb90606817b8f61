// SPDX-License-Identifier: GPL-2.0-or-later
//! Values as JSON that may stand anywhere: on a terminal, and within a page of HTML.

use serde::Serialize;
use std::fmt::Write;

/// A value on one line.
pub fn line(value: &impl Serialize) -> String {
    harmless(&serde_json::to_string(value).expect("reports hold nothing that JSON has no words for"))
}

/// A value for people to read.
pub fn pretty(value: &impl Serialize) -> String {
    harmless(&serde_json::to_string_pretty(value).expect("reports hold nothing that JSON has no words for"))
}

/// The same JSON in printable ASCII without what ends an element of HTML.  These characters occur
/// in strings only, and there an escape means the same.
fn harmless(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        if matches!(c, ' '..='~' | '\n') && !matches!(c, '<' | '>' | '&') {
            safe.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            _ = write!(safe, "\\u{unit:04x}");
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_controls_neither_terminals_nor_pages() {
        let hostile = "</script><!--\u{1b}[2J\u{9b}\u{202e}\u{7f}\u{1f600}&\"\\\n";
        let json = line(&[hostile]);
        assert!(json.bytes().all(|b| (b' '..=b'~').contains(&b) && !b"<>&".contains(&b)), "{json}");
        assert_eq!(serde_json::from_str::<[String; 1]>(&json).unwrap(), [hostile]);
        assert_eq!(pretty(&[1]), "[\n  1\n]");
    }
}
