//! The flow table's rules: how a flow is found, made, kept and ended.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{__sk_buff, BPF_NOEXIST, bpf_timer as KernelTimer},
    helpers::generated::{
        bpf_get_prandom_u32, bpf_loop, bpf_timer_init, bpf_timer_set_callback, bpf_timer_start,
    },
    programs::TcContext,
};
use netctl_ebpf::{
    addr::{self, Addr},
    event::{cause, what},
    flow::{self, FlowKey, Half, direction},
    headers::{Packet, Transport},
    ports::{self, Pool},
    proto,
    reason::DropReason,
    sighting::Sighting,
    tcp,
};

use super::{
    Verdict, Work, binding, events, forward, kernel,
    maps::{self, ENDED, FLOWS, UNANSWERED},
    step::{self, step},
    sweep, verify,
};

pub(super) const EEXIST: i32 = -17;
pub(super) const CLOCK_MONOTONIC: u64 = 1;

/// The half that translates this packet at `hook`, if there is one and its rule is still in force.
#[inline(always)]
fn find(ctx: &TcContext, work: &mut Work, hook: u8) -> Option<*mut Half> {
    let transport = work.packet.transport;
    if transport.refusal.is_some() {
        return None;
    }
    let half_ptr = FLOWS.get_ptr_mut(&work.packet.key)?;
    // SAFETY: the verifier has checked the pointer, and RCU keeps the entry until this program ends.
    let half = unsafe { &*half_ptr };
    // A query with the identifier 0 has its answer's tuple.
    let is_query = matches!(work.packet.key.proto, proto::ICMP | proto::ICMPV6);
    if half.hook != hook || (is_query && transport.is_request != (half.direction == direction::ORIGINAL)) {
        return None;
    }
    // The IP layer, which will drop it, comes after ingress: it is no word of the connection's.
    if hook == flow::hook::INGRESS && !verify::is_header_right(ctx, &work.packet) {
        return None;
    }
    work.other = half.to.reversed();
    let cause = if !maps::is_live(half.rule, half.generation) {
        cause::RULE
    } else if is_reopened(half, work.packet.key.proto, transport, &work.other) {
        cause::REOPENED
    } else if !is_still_here(ctx, half, &work.packet.key.dst, work.ifindex, &mut work.to.src) {
        cause::MOVED
    } else {
        return Some(half_ptr);
    };
    end(&work.packet.key, half_ptr, &work.other, cause);
    None
}

/// Whether a SYN opens a new connection on the tuple of one that is over.
#[inline(always)]
fn is_reopened(half: &Half, proto: u8, transport: Transport, other: &FlowKey) -> bool {
    if proto != proto::TCP
        || half.direction != direction::ORIGINAL
        || transport.tcp_flags & tcp::flag::SYN == 0
        || !tcp::may_open(transport.tcp_flags)
    {
        return false;
    }
    match FLOWS.get_ptr(other) {
        // SAFETY: as in `find`.
        Some(other) => tcp::is_closed(half.tcp_seen, unsafe { (*other).tcp_seen }),
        None => true,
    }
}

/// What becomes of a known flow's packet, and notes that it passed; `None` if it belongs to no flow.
#[inline(always)]
pub(crate) fn follow(ctx: &TcContext, hook: u8) -> Option<Verdict> {
    let verdict = pass(ctx, hook)?;
    set_timer_if_asked(ctx);
    Some(verdict)
}

/// Makes the flow that the packet opens; `work.to` becomes its tuple.
#[inline(always)]
pub(crate) fn open(ctx: &TcContext) -> Result<(), DropReason> {
    make(ctx)?;
    set_timer_if_asked(ctx);
    Ok(())
}

#[inline(always)]
fn set_timer_if_asked(ctx: &TcContext) {
    if step::is(|work| work.is_untimed) {
        set_timer_of(ctx);
    }
}

step! {
    /// [`follow`], but for the flow's timer.
    pass as follow_flow(ctx, work, hook: u8) -> Option<Verdict> {
        let half = find(ctx, work, hook)?;
        // SAFETY: as in `find`.
        unsafe {
            let is_news = tcp::remembered(work.packet.transport.tcp_flags) & !(*half).tcp_seen != 0;
            if is_news || (*half).packets == 0 {
                events::tell_progress(work, &*half);
            }
        }
        touch(ctx, half, &work.packet);
        ask_for_timer(half, work);
        // SAFETY: as in `find`.
        let half = unsafe { &*half };
        work.plan.rule = half.rule;
        work.plan.generation = half.generation;
        if half.kind == flow::kind::ROUTED {
            return Some(Verdict::NotOurs);
        }
        work.to = half.to;
        Some(Verdict::Translate)
    }
}

