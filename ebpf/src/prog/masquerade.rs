//! Source NAT: from a rule to a flow.

use aya_ebpf::{btf_maps::lpm_trie::Key, programs::TcContext};
use netctl_ebpf::{
    addr::{self, Addr},
    flow::{FlowKey, direction, hook, kind},
    ports::Pool,
    proto,
    reason::DropReason,
    rule::{MasqueradeKey, MasqueradeRule},
};

use super::{
    Verdict, Work, binding,
    flows::{self, Plan},
    kernel,
    maps::{self, FLOWS, MASQUERADES},
    step::step,
};

/// The rule for what leaves (or would leave) `source` by the uplink `ifindex`, in force or not.
#[inline(always)]
pub(crate) fn rule(ifindex: u32, source: &Addr) -> Option<&'static MasqueradeRule> {
    MASQUERADES.get(&Key::new(MasqueradeKey::FULL, MasqueradeKey { ifindex, source: *source }))
}

/// Whether a rule keeps the inside network of `address` to itself: nobody outside may send from there or to there. A rule
/// for all addresses does not know who is inside.
#[inline(always)]
pub(crate) fn is_closed_inside(ifindex: u32, address: &Addr) -> bool {
    rule(ifindex, address).is_some_and(|rule| rule.routed == 0 && rule.of_all == 0)
}

step! {
    /// Plans the flow of a packet that a rule covers; false if none does.
    plan as plan_masquerade(ctx, work) -> Result<bool, DropReason> {
        match rule(work.ifindex, &work.packet.key.src) {
            Some(rule) if !stays_on_link(work) => plan_by(ctx, work, rule),
            _ => Ok(false),
        }
    }
}

/// Whether the packet says something to its neighbours that no router sends on: nobody's source, as of who asks for an
/// address (RFC 2131), a link's own, or what the gateway tells and asks by neighbour discovery, whose hop limit no router has
/// made less (RFC 4861 section 7.1).
#[inline(always)]
fn stays_on_link(work: &Work) -> bool {
    const UNROUTED: u8 = 255;
    let (key, transport) = (&work.packet.key, work.packet.transport);
    addr::is_no_source(&key.src)
        || addr::is_link_local(&key.src)
        || addr::is_link_local(&key.dst)
        || key.proto == proto::ICMPV6
            && matches!(transport.refusal, Some(DropReason::Icmp))
            && !transport.is_error
            && work.packet.ttl == UNROUTED
            && kernel::is_known_local(&key.src)
}

/// Plans the flow that the packet opens from inside to outside by `rule`; false if it leaves as it is: the gateway's own,
/// with the address that it would get.
#[inline(always)]
fn plan_by(ctx: &TcContext, work: &mut Work, rule: &MasqueradeRule) -> Result<bool, DropReason> {
    if !maps::is_live(rule.id, rule.generation) {
        return Err(DropReason::Changing);
    }
    let key = &work.packet.key;
    if kernel::is_forged(ctx, &key.src) {
        return Err(DropReason::Spoofed);
    }
    work.to = *key;
    if !addr::eq(&rule.address, &addr::NONE) {
        work.to.src = rule.address;
    } else if !kernel::source_address(ctx, &key.dst, work.ifindex, &mut work.to.src) {
        if addr::eq(&rule.fallback, &addr::NONE) {
            return Err(DropReason::NoAddress);
        }
        work.to.src = rule.fallback;
    }
    if rule.first_port == 0 && addr::eq(&work.to.src, &key.src) && !kernel::came_in(ctx) {
        return Ok(false);
    }
    let range = (rule.first_port, rule.last_port);
    let pool = Pool::of(key.proto, u16::from_be_bytes(key.src_port), range, maps::local_ports());
    work.plan = Plan {
        pool,
        own_source: true,
        is_rules_source: !addr::eq(&rule.address, &addr::NONE),
        kind: kind::MASQUERADE,
        hook: hook::EGRESS,
        rule: rule.id,
        generation: rule.generation,
    };
    binding::bind(ctx, work, rule).map(|()| true)
}

