//! The two labs: the same gateway twice, once with netfilter's NAT and once with netctl's.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    os::fd::AsRawFd as _,
    path::Path,
};

use aya::maps::{HashMap, Map, MapData};
use netctl_ebpf::{
    ABI_VERSION,
    flow::{FlowKey, Half},
};
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrStorage, sockopt};

use super::{
    conntrack::Conntrack,
    tap::Tap,
    world::{
        EXTRA, FAR_MTU, FORWARDS, Forward, INSIDE_MAC, INSIDE_MTU, LISTENERS, Party, UPLINK_MAC, family,
    },
};
use crate::lab::{Lab, eventually};

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The oracle: the kernel's netfilter.
    Netfilter,
    /// Under test.
    Netctl,
}

/// A lab, and the sockets in it.
pub struct Side {
    lab: Lab,
    taps: [Tap; 3],
    state: State,
    own: Vec<UdpSocket>,
    has_extra: bool,
}

/// Where a side keeps its flows.
enum State {
    Netfilter(Conntrack),
    Netctl(HashMap<MapData, FlowKey, Half>),
}

impl Side {
    /// Builds the lab.
    #[must_use]
    pub fn new(which: Which) -> Self {
        let lab = Lab::new();
        let file = lab.file("differ.toml", topology(which));
        lab.netctl(["up", file.to_str().unwrap()]).success();
        settle(&lab);
        let state = match which {
            Which::Netfilter => {
                for (program, v6) in [("iptables-restore", false), ("ip6tables-restore", true)] {
                    lab.ns("gw").run_with(program, [], oracle(v6).as_bytes()).success();
                }
                State::Netfilter(lab.ns("gw").enter(Conntrack::open))
            }
            Which::Netctl => State::Netctl(lab.ns("gw").enter(|| flows(&lab))),
        };
        let taps = Party::ALL.map(|party| lab.ns(party.namespace()).enter(|| Tap::open("eth0")));
        lab.ns("gw").enter(|| {
            // Their addresses are whatever the gateway has. What they hear they keep to themselves.
            let keep = (
                std::net::TcpListener::bind(("::", LISTENERS.0)).unwrap(),
                UdpSocket::bind(("::", LISTENERS.1)).unwrap(),
            );
            std::mem::forget(keep);
        });
        Self { lab, taps, state, own: Vec::new(), has_extra: false }
    }

    /// Puts a frame in.
    pub fn send(&self, from: Party, frame: &[u8]) {
        let mut frame = frame.to_vec();
        frame[..6].copy_from_slice(&from.gateway_mac());
        frame[6..12].copy_from_slice(&from.mac());
        self.taps[from as usize].send(&frame);
    }

    /// The gateway's own socket: made, connected, and heard.
    pub fn send_own(&mut self, port: u16, to: SocketAddr) {
        let socket = self.lab.ns("gw").enter(|| own_socket(port, to));
        let _ = socket.send(b"the gateway's own");
        self.own.push(socket);
    }

    /// What has arrived at the parties for them.
    pub fn take(&mut self, mut frame: impl FnMut(Party, &[u8])) {
        for party in Party::ALL {
            self.taps[party as usize].take(|bytes| {
                if bytes[..6] == party.mac() {
                    frame(party, bytes);
                }
            });
        }
    }

    /// Adds or removes the third forward.
    pub fn set_extra(&mut self, on: bool) {
        if self.has_extra == on {
            return;
        }
        self.has_extra = on;
        match self.state {
            State::Netctl(_) => {
                for v6 in [false, true] {
                    let listen = format!("{}/tcp+udp", SocketAddr::new(family(v6).wan, EXTRA.listen));
                    let to = SocketAddr::new(EXTRA.server.address(v6), EXTRA.port).to_string();
                    let verb = if on { "add" } else { "del" };
                    let words = ["-n", "gw", "nat", "forward", verb, "--listen", &listen];
                    self.lab
                        .netctl(words.into_iter().chain(on.then_some(["--to", &to]).into_iter().flatten()))
                        .success();
                }
            }
            State::Netfilter(_) => {
                let how = if on { "-A" } else { "-D" };
                for (program, v6) in [("iptables-restore", false), ("ip6tables-restore", true)] {
                    let rules = format!("*nat\n{}COMMIT\n", destination_rules(how, EXTRA, v6));
                    self.lab.ns("gw").run_with(program, ["--noflush"], rules.as_bytes()).success();
                }
            }
        }
    }

