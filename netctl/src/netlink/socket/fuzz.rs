//! What must hold of whatever comes back on a socket: called by the fuzz target `replies` of tests/fuzz with all that it
//! thinks of, and by a test with its seeds, which are replies of Linux 6.18 and every input that once failed.

use std::fmt::Debug;

use super::{
    super::{
        Malformed, addr, fdb, link,
        message::Message,
        message::messages,
        neigh, neightbl, nsid, route, rule,
        snapshot::{Kept, control},
    },
    reply::{Acks, Dump},
};

/// The number of the first request of a batch, and of a dump.
const SEQUENCE: u32 = 5;

/// Takes the input as two datagrams, the first as long as the first byte says, in units of four bytes: as the answers
/// to a batch, and as dumps of everything.
pub fn replies(input: &[u8]) {
    let Some((&length, bytes)) = input.split_first() else { return };
    let datagrams: [&[u8]; 2] = bytes.split_at(bytes.len().min(usize::from(length) * 4)).into();
    batch(datagrams);
    for link in dump(datagrams, link::parse) {
        assert!(!link.name.contains('\0') && !link.alias.is_some_and(|alias| alias.contains('\0')));
    }
    for address in dump(datagrams, addr::parse) {
        assert_ne!(address.peer, Some(address.address.addr()));
    }
    dump(datagrams, route::parse);
    dump(datagrams, rule::parse);
    dump(datagrams, neigh::parse);
    for kept in dump(datagrams, Kept::of) {
        assert!(!kept.requests(|index| index).is_empty(), "it can be made again");
    }
    for control in dump(datagrams, control::parse) {
        assert_eq!(control.request(|index| index, None).is_none(), control.program().is_some());
    }
    dump(datagrams, fdb::parse);
    dump(datagrams, neightbl::parse);
    dump(datagrams, nsid::parse);
}

fn batch(datagrams: [&[u8]; 2]) {
    let mut acks = Acks::new(SEQUENCE, &vec![link::set_up(1); 3]);
    for datagram in datagrams {
        if acks.take(datagram).is_err() {
            break;
        }
    }
    let open = acks.answers.iter().filter(|answer| answer.is_none()).count();
    assert_eq!((acks.missing, acks.answers.len()), (open, 3));
}

