//! Questions to the kernel: routing, sockets and the time. Nothing here changes anything.

use aya_ebpf::{
    EbpfContext as _,
    bindings::{
        BPF_F_CURRENT_NETNS, BPF_FIB_LKUP_RET_FWD_DISABLED, BPF_FIB_LKUP_RET_NO_NEIGH,
        BPF_FIB_LKUP_RET_NOT_FWDED, BPF_FIB_LKUP_RET_SUCCESS, BPF_FIB_LOOKUP_OUTPUT, BPF_FIB_LOOKUP_SRC,
        bpf_fib_lookup as FibLookup, bpf_sock_tuple,
    },
    helpers::generated::{
        bpf_fib_lookup, bpf_jiffies64, bpf_ktime_get_coarse_ns, bpf_sk_lookup_tcp, bpf_sk_lookup_udp,
        bpf_sk_release,
    },
    programs::TcContext,
};
use netctl_ebpf::{
    addr::{self, Addr},
    flow::FlowKey,
    proto,
};

use super::maps::{self, LOCALS};

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Looks `dst` up in the kernel's routing tables; the result code, and the parameters as the kernel filled them in.
#[inline(always)]
fn fib(ctx: &TcContext, dst: &Addr, ifindex: u32, flags: u32) -> (i64, FibLookup) {
    // SAFETY: a plain C struct of integers, for which all zeroes is a value.
    let mut params: FibLookup = unsafe { core::mem::zeroed() };
    params.ifindex = ifindex;
    if addr::is_v4(dst) {
        params.family = AF_INET;
        params.__bindgen_anon_4.ipv4_dst = u32::from_ne_bytes(addr::to_v4(dst));
    } else {
        params.family = AF_INET6;
        params.__bindgen_anon_4.ipv6_dst = words(dst);
    }
    // SAFETY: `params` lives on this stack and is passed with its size.
    let code = unsafe { bpf_fib_lookup(ctx.as_ptr(), &raw mut params, size_of::<FibLookup>() as i32, flags) };
    (code, params)
}

/// Writes to `source` the address that `ip route get DST oif IFINDEX` names; false where the kernel has none or is too old
/// to be asked (`BPF_FIB_LOOKUP_SRC` came with 6.7).
///
/// A function of its own, as the look-up's parameters would be kept on the caller's stack.
#[inline(never)]
pub(crate) fn source_address(ctx: &TcContext, dst: &Addr, ifindex: u32, source: &mut Addr) -> bool {
    let (code, params) = fib(ctx, dst, ifindex, BPF_FIB_LOOKUP_OUTPUT | BPF_FIB_LOOKUP_SRC);
    // The source is filled in before the neighbour is looked for (bpf_ipv4_fib_lookup in net/core/filter.c).
    if code != i64::from(BPF_FIB_LKUP_RET_SUCCESS) && code != i64::from(BPF_FIB_LKUP_RET_NO_NEIGH) {
        return false;
    }
    // SAFETY: integers and arrays of them; the kernel wrote the one that belongs to the family.
    *source = unsafe {
        if addr::is_v4(dst) {
            addr::from_v4(params.__bindgen_anon_3.ipv4_src.to_ne_bytes())
        } else {
            bytes(params.__bindgen_anon_3.ipv6_src)
        }
    };
    !addr::eq(source, &addr::any_of(dst))
}

/// Whether `addr` is an address of the gateway, asked at `ifindex`.
///
/// The kernel's answer for a local address is the same as for one without any route. A gateway with a default route
/// has none of the latter; on one without, only the addresses that user space has seen count.
/// A function of its own, as the look-ups' parameters would be kept on the caller's stack.
#[inline(never)]
pub(crate) fn is_own(ctx: &TcContext, addr: &Addr, ifindex: u32) -> bool {
    not_forwarded(ctx, addr, ifindex)
        && (is_known_local(addr) || !not_forwarded(ctx, &addr::any_of(addr), ifindex))
}

/// Whether user space saw `addr` among the gateway's own addresses.
#[inline(always)]
pub(crate) fn is_known_local(addr: &Addr) -> bool {
    LOCALS.get_ptr(addr).is_some()
}

