//! The programs, which run in the kernel.

pub(crate) mod binding;
pub(crate) mod events;
pub(crate) mod flows;
pub(crate) mod forward;
pub(crate) mod fragments;
pub(crate) mod icmp;
pub(crate) mod inside;
pub(crate) mod kernel;
pub(crate) mod local;
#[cfg(feature = "log")]
pub(crate) mod log;
pub(crate) mod maps;
pub(crate) mod masquerade;
pub(crate) mod parse;
pub(crate) mod rewrite;
pub(crate) mod shortcut;
pub(crate) mod step;
pub(crate) mod sweep;
pub(crate) mod uplink;
pub(crate) mod verify;
pub(crate) mod watch;

use netctl_ebpf::{
    binding::{Binding, BindingKey},
    flow::{FlowKey, Half},
    fragment::{Datagram, DatagramKey},
    headers::Packet,
    reason::DropReason,
};

/// What becomes of a packet. One number to the machine: a `Result` is two registers, one of which may be unset where the
/// branches meet, which the verifier refuses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes on with the tuple in [`Work::to`].
    Translate,
    /// It is an ICMP error: it goes on with the addresses in [`Work::other`], quoting the tuple in [`Work::to`].
    TranslateError,
    /// No rule and no flow covers it: it goes on as it came.
    NotOurs,
    /// It is dropped and counted.
    Drop(DropReason),
}

impl From<Result<Self, DropReason>> for Verdict {
    #[inline(always)]
    fn from(result: Result<Self, DropReason>) -> Self {
        match result {
            Ok(verdict) => verdict,
            Err(reason) => Self::Drop(reason),
        }
    }
}

/// All that a program holds about its packet. It lives in a per-CPU map, since the stack has 512 bytes.
pub(crate) struct Work {
    /// The interface that the packet is at.
    pub(crate) ifindex: u32,
    /// The packet as it came.
    pub(crate) packet: Packet,
    /// The packet that it quotes, if it is an ICMP error.
    pub(crate) quote: Packet,
    /// The tuple that it leaves with.
    pub(crate) to: FlowKey,
    /// The flow to make.
    pub(crate) plan: flows::Plan,
    /// Whether the flow's timer is to be set; its original half is then under [`Work::other`].
    pub(crate) is_untimed: bool,
    /// The flow's [`Half::serial`].
    pub(crate) serial: u32,
    /// Room for the key of the other direction.
    pub(crate) other: FlowKey,
    /// The key of the datagram that it is a part of.
    pub(crate) datagram: DatagramKey,
    /// Room for what is known of that datagram.
    pub(crate) part_of: Datagram,
    /// The key of its binding by the inside endpoint.
    pub(crate) inside_key: BindingKey,
    /// The key of its binding by the outside endpoint.
    pub(crate) outside_key: BindingKey,
    /// Room for half a binding.
    pub(crate) binding: Binding,
    /// Room for an entry of the flow table.
    pub(crate) half: Half,
}
