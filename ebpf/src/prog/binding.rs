//! Endpoint-independent mappings (RFC 4787 REQ-1): how a binding is made and kept, and what comes in by it.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{__sk_buff, BPF_ANY, BPF_NOEXIST, bpf_timer as KernelTimer},
    helpers::generated::{
        bpf_get_prandom_u32, bpf_loop, bpf_timer_init, bpf_timer_set_callback, bpf_timer_start,
    },
    programs::TcContext,
};
use netctl_ebpf::{
    addr::{self, Addr},
    binding::{Binding, BindingKey, ContactKey, GRACE_NS, side},
    flow::{FlowKey, Half, TICK_NS, hook, kind},
    ports::{self, Pool},
    proto,
    reason::DropReason,
    rule::{MasqueradeRule, filtering, mapping},
    tcp,
};

use super::{
    Work,
    flows::{self, CLOCK_MONOTONIC, EEXIST, Plan},
    kernel,
    maps::{self, BINDINGS, CONTACTS, FLOWS},
    masquerade,
    step::step,
    sweep, uplink,
};

/// Gives the flow in `work.to`, whose outside address is chosen, the port of its inside endpoint's binding, which is made
/// if there is none. Nothing where the rule maps otherwise.
#[inline(never)]
pub(crate) fn bind(ctx: &TcContext, work: &mut Work, rule: &MasqueradeRule) -> Result<(), DropReason> {
    if rule.mapping != mapping::ENDPOINT_INDEPENDENT || !proto::has_free_ports(work.packet.key.proto) {
        return Ok(());
    }
    flows::check_opens(&work.packet)?;
    let key = &work.packet.key;
    work.inside_key = inside_key(&key.src, key.src_port, key.proto, &work.to.src);
    // The flow to be made may find no answer; if it does, it will say so in time.
    let until_ns = kernel::now_ns() + maps::timeouts().lifetime_ns(work.to.proto, 0, 0, false) + GRACE_NS;
    if !is_known(work, until_ns) {
        make(ctx, work, rule, until_ns)?;
    }
    if rule.filtering == filtering::ADDRESS_DEPENDENT {
        note_contact(&work.to.src, work.to.src_port, &work.to.dst, work.to.proto, until_ns);
    }
    // The port is this endpoint's, whoever else may want it.
    work.plan.pool = Pool::only(u16::from_be_bytes(work.to.src_port));
    work.plan.own_source = false;
    Ok(())
}

/// Takes the port of the binding of `work.inside_key`; false if there is none. One of an ended rule is taken away, and one
/// that is only half there.
#[inline(always)]
fn is_known(work: &mut Work, until_ns: u64) -> bool {
    let Some(binding) = BINDINGS.get_ptr_mut(&work.inside_key) else { return false };
    // SAFETY: the verifier has checked the pointer, and RCU keeps the entry until this program ends.
    let binding = unsafe { &mut *binding };
    work.outside_key = outside_key(&work.to.src, binding.port, work.to.proto);
    if !maps::is_live(binding.rule, binding.generation) || BINDINGS.get_ptr(&work.outside_key).is_none() {
        end(&work.inside_key, binding);
        return false;
    }
    binding.until_ns = binding.until_ns.max(until_ns);
    work.to.src_port = binding.port;
    start_timer(binding);
    true
}

#[inline(always)]
fn make(ctx: &TcContext, work: &mut Work, rule: &MasqueradeRule, until_ns: u64) -> Result<(), DropReason> {
    work.binding = Binding {
        filtering: rule.filtering,
        rule: rule.id,
        generation: rule.generation,
        ifindex: work.ifindex,
        until_ns,
        ..Binding::default()
    };
    work.outside_key = outside_key(&work.to.src, work.to.src_port, work.to.proto);
    let mut search = Search {
        skb: ctx.skb.skb,
        wish: u16::from_be_bytes(work.packet.key.src_port),
        // SAFETY: a helper without arguments.
        random: unsafe { bpf_get_prandom_u32() },
        found: Err(DropReason::NoPort),
        work,
    };
    // SAFETY: `try_port` has the signature that the helper calls, and `search` outlives the call.
    unsafe { bpf_loop(ports::TRIES, try_port as *mut c_void, (&raw mut search).cast(), 0) };
    search.found?;
    let work = search.work;
    work.binding.addr = work.to.src;
    work.binding.port = work.to.src_port;
    let inserted = BINDINGS.insert(&work.inside_key, &work.binding, u64::from(BPF_NOEXIST));
    if inserted.is_err() {
        let _ = BINDINGS.remove(&work.outside_key);
        // Another CPU was faster, or there is no room.
        return if is_known(work, until_ns) { Ok(()) } else { Err(DropReason::TableFull) };
    }
    if let Some(binding) = BINDINGS.get_ptr_mut(&work.inside_key) {
        start_timer(binding);
    }
    Ok(())
}

