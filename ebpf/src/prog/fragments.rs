//! Fragments in any order (RFC 4787 REQ-14): what becomes of a datagram's parts is decided with the one that has the
//! ports. TC meets them before the kernel puts them together and after it took datagrams apart.
//!
//! Parts that come before it are held, and put back on their hook when it is there. They count as dropped until then.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{__sk_buff, BPF_ANY, BPF_F_INGRESS, BPF_F_RECOMPUTE_CSUM},
    helpers::generated::{
        bpf_clone_redirect, bpf_get_prandom_u32, bpf_loop, bpf_skb_change_tail, bpf_skb_load_bytes,
        bpf_skb_store_bytes,
    },
    programs::TcContext,
};
use netctl_ebpf::{
    addr,
    flow::hook,
    fragment::{Datagram, DatagramKey, Held, HeldKey, LIFETIME_NS, MAX_FRAME, MAX_HELD, fate},
    headers::Packet,
    reason::DropReason,
};

use super::{
    Verdict, Work, kernel,
    maps::{self, DATAGRAMS, HELD},
    rewrite,
    step::{self, step},
    uplink,
    verify::is_length,
};

/// What becomes of a part without ports; `None` if it has them, or nothing is known of its datagram and nothing needs to be.
#[inline(always)]
pub(crate) fn follow(ctx: &TcContext, hook: u8, is_uplink: bool) -> Option<Verdict> {
    if step::is(|work| work.packet.fragment.is_later()) { follow_later(ctx, hook, is_uplink) } else { None }
}

step! {
    /// [`follow`] of what has no ports.
    follow_later as follow_part(ctx, work, hook: u8, is_uplink: bool) -> Option<Verdict> {
        if hook == hook::INGRESS && !uplink::is_for_us(ctx) {
            return Some(Verdict::NotOurs);
        }
        work.datagram = key(&work.packet, hook);
        if let Some(known) = known(ctx, work) {
            return Some(known);
        }
        if !is_awaited(ctx, work, hook, is_uplink) {
            return None;
        }
        hold(ctx, &work.datagram);
        // Another CPU may have had the one with the ports meanwhile, and this part is then not asked for again.
        known(ctx, work).or(Some(Verdict::Drop(DropReason::Fragment)))
    }
}

/// Whether a part of an unknown datagram waits for the one with the ports. Of what comes in, only what is for the gateway
/// may be an answer, or for a forward. Of what leaves, the gateway's own does not: it sends that one first.
#[inline(always)]
fn is_awaited(ctx: &TcContext, work: &Work, hook: u8, is_uplink: bool) -> bool {
    let key = &work.packet.key;
    if hook == hook::INGRESS {
        kernel::is_own(ctx, &key.dst, work.ifindex)
    } else {
        is_uplink && !kernel::is_own(ctx, &key.src, work.ifindex)
    }
}

/// What is decided for the part's datagram.
#[inline(always)]
fn known(ctx: &TcContext, work: &mut Work) -> Option<Verdict> {
    let datagram = fresh(&work.datagram)?;
    match datagram.fate {
        fate::UNKNOWN => None,
        fate::PASS => Some(Verdict::NotOurs),
        fate::TRANSLATE => Some(translate(ctx, work, datagram).into()),
        _ => Some(Verdict::Drop(DropReason::Fragment)),
    }
}

#[inline(always)]
fn translate(ctx: &TcContext, work: &mut Work, datagram: &Datagram) -> Result<Verdict, DropReason> {
    if !maps::is_live(datagram.rule, datagram.generation) {
        return Err(DropReason::Changing);
    }
    // It would overwrite what the first part has shown (RFC 3128, RFC 5722).
    if u32::from(work.packet.fragment.offset) * 8 < datagram.first_len {
        return Err(DropReason::Malformed);
    }
    work.packet.transport.refusal = None;
    work.to = datagram.to;
    rewrite::identification(ctx, &work.packet, datagram.id)?;
    Ok(Verdict::Translate)
}

