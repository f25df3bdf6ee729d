//! Whom netctl is measured beside.

use clap::ValueEnum;

/// A way from the client to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Contender {
    /// netctl's own programs
    Netctl,
    /// The same without shortcuts: every packet takes the kernel's own way
    NetctlSlow,
    /// The same rules by the legacy iptables
    IptablesLegacy,
    /// The same rules by iptables on nf_tables
    IptablesNft,
    /// The same rules by nft
    Nftables,
    /// The NAT that `--peer` starts
    Peer,
    /// A gateway that routes and translates nothing
    Routing,
    /// A gateway where a program redirects everything and does nothing else: the floor
    Redirect,
    /// No gateway: one cable
    Direct,
}

impl Contender {
    /// All but a peer, which takes a command.
    pub(crate) const ALL: [Self; 8] = [
        Self::Netctl,
        Self::NetctlSlow,
        Self::IptablesLegacy,
        Self::IptablesNft,
        Self::Nftables,
        Self::Routing,
        Self::Redirect,
        Self::Direct,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Netctl => "netctl",
            Self::NetctlSlow => "netctl-slow",
            Self::IptablesLegacy => "iptables-legacy",
            Self::IptablesNft => "iptables-nft",
            Self::Nftables => "nftables",
            Self::Peer => "peer",
            Self::Routing => "routing",
            Self::Redirect => "redirect",
            Self::Direct => "direct",
        }
    }

    /// Whether the server sees the gateway's address, not the client's.
    pub(crate) const fn translates(self) -> bool {
        !matches!(self, Self::Routing | Self::Redirect | Self::Direct)
    }

    /// Whether netctl's own programs do it.
    pub(crate) const fn is_netctl(self) -> bool {
        matches!(self, Self::Netctl | Self::NetctlSlow)
    }

    /// netctl's word for the backend that makes its rules.
    pub(crate) const fn backend(self) -> Option<&'static str> {
        match self {
            Self::Netctl | Self::NetctlSlow => Some("ebpf"),
            Self::IptablesLegacy | Self::IptablesNft => Some("iptables"),
            Self::Nftables => Some("nftables"),
            Self::Peer | Self::Routing | Self::Redirect | Self::Direct => None,
        }
    }

    /// Which of the two sorts of iptables programs is meant, if it is one.
    pub(crate) const fn tables(self) -> Option<&'static str> {
        match self {
            Self::IptablesLegacy => Some("legacy"),
            Self::IptablesNft => Some("nft"),
            _ => None,
        }
    }
}
