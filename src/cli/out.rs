// SPDX-License-Identifier: GPL-2.0-or-later
//! Standard output and standard error.
//!
//! A reader that has seen enough (`| head`) closes the pipe: that is no error, and no reason to panic.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write, stderr, stdout};
use std::path::Path;

/// Prints a line of results.
macro_rules! say {
    ($($arg:tt)*) => { $crate::cli::out::print(format_args!("{}\n", format_args!($($arg)*))) };
}
/// Prints a line about the work itself, to standard error.
macro_rules! note {
    ($($arg:tt)*) => { $crate::cli::out::tell(format_args!($($arg)*)) };
}
pub(super) use {note, say};

/// Prints results as they are.
pub(super) fn print(text: Arguments<'_>) {
    let result = stdout().lock().write_fmt(text);
    check(result);
}

pub(super) fn flush() {
    check(stdout().lock().flush());
}

fn check(result: std::io::Result<()>) {
    match result {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => {
            error(&format!("cannot write to standard output: {e}"));
            std::process::exit(super::Status::Unusable as i32);
        }
        _ => {}
    }
}

pub(super) fn tell(text: Arguments<'_>) {
    // Nobody is left to be told if this fails.
    _ = writeln!(stderr().lock(), "{text}");
}

/// Says why something cannot be done.
pub(super) fn error(message: &str) {
    note!("gupfuzz: {}", harmless(message));
}

/// Text of unknown origin without characters that a terminal would obey, lines kept.
pub(super) fn harmless(text: &str) -> String {
    let safe = |c: char| c == '\n' || !c.is_control() && !is_format(c);
    text.chars().flat_map(|c| if safe(c) { vec![c] } else { c.escape_unicode().collect() }).collect()
}

/// Characters that change how others are shown: direction, zero width.
fn is_format(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A file name on one line, fit to be shown.
pub(super) fn name(path: &Path) -> String {
    harmless(&path.to_string_lossy()).replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_controls_the_terminal() {
        assert_eq!(harmless("a\u{1b}[2J\u{202e}ä\n"), "a\\u{1b}[2J\\u{202e}ä\n");
        assert_eq!(name(Path::new("a\nb\u{7}")), "a\\nb\\u{7}");
    }
}
