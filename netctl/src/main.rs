//! The `netctl` command.

fn main() {}
