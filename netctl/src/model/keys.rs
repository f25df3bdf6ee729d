//! The names of sysctls: those that the file may set, and the one name of each that has several.

use super::{Place, Problem, links::Links};

/// Whether a place forwards IPv4.
pub(crate) const IPV4: &str = "net.ipv4.ip_forward";
/// Whether a place forwards IPv6.
pub(crate) const IPV6: &str = "net.ipv6.conf.all.forwarding";

/// Whether no link of a place has IPv6.
const DISABLE_IPV6: &str = "net.ipv6.conf.all.disable_ipv6";

/// The sysctl that, when it is written, sets this one of a link, or of links to come, too (`inet_forward_change` in
/// net/ipv4/devinet.c, `addrconf_forward_change` and `addrconf_disable_change` in net/ipv6/addrconf.c).
pub(crate) fn set_by(key: &str) -> Option<&'static str> {
    let (start, last) = key.rsplit_once('.')?;
    let by = match last {
        "forwarding" if start.starts_with("net.ipv4.conf.") => IPV4,
        "forwarding" if start.starts_with("net.ipv6.conf.") => IPV6,
        "disable_ipv6" if start.starts_with("net.ipv6.conf.") => DISABLE_IPV6,
        _ => return None,
    };
    (key != by).then_some(by)
}

/// The sysctls that writing this one sets, too: where a directory each is of a link, and the last part of their keys.
pub(crate) fn sets_too(key: &str) -> Option<(&'static str, &'static str)> {
    match key {
        IPV4 => Some(("net.ipv4.conf", "forwarding")),
        IPV6 => Some(("net.ipv6.conf", "forwarding")),
        DISABLE_IPV6 => Some(("net.ipv6.conf", "disable_ipv6")),
        _ => None,
    }
}

/// Two names of one sysctl, of which the second is the one that is used here.
const ALIASES: [(&str, &str); 2] =
    [("net.ipv4.conf.all.forwarding", IPV4), ("net.nf_conntrack_max", "net.netfilter.nf_conntrack_max")];

/// Where a table each is of an interface: its name comes next, and after that the last part of the key.
const OF_INTERFACES: [&str; 4] = ["net.ipv4.conf.", "net.ipv4.neigh.", "net.ipv6.conf.", "net.ipv6.neigh."];

/// A sysctl of `net.`, and one that stays there when it becomes a path below `/proc/sys`, where `.` and `/` change
/// places.
pub(super) fn check(key: &str) -> Result<(), Problem> {
    let sound = |part: &str| {
        !part.is_empty()
            && !part.chars().all(|c| c == '/')
            && !part.contains(|c: char| c.is_whitespace() || c.is_control())
    };
    let mut parts = key.split('.');
    if parts.next() == Some("net") && key != "net" && parts.all(sound) {
        return Ok(());
    }
    Err(Problem::Sysctl { key: key.to_owned() })
}

/// The one name of a sysctl of a place. The dots in an interface's name may be written as they are or, as in every other
/// key, as `/`; and a name that the kernel has shortened, in full.
pub(super) fn canonical(key: &str, place: &Place, links: &Links) -> String {
    if let Some((_, name)) = ALIASES.iter().find(|(alias, _)| *alias == key) {
        return (*name).to_owned();
    }
    let Some((prefix, interface, last)) = of_interface(key) else { return key.to_owned() };
    let known = links.any(place, &interface).map_or(&*interface, |link| link.name.as_str());
    format!("{prefix}{}.{last}", known.replace('.', "/"))
}

/// What comes before an interface's name in a key, that name, and what comes after it.
pub(crate) fn of_interface(key: &str) -> Option<(&'static str, String, &str)> {
    let prefix = OF_INTERFACES.into_iter().find(|prefix| key.starts_with(prefix))?;
    let (interface, last) = key.strip_prefix(prefix)?.rsplit_once('.')?;
    Some((prefix, interface.replace('/', "."), last))
}

#[cfg(test)]
mod tests {
    use super::{
        super::trial::{assert_refused, topology},
        *,
    };

    #[test]
    fn a_sysctl_is_one_of_the_network() {
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

    /// A namespace with a VLAN and a bridge with a long name.
    fn with(sysctls: &str) -> String {
        format!(
            "[namespaces.a.sysctls]\n{sysctls}\n[bridges.the-office-network]\nnamespace = 'a'\n\
             [[links]]\nnamespace = 'a'\ninterface = 'v.7'\nkind = 'vlan'\nparent = 'the-office-network'\nid = 7"
        )
    }

    #[test]
    fn a_sysctl_has_one_name_whatever_the_file_calls_it() {
        for (written, name) in [
            ("net.ipv4.conf.v.7.rp_filter", "net.ipv4.conf.v/7.rp_filter"),
            ("net.ipv6.neigh.v/7.gc_stale_time", "net.ipv6.neigh.v/7.gc_stale_time"),
            ("net.ipv4.conf.the-office-network.rp_filter", "net.ipv4.conf.the-offi-h8z70r.rp_filter"),
            ("net.ipv4.conf.all.forwarding", IPV4),
            ("net.nf_conntrack_max", "net.netfilter.nf_conntrack_max"),
            ("net.ipv4.tcp_rmem", "net.ipv4.tcp_rmem"),
        ] {
            let topology = topology(&with(&format!("'{written}' = '1'")));
            let (_, sysctls) = topology.sysctls.first_key_value().unwrap();
            assert_eq!(sysctls.keys().collect::<Vec<_>>(), [name]);
        }
    }

    #[test]
    fn one_sysctl_has_one_value() {
        for (one, other) in [
            ("net.ipv4.conf.v.7.rp_filter", "net.ipv4.conf.v/7.rp_filter"),
            ("net.ipv4.conf.all.forwarding", "net.ipv4.ip_forward"),
        ] {
            topology(&with(&format!("'{one}' = '1'\n'{other}' = '1'")));
            assert_refused(&[(
                &with(&format!("'{one}' = '1'\n'{other}' = '0'")),
                &format!(
                    "3: this is `{one}` under another name, which is \"1\" (`namespaces.a.sysctls.\"{other}\"`)"
                ),
                "leave one of them out",
            )]);
        }
    }
}
