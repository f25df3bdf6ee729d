//! The sysctls of a topology: forwarding for places that need it, then what the file asks for.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Gateway, Place, Problem, backend, error::Error, links::Links, place::Places, route::Routes, timeout,
};
use crate::spec::{KeyPath, Namespace, Spec, key_path};

/// Whether a place forwards IPv4.
pub(crate) const IPV4: &str = "net.ipv4.ip_forward";
/// Whether a place forwards IPv6.
pub(crate) const IPV6: &str = "net.ipv6.conf.all.forwarding";

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
    let translators: BTreeSet<&Place> = gateways.iter().map(|gateway| &gateway.place).collect();
    let mut all = Sysctls::new();
    let timeouts = timeout::given(&spec.nat.timeouts)?;
    for gateway in gateways {
        all.entry(gateway.place.clone()).or_default().extend(backend::sysctls(gateway, &timeouts));
    }
    for (name, namespace) in &spec.namespaces {
        let path = key_path!["namespaces", name.as_str()];
        for place in places.all(name, &path)? {
            let translates = translators.contains(&place);
            if translates && namespace.forwarding == Some(false) {
                let path = path.key("forwarding");
                return Err(Error::new(path, Problem::ForwardingOff { place }));
            }
            let needs = (translates || routers.contains(&place)).then_some(true);
            let sysctls = of_namespace(namespace, namespace.forwarding.or(needs), &path)?;
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
    forwarding: Option<bool>,
    path: &KeyPath,
) -> Result<BTreeMap<String, String>, Error> {
    let mut sysctls = BTreeMap::new();
    if let Some(on) = forwarding {
        let value = if on { "1" } else { "0" };
        sysctls.extend([IPV4, IPV6].map(|key| (key.to_owned(), value.to_owned())));
    }
    for (key, value) in &namespace.sysctls {
        check_key(key, &path.key("sysctls"))?;
        sysctls.insert(key.clone(), value.clone());
    }
    Ok(sysctls)
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

/// A sysctl of `net.`, and one that stays there when it becomes a path below `/proc/sys`, where `.` and `/` change
/// places.
fn check_key(key: &str, path: &KeyPath) -> Result<(), Error> {
    let sound = |part: &str| {
        !part.is_empty()
            && !part.chars().all(|c| c == '/')
            && !part.contains(|c: char| c.is_whitespace() || c.is_control())
    };
    let mut parts = key.split('.');
    if parts.next() == Some("net") && key != "net" && parts.all(sound) {
        return Ok(());
    }
    Err(Error::new(path.key(key), Problem::Sysctl { key: key.to_owned() }))
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
            "leave `forwarding` out, or its [[nat.*]] rules",
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
    fn the_files_sysctls_come_after_and_are_of_the_network() {
        let text = "[namespaces.a]\nforwarding = true\n\
                    sysctls = { 'net.ipv4.ip_forward' = '0', 'net.ipv4.conf.eth0/1.x' = '2' }";
        assert_eq!(of(&topology(text).sysctls, "a"), ["net.ipv4.conf.eth0/1.x=2", OFF[0], ON[1]]);
        let hint = "write it in dotted form, as in `net.ipv4.conf.all.rp_filter`";
        for key in [
            "kernel.hostname",
            "net",
            "net.",
            "net./.x",
            "net.//.//.kernel.x",
            "network.x",
            "net/ipv4/x",
            "net.a b",
        ] {
            let message =
                format!("2: `{key}` is not the name of a network sysctl (`namespaces.a.sysctls.\"{key}\"`)");
            let message = if key == "net" { message.replace("\"net\"", "net") } else { message };
            assert_refused(&[(&format!("[namespaces.a.sysctls]\n'{key}' = '1'"), &message, hint)]);
        }
    }
}
