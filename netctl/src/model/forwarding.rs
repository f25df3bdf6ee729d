//! The sysctls of a topology: forwarding for places that need it, then what the file asks for.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Gateway, Place, Problem, backend,
    error::Error,
    keys::{self, IPV4, IPV6},
    links::Links,
    place::Places,
    route::Routes,
    timeout,
};
use crate::spec::{KeyPath, Namespace, Spec, key_path};

type Sysctls = BTreeMap<Place, BTreeMap<String, String>>;

/// The sysctls to set, by place.
///
/// A namespace forwards if it translates addresses or if its address is another's next hop. The host, where
/// forwarding is not netctl's alone to decide (IPv6 forwarding ends the machine's own autoconfiguration), forwards
/// only if it translates addresses, and only in the families of its rules.
pub(super) fn sysctls(
    spec: &Spec,
    places: &Places,
    links: &Links,
    routes: &Routes,
    gateways: &[Gateway],
) -> Result<Sysctls, Error> {
    let routers: BTreeSet<&Place> = routes.all.iter().filter_map(|route| route.next_place(links)).collect();
    let translators: BTreeMap<&Place, &Gateway> =
        gateways.iter().map(|gateway| (&gateway.place, gateway)).collect();
    let mut all = Sysctls::new();
    let timeouts = timeout::given(&spec.nat.timeouts)?;
    for gateway in gateways {
        all.entry(gateway.place.clone()).or_default().extend(backend::sysctls(gateway, &timeouts));
    }
    for (name, namespace) in &spec.namespaces {
        let path = key_path!["namespaces", name.as_str()];
        for place in places.all(name, &path)? {
            let needs =
                Needs { translator: translators.get(&place).copied(), routes: routers.contains(&place) };
            if needs.translator.is_some() && namespace.forwarding == Some(false) {
                let path = path.key("forwarding");
                return Err(Error::new(path, Problem::ForwardingOff { place }));
            }
            let sysctls = of_namespace(namespace, needs, &place, &path, links)?;
            if !sysctls.is_empty() {
                all.entry(place).or_default().extend(sysctls);
            }
        }
    }
    if let Some(gateway) = gateways.iter().find(|gateway| gateway.place == Place::Host) {
        all.entry(Place::Host).or_default().extend(of_host(gateway));
    }
    Ok(all)
}

/// Forwarding where it is decided, and over it what the file sets. A `false` is written out, too: a new namespace
/// begins with the host's IPv4 settings (`devinet_init_net` in net/ipv4/devinet.c).
fn of_namespace(
    namespace: &Namespace,
    needs: Needs<'_>,
    place: &Place,
    path: &KeyPath,
    links: &Links,
) -> Result<BTreeMap<String, String>, Error> {
    let mut sysctls = BTreeMap::new();
    if let Some(on) = namespace.forwarding.or(needs.any().then_some(true)) {
        let value = if on { "1" } else { "0" };
        sysctls.extend([IPV4, IPV6].map(|key| (key.to_owned(), value.to_owned())));
    }
    let mut written: BTreeMap<String, &String> = BTreeMap::new();
    for (key, value) in &namespace.sysctls {
        let refuse = |problem| Error::new(path.key("sysctls").key(key), problem);
        keys::check(key).map_err(refuse)?;
        let name = keys::canonical(key, place, links);
        if let Some(other) = written.insert(name.clone(), key)
            && namespace.sysctls.get(other) != Some(value)
        {
            let (other, value) = (other.clone(), namespace.sysctls.get(other).cloned().unwrap_or_default());
            return Err(refuse(Problem::SysctlTwice { other, value }));
        }
        if name == IPV4 || name == IPV6 {
            let on = value != "0";
            if let Some(forwarding) = namespace.forwarding.filter(|&forwarding| forwarding != on) {
                return Err(refuse(Problem::ForwardingContradicted { forwarding, value: value.clone() }));
            }
            if !on && needs.translator.is_some_and(|gateway| of_host(gateway).contains_key(&name)) {
                return Err(refuse(Problem::ForwardingOff { place: place.clone() }));
            }
        }
        sysctls.insert(name, value.clone());
    }
    Ok(sysctls)
}

/// What a namespace forwards for.
#[derive(Clone, Copy)]
struct Needs<'a> {
    translator: Option<&'a Gateway>,
    routes: bool,
}

impl Needs<'_> {
    fn any(self) -> bool {
        self.routes || self.translator.is_some()
    }
}

/// The sysctls that a gateway needs wherever it is found.
pub(super) fn of_gateway(gateway: &Gateway) -> BTreeMap<String, String> {
    match gateway.place {
        Place::Host => of_host(gateway),
        Place::Netns(_) => [IPV4, IPV6].map(|key| (key.to_owned(), "1".to_owned())).into(),
    }
}

