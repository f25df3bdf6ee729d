//! `netctl-bench`: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    netctl_benches::main()
}
