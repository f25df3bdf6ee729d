//! A contender's network, in a machine of its own: client, gateway and server, made by netctl for all of them.
//!
//! ```text
//! client eth0 ── veth-client-br, port of br0 [gateway] wan0 ── eth0 outside
//! ```

use std::{fmt::Write as _, net::IpAddr, os::unix::fs::symlink, path::Path};

use anyhow::{Context as _, Result, bail};
use netctl_benches_ebpf::Target;
use netctl_tests::lab::{Lab, Ns, eventually, netctl};

use crate::{contender::Contender, programs::Redirect};

/// The gateway's interfaces: the client's port, the bridge that it is a port of, and the uplink.
pub(crate) const PORT: &str = "veth-client-br";
pub(crate) const BRIDGE: &str = "br0";
pub(crate) const UPLINK: &str = "wan0";
/// The client's and the server's only interface.
pub(crate) const ETH0: &str = "eth0";

/// An IP version's addresses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addresses {
    pub(crate) client: IpAddr,
    pub(crate) gateway: IpAddr,
    pub(crate) uplink: IpAddr,
    pub(crate) server: IpAddr,
    /// The client's network.
    network: IpAddr,
    prefix: u8,
}

/// Those of IPv4 and of IPv6.
pub(crate) fn addresses(is_v6: bool) -> Addresses {
    let v6 = |net: u16, host: u16| IpAddr::from([net, 0, 0, 0, 0, 0, 0, host]);
    let v4 = |net: [u8; 3], host: u8| IpAddr::from([net[0], net[1], net[2], host]);
    let outside = |host: u8| if is_v6 { v6(0x2001, host.into()) } else { v4([203, 0, 113], host) };
    let inside = |host: u8| if is_v6 { v6(0xfd00, host.into()) } else { v4([10, 0, 0], host) };
    let prefix = if is_v6 { 64 } else { 24 };
    Addresses {
        client: inside(2),
        gateway: inside(1),
        uplink: outside(1),
        server: outside(2),
        network: inside(0),
        prefix,
    }
}

/// What a network has beside the client and the server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    /// Lines for the file's `[nat]`, where netctl is the NAT.
    pub(crate) settings: String,
    /// More of the file, such as forwards, where anyone is whom netctl makes rules for.
    pub(crate) rules: String,
    /// The command that starts the peer.
    pub(crate) peer: Option<String>,
}

/// The network.
pub(crate) struct Site {
    pub(crate) contender: Contender,
    middle: Option<Middle>,
    redirects: Vec<Redirect>,
    lab: Lab,
}

/// The gateway's interfaces.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Middle {
    /// The client's port.
    pub(crate) port: Interface,
    /// What it is a port of.
    pub(crate) bridge: Interface,
    pub(crate) uplink: Interface,
}

impl Site {
    /// Builds it, and sees that the client reaches the server.
    pub(crate) fn build(contender: Contender, wanted: &Wanted) -> Result<Self> {
        let mut site = Self { contender, middle: None, redirects: Vec::new(), lab: Lab::new() };
        site.file("bench.toml", &topology(contender, &wanted.settings, &wanted.rules));
        site.netctl(&["up", "bench.toml"])?;
        if contender == Contender::Peer {
            let command = wanted.peer.as_deref().context("the peer takes a command: --peer 'CMD'")?;
            // It ends with the lab; whether it goes on beside us or sets something up and ends is its own affair.
            site.gateway().run("sh", ["-c", &format!("({command}) > peer.log 2>&1 &")]).success();
        }
        if contender != Contender::Direct {
            site.settle()?;
        }
        for is_v6 in [false, true].into_iter().filter(|is_v6| !is_v6 || contender != Contender::Peer) {
            let server = addresses(is_v6).server.to_string();
            eventually(&format!("{} reaches {server}", contender.name()), || {
                site.client().run("ping", ["-c", "1", "-W", "0.2", &server]).code() == Some(0)
            });
        }
        Ok(site)
    }

