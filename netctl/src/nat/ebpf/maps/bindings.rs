//! Endpoint-independent mappings: ended with their flows.

use std::collections::HashSet;

use netctl_ebpf::{
    addr,
    binding::{Binding, BindingKey, ContactKey, side},
    flow::{FlowKey, hook},
};

use super::{Error, Flow, Tables, failed, present};

/// What a flow would have of a mapping, if there is one.
struct Uses {
    inside: BindingKey,
    contact: ContactKey,
}

impl Uses {
    fn of(flow: &Flow) -> Self {
        // What the inside sends and what it leaves as; of a call from outside, its answer.
        let (inside, outside) = if flow.there.hook == hook::EGRESS {
            (flow.original, flow.translated)
        } else {
            (flow.translated.reversed(), flow.original.reversed())
        };
        let FlowKey { src: addr, dst: peer, src_port: port, proto, .. } = outside;
        Self {
            inside: BindingKey {
                addr: inside.src,
                outside: addr,
                port: inside.src_port,
                proto,
                side: side::INSIDE,
                _pad: 0,
            },
            contact: ContactKey { addr, peer, port, proto, _pad: [0; 5] },
        }
    }
}

impl Tables {
    /// Ends the endpoint-independent mappings of these flows that no other flow uses, and forgets whom they have sent to;
    /// of `None`, all that no flow uses.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn forget_mappings(&mut self, flows: Option<&[Flow]>) -> Result<(), Error> {
        let uses = |flows: &[Flow]| -> (HashSet<BindingKey>, HashSet<ContactKey>) {
            flows.iter().map(Uses::of).map(|uses| (uses.inside, uses.contact)).unzip()
        };
        let (kept, kept_contacts) = uses(&self.flows()?);
        let forgotten = flows.map(uses);
        let bindings: Vec<(BindingKey, Binding)> =
            self.bindings.iter().collect::<Result<_, _>>().map_err(failed("BINDINGS"))?;
        let is_meant = |key: &BindingKey| forgotten.as_ref().is_none_or(|(keys, _)| keys.contains(key));
        let ended: Vec<_> = bindings
            .into_iter()
            .filter(|(key, _)| key.side == side::INSIDE && !kept.contains(key) && is_meant(key))
            .collect();
        let outside: HashSet<_> = ended.iter().map(|(key, its)| (key.outside, its.port, key.proto)).collect();
        for (key, binding) in &ended {
            // The outside endpoint's entry first: the other has the timer, and is not used without it.
            let outside = BindingKey {
                addr: key.outside,
                outside: addr::NONE,
                port: binding.port,
                side: side::OUTSIDE,
                ..*key
            };
            for key in [&outside, key] {
                present(self.bindings.remove(key)).map_err(failed("BINDINGS"))?;
            }
        }
        let contacts: Vec<ContactKey> =
            self.contacts.keys().collect::<Result<_, _>>().map_err(failed("CONTACTS"))?;
        for contact in contacts.into_iter().filter(|contact| !kept_contacts.contains(contact)) {
            if forgotten.as_ref().is_none_or(|(_, contacts)| contacts.contains(&contact))
                || outside.contains(&(contact.addr, contact.port, contact.proto))
            {
                present(self.contacts.remove(&contact)).map_err(failed("CONTACTS"))?;
            }
        }
        Ok(())
    }
}
