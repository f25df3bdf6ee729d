//! Who holds a port of a place, that is a socket of it that a forward would take the packets of.

use std::{collections::BTreeMap, fmt, fs, net::IpAddr, path::Path};

use crate::{
    model::{Forward, Place, Protocol},
    netlink::{self, Socket, diag},
    netns::{Netns, NetnsError},
    op::{Change, NatChange, Op},
};

/// Why it is not known who holds a port.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The place cannot be entered.
    #[error("{0}")]
    Netns(#[from] NetnsError),
    /// The kernel does not tell.
    #[error("ask for listening sockets: {0}")]
    Netlink(#[from] netlink::Error),
}

/// A port that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The socket's protocol.
    pub protocol: Protocol,
    /// The address that it is bound to.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// The process that has it, by name and number, if it can be seen.
    pub holder: Option<(String, u32)>,
}

impl fmt::Display for Held {
    /// ``tcp port 8080 is held by `python3` (PID 4711), which is bound to 0.0.0.0``
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} port {} is held by ", self.protocol, self.port)?;
        match &self.holder {
            Some((name, pid)) => write!(f, "`{name}` (PID {pid})")?,
            None => f.write_str("somebody who cannot be seen")?,
        }
        write!(f, ", which is bound to {}", self.address)
    }
}

/// The first socket of a namespace that one of the forwards takes packets of.
///
/// # Errors
/// If the kernel does not tell.
pub fn of_port<'a>(
    netns: &Netns,
    forwards: impl IntoIterator<Item = &'a Forward>,
) -> Result<Option<Held>, Error> {
    let listeners = netns.run(|| Ok::<_, Error>(diag::dump(&mut Socket::open_for_sockets()?)?))?;
    let mut forwards = forwards.into_iter();
    let held = forwards.find_map(|forward| listeners.iter().find(|its| takes_from(forward, its)));
    Ok(held.map(|its| Held {
        protocol: its.protocol,
        address: its.address,
        port: its.port,
        holder: holder_of(its.inode),
    }))
}

/// For each place, the first socket that one of the forwards among the operations takes packets of. What cannot be known
/// is left out.
#[must_use]
pub fn of_ports(ops: &[Op]) -> Vec<(Place, Held)> {
    let mut added: BTreeMap<&Place, Vec<&Forward>> = BTreeMap::new();
    for op in ops {
        if let Change::Nat(NatChange::AddForward { rule }) = &op.change {
            added.entry(&op.place).or_default().push(rule);
        }
    }
    let held = |(place, forwards): (&Place, Vec<&Forward>)| {
        let netns = match place {
            Place::Host => Netns::current(),
            Place::Netns(name) => Netns::open(name),
        };
        let held = netns.map_err(Error::from).and_then(|netns| of_port(&netns, forwards));
        held.inspect_err(|error| tracing::debug!("{error}")).ok()?.map(|held| (place.clone(), held))
    };
    added.into_iter().filter_map(held).collect()
}

/// Whether packets that the socket would get go where the forward leads. The loopback addresses are a forward's too,
/// wherever else it listens.
fn takes_from(forward: &Forward, its: &diag::Listener) -> bool {
    let bound = its.address.to_canonical();
    let is_for_all = its.address.is_unspecified();
    let shares_family =
        bound.is_ipv4() == forward.to.is_ipv4() || (is_for_all && bound.is_ipv6() && !its.v6_only);
    its.protocol == forward.protocol
        && (forward.ports.0..=forward.ports.1).contains(&its.port)
        && shares_family
        && (is_for_all || bound.is_loopback() || forward.address.is_none_or(|address| address == bound))
}

/// The process that has the socket of this inode open: its name and its number.
fn holder_of(inode: u32) -> Option<(String, u32)> {
    let target = format!("socket:[{inode}]");
    let entries = fs::read_dir("/proc").ok()?;
    let mut pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let pid = pids.find(|pid| {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        files.into_iter().any(|file| fs::read_link(file.path()).is_ok_and(|link| link == Path::new(&target)))
    })?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some((name.trim_end().to_owned(), pid))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::{model::Protocol, netlink::link, netns::tests::isolated};

    fn forward(address: Option<&str>, ports: (u16, u16), to: &str) -> Forward {
        let (address, to) = (address.map(|text| text.parse().unwrap()), to.parse().unwrap());
        Forward { address, ports, protocol: Protocol::Tcp, to, to_port: 80, allow: None }
    }

    #[test]
    fn a_socket_is_in_the_way_where_both_want_the_same_packets() {
        let listener = |address: &str, v6_only| diag::Listener {
            protocol: Protocol::Tcp,
            address: address.parse().unwrap(),
            port: 8080,
            v6_only,
            inode: 0,
        };
        let here = forward(Some("203.0.113.1"), (8000, 8099), "10.0.0.2");
        let everywhere = forward(None, (8080, 8080), "10.0.0.2");
        let v6 = forward(None, (8080, 8080), "fd00::2");
        for (forward, address, v6_only, takes) in [
            (&here, "0.0.0.0", false, true),
            (&here, "203.0.113.1", false, true),
            (&here, "203.0.113.9", false, false),
            (&here, "127.0.0.1", false, true),
            (&here, "::", false, true),
            (&here, "::", true, false),
            (&here, "::ffff:203.0.113.1", false, true),
            (&everywhere, "203.0.113.9", false, true),
            (&everywhere, "::1", false, false),
            (&v6, "0.0.0.0", false, false),
            (&v6, "::", true, true),
            (&forward(None, (8081, 8090), "10.0.0.2"), "0.0.0.0", false, false),
        ] {
            assert_eq!(takes_from(forward, &listener(address, v6_only)), takes, "{forward} and {address}");
        }
        let udp = diag::Listener { protocol: Protocol::Udp, ..listener("0.0.0.0", false) };
        assert!(!takes_from(&everywhere, &udp));
    }

    #[test]
    fn the_process_that_has_the_socket_is_named() {
        isolated(|| {
            Socket::open().unwrap().execute(vec![link::set_up(1)]).unwrap();
            let _listener = TcpListener::bind("127.0.0.1:8080").unwrap();
            let netns = Netns::current().unwrap();
            let held = of_port(&netns, [&forward(None, (8080, 8080), "10.0.0.2")]).unwrap().unwrap();
            assert_eq!(held.holder.as_ref().map(|(_, pid)| *pid), Some(std::process::id()));
            assert!(held.to_string().starts_with("tcp port 8080 is held by `"), "{held}");
            assert_eq!(of_port(&netns, [&forward(None, (80, 80), "10.0.0.2")]).unwrap(), None);
        });
    }
}