    /// Makes the neighbours static, so that nobody has to ask while packets are counted, and where the gateway is to
    /// redirect lets it.
    fn settle(&mut self) -> Result<()> {
        let (client, server) = (interface(self.client(), ETH0)?, interface(self.outside(), ETH0)?);
        let [port, bridge, uplink] = [PORT, BRIDGE, UPLINK].map(|name| interface(self.gateway(), name));
        let middle = Middle { port: port?, bridge: bridge?, uplink: uplink? };
        for all in [false, true].map(addresses) {
            neighbour(self.gateway(), all.client, client, BRIDGE);
            neighbour(self.gateway(), all.server, server, UPLINK);
            neighbour(self.client(), all.gateway, middle.bridge, ETH0);
            neighbour(self.outside(), all.uplink, middle.uplink, ETH0);
        }
        if self.contender == Contender::Redirect {
            let to = |interface: Interface, to_peer, macs: [[u8; 6]; 2]| Target {
                macs: macs.concat().try_into().unwrap_or_default(),
                ifindex: interface.index,
                to_peer,
            };
            let outwards = to(middle.uplink, 0, [server.mac, middle.uplink.mac]);
            let inwards = to(middle.port, 1, [client.mac, middle.bridge.mac]);
            self.redirects = [(PORT, outwards), (UPLINK, inwards)]
                .iter()
                .map(|(interface, target)| Redirect::attach(self.gateway(), interface, target))
                .collect::<Result<_>>()?;
        }
        self.middle = Some(middle);
        Ok(())
    }

    /// None where a cable is all there is.
    pub(crate) fn middle(&self) -> Option<Middle> {
        self.middle
    }

    /// Runs netctl, for iptables with the programs that are meant before any others.
    pub(crate) fn netctl(&self, arguments: &[&str]) -> Result<()> {
        let (netctl, path) = (netctl(), self.path()?);
        let words = [path.as_str(), netctl.as_str()].into_iter().chain(arguments.iter().copied());
        let output = self.lab.host().run("env", words);
        if output.code() != Some(0) {
            bail!("{}: {}", self.contender.name(), output.stderr().trim());
        }
        Ok(())
    }

    fn path(&self) -> Result<String> {
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
        let Some(tables) = self.contender.tables() else { return Ok(format!("PATH={path}")) };
        let directory = self.lab.directory().join("bin");
        if !directory.exists() {
            std::fs::create_dir(&directory)?;
            for family in ["iptables", "ip6tables"] {
                for verb in ["", "-save", "-restore"] {
                    let program = format!("{family}-{tables}{verb}");
                    let found =
                        std::env::split_paths(&path).map(|dir| dir.join(&program)).find(|file| file.exists());
                    let found = found.with_context(|| format!("there is no {program}"))?;
                    symlink(found, directory.join(format!("{family}{verb}")))?;
                }
            }
        }
        Ok(format!("PATH={}:{path}", directory.display()))
    }

    /// A file where the network's programs are started.
    pub(crate) fn file(&self, name: &str, content: &str) {
        self.lab.file(name, content);
    }

    /// That directory.
    pub(crate) fn directory(&self) -> &Path {
        self.lab.directory()
    }

    /// The machine that the others are on.
    pub(crate) fn host(&self) -> Ns<'_> {
        self.lab.host()
    }

    pub(crate) fn client(&self) -> Ns<'_> {
        self.lab.ns("client")
    }

    /// Where a cable is all there is, the client is its own gateway.
    pub(crate) fn gateway(&self) -> Ns<'_> {
        if self.contender == Contender::Direct { self.client() } else { self.lab.ns("gateway") }
    }

    pub(crate) fn outside(&self) -> Ns<'_> {
        self.lab.ns("outside")
    }
}

/// For both ends: what a connection learned of the path is not for the next one to know, so that each run is a beginning.
const NO_METRICS: &str = "sysctls = { \"net.ipv4.tcp_no_metrics_save\" = \"1\" }";

/// Index and MAC of an interface.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Interface {
    pub(crate) index: u32,
    pub(crate) mac: [u8; 6],
}

