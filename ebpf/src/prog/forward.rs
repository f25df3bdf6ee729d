//! Destination NAT: from a rule to a flow.

use aya_ebpf::btf_maps::lpm_trie::Key;
use netctl_ebpf::{
    addr::{self, Addr},
    flow::hook,
    ports::Pool,
    rule::{AllowKey, ForwardKey, ForwardRule},
};

use super::{
    Work,
    flows::Plan,
    maps::{self, ALLOWS, FORWARDS},
};

/// The rule in force for what comes to `addr` and `port`: one that listens there, or on every address of the family.
#[inline(always)]
pub(crate) fn rule(addr: &Addr, proto: u8, port: [u8; 2]) -> Option<&'static ForwardRule> {
    listening(addr, proto, port).or_else(|| listening(&addr::any_of(addr), proto, port))
}

/// The rule in force that listens on exactly `addr`.
#[inline(always)]
pub(crate) fn listening(addr: &Addr, proto: u8, port: [u8; 2]) -> Option<&'static ForwardRule> {
    let key = Key::new(ForwardKey::FULL, ForwardKey { addr: *addr, proto, _pad: 0, port });
    FORWARDS.get(&key).filter(|rule| maps::is_live(rule.id, rule.generation))
}

/// Whether `client` may use `rule`.
#[inline(always)]
pub(crate) fn allows(rule: &ForwardRule, client: &Addr) -> bool {
    rule.restricted == 0
        || ALLOWS.get(&Key::new(AllowKey::FULL, AllowKey { rule: rule.id, client: *client })).is_some()
}

/// Plans the flow that the packet opens through `rule`. The client's address and port are kept, unless another flow of
/// the same client port already ends at the same inside port.
#[inline(always)]
pub(crate) fn plan(work: &mut Work, rule: &ForwardRule, kind: u8) {
    let key = &work.packet.key;
    work.to = key.to_destination(rule.to, rule.map(key.dst_port));
    work.plan = Plan {
        pool: Pool::of(key.proto, u16::from_be_bytes(key.src_port), (0, 0), maps::local_ports()),
        own_source: false,
        is_rules_source: false,
        kind,
        hook: hook::INGRESS,
        rule: rule.id,
        generation: rule.generation,
    };
}
