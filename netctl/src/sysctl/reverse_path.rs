//! Reverse path filters: whether an interface drops IPv4 packets that come by another way than their answers leave by.

use super::{Key, SysctlError, read};
use crate::{model::IfName, netns::Netns};

/// The key of an interface's filter, or of `all`.
#[must_use]
pub fn key(interface: &str) -> String {
    format!("net.ipv4.conf.{}.rp_filter", interface.replace('.', "/"))
}

/// Those of a namespace's interfaces whose filter is strict. It is the stricter of an interface's own and that of all
/// (`IN_DEV_MAXCONF` in include/linux/inetdevice.h, by which 2, loose, wins over 1, strict).
///
/// # Errors
/// If the filters cannot be read.
pub fn strict<'a>(
    netns: &Netns,
    interfaces: impl IntoIterator<Item = &'a IfName>,
) -> Result<Vec<&'a IfName>, SysctlError> {
    let interfaces: Vec<&IfName> = interfaces.into_iter().collect();
    let names = ["all"].into_iter().chain(interfaces.iter().map(|interface| interface.as_str()));
    let keys: Vec<Key> = names.map(|name| key(name).parse()).collect::<Result<_, _>>()?;
    let values = read(netns, &keys)?;
    let number = |value: &Option<String>| value.as_ref().and_then(|value| value.parse().ok()).unwrap_or(0);
    let Some((all, own)) = values.split_first() else { return Ok(Vec::new()) };
    Ok(those_strict(number(all), interfaces.into_iter().zip(own.iter().map(number))))
}

fn those_strict<T>(all: u8, own: impl IntoIterator<Item = (T, u8)>) -> Vec<T> {
    own.into_iter().filter(|(_, own)| all.max(*own) == 1).map(|(it, _)| it).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_strict_if_neither_it_nor_that_of_all_is_loose() {
        let names = |all, [wan, lan]: [u8; 2]| those_strict(all, [("wan0", wan), ("lan", lan)]).len();
        assert_eq!([names(0, [0, 0]), names(0, [1, 0]), names(0, [1, 1]), names(1, [0, 0])], [0, 1, 2, 2]);
        assert_eq!([names(2, [1, 1]), names(1, [2, 0]), names(0, [2, 2])], [0, 1, 0]);
    }

    #[test]
    fn a_dot_in_an_interfaces_name_is_no_part_of_the_key() {
        assert_eq!(key("eth0.100"), "net.ipv4.conf.eth0/100.rp_filter");
    }
}
