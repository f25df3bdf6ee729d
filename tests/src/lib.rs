//! Fixtures of the tests that need a kernel: gateways to run single packets through, labs of namespaces, captures.
//!
//! They belong to tests, so what goes wrong in them panics.
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "fixtures fail the test by panicking")]

pub mod packet;
pub mod prog;
