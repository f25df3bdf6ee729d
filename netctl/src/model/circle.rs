//! Routes that send packets in a circle.
//!
//! Only what is a mistake by any reading is refused: routes of the file to one network that lead through each other
//! until they are back where they began, without a place on the way that knows part of it better. Default and wider
//! routes that would close a circle are no mistake: what they catch may be there one day, in a namespace to which
//! somebody adds a link, and routers with default routes through each other are how many a network works.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::{Place, Problem, Rule, error::Error, links::Links, route::Routes};
use crate::spec::key_path;

/// A packet that has gone so far without coming back is let go: its TTL ends here at the latest.
const HOPS: usize = 64;

/// Follows the file's routes, which are those from index `first` on.
pub(super) fn check(routes: &Routes, first: usize, rules: &[Rule], links: &Links) -> Result<(), Error> {
    let choosy = rules.iter().map(|rule| &rule.place).collect();
    let way = Way { routes, links, choosy };
    let given = routes.all.iter().skip(first).enumerate();
    for (number, route) in given.filter(|(_, route)| route.to.prefix_len() > 0 && route.table.is_none()) {
        if let Some(places) = way.circle(&route.place, route.to) {
            let problem = Problem::Circle { to: route.to, places: places.into_iter().cloned().collect() };
            return Err(Error::new(key_path!["routes", number], problem));
        }
    }
    Ok(())
}

struct Way<'a> {
    routes: &'a Routes,
    links: &'a Links,
    /// Places with policy rules, which may send any packet another way.
    choosy: BTreeSet<&'a Place>,
}

impl<'a> Way<'a> {
    /// Where packets from `from` to any address of `to` go round, if that is what its routes have them do.
    fn circle(&self, from: &'a Place, to: IpNet) -> Option<Vec<&'a Place>> {
        let mut passed: Vec<&Place> = Vec::new();
        let mut here = from;
        while passed.len() < HOPS {
            if let Some(start) = passed.iter().position(|place| *place == here) {
                passed.drain(..start);
                passed.push(here);
                return Some(passed);
            }
            if *here == Place::Host || self.choosy.contains(here) || self.lets_out(here, to) {
                return None;
            }
            passed.push(here);
            let &next = self.routes.of(here)?.get(&to)?;
            here = self.routes.all[next].next_place(self.links)?;
        }
        None
    }

    /// Whether a packet to some address of `to` may leave the circle here: it arrives, or goes another way than the
    /// rest.
    fn lets_out(&self, here: &Place, to: IpNet) -> bool {
        let connected = self.links.connected(here);
        let routes = self.routes.of(here);
        connected.is_some_and(|subnets| subnets.overlapping(to).next().is_some())
            || routes.is_some_and(|routes| routes.within(to).any(|(net, _)| net != to))
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial::{assert_refused, topology};

    /// Three routers in a ring, each pair on a cable of its own; 15 lines.
    const RING: &str = "[namespaces.a]\n[namespaces.b]\n[namespaces.c]\n\
        [[cables]]\na = { namespace = 'a', interface = 'b', addresses = ['10.0.1.1/30'] }\n\
        b = { namespace = 'b', interface = 'a', addresses = ['10.0.1.2/30'] }\n\n\
        [[cables]]\na = { namespace = 'b', interface = 'c', addresses = ['10.0.2.1/30'] }\n\
        b = { namespace = 'c', interface = 'b', addresses = ['10.0.2.2/30'] }\n\n\
        [[cables]]\na = { namespace = 'c', interface = 'a', addresses = ['10.0.3.1/30'] }\n\
        b = { namespace = 'a', interface = 'c', addresses = ['10.0.3.2/30'] }\n\n";

    /// `NAMESPACE TO VIA`, a route each.
    fn ring(routes: &[&str]) -> String {
        let table = |route: &&str| {
            let [namespace, to, via] = route.split(' ').collect::<Vec<_>>()[..] else { panic!("{route}") };
            format!("[[routes]]\nnamespace = '{namespace}'\nto = '{to}'\nvia = '{via}'\n")
        };
        format!("{RING}{}", routes.iter().map(table).collect::<String>())
    }

    #[test]
    fn routes_that_only_go_round_are_refused() {
        let hint = "let one of them send it elsewhere";
        assert_refused(&[
            (
                &ring(&["a 10.9.0.0/16 10.0.1.2", "b 10.9.0.0/16 10.0.1.1"]),
                "16: packets to 10.9.0.0/16 would go in a circle: `a` -> `b` -> `a` (`routes[0]`)",
                hint,
            ),
            (
                &ring(&["a 10.9.0.0/16 10.0.1.2", "b 10.9.0.0/16 10.0.2.2", "c 10.9.0.0/16 10.0.3.2"]),
                "16: packets to 10.9.0.0/16 would go in a circle: `a` -> `b` -> `c` -> `a` (`routes[0]`)",
                hint,
            ),
            (
                &ring(&["a 10.9.0.0/16 10.0.1.2", "b 10.9.0.0/16 10.0.2.2", "c 10.9.0.0/16 10.0.2.1"]),
                "16: packets to 10.9.0.0/16 would go in a circle: `b` -> `c` -> `b` (`routes[0]`)",
                hint,
            ),
        ]);
    }

    #[test]
    fn routes_that_bring_some_packets_home_are_fine() {
        for routes in [
            // Each default route leads to what the other is connected to.
            &["a default 10.0.1.2", "b default 10.0.1.1"][..],
            &["a default 10.0.1.2", "b default 10.0.2.2", "c default 10.0.3.2"],
            // A part of the network has a way out.
            &["a 10.9.0.0/16 10.0.1.2", "b 10.9.0.0/16 10.0.1.1", "b 10.9.1.0/24 10.0.2.2"],
            // Part of it is connected.
            &["a 10.0.0.0/8 10.0.1.2", "b 10.0.0.0/8 10.0.1.1"],
            // The end of the way is not the file's to know.
            &["a 10.9.0.0/16 10.0.1.2", "b 10.9.0.0/16 10.0.2.2"],
            // Somebody may add 10.9.0.0/16 to b.
            &["a 10.9.0.0/16 10.0.1.2", "b default 10.0.1.1"],
            &["a 10.9.0.0/16 10.0.1.2", "b 10.0.0.0/8 10.0.1.1"],
        ] {
            topology(&ring(routes));
        }
    }
}