    /// Ends every flow, as a loss of all state would.
    pub fn forget_flows(&mut self) {
        match &mut self.state {
            State::Netfilter(conntrack) => conntrack.flush(),
            State::Netctl(flows) => {
                let keys: Vec<_> = flows.keys().filter_map(Result::ok).collect();
                for key in keys {
                    let _ = flows.remove(&key);
                }
            }
        }
    }

    /// Entries of netctl's table whose other half is not there, or is another's (the two of a flow come and go together).
    #[must_use]
    pub fn orphans(&self) -> usize {
        let State::Netctl(flows) = &self.state else { return 0 };
        let halves: std::collections::HashMap<_, _> = flows.iter().filter_map(Result::ok).collect();
        let is_orphan = |(key, half): &(&FlowKey, &Half)| {
            halves.get(&half.to.reversed()).is_none_or(|other| other.to.reversed() != **key)
        };
        halves.iter().filter(is_orphan).count()
    }

    /// Ends every flow and the gateway's sockets, and drops what is still on its way.
    pub fn reset(&mut self) {
        self.own.clear();
        self.set_extra(false);
        self.forget_flows();
        self.take(|_, _| {});
    }
}

/// A UDP socket beside others on the same port, connected.
fn own_socket(port: u16, to: SocketAddr) -> UdpSocket {
    let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket::socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None).unwrap();
    socket::setsockopt(&socket, sockopt::ReuseAddr, &true).unwrap();
    if to.is_ipv6() {
        socket::setsockopt(&socket, sockopt::Ipv6V6Only, &true).unwrap();
    }
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(any, port))).unwrap();
    socket::connect(socket.as_raw_fd(), &SockaddrStorage::from(to)).unwrap();
    socket.into()
}

/// netctl's flow table, through its pin.
fn flows(_lab: &Lab) -> HashMap<MapData, FlowKey, Half> {
    let pin = format!("/sys/fs/bpf/netctl/differ/gw/v{ABI_VERSION}/maps/FLOWS");
    let map = MapData::from_pin(Path::new(&pin)).unwrap_or_else(|error| panic!("{pin}: {error}"));
    HashMap::try_from(Map::HashMap(map)).unwrap()
}

/// The topology of both, with netctl's NAT or without.
///
/// The parties have no address and no IPv6: nobody answers but the test. What the gateway itself sends is not limited in
/// rate, and its connections are not retried.
fn topology(which: Which) -> String {
    let mut text = format!(
        r#"
        name = "differ"
        [namespaces.c1]
        sysctls = {{ "net.ipv6.conf.all.disable_ipv6" = "1" }}
        [namespaces.c2]
        sysctls = {{ "net.ipv6.conf.all.disable_ipv6" = "1" }}
        [namespaces.inet]
        sysctls = {{ "net.ipv6.conf.all.disable_ipv6" = "1" }}
        [namespaces.gw]
        forwarding = true
        [namespaces.gw.sysctls]
        "net.ipv4.icmp_ratemask" = "0"
        "net.ipv6.icmp.ratelimit" = "0"
        "net.ipv4.tcp_synack_retries" = "0"
        "net.ipv4.ipfrag_time" = "1"
        "net.ipv6.ip6frag_time" = "1"

        [bridges.br0]
        namespace = "gw"
        addresses = ["10.0.0.1/24", "fd00:1::1/64"]
        mtu = {INSIDE_MTU}
        [bridges.br0.ports]
        c1 = {{ addresses = [], default-route = false }}
        c2 = {{ addresses = [], default-route = false }}

        [[cables]]
        b = {{ namespace = "inet", interface = "eth0" }}
        [cables.a]
        namespace = "gw"
        interface = "wan0"
        addresses = ["203.0.113.1/24", "203.0.113.9/24", "2001:db8::1/64", "2001:db8::9/64"]
        "#
    );
    if which == Which::Netfilter {
        return text;
    }
    for (v6, source) in [(false, "10.0.0.0/24"), (true, "fd00:1::/64")] {
        let _ = write!(text, "[[nat.masquerade]]\nnamespace = 'gw'\nsource = '{source}'\nout = 'wan0'\n");
        for forward in FORWARDS {
            let listen = SocketAddr::new(family(v6).wan, forward.listen);
            let to = SocketAddr::new(forward.server.address(v6), forward.port);
            let rule = format!("listen = '{listen}/tcp+udp'\nto = '{to}'\n");
            let _ = write!(text, "[[nat.forward]]\nnamespace = 'gw'\n{rule}");
        }
    }
    text
}

