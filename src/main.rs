// SPDX-License-Identifier: GPL-2.0-or-later
//! The command line.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