fn of_host(gateway: &Gateway) -> BTreeMap<String, String> {
    let sources = gateway.masquerades.iter().map(|rule| rule.source.addr());
    let targets = gateway.forwards.iter().map(|rule| rule.to);
    let keys = sources.chain(targets).map(|address| if address.is_ipv4() { IPV4 } else { IPV6 });
    keys.map(|key| (key.to_owned(), "1".to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::super::trial::{assert_refused, office, topology};
    use super::*;

    fn of(sysctls: &Sysctls, place: &str) -> Vec<String> {
        let place = Place::try_from(place.to_owned()).unwrap();
        let sysctls = sysctls.get(&place).into_iter().flatten();
        sysctls.map(|(key, value)| format!("{key}={value}")).collect()
    }

    const ON: [&str; 2] = ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"];
    const OFF: [&str; 2] = ["net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0"];

    #[test]
    fn a_namespace_forwards_when_others_route_through_it() {
        let sysctls = office("").sysctls;
        assert_eq!(of(&sysctls, "router"), ON);
        assert_eq!(sysctls.len(), 1);

        let through_blue = "[[routes]]\nnamespace = 'red'\nto = '10.9.0.0/16'\nvia = '10.0.0.2'";
        assert_eq!(of(&office(through_blue).sysctls, "blue"), ON);
    }

    #[test]
    fn row_170_a_namespace_that_translates_forwards() {
        let text = "[namespaces.a]\n[bridges.b]\nnamespace = 'a'\n[[nat.masquerade]]\nnamespace = 'a'\n\
                    source = '10.0.0.0/24'";
        assert_eq!(of(&topology(text).sysctls, "a"), ON);
    }

    #[test]
    fn the_file_has_the_last_word_on_forwarding() {
        let text = "[namespaces.a]\nforwarding = true\n[namespaces.b]\nforwarding = false\n\
                    [bridges.br]\nnamespace = 'b'\naddresses = ['10.0.0.1/24']\nports.a.addresses = ['10.0.0.2/24']";
        let sysctls = topology(text).sysctls;
        assert_eq!(of(&sysctls, "a"), ON);
        assert_eq!(of(&sysctls, "b"), OFF);
    }

    #[test]
    fn row_170_a_namespace_that_translates_cannot_have_forwarding_off() {
        assert_refused(&[(
            "[namespaces.a]\nforwarding = false\n[bridges.b]\nnamespace = 'a'\n[[nat.masquerade]]\nnamespace = 'a'\n\
             source = '10.0.0.0/24'",
            "2: `a` translates addresses, which needs forwarding (`namespaces.a.forwarding`)",
            "leave this out, or its [[nat.*]] rules",
        )]);
    }

    #[test]
    fn the_host_forwards_only_in_the_families_it_translates() {
        let bridge = "[namespaces.a]\n[bridges.b]\naddresses = ['10.0.0.1/24', 'fd15::1/64']\n\
                      ports.a.addresses = ['10.0.0.2/24']\n";
        assert_eq!(of(&topology(bridge).sysctls, "host"), [""; 0]);
        let rule = "[[nat.masquerade]]\nnamespace = 'host'\nsource = '10.0.0.0/24'\nout = 'eth0'";
        assert_eq!(of(&topology(&format!("{bridge}{rule}")).sysctls, "host"), [ON[0]]);
    }

    #[test]
    fn the_files_sysctls_come_after() {
        // It is a next hop, and still the file has the last word.
        let text = "[namespaces.a]\nsysctls = { 'net.ipv4.conf.all.forwarding' = '0', 'net.ipv4.conf.eth0/1.x' = '2' }\n\
                    [namespaces.b]\n[bridges.br]\nnamespace = 'a'\naddresses = ['10.0.0.1/24']\n\
                    ports.b.addresses = ['10.0.0.2/24']";
        assert_eq!(of(&topology(text).sysctls, "a"), ["net.ipv4.conf.eth0/1.x=2", OFF[0], ON[1]]);
    }

    #[test]
    fn forwarding_is_not_on_and_off() {
        let with = |forwarding: bool, key: &str, value: &str| {
            format!("[namespaces.a]\nforwarding = {forwarding}\nsysctls = {{ '{key}' = '{value}' }}")
        };
        for key in [IPV4, "net.ipv4.conf.all.forwarding", IPV6] {
            for (forwarding, value) in [(true, "0"), (false, "1")] {
                assert_refused(&[(
                    &with(forwarding, key, value),
                    &format!(
                        "3: \"{value}\" contradicts `forwarding = {forwarding}` (`namespaces.a.sysctls.\"{key}\"`)"
                    ),
                    "leave one of them out",
                )]);
            }
            topology(&with(true, key, "1"));
        }
        let gateway = |key: &str| {
            format!(
                "[namespaces.a]\nsysctls = {{ '{key}' = '0' }}\n[bridges.b]\nnamespace = 'a'\n\
                 [[nat.masquerade]]\nnamespace = 'a'\nsource = '10.0.0.0/24'"
            )
        };
        assert_refused(&[(
            &gateway("net.ipv4.conf.all.forwarding"),
            "2: `a` translates addresses, which needs forwarding \
             (`namespaces.a.sysctls.\"net.ipv4.conf.all.forwarding\"`)",
            "leave this out, or its [[nat.*]] rules",
        )]);
        topology(&gateway(IPV6));
    }
}
