//! Who may look at single packets on the way that a shortcut skips, and where in the kernel's memory that stands.
//!
//! The programs ask by themselves, once a tick: a rule or a shaper that anybody adds is heeded with no netctl running. No
//! helper of the kernel's tells it, so they read its structures, whose layout user space has from the kernel's own types
//! (BTF). Of what cannot be read, somebody may be watching.

use crate::{numbered, pod};

/// In place of an offset: the kernel was built without that field, and so nobody is there.
pub const ABSENT: u32 = u32::MAX;

/// Byte offsets in the kernel's structures; [`ABSENT`] only where the comment says so.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Layout {
    /// 1 if the others are known.
    pub is_known: u32,
    /// `sk_buff.dev`.
    pub skb_dev: u32,
    /// `net_device.nd_net`.
    pub dev_net: u32,
    /// `net_device.ifindex`.
    pub dev_ifindex: u32,
    /// `net_device.index_hlist`.
    pub dev_hash: u32,
    /// What belongs to a device's driver: `net_device.priv`, else the structure's end.
    pub dev_priv: u32,
    /// `net_device.rx_handler`.
    pub dev_rx_handler: u32,
    /// `net_device.rx_handler_data`.
    pub dev_rx_data: u32,
    /// `net_device.qdisc`.
    pub dev_qdisc: u32,
    /// `net_device.ptype_all`.
    pub dev_taps: u32,
    /// `net_device.nf_hooks_ingress` and `nf_hooks_egress`; may be absent.
    pub dev_netfilter: [u32; 2],
    /// `net_device.tcx_ingress` and `tcx_egress`; absent before 6.6.
    pub dev_tcx: [u32; 2],
    /// `net_device.miniq_ingress` and `miniq_egress`; absent since 6.6.
    pub dev_filters: [u32; 2],
    /// `Qdisc.enqueue`.
    pub qdisc_enqueue: u32,
    /// `bpf_mprog_entry.parent`; absent before 6.6.
    pub mprog_parent: u32,
    /// `tcx_entry.bundle`, where that leads; absent before 6.6.
    pub tcx_bundle: u32,
    /// `tcx_entry.miniq`; absent before 6.6.
    pub tcx_filters: u32,
    /// `mini_Qdisc.filter_list`.
    pub filters_first: u32,
    /// `tcf_proto.next`.
    pub filter_next: u32,
    /// `bpf_prog.aux`.
    pub prog_aux: u32,
    /// `bpf_prog_aux.name`.
    pub aux_name: u32,
    /// `net.nf.hooks_ipv4`, `hooks_ipv6`; may be absent.
    pub net_netfilter: [u32; 2],
    /// `net.nf.hooks_bridge`; may be absent.
    pub net_netfilter_bridge: u32,
    /// `nf_hook_entries.hooks`.
    pub entries_hooks: u32,
    /// `net.xfrm.policy_count`; may be absent.
    pub net_policies: u32,
    /// `net.dev_index_head`.
    pub net_devices: u32,
    /// `net.ptype_all`; absent before 6.17, when one list is for all namespaces.
    pub net_taps: u32,
}

const _: () = assert!(size_of::<Layout>() == 31 * 4);

pod!(Layout);

numbered! {
    /// Who may look at single packets on the way that a shortcut skips. Append-only: the number is an index into the
    /// counters of a pinned map.
    Watcher;

    /// The kernel's memory cannot be read, or what is there is not understood.
    Unknown = 1: "unknown", "the kernel does not tell who watches";
    /// Hooks of netfilter's in the `ip`, `ip6` or `inet` families.
    Netfilter = 2: "netfilter", "netfilter has rules for what is sent on";
    /// Hooks of netfilter's in the `bridge` family.
    Bridge = 3: "netfilter-bridge", "netfilter has rules for what is bridged";
    /// Hooks of netfilter's at a device.
    Device = 4: "netfilter-netdev", "netfilter has rules at a device";
    /// A queueing discipline: what shapes, delays or loses.
    Qdisc = 5: "qdisc", "a device has a queueing discipline";
    /// Programs or filters of others.
    Program = 6: "program", "a device has programs or filters of others";
    /// Policies of IPsec.
    Policy = 7: "xfrm", "there are IPsec policies";
    /// Somebody captures packets.
    Tap = 8: "capture", "somebody captures packets";
}

/// One more than the highest number.
pub const SLOTS: usize = 9;

/// What was seen at this tick.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Glance {
    /// The kernel's `jiffies`; 0 of none.
    pub tick: u64,
    /// Which way: [`Glance::way`].
    pub way: u64,
    /// A [`Watcher`]'s number, or 0.
    pub watcher: u64,
}

/// How many a CPU remembers, a power of two: some for each of a hundred ports.
pub const GLANCES: u32 = 1 << GLANCES_BITS;
const GLANCES_BITS: u32 = 10;

const _: () = assert!(size_of::<Glance>() == 24);

pod!(Glance);

impl Glance {
    /// The number of a way: in by this interface, inwards to that port (0 outwards), of IPv4 or IPv6.
    #[inline(always)]
    #[must_use]
    pub const fn way(ifindex: u32, port: u32, is_v4: bool) -> u64 {
        (ifindex as u64) << 33 | (port as u64) << 1 | is_v4 as u64
    }

    /// Which place one has.
    #[inline(always)]
    #[must_use]
    pub const fn place(way: u64) -> u32 {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15; // 2^64 by the golden ratio
        (way.wrapping_mul(ODD) >> (u64::BITS - GLANCES_BITS)) as u32
    }
}

/// The band that routing puts a packet of this type of service into (`rt_tos2priority` in include/net/route.h).
#[inline(always)]
#[must_use]
pub const fn priority(class: u8) -> u32 {
    const BEST_EFFORT: u32 = 0;
    const BULK: u32 = 2;
    const INTERACTIVE_BULK: u32 = 4;
    const INTERACTIVE: u32 = 6;
    match class >> 3 & 3 {
        0 => BEST_EFFORT,
        1 => BULK,
        2 => INTERACTIVE,
        _ => INTERACTIVE_BULK,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_slots() {
        assert!(Watcher::ALL.iter().all(|&watcher| (watcher as usize) < SLOTS));
        assert!(Watcher::ALL.iter().all(|&watcher| Watcher::of(watcher as u32) == Some(watcher)));
        assert_eq!(Watcher::of(0), None);
    }

    #[test]
    fn ways_are_told_apart() {
        let ways = [(3, 0, true), (3, 0, false), (3, 4, true), (4, 0, true), (4, 3, true)];
        let numbers: std::collections::BTreeSet<u64> =
            ways.iter().map(|&(from, to, is_v4)| Glance::way(from, to, is_v4)).collect();
        assert_eq!(numbers.len(), ways.len());
    }

    #[test]
    fn a_hundred_ports_have_places_of_their_own() {
        let ways = (10..110).flat_map(|port| [(port, 0), (3, port)]);
        let places: std::collections::BTreeSet<u32> =
            ways.map(|(from, to)| Glance::place(Glance::way(from, to, true))).collect();
        assert!(places.len() > 160, "{} of 200", places.len());
        assert!(places.iter().all(|&place| place < GLANCES));
    }

    #[test]
    fn bands_are_those_of_routing() {
        // net/ipv4/route.c, ip_tos2prio.
        let table = [0, 0, 0, 0, 2, 2, 2, 2, 6, 6, 6, 6, 4, 4, 4, 4];
        for class in 0..=u8::MAX {
            assert_eq!(priority(class), table[usize::from((class & 0x1e) >> 1)], "{class:#x}");
        }
    }
}
