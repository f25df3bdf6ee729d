//! What shortcuts need of the rest of the machine.

use super::Planner;
use crate::{
    model::{CONNTRACK_LIBERAL, Place},
    op::{Op, SysctlChange},
};

impl Planner<'_> {
    /// Conntrack, where a firewall uses it, sees few segments of a connection that takes a shortcut, and is not to take
    /// those for invalid that are outside of the window it knows (`tcp_in_window` in
    /// net/netfilter/nf_conntrack_proto_tcp.c). What the file says of it holds, and a kernel without conntrack needs none.
    pub(super) fn sysctl_of_conntrack(&mut self) {
        let given = self.given;
        let value = |place: &Place| given.there(place)?.sysctls.get(CONNTRACK_LIBERAL).cloned().flatten();
        let has_shortcuts = given.topology.gateways.iter().filter(|gateway| !gateway.ports.is_empty());
        for place in has_shortcuts.map(|gateway| &gateway.place) {
            let is_set =
                given.topology.sysctls.get(place).is_some_and(|all| all.contains_key(CONNTRACK_LIBERAL));
            let before = value(place);
            // The host tells for namespaces that are still to be made what the kernel has.
            let has_conntrack =
                before.is_some() || given.there(place).is_none() && value(&Place::Host).is_some();
            if has_conntrack && !is_set && before.as_deref() != Some("1") {
                let (key, value) = (CONNTRACK_LIBERAL.to_owned(), "1".to_owned());
                self.ops.push(Op::new(place, SysctlChange { key, value, before }));
            }
        }
    }
}
