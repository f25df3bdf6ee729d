//! A file that turns IPv6 off where it needs it: the kernel would take the addresses away again, or translate nothing.

use super::{Gateway, IfName, Place, Problem, error::Error, keys, links::Links, place::Places};
use crate::spec::{Spec, key_path};

/// Refuses `net.ipv6.conf.*.disable_ipv6` beside addresses and rules of IPv6.
pub(super) fn check(spec: &Spec, places: &Places, links: &Links, gateways: &[Gateway]) -> Result<(), Error> {
    for (name, namespace) in &spec.namespaces {
        let path = key_path!["namespaces", name.as_str()];
        let off = namespace.sysctls.iter().filter(|(_, value)| *value != "0");
        for (key, link) in off.filter_map(|(key, _)| Some((key, turned_off(key)?))) {
            for place in places.all(name, &path)? {
                if let Some(of_ipv6) = in_need(&place, link.as_deref(), links, gateways) {
                    let problem = Problem::Ipv6Off { place, link, of_ipv6 };
                    return Err(Error::new(path.key("sysctls").key(key), problem));
                }
            }
        }
    }
    Ok(())
}

/// The interface that a sysctl turns IPv6 off at, or `None` in it for all of them.
fn turned_off(key: &str) -> Option<Option<String>> {
    let ("net.ipv6.conf.", interface, "disable_ipv6") = keys::of_interface(key)? else { return None };
    match interface.as_str() {
        "all" => Some(None),
        // What later interfaces get; those of the file are there by then.
        "default" => None,
        _ => Some(Some(interface)),
    }
}

/// What is of IPv6 at a place, or at one link of it.
fn in_need(place: &Place, link: Option<&str>, links: &Links, gateways: &[Gateway]) -> Option<String> {
    let link = link.map(|link| links.any(place, link).map_or(link, |its| its.name.as_str()));
    let is_it = |name: &IfName| link.is_none_or(|link| name.as_str() == link);
    let mut own = links.interfaces.iter().filter(|its| its.place == *place && is_it(&its.name));
    let address = own.find_map(|its| {
        let address = its.addresses.iter().find(|address| address.addr().is_ipv6())?;
        Some(format!("{address} of `{}`", its.name))
    });
    let rule = || {
        let gateway = gateways.iter().find(|gateway| gateway.place == *place)?;
        let mut masquerades = gateway.masquerades.iter();
        let masquerade = masquerades.find(|rule| rule.source.addr().is_ipv6() && rule.out.iter().any(is_it));
        let forward = || gateway.forwards.iter().find(|rule| link.is_none() && rule.to.is_ipv6());
        masquerade
            .map(|rule| format!("masquerade {rule}"))
            .or_else(|| forward().map(|rule| format!("forward {rule}")))
    };
    address.or_else(rule)
}

#[cfg(test)]
mod tests {
    use super::super::trial::{assert_refused, topology};

    const NETWORK: &str = "[namespaces.a]\n[[cables]]\n\
                           a = { namespace = 'r', interface = 'wan0', addresses = ['203.0.113.1/24'] }\n\
                           b = { namespace = 'a', interface = 'eth0', addresses = ['203.0.113.2/24', 'fd01::2/64'] }\n";

    fn with(sysctl: &str, rest: &str) -> String {
        format!(
            "[namespaces.r]\nsysctls = {{ 'net.ipv6.conf.{sysctl}.disable_ipv6' = '1' }}\n{NETWORK}{rest}"
        )
    }

    #[test]
    fn ipv6_cannot_be_off_where_it_is_needed() {
        let rule = "[[nat.masquerade]]\nnamespace = 'r'\nsource = 'fd15::/64'\nout = 'wan0'\n";
        let hint = "leave the sysctl out, or what is of IPv6 there";
        let at = |sysctl: &str| format!("(`namespaces.r.sysctls.\"net.ipv6.conf.{sysctl}.disable_ipv6\"`)");
        let needs = "and masquerade fd15::/64 out wan0 needs it";
        assert_refused(&[
            (&with("all", rule), &format!("2: this turns IPv6 off at `r`, {needs} {}", at("all")), hint),
            (
                &with("wan0", rule),
                &format!("2: this turns IPv6 off at `wan0` of `r`, {needs} {}", at("wan0")),
                hint,
            ),
            (
                &with("all", "")
                    .replace("namespaces.r]", "namespaces.b]")
                    .replace("'r'", "'b'")
                    .replace("113.1/24'", "113.1/24', 'fd01::1/64'"),
                "2: this turns IPv6 off at `b`, and fd01::1/64 of `wan0` needs it \
                 (`namespaces.b.sysctls.\"net.ipv6.conf.all.disable_ipv6\"`)",
                hint,
            ),
        ]);
    }

    #[test]
    fn ipv6_can_be_off_where_nothing_is_of_it() {
        for sysctl in ["all", "wan0", "default"] {
            topology(&with(sysctl, ""));
        }
    }
}
