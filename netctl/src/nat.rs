//! Address translation: the model's rules in force in the kernel.

pub mod classic;
pub mod ebpf;
pub mod pinned;

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    net::IpAddr,
};

use ipnet::IpNet;

use self::ebpf::{
    Pins,
    maps::{NewMasquerade, Numbered, Tables},
};
use crate::{
    hint::Advise,
    model::{Backend, Forward, Gateway, IfName, Masquerade, Place, Topology},
    netlink::{self, addr},
    netns::{Netns, NetnsError},
    place::{self, Places},
    state::Directories,
    sysctl::{self, SysctlError},
};

/// Why translation could not be set up or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The eBPF side failed.
    #[error("{0}")]
    Ebpf(#[from] ebpf::Error),
    /// Netfilter's side failed.
    #[error("{0}")]
    Classic(#[from] classic::Error),
    /// The gateway cannot be entered.
    #[error("{0}")]
    Place(#[from] place::Error),
    /// The gateway's namespace cannot be entered.
    #[error("{0}")]
    Netns(#[from] NetnsError),
    /// The gateway does not tell its addresses.
    #[error("{0}")]
    Netlink(#[from] netlink::Error),
    /// Somebody else has ended the rule.
    #[error("the rule is not in force")]
    NotInForce,
    /// A rule for IPv6, where there is none.
    #[error("IPv6 is off at `{0}`, and {1} is of IPv6")]
    NoIpv6(IfName, IpNet),
    /// The gateway does not tell whether it has IPv6.
    #[error("{0}")]
    Sysctl(#[from] SysctlError),
}

impl Advise for Error {
    fn advice(&self) -> Option<String> {
        matches!(self, Self::NoIpv6(..))
            .then(|| "turn it on (sysctl `net.ipv6.conf.*.disable_ipv6`), or leave the rule out".to_owned())
    }
}

/// Tells every gateway's programs its present addresses: a forward without an address listens on those.
///
/// # Errors
/// If a gateway cannot be asked or told.
pub fn tell_addresses(
    topology: &Topology,
    places: &mut Places,
    directories: &Directories,
) -> Result<(), Error> {
    let by_programs = |gateway: &&Gateway| gateway.backend == Backend::Ebpf;
    for gateway in topology.gateways.iter().filter(by_programs) {
        let pins = Pins::new(&directories.bpffs, &topology.name, &gateway.place);
        let addresses = addr::dump(places.socket(&gateway.place)?)?;
        Tables::open(&pins)?.set_locals(addresses.into_iter().map(|address| address.address.addr()))?;
    }
    Ok(())
}

/// Puts masquerade rules of the gateway `place` in force in the place of others, without a moment between them.
///
/// # Errors
/// If one of those before is not in force, or the kernel refuses; the rules are then as before.
pub(crate) fn change_masquerades(
    pins: &Pins,
    place: &Place,
    before: &[Masquerade],
    after: &[Masquerade],
    places: &mut Places,
) -> Result<(), Error> {
    places.refresh(place)?;
    for rule in after {
        check_family(rule, places.netns(place)?)?;
    }
    let addresses = addr::dump(places.socket(place)?)?;
    let new = after.iter().map(|rule| new_masquerade(rule, place, places, &addresses));
    let new = new.collect::<Result<Vec<_>, _>>()?;
    let names = if before.is_empty() { BTreeMap::new() } else { names(place, places)? };
    let mut tables = Tables::open(pins)?;
    pins.change(|| {
        let old = numbers(before, || tables.masquerades(&names), Masquerade::sorted)?;
        Ok(tables.change_masquerades(&old, &new)?)
    })
}

/// Puts forward rules of a gateway in force in the place of others, without a moment between them.
///
/// # Errors
/// Those of [`change_masquerades`].
pub(crate) fn change_forwards(pins: &Pins, before: &[Forward], after: &[Forward]) -> Result<(), Error> {
    // Before the mark of this very change is made.
    let mut tables = Tables::open(pins)?;
    pins.change(|| {
        let old = if tables.is_whole() {
            before.iter().map(|rule| tables.number_of(rule)?.ok_or(Error::NotInForce)).collect()
        } else {
            numbers(before, || tables.forwards(), Forward::clone)
        }?;
        Ok(tables.change_forwards(&old, after)?)
    })
}

/// The numbers of rules that are in force. `key` is the same for rules that do the same.
fn numbers<R: Hash + Eq>(
    rules: &[R],
    in_force: impl FnOnce() -> Result<Vec<Numbered<R>>, ebpf::Error>,
    key: fn(&R) -> R,
) -> Result<Vec<u32>, Error> {
    if rules.is_empty() {
        return Ok(Vec::new());
    }
    let mut numbers: HashMap<R, Vec<u32>> = HashMap::new();
    for numbered in in_force()? {
        numbers.entry(key(&numbered.rule)).or_default().push(numbered.id);
    }
    let number = |rule: &R| numbers.get_mut(&key(rule)).and_then(Vec::pop).ok_or(Error::NotInForce);
    rules.iter().map(number).collect()
}

fn new_masquerade<'a>(
    rule: &'a Masquerade,
    place: &Place,
    places: &Places,
    addresses: &[addr::Address],
) -> Result<NewMasquerade<'a>, Error> {
    let index = |out: &IfName| {
        places.index(place, out).ok_or_else(|| Error::Ebpf(ebpf::Error::NoInterface(out.clone())))
    };
    let uplinks = rule.out.iter().map(index).collect::<Result<Vec<u32>, _>>()?;
    let fallback = fallback(addresses, &uplinks, rule.source.addr().is_ipv4());
    Ok(NewMasquerade { rule, uplinks, fallback })
}

/// The address to translate to where the kernel is too old to be asked for each packet.
fn fallback(addresses: &[addr::Address], uplinks: &[u32], is_v4: bool) -> Option<IpAddr> {
    let candidates = addresses.iter().filter(|address| {
        uplinks.contains(&address.index) && is_outside(address) && address.address.addr().is_ipv4() == is_v4
    });
    candidates.min_by_key(|address| address.is_second_choice()).map(|address| address.address.addr())
}

/// Refuses a rule for IPv6 at an uplink that has it turned off: nothing would ever be translated.
fn check_family(rule: &Masquerade, netns: &Netns) -> Result<(), Error> {
    if rule.source.addr().is_ipv4() {
        return Ok(());
    }
    for out in &rule.out {
        let key = format!("net.ipv6.conf.{}.disable_ipv6", out.as_str().replace('.', "/")).parse()?;
        if sysctl::read(netns, &[key])? != [Some("0".to_owned())] {
            return Err(Error::NoIpv6(out.clone(), rule.source));
        }
    }
    Ok(())
}

/// An address that others can answer to.
fn is_outside(address: &addr::Address) -> bool {
    address.scope == neli::consts::rtnl::RtScope::Universe
        && !matches!(address.address.addr(), IpAddr::V6(v6) if v6.is_unicast_link_local())
}

fn names(place: &Place, places: &mut Places) -> Result<BTreeMap<u32, IfName>, Error> {
    let links = netlink::link::dump(places.socket(place)?)?;
    Ok(links.iter().filter_map(|link| Some((link.index, link.name.parse().ok()?))).collect())
}

#[cfg(test)]
mod tests {
    use neli::consts::rtnl::RtScope;

    use super::*;

    fn address(index: u32, address: &str, flags: u32) -> addr::Address {
        let address = address.parse().unwrap();
        addr::Address {
            index,
            address,
            peer: None,
            broadcast: None,
            scope: RtScope::Universe,
            flags,
            label: None,
            protocol: None,
            lifetimes: addr::Lifetimes::default(),
            priority: None,
        }
    }

    #[test]
    fn an_old_kernel_is_told_the_first_address_that_is_no_second_choice() {
        let addresses = [
            address(2, "fd00::1/64", 0),
            address(3, "fe80::1/64", 0),
            address(3, "2001:db8::1/64", libc::IFA_F_TEMPORARY),
            address(3, "2001:db8::2/64", libc::IFA_F_PERMANENT | libc::IFA_F_DEPRECATED),
            address(3, "203.0.113.1/24", libc::IFA_F_PERMANENT),
            address(3, "2001:db8::3/64", libc::IFA_F_PERMANENT),
            address(3, "2001:db8::4/64", libc::IFA_F_PERMANENT),
        ];
        let chosen =
            |count: usize, is_v4| fallback(&addresses[..count], &[3], is_v4).map(|ip| ip.to_string());
        assert_eq!(chosen(7, false).as_deref(), Some("2001:db8::3"));
        assert_eq!(chosen(7, true).as_deref(), Some("203.0.113.1"));
        assert_eq!(chosen(5, false).as_deref(), Some("2001:db8::1"), "better than none");
        assert_eq!(chosen(2, false), None);
    }
}
