//! The `netctl` command: parse, run, say what failed, exit.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main().into()
}
