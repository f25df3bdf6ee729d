//! Links that are neither bridges nor cables: dummies, and VLANs of other interfaces.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    IfName, Link, LinkKind, Place, Problem, address,
    behaviour::{Word, required},
    error::Error,
    links::{Interface, Links, USUAL_MTU, check_mtu},
    naming::InterfaceNames,
    place::Places,
};
use crate::spec::{self, KeyPath, key_path};

/// The most of 12 bits is reserved (IEEE 802.1Q).
const LAST_VLAN: u16 = 4094;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Dummy,
    Vlan,
}

impl Word for Kind {
    const ALL: &'static [Self] = &[Self::Dummy, Self::Vlan];

    fn as_str(self) -> &'static str {
        match self {
            Self::Dummy => "dummy",
            Self::Vlan => "vlan",
        }
    }
}

/// A link of the file that is not laid yet.
struct Waiting<'a> {
    spec: &'a spec::Link,
    place: Place,
    path: KeyPath,
    /// The parent and the id of a VLAN.
    vlan: Option<(&'a str, u16)>,
}

/// What has the VLANs: a segment, or an interface of the host that is not the file's.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Trunk {
    Segment(usize),
    Foreign(IfName),
}

/// The VLANs laid so far.
struct Vlans {
    taken: BTreeMap<(Place, IfName, u16), KeyPath>,
    segments: BTreeMap<(Trunk, u16), usize>,
    /// The next segment that is nobody's.
    next_segment: usize,
}

impl Links {
    /// Lays the file's links, each after the one that it is on top of.
    pub(super) fn lay_alone(
        &mut self,
        specs: &[spec::Link],
        places: &Places,
        names: &mut InterfaceNames,
    ) -> Result<(), Error> {
        let read = |(index, spec)| Waiting::read(spec, key_path!["links", index], places);
        let mut waiting = specs.iter().enumerate().map(read).collect::<Result<Vec<_>, Error>>()?;
        let (taken, segments) = Default::default();
        let mut vlans = Vlans { taken, segments, next_segment: self.bridges.len() + self.cables.len() };
        while !waiting.is_empty() {
            let below: BTreeSet<(Place, &str)> =
                waiting.iter().map(|link| (link.place.clone(), link.spec.interface.as_str())).collect();
            let is_ready = |link: &Waiting<'_>| {
                link.vlan.is_none_or(|(parent, _)| !below.contains(&(link.place.clone(), parent)))
            };
            let (now, later): (Vec<_>, Vec<_>) = waiting.into_iter().partition(is_ready);
            if now.is_empty() {
                return Err(circle(&later));
            }
            for link in now {
                self.lay_one(&link, names, &mut vlans)?;
            }
            waiting = later;
        }
        Ok(())
    }

    fn lay_one(
        &mut self,
        Waiting { spec, place, path, vlan }: &Waiting<'_>,
        names: &mut InterfaceNames,
        vlans: &mut Vlans,
    ) -> Result<(), Error> {
        let named = names.name_link(&spec.interface, place, &path.key("interface"))?;
        let addresses = address::parse_all(&spec.addresses, path)?;
        let mtu = check_mtu(spec.mtu, &addresses, path)?;
        let (kind, segment, usual_mtu) = match *vlan {
            None => (LinkKind::Dummy, vlans.new_segment(), USUAL_MTU),
            Some((parent, id)) => {
                let (parent, most) = self.parent(place, parent, &path.key("parent"))?;
                if let (Some(mtu), Some(most)) = (mtu, most)
                    && mtu > most
                {
                    let parent = parent.to_string();
                    return Err(Error::new(path.key("mtu"), Problem::BeyondParent { mtu, parent, most }));
                }
                let usual = most.unwrap_or(USUAL_MTU);
                check_mtu(spec.mtu.or(Some(usual.into())), &addresses, path)?;
                let trunk = self.trunk(place, &parent);
                let segment = vlans.join(place, &parent, trunk, id, path)?;
                (LinkKind::Vlan { parent, id }, segment, usual)
            }
        };
        self.add(Interface {
            place: place.clone(),
            name: named.name.clone(),
            full_name: named.full.clone(),
            addresses: addresses.clone(),
            path: path.clone(),
            named: path.key("interface"),
            mtu: mtu.unwrap_or(usual_mtu),
            master: None,
            segment: Some(segment),
            plugged: false,
            allotted: false,
        })?;
        let (place, interface, full_name) = (place.clone(), named.name, named.full);
        self.alone.push(Link { place, interface, full_name, kind, addresses, mtu });
        Ok(())
    }

    /// The interface that a VLAN is on top of, which may be a bridge's port, and its MTU, where it is the file's.
    fn parent(&self, place: &Place, name: &str, path: &KeyPath) -> Result<(IfName, Option<u32>), Error> {
        let refuse = |problem| Error::new(path.clone(), problem);
        if name == "lo" {
            return Err(refuse(Problem::Loopback));
        }
        match self.any(place, name) {
            Some(link) => Ok((link.name.clone(), Some(link.mtu))),
            None => Ok((self.layer3(place, name, "").map_err(refuse)?, None)),
        }
    }

    /// What hears the tagged packets of an interface: of a bridge's port, all of the bridge.
    fn trunk(&self, place: &Place, parent: &IfName) -> Trunk {
        let link = self.any(place, parent.as_str());
        let master = || self.any(place, link?.master.as_ref()?.as_str())?.segment;
        match link.and_then(|link| link.segment).or_else(master) {
            Some(segment) => Trunk::Segment(segment),
            None => Trunk::Foreign(parent.clone()),
        }
    }
}

