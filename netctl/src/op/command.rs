//! The words that iproute2, sysctl and iptables commands share.

use crate::model::Place;

/// `ip`, run in a place.
pub(super) fn ip(place: &Place) -> String {
    match place {
        Place::Host => "ip".to_owned(),
        Place::Netns(name) => format!("ip -n {name}"),
    }
}

/// What goes before a command to run it in a place.
pub(super) fn inside(place: &Place) -> String {
    match place {
        Place::Host => String::new(),
        Place::Netns(name) => format!("ip netns exec {name} "),
    }
}

/// Says where a link goes, if that is not where the command is run.
pub(super) fn netns_words(from: &Place, to: &Place) -> String {
    match to {
        to if to == from => String::new(),
        // `ip -n A` moves into A first: from there, process 1 is in the host's namespace.
        Place::Host => " netns 1".to_owned(),
        Place::Netns(name) => format!(" netns {name}"),
    }
}

pub(super) fn quote(word: &str) -> String {
    if word.contains(char::is_whitespace) { format!("'{word}'") } else { word.to_owned() }
}
