//! Addresses and networks as the file has them, each fit for its use.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::{Problem, error::Error};
use crate::spec::KeyPath;

/// Reads the `addresses` of the table at `path`.
pub(super) fn parse_all(texts: &[String], path: &KeyPath) -> Result<Vec<IpNet>, Error> {
    let path = path.key("addresses");
    let parse = |(index, text): (usize, &String)| {
        parse(text).map_err(|problem| Error::new(path.index(index), problem))
    };
    texts.iter().enumerate().map(parse).collect()
}

fn parse(text: &str) -> Result<IpNet, Problem> {
    let address: IpNet = text.parse().map_err(|_| Problem::Address { text: text.to_owned() })?;
    if !is_unicast(address.addr()) {
        return Err(Problem::NotUnicast { address: address.addr() });
    }
    if address.prefix_len() == 0 {
        return Err(Problem::NoSubnetAtAll { address });
    }
    // Subnets of two addresses or one (RFC 3021, RFC 6164) have neither a network nor a broadcast address. The first of an
    // IPv6 subnet is that of any router (RFC 4291, 2.6.1).
    if address.max_prefix_len() - address.prefix_len() > 1 {
        if address.addr() == address.network() {
            return Err(Problem::NetworkAddress { address });
        }
        if address.addr().is_ipv4() && address.addr() == address.broadcast() {
            return Err(Problem::BroadcastAddress { address });
        }
    }
    Ok(address)
}

/// Whether this can be the address of one interface of one machine.
pub(super) fn is_unicast(address: IpAddr) -> bool {
    let is_odd = match address {
        // "This network" (RFC 1122, 3.2.1.3).
        IpAddr::V4(v4) => v4.is_broadcast() || v4.octets()[0] == 0,
        // An IPv4 address in IPv6's form, which is on no wire (RFC 4291, 2.5.5.2).
        IpAddr::V6(v6) => v6.to_ipv4_mapped().is_some(),
    };
    !(address.is_unspecified() || address.is_multicast() || address.is_loopback() || is_odd)
}

/// Whether this is an IPv6 link-local address, which means something else on each link.
pub(crate) fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// Reads an address without a prefix length.
pub(super) fn parse_ip(text: &str, path: &KeyPath) -> Result<IpAddr, Error> {
    text.parse().map_err(|_| Error::new(path.clone(), Problem::Ip { text: text.to_owned() }))
}

/// Reads a network, whose host bits are zero.
pub(super) fn parse_network(text: &str, path: &KeyPath) -> Result<IpNet, Error> {
    let given: IpNet =
        text.parse().map_err(|_| Error::new(path.clone(), Problem::Network { text: text.to_owned() }))?;
    if given != given.trunc() {
        return Err(Error::new(path.clone(), Problem::HostBits { given }));
    }
    Ok(given)
}

/// The default route's destination, in the family of `via`.
pub(super) fn default_of(via: IpAddr) -> IpNet {
    let any = match via {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    IpNet::new_assert(any, 0)
}

#[cfg(test)]
mod tests {
    use super::super::trial::{assert_refused, topology};

    #[test]
    fn a_bad_address_is_refused_with_its_line() {
        let cases = [
            ("192.168.15.300/24", "`192.168.15.300/24` is not an address with a prefix length", ""),
            (
                "192.168.15.1",
                "`192.168.15.1` is not an address with a prefix length",
                "add its subnet's prefix length, as in `192.168.15.1/24`",
            ),
            (
                "fd15::1",
                "`fd15::1` is not an address with a prefix length",
                "add its subnet's prefix length, as in `fd15::1/64`",
            ),
            ("10.0.0.1/33", "`10.0.0.1/33` is not an address with a prefix length", ""),
            ("192.168.15.0/24", "192.168.15.0 is the address of the network 192.168.15.0/24 itself", ""),
            ("192.168.15.255/24", "192.168.15.255 is the broadcast address of 192.168.15.0/24", ""),
            ("0.0.0.0/0", "0.0.0.0 cannot be the address of an interface", ""),
            ("224.0.0.1/24", "224.0.0.1 cannot be the address of an interface", ""),
            ("ff02::1/64", "ff02::1 cannot be the address of an interface", ""),
            ("::/64", ":: cannot be the address of an interface", ""),
            ("0.1.2.3/24", "0.1.2.3 cannot be the address of an interface", ""),
            ("127.0.0.1/8", "127.0.0.1 cannot be the address of an interface", ""),
            ("::1/128", "::1 cannot be the address of an interface", ""),
            ("255.255.255.255/32", "255.255.255.255 cannot be the address of an interface", ""),
            (
                "::ffff:10.0.0.1/96",
                "::ffff:10.0.0.1 cannot be the address of an interface",
                "it is an IPv4 address in the form of IPv6: write `10.0.0.1`",
            ),
            (
                "10.0.0.1/0",
                "10.0.0.1/0 has everyone in its subnet",
                "write its subnet's prefix length, as in `10.0.0.1/24`",
            ),
            (
                "fd15::1/0",
                "fd15::1/0 has everyone in its subnet",
                "write its subnet's prefix length, as in `fd15::1/64`",
            ),
            ("fd15::/64", "fd15:: is the address of the network fd15::/64 itself", ""),
        ];
        for (address, message, hint) in cases {
            let text = format!("[bridges.b]\naddresses = [\n'172.16.0.1/24',\n'{address}' ]");
            assert_refused(&[(&text, &format!("4: {message} (`bridges.b.addresses[1]`)"), hint)]);
        }
    }

    #[test]
    fn short_subnets_use_every_address() {
        topology("[bridges.b]\naddresses = ['10.0.0.0/31', '10.0.0.4/32', 'fd15::/127', 'fd15::2/128']");
        topology(
            "[bridges.b]\naddresses = ['10.1.0.1/31', '10.0.0.255/32', 'fd15::ffff/112', '240.0.0.1/24']",
        );
    }
}