impl Vlans {
    fn new_segment(&mut self) -> usize {
        self.next_segment += 1;
        self.next_segment - 1
    }

    /// The segment of a VLAN of an interface that has it once.
    fn join(
        &mut self,
        place: &Place,
        parent: &IfName,
        trunk: Trunk,
        id: u16,
        path: &KeyPath,
    ) -> Result<usize, Error> {
        if let Some(other) = self.taken.insert((place.clone(), parent.clone(), id), path.clone()) {
            let (parent, place) = (parent.to_string(), place.clone());
            return Err(Error::new(path.key("id"), Problem::VlanTaken { parent, place, id, other }));
        }
        let next = &mut self.next_segment;
        let new = || {
            *next += 1;
            *next - 1
        };
        Ok(*self.segments.entry((trunk, id)).or_insert_with(new))
    }
}

impl<'a> Waiting<'a> {
    fn read(spec: &'a spec::Link, path: KeyPath, places: &Places) -> Result<Self, Error> {
        let place = match &spec.namespace {
            Some(namespace) => places.resolve(namespace, &path.key("namespace"))?,
            None => Place::Host,
        };
        let vlan = match (required::<Kind>(&spec.kind, &path.key("kind"))?, &spec.parent, spec.id) {
            (Kind::Dummy, None, None) => None,
            (Kind::Dummy, parent, _) => {
                let key = if parent.is_some() { "parent" } else { "id" };
                return Err(Error::new(path.key(key), Problem::OnlyVlan { key }));
            }
            (Kind::Vlan, Some(parent), Some(given)) => {
                let id = u16::try_from(given).ok().filter(|id| (1..=LAST_VLAN).contains(id));
                let range = Problem::Range { key: "VLAN id", given, least: 1, most: LAST_VLAN.into() };
                Some((parent.as_str(), id.ok_or_else(|| Error::new(path.key("id"), range))?))
            }
            (Kind::Vlan, _, _) => return Err(Error::new(path, Problem::NoParent)),
        };
        Ok(Self { spec, place, path, vlan })
    }
}