/// Whether an inside endpoint's flow can go on by this uplink: it was made here, if the endpoint opened it, and its
/// outside address is still the gateway's.
#[inline(always)]
fn is_still_here(ctx: &TcContext, half: &Half, dst: &Addr, ifindex: u32, room: &mut Addr) -> bool {
    match half.kind {
        flow::kind::MASQUERADE if half.direction == direction::ORIGINAL => {
            if half.ifindex != ifindex {
                return false;
            }
        }
        flow::kind::INBOUND if half.direction == direction::REPLY => {}
        _ => return true,
    }
    half.is_rules_source != 0 || is_own(ctx, &half.to.src, dst, ifindex, room)
}

/// Whether `address` is the gateway's at this uplink, as the way to `dst` or the address itself tells; asked about once a
/// second.
#[inline(always)]
fn is_own(ctx: &TcContext, address: &Addr, dst: &Addr, ifindex: u32, room: &mut Addr) -> bool {
    let now_s = (kernel::now_ns() >> 30) as u32; // Seconds or so: a change of it is what counts.
    let Some(seen) = maps::sighting(address, ifindex) else { return false };
    if seen.is_of(address, ifindex, now_s) {
        return true;
    }
    let is_own = kernel::source_address(ctx, dst, ifindex, room) && addr::eq(room, address)
        || kernel::is_own(ctx, address, ifindex);
    if is_own {
        *seen = Sighting { address: *address, ifindex, at_s: now_s };
    }
    is_own
}

/// Notes in `half` that a packet passed.
#[inline(always)]
fn touch(ctx: &TcContext, half: *mut Half, packet: &Packet) {
    // SAFETY: a live entry.
    unsafe { (*half).tcp_seen |= tcp::remembered(packet.transport.tcp_flags) };
    count(half, packet.length_of_frame(ctx.len()), kernel::now_ns());
}

/// Notes in `half` that a frame of so many bytes passed at this time which opens and closes nothing.
#[inline(always)]
pub(crate) fn count(half: *mut Half, length: u32, now_ns: u64) {
    // SAFETY: a live entry; a direction that runs on two CPUs at once may lose a count, nothing else.
    unsafe {
        (*half).last_seen_ns = now_ns;
        (*half).packets += 1;
        (*half).bytes += u64::from(length);
    }
}

/// What a new flow is made of, beside the tuple in [`Work::to`], whose source port is a wish.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    /// Where to look for another source port.
    pub(crate) pool: Pool,
    /// The source address is the gateway's own: ports of its sockets and forwards are taken.
    pub(crate) own_source: bool,
    /// The source address is the rule's own, whatever addresses the gateway has.
    pub(crate) is_rules_source: bool,
    /// One of [`flow::kind`].
    pub(crate) kind: u8,
    /// The hook of the original direction; answers are translated at the other.
    pub(crate) hook: u8,
    /// The rule's id.
    pub(crate) rule: u32,
    /// The rule's generation.
    pub(crate) generation: u32,
}

/// Whether a packet without a flow can open one.
#[inline(always)]
pub(crate) fn check_opens(packet: &Packet) -> Result<(), DropReason> {
    packet.transport.check()?;
    match packet.key.proto {
        proto::TCP if !tcp::may_open(packet.transport.tcp_flags) => Err(DropReason::NoConnection),
        // An answer to a query that nobody made.
        proto::ICMP | proto::ICMPV6 if !packet.transport.is_request => Err(DropReason::Icmp),
        _ => Ok(()),
    }
}

step! {
    /// [`open`], but for the flow's timer.
    make as open_flow(ctx, work) -> Result<(), DropReason> {
        open_both(ctx, work)
    }
}

