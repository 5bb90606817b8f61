// SPDX-License-Identifier: GPL-2.0-or-later
//! A place in a line of text.  Blanks are spaces and tabs; whatever else looks like one is part of a word.

use super::words::quote;

/// The place in a line, in bytes, and the message.
pub(super) type Fault = (usize, String);

/// What parts words.
const BLANKS: [char; 2] = [' ', '\t'];
/// What means something where it stands, with or without blanks around it.
const SIGNS: &str = "(),=&:";

/// Reads a line word by word.
pub(super) struct Cursor<'l> {
    line: &'l str,
    at: usize,
}

impl<'l> Cursor<'l> {
    /// At the start of a line; what is behind a `#` is not seen.
    pub(super) fn new(line: &'l str) -> Cursor<'l> {
        Cursor { line: line.split('#').next().unwrap_or_default(), at: 0 }
    }

    /// What is left, without space around it.
    pub(super) fn rest(&mut self) -> (usize, &'l str) {
        let rest = self.line[self.at..].trim_start_matches(BLANKS);
        self.at = self.line.len() - rest.len();
        (self.at, rest.trim_end_matches(BLANKS))
    }

    /// Whether nothing is left.
    pub(super) fn at_end(&mut self) -> bool {
        self.rest().1.is_empty()
    }

    /// The next word and its place; empty if there is a sign or the end.
    pub(super) fn word(&mut self) -> (usize, &'l str) {
        let (at, rest) = self.rest();
        let end = rest.find(|c| BLANKS.contains(&c) || SIGNS.contains(c));
        let word = &rest[..end.unwrap_or(rest.len())];
        self.at = at + word.len();
        (at, word)
    }

    /// Takes a sign if it comes next.
    pub(super) fn eat(&mut self, sign: char) -> bool {
        let (at, rest) = self.rest();
        let found = rest.starts_with(sign);
        if found {
            self.at = at + sign.len_utf8();
        }
        found
    }

    /// Takes a sign, which has to come next.
    pub(super) fn expect(&mut self, sign: char) -> Result<(), Fault> {
        match self.eat(sign) {
            true => Ok(()),
            false => Err((self.at, format!("expected `{sign}`, found {}", self.found()))),
        }
    }

    /// Items between commas, up to and with the `)`.
    pub(super) fn list(&mut self, mut item: impl FnMut(&mut Self) -> Result<(), Fault>) -> Result<(), Fault> {
        if self.eat(')') {
            return Ok(());
        }
        loop {
            item(self)?;
            if self.eat(')') {
                return Ok(());
            }
            if !self.eat(',') {
                return Err((self.at, format!("expected `,` or `)`, found {}", self.found())));
            }
        }
    }

    /// Nothing may be left.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        match self.at_end() {
            true => Ok(()),
            false => Err((self.at, format!("expected the end of the line, found {}", self.found()))),
        }
    }

    /// What comes next, for a message.
    fn found(&mut self) -> String {
        match self.rest().1 {
            "" => "the end of the line".into(),
            rest => quote(rest),
        }
    }

    /// What is at a place from which a word was read, for a message.
    pub(super) fn found_at(&self, at: usize, word: &str) -> String {
        match (word, self.line[at..].chars().next()) {
            ("", None) => "the end of the line".into(),
            ("", Some(sign)) => quote(sign.encode_utf8(&mut [0; 4])),
            _ => quote(word),
        }
    }
}
