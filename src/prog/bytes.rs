// SPDX-License-Identifier: GPL-2.0-or-later
//! Programs as bytes: a header of eight, then eight a record.
//!
//! ```text
//!   header   version  schedule  seed, little endian       burst  -
//!   call     number   task, &   steps or salt  five arguments
//!   override 0xf0     -         n              priority, little endian  -
//!   choices  0xf1     length    six choices
//!   resume   0xf2     task      steps          -
//! ```
//!
//! Any bytes decode.  A number that is no operation is a record that is not there, a part of a
//! record at the end likewise, and every field is mapped into its range.  So byte mutation stays
//! local, and records can be dropped, swapped and spliced.

use super::{Call, Fit, Prog, Rec, Room, ScheduleKind};
use crate::entry::{ArgDesc, op};
use crate::limits::{NR_TASKS, NR_USER_TASKS};
use arbitrary::{Arbitrary, Result, Unstructured};

/// Bytes of a header.
pub const HEADER_SIZE: usize = 8;
/// Bytes of a record.
pub const RECORD_SIZE: usize = 8;

/// First byte of what [`Prog::encode`] makes, and never that of a text.  Decoding takes any.
const VERSION: u8 = 0x01;

const OVERRIDE: u8 = 0xf0;
const CHOICES: u8 = 0xf1;
const RESUME: u8 = 0xf2;

/// Set beside the task: the call is marked `&`.
const CONCURRENT: u8 = 0x10;
const TASK_MASK: u8 = 0x0f;

const BURSTS: u8 = 5;

impl Prog {
    /// The program that some bytes are.
    pub fn decode(data: &[u8]) -> Prog {
        let mut prog = Prog::default();
        prog.decode_into(data);
        prog
    }

    /// The same, into memory that is there.
    pub fn decode_into(&mut self, data: &[u8]) {
        let (head, body) = data.split_at(data.len().min(HEADER_SIZE));
        let mut header = [0; HEADER_SIZE];
        header[..head.len()].copy_from_slice(head);
        let [_version, schedule, seed @ .., burst, _reserved] = header;
        *self = Prog {
            schedule: ScheduleKind::ALL[schedule as usize % ScheduleKind::ALL.len()],
            seed: u32::from_le_bytes(seed),
            burst: 1 << (burst % BURSTS),
            records: std::mem::take(&mut self.records),
        };
        if self.schedule != ScheduleKind::Pos {
            (self.seed, self.burst) = (0, 1);
        }

        self.records.clear();
        let mut room = Room::default();
        for record in body.chunks_exact(RECORD_SIZE) {
            let Some(rec) = decode_record(record.try_into().expect("an exact chunk")) else { continue };
            match room.take(&rec) {
                Fit::Yes => self.records.push(rec),
                Fit::Orphan => {}
                Fit::Full => break,
            }
        }
    }

    /// The bytes of the program.
    pub fn encode(&self) -> Vec<u8> {
        let mut data = Vec::with_capacity(HEADER_SIZE + RECORD_SIZE * self.records.len());
        data.extend(self.header());
        data.extend(self.records.iter().flat_map(encode_record));
        data
    }

    /// A hash of the bytes, the same on every platform: FNV-1a.
    pub fn hash32(&self) -> u32 {
        let bytes = self.header().into_iter().chain(self.records.iter().flat_map(encode_record));
        bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
    }

    /// The same of 64 bits, to tell many programs apart.
    pub fn hash64(&self) -> u64 {
        let bytes = self.header().into_iter().chain(self.records.iter().flat_map(encode_record));
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
    }

    /// The program that an input of a fuzz target is.
    ///
    /// Text if the whole of it is text; its headers except `schedule:` are ignored.
    pub fn from_input(data: &[u8]) -> Prog {
        Prog::from_text_input(data).unwrap_or_else(|| Prog::decode(data))
    }

    /// The same, into memory that is there.
    pub fn read_input(&mut self, data: &[u8]) {
        match Prog::from_text_input(data) {
            Some(prog) => *self = prog,
            None => self.decode_into(data),
        }
    }

    pub(super) fn header(&self) -> [u8; HEADER_SIZE] {
        let [a, b, c, d] = self.seed.to_le_bytes();
        [VERSION, self.schedule as u8, a, b, c, d, self.burst.trailing_zeros() as u8, 0]
    }
}

fn decode_record([nr, task, steps, args @ ..]: [u8; RECORD_SIZE]) -> Option<Rec> {
    let [a, b, c, d, e] = args;
    Some(match nr {
        OVERRIDE => Rec::Override { n: steps, priority: u32::from_le_bytes([a, b, c, d]) },
        CHOICES => {
            let len = task.wrapping_sub(1) % 6 + 1;
            let mut bytes = [steps, a, b, c, d, e];
            bytes[len as usize..].fill(0);
            Rec::Choices { len, bytes }
        }
        RESUME => Rec::Resume { task: (task & TASK_MASK) % NR_TASKS as u8, steps },
        _ => Rec::Call(Call {
            op: nr,
            task: (task & TASK_MASK) % NR_USER_TASKS as u8,
            concurrent: task & CONCURRENT != 0,
            steps,
            args: normalize(op(nr)?.args, args),
        }),
    })
}

