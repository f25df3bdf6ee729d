//! Packet filters of others, which netctl does not touch: chains that drop what is forwarded unless a rule accepts it.
//! What a gateway translates has to pass them all the same. Reads only.

mod legacy;

use std::{fmt, net::IpAddr};

use serde::Serialize;

use crate::{
    model::Place,
    netlink::{self, Socket, nft},
    netns::{Netns, NetnsError},
    shell,
};

/// Why it is not known what filters there are.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The place cannot be entered.
    #[error("{0}")]
    Netns(#[from] NetnsError),
    /// The kernel does not tell of nftables.
    #[error("ask for the chains of nftables: {0}")]
    Nft(#[source] netlink::Error),
    /// The kernel does not tell of iptables.
    #[error("ask for the chains of iptables: {0}")]
    Legacy(#[source] std::io::Error),
}

/// Whose packets a chain sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4's.
    Ip,
    /// IPv6's.
    Ip6,
    /// Those of both.
    Inet,
}

impl Family {
    /// nftables' word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Inet => "inet",
        }
    }

    /// That of an nftables table; `None` of one that has nothing to do with what is forwarded.
    const fn of(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Inet),
            2 => Some(Self::Ip),
            10 => Some(Self::Ip6),
            _ => None,
        }
    }

    /// Whether it sees packets of IPv4, or of IPv6.
    #[must_use]
    pub const fn sees(self, v4: bool) -> bool {
        matches!((self, v4), (Self::Inet, _) | (Self::Ip, true) | (Self::Ip6, false))
    }
}

/// Whose chain it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// nftables', or iptables' on top of it.
    Nftables,
    /// That of iptables' own tables.
    Iptables,
}

/// Where chains look at packets, by the numbers that netfilter has for it (`enum nf_inet_hooks`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// Packets for the place itself.
    Input = 1,
    /// Packets that it passes on.
    Forward = 2,
    /// Packets of its own.
    Output = 3,
}

/// A chain that packets pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Chain {
    /// Whose.
    pub kind: Kind,
    /// Whose packets.
    pub family: Family,
    /// Its table.
    pub table: String,
    /// Its name.
    pub chain: String,
    /// Whether it has rules, which may accept what its policy drops, or drop what that accepts.
    pub has_rules: bool,
    /// Whether its policy is to drop.
    #[serde(skip)]
    pub drops: bool,
}

impl fmt::Display for Chain {
    /// ``chain `FORWARD` of table `ip filter` ``
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "chain `{}` of table `{} {}`", self.chain, self.family.as_str(), self.table)
    }
}

impl Chain {
    /// What it means at a gateway, and the command that has it accept instead.
    #[must_use]
    pub fn advice(&self, place: &Place) -> String {
        let remedy = self.remedy(place);
        format!(
            "`{place}` forwards nothing that no rule accepts: {self} drops it; `{remedy}` lets it through"
        )
    }

    /// The command that has it accept instead.
    #[must_use]
    pub fn remedy(&self, place: &Place) -> String {
        let Self { family, table, .. } = self;
        let chain = shell::quoted(&self.chain);
        let inside = match place {
            Place::Host => String::new(),
            Place::Netns(name) => format!("netctl exec {name:#} -- "),
        };
        match (self.kind, family) {
            (Kind::Iptables, Family::Ip6) => format!("{inside}ip6tables-legacy -P {chain} ACCEPT"),
            (Kind::Iptables, _) => format!("{inside}iptables-legacy -P {chain} ACCEPT"),
            (Kind::Nftables, Family::Ip) if is_iptables(table, &self.chain) => {
                format!("{inside}iptables -P {chain} ACCEPT")
            }
            (Kind::Nftables, Family::Ip6) if is_iptables(table, &self.chain) => {
                format!("{inside}ip6tables -P {chain} ACCEPT")
            }
            (Kind::Nftables, _) => {
                let words = format!("chain {} {table} {} {{ policy accept; }}", family.as_str(), self.chain);
                format!("{inside}nft {}", shell::quoted(&words))
            }
        }
    }
}