/// Whether the packet came in by an interface: it is not the gateway's own.
#[inline(always)]
pub(crate) fn came_in(ctx: &TcContext) -> bool {
    // SAFETY: the context is valid for the whole run of the program.
    unsafe { (*ctx.skb.skb).ingress_ifindex != 0 }
}

/// Whether the packet came in, and bears an address of the gateway as its source all the same. Of IPv4 Linux forwards no
/// such packets (`fib_validate_source` in net/ipv4/fib_frontend.c), of IPv6 it does.
#[inline(always)]
pub(crate) fn is_forged(ctx: &TcContext, src: &Addr) -> bool {
    came_in(ctx) && is_known_local(src)
}

/// Whether the kernel would send nothing on that is for `dst`: its own address, or nobody's.
#[inline(never)]
pub(crate) fn not_forwarded(ctx: &TcContext, dst: &Addr, ifindex: u32) -> bool {
    let (code, _) = fib(ctx, dst, ifindex, 0);
    code == i64::from(BPF_FIB_LKUP_RET_NOT_FWDED) || code == i64::from(BPF_FIB_LKUP_RET_FWD_DISABLED)
}

/// The time: `CLOCK_MONOTONIC`, nanoseconds, to the accuracy of a tick.
#[inline(always)]
pub(crate) fn now_ns() -> u64 {
    // SAFETY: helpers without arguments.
    maps::clock().map_or(0, |clock| unsafe { clock.read(bpf_jiffies64(), || bpf_ktime_get_coarse_ns()) })
}

/// Whether a socket of the gateway would take a packet with this tuple: one that is connected so, or a listener.
#[inline(always)]
pub(crate) fn has_socket(ctx: &TcContext, key: &FlowKey) -> bool {
    // SAFETY: a union of plain C structs of integers.
    let mut tuple: bpf_sock_tuple = unsafe { core::mem::zeroed() };
    let size = if addr::is_v4(&key.src) {
        let v4 = &raw mut tuple.__bindgen_anon_1.ipv4;
        // SAFETY: `v4` points into `tuple`, which is on this stack.
        unsafe {
            (*v4).saddr = u32::from_ne_bytes(addr::to_v4(&key.src));
            (*v4).daddr = u32::from_ne_bytes(addr::to_v4(&key.dst));
            (*v4).sport = u16::from_ne_bytes(key.src_port);
            (*v4).dport = u16::from_ne_bytes(key.dst_port);
        }
        12
    } else {
        let v6 = &raw mut tuple.__bindgen_anon_1.ipv6;
        // SAFETY: as above.
        unsafe {
            (*v6).saddr = words(&key.src);
            (*v6).daddr = words(&key.dst);
            (*v6).sport = u16::from_ne_bytes(key.src_port);
            (*v6).dport = u16::from_ne_bytes(key.dst_port);
        }
        36
    };
    let netns = BPF_F_CURRENT_NETNS as i64 as u64;
    // SAFETY: `tuple` lives on this stack, and what a look-up returns is released.
    unsafe {
        let sock = match key.proto {
            proto::TCP => bpf_sk_lookup_tcp(ctx.as_ptr(), &raw mut tuple, size, netns, 0),
            proto::UDP => bpf_sk_lookup_udp(ctx.as_ptr(), &raw mut tuple, size, netns, 0),
            _ => return false,
        };
        if sock.is_null() {
            return false;
        }
        bpf_sk_release(sock.cast());
    }
    true
}

#[inline(always)]
fn words(addr: &Addr) -> [u32; 4] {
    let word = |i: usize| u32::from_ne_bytes([addr[i], addr[i + 1], addr[i + 2], addr[i + 3]]);
    [word(0), word(4), word(8), word(12)]
}

#[inline(always)]
fn bytes(words: [u32; 4]) -> Addr {
    let [a, b, c, d] = words.map(u32::to_ne_bytes);
    [a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3], c[0], c[1], c[2], c[3], d[0], d[1], d[2], d[3]]
}
