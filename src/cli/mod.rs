// SPDX-License-Identifier: GPL-2.0-or-later
//! What one types.  Time, threads and files are known in this room only.

mod bisect;
mod convert;
mod coverage;
mod explain;
mod file;
mod grow;
mod interrupt;
mod job;
mod list;
mod matrix;
mod minimize;
mod observe;
mod out;
mod progress;
mod replay;
mod run;
mod save;

use clap::{Parser, Subcommand, ValueEnum};
use gupfuzz::entry::{Op, op_by_name};
use gupfuzz::fixes::Spec;
use gupfuzz::fuzz::matrix::{PATHS, Path};
use gupfuzz::limits::{NR_FRAMES, NR_IOMEM};
use gupfuzz::prog::{TARGETS, Target, target};
use std::path::PathBuf;
use std::process::ExitCode;

/// Searches for programs on which an emulated Linux memory manager and TTM use a page after it was
/// recycled, or unmap one behind the back of whoever has pinned it.
#[derive(Parser)]
#[command(version, max_term_width = 100, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit status: 0 silent, or cut at the step limit, 1 a violation, 2 unusable input or arguments, 3 `expect:` or `silent:` of a file
not met, 101 a bug of gupfuzz itself, 130 ended by a second Ctrl-C.";

/// The exit status after a second Ctrl-C, as a shell has it.
const INTERRUPTED: u8 = 130;

#[derive(Subcommand)]
enum Command {
    /// Generate and change programs, and run them, until one shows a violation
    Run(RunArgs),
    /// Run programs and hold what they say about themselves
    Replay(ReplayArgs),
    /// Make a program small that shows a violation: fewer calls, fewer context switches, simpler arguments
    Minimize(MinimizeArgs),
    /// Say which kernels have the bug of a program, which fix ends it, which proposals would have
    Bisect(BisectArgs),
    /// Say which kernels and proposals lose a page to which path, as a table in Markdown
    Matrix(MatrixArgs),
    /// Tell what a program did step by step, as text, JSON, a page for a browser, a trace for Perfetto
    Explain(ExplainArgs),
    /// Say which modelled functions and which conditions of fixes programs reach
    Coverage(CoverageArgs),
    /// Search for programs that reach much, and write few and short ones that reach the same
    Grow(GrowArgs),
    /// Print a program, text or bytes, as text
    Show {
        /// The program
        file: PathBuf,
    },
    /// Turn text programs into the bytes that fuzzers work on
    Pack {
        /// The programs
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Where to write the bytes: a file, or a folder, which several programs need
        #[arg(short, long, value_name = "PATH")]
        out: PathBuf,
    },
    /// Print a table of what there is
    List {
        /// Which table
        what: Table,
    },
}

/// The tables.
#[derive(Clone, Copy, ValueEnum)]
enum Table {
    /// What programs can call
    Ops,
    /// What kernel specs can add and take away
    Fixes,
    /// What kernel specs begin with
    Kernels,
    /// What watches
    Oracles,
    /// What `gupfuzz run` and the fuzz targets can look for
    Targets,
}

/// Arguments of `run`.
#[derive(clap::Args)]
#[command(after_help = "\
Without --runs and --time it goes on until a violation or Ctrl-C.  One seed and one job, or a seed, a number
of jobs, --runs and --keep-going, always give the same result.  A program is one executed interleaving,
wherever programs are counted.")]
struct RunArgs {
    /// What to look for: see `gupfuzz list targets`
    #[arg(value_parser = parse_target)]
    target: &'static Target,
    /// The kernel, for example `v5.12 +pmd-special`
    #[arg(long, value_name = "SPEC", default_value = "newest")]
    kernel: Spec,
    /// Where the search begins; another seed searches elsewhere
    #[arg(long, value_name = "N", default_value = "0", value_parser = parse_u64)]
    seed: u64,
    /// End after so many programs, all jobs together
    #[arg(long, value_name = "N", value_parser = parse_u64)]
    runs: Option<u64>,
    /// End after this time
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    time: Option<f64>,
    /// Threads, each with a search of its own [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// Go on until the title of a violation contains this; count the others
    #[arg(long, value_name = "TITLE", conflicts_with = "keep_going", value_parser = parse_title)]
    until: Option<String>,
    /// Leave out operations, with commas between
    #[arg(long, value_name = "OP", value_delimiter = ',', value_parser = parse_op)]
    without: Vec<&'static Op>,
    /// Go on after violations: one program per title, the smallest
    #[arg(long)]
    keep_going: bool,
    /// Where to write the programs that show violations
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// Print a digest of all traces
    #[arg(long)]
    digest: bool,
}

