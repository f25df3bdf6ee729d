//! Shortcuts: what belongs to an answered flow goes straight from the interface it comes in by to the one it leaves by,
//! past bridge, routing and firewall, as long as a lease lasts ([`netctl_ebpf::lease`]). The kernel's way is the truth: a
//! packet without a lease takes it, and gets one for those behind it if it comes out as it would have by the shortcut.
//!
//! What always takes the kernel's way: everything but plain TCP and UDP, parts of datagrams, IP options and extension
//! headers, the last hop of a packet, SYN, FIN and RST, what contradicts itself, and what is longer than what has passed.

pub(crate) mod front;

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC},
    helpers::generated::{bpf_redirect, bpf_redirect_peer, bpf_skb_change_tail},
    programs::TcContext,
};
use netctl_ebpf::{
    config::SECOND_NS,
    count::Path,
    flow::{FlowKey, Half, hook, kind},
    headers::ETH_HLEN,
    lease::{LEASE_NS, Lease},
    watch::priority,
};

use self::front::Front;
use super::{
    flows, kernel,
    maps::{self, FLOWS},
    rewrite::straight,
    watch,
};

/// A packet on the kernel's way, from the hook where it came in to the one where it leaves. Both run on one CPU and soon
/// one after the other, but many packets may come in before the first of them leaves.
pub(crate) struct Passage {
    /// The key of its flow's half.
    key: FlowKey,
    /// How it came in.
    came: Front,
    /// When: `CLOCK_MONOTONIC`, nanoseconds. 0 if there is no such packet.
    since_ns: u64,
}

/// How long a packet may be under way: much longer than it ever is.
const PATIENCE_NS: u64 = SECOND_NS / 20;

/// Sends a packet of a half that `hook` translates the short way, if it has a lease: the action of the program is then
/// another one than `TC_ACT_UNSPEC`. If it has none, it is looked for where it leaves.
#[inline(always)]
pub(crate) fn take(ctx: &TcContext, hook: u8) -> i32 {
    let Some((key, front)) = front::read(ctx) else { return TC_ACT_UNSPEC };
    let Some(half_ptr) = FLOWS.get_ptr_mut(&key) else { return TC_ACT_UNSPEC };
    // SAFETY: the verifier has checked the pointer, and RCU keeps the entry until this program ends.
    let half = unsafe { &*half_ptr };
    if half.hook != hook || !maps::is_live(half.rule, half.generation) {
        return TC_ACT_UNSPEC;
    }
    let now_ns = kernel::now_ns();
    if !half.lease.admits(&front.frame, now_ns) {
        if may_be_short(half)
            && half.lease.is_worth_another(half.last_seen_ns, now_ns)
            && let Some(passage) = maps::passage(&half.to)
        {
            *passage = Passage { key, came: front, since_ns: now_ns };
        }
        return TC_ACT_UNSPEC;
    }
    let port = if hook == hook::INGRESS { half.lease.to } else { 0 };
    if watch::is_watched(ctx, front.frame.ifindex, port, front.is_v4) {
        return TC_ACT_UNSPEC;
    }
    // As the IP layer does.
    if front.is_padded && !trim(ctx, ETH_HLEN + front.frame.length) {
        return TC_ACT_UNSPEC;
    }
    flows::count(half_ptr, ctx.len(), now_ns);
    if half.lease.is_used == 0 {
        // SAFETY: a live entry, which the verifier has checked.
        unsafe { (*half_ptr).lease.is_used = 1 };
    }
    if !straight::packet(ctx, front.is_v4, key.proto, half) {
        return TC_ACT_SHOT;
    }
    if front.is_v4 {
        // SAFETY: the context is valid for the whole run of the program.
        unsafe { (*ctx.skb.skb).priority = priority(front.class) };
    }
    maps::count_path(Path::Short);
    send(ctx, hook, half.lease.to)
}

/// Cuts off what is behind so many bytes; false if the kernel refuses.
#[inline(always)]
fn trim(ctx: &TcContext, length: u32) -> bool {
    // SAFETY: the context is valid for the whole run of the program.
    unsafe { bpf_skb_change_tail(ctx.skb.skb, length, 0) == 0 }
}

