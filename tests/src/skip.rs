//! Tests that this kernel cannot run: each says so in its own words, and never looks as if it had passed.

use std::{env, fs::OpenOptions, io::Write as _};

/// Ends the test that it stands in, for a reason such as `kernel: no VLAN devices`.
///
/// It belongs into the test's own function, whose name it takes. Under `cargo xtask test` the test then counts as skipped;
/// without it, it fails.
#[macro_export]
macro_rules! skip {
    ($($why:tt)+) => {{
        $crate::skip::record(::std::any::type_name_of_val(&|| ()), &::std::format!($($why)+));
        return;
    }};
}

/// Writes down that the test around the closure `marker` cannot be run, where [`skip!`] is asked to.
#[track_caller]
pub fn record(marker: &str, why: &str) {
    let test = marker.trim_end_matches("::{{closure}}");
    let Some(file) = env::var_os("NETCTL_SKIPS") else {
        panic!("{test} cannot be run here ({why}): `cargo xtask test` counts it as skipped");
    };
    let line = format!("{test}\t{why}\n");
    // One write of a file opened to append: tests run side by side.
    let written =
        OpenOptions::new().append(true).open(&file).and_then(|mut file| file.write_all(line.as_bytes()));
    written.unwrap_or_else(|error| panic!("write to {}: {error}", file.display()));
    eprintln!("skipped: {why}");
}
