//! Fixtures of the tests that need a kernel: packets, gateways to run them through, labs of namespaces, captures.
//!
//! They belong to tests, so what goes wrong in them panics.
#![expect(clippy::expect_used, clippy::unwrap_used, clippy::print_stderr, reason = "fixtures fail the test")]

pub mod capture;
pub mod differ;
pub mod lab;
pub mod markdown;
pub mod ownership;
pub mod packet;
pub mod pcap;
pub mod prog;
pub mod random;
pub mod skip;
