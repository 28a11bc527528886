//! The `agentvitals` command.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use agentvitals_collector::cli::{self, Terminal};
use mimalloc::MiMalloc;

/// Requests are decoded on one thread and freed on another, many small texts each: the system's allocator takes longer
/// for it and keeps more.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    // Colours are for people: not in files and pipes, and not for those who asked for none (no-color.org).
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let colored = wanted && out.is_terminal();
    cli::run(std::env::args_os(), Terminal { out: &mut out, err: &mut err, colored }).into()
}