/// Of links that all are on top of another one of them.
fn circle(links: &[Waiting<'_>]) -> Error {
    let mut chain: Vec<&Waiting<'_>> = links.iter().take(1).collect();
    while let Some((parent, _)) = chain.last().and_then(|link| link.vlan) {
        let place = chain.last().map(|link| &link.place);
        let Some(next) =
            links.iter().find(|link| Some(&link.place) == place && link.spec.interface == parent)
        else {
            break;
        };
        if let Some(start) = chain.iter().position(|link| std::ptr::eq(*link, next)) {
            chain.drain(..start);
            chain.push(next);
            break;
        }
        chain.push(next);
    }
    let path = chain.first().map(|link| link.path.key("parent")).unwrap_or_default();
    let names: Vec<String> = chain.iter().map(|link| link.spec.interface.clone()).collect();
    let interface = names.first().cloned().unwrap_or_default();
    Error::new(path, Problem::ParentCircle { interface, links: names })
}

#[cfg(test)]
mod tests {
    use super::super::{
        LinkKind,
        trial::{assert_office_refused, office},
    };

    /// A link of the router, whose keys begin on line 16 of the office.
    fn link(keys: &str) -> String {
        format!("[[links]]\nnamespace = 'router'\n{keys}\n")
    }

    fn vlan(interface: &str, parent: &str, id: u16) -> String {
        link(&format!("interface = '{interface}'\nkind = 'vlan'\nparent = '{parent}'\nid = {id}"))
    }

    #[test]
    fn what_a_link_is_on_top_of_comes_before_it() {
        let topology = office(
            &(vlan("q", "wan0.7", 8)
                + &vlan("wan0.7", "wan0", 7)
                + &link("interface = 'd'\nkind = 'dummy'\naddresses = ['192.0.2.1/32']")
                + &vlan("p", "veth-red-br", 7)
                + &vlan("b", "br0", 7)),
        );
        let names: Vec<&str> = topology.links.iter().map(|link| link.interface.as_str()).collect();
        assert_eq!(names, ["wan0.7", "d", "p", "b", "q"]);
        assert_eq!(topology.links[1].kind, LinkKind::Dummy);
        assert_eq!(topology.links[4].kind, LinkKind::Vlan { parent: "wan0.7".parse().unwrap(), id: 8 });
    }

    #[test]
    fn a_link_lives_on_the_host_unless_the_file_says_where() {
        let text =
            "[[links]]\ninterface = 'the-long-name-of-a-vlan'\nkind = 'vlan'\nparent = 'enp1s0'\nid = 7";
        let link = &office(text).links[0];
        assert_eq!((link.place.to_string(), link.interface.as_str().len()), ("host".to_owned(), 15));
        assert_eq!(link.full_name.as_ref().unwrap().as_str(), "the-long-name-of-a-vlan");
    }

    #[test]
    fn routing_and_translation_take_a_link_for_an_interface_like_any_other() {
        let lan = vlan("wan0.7", "wan0", 7) + "addresses = ['10.7.0.1/24']\n";
        let far = "[[links]]\nnamespace = 'internet'\ninterface = 'v'\nkind = 'vlan'\nparent = 'eth0'\nid = 7\n\
                   addresses = ['10.7.0.2/24']\n\
                   [[routes]]\nnamespace = 'internet'\nto = '10.0.0.0/24'\nvia = '10.7.0.1'\n\
                   [[routes]]\nnamespace = 'router'\nto = '10.9.0.0/16'\nvia = '10.7.0.2'\n\
                   [[nat.masquerade]]\nnamespace = 'router'\nsource = '10.0.0.0/24'\nout = 'wan0.7'\n";
        let topology = office(&format!("{lan}{far}"));
        let gateway = &topology.gateways[0];
        let names =
            |names: &[crate::model::IfName]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            (names(&gateway.uplinks), names(&gateway.insides)),
            (vec!["wan0.7".into()], vec!["br0".into(), "wan0".into()])
        );
        let internet = topology.namespaces[3].name.clone();
        assert!(topology.forwards(&crate::model::Place::Netns(internet), true), "it is a next hop");
        assert_office_refused(&[(
            &format!("{lan}{}", far.replace("10.7.0.2/24", "10.7.0.1/24")),
            "27: two interfaces with one address: `wan0.7` of `router` and `v` of `internet` both have 10.7.0.1 \
             (`links[1].addresses[0]`)",
            "",
        )]);
    }

    #[test]
    fn a_link_that_the_kernel_would_not_take_is_refused() {
        let parent = "set `parent` to that interface, and `id` to the VLAN's number";
        assert_office_refused(&[
            (
                &link("interface = 'x'\nkind = 'macvlan'"),
                "17: `macvlan` is not one of the words here (`links[0].kind`)",
                "write `dummy` or `vlan`",
            ),
            (
                &link("interface = 'x'\nkind = 'vlan'\nid = 7"),
                "14: a VLAN is one of another interface (`links[0]`)",
                parent,
            ),
            (
                &link("interface = 'x'\nkind = 'dummy'\nid = 7"),
                "18: only a VLAN has `id` (`links[0].id`)",
                "leave `id` out, or set `kind = \"vlan\"`",
            ),
            (&vlan("x", "wan0", 4095), "19: a VLAN id of 4095 is not between 1 and 4094 (`links[0].id`)", ""),
            (
                &vlan("x", "wan", 7),
                "18: `router` has no interface `wan` (`links[0].parent`)",
                "did you mean `wan0`?",
            ),
            (
                &vlan("x", "lo", 7),
                "18: `lo` is the loopback interface of every namespace (`links[0].parent`)",
                "",
            ),
            (
                &vlan("wan0", "br0", 7),
                "16: two interfaces called `wan0` in `router`: the other is `cables[0].a.interface` (`links[0].interface`)",
                "give one of them another name",
            ),
            (
                &(vlan("x", "wan0", 7) + &vlan("y", "wan0", 7)),
                "25: `wan0` of `router` has VLAN 7 already: `links[0]` (`links[1].id`)",
                "",
            ),
            (
                &(vlan("x", "y", 7) + &vlan("y", "x", 7)),
                "18: `x` is a VLAN of itself: `x` on `y` on `x` (`links[0].parent`)",
                "",
            ),
            (
                &(vlan("x", "wan0", 7) + "mtu = 1501"),
                "20: an mtu of 1501 does not fit through `wan0`, which has 1500 (`links[0].mtu`)",
                "give the parent a larger one, or leave it out",
            ),
            (
                &(link("interface = 'd'\nkind = 'dummy'\nmtu = 1000")
                    + &vlan("x", "d", 7)
                    + "addresses = ['fd07::1/64']"),
                "19: an mtu of 1000 is not between 1280 and 65535 (`links[1].mtu`)",
                "IPv6 needs an mtu of at least 1280",
            ),
        ]);
    }
}