/// What a dump makes of them: nothing that no message gave, and the same again.
fn dump<T: Debug + PartialEq>(
    datagrams: [&[u8]; 2],
    parse: impl Fn(&Message<'_>) -> Result<Option<T>, Malformed>,
) -> Vec<T> {
    let take = || {
        let mut dump = Dump::new(SEQUENCE);
        let malformed = datagrams.iter().find_map(|datagram| dump.take(datagram, &parse).err());
        (dump, malformed)
    };
    let ((dump, malformed), (same, same_malformed)) = (take(), take());
    assert_eq!((&dump.items, malformed), (&same.items, same_malformed));
    let ours = |message: &Message<'_>| message.sequence == SEQUENCE;
    let given = datagrams.iter().flat_map(|datagram| messages(datagram)).flatten().filter(ours).count();
    assert!(dump.items.len() + usize::from(dump.done) <= given);
    dump.items
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs, net::IpAddr};

    use neli::consts::rtnl::{RtScope, Rtn};

    use super::*;
    use crate::netlink::rule::{Action, Mark};

    /// The target's seeds by name.
    fn seeds() -> BTreeMap<String, Vec<u8>> {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fuzz/seeds/replies");
        let files = fs::read_dir(directory).unwrap().map(Result::unwrap);
        files.map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap())).collect()
    }

    #[test]
    fn every_seed_holds_also_when_it_is_cut_anywhere() {
        for seed in seeds().values() {
            for end in 0..=seed.len() {
                replies(&seed[..end]);
            }
        }
    }

    #[test]
    fn recorded_replies_are_read_in_full() {
        let seeds = seeds();
        let of = |name: &str| [&seeds[name][1..], &[]];
        let links = dump(of("links"), link::parse);
        let (bridge, port) = (&links[1], &links[2]);
        assert_eq!((links.len(), &*bridge.name, bridge.kind.as_deref()), (3, "br0", Some("bridge")));
        assert_eq!((&*port.name, port.alias.as_deref()), ("v0", Some("mark")));
        assert_eq!((port.master, port.address), (Some(bridge.index), Some([2, 0, 0, 0, 0, 8])));
        assert_eq!((port.peer_index, port.peer_netnsid), (Some(2), Some(0)));

        let addresses = dump(of("addresses-4"), addr::parse);
        let texts: Vec<_> = addresses.iter().map(|its| (its.address.to_string(), its.peer)).collect();
        let peer = Some(IpAddr::from([10, 0, 0, 9]));
        assert!(
            texts.contains(&("10.0.0.2/24".into(), None)) && texts.contains(&("10.0.0.1/32".into(), peer))
        );
        assert_eq!(dump(of("addresses-6"), addr::parse)[0].address.to_string(), "fd00::2/64");

        let routes = dump(of("routes-4"), route::parse);
        let to = |to: &str| routes.iter().find(|its| its.destination.to_string() == to).unwrap();
        assert_eq!(to("0.0.0.0/0").gateway, Some([10, 0, 0, 254].into()));
        assert_eq!(to("10.8.0.0/16").gateway, Some("fd00::1".parse().unwrap()));
        assert!(to("10.7.0.0/16").is_multipath());
        assert!(dump(of("routes-6"), route::parse).iter().any(|its| its.metric == Some(7)));
        let neighbours = dump(of("neighbours"), neigh::parse);
        assert_eq!(neighbours.iter().filter(|its| its.mac == Some([2, 0, 0, 0, 0, 7])).count(), 2);
        assert!(dump(of("bridge-entries"), fdb::parse).iter().any(|its| its.mac == [2, 0, 0, 0, 0, 8]));
    }

    #[test]
    fn all_that_recorded_replies_say_of_an_object_is_read() {
        let seeds = seeds();
        let of = |name: &str| [&seeds[name][1..], &[]];
        let rules = dump(of("rules-4"), rule::parse);
        let at = |priority| rules.iter().find(|its| its.priority == priority).unwrap();
        assert!(at(1001).is_netctls() && at(1001).mark == Some(Mark { value: 1, mask: 0xff }));
        assert_eq!((at(1001).iif.as_deref(), at(1001).action), (Some("w0"), Action::Table(1000)));
        assert_eq!((at(1002).from.unwrap().prefix_len(), at(1002).action), (24, Action::Blackhole));
        assert_eq!((at(1003).suppress_prefix_length, at(1003).is_narrower), (Some(0), false));
        assert!(at(1004).is_narrower);
        let rules = dump(of("rules-6"), rule::parse);
        assert!(rules.iter().any(|its| its.action == Action::Prohibit && its.priority == 1001));

        let routes =
            [dump(of("rich-routes-4"), route::parse), dump(of("rich-routes-6"), route::parse)].concat();
        let to = |to: &str| routes.iter().find(|its| its.destination.to_string() == to).unwrap();
        assert!(to("10.10.0.0/16").is_netctls() && to("10.10.0.0/16").metric == Some(6));
        assert_eq!((to("10.12.0.0/16").table, to("10.12.0.0/16").kind), (1000, Rtn::Prohibit));
        let hops: Vec<_> = to("10.11.0.0/16").hops.iter().map(|hop| (hop.weight, hop.flags & 4)).collect();
        assert_eq!(hops, [(3, 4), (1, 0)]);
        assert!(to("fd12::/64").is_advertised() && to("fd12::/64").expires.is_some_and(|its| its <= 600));
        assert_eq!(to("fd13::/64").from, Some("fd00:3::/64".parse().unwrap()));
        assert_eq!(to("fd14::/64").hops.len(), 2);

        let addresses =
            [dump(of("rich-addresses-4"), addr::parse), dump(of("rich-addresses-6"), addr::parse)].concat();
        let its = |own: &str| addresses.iter().find(|its| its.address.addr().to_string() == own).unwrap();
        let lasting = its("10.0.0.9");
        assert_eq!(lasting.label.as_deref(), Some("w0:nine"));
        assert!(lasting.lifetimes.preferred < lasting.lifetimes.valid && lasting.is_second_choice());
        assert_eq!((its("10.0.1.1").priority, its("10.0.1.1").scope), (Some(77), RtScope::Link));
        assert_eq!((its("10.0.0.1").lifetimes.valid, its("fd00:2::1").priority), (None, Some(77)));
        let neighbours = dump(of("rich-neighbours"), neigh::parse);
        let set: Vec<_> = neighbours.iter().filter(|its| its.is_set_by_hand()).collect();
        assert_eq!(set.iter().map(|its| its.protocol).collect::<Vec<_>>(), [Some(99), None]);
    }

    #[test]
    fn recorded_refusals_are_in_the_kernels_words() {
        let seeds = seeds();
        let mut acks = Acks::new(SEQUENCE, &[link::set_up(1)]);
        acks.take(&seeds["refused-name"][1..]).unwrap();
        let refusal = acks.answers[0].clone().unwrap().unwrap_err().to_string();
        assert_eq!(refusal, "Math result not representable (kernel: Attribute failed policy validation)");
        let mut dump = Dump::new(SEQUENCE);
        dump.take(&seeds["refused-dump"][1..], link::parse).unwrap();
        let failure = dump.failure.unwrap().to_string();
        assert!(
            failure.ends_with("(kernel: Filter by device index not supported for link dumps)"),
            "{failure}"
        );
    }
}