/// Notes what became of the part with the ports, if the packet is that, so that the others follow it, and sends those on
/// that are held. The last thing to be done with a packet: at egress the held ones run through this program meanwhile, and
/// use its [`Work`].
#[inline(always)]
pub(crate) fn lead(ctx: &TcContext, hook: u8, done: Verdict) -> Verdict {
    if step::is(|work| work.packet.fragment.is_first()) { lead_others(ctx, hook, done) } else { done }
}

step! {
    /// [`lead`] of what has the ports.
    lead_others as lead_parts(ctx, work, hook: u8, done: Verdict) -> Verdict {
        note(ctx, work, hook, done)
    }
}

#[inline(always)]
fn note(ctx: &TcContext, work: &mut Work, hook: u8, done: Verdict) -> Verdict {
    work.datagram = key(&work.packet, hook);
    let (held, id_before) = match fresh(&work.datagram) {
        Some(known) if known.fate == fate::TRANSLATE => (0, Some(known.id)),
        Some(known) => (known.held, None),
        None => (0, None),
    };
    work.part_of = Datagram {
        to: if done == Verdict::TranslateError { work.other } else { work.to },
        fate: match done {
            Verdict::Translate | Verdict::TranslateError => fate::TRANSLATE,
            Verdict::NotOurs => fate::PASS,
            Verdict::Drop(_) => fate::DROP,
        },
        id: work.packet.fragment.id,
        rule: work.plan.rule,
        generation: work.plan.generation,
        first_len: work.packet.transport.len,
        since_ns: kernel::now_ns(),
        ..Datagram::default()
    };
    // Two inside hosts may use one identification for one peer, who would mix their parts (RFC 6864 section 5.3.1).
    if work.part_of.fate == fate::TRANSLATE && hook == hook::EGRESS && addr::is_v4(&work.packet.key.src) {
        // One that is used again so soon may already be on parts that came first.
        // SAFETY: a helper without arguments.
        work.part_of.id = id_before.unwrap_or_else(|| unsafe { bpf_get_prandom_u32() } & 0xffff);
        if let Err(reason) = rewrite::identification(ctx, &work.packet, work.part_of.id) {
            return Verdict::Drop(reason);
        }
    }
    if DATAGRAMS.insert(&work.datagram, &work.part_of, u64::from(BPF_ANY)).is_err() {
        return Verdict::Drop(DropReason::Fragment);
    }
    if held == 0 || work.part_of.fate == fate::DROP {
        return done;
    }
    match release(ctx, &work.datagram, held, work.ifindex, hook) {
        0 => done,
        _ => Verdict::Drop(DropReason::Rewrite),
    }
}

#[inline(always)]
fn key(packet: &Packet, hook: u8) -> DatagramKey {
    let Packet { key, fragment, .. } = packet;
    // Of IPv6 that does not count (RFC 8200 section 4.5): the parts may be of something that an extension header begins.
    let proto = if addr::is_v4(&key.src) { key.proto } else { 0 };
    DatagramKey { src: key.src, dst: key.dst, id: fragment.id, proto, hook, _pad: [0; 2] }
}

/// What is known of a datagram, unless that is too old to be about the same one.
#[inline(always)]
fn fresh(key: &DatagramKey) -> Option<&'static Datagram> {
    let datagram = DATAGRAMS.get_ptr(key)?;
    // SAFETY: the verifier has checked the pointer, and an entry that is thrown out meanwhile is still memory of the map.
    let datagram = unsafe { &*datagram };
    (kernel::now_ns() - datagram.since_ns < LIFETIME_NS).then_some(datagram)
}

