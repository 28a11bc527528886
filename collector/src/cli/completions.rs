//! `agentvitals completions`: what a shell completes.

use clap::CommandFactory as _;
use clap_complete::{Shell, generate};

use super::{Arguments, End, OK, Terminal};

/// Prints a script that lets a shell complete commands and options.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  agentvitals completions bash > ~/.local/share/bash-completion/completions/agentvitals\n  agentvitals completions zsh > ~/.zfunc/_agentvitals\n  agentvitals completions fish > ~/.config/fish/completions/agentvitals.fish"
)]
pub(super) struct CompletionsArguments {
    /// bash, elvish, fish, powershell or zsh
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn completions(arguments: &CompletionsArguments, terminal: &mut Terminal<'_>) -> Result<u8, End> {
    // Into memory first: the generator panics where it cannot write.
    let mut script = Vec::new();
    generate(arguments.shell, &mut Arguments::command(), "agentvitals", &mut script);
    terminal.out.write_all(&script)?;
    Ok(OK)
}
