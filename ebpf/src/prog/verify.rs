//! Checksums of ICMP errors (RFC 5508 REQ-3), and of the IPv4 header of what opens a flow. Everything else keeps the
//! checksum that it came with, right or wrong.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::__sk_buff,
    check_bounds_signed,
    helpers::generated::{bpf_csum_diff, bpf_loop, bpf_skb_load_bytes},
    programs::TcContext,
};
use netctl_ebpf::{addr, csum, headers::Packet, proto};

/// Whether the message's checksum is right, and that of the IPv4 header it quotes. Of a message in parts only the latter
/// can be told.
#[inline(always)]
pub(crate) fn is_right(ctx: &TcContext, packet: &Packet, quote: &Packet) -> bool {
    is_message_right(ctx, packet) && is_header_right(ctx, quote)
}

#[inline(always)]
fn is_message_right(ctx: &TcContext, packet: &Packet) -> bool {
    let (key, transport) = (&packet.key, packet.transport);
    if packet.fragment.is_part || transport.len == 0 {
        return true;
    }
    let pseudo_header = if addr::is_v4(&key.src) {
        0
    } else {
        csum::add(
            csum::difference(&[0xff; 16], &key.src),
            csum::add(
                csum::difference(&[0xff; 16], &key.dst),
                (transport.len.to_be() >> 16) + u32::from(u16::from(proto::ICMPV6).to_be()),
            ),
        )
    };
    csum::is_complete(sum(ctx, transport.off, transport.len, pseudo_header))
}

/// Whether the checksum of an IPv4 header is right; IPv6 has none.
///
/// A function of its own: inlined, it would take room on its callers' stacks.
#[inline(never)]
pub(crate) fn is_header_right(ctx: &TcContext, packet: &Packet) -> bool {
    let len = packet.transport.off - packet.l3_off;
    !addr::is_v4(&packet.key.src) || csum::is_complete(sum(ctx, packet.l3_off, len, 0))
}

/// Whether a length is neither 0 nor more than `most`, in words that every verifier understands: of two comparisons the
/// compiler makes one, of `len - 1`, which says nothing of `len` to kernels before 6.10.
#[inline(always)]
pub(crate) fn is_length(len: u32, most: u32) -> bool {
    check_bounds_signed(i64::from(len), 1, i64::from(most))
}

const CHUNK: u32 = 64;

/// The ones' complement sum of `len` bytes from `off`, added to `sum`.
#[inline(never)]
fn sum(ctx: &TcContext, off: u32, len: u32, sum: u32) -> u32 {
    let mut adding = Adding { skb: ctx.skb.skb, off, len, sum };
    // SAFETY: `add_chunk` has the signature that the helper calls, and `adding` outlives the call.
    unsafe { bpf_loop(len.div_ceil(CHUNK), add_chunk as *mut c_void, (&raw mut adding).cast(), 0) };
    adding.sum
}

/// A sum in the making.
struct Adding {
    skb: *mut __sk_buff,
    off: u32,
    len: u32,
    sum: u32,
}

extern "C" fn add_chunk(number: u64, adding: *mut Adding) -> i64 {
    // SAFETY: `bpf_loop` passes on the pointer that `sum` gave it.
    let adding = unsafe { &mut *adding };
    let done = number as u32 * CHUNK;
    let len = adding.len.wrapping_sub(done).min(CHUNK);
    if !is_length(len, CHUNK) {
        return 1;
    }
    let mut bytes = [0_u8; CHUNK as usize];
    // SAFETY: `len` bytes of `bytes` are written, and all of them are read.
    unsafe {
        bpf_skb_load_bytes(adding.skb.cast(), adding.off + done, bytes.as_mut_ptr().cast(), len);
        let sum = bpf_csum_diff(core::ptr::null_mut(), 0, bytes.as_mut_ptr().cast(), CHUNK, adding.sum);
        adding.sum = sum as u32;
    }
    0
}