/// What the file cannot say: MACs, neighbours, routes with an MTU, and nothing that a bridge or a router adds by itself.
fn settle(lab: &Lab) {
    let mac = |mac: [u8; 6]| mac.map(|byte| format!("{byte:02x}")).join(":");
    let gateway = lab.ns("gw");
    let mut batch =
        format!("link set br0 address {}\nlink set wan0 address {}\n", mac(INSIDE_MAC), mac(UPLINK_MAC));
    for v6 in [false, true] {
        let family = family(v6);
        for (address, device, party) in [
            (family.c1, "br0", Party::C1),
            (family.c2, "br0", Party::C2),
            (family.server, "wan0", Party::Inet),
            (family.other, "wan0", Party::Inet),
        ] {
            let _ = writeln!(
                batch,
                "neigh replace {address} lladdr {} dev {device} nud permanent",
                mac(party.mac())
            );
        }
        let server = family.server;
        let _ = writeln!(batch, "route replace default via {server} dev wan0 mtu lock {FAR_MTU}");
    }
    // Deprecated, it must not be chosen as a source (RFC 6724 rule 3).
    let _ = writeln!(batch, "addr change {}/64 dev wan0 preferred_lft 0", family(true).second);
    gateway.run_with("ip", ["-batch", "-"], batch.as_bytes()).success();
    for (key, value) in [
        // Parts that wait for lost ones take room from others; of the kernel's own, the file says it.
        ("net.netfilter.nf_conntrack_frag6_timeout", "1"),
        ("net.bridge.bridge-nf-call-iptables", "0"),
        ("net.bridge.bridge-nf-call-ip6tables", "0"),
        ("net.ipv4.conf.all.send_redirects", "0"),
        ("net.ipv4.conf.br0.send_redirects", "0"),
        ("net.ipv4.conf.wan0.send_redirects", "0"),
        ("net.ipv4.conf.all.accept_redirects", "0"),
        ("net.ipv6.conf.all.accept_redirects", "0"),
        ("net.ipv6.conf.wan0.accept_redirects", "0"),
        ("net.ipv6.conf.br0.accept_redirects", "0"),
    ] {
        gateway.run("sysctl", ["-q", "-w", &format!("{key}={value}")]).success();
    }
    for party in Party::ALL {
        let device = ["link", "set", "eth0", "address", &mac(party.mac())].map(str::to_owned);
        lab.ns(party.namespace()).run("ip", device.iter().map(String::as_str)).success();
        let off = ["-K", "eth0", "tx", "off", "tso", "off", "gso", "off", "gro", "off"];
        lab.ns(party.namespace()).run("ethtool", off).success();
    }
    for device in ["br0", "wan0", "veth-c1-br", "veth-c2-br"] {
        gateway
            .run("ethtool", ["-K", device, "tx", "off", "tso", "off", "gso", "off", "gro", "off"])
            .success();
    }
    eventually("the gateway's addresses are its own", || {
        gateway.run("ip", ["-6", "addr", "show", "tentative"]).success().stdout().is_empty()
    });
}

/// The oracle's rules: masquerade, destination NAT and hairpin as netctl documents them, and without netfilter's leaks.
/// A hairpinned client shows the address that it called (RFC 4787 REQ-9), which takes a rule for the source of its own.
fn oracle(v6: bool) -> String {
    let family = family(v6);
    let (wan, inside) = (family.wan, if v6 { "fd00:1::/64" } else { "10.0.0.0/24" });
    let mut text = "*nat\n".to_owned();
    for forward in FORWARDS {
        text.push_str(&destination_rules("-A", forward, v6));
    }
    let _ = writeln!(text, "-A POSTROUTING -s {inside} -o wan0 -j MASQUERADE");
    let hairpin = format!("-s {inside} -d {inside} -o br0 -m conntrack --ctstate DNAT");
    let _ = writeln!(text, "-A POSTROUTING {hairpin} -j SNAT --to-source {wan}\nCOMMIT");
    let _ = writeln!(text, "*filter\n-A FORWARD -m conntrack --ctstate INVALID -j DROP");
    let unsolicited = format!("-i wan0 -d {inside} -m conntrack --ctstate NEW");
    let _ = writeln!(text, "-A FORWARD {unsolicited} -m conntrack ! --ctstate DNAT -j DROP\nCOMMIT");
    text
}

/// The rules of one forward, as `iptables-restore` reads them: added (`-A`) or removed (`-D`).
fn destination_rules(how: &str, forward: Forward, v6: bool) -> String {
    let to = SocketAddr::new(forward.server.address(v6), forward.port);
    let rule = |proto: &str| {
        let (wan, port) = (family(v6).wan, forward.listen);
        format!("{how} PREROUTING -d {wan} -p {proto} --dport {port} -j DNAT --to-destination {to}\n")
    };
    ["tcp", "udp"].map(rule).concat()
}