/// The reply half goes in first: its key, not there yet, is the reservation of the port.
#[inline(always)]
fn open_both(ctx: &TcContext, work: &mut Work) -> Result<(), DropReason> {
    check_opens(&work.packet)?;
    // SAFETY: a helper without arguments.
    work.serial = unsafe { bpf_get_prandom_u32() };
    // The IP layer, which would drop it, comes after ingress.
    if work.plan.hook == flow::hook::INGRESS && !verify::is_header_right(ctx, &work.packet) {
        return Err(DropReason::Malformed);
    }
    let mut search = Search {
        skb: ctx.skb.skb,
        wish: u16::from_be_bytes(work.to.src_port),
        // SAFETY: a helper without arguments.
        random: unsafe { bpf_get_prandom_u32() },
        found: Err(DropReason::NoPort),
        work,
    };
    // A helper's loop: the verifier reads its body once, not once a try.
    // SAFETY: `try_port` has the signature that the helper calls, and `search` outlives the call.
    unsafe { bpf_loop(ports::TRIES, try_port as *mut c_void, (&raw mut search).cast(), 0) };
    search.found?;
    open_original(ctx, search.work)
}

/// The search for a free port.
struct Search<'a> {
    skb: *mut __sk_buff,
    work: &'a mut Work,
    wish: u16,
    random: u32,
    found: Result<(), DropReason>,
}

/// One try; returns whether to stop.
extern "C" fn try_port(attempt: u64, search: *mut Search<'_>) -> i64 {
    // SAFETY: `bpf_loop` passes on the pointer that `open` gave it.
    let search = unsafe { &mut *search };
    let work = &mut *search.work;
    work.to.src_port = work.plan.pool.candidate(attempt as u32, search.wish, search.random).to_be_bytes();
    work.other = work.to.reversed();
    if work.plan.own_source && is_taken(&TcContext::new(search.skb), &work.other) {
        return 0;
    }
    // One that answers itself could not be told from its answer.
    if work.to.src_port == work.to.dst_port && addr::eq(&work.to.src, &work.to.dst) {
        return 0;
    }
    fill(work, direction::REPLY, 0);
    work.half.to = work.packet.key.reversed();
    let mut inserted = insert_new(&work.other, &work.half);
    if inserted == Err(EEXIST) && reap(&work.other) {
        inserted = insert_new(&work.other, &work.half);
    }
    search.found = match inserted {
        Ok(()) => Ok(()),
        Err(EEXIST) => return 0,
        Err(_) => Err(DropReason::TableFull),
    };
    1
}

#[inline(always)]
fn insert_new(key: &FlowKey, half: &Half) -> Result<(), i32> {
    FLOWS.insert(key, half, u64::from(BPF_NOEXIST))
}

/// Removes the flow that has `key` if it is what an ended rule left; false if it is alive.
#[inline(always)]
fn reap(key: &FlowKey) -> bool {
    let Some(half) = FLOWS.get_ptr(key) else { return true };
    // SAFETY: as in `find`.
    let half = unsafe { &*half };
    if maps::is_live(half.rule, half.generation) {
        return false;
    }
    end(key, half, &half.to.reversed(), cause::RULE);
    // Of a flow that is only being made there is no more than this.
    let _ = FLOWS.remove(key);
    true
}

/// Ends a flow by either half, and adds what it carried to its rule's account.
///
/// Another CPU may do so at the same time, and a new flow may have the same keys by then. Who takes away the half of the
/// answers ends the flow, and a half that has lost its other is left to its timer.
#[inline(never)]
fn end(key: &FlowKey, half: *const Half, other_key: &FlowKey, cause: u8) {
    let Some(other) = FLOWS.get_ptr(other_key) else { return };
    // SAFETY: as in `find`.
    let (is_its_other, is_original) =
        unsafe { ((*half).serial == (*other).serial, (*half).direction == direction::ORIGINAL) };
    if !is_its_other {
        return;
    }
    account(half);
    account(other);
    let (original_key, reply_key) = if is_original { (key, other_key) } else { (other_key, key) };
    let (there, back) = if is_original { (half, other) } else { (other, half) };
    // SAFETY: as in `find`.
    unsafe { events::tell(what::ENDED, cause, original_key, &*there, &*back) };
    if FLOWS.remove(reply_key).is_ok() {
        let _ = FLOWS.remove(original_key);
    }
}

