//! The tools that make forwards, and their words. Pure, but for the files that they load from.

use std::fmt::Write as _;

use netctl_tests::lab::netctl;

use crate::{
    contender::Contender,
    site::{Site, addresses, forwards, listens, topology},
};

/// Where the forwards lead to, at the client.
const PORT: u16 = 8000;
/// The range of 60 000 ports, of the protocol that no other forward is of.
const RANGE: (u16, u16) = (2000, 61_999);

/// What makes forwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tool {
    Netctl,
    IptablesLegacy,
    IptablesNft,
    Nft,
}

/// What it is asked to do, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// All from the file.
    Load,
    /// One more.
    Add,
    /// Not that one.
    Remove,
    /// A range of ports.
    AddRange,
    /// None of all these.
    Clear,
}

impl Tool {
    /// Whom the contender is made with, if it has rules.
    pub(super) const fn of(contender: Contender) -> Option<Self> {
        match contender {
            Contender::Netctl => Some(Self::Netctl),
            Contender::IptablesLegacy => Some(Self::IptablesLegacy),
            Contender::IptablesNft => Some(Self::IptablesNft),
            Contender::Nftables => Some(Self::Nft),
            _ => None,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Netctl => Contender::Netctl.name(),
            Self::IptablesLegacy => Contender::IptablesLegacy.name(),
            Self::IptablesNft => Contender::IptablesNft.name(),
            Self::Nft => Contender::Nftables.name(),
        }
    }

    /// Rules by hand are put onto a gateway that has none.
    pub(super) const fn network(self) -> Contender {
        if matches!(self, Self::Netctl) { Contender::Netctl } else { Contender::Routing }
    }

    /// The file to load from, and the one with no forwards.
    pub(super) fn write_files(self, site: &Site, number: u16) {
        for (name, number) in [("load", number), ("clear", 0)] {
            site.file(name, &self.file(number));
        }
    }

    fn file(self, number: u16) -> String {
        let mut file = String::new();
        match self {
            Self::Netctl => return topology(Contender::Netctl, "", &forwards(number, PORT)),
            Self::IptablesLegacy | Self::IptablesNft => {
                file += "*nat\n:PREROUTING ACCEPT [0:0]\n";
                for n in 1..=number {
                    let _ = writeln!(file, "-A PREROUTING {}", iptables("tcp", (listens(n), listens(n))));
                }
                file += "COMMIT\n";
            }
            Self::Nft => {
                file += "table ip bench\ndelete table ip bench\ntable ip bench {\n chain pre {\n  type nat hook prerouting \
                         priority dstnat;\n";
                for n in 1..=number {
                    let _ = writeln!(file, "  {}", nft("tcp", (listens(n), listens(n))));
                }
                file += " }\n}\n";
            }
        }
        file
    }

    /// As it is called: netctl on the machine that the gateway is on, the others on the gateway.
    pub(super) fn command(self, action: Action) -> Vec<String> {
        let ports = if action == Action::AddRange { RANGE } else { (listens(0), listens(0)) };
        let protocol = if action == Action::AddRange { "udp" } else { "tcp" };
        let iptables = |sort: &str| match action {
            Action::Load | Action::Clear => {
                format!("iptables-{sort}-restore {}", file(action))
            }
            Action::Add | Action::AddRange => {
                format!("iptables-{sort} -t nat -A PREROUTING {}", iptables(protocol, ports))
            }
            Action::Remove => {
                format!("iptables-{sort} -t nat -D PREROUTING {}", iptables(protocol, ports))
            }
        };
        let line = match (self, action) {
            (Self::Netctl, Action::Load | Action::Clear) => format!("{} -q up {}", netctl(), file(action)),
            (Self::Netctl, Action::Remove) => {
                format!("{} -q -n gateway nat forward del --listen {}", netctl(), listen(protocol, ports))
            }
            (Self::Netctl, _) => {
                let (listen, to) = (listen(protocol, ports), to(ports));
                format!("{} -q -n gateway nat forward add --listen {listen} --to {to}", netctl())
            }
            (Self::IptablesLegacy, _) => iptables("legacy"),
            (Self::IptablesNft, _) => iptables("nft"),
            (Self::Nft, Action::Load | Action::Clear) => {
                format!("nft -f {}", file(action))
            }
            (Self::Nft, Action::Remove) => "true".to_owned(),
            (Self::Nft, _) => {
                format!("nft add rule ip bench pre {}", nft(protocol, ports))
            }
        };
        line.split(' ').map(str::to_owned).collect()
    }
}

const fn file(action: Action) -> &'static str {
    if matches!(action, Action::Load) { "load" } else { "clear" }
}

fn listen(protocol: &str, ports: (u16, u16)) -> String {
    format!("{}:{}/{protocol}", addresses(false).uplink, dashed(ports))
}

/// A range keeps its ports.
fn to((first, last): (u16, u16)) -> String {
    let client = addresses(false).client;
    if first == last { format!("{client}:{PORT}") } else { client.to_string() }
}

fn dashed((first, last): (u16, u16)) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

fn iptables(protocol: &str, ports: (u16, u16)) -> String {
    let (uplink, to, ports) = (addresses(false).uplink, to(ports), dashed(ports).replace('-', ":"));
    format!("-d {uplink} -p {protocol} --dport {ports} -j DNAT --to-destination {to}")
}

fn nft(protocol: &str, ports: (u16, u16)) -> String {
    let uplink = addresses(false).uplink;
    format!("ip daddr {uplink} {protocol} dport {} dnat to {}", dashed(ports), to(ports))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_those_that_one_writes_by_hand() {
        let add = |tool: Tool, action| tool.command(action).join(" ");
        assert_eq!(
            add(Tool::IptablesNft, Action::Add),
            "iptables-nft -t nat -A PREROUTING -d 203.0.113.1 -p tcp --dport 10000 -j DNAT \
             --to-destination 10.0.0.2:8000"
        );
        assert_eq!(
            add(Tool::Nft, Action::AddRange),
            "nft add rule ip bench pre ip daddr 203.0.113.1 udp dport 2000-61999 dnat to 10.0.0.2"
        );
        assert_eq!(Tool::IptablesLegacy.file(7).lines().filter(|line| line.contains("DNAT")).count(), 7);
    }
}