/// Keeps a copy of the part until its datagram is known, if there is room.
#[inline(never)]
fn hold(ctx: &TcContext, key: &DatagramKey) {
    if fresh(key).is_none() {
        let datagram = Datagram { fate: fate::UNKNOWN, since_ns: kernel::now_ns(), ..Datagram::default() };
        let _ = DATAGRAMS.insert(key, &datagram, u64::from(BPF_ANY));
    }
    let Some(datagram) = DATAGRAMS.get_ptr_mut(key) else { return };
    // SAFETY: as in `fresh`. Parts of one datagram come by one CPU, as nothing but the addresses could spread them.
    let number = unsafe { (*datagram).held };
    let Some(frame) = maps::frame(maps::Frame::Held) else { return };
    if number >= MAX_HELD || copy(ctx.skb.skb, frame) != 0 {
        return;
    }
    // SAFETY: as above.
    unsafe { (*datagram).held = number + 1 };
    let key = HeldKey { datagram: *key, number, _pad: 0 };
    let _ = HELD.insert(&key, &*frame, u64::from(BPF_ANY));
}

/// Copies the packet, as the kernel answers: 0, or a negative error.
#[inline(always)]
fn copy(skb: *mut __sk_buff, frame: &mut Held) -> i64 {
    // SAFETY: the context is valid for the whole run of the program.
    let len = unsafe { (*skb).len };
    if !is_length(len, MAX_FRAME as u32) {
        return -1;
    }
    frame.len = len;
    // SAFETY: `len` bytes of the frame's room are written.
    unsafe { bpf_skb_load_bytes(skb.cast(), 0, frame.frame.as_mut_ptr().cast(), len) }
}

/// Makes the packet a copy of `frame`; answers as `copy`.
#[inline(always)]
fn paste(skb: *mut __sk_buff, frame: &Held) -> i64 {
    let len = frame.len;
    if !is_length(len, MAX_FRAME as u32) {
        return -1;
    }
    let flags = u64::from(BPF_F_RECOMPUTE_CSUM);
    // SAFETY: `len` bytes of the frame's room are read.
    unsafe {
        bpf_skb_change_tail(skb, len, 0)
            | bpf_skb_store_bytes(skb, 0, frame.frame.as_ptr().cast(), len, flags)
    }
}

/// Where held parts go.
struct Release {
    skb: *mut __sk_buff,
    key: HeldKey,
    ifindex: u32,
    flags: u64,
}

/// Puts the held parts back on their hook: the packet takes the form of each, is cloned, and becomes itself again.
/// Answers as `copy`.
#[inline(always)]
fn release(ctx: &TcContext, key: &DatagramKey, held: u32, ifindex: u32, hook: u8) -> i64 {
    let skb = ctx.skb.skb;
    let Some(own) = maps::frame(maps::Frame::Own) else { return -1 };
    if copy(skb, own) != 0 {
        return 0; // It is too long to be put aside, and the others are lost.
    }
    let flags = if hook == hook::INGRESS { u64::from(BPF_F_INGRESS) } else { 0 };
    let mut release = Release { skb, key: HeldKey { datagram: *key, ..HeldKey::default() }, ifindex, flags };
    // SAFETY: `release_one` has the signature that the helper calls, and `release` outlives the call.
    unsafe { bpf_loop(held.min(MAX_HELD), release_one as *mut c_void, (&raw mut release).cast(), 0) };
    paste(skb, own)
}

extern "C" fn release_one(number: u64, release: *mut Release) -> i64 {
    // SAFETY: `bpf_loop` passes on the pointer that `release` gave it.
    let release = unsafe { &mut *release };
    release.key.number = number as u32;
    let Some(held) = HELD.get_ptr(&release.key) else { return 0 };
    // SAFETY: as in `fresh`.
    if paste(release.skb, unsafe { &*held }) == 0 {
        maps::uncount_drop(DropReason::Fragment);
        // SAFETY: the program's own packet.
        unsafe { bpf_clone_redirect(release.skb, release.ifindex, release.flags) };
    }
    let _ = HELD.remove(&release.key);
    0
}
