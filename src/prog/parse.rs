// SPDX-License-Identifier: GPL-2.0-or-later
//! Reading a program as text: headers, then one record a line.
//!
//! ```text
//!   # comment
//!   kernel: v5.12
//!   silent: v6.1; v5.12 +pmd-special
//!   schedule: pos seed=0x2a burst=4 | bytes | explicit
//!   expect: use-after-recycle in dma_write
//!
//!   0: mmap(addr=va8, len=4, prot=r|w, map=anon, file=f0) & salt=7
//!   override(n=3, priority=0x1234)
//!   choices(1, 2, 3)
//!   1: load(addr=va8) steps 5
//!   resume(1) steps 4
//!   disk: steps 1
//!   disk: run
//! ```
//!
//! Arguments come in any order, missing ones are byte 0; a value out of its range is an error.

use super::cursor::{Cursor, Fault};
use super::words::{did_you_mean, number, parse_value, quote, range};
use super::{Call, Fit, Prog, Rec, Room, ScheduleKind};
use crate::entry::{OPS, Op, op_by_name};
use crate::kernel::task_name;
use crate::limits::{MAX_CALLS, MAX_RECORDS, NR_TASKS, NR_USER_TASKS};
use std::fmt;

/// A program as text holds it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Script {
    /// The program.
    pub prog: Prog,
    /// `kernel:`, the spec it is meant for.
    pub kernel: Option<String>,
    /// `silent:`, specs of kernels on which nothing fires.
    pub silent: Vec<String>,
    /// `expect:`, the title of the violation.
    pub expect: Option<String>,
    /// What was ignored.
    pub warnings: Vec<String>,
    /// Where the specs stand that this room does not read, for messages about them: that of
    /// `kernel:`, those of `silent:`.
    pub places: (Place, Vec<Place>),
}

/// A place in a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl Place {
    /// The byte `at` of a line.
    fn new(number: usize, line: &str, at: usize) -> Place {
        Place { line: number, column: line.char_indices().take_while(|(i, _)| *i < at).count() + 1 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Why a text is no program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParseError {
    /// Where.
    pub place: Place,
    /// What was wrong and what was expected.
    pub message: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.place.line, self.message)
    }
}

impl std::error::Error for ParseError {}

const HEADERS: [&str; 4] = ["kernel", "silent", "schedule", "expect"];

impl Script {
    /// Reads a text.
    pub fn parse(text: &str) -> Result<Script, ParseError> {
        let mut parser = Parser::default();
        // Some editors begin a text with a byte order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (i, line) in text.lines().enumerate() {
            parser.line = i + 1;
            let result = parser.parse_line(line);
            result.map_err(|(at, message)| ParseError { place: Place::new(i + 1, line, at), message })?;
        }
        Ok(parser.script)
    }

    /// The title of the violation that `expect:` names; `silent` and `cut` are none.
    pub fn title(&self) -> Option<&str> {
        self.expect.as_deref().filter(|expect| !matches!(*expect, "silent" | "cut"))
    }
}

impl Prog {
    /// The program if the whole of an input is text.  The first byte tells for most that are not.
    pub(super) fn from_text_input(data: &[u8]) -> Option<Prog> {
        if !matches!(data.first()?, b'a'..=b'z' | b'0'..=b'9' | b'#' | b' ' | b'\t' | b'\r' | b'\n' | 0xef) {
            return None;
        }
        Some(Script::parse(std::str::from_utf8(data).ok()?).ok()?.prog)
    }
}

#[derive(Default)]
struct Parser {
    script: Script,
    /// Bit i: header i was there.
    seen: u8,
    room: Room,
    line: usize,
}

impl Parser {
    fn parse_line(&mut self, line: &str) -> Result<(), Fault> {
        if let Some((at, c)) = line.char_indices().find(|(_, c)| c.is_control() && *c != '\t') {
            return Err((at, format!("control character U+{:04X}, expected text", c as u32)));
        }
        let mut c = Cursor::new(line);
        if c.at_end() {
            return Ok(());
        }
        let (at, word) = c.word();
        if word.is_empty() {
            return Err((at, no_line(c.found_at(at, word))));
        }
        if c.eat('(') {
            let rec = match word {
                "override" => parse_override(&mut c)?,
                "choices" => parse_choices(&mut c)?,
                "resume" => parse_resume(&mut c)?,
                _ => return Err((at, format!("expected a task before {}, as in `0: load(addr=va8)`", quote(word)))),
            };
            self.push(rec, at)
        } else if c.eat(':') {
            if let Some(i) = HEADERS.iter().position(|h| *h == word) {
                return self.parse_header(i, at, &mut c, line);
            }
            let Some(task) = (0..NR_TASKS as u8).find(|t| task_name(*t) == word) else {
                let names = HEADERS.into_iter().chain((0..NR_TASKS as u8).map(task_name));
                return Err((at, format!("unknown header or task {}{}", quote(word), did_you_mean(word, names))));
            };
            let rec = if usize::from(task) < NR_USER_TASKS {
                Rec::Call(self.parse_call(task, &mut c)?)
            } else {
                parse_kernel_task(task, &mut c)?
            };
            self.push(rec, at)
        } else {
            Err((at, no_line(quote(word))))
        }
    }

