// SPDX-License-Identifier: GPL-2.0-or-later
//! gupfuzz: a deterministic fuzzing target suite for the place where Linux memory management and GPU
//! memory managers keep breaking each other.
//!
//! Rooms and who may import whom, top to bottom, a room only from below it or from the left:
//!
//! ```text
//!  fuzz  main              bytes in, outcome out; the command line
//!  init                    boots, runs one program step by step, feeds the oracles
//!  report
//!  oracles  prog           read events  |  programs as data
//!  entry                   the system call table
//!  ttm  drivers  io_uring  buffer objects, pools, faults; GPUs that reach user memory; registered buffers
//!  mm  fs  dma_buf         the memory manager; direct I/O, pipes, the disk
//!  kernel                  tasks, steps, schedules, locks
//!  arch                    a CPU as data
//!  trace  limits  fixes
//! ```

mod arch;
mod dma_buf;
mod drivers;
pub mod entry;
pub mod fixes;
mod fs;
pub mod fuzz;
pub mod init;
mod io_uring;
pub mod kernel;
pub mod limits;
mod mm;
pub mod oracles;
pub mod prog;
pub mod report;
pub mod trace;
mod ttm;
