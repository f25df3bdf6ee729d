//! Source NAT: from a rule to a flow.

use aya_ebpf::{btf_maps::lpm_trie::Key, programs::TcContext};
use netctl_ebpf::{
    addr::{self, Addr},
    flow::{hook, kind},
    ports::Pool,
    reason::DropReason,
    rule::{MasqueradeKey, MasqueradeRule},
};

use super::{
    Work,
    flows::{self, Plan},
    kernel,
    maps::{self, MASQUERADES},
};

/// The rule in force for what leaves (or would leave) `source` by the uplink `ifindex`.
#[inline(always)]
pub(crate) fn rule(ifindex: u32, source: &Addr) -> Option<&'static MasqueradeRule> {
    let key = Key::new(MasqueradeKey::FULL, MasqueradeKey { ifindex, source: *source });
    MASQUERADES.get(&key).filter(|rule| maps::is_live(rule.id, rule.generation))
}

/// Makes the flow that the packet opens from inside to outside by `rule`.
#[inline(always)]
pub(crate) fn open(
    ctx: &TcContext,
    work: &mut Work,
    ifindex: u32,
    rule: &MasqueradeRule,
) -> Result<(), DropReason> {
    let key = &work.packet.key;
    let source = if !addr::eq(&rule.address, &addr::NONE) {
        rule.address
    } else {
        match kernel::source_address(ctx, &key.dst, ifindex) {
            Some(source) => source,
            None if !addr::eq(&rule.fallback, &addr::NONE) => rule.fallback,
            None => return Err(DropReason::NoAddress),
        }
    };
    let pool = if rule.first_port != 0 {
        Pool::of_rule(rule.first_port, rule.last_port)
    } else {
        Pool::beside(maps::local_ports(), u16::from_be_bytes(key.src_port))
    };
    work.to = key.from_source(source, key.src_port);
    work.plan = Plan {
        pool,
        own_source: true,
        kind: kind::MASQUERADE,
        hook: hook::EGRESS,
        rule: rule.id,
        generation: rule.generation,
    };
    flows::open(ctx, work)
}