/// The search for a free port.
struct Search<'a> {
    skb: *mut __sk_buff,
    work: &'a mut Work,
    wish: u16,
    random: u32,
    found: Result<(), DropReason>,
}

/// One try; returns whether to stop. The entry of the outside endpoint is the reservation of the port.
extern "C" fn try_port(attempt: u64, search: *mut Search<'_>) -> i64 {
    // SAFETY: `bpf_loop` passes on the pointer that `make` gave it.
    let search = unsafe { &mut *search };
    let work = &mut *search.work;
    work.to.src_port = work.plan.pool.candidate(attempt as u32, search.wish, search.random).to_be_bytes();
    work.other = work.to.reversed();
    if flows::is_taken(&TcContext::new(search.skb), &work.other) || FLOWS.get_ptr(&work.other).is_some() {
        return 0;
    }
    work.binding.addr = work.packet.key.src;
    work.binding.port = work.packet.key.src_port;
    work.outside_key.port = work.to.src_port;
    search.found = match BINDINGS.insert(&work.outside_key, &work.binding, u64::from(BPF_NOEXIST)) {
        Ok(()) => Ok(()),
        Err(EEXIST) => return 0,
        Err(_) => Err(DropReason::TableFull),
    };
    1
}

step! {
    /// Plans the flow of a packet that comes to an outside endpoint of a binding, as its filtering has it; false if it
    /// does not. What the filtering refuses is not answered, as the inside endpoint may yet send there (RFC 5382 REQ-4).
    inbound as plan_inbound(ctx, work, kind: u8) -> Result<bool, DropReason> {
        plan(ctx, work, kind)
    }
}

#[inline(always)]
fn plan(ctx: &TcContext, work: &mut Work, kind: u8) -> Result<bool, DropReason> {
    let key = &work.packet.key;
    if work.packet.transport.refusal.is_some() || !matches!(key.proto, proto::TCP | proto::UDP) {
        return Ok(false);
    }
    let Some(binding) = BINDINGS.get_ptr(outside_key(&key.dst, key.dst_port, key.proto)) else {
        return Ok(false);
    };
    // SAFETY: as in `is_known`.
    let binding = unsafe { &*binding };
    let has_address = has_own_address(binding);
    // An address that the gateway has lost is not answered at, and a socket that listens there by now is not shadowed.
    if !maps::is_live(binding.rule, binding.generation)
        || !(has_address || kernel::not_forwarded(ctx, &key.dst, work.ifindex))
        || kernel::has_socket(ctx, key)
    {
        return Ok(false);
    }
    uplink::check_source(key, work.ifindex)?;
    if !lets_in(binding, key, kind) {
        return Err(DropReason::Unsolicited);
    }
    if key.proto == proto::TCP && !tcp::is_first(work.packet.transport.tcp_flags) {
        return Err(DropReason::NoConnection);
    }
    work.to = key.to_destination(binding.addr, binding.port);
    work.ifindex = binding.ifindex;
    work.plan = Plan {
        pool: Pool::only(u16::from_be_bytes(key.src_port)),
        own_source: false,
        is_rules_source: has_address,
        kind,
        hook: hook::INGRESS,
        rule: binding.rule,
        generation: binding.generation,
    };
    Ok(true)
}

/// Whether the outside address of a binding is its rule's own, which need not be the gateway's.
#[inline(always)]
fn has_own_address(binding: &Binding) -> bool {
    masquerade::rule(binding.ifindex, &binding.addr)
        .is_some_and(|rule| rule.id == binding.rule && !addr::eq(&rule.address, &addr::NONE))
}

/// Whether the sender of `key` may use the binding.
#[inline(always)]
fn lets_in(binding: &Binding, key: &FlowKey, kind: u8) -> bool {
    match binding.filtering {
        filtering::ENDPOINT_INDEPENDENT => true,
        filtering::ADDRESS_DEPENDENT if kind == kind::INBOUND => {
            let Some(until_ns) = CONTACTS.get_ptr(contact_key(&key.dst, key.dst_port, &key.src, key.proto))
            else {
                return false;
            };
            // SAFETY: the verifier has checked the pointer.
            kernel::now_ns() < unsafe { *until_ns }
        }
        _ => false,
    }
}