/// As iptables-nft names what it keeps in nftables.
fn is_iptables(table: &str, chain: &str) -> bool {
    table == "filter" && matches!(chain, "INPUT" | "FORWARD" | "OUTPUT")
}

/// The chains of a namespace that look at packets at a hook.
///
/// # Errors
/// If the kernel has filters and does not tell of them.
pub fn chains(netns: &Netns, hook: Hook) -> Result<Vec<Chain>, Error> {
    netns.run(|| {
        let mut chains = nftables(hook)?;
        chains.extend(legacy::chains(hook).map_err(Error::Legacy)?);
        Ok(chains)
    })
}

/// The chains of a namespace that drop by policy what is forwarded.
///
/// # Errors
/// Those of [`chains`].
pub fn drops_forwarded(netns: &Netns) -> Result<Vec<Chain>, Error> {
    let mut chains = chains(netns, Hook::Forward)?;
    chains.retain(|chain| chain.drops);
    Ok(chains)
}

/// Those that see packets of one of the addresses' families; none where the kernel does not tell.
#[must_use]
pub fn in_the_way(netns: &Netns, addresses: &[IpAddr]) -> Vec<Chain> {
    let mut drops = drops_forwarded(netns).unwrap_or_else(|error| {
        tracing::debug!("{error}");
        Vec::new()
    });
    drops.retain(|chain| addresses.iter().any(|address| chain.family.sees(address.is_ipv4())));
    drops
}

/// Those of nftables in the calling thread's namespace; none where the kernel has none.
fn nftables(hook: Hook) -> Result<Vec<Chain>, Error> {
    let chains = match Socket::open_for_filters().and_then(|mut socket| nft::dump(&mut socket)) {
        Ok(chains) => chains,
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(Error::Nft(error)),
    };
    let at_hook = chains.into_iter().filter(|chain| chain.is_filter && chain.hook == hook as u32);
    let told = at_hook.filter_map(|its| {
        let family = Family::of(its.family)?;
        let (has_rules, drops) = (its.rules > 0, its.policy == nft::DROP);
        Some(Chain { kind: Kind::Nftables, family, table: its.table, chain: its.name, has_rules, drops })
    });
    Ok(told.collect())
}

/// Whether the kernel has never heard of what it was asked for: no netfilter at all, or netfilter without nftables
/// (`nfnetlink_rcv_msg` in net/netfilter/nfnetlink.c).
fn is_absent(error: &netlink::Error) -> bool {
    use nix::errno::Errno;
    match error {
        netlink::Error::Socket { errno, .. } => *errno == Errno::EPROTONOSUPPORT,
        netlink::Error::Refused(refusal) => matches!(refusal.errno, Errno::EINVAL | Errno::EOPNOTSUPP),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_chain_has_its_command() {
        let of = |kind, family, table: &str, chain: &str| Chain {
            kind,
            family,
            table: table.to_owned(),
            chain: chain.to_owned(),
            has_rules: false,
            drops: true,
        };
        let router = Place::Netns("router".parse().unwrap());
        for (drops, place, words, remedy) in [
            (
                of(Kind::Nftables, Family::Ip, "filter", "FORWARD"),
                &Place::Host,
                "chain `FORWARD` of table `ip filter`",
                "iptables -P FORWARD ACCEPT",
            ),
            (
                of(Kind::Nftables, Family::Inet, "fw", "fwd"),
                &router,
                "chain `fwd` of table `inet fw`",
                "netctl exec router -- nft 'chain inet fw fwd { policy accept; }'",
            ),
            (
                of(Kind::Iptables, Family::Ip6, "filter", "FORWARD"),
                &router,
                "chain `FORWARD` of table `ip6 filter`",
                "netctl exec router -- ip6tables-legacy -P FORWARD ACCEPT",
            ),
        ] {
            assert_eq!((drops.to_string().as_str(), drops.remedy(place).as_str()), (words, remedy));
        }
    }

    #[test]
    fn a_family_sees_its_own_packets() {
        let sees = |family: Family| [true, false].map(|v4| family.sees(v4));
        assert_eq!(
            [Family::Ip, Family::Ip6, Family::Inet].map(sees),
            [[true, false], [false, true], [true, true]]
        );
    }
}
