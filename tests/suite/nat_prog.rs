//! The TC programs on single packets: what they make of each, what the flow table then holds, what is counted.

mod allow;
mod endpoint_independent;
mod flood;
mod forward;
mod fragments;
mod gateway;
mod hairpin;
mod icmp;
mod lifetime;
mod masquerade;
mod mutation;
mod not_ours;
mod portless;
mod ports;
mod race;
mod read_back;
mod refused;
mod segments;
mod shortcut;
mod sums;
mod timeouts;
mod uplinks;
mod verifier;

use netctl_tests::packet::{Packet, ping, tcp, udp};

/// Who is where, in one address family.
struct Family {
    /// A client inside.
    red: &'static str,
    /// A client or a server inside.
    blue: &'static str,
    /// The gateway, as the outside knows it.
    gateway: &'static str,
    /// A server outside.
    server: &'static str,
    /// Another one.
    stranger: &'static str,
}

const FAMILIES: [Family; 2] = [
    Family {
        red: "192.168.15.1",
        blue: "192.168.15.2",
        gateway: "203.0.113.1",
        server: "203.0.113.2",
        stranger: "203.0.113.3",
    },
    Family {
        red: "fd15::1",
        blue: "fd15::2",
        gateway: "2001:db8:113::1",
        server: "2001:db8:113::2",
        stranger: "2001:db8:113::3",
    },
];

/// The first packets of a flow of each protocol from `client` to `server`.
fn openings(client: &str, port: u16, server: &str) -> [Packet; 3] {
    let client = (client, port);
    [tcp(client, (server, 80)).syn(), udp(client, (server, 53)), ping(client, (server, 0))]
}
