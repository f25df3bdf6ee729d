//! netctl builds container-style networks over raw netlink and translates their addresses in eBPF.
//!
//! The two paths through the code:
//!
//! ```text
//! file -> spec -> model -+-> plan -> [Op] -> apply -> netns | netlink batches | sysctl | nat -> kernel ; journal -> inverse ops
//! kernel -> dumps -> observe -+
//! packets -> TC programs (crate `netctl-ebpf`), their rules written and their flows read by `nat::ebpf`
//! ```
//!
//! `spec`, `model`, `observed`, `plan`, `op`, `netfilter` and `build` are pure, and a test reads that they are; `netns`,
//! `netlink`, `sysctl`, `state` and `nat` touch the kernel. `ownership` alone says what is netctl's own.
//! The library never prints: the binary's `cli` does.

pub mod advice;
pub mod apply;
pub mod build;
pub mod doctor;
pub mod down;
pub mod errno;
pub mod export;
mod fault;
pub mod firewall;
pub mod graph;
mod hint;
pub mod holder;
pub mod interrupt;
mod lock;
pub mod model;
pub mod monitor;
pub mod nat;
pub mod netfilter;
pub mod netlink;
pub mod netns;
pub mod notice;
pub mod observe;
pub mod observed;
pub mod op;
pub mod ownership;
pub mod ping;
pub mod place;
pub mod plan;
pub mod process;
#[cfg(test)]
mod pure;
pub mod shell;
pub mod show;
pub mod single;
pub mod spec;
pub mod state;
pub mod sysctl;
pub mod tool;
pub mod trace;
pub mod up;
pub mod verdict;
