//! Who is where in both labs: the same addresses, MACs and MTUs on either side.

use std::{net::IpAddr, sync::LazyLock};

use serde::{Deserialize, Serialize};

/// Where frames are put in and taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Party {
    /// A client and the server of the forwards, inside.
    C1,
    /// Another client, inside.
    C2,
    /// Everybody outside.
    Inet,
}

impl Party {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::C1, Self::C2, Self::Inet];

    /// Its namespace.
    #[must_use]
    pub const fn namespace(self) -> &'static str {
        match self {
            Self::C1 => "c1",
            Self::C2 => "c2",
            Self::Inet => "inet",
        }
    }

    /// Its interface's MAC.
    #[must_use]
    pub const fn mac(self) -> [u8; 6] {
        match self {
            Self::C1 => [2, 0, 0, 0, 0, 0x11],
            Self::C2 => [2, 0, 0, 0, 0, 0x12],
            Self::Inet => [2, 0, 0, 0, 0, 0x22],
        }
    }

    /// The MAC of the gateway's interface that it talks to.
    #[must_use]
    pub const fn gateway_mac(self) -> [u8; 6] {
        if self.is_inside() { INSIDE_MAC } else { UPLINK_MAC }
    }

    /// The MTU of its link.
    #[must_use]
    pub const fn mtu(self) -> u16 {
        if self.is_inside() { INSIDE_MTU } else { 1500 }
    }

    /// Whether it is on the gateway's inside.
    #[must_use]
    pub const fn is_inside(self) -> bool {
        !matches!(self, Self::Inet)
    }

    /// Its address inside; the first server's outside.
    #[must_use]
    pub fn address(self, v6: bool) -> IpAddr {
        let family = family(v6);
        match self {
            Self::C1 => family.c1,
            Self::C2 => family.c2,
            Self::Inet => family.server,
        }
    }
}

/// The bridge's MAC.
pub const INSIDE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The uplink's MAC.
pub const UPLINK_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// The inside network's MTU, below the uplink's 1500: answers can be too big for it.
pub const INSIDE_MTU: u16 = 1400;
/// The MTU of the route to whatever is not on the uplink's own network: what clients send can be too big for it.
pub const FAR_MTU: u16 = 1300;

/// The addresses of one family.
pub struct Family {
    /// [`Party::C1`].
    pub c1: IpAddr,
    /// [`Party::C2`].
    pub c2: IpAddr,
    /// The gateway's, inside.
    pub lan: IpAddr,
    /// The gateway's, outside.
    pub wan: IpAddr,
    /// The gateway's second one outside.
    pub second: IpAddr,
    /// A server outside.
    pub server: IpAddr,
    /// Another one.
    pub other: IpAddr,
    /// A server beyond the uplink's network, behind a smaller MTU.
    pub far: IpAddr,
    /// A router on the way to it.
    pub router: IpAddr,
    /// Inside, where no rule covers it.
    pub uncovered: IpAddr,
}

/// The addresses of IPv4 or IPv6.
#[must_use]
pub fn family(v6: bool) -> &'static Family {
    static FAMILIES: LazyLock<[Family; 2]> = LazyLock::new(|| {
        let read = |text: [&str; 10]| {
            let [c1, c2, lan, wan, second, server, other, far, router, uncovered] =
                text.map(|address| address.parse().unwrap());
            Family { c1, c2, lan, wan, second, server, other, far, router, uncovered }
        };
        [
            read([
                "10.0.0.11",
                "10.0.0.12",
                "10.0.0.1",
                "203.0.113.1",
                "203.0.113.9",
                "203.0.113.2",
                "203.0.113.3",
                "198.51.100.20",
                "198.51.100.7",
                "1.2.3.4",
            ]),
            read([
                "fd00:1::11",
                "fd00:1::12",
                "fd00:1::1",
                "2001:db8::1",
                "2001:db8::9",
                "2001:db8::2",
                "2001:db8::3",
                "2001:db8:64::20",
                "2001:db8:64::7",
                "2001:db8:77::4",
            ]),
        ]
    });
    &FAMILIES[usize::from(v6)]
}

impl Family {
    /// Whether a masquerade rule covers the address.
    #[must_use]
    pub fn is_inside(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => v4.octets().starts_with(&[10, 0, 0]),
            IpAddr::V6(v6) => v6.segments()[..4] == [0xfd00, 1, 0, 0],
        }
    }

    /// Whether it is one of the gateway's.
    #[must_use]
    pub fn is_gateways(&self, address: IpAddr) -> bool {
        [self.lan, self.wan, self.second].contains(&address)
    }

    /// Whether nobody outside may ever see it as a source: private, unique local or link-local (invariant I1).
    #[must_use]
    pub fn is_private(address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => v4.is_private(),
            IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local(),
        }
    }
}

/// A forward, TCP and UDP: the port outside, and where it leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forward {
    /// The gateway's port.
    pub listen: u16,
    /// The server inside.
    pub server: Party,
    /// The server's port.
    pub port: u16,
}

/// The forwards that both labs always have: two to one server.
pub const FORWARDS: [Forward; 2] = [
    Forward { listen: 8080, server: Party::C1, port: 80 },
    Forward { listen: 8081, server: Party::C1, port: 80 },
];

/// The one that comes and goes.
pub const EXTRA: Forward = Forward { listen: 8082, server: Party::C2, port: 80 };

/// Sockets of the gateway that listen: TCP and UDP.
pub const LISTENERS: (u16, u16) = (2222, 1405);