#[inline(always)]
fn account(half: *const Half) {
    // SAFETY: a live entry of FLOWS, which the caller has just looked up.
    let half = unsafe { &*half };
    if !maps::is_live(half.rule, half.generation) {
        return; // Its number may be another rule's by now.
    }
    if half.kind == flow::kind::HAIRPIN_SOURCE {
        return; // One connection, and its first flow has counted it.
    }
    let Some(ended) = ENDED.get_ptr_mut(half.rule) else { return };
    let direction = usize::from(half.direction & 1);
    // SAFETY: a per-CPU slot that the verifier has checked; nothing else on this CPU writes it meanwhile.
    unsafe {
        (*ended).flows += u64::from(half.direction == direction::ORIGINAL);
        (*ended).packets[direction] += half.packets;
        (*ended).bytes[direction] += half.bytes;
    }
}

/// Puts the original half beside its reply half and asks for its timer. Where another CPU was faster, its flow is the one.
#[inline(always)]
fn open_original(ctx: &TcContext, work: &mut Work) -> Result<(), DropReason> {
    fill(work, direction::ORIGINAL, tcp::remembered(work.packet.transport.tcp_flags));
    work.half.to = work.to;
    let inserted = insert_new(&work.packet.key, &work.half);
    if inserted.is_err() {
        let _ = FLOWS.remove(&work.other);
    }
    if !matches!(inserted, Ok(()) | Err(EEXIST)) {
        return Err(DropReason::TableFull);
    }
    let half = FLOWS.get_ptr_mut(&work.packet.key).ok_or(DropReason::TableFull)?;
    // SAFETY: as in `find`.
    if unsafe { (*half).hook } != work.plan.hook {
        return Err(DropReason::NoPort); // The tuple is another flow's, at another hook.
    }
    work.is_untimed = inserted.is_ok();
    if inserted.is_ok() {
        if events::is_heard()
            && let Some(other) = FLOWS.get_ptr(&work.other)
        {
            // SAFETY: as in `find`.
            unsafe { events::tell(what::NEW, 0, &work.packet.key, &*half, &*other) };
        }
        // SAFETY: as in `find`.
        wait_for_answer(unsafe { &mut *half }, &work.packet.key, &mut work.other);
        work.other = work.packet.key;
    }
    touch(ctx, half, &work.packet);
    // SAFETY: as in `find`.
    work.to = unsafe { (*half).to };
    Ok(())
}

/// Writes all of `work.half` but its tuple.
#[inline(always)]
fn fill(work: &mut Work, direction: u8, tcp_seen: u8) {
    work.half = Half {
        hook: work.plan.hook ^ direction,
        kind: work.plan.kind,
        direction,
        tcp_seen,
        rule: work.plan.rule,
        generation: work.plan.generation,
        ifindex: work.ifindex,
        place: flow::NOWHERE,
        serial: work.serial,
        is_rules_source: work.plan.is_rules_source.into(),
        last_seen_ns: kernel::now_ns(),
        ..Half::default()
    };
}

/// Puts a new flow among those that have no answer yet, in the place of the oldest of these: so unanswered packets push
/// out their own kind only, and however many come, most of the table is for flows that both sides know of.
#[inline(never)]
fn wait_for_answer(half: &mut Half, key: &FlowKey, room: &mut FlowKey) {
    let Some(place) = maps::next_place() else { return };
    let Some(waiting) = UNANSWERED.get_ptr_mut(place) else { return };
    // SAFETY: a slot that the verifier has checked, and of this CPU's own.
    let waiting = unsafe { &mut *waiting };
    // The last to wait here may have had the same tuple: until it is gone, the new flow has no place.
    forget_unanswered(waiting, place, room);
    half.place = place;
    *waiting = *key;
}

/// Ends the flow of `key` if it is the one that took `place` and nobody has answered, or nobody acknowledged the answer.
#[inline(always)]
fn forget_unanswered(key: &FlowKey, place: u32, room: &mut FlowKey) {
    let Some(half) = FLOWS.get_ptr(key) else { return };
    // SAFETY: as in `find`.
    let found = unsafe { &*half };
    if found.direction != direction::ORIGINAL || found.place != place {
        return;
    }
    *room = found.to.reversed();
    // SAFETY: as in `find`.
    let is_answered = FLOWS.get_ptr(&*room).is_some_and(|other| unsafe { (*other).packets } != 0);
    let is_known_to_both = match key.proto {
        proto::TCP => tcp::is_established(found.tcp_seen, is_answered),
        _ => is_answered,
    };
    if !is_known_to_both {
        end(key, half, room, cause::CROWDED);
    }
}