/// Arguments in their ranges, unused ones 0.
pub(super) fn normalize(descs: &[ArgDesc], bytes: [u8; 5]) -> [u8; 5] {
    let mut args = [0; 5];
    for ((arg, desc), byte) in args.iter_mut().zip(descs).zip(bytes) {
        *arg = desc.kind.normalize(byte);
    }
    args
}

pub(super) fn encode_record(rec: &Rec) -> [u8; RECORD_SIZE] {
    match *rec {
        Rec::Call(Call { op, task, concurrent, steps, args: [a, b, c, d, e] }) => {
            let mark = if concurrent { CONCURRENT } else { 0 };
            [op, task | mark, steps, a, b, c, d, e]
        }
        Rec::Override { n, priority } => {
            let [a, b, c, d] = priority.to_le_bytes();
            [OVERRIDE, 0, n, a, b, c, d, 0]
        }
        Rec::Choices { len, bytes: [a, b, c, d, e, f] } => [CHOICES, len, a, b, c, d, e, f],
        Rec::Resume { task, steps } => [RESUME, task, steps, 0, 0, 0, 0, 0],
    }
}

/// The rest of the input, as [`Prog::decode`] reads it.
impl<'a> Arbitrary<'a> for Prog {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Prog> {
        Ok(Prog::decode(u.bytes(u.len())?))
    }

    fn arbitrary_take_rest(u: Unstructured<'a>) -> Result<Prog> {
        Ok(Prog::decode(u.take_rest()))
    }

    fn size_hint(_depth: usize) -> (usize, Option<usize>) {
        (0, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{MAX_CALLS, MAX_RECORDS};

    #[test]
    fn every_field_is_mapped_into_its_range() {
        // ttm_bo_create with all bits set, in a header of all bits set: 255 is `pos` (mod 3), 1 (mod 5).
        let mut data = vec![0xff; HEADER_SIZE];
        data.extend([40, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        let prog = Prog::decode(&data);
        assert_eq!((prog.schedule, prog.seed, prog.burst), (ScheduleKind::Pos, u32::MAX, 1));
        let call = Call { op: 40, task: 7, concurrent: true, steps: 255, args: [7, 0, 0, 1, 1] };
        assert_eq!(prog.records, [Rec::Call(call)]);
        assert_eq!(Prog::decode(&prog.encode()), prog);
    }

    #[test]
    fn records_that_are_none_decode_to_nothing() {
        let mut data = vec![1, 1, 9, 9, 9, 9, 4, 0];
        data.extend([OVERRIDE, 0, 3, 1, 2, 3, 4, 0]); // no call before it
        data.extend([0; 8]); // unassigned
        data.extend([0xf3, 0, 0, 0, 0, 0, 0, 0]); // unassigned
        data.extend([CHOICES, 0, 5, 6, 7, 8, 9, 10]);
        data.extend([RESUME, 0xff, 2, 0, 0, 0, 0]); // partial
        let prog = Prog::decode(&data);
        assert_eq!((prog.schedule, prog.seed, prog.burst), (ScheduleKind::Bytes, 0, 1));
        assert_eq!(prog.records, [Rec::Choices { len: 4, bytes: [5, 6, 7, 8, 0, 0] }]);
        assert_eq!(Prog::decode(&[]), Prog::default());
        assert_eq!(Prog::decode(&[1]), Prog::default());
    }

    #[test]
    fn what_is_beyond_the_limits_is_ignored() {
        let call = [6, 0, 0, 0, 0, 0, 0, 0];
        let over = [OVERRIDE, 0, 0, 0, 0, 0, 0, 0];
        let resume = [RESUME, 15, 0, 0, 0, 0, 0, 0];

        let data = [[0; 8].to_vec(), call.repeat(MAX_CALLS + 1), over.repeat(3)].concat();
        let prog = Prog::decode(&data);
        assert_eq!(prog.records.len(), MAX_CALLS, "an override of an ignored call is ignored");

        let prog = Prog::decode(&[[0; 8].to_vec(), resume.repeat(MAX_RECORDS + 1)].concat());
        assert_eq!(prog.records, [Rec::Resume { task: 3, steps: 0 }; MAX_RECORDS]);
    }

    #[test]
    fn hash_is_fnv_1a_of_the_bytes() {
        let prog = Prog::decode(&[1, 0, 0x2a, 0, 0, 0, 2, 0, 6, 0x11, 7, 8, 0, 0, 0, 0]);
        let hash = |data: &[u8]| data.iter().fold(0x811c_9dc5_u32, |h, &b| (h ^ u32::from(b)).wrapping_mul(16_777_619));
        assert_eq!(prog.hash32(), hash(&prog.encode()));
        assert_eq!(hash(b"a"), 0xe40c_292c);
    }

    #[test]
    fn arbitrary_reads_the_same_format() {
        let data = [1, 0, 0x2a, 0, 0, 0, 2, 0, 6, 0x11, 7, 8, 0, 0, 0, 0, 1, 2];
        let prog = Prog::decode(&data);
        let mut u = Unstructured::new(&data);
        assert_eq!(Prog::arbitrary(&mut u).as_ref(), Ok(&prog));
        assert!(u.is_empty());
        assert_eq!(Prog::arbitrary_take_rest(Unstructured::new(&data)).as_ref(), Ok(&prog));
    }
}