    fn push(&mut self, rec: Rec, at: usize) -> Result<(), Fault> {
        let was_full = self.room.full;
        match self.room.take(&rec) {
            Fit::Yes => self.script.prog.records.push(rec),
            Fit::Orphan => return Err((at, "expected a call before `override`, which changes a draw of it".into())),
            Fit::Full if was_full => {}
            Fit::Full => self.script.warnings.push(format!(
                "line {}: more than {MAX_CALLS} calls or {MAX_RECORDS} records, ignored from here on",
                self.line
            )),
        }
        Ok(())
    }

    fn parse_header(&mut self, header: usize, at: usize, c: &mut Cursor<'_>, line: &str) -> Result<(), Fault> {
        let name = HEADERS[header];
        if self.room.records > 0 {
            return Err((at, format!("expected `{name}:` before the first call")));
        }
        if self.seen >> header & 1 != 0 {
            return Err((at, format!("a second `{name}:`, expected one")));
        }
        self.seen |= 1 << header;
        if name == "schedule" {
            return parse_schedule(&mut self.script.prog, c);
        }
        let (at, value) = c.rest();
        if value.is_empty() || !value.is_ascii() {
            let found = if value.is_empty() { "nothing".into() } else { quote(value) };
            return Err((at, format!("expected plain text behind `{name}:`, found {found}")));
        }
        match name {
            "kernel" => {
                self.script.kernel = Some(value.into());
                self.script.places.0 = Place::new(self.line, line, at);
            }
            "silent" => {
                let mut at = at;
                for part in value.split(';') {
                    let spec = part.trim();
                    let spec_at = at + part.len() - part.trim_start().len();
                    if spec.is_empty() {
                        return Err((spec_at, "expected a kernel on both sides of every `;`, found none".into()));
                    }
                    self.script.silent.push(spec.into());
                    self.script.places.1.push(Place::new(self.line, line, spec_at));
                    at += part.len() + 1;
                }
            }
            _ => self.script.expect = Some(value.into()),
        }
        Ok(())
    }

    /// Behind `task:`.
    fn parse_call(&mut self, task: u8, c: &mut Cursor<'_>) -> Result<Call, Fault> {
        let (at, name) = c.word();
        let Some(op) = op_by_name(name) else {
            let names = OPS.iter().map(|op| op.name);
            return Err((
                at,
                match name {
                    "" => format!("expected an operation, found {}", c.found_at(at, name)),
                    _ => format!("unknown operation {}{}", quote(name), did_you_mean(name, names)),
                },
            ));
        };
        c.expect('(')?;
        let args = parse_args(op, c)?;
        let mut call = Call { op: op.nr, task, concurrent: c.eat('&'), steps: 0, args };
        if !c.at_end() {
            let explicit = self.script.prog.schedule == ScheduleKind::Explicit;
            let (at, word) = c.word();
            if word == "salt" {
                c.expect('=')?;
            } else if word != "steps" {
                return Err((
                    at,
                    format!("expected `&`, `steps N`, `salt=N` or the end, found {}", c.found_at(at, word)),
                ));
            }
            let value = parse_byte(c)?;
            if explicit == (word == "steps") {
                call.steps = value;
            } else {
                let (line, schedule) = (self.line, self.script.prog.schedule.word());
                self.script.warnings.push(format!("line {line}: `{word}` does nothing under `schedule: {schedule}`"));
            }
        }
        c.end()?;
        Ok(call)
    }
}

/// What to say about a line that is nothing.
fn no_line(found: String) -> String {
    format!("expected `header: ...`, `task: call(...)` or a comment, found {found}")
}

/// Nothing may be said twice.
fn once<'l>(seen: &mut Vec<&'l str>, at: usize, name: &'l str) -> Result<(), Fault> {
    if seen.contains(&name) {
        return Err((at, format!("a second {}, expected one", quote(&format!("{name}=")))));
    }
    seen.push(name);
    Ok(())
}