/// Arguments of `replay`.
#[derive(clap::Args)]
#[command(after_help = "\
Without --kernel a program runs on the kernel of its `kernel:` header, or on newest, and then on those of its
`silent:` header.  With it, `expect:` and `silent:` are held if they speak of that kernel.
`expect:` is the title of a violation, `silent` if no seed of the burst may show one or be cut, or `cut`.")]
struct ReplayArgs {
    /// Programs: text or the input of a fuzz target
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The kernel, for example `v5.12 +pmd-special`
    #[arg(long, value_name = "SPEC")]
    kernel: Option<Spec>,
    /// Print what user space saw: a line a call, in order of completion
    #[arg(long)]
    observe: bool,
    /// Print every step
    #[arg(long)]
    steps: bool,
    /// Print a line of JSON a kernel: the file, the kernel, what it came to, what was expected, the report
    #[arg(long, conflicts_with_all = ["observe", "steps"])]
    json: bool,
}

/// Arguments of `minimize`.
#[derive(clap::Args)]
#[command(after_help = "\
The result keeps the title of the violation, that of `expect:` if the program shows it, and the kernels of
`silent:`.  Its interleaving is explicit.  If the steps of a file have shifted so that it no longer shows its
`expect:`, other interleavings of its calls are tried first.  Ctrl-C: the best so far.")]
struct MinimizeArgs {
    /// The program: text or the input of a fuzz target
    file: PathBuf,
    /// Where to write the result, another file than the program [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The kernel, for example `v5.12 +pmd-special` [default: that of the `kernel:` header, or newest]
    #[arg(long, value_name = "SPEC")]
    kernel: Option<Spec>,
}

/// Arguments of `explain`.
#[derive(clap::Args)]
#[command(after_help = "\
A violation is told with its report, of the page it is about.  A program that is silent is told, too: of the
page that most tasks touched, or of --pfn.")]
struct ExplainArgs {
    /// The program: text or the input of a fuzz target
    file: PathBuf,
    /// The kernel, for example `v5.12 +pmd-special` [default: that of the `kernel:` header, or newest]
    #[arg(long, value_name = "SPEC")]
    kernel: Option<Spec>,
    /// The page frame to tell of if the program is silent
    #[arg(long, value_name = "N", value_parser = parse_pfn)]
    pfn: Option<u8>,
    /// Print the story as JSON
    #[arg(long)]
    json: bool,
    /// Write the picture of the interleaving as a page for a browser
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write a trace that Perfetto (ui.perfetto.dev) opens
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

/// Arguments of `bisect`.
#[derive(clap::Args)]
#[command(after_help = "\
A kernel on which the program is silent as it stands is tried with other interleavings of the same calls, for
a fix may only shift the steps.")]
struct BisectArgs {
    /// The program: text or the input of a fuzz target
    file: PathBuf,
    /// The kernel to change [default: that of the `kernel:` header, or newest]
    #[arg(long, value_name = "SPEC")]
    kernel: Option<Spec>,
}

/// Arguments of `matrix`.
#[derive(clap::Args)]
#[command(after_help = "\
A cell is a search of its own: it depends on the path, the kernel, --seed and --runs, and on nothing else.")]
struct MatrixArgs {
    /// Programs a cell
    #[arg(long, value_name = "N", default_value = "30000", value_parser = parse_u64)]
    runs: u64,
    /// Where the searches begin
    #[arg(long, value_name = "N", default_value = "0", value_parser = parse_u64)]
    seed: u64,
    /// Threads [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// A row, several times if one likes [default: releases and proposals]
    #[arg(long, value_name = "SPEC")]
    kernel: Vec<Spec>,
    /// A column, several times if one likes [default: all]
    #[arg(long, value_name = "NAME", value_parser = parse_path)]
    path: Vec<&'static Path>,
    /// Where to write the table [default: standard output]
    #[arg(short = 'o', long, value_name = "FILE")]
    table: Option<PathBuf>,
    /// Where to write a program for every cell that shows something, made small
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Arguments of `coverage`.
#[derive(clap::Args)]
#[command(after_help = "\
A function is reached if something happens while a task is inside of it.  Programs tell two kernels apart that
run another way on them.  They show a fix if an oracle fires on one of the two only.")]
struct CoverageArgs {
    /// Programs: text or the input of a fuzz target
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The kernel whose functions are reached [default: that of the `kernel:` header, or newest]
    #[arg(long, value_name = "SPEC")]
    kernel: Option<Spec>,
}

/// Arguments of `grow`.
#[derive(clap::Args)]
#[command(after_help = "\
What a program reaches are pairs of an object's state and a place in the model.  Programs that show a violation
are left out.  The same arguments always give the same files.  With `--runs 0` it only makes a corpus small.")]
struct GrowArgs {
    /// What to look for: see `gupfuzz list targets`
    #[arg(value_parser = parse_target)]
    target: &'static Target,
    /// Programs to begin with: text or the input of a fuzz target
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The kernel, for example `v5.12 +pmd-special`
    #[arg(long, value_name = "SPEC", default_value = "newest")]
    kernel: Spec,
    /// Where the search begins
    #[arg(long, value_name = "N", default_value = "0", value_parser = parse_u64)]
    seed: u64,
    /// How many programs to search
    #[arg(long, value_name = "N", default_value = "1000000", value_parser = parse_u64)]
    runs: u64,
    /// Where to write the programs
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
}

/// How a command ended, the worst last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Status {
    /// Nothing fired.
    Silent,
    /// A violation.
    Violation,
    /// Not as the program says.
    NotMet,
    /// Unusable input or arguments.
    Unusable,
    /// A bug of gupfuzz itself.
    Broken,
}

impl Status {
    /// The exit status, as [`EXIT_CODES`] has it.
    fn code(self) -> u8 {
        match self {
            Status::Silent => 0,
            Status::Violation => 1,
            Status::Unusable => 2,
            Status::NotMet => 3,
            Status::Broken => 101,
        }
    }
}

/// Why a command could not do its work, as it is to be told.
type Error = String;

/// Runs what was typed.
pub(crate) fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Replay(args) => Ok(replay::replay(&args)),
        Command::Minimize(args) => minimize::minimize(&args),
        Command::Bisect(args) => bisect::bisect(&args),
        Command::Matrix(args) => matrix::matrix(&args),
        Command::Explain(args) => explain::explain(&args),
        Command::Coverage(args) => coverage::coverage(&args),
        Command::Grow(args) => grow::grow(&args),
        Command::Show { file } => convert::show(&file),
        Command::Pack { files, out } => convert::pack(&files, &out),
        Command::List { what } => Ok(list::list(what)),
    };
    let status = result.unwrap_or_else(|error| {
        out::error(&error);
        Status::Unusable
    });
    out::flush();
    ExitCode::from(status.code())
}

