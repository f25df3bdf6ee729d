//! The headers of a packet that a shortcut can carry, read straight from its linear part.

use aya_ebpf::programs::TcContext;
use netctl_ebpf::{
    flow::FlowKey,
    headers::{Bytes as _, ETH_HLEN, Packet},
    lease::{Frame, Mac},
    proto,
    tcp::flag,
};

use crate::prog::parse::{self, Linear};

/// What such a packet says of itself, beside its tuple.
#[derive(Clone, Copy, Default)]
pub(crate) struct Front {
    /// What a lease looks at.
    pub(crate) frame: Frame,
    /// Who sent the frame.
    pub(crate) from: Mac,
    /// Of IPv4; else of IPv6.
    pub(crate) is_v4: bool,
    /// Whether there is more behind it than it says: what makes a frame as long as Ethernet wants it.
    pub(crate) is_padded: bool,
    /// Type of service or traffic class.
    pub(crate) class: u8,
    /// Time to live or hop limit.
    pub(crate) ttl: u32,
    /// The mark that the machine's own rules have put on it.
    pub(crate) mark: u32,
}

impl Front {
    /// Whether a packet that comes in with this leaves with `out` if only routing is between: one hop less to live, in
    /// one piece, and nothing done to it that the shortcut does not do.
    #[inline(always)]
    pub(crate) fn comes_out_as(&self, out: &Self) -> bool {
        self.ttl == out.ttl + 1
            && !out.is_padded
            && self.frame.length == out.frame.length
            && self.class == out.class
            && self.mark == out.mark
    }
}

/// Reads a packet that a shortcut can carry; `None` if none can carry it: SYN, FIN and RST open and close, and what has a
/// tag loses it on the kernel's way.
#[inline(always)]
pub(crate) fn read(ctx: &TcContext) -> Option<(FlowKey, Front)> {
    // SAFETY: the context is valid for the whole run of the program.
    let skb = unsafe { &*ctx.skb.skb };
    if skb.vlan_present != 0 {
        return None;
    }
    let is_v4 = parse::family(ctx)?;
    let packet = Packet::of_plain(&Linear(ctx), is_v4)?;
    let [t0, t1, t2, f0, f1, f2] = Linear(ctx).words(0)?;
    let flags = packet.transport.tcp_flags;
    let goes_on = packet.key.proto != proto::TCP
        || flags & (flag::SYN | flag::FIN | flag::RST | flag::ACK) == flag::ACK;
    if !goes_on || packet.ttl < 2 {
        return None;
    }
    let headers_len = packet.transport.off - ETH_HLEN + packet.transport.header_len;
    let gso = skb.gso_size;
    let front = Front {
        frame: Frame {
            ifindex: skb.ifindex,
            to: [t0, t1, t2],
            length: if gso == 0 { packet.l3_len } else { headers_len + gso },
        },
        from: [f0, f1, f2],
        is_v4,
        is_padded: ETH_HLEN + packet.l3_len < skb.len,
        class: packet.class,
        ttl: packet.ttl.into(),
        mark: skb.mark,
    };
    Some((packet.key, front))
}