fn neighbour(ns: Ns<'_>, address: IpAddr, interface: Interface, device: &str) {
    let mac = interface.mac.map(|byte| format!("{byte:02x}")).join(":");
    ns.run("ip", ["neigh", "replace", &address.to_string(), "lladdr", &mac, "dev", device]).success();
}

/// Asks `ip`.
pub(crate) fn interface(ns: Ns<'_>, name: &str) -> Result<Interface> {
    let output = ns.run("ip", ["-j", "link", "show", "dev", name]).success().json();
    let index = output[0]["ifindex"].as_u64().and_then(|index| index.try_into().ok());
    let mac: Option<Vec<u8>> = output[0]["address"]
        .as_str()
        .and_then(|mac| mac.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect());
    let mac = mac.and_then(|mac| mac.try_into().ok());
    Ok(Interface { index: index.context("no index")?, mac: mac.context("no MAC")? })
}

/// The network as a file, with these lines for `[nat]` where netctl is the NAT, and these rules where anyone is whom netctl
/// makes rules for.
pub(crate) fn topology(contender: Contender, settings: &str, rules: &str) -> String {
    let [v4, v6] = [false, true].map(addresses);
    let both = |of: fn(&Addresses) -> IpAddr| {
        format!("[\"{}/{}\", \"{}/{}\"]", of(&v4), v4.prefix, of(&v6), v6.prefix)
    };
    let (uplink, server) = (both(|all| all.uplink), both(|all| all.server));
    let mut file = format!(
        "name = \"bench\"\n[namespaces.client]\n{NO_METRICS}\n[namespaces.outside]\n{NO_METRICS}\n[[cables]]\nb = {{ namespace = \"outside\", interface = \"{ETH0}\", addresses = {server} }}\n"
    );
    let mut write = |line: std::fmt::Arguments<'_>| {
        // Writing to a string cannot fail.
        let _ = writeln!(file, "{line}");
    };
    if contender == Contender::Direct {
        write(format_args!("a = {{ namespace = \"client\", interface = \"{ETH0}\", addresses = {uplink} }}"));
        return file;
    }
    write(format_args!("a = {{ namespace = \"gateway\", interface = \"{UPLINK}\", addresses = {uplink} }}"));
    write(format_args!("[namespaces.gateway]\nforwarding = true"));
    write(format_args!(
        "[bridges.{BRIDGE}]\nnamespace = \"gateway\"\naddresses = {}",
        both(|all| all.gateway)
    ));
    write(format_args!("[bridges.{BRIDGE}.ports]\nclient = {{ addresses = {} }}", both(|all| all.client)));
    let networks = [v4, v6].map(|all| format!("{}/{}", all.network, all.prefix));
    match contender.backend() {
        Some(backend) => {
            write(format_args!("[nat]\nbackend = \"{backend}\""));
            if contender.is_netctl() {
                write(format_args!("shortcut = {}\n{settings}", contender == Contender::Netctl));
            }
            for source in networks {
                write(format_args!(
                    "[[nat.masquerade]]\nnamespace = \"gateway\"\nsource = \"{source}\"\nout = \"{UPLINK}\""
                ));
            }
            write(format_args!("{rules}"));
        }
        // Where nobody translates, the server has to know the way back.
        None if contender != Contender::Peer => {
            for (to, via) in networks.iter().zip([v4, v6]) {
                write(format_args!(
                    "[[routes]]\nnamespace = \"outside\"\nto = \"{to}\"\nvia = \"{}\"",
                    via.uplink
                ));
            }
        }
        None => {}
    }
    file
}

/// So many forwards to a port of the client, for a topology file.
pub(crate) fn forwards(number: u16, port: u16) -> String {
    let all = addresses(false);
    let forward = |n| {
        let listen = format!("{}:{}/tcp", all.uplink, listens(n));
        format!(
            "[[nat.forward]]\nnamespace = \"gateway\"\nlisten = \"{listen}\"\nto = \"{}:{port}\"\n",
            all.client
        )
    };
    (1..=number).map(forward).collect()
}

/// Where the forward of that number listens.
pub(crate) const fn listens(number: u16) -> u16 {
    10_000 + number
}
