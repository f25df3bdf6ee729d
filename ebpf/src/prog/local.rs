//! Local access: sockets of the gateway that connect to a forwarded port are led inside (see
//! [`netctl_ebpf::local`]). The hooks sit on the root cgroup and look at sockets of the gateway's namespace only.

use aya_ebpf::{
    EbpfContext as _,
    bindings::{BPF_ANY, bpf_sock_addr},
    helpers::generated::{bpf_get_netns_cookie, bpf_get_socket_cookie},
    programs::SockAddrContext,
};
use netctl_ebpf::{
    addr::{self, Addr},
    local::{Peer, PeerKey},
};

use super::{
    forward, kernel,
    maps::{self, PEERS},
};

/// `connect` and `sendmsg` of an IPv4 socket.
#[inline(always)]
pub(crate) fn translate_v4(ctx: &SockAddrContext) {
    if let Some(to) = translation(ctx, Name::read_v4(ctx)) {
        to.write_v4(ctx);
    }
}

/// `connect` and `sendmsg` of an IPv6 socket, which may speak IPv4 with a mapped address.
#[inline(always)]
pub(crate) fn translate_v6(ctx: &SockAddrContext) {
    if let Some(to) = translation(ctx, Name::read_v6(ctx)) {
        to.write_v6(ctx);
    }
}

/// `recvmsg` and `getpeername` of an IPv4 socket.
#[inline(always)]
pub(crate) fn restore_v4(ctx: &SockAddrContext) {
    if let Some(original) = original(ctx, Name::read_v4(ctx)) {
        original.write_v4(ctx);
    }
}

/// `recvmsg` and `getpeername` of an IPv6 socket.
#[inline(always)]
pub(crate) fn restore_v6(ctx: &SockAddrContext) {
    if let Some(original) = original(ctx, Name::read_v6(ctx)) {
        original.write_v6(ctx);
    }
}

/// Where the socket shall really go, and its wish remembered.
#[inline(always)]
fn translation(ctx: &SockAddrContext, wish: Name) -> Option<Name> {
    if !is_ours(ctx) {
        return None;
    }
    // SAFETY: the context is valid for the whole run of the program.
    let proto = unsafe { (*ctx.sock_addr).protocol } as u8;
    let rule = if addr::is_loopback(&wish.addr) {
        forward::listening(&addr::loopback_of(&wish.addr), proto, wish.port)?
    } else if kernel::is_known_local(&wish.addr) {
        forward::rule(&wish.addr, proto, wish.port)?
    } else {
        return None;
    };
    let to = Name { addr: rule.to, port: rule.map(wish.port) };
    let peer = Peer { addr: wish.addr, port: wish.port, _pad: [0; 2] };
    PEERS.insert(peer_key(ctx, &to), peer, u64::from(BPF_ANY)).ok()?;
    Some(to)
}

/// What the process calls the peer that it hears as `name`.
#[inline(always)]
fn original(ctx: &SockAddrContext, name: Name) -> Option<Name> {
    if !is_ours(ctx) {
        return None;
    }
    let peer = PEERS.get_ptr(peer_key(ctx, &name))?;
    // SAFETY: the verifier has checked the pointer; entries are written whole and never changed.
    unsafe { Some(Name { addr: (*peer).addr, port: (*peer).port }) }
}

#[inline(always)]
fn is_ours(ctx: &SockAddrContext) -> bool {
    // SAFETY: a helper that takes the program's own context.
    unsafe { bpf_get_netns_cookie(ctx.as_ptr()) == maps::netns_cookie() }
}

#[inline(always)]
fn peer_key(ctx: &SockAddrContext, name: &Name) -> PeerKey {
    // SAFETY: as above.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    PeerKey { cookie, addr: name.addr, port: name.port, _pad: [0; 6] }
}

/// A socket address.
#[derive(Clone, Copy)]
struct Name {
    addr: Addr,
    port: [u8; 2],
}

// The context must be read and written in the kernel's own field sizes, whence the volatile accesses
// (`sock_addr_is_valid_access` in net/core/filter.c).
impl Name {
    #[inline(always)]
    fn read_v4(ctx: &SockAddrContext) -> Self {
        let sock = ctx.sock_addr;
        // SAFETY: fields of the program's own context.
        let ip = unsafe { (&raw const (*sock).user_ip4).read_volatile() };
        Self { addr: addr::from_v4(ip.to_ne_bytes()), port: read_port(sock) }
    }

    #[inline(always)]
    fn read_v6(ctx: &SockAddrContext) -> Self {
        let sock = ctx.sock_addr;
        let mut addr = [0; 16];
        for i in 0..4 {
            // SAFETY: as above.
            let word = unsafe { (&raw const (*sock).user_ip6[i]).read_volatile() };
            addr[i * 4..i * 4 + 4].copy_from_slice(&word.to_ne_bytes());
        }
        Self { addr, port: read_port(sock) }
    }

    #[inline(always)]
    fn write_v4(&self, ctx: &SockAddrContext) {
        let sock = ctx.sock_addr;
        // SAFETY: fields of the program's own context.
        unsafe { (&raw mut (*sock).user_ip4).write_volatile(u32::from_ne_bytes(addr::to_v4(&self.addr))) };
        self.write_port(sock);
    }

    #[inline(always)]
    fn write_v6(&self, ctx: &SockAddrContext) {
        let sock = ctx.sock_addr;
        for i in 0..4 {
            let a = &self.addr;
            let word = u32::from_ne_bytes([a[i * 4], a[i * 4 + 1], a[i * 4 + 2], a[i * 4 + 3]]);
            // SAFETY: as above.
            unsafe { (&raw mut (*sock).user_ip6[i]).write_volatile(word) };
        }
        self.write_port(sock);
    }

    #[inline(always)]
    fn write_port(&self, sock: *mut bpf_sock_addr) {
        // SAFETY: as above.
        unsafe { (&raw mut (*sock).user_port).write_volatile(u32::from(u16::from_ne_bytes(self.port))) };
    }
}

#[inline(always)]
fn read_port(sock: *mut bpf_sock_addr) -> [u8; 2] {
    // SAFETY: as above; network byte order, in the low half.
    let port = unsafe { (&raw const (*sock).user_port).read_volatile() };
    (port as u16).to_ne_bytes()
}