step! {
    /// Plans the flow of a packet of the gateway's own whose tuple a client's flow already has: the answers could not be
    /// told apart. False if it has none such.
    is_taken_from_gateway as plan_own(_ctx, work) -> bool {
        plan_of_gateway(work)
    }
}

#[inline(always)]
fn plan_of_gateway(work: &mut Work) -> bool {
    let key = &work.packet.key;
    if work.packet.transport.refusal.is_some() {
        return false;
    }
    work.other = key.reversed();
    let Some(answer) = FLOWS.get_ptr(&work.other) else { return false };
    // SAFETY: the verifier has checked the pointer, and RCU keeps the entry until this program ends.
    let answer = unsafe { &*answer };
    let is_clients = answer.hook == hook::INGRESS && answer.direction == direction::REPLY;
    if !is_clients || !maps::is_live(answer.rule, answer.generation) {
        return false;
    }
    work.to = *key;
    work.plan = Plan {
        pool: Pool::of(key.proto, u16::from_be_bytes(key.src_port), (0, 0), maps::local_ports()),
        own_source: true,
        is_rules_source: false,
        kind: kind::OWN,
        hook: hook::EGRESS,
        rule: answer.rule,
        generation: answer.generation,
    };
    true
}

/// What becomes of a packet from outside that nothing is known of. One that a rule lets through to the inside is
/// remembered, so that its answers are not taken for something to translate. Where there is nothing to remember it by, or
/// no room, it passes all the same. If a forward has made the same of another packet, the two are told apart by another
/// source port.
#[inline(always)]
pub(crate) fn let_in(ctx: &TcContext) -> Result<Verdict, DropReason> {
    if !plan_as_it_is(ctx)? || flows::open(ctx) != Err(DropReason::NoPort) {
        return Ok(Verdict::NotOurs);
    }
    let is_told_apart = plan_from_another_port(ctx) && flows::open(ctx).is_ok();
    Ok(if is_told_apart { Verdict::Translate } else { Verdict::NotOurs })
}

step! {
    /// Plans the flow of a packet for an inside network whose rule lets it in; false if it is for none.
    plan_as_it_is as plan_routed(ctx, work) -> Result<bool, DropReason> {
        let key = &work.packet.key;
        let Some(rule) = rule(work.ifindex, &key.dst) else { return Ok(false) };
        // The gateway's own address there is the gateway's business, and so is one that it is being offered.
        if is_offer(key) || addr::is_link_local(&key.dst) || kernel::is_own(ctx, &key.dst, work.ifindex) {
            return Ok(false);
        }
        if rule.routed == 0 {
            return Err(DropReason::Unsolicited);
        }
        work.to = *key;
        work.plan = Plan {
            pool: Pool::only(u16::from_be_bytes(key.src_port)),
            own_source: false,
            is_rules_source: false,
            kind: kind::ROUTED,
            hook: hook::INGRESS,
            rule: rule.id,
            generation: rule.generation,
        };
        Ok(true)
    }
}

/// Whether it is a DHCP server's word to who has no address yet, and may be sent to the one that is offered (RFC 2131
/// section 4.1).
#[inline(always)]
fn is_offer(key: &FlowKey) -> bool {
    const SERVER: [u8; 2] = 67_u16.to_be_bytes();
    const CLIENT: [u8; 2] = 68_u16.to_be_bytes();
    key.proto == proto::UDP && addr::is_v4(&key.dst) && key.src_port == SERVER && key.dst_port == CLIENT
}

step! {
    /// Plans the same flow with any source port.
    plan_from_another_port as plan_told_apart(_ctx, work) -> bool {
        let key = &work.packet.key;
        work.plan.pool = Pool::of(key.proto, u16::from_be_bytes(key.src_port), (0, 0), maps::local_ports());
        work.plan.is_rules_source = true;
        work.plan.kind = kind::INBOUND;
        true
    }
}
