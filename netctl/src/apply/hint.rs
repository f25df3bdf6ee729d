//! What to do about an operation that failed: what the kernel's number means there, where it misleads.

use nix::errno::Errno;

use super::{Cause, Fault};
use crate::{
    hint::{Advise, DOCTOR, switch},
    model::{CONNTRACK_LIBERAL, IfName, Place},
    netlink::Refusal,
    op::{AddressChange, Change, LinkChange, NeighbourChange, NewKind, Op, RouteChange, RuleChange},
    sysctl::SysctlError,
};

impl Advise for Fault {
    fn advice(&self) -> Option<String> {
        match (&self.cause, &*self.op) {
            (Cause::Refused(refusal), op) => refused(op, refusal),
            (Cause::Sysctl(error), Op { place, change: Change::Sysctl(change) }) => {
                sysctl(place, &change.key, error)
            }
            _ => None,
        }
    }
}

fn refused(op: &Op, refusal: &Refusal) -> Option<String> {
    if refusal.errno == Errno::EPERM {
        return Some(DOCTOR.to_owned());
    }
    match &op.change {
        Change::Link(change) => link(change, refusal.errno),
        Change::Address(AddressChange::AddAddress { .. }) if refusal.errno == Errno::EACCES => {
            Some(no_ipv6(&op.place))
        }
        Change::Route(RouteChange::AddRoute { route, .. } | RouteChange::ReplaceRoute { route, .. }) => {
            add_route(&op.place, route.dev.as_ref(), refusal.errno)
        }
        Change::Neighbour(NeighbourChange::AddNeighbour { .. }) if refusal.errno == Errno::EEXIST => {
            Some("the kernel knows it already: `netctl neigh replace` sets it all the same".to_owned())
        }
        Change::Rule(RuleChange::AddRule { .. }) if refusal.errno == Errno::EEXIST => {
            Some(format!("`netctl{} rule ls` has it", switch(&op.place)))
        }
        Change::Namespace(_)
        | Change::Address(_)
        | Change::Route(_)
        | Change::Rule(_)
        | Change::Neighbour(_)
        | Change::Sysctl(_)
        | Change::Nat(_)
        | Change::Filter(_) => None,
    }
}

fn link(change: &LinkChange, errno: Errno) -> Option<String> {
    Some(match (change, errno) {
        (LinkChange::SetMaster { master: Some(master), .. }, Errno::EOPNOTSUPP) => {
            format!("is `{master}` a bridge? `netctl link add bridge NAME` makes one")
        }
        (LinkChange::SetMaster { interface, .. }, Errno::EINVAL) => {
            format!("only what carries Ethernet frames can be a port, and `{interface}` does not")
        }
        (LinkChange::CreateLink { kind: NewKind::Bridge, .. }, Errno::EOPNOTSUPP) => {
            "this kernel has no bridges: `modprobe bridge`".to_owned()
        }
        (LinkChange::CreateLink { kind: NewKind::Dummy, .. }, Errno::EOPNOTSUPP) => {
            "this kernel has no dummies: `modprobe dummy`".to_owned()
        }
        (LinkChange::CreateLink { kind: NewKind::Vlan { .. }, .. }, Errno::EOPNOTSUPP) => {
            "this kernel has no VLAN devices: `modprobe 8021q`".to_owned()
        }
        (LinkChange::CreateLink { kind: NewKind::Vlan { parent, id }, .. }, Errno::EEXIST) => {
            format!("`{parent}` may have a device for VLAN {id} already")
        }
        (LinkChange::CreateCable { .. }, Errno::EOPNOTSUPP) => {
            "this kernel has no cables: `modprobe veth`".to_owned()
        }
        (LinkChange::Move { interface, to, .. }, Errno::EINVAL) => {
            let n = switch(to);
            format!(
                "it cannot leave its namespace: make another there, as in `netctl{n} link add bridge {interface:#}`"
            )
        }
        (LinkChange::DeleteLink { interface, .. }, Errno::EOPNOTSUPP) if interface.as_str() == "lo" => {
            "every namespace has a loopback of its own, which stays there".to_owned()
        }
        _ => return None,
    })
}

fn add_route(place: &Place, dev: Option<&IfName>, errno: Errno) -> Option<String> {
    let n = switch(place);
    Some(match errno {
        Errno::EACCES => no_ipv6(place),
        Errno::ENETUNREACH | Errno::EHOSTUNREACH => {
            format!("the next hop has to be in the subnet of a link that is up: compare `netctl{n} addr ls`")
        }
        Errno::ENETDOWN => {
            let interface = dev.map_or_else(|| "IF".to_owned(), |name| format!("{name:#}"));
            format!("set it up first: `netctl{n} link set {interface} up`")
        }
        Errno::EEXIST => format!(
            "there is a route to it already, see `netctl{n} route ls`; one of another `metric` goes beside it"
        ),
        _ => return None,
    })
}

fn no_ipv6(place: &Place) -> String {
    format!("turn it on: `netctl{} sysctl set net.ipv6.conf.all.disable_ipv6=0`", switch(place))
}

fn sysctl(place: &Place, key: &str, error: &SysctlError) -> Option<String> {
    let errno = match error {
        SysctlError::NotFound { .. } => {
            let inside = if let Place::Netns(name) = place {
                format!("netctl exec {name:#} -- ")
            } else {
                String::new()
            };
            return Some(format!(
                "`{inside}sysctl -a` lists the keys that are there; some come with a module, or with an interface"
            ));
        }
        SysctlError::Io { errno, .. } => errno,
        SysctlError::NotNet { .. } | SysctlError::Malformed { .. } | SysctlError::Netns(_) => return None,
    };
    Some(match errno {
        Errno::EROFS if key == CONNTRACK_LIBERAL => {
            "shortcuts need it: set `shortcut = false` in `[nat]`, or make /proc/sys writable, which containers have \
             read-only"
                .to_owned()
        }
        Errno::EROFS => "/proc/sys is read-only, as in a container without `--privileged`: \
                         `mount -o remount,rw /proc/sys` if you may"
            .to_owned(),
        Errno::EACCES | Errno::EPERM if *place == Place::Host => "the kernel lets nobody set it".to_owned(),
        Errno::EACCES | Errno::EPERM => "the kernel has it for the whole machine: set it on the host".to_owned(),
        Errno::EINVAL | Errno::ERANGE => "the kernel does not take that value".to_owned(),
        _ => return None,
    })
}