/// The same of what comes in by an uplink: a function of its own, since its program has more on its stack.
#[inline(never)]
pub(crate) fn take_inwards(ctx: &TcContext) -> i32 {
    take(ctx, hook::INGRESS)
}

/// Only a translation that one hook does alone: others pass two of netctl's, or none.
#[inline(always)]
fn may_be_short(half: &Half) -> bool {
    matches!(half.kind, kind::MASQUERADE | kind::FORWARD | kind::INBOUND)
}

#[inline(always)]
fn send(ctx: &TcContext, hook: u8, to: u32) -> i32 {
    if hook == hook::INGRESS {
        // SAFETY: a helper that takes plain numbers; a lease of this hook is only given where a veth's end is.
        return unsafe { bpf_redirect_peer(to, 0) } as i32;
    }
    let Some(config) = maps::config() else { return TC_ACT_SHOT };
    let [low, high] = halves(config.token);
    // SAFETY: the context is valid for the whole run of the program; the helper takes plain numbers.
    unsafe {
        (*ctx.skb.skb).cb[0] = low;
        (*ctx.skb.skb).cb[1] = high;
        bpf_redirect(to, 0) as i32
    }
}

/// Whether the packet has come to the uplink by the shortcut, translated. It says so by a number that nobody else knows,
/// in the part of the packet's control block that nothing between the two hooks uses.
#[inline(always)]
pub(crate) fn was_taken(ctx: &TcContext) -> bool {
    let Some(config) = maps::config() else { return false };
    let [low, high] = halves(config.token);
    // SAFETY: the context is valid for the whole run of the program.
    unsafe {
        let cb = &mut (*ctx.skb.skb).cb;
        let was_taken = cb[0] == low && cb[1] == high;
        if was_taken {
            cb[0] = 0;
        }
        was_taken
    }
}

/// Gives a lease to a flow whose packet has come here by the kernel's way, if the shortcut would have made the same of it.
#[inline(never)]
pub(crate) fn grant(ctx: &TcContext) {
    let Some((mut tuple, left)) = front::read(ctx) else { return };
    let Some(passage) = maps::passage(&tuple) else { return };
    let now_ns = kernel::now_ns();
    if now_ns.wrapping_sub(passage.since_ns) > PATIENCE_NS || !passage.came.comes_out_as(&left) {
        return;
    }
    let Some(half) = FLOWS.get_ptr_mut(&passage.key) else { return };
    // SAFETY: as in `take`.
    let half = unsafe { &mut *half };
    if !half.to.is(&tuple) {
        return;
    }
    passage.since_ns = 0;
    tuple = tuple.reversed();
    // Who had a lease was answered: that spares the other half, far away in memory, to all but the first.
    let is_answered = half.lease.until_ns != 0
        // SAFETY: as in `take`.
        || FLOWS.get_ptr(&tuple).is_some_and(|other| unsafe { (*other).packets } != 0);
    if is_answered {
        sum_up(half, &passage.key);
        renew(&mut half.lease, &passage.came, &left, now_ns);
    }
}

/// From now on, packets that come in like the one go out like the other.
#[inline(always)]
fn renew(lease: &mut Lease, came: &Front, left: &Front, now_ns: u64) {
    lease.longest = lease.longest_with(came.frame.length, now_ns);
    lease.from = came.frame.ifindex;
    lease.to = left.frame.ifindex;
    lease.arrives = came.frame.to;
    lease.leaves = [left.frame.to, left.from];
    lease.until_ns = now_ns + LEASE_NS;
    lease.is_used = 0;
}

/// A function of its own, as its many loads would be kept on the caller's stack.
#[inline(never)]
fn sum_up(half: &mut Half, key: &FlowKey) {
    half.lease.sum_up(key, &half.to);
}

#[inline(always)]
const fn halves(token: u64) -> [u32; 2] {
    [token as u32, (token >> 32) as u32]
}