/// Notes that a flow lives for another while: so does its binding, and whom it talks to may send.
#[inline(always)]
pub(crate) fn keep(key: &FlowKey, half: &Half, left_ns: u64) {
    // What the flow looks like from outside, as its original direction has it or as the answers do. Parts of it only: two
    // tuples more would not fit on the stack of the timers that come here.
    let to = &half.to;
    let (inside, outside, peer) = if half.hook == hook::EGRESS {
        ((&key.src, key.src_port), (&to.src, to.src_port), &to.dst)
    } else {
        ((&to.dst, to.dst_port), (&key.dst, key.dst_port), &key.src)
    };
    let binding_key = inside_key(inside.0, inside.1, key.proto, outside.0);
    let Some(binding) = BINDINGS.get_ptr_mut(binding_key) else { return };
    let until_ns = kernel::now_ns() + left_ns.min(TICK_NS) + GRACE_NS;
    // SAFETY: as in `is_known`; who else writes there writes the like.
    let filtering = unsafe {
        (*binding).until_ns = (*binding).until_ns.max(until_ns);
        (*binding).filtering
    };
    if filtering == filtering::ADDRESS_DEPENDENT {
        note_contact(outside.0, outside.1, peer, key.proto, until_ns);
    }
}

/// Whether a binding has the outside endpoint that answers with `reply_key` come to.
#[inline(always)]
pub(crate) fn has(reply_key: &FlowKey) -> bool {
    BINDINGS.get_ptr(outside_key(&reply_key.dst, reply_key.dst_port, reply_key.proto)).is_some()
}

#[inline(never)]
fn note_contact(addr: &Addr, port: [u8; 2], peer: &Addr, proto: u8, until_ns: u64) {
    let key = contact_key(addr, port, peer, proto);
    let _ = CONTACTS.insert(key, until_ns, u64::from(BPF_ANY));
}

#[inline(always)]
fn contact_key(addr: &Addr, port: [u8; 2], peer: &Addr, proto: u8) -> ContactKey {
    ContactKey { addr: *addr, peer: *peer, port, proto, _pad: [0; 5] }
}

#[inline(always)]
fn inside_key(addr: &Addr, port: [u8; 2], proto: u8, outside: &Addr) -> BindingKey {
    BindingKey { addr: *addr, outside: *outside, port, proto, side: side::INSIDE, _pad: 0 }
}

#[inline(always)]
fn outside_key(addr: &Addr, port: [u8; 2], proto: u8) -> BindingKey {
    BindingKey { addr: *addr, outside: addr::NONE, port, proto, side: side::OUTSIDE, _pad: 0 }
}

#[inline(always)]
fn end(key: &BindingKey, binding: &Binding) {
    let _ = BINDINGS.remove(outside_key(&key.outside, binding.port, key.proto));
    let _ = BINDINGS.remove(key);
}

/// Sets the binding's timer, or has it looked after in another way.
#[inline(always)]
fn start_timer(binding: *mut Binding) {
    if !set_timer(binding) {
        sweep::within(TICK_NS);
    }
}

/// Sets the binding's timer, unless it is set already; false if the kernel has no memory for it.
#[inline(always)]
pub(super) fn set_timer(binding: *mut Binding) -> bool {
    // SAFETY: the timer of a live entry of BINDINGS, which has the kernel's layout.
    unsafe {
        if (*binding).is_timed != 0 {
            return true;
        }
        let timer: *mut KernelTimer = (&raw mut (*binding).timer).cast();
        if bpf_timer_init(timer, (&raw const BINDINGS).cast_mut().cast(), CLOCK_MONOTONIC) != 0 {
            return false;
        }
        (*binding).is_timed = 1;
        bpf_timer_set_callback(timer, expire as *mut c_void);
        bpf_timer_start(timer, GRACE_NS, 0) == 0
    }
}

/// The timer of an inside endpoint's entry: ends the binding when no flow has kept it, else sleeps on.
extern "C" fn expire(_map: *mut c_void, key: *mut BindingKey, binding: *mut Binding) -> i32 {
    // SAFETY: the kernel passes pointers to the entry's own key and value.
    unsafe {
        if let Some(left_ns) = look_at(&*key, &*binding) {
            bpf_timer_start((&raw mut (*binding).timer).cast(), left_ns, 0);
        }
    }
    0
}

/// Ends the binding of an inside endpoint if no flow has kept it; else how long one will.
#[inline(always)]
pub(super) fn look_at(key: &BindingKey, binding: &Binding) -> Option<u64> {
    let left_ns = binding.until_ns.saturating_sub(kernel::now_ns()).min(TICK_NS);
    if left_ns == 0 || !maps::is_live(binding.rule, binding.generation) {
        end(key, binding);
        return None;
    }
    Some(left_ns)
}
