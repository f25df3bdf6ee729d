//! The programs, which run in the kernel.

pub(crate) mod flows;
pub(crate) mod forward;
pub(crate) mod icmp;
pub(crate) mod inside;
pub(crate) mod kernel;
pub(crate) mod local;
pub(crate) mod maps;
pub(crate) mod masquerade;
pub(crate) mod parse;
pub(crate) mod rewrite;
pub(crate) mod uplink;

use netctl_ebpf::flow::{FlowKey, Half};

/// What becomes of a packet that is not dropped.
pub(crate) enum Verdict {
    /// It goes on with the tuple in [`Work::to`].
    Translate,
    /// It is an ICMP error: it goes on with the addresses in [`Work::other`], quoting the tuple in [`Work::to`].
    TranslateError,
    /// No rule and no flow covers it: it goes on as it came.
    NotOurs,
}

/// All that a program holds about its packet. It lives in a per-CPU map, since the stack has 512 bytes.
pub(crate) struct Work {
    /// The packet as it came.
    pub(crate) packet: parse::Packet,
    /// The packet that it quotes, if it is an ICMP error.
    pub(crate) quote: parse::Packet,
    /// The tuple that it leaves with.
    pub(crate) to: FlowKey,
    /// The flow to make.
    pub(crate) plan: flows::Plan,
    /// Room for the key of the other direction.
    pub(crate) other: FlowKey,
    /// Room for an entry of the flow table.
    pub(crate) half: Half,
}
