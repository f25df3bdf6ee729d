//! The face for people: what plans and errors call an operation.

use std::fmt;

use ipnet::IpNet;

use super::Op;
use crate::model::Place;

/// `` `eth0` in namespace `red` ``, `` `br0` on the host ``
pub(crate) struct At<'a>(pub(crate) &'a Place);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Place::Host => f.write_str("on the host"),
            Place::Netns(name) => write!(f, "in namespace `{name}`"),
        }
    }
}

impl fmt::Display for Op {
    /// A phrase that fits behind "error:", such as ``create bridge `v-net-0` in namespace `router` ``.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateNamespace { name } => write!(f, "create namespace `{name}`"),
            Self::DeleteNamespace { name } => write!(f, "delete namespace `{name}`"),
            Self::CreateBridge { place, interface, .. } => {
                write!(f, "create bridge `{interface}` {}", At(place))
            }
            Self::CreateCable { a, b } => write!(
                f,
                "create cable `{}` {} to `{}` {}",
                a.interface,
                At(&a.place),
                b.interface,
                At(&b.place)
            ),
            Self::DeleteLink { place, interface, .. } => write!(f, "delete link `{interface}` {}", At(place)),
            Self::MarkLink { place, interface, .. } => write!(f, "mark link `{interface}` {}", At(place)),
            Self::SetUp { place, interface } => write!(f, "set link `{interface}` {} up", At(place)),
            Self::SetMaster { place, interface, master: Some(master), .. } => {
                write!(f, "plug link `{interface}` {} into bridge `{master}`", At(place))
            }
            Self::SetMaster { place, interface, master: None, .. } => {
                write!(f, "unplug link `{interface}` {}", At(place))
            }
            Self::SetMtu { place, interface, mtu, .. } => {
                write!(f, "set MTU {mtu} of link `{interface}` {}", At(place))
            }
            Self::AddAddress { place, interface, address } => {
                write!(f, "add address {address} to `{interface}` {}", At(place))
            }
            Self::DeleteAddress { place, interface, address } => {
                write!(f, "delete address {address} of `{interface}` {}", At(place))
            }
            Self::AddRoute { route } => {
                write!(f, "add route {route} {}", At(&route.place))
            }
            Self::DeleteRoute { route } => {
                write!(f, "delete route {route} {}", At(&route.place))
            }
            Self::SetSysctl { place, key, value, .. } => {
                write!(f, "set sysctl `{key}` to `{value}` {}", At(place))
            }
            Self::LoadNat { place, .. } => write!(f, "load the NAT programs {}", At(place)),
            Self::SetAsideNat { place, max_flows, before } => {
                write!(f, "set max-flows to {max_flows} (was {before}) {}; its flows end", At(place))
            }
            Self::RestoreNat { place } => write!(f, "restore the flow table {}", At(place)),
            Self::SetTimeout { place, timeout, lifetime, before } => {
                write!(f, "set timeout `{timeout}` to {lifetime} (was {before}) {}", At(place))
            }
            Self::RenewNat { place, before: Some(before), .. } if before.is_aside() => {
                write!(f, "replace the NAT programs {}", At(place))
            }
            Self::RenewNat { place, before: Some(before), .. } if !before.shares_flows() => {
                write!(
                    f,
                    "replace the NAT programs {}; their maps are of ABI version {}, flows end",
                    At(place),
                    before.abi
                )
            }
            Self::RenewNat { place, .. } => write!(f, "replace the NAT programs {}; flows go on", At(place)),
            Self::PruneNat { place, .. } => {
                write!(f, "remove what is left of the NAT {}", At(place))
            }
            Self::UnloadNat { place, .. } => write!(f, "unload the NAT programs {}", At(place)),
            Self::AttachNat { place, interface, side } => {
                write!(f, "attach NAT to {} `{interface}` {}", side.as_str(), At(place))
            }
            Self::DetachNat { place, interface, side } => {
                write!(f, "detach NAT from {} `{interface}` {}", side.as_str(), At(place))
            }
            Self::AttachLocal { place } => write!(f, "attach NAT to the sockets {}", At(place)),
            Self::DetachLocal { place } => write!(f, "detach NAT from the sockets {}", At(place)),
            Self::AddMasquerade { place, rule } => write!(f, "add masquerade {rule} {}", At(place)),
            Self::RemoveMasquerade { place, rule } => write!(f, "remove masquerade {rule} {}", At(place)),
            Self::AddForward { place, rule } => write!(f, "add forward {rule} {}", At(place)),
            Self::RemoveForward { place, rule } => write!(f, "remove forward {rule} {}", At(place)),
            Self::ChangeMasquerades { place, before, after } => {
                write!(f, "replace masquerade {} by {} {}", listed(before), listed(after), At(place))
            }
            Self::ChangeForwards { place, before, after } => {
                write!(f, "replace forward {} by {} {}", listed(before), listed(after), At(place))
            }
            Self::SetRules { place, tool, rules, before } if before.is_empty() => {
                write!(f, "add {} {tool} rules {}", rules.count(), At(place))
            }
            Self::SetRules { place, tool, rules, before } if rules.is_empty() => {
                write!(f, "remove {} {tool} rules {}", before.count(), At(place))
            }
            Self::SetRules { place, tool, rules, before } => {
                let (added, removed) = (rules.count_beyond(before), before.count_beyond(rules));
                if added + removed == 0 {
                    // Their order, or what leads to them.
                    return write!(f, "reinstate {tool} rules {}", At(place));
                }
                write!(f, "change {tool} rules {}: {added} added, {removed} removed", At(place))
            }
            Self::Single(single) => single.fmt(f),
        }
    }
}

/// One after the other, with commas.
fn listed(rules: &[impl fmt::Display]) -> String {
    rules.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// `default` or the network.
pub(crate) struct Destination<'a>(pub(crate) &'a IpNet);

impl fmt::Display for Destination<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == 0 { f.write_str("default") } else { self.0.fmt(f) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Mac;

    fn red() -> Place {
        Place::Netns("red".parse().unwrap())
    }

    #[test]
    fn an_operation_names_object_and_place() {
        let op = Op::CreateBridge {
            place: red(),
            interface: "br0".parse().unwrap(),
            mtu: None,
            mac: Mac([2, 0, 0, 0, 0, 1]),
        };
        assert_eq!(op.to_string(), "create bridge `br0` in namespace `red`");
        let op = Op::SetUp { place: Place::Host, interface: "br0".parse().unwrap() };
        assert_eq!(op.to_string(), "set link `br0` on the host up");
    }
}
