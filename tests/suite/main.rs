//! The tests that need a kernel and root.
#![expect(clippy::unwrap_used, reason = "tests panic")]

mod backend;
mod beside;
mod bulk;
mod change;
mod cli;
mod contention;
mod differ;
mod doctor;
mod down;
mod exec;
mod explain;
mod families;
mod fault;
mod flood;
mod fragments;
mod graph;
mod host;
mod lab;
mod leaks;
mod nat_cli;
mod nat_prog;
mod offload;
mod path;
mod ping;
mod quickstart;
mod refusal;
mod reload;
mod scattered;
mod settings;
mod tutorials;
mod udp;
mod up;
mod vlan;
mod wire;
