//! The words of `link set` and of `link add veth`.

use netctl::{
    model::{IfName, NetnsName, Place},
    netns::Netns,
    op::NewKind,
    single::link::Changes,
    single::link::End,
};

use super::super::{
    namespace,
    words::{self, Words, interface as name, parse, settle},
};

/// What `link set` knows.
pub(in crate::cli) const KNOWN: &[&str] = &["up", "down", "netns", "master", "nomaster", "name", "mtu"];

/// Reads `[dev] IF CHANGE ..`.
pub(super) fn changes(interface: &str, rest: &[String]) -> Result<(IfName, Changes), words::Error> {
    let (interface, rest) = match rest.split_first() {
        Some((named, rest)) if interface == "dev" => (named.as_str(), rest),
        _ => (interface, rest),
    };
    let interface = name(interface)?;
    let mut changes = Changes::default();
    let mut words = Words::new(rest);
    while let Some(word) = words.keyword() {
        match word {
            "up" => settle(&mut changes.up, "up", true)?,
            "down" => settle(&mut changes.up, "down", false)?,
            "netns" => words.value(&mut changes.netns, "netns", place)?,
            "master" => words.value(&mut changes.master, "master", |text| name(text).map(Some))?,
            "nomaster" => settle(&mut changes.master, "nomaster", None)?,
            "name" => words.value(&mut changes.name, "name", name)?,
            "mtu" => words.value(&mut changes.mtu, "mtu", parse("number of bytes"))?,
            word => return Err(words::Error::unknown(word, KNOWN)),
        }
    }
    Ok((interface, changes))
}

/// Reads `A [NS] B [NS]`. Of three words it is the second or the third that is a namespace: which of them there is one
/// of tells, unless both are.
pub(super) fn ends(
    words: &[String],
    here: &Place,
    is_namespace: impl Fn(&str) -> bool,
) -> Result<(End, End), words::Error> {
    let end = |interface: &str, there: Option<&str>| -> Result<End, words::Error> {
        let place = there.map_or_else(|| Ok(here.clone()), place)?;
        Ok(End { place, interface: name(interface)? })
    };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Ok(match words.as_slice() {
        [a, in_a, b, in_b] => (end(a, Some(in_a))?, end(b, Some(in_b))?),
        [a, b, c] => match (is_namespace(b), is_namespace(c)) {
            (true, false) => (end(a, Some(b))?, end(c, None)?),
            (false, true) => (end(a, None)?, end(b, Some(c))?),
            (both, _) => {
                let [a, b, c] = [a, b, c].map(|word| (*word).to_owned());
                return Err(words::Error::Ends { a, b, c, both });
            }
        },
        [a, b] => (end(a, None)?, end(b, None)?),
        _ => return Err(words::Error::NoValue { keyword: "veth" }),
    })
}

/// Reads `link PARENT id N`.
pub(super) fn vlan(words: &[String]) -> Result<NewKind, words::Error> {
    let (mut parent, mut id) = (None, None);
    let mut words = Words::new(words);
    while let Some(word) = words.keyword() {
        match word {
            "link" => words.value(&mut parent, "link", name)?,
            "id" => words.value(&mut id, "id", vlan_id)?,
            word => return Err(words::Error::unknown(word, &["link", "id"])),
        }
    }
    let parent = parent.ok_or(words::Error::Missing("link PARENT"))?;
    Ok(NewKind::Vlan { parent, id: id.ok_or(words::Error::Missing("id N"))? })
}

/// 0 is for frames of no VLAN, 4095 is reserved (IEEE 802.1Q).
fn vlan_id(text: &str) -> Result<u16, words::Error> {
    match parse("VLAN")(text)? {
        id @ 1..=4094 => Ok(id),
        id => Err(words::Error::Vlan(id)),
    }
}

/// `host`, or the name of a namespace that is there.
pub(super) fn is_namespace(word: &str) -> bool {
    word == "host" || word.parse().is_ok_and(|name: NetnsName| Netns::open(&name).is_ok())
}

fn place(text: &str) -> Result<Place, words::Error> {
    Ok(namespace::place(text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    fn read(text: &str) -> (IfName, Changes) {
        let all = words(text);
        changes(&all[0], &all[1..]).unwrap()
    }

    fn refused(text: &str) -> String {
        let all = words(text);
        changes(&all[0], &all[1..]).unwrap_err().to_string()
    }

    #[test]
    fn changes_come_in_any_order_and_dev_says_nothing() {
        let (interface, changes) = read("dev veth1 name eth0 netns red mtu 1400 master br0 up");
        assert_eq!(interface.as_str(), "veth1");
        assert_eq!(changes.up, Some(true));
        assert_eq!(changes.netns, Some(Place::Netns("red".parse().unwrap())));
        assert_eq!(changes.master, Some(Some("br0".parse().unwrap())));
        assert_eq!((changes.name, changes.mtu), (Some("eth0".parse().unwrap()), Some(1400)));
        assert_eq!(read("veth1 netns host nomaster").1.netns, Some(Place::Host));
    }

    #[test]
    fn words_that_are_wrong_are_named() {
        for (text, message) in [
            ("eth0 upp", "unknown word `upp`"),
            ("eth0 up down", "`down` is said twice, or against itself"),
            ("eth0 mtu", "`mtu` needs a value"),
            ("eth0 mtu big", "`big` is no number of bytes: invalid digit found in string"),
            ("eth0 name sixteen-bytes-xx", "`sixteen-bytes-xx` is 16 bytes long, at most 15 are allowed"),
        ] {
            assert_eq!(refused(text), message);
        }
    }

    #[test]
    fn a_vlan_has_a_parent_and_a_number() {
        let read = |text: &str| vlan(&words(text)).map_err(|error| error.to_string());
        let eth0_7 = NewKind::Vlan { parent: "eth0".parse().unwrap(), id: 7 };
        assert_eq!(read("id 7 link eth0").unwrap(), eth0_7);
        for (text, message) in [
            ("link eth0", "`id N` is missing"),
            ("id 7", "`link PARENT` is missing"),
            ("link eth0 id 4095", "a VLAN of 4095 is not between 1 and 4094"),
            ("link eth0 id 0", "a VLAN of 0 is not between 1 and 4094"),
            ("link eth0 id seven", "`seven` is no VLAN: invalid digit found in string"),
            ("link eth0 proto 802.1ad", "unknown word `proto`"),
        ] {
            assert_eq!(read(text).unwrap_err(), message);
        }
    }

    #[test]
    fn an_end_is_in_its_namespace_or_here() {
        let is_namespace = |word: &str| ["red", "blue", "host"].contains(&word);
        let read = |text: &str| {
            let (a, b) = ends(&words(text), &Place::Host, is_namespace)?;
            Ok::<_, words::Error>([a.place, b.place].map(|place| place.to_string()))
        };
        for (text, places) in [
            ("a b", ["host", "host"]),
            ("a red b", ["red", "host"]),
            ("a b red", ["host", "red"]),
            ("a red b blue", ["red", "blue"]),
        ] {
            assert_eq!(read(text).unwrap(), places, "{text}");
        }
        assert!(matches!(read("a red blue"), Err(words::Error::Ends { both: true, .. })));
        assert!(matches!(read("a b c"), Err(words::Error::Ends { both: false, .. })));
    }
}
