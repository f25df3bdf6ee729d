//! The words that iproute2, sysctl and iptables commands share.

use crate::model::Place;

/// `ip`, run in a place.
pub(super) fn ip(place: &Place) -> String {
    match place {
        Place::Host => "ip".to_owned(),
        Place::Netns(name) => format!("ip -n {name:#}"),
    }
}

/// What goes before a command to run it in a place.
pub(super) fn inside(place: &Place) -> String {
    match place {
        Place::Host => String::new(),
        Place::Netns(name) => format!("ip netns exec {name:#} "),
    }
}

/// Says where a link goes, if that is not where the command is run.
pub(super) fn netns_words(from: &Place, to: &Place) -> String {
    match to {
        to if to == from => String::new(),
        // `ip -n A` moves into A first: from there, process 1 is in the host's namespace.
        Place::Host => " netns 1".to_owned(),
        Place::Netns(name) => format!(" netns {name:#}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Filtering, Mapping, Masquerade},
        op::{CableEnd, Change, LinkChange, Mac, NamespaceChange, NatChange, NeighbourChange, Op},
    };

    #[test]
    fn no_name_means_more_to_a_shell_than_itself() {
        let place = Place::Netns("a;b".parse().unwrap());
        let interface = || "$(id)".parse().unwrap();
        let end = |place: &Place| CableEnd {
            master: Some("it's".parse().unwrap()),
            ..CableEnd::named(place.clone(), interface())
        };
        let rule = Masquerade {
            source: "10.0.0.0/8".parse().unwrap(),
            out: vec![interface()],
            address: None,
            ports: None,
            routed: false,
            mapping: Mapping::default(),
            filtering: Filtering::default(),
        };
        let ops = [
            NamespaceChange::CreateNamespace.into(),
            LinkChange::CreateCable { a: end(&place), b: end(&Place::Host), up: true }.into(),
            LinkChange::SetUp { interface: interface() }.into(),
            NeighbourChange::ReplaceNeighbour {
                interface: interface(),
                address: [10, 0, 0, 7].into(),
                mac: Mac([2, 0, 0, 0, 0, 1]),
                before: None,
            }
            .into(),
            NatChange::AddMasquerade { rule }.into(),
        ]
        .map(|change: Change| Op::new(&place, change));
        let commands: Vec<String> = ops.iter().flat_map(Op::commands).collect();
        assert!(commands.len() >= 6);
        for command in &commands {
            let bare = command.replace("'a;b'", "").replace("'$(id)'", "").replace(r"'it'\''s'", "");
            assert!(!bare.contains([';', '$', '\'']), "{command}");
        }
        assert_eq!(commands[0], "ip netns add 'a;b'");
    }
}
