//! What to do about an operation that failed: what the kernel's number means there, where it misleads.

use nix::errno::Errno;

use super::{Cause, Fault};
use crate::{
    model::{CONNTRACK_LIBERAL, IfName, Place},
    netlink::Refusal,
    op::{Op, Single},
    sysctl::SysctlError,
};

impl Fault {
    /// What to do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match (&self.cause, &*self.op) {
            (Cause::Refused(refusal), op) => refused(op, refusal),
            (Cause::Sysctl(error), Op::SetSysctl { place, key, .. }) => sysctl(place, key, error),
            (Cause::Nat(error), _) => error.hint().map(str::to_owned),
            (Cause::Netns(error), _) => error.hint(),
            (Cause::Place(error), _) => error.hint(),
            _ => None,
        }
    }
}

fn refused(op: &Op, refusal: &Refusal) -> Option<String> {
    let n = switch(&op.place());
    Some(match (op, refusal.errno) {
        (_, Errno::EPERM) => DOCTOR.to_owned(),
        (Op::AddAddress { .. } | Op::Single(Single::AddRouteBy { .. }), Errno::EACCES) => {
            format!("turn it on: `netctl{n} sysctl set net.ipv6.conf.all.disable_ipv6=0`")
        }
        (Op::Single(Single::AddRouteBy { .. }), Errno::ENETUNREACH | Errno::EHOSTUNREACH) => {
            format!("the next hop has to be in the subnet of a link that is up: compare `netctl{n} addr ls`")
        }
        (Op::Single(Single::AddRouteBy { route }), Errno::ENETDOWN) => {
            let interface = route.interface.as_ref().map_or("IF", IfName::as_str);
            format!("set it up first: `netctl{n} link set {interface} up`")
        }
        (Op::Single(Single::AddRouteBy { .. }), Errno::EEXIST) => {
            format!(
                "there is a route to it already, see `netctl{n} route ls`; one of another `metric` goes beside it"
            )
        }
        (Op::SetMaster { master: Some(master), .. }, Errno::EOPNOTSUPP) => {
            format!("is `{master}` a bridge? `netctl link add bridge NAME` makes one")
        }
        (Op::SetMaster { interface, .. }, Errno::EINVAL) => {
            format!("only what carries Ethernet frames can be a port, and `{interface}` does not")
        }
        (Op::Single(Single::AddBridge { .. }), Errno::EOPNOTSUPP) => {
            "this kernel has no bridges: `modprobe bridge`".to_owned()
        }
        (Op::CreateBridge { .. }, Errno::EOPNOTSUPP) => {
            "this kernel has no bridges: `modprobe bridge`".to_owned()
        }
        (Op::CreateCable { .. }, Errno::EOPNOTSUPP) => {
            "this kernel has no cables: `modprobe veth`".to_owned()
        }
        (Op::Single(Single::Move { interface, to, .. }), Errno::EINVAL) => {
            format!(
                "it cannot leave its namespace: make another there, as in `netctl{} link add bridge {interface}`",
                switch(to)
            )
        }
        (Op::DeleteLink { interface, .. }, Errno::EOPNOTSUPP) if interface.as_str() == "lo" => {
            "every namespace has a loopback of its own, which stays there".to_owned()
        }
        _ => return None,
    })
}

/// For whoever lacks a right.
pub(crate) const DOCTOR: &str = "`netctl doctor` tells which right is missing";

fn sysctl(place: &Place, key: &str, error: &SysctlError) -> Option<String> {
    let errno = match error {
        SysctlError::Netns(error) => return error.hint(),
        SysctlError::NotFound { .. } => {
            let inside = if let Place::Netns(name) = place {
                format!("netctl exec {name} -- ")
            } else {
                String::new()
            };
            return Some(format!(
                "`{inside}sysctl -a` lists the keys that are there; some come with a module, or with an interface"
            ));
        }
        SysctlError::Io { errno, .. } => errno,
        SysctlError::NotNet { .. } | SysctlError::Malformed { .. } => return None,
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

/// The words that name a place on the command line.
pub(crate) fn switch(place: &Place) -> String {
    match place {
        Place::Host => String::new(),
        Place::Netns(name) => format!(" -n {name}"),
    }
}
