//! The network that every contender builds: namespaces on bridges of the host, each with its loopback up, a cable, an
//! address and a default route. As a topology file, as a script of `ip` commands, and as `ip -batch` has it. Pure.

use std::{fmt::Write as _, net::Ipv4Addr};

/// How many namespaces a bridge gets; the kernel's limit is 1023 ports (`BR_MAX_PORTS`, net/bridge/br_private.h).
const ON_A_BRIDGE: usize = 1000;
/// Where the namespace of the changed file has its address: beyond what [`ON_A_BRIDGE`] others take.
const CHANGED_HOST: usize = 60_000;

/// A network of so many namespaces.
#[derive(Debug, Clone, Copy)]
pub(super) struct Network {
    pub(super) namespaces: usize,
}

/// A namespace, and how it is plugged in.
struct Member {
    name: String,
    port: String,
    bridge: String,
    address: Ipv4Addr,
    gateway: Ipv4Addr,
}

/// A file to write and the commands that go with it.
pub(super) struct Files {
    /// Name and content.
    pub(super) files: Vec<(String, String)>,
    /// The one to run.
    pub(super) script: String,
}

impl Network {
    /// The topology file; changed, one namespace has another address.
    pub(super) fn toml(self, changed: bool) -> String {
        let mut toml = "name = \"bench\"\n".to_owned();
        // Writing to a String cannot fail, here and below.
        for (bridge, gateway) in self.bridges() {
            let _ = writeln!(toml, "\n[bridges.{bridge}]\naddresses = [\"{gateway}/16\"]");
            let _ = writeln!(toml, "[bridges.{bridge}.ports]");
            for mut member in self.members().filter(|member| member.bridge == bridge) {
                if changed && member.name == namespace(self.namespaces / 2) {
                    member.address = host(member.gateway, CHANGED_HOST);
                }
                let Member { name, port, address, .. } = member;
                let _ = writeln!(toml, "{name} = {{ port = \"{port}\", addresses = [\"{address}/16\"] }}");
            }
        }
        toml.push('\n');
        toml.extend(self.members().map(|member| format!("[namespaces.{}]\n", member.name)));
        toml
    }

    /// One `ip` process a step, as `netctl up --explain` prints them and as one writes them by hand.
    pub(super) fn script(self) -> String {
        let mut script = "set -e\n".to_owned();
        for (bridge, gateway) in self.bridges() {
            let _ = writeln!(script, "ip link add {bridge} type bridge\nip link set {bridge} up");
            let _ = writeln!(script, "ip addr add {gateway}/16 dev {bridge}");
        }
        for Member { name, port, bridge, address, gateway } in self.members() {
            let _ = writeln!(
                script,
                "ip netns add {name}\nip -n {name} link set lo up\n\
                 ip link add {port} type veth peer name eth0 netns {name}\n\
                 ip link set {port} master {bridge}\nip link set {port} up\nip -n {name} link set eth0 up\n\
                 ip -n {name} addr add {address}/16 dev eth0\nip -n {name} route add default via {gateway}"
            );
        }
        script
    }

    /// As few `ip` processes as it takes: one for the host, and one in each namespace.
    pub(super) fn batches(self) -> Files {
        let mut host = String::new();
        for (bridge, gateway) in self.bridges() {
            let _ = writeln!(host, "link add {bridge} up type bridge\naddr add {gateway}/16 dev {bridge}");
        }
        let mut script = "set -e\nip -batch host.batch\n".to_owned();
        let mut files = Vec::new();
        for Member { name, port, bridge, address, gateway } in self.members() {
            let _ = writeln!(
                host,
                "netns add {name}\nlink add {port} up master {bridge} type veth peer name eth0 netns {name}"
            );
            let _ = writeln!(script, "ip -n {name} -batch {name}.batch");
            let inside = format!(
                "link set lo up\nlink set eth0 up\naddr add {address}/16 dev eth0\n\
                 route add default via {gateway}\n"
            );
            files.push((format!("{name}.batch"), inside));
        }
        files.push(("host.batch".to_owned(), host));
        Files { files, script }
    }

    /// The `ip` commands, without `ip`, that remove it: a port goes with the namespace at its other end.
    pub(super) fn removal(self) -> Vec<String> {
        let bridges = self.bridges().map(|(bridge, _)| format!("link delete {bridge}"));
        bridges.chain(self.members().map(|member| format!("netns delete {}", member.name))).collect()
    }

    /// The last namespace's name and address: once they are there, all are.
    pub(super) fn last(self) -> Option<(String, Ipv4Addr)> {
        self.members().last().map(|member| (member.name, member.address))
    }

    fn bridges(self) -> impl Iterator<Item = (String, Ipv4Addr)> {
        (0..self.namespaces.div_ceil(ON_A_BRIDGE)).map(|number| (format!("br{number}"), gateway(number)))
    }

    fn members(self) -> impl Iterator<Item = Member> {
        (0..self.namespaces).map(|number| {
            let gateway = gateway(number / ON_A_BRIDGE);
            Member {
                name: namespace(number),
                port: format!("port{number}"),
                bridge: format!("br{}", number / ON_A_BRIDGE),
                address: host(gateway, number % ON_A_BRIDGE + 2),
                gateway,
            }
        })
    }
}

fn namespace(number: usize) -> String {
    format!("ns{number}")
}

/// The address of a bridge, in a /16 of its own.
fn gateway(bridge: usize) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0001 + ((bridge as u32) << 16))
}

/// The address number `host` of the same /16.
fn host(gateway: Ipv4Addr, host: usize) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(gateway) & 0xffff_0000 | host as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_changed_file_differs_in_one_address() {
        let network = Network { namespaces: 3 };
        let (toml, changed) = (network.toml(false), network.toml(true));
        let differ: Vec<_> = toml.lines().zip(changed.lines()).filter(|(a, b)| a != b).collect();
        assert_eq!(
            differ,
            [(
                r#"ns1 = { port = "port1", addresses = ["10.0.0.3/16"] }"#,
                r#"ns1 = { port = "port1", addresses = ["10.0.234.96/16"] }"#
            )]
        );
    }

    #[test]
    fn more_namespaces_than_ports_take_more_bridges() {
        let network = Network { namespaces: 1001 };
        assert_eq!(network.bridges().count(), 2);
        assert_eq!(network.last(), Some(("ns1000".into(), "10.1.0.2".parse().unwrap())));
        assert_eq!(network.removal().len(), 2 + 1001);
    }

    #[test]
    fn the_script_takes_eight_processes_a_namespace_and_the_batches_one() {
        let network = Network { namespaces: 10 };
        let processes = |script: &str| script.lines().filter(|line| line.starts_with("ip ")).count();
        assert_eq!(processes(&network.script()), 3 + 8 * 10);
        assert_eq!(processes(&network.batches().script), 1 + 10);
    }
}