fn parse_target(name: &str) -> Result<&'static Target, Error> {
    let names = || TARGETS.iter().map(|t| t.name).collect::<Vec<_>>().join(", ");
    target(name).ok_or_else(|| format!("expected one of {}", names()))
}

fn parse_path(name: &str) -> Result<&'static Path, Error> {
    let names = || PATHS.iter().map(|p| p.target.name).collect::<Vec<_>>().join(", ");
    PATHS.iter().find(|path| path.target.name == name).ok_or_else(|| format!("expected one of {}", names()))
}

fn parse_op(name: &str) -> Result<&'static Op, String> {
    op_by_name(name).ok_or_else(|| "no such operation; `gupfuzz list ops` has them all".to_owned())
}

/// Part of a title.  What is in every title would stand for no title at all.
fn parse_title(text: &str) -> Result<String, Error> {
    match text.trim() {
        "" => Err("expected part of a title, found nothing, which is in every title".into()),
        _ => Ok(text.into()),
    }
}

/// A number, decimal or 0x hex, digits parted by `_` if one likes.
fn parse_u64(text: &str) -> Result<u64, Error> {
    let digits = text.replace('_', "");
    let (digits, radix) = match digits.strip_prefix("0x") {
        Some(hex) => (hex, 16),
        None => (digits.as_str(), 10),
    };
    // from_str_radix() would take a sign.
    let plain = digits.chars().all(|c| c.is_ascii_hexdigit());
    let number = u64::from_str_radix(digits, radix).ok().filter(|_| plain);
    number.ok_or_else(|| "expected a number, decimal or 0x hex".into())
}

/// A page frame number, device memory included.
fn parse_pfn(text: &str) -> Result<u8, Error> {
    let pfns = NR_FRAMES + NR_IOMEM;
    let pfn = parse_u64(text)?;
    let fits = u8::try_from(pfn).ok().filter(|pfn| usize::from(*pfn) < pfns);
    fits.ok_or_else(|| format!("expected less than {pfns:#x}"))
}

fn parse_seconds(text: &str) -> Result<f64, Error> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=1e9).contains(&seconds) => Ok(seconds),
        _ => Err("expected a number of seconds".into()),
    }
}