/// Whether an answer with this tuple would be for a forward, for a binding or for a socket of the gateway.
#[inline(always)]
pub(crate) fn is_taken(ctx: &TcContext, reply_key: &FlowKey) -> bool {
    forward::rule(&reply_key.dst, reply_key.proto, reply_key.dst_port).is_some()
        || binding::has(reply_key)
        || kernel::has_socket(ctx, reply_key)
}

/// From how many packets of a direction on a flow's timer is asked for again: short flows are looked after by the sweep,
/// which is cheaper than a refusal each.
const LASTING: u64 = 64;

/// Asks for the timer of a lasting flow, which it may not have: the kernel allocates it without waiting, and may find no
/// memory at that moment (`__bpf_async_init` in kernel/bpf/helpers.c). Ever more seldom, by the count of packets.
#[inline(always)]
fn ask_for_timer(half: *const Half, work: &mut Work) {
    // SAFETY: as in `find`.
    let (packets, direction) = unsafe { ((*half).packets, (*half).direction) };
    work.is_untimed = packets >= LASTING && packets & (packets - 1) == 0;
    if work.is_untimed && direction == direction::ORIGINAL {
        work.other = work.packet.key;
    }
}

step! {
    /// Sets the flow's timer, or has the flow looked after in another way. A step of its own, since
    /// the verifier goes through all that a timer does wherever one is set.
    set_timer_of as time_flow(_ctx, work) -> () {
        let Some(half) = FLOWS.get_ptr_mut(&work.other) else { return };
        sweep::prepare();
        // SAFETY: a live entry of FLOWS.
        let lifetime =
            maps::timeouts().lifetime_ns(work.packet.key.proto, unsafe { (*half).tcp_seen }, 0, false);
        if !set_timer(half, lifetime) {
            sweep::within(lifetime);
        }
    }
}

/// Sets the flow's timer to so many nanoseconds, unless it is set already; false if the kernel has no memory for it.
#[inline(always)]
pub(super) fn set_timer(half: *mut Half, patience_ns: u64) -> bool {
    // SAFETY: the timer of a live entry of FLOWS, which has the kernel's layout.
    unsafe {
        if (*half).is_timed != 0 {
            return true;
        }
        let timer: *mut KernelTimer = (&raw mut (*half).timer).cast();
        if bpf_timer_init(timer, (&raw const FLOWS).cast_mut().cast(), CLOCK_MONOTONIC) != 0 {
            return false;
        }
        (*half).is_timed = 1;
        bpf_timer_set_callback(timer, expire as *mut c_void);
        bpf_timer_start(timer, patience_ns.min(flow::TICK_NS), 0) == 0
    }
}

/// The timer of an original half: ends the flow when it is over, else sleeps on.
extern "C" fn expire(_map: *mut c_void, key: *mut FlowKey, half: *mut Half) -> i32 {
    // SAFETY: the kernel passes pointers to the entry's own key and value.
    unsafe {
        if let Some(left) = keep(&*key, half) {
            bpf_timer_start((&raw mut (*half).timer).cast(), left.min(flow::TICK_NS), 0);
        }
    }
    0
}

/// Ends the flow of an original half if neither direction was used for its lifetime; else how long that may yet last.
#[inline(never)]
pub(super) fn keep(key: &FlowKey, half: *const Half) -> Option<u64> {
    // SAFETY: a live entry of FLOWS, as is its other half.
    unsafe {
        let other_key = (*half).to.reversed();
        let Some(other) = FLOWS.get_ptr(&other_key) else {
            let _ = FLOWS.remove(key);
            return None;
        };
        let (seen, answered) = ((*other).tcp_seen, (*other).packets != 0);
        let lifetime = maps::timeouts().lifetime_ns(key.proto, (*half).tcp_seen, seen, answered);
        let deadline = (*half).last_seen_ns.max((*other).last_seen_ns) + lifetime;
        let now = kernel::now_ns();
        let is_live = maps::is_live((*half).rule, (*half).generation);
        if now >= deadline || !is_live {
            end(key, half, &other_key, if is_live { cause::TIME } else { cause::RULE });
            return None;
        }
        binding::keep(key, &*half, deadline - now);
        Some(deadline - now)
    }
}