/// `pos seed=N burst=N`, `bytes` or `explicit`.
fn parse_schedule(prog: &mut Prog, c: &mut Cursor<'_>) -> Result<(), Fault> {
    let (at, kind) = c.word();
    let Some(schedule) = ScheduleKind::ALL.into_iter().find(|schedule| schedule.word() == kind) else {
        return Err((at, format!("expected the schedule pos, bytes or explicit, found {}", c.found_at(at, kind))));
    };
    prog.schedule = schedule;
    let mut seen = Vec::new();
    while prog.schedule == ScheduleKind::Pos && !c.at_end() {
        let (at, key) = c.word();
        c.expect('=')?;
        let (value_at, value) = c.word();
        match (key, number(value)) {
            ("seed", Some(seed)) => prog.seed = seed,
            ("burst", Some(burst @ (1 | 2 | 4 | 8 | 16))) => prog.burst = burst as u8,
            ("seed", None) => return Err((value_at, format!("expected a seed of 32 bits, found {}", quote(value)))),
            ("burst", _) => {
                return Err((value_at, format!("expected a burst of 1, 2, 4, 8 or 16, found {}", quote(value))));
            }
            _ => return Err((at, format!("expected seed=N or burst=N, found {}", quote(key)))),
        }
        once(&mut seen, at, key)?;
    }
    c.end()
}

/// Behind `(`, up to and with `)`.
fn parse_args(op: &Op, c: &mut Cursor<'_>) -> Result<[u8; 5], Fault> {
    let mut args = [0; 5];
    let mut seen = Vec::new();
    c.list(|c| {
        let (at, name) = c.word();
        if name.is_empty() {
            return Err((at, format!("expected an argument of {}, found {}", op.name, c.found_at(at, name))));
        }
        let Some(i) = op.args.iter().position(|arg| arg.name == name) else {
            let names = op.args.iter().map(|arg| arg.name);
            let hint = if op.args.is_empty() { ", it takes none".into() } else { did_you_mean(name, names) };
            return Err((at, format!("{} has no argument {}{hint}", op.name, quote(name))));
        };
        once(&mut seen, at, name)?;
        c.expect('=')?;
        let (at, text) = c.word();
        let kind = op.args[i].kind;
        args[i] = parse_value(kind, text)
            .ok_or_else(|| (at, format!("{name}: expected {}, found {}", range(kind), c.found_at(at, text))))?;
        Ok(())
    })?;
    Ok(args)
}

fn parse_override(c: &mut Cursor<'_>) -> Result<Rec, Fault> {
    let (mut n, mut priority) = (0, 0);
    let mut seen = Vec::new();
    c.list(|c| {
        let (at, name) = c.word();
        once(&mut seen, at, name)?;
        c.expect('=')?;
        match name {
            "n" => n = parse_byte(c)?,
            "priority" => {
                let (at, text) = c.word();
                let error = || (at, format!("expected a priority of 32 bits, found {}", c.found_at(at, text)));
                priority = number(text).ok_or_else(error)?;
            }
            _ => return Err((at, format!("expected n=N or priority=N, found {}", quote(name)))),
        }
        Ok(())
    })?;
    c.end()?;
    Ok(Rec::Override { n, priority })
}

fn parse_choices(c: &mut Cursor<'_>) -> Result<Rec, Fault> {
    let (at, _) = c.rest();
    let (mut len, mut bytes) = (0, [0; 6]);
    c.list(|c| {
        let byte = parse_byte(c)?;
        if let Some(b) = bytes.get_mut(len) {
            *b = byte;
        }
        len += 1;
        Ok(())
    })?;
    if len == 0 || len > bytes.len() {
        return Err((at, format!("expected one to six choices, found {len}")));
    }
    c.end()?;
    Ok(Rec::Choices { len: len as u8, bytes })
}

fn parse_resume(c: &mut Cursor<'_>) -> Result<Rec, Fault> {
    let (at, name) = c.word();
    let Some(task) = (0..NR_USER_TASKS as u8).find(|t| task_name(*t) == name) else {
        return Err((at, format!("expected a task from 0 to {}, found {}", NR_USER_TASKS - 1, c.found_at(at, name))));
    };
    c.expect(')')?;
    if c.at_end() {
        return Ok(Rec::Resume { task, steps: 0 });
    }
    parse_kernel_task(task, c)
}

/// `run` or `steps N`.
fn parse_kernel_task(task: u8, c: &mut Cursor<'_>) -> Result<Rec, Fault> {
    let (at, word) = c.word();
    let steps = match word {
        "run" => 0,
        "steps" => parse_byte(c)?,
        _ => return Err((at, format!("expected `run` or `steps N`, found {}", c.found_at(at, word)))),
    };
    c.end()?;
    Ok(Rec::Resume { task, steps })
}

fn parse_byte(c: &mut Cursor<'_>) -> Result<u8, Fault> {
    let (at, text) = c.word();
    let value = number(text).and_then(|n| u8::try_from(n).ok());
    value.ok_or_else(|| (at, format!("expected a number from 0 to 255, found {}", c.found_at(at, text))))
}
