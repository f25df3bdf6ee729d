//! The programs: a generator, a sink that counts, and a redirect that does nothing else.
#![no_std]
#![no_main]
#![expect(clippy::needless_pass_by_value, reason = "the entry points' macros pass the context by value")]
#![expect(missing_docs, unreachable_pub, reason = "the entry points' macros drop docs and ask for `pub`")]

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC, xdp_action},
    btf_maps::{Array, PerCpuArray},
    helpers::generated::{bpf_redirect, bpf_redirect_peer},
    macros::{btf_map, classifier, xdp},
    programs::{TcContext, XdpContext},
};
use netctl_benches_ebpf::{HEADER, Stream, Target, UDP_V4, UDP_V6, ports};
use netctl_ebpf::{csum, proto};

/// The one [`Stream`].
#[btf_map]
static STREAM: Array<Stream, 1> = Array::new();

/// Frames that have reached the sink.
#[btf_map]
static ARRIVED: PerCpuArray<u64, 1> = PerCpuArray::new();

/// The [`Target`] of the redirect, set when the object is loaded.
#[unsafe(no_mangle)]
static TARGET: Target = Target { macs: [0; 12], ifindex: 0, to_peer: 0 };

/// Writes the next frame. All of its headers, since the kernel recycles pages and a NAT has been at them.
#[xdp]
pub fn generate(ctx: XdpContext) -> u32 {
    let Some(stream) = STREAM.get_ptr_mut(0) else { return xdp_action::XDP_ABORTED };
    // SAFETY: the verifier has checked the pointer; one generator runs at a time.
    let stream = unsafe { &mut *stream };
    let flow = stream.first + stream.turn.checked_rem(stream.flows).unwrap_or(0);
    stream.turn = stream.turn.wrapping_add(1);

    let start = ctx.data();
    if start + HEADER > ctx.data_end() {
        return xdp_action::XDP_ABORTED;
    }
    // SAFETY: within the bounds just checked.
    unsafe { (start as *mut [u8; HEADER]).write_unaligned(stream.header) };
    let flow = ports(flow);
    match stream.udp {
        UDP_V4 => write_ports::<{ UDP_V4 as usize }>(start, stream, flow),
        _ => write_ports::<{ UDP_V6 as usize }>(start, stream, flow),
    }
    xdp_action::XDP_PASS
}

/// Makes flow 0's UDP header, which the frame at `start` has at offset `AT`, into that of a flow with these ports.
#[inline(always)]
fn write_ports<const AT: usize>(start: usize, stream: &Stream, (own, server): (u16, u16)) {
    let words = if stream.inwards == 0 { [own, server] } else { [server, own] };
    let [[a, b], [c, d]] = words.map(u16::to_be_bytes);
    let (old, new) = (field::<AT>(&stream.header), [a, b, c, d]);
    let sum = [stream.header[AT + 6], stream.header[AT + 7]];
    // SAFETY: the caller has checked that the frame has `HEADER` bytes.
    unsafe {
        ((start + AT) as *mut [u8; 4]).write_unaligned(new);
        ((start + AT + 6) as *mut [u8; 2]).write_unaligned(csum::update(sum, csum::difference(&old, &new)));
    }
}

#[inline(always)]
fn field<const AT: usize>(header: &[u8; HEADER]) -> [u8; 4] {
    [header[AT], header[AT + 1], header[AT + 2], header[AT + 3]]
}

/// Counts what the generator has made, and drops it.
#[classifier]
pub fn sink(ctx: TcContext) -> i32 {
    let start = ctx.data();
    if start + HEADER > ctx.data_end() {
        return TC_ACT_UNSPEC;
    }
    // SAFETY: within the bounds just checked.
    let frame = unsafe { &*(start as *const [u8; HEADER]) };
    let proto = match [frame[12], frame[13]] {
        [0x08, 0x00] => frame[23],
        [0x86, 0xdd] => frame[20],
        _ => return TC_ACT_UNSPEC,
    };
    if proto != proto::UDP {
        return TC_ACT_UNSPEC;
    }
    if let Some(arrived) = ARRIVED.get_ptr_mut(0) {
        // SAFETY: the verifier has checked the pointer; nothing else runs on this CPU meanwhile.
        unsafe { *arrived += 1 };
    }
    TC_ACT_SHOT
}

/// Sends everything to where it would go.
#[classifier]
pub fn redirect(ctx: TcContext) -> i32 {
    // SAFETY: a plain static; volatile because the loader writes it after compilation.
    let target = unsafe { core::ptr::read_volatile(&raw const TARGET) };
    let start = ctx.data();
    if start + HEADER > ctx.data_end() {
        return TC_ACT_UNSPEC;
    }
    // SAFETY: within the bounds just checked.
    unsafe { (start as *mut [u8; 12]).write_unaligned(target.macs) };
    // SAFETY: helpers without pointers.
    let action = unsafe {
        match target.to_peer {
            0 => bpf_redirect(target.ifindex, 0),
            _ => bpf_redirect_peer(target.ifindex, 0),
        }
    };
    action as i32
}

/// The helpers are for GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
