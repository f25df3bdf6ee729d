//! Whether anybody could tell that a packet went straight: what is on the way that it would skip, read from the kernel's
//! own memory once a tick ([`netctl_ebpf::watch`]).

use core::ffi::c_void;

use aya_ebpf::{
    helpers::generated::{bpf_jiffies64, bpf_probe_read_kernel},
    programs::TcContext,
};
use netctl_ebpf::watch::{ABSENT, Glance, Layout, Watcher};

use super::maps;

/// The layout of the running kernel's structures, set when the object is loaded.
#[unsafe(no_mangle)]
// SAFETY: integers alone, of which zero is one.
static LAYOUT: Layout = unsafe { core::mem::zeroed() };

macro_rules! layout {
    ($field:ident $([$index:expr])?) => {
        // SAFETY: a plain static; volatile because the loader writes it after compilation.
        unsafe { core::ptr::read_volatile(&raw const LAYOUT.$field $([$index])?) }
    };
}

/// An object of the kernel's.
type Address = u64;

/// Which hooks of a device.
#[derive(Clone, Copy)]
enum Hook {
    Ingress = 0,
    Egress = 1,
}

/// Whether what comes in by the packet's interface may go straight: to `port` inwards, or outwards where that is 0.
#[inline(always)]
pub(crate) fn is_watched(ctx: &TcContext, ifindex: u32, port: u32, is_v4: bool) -> bool {
    if maps::config().is_some_and(|config| config.is_leased != 0) {
        return false;
    }
    let way = Glance::way(ifindex, port, is_v4);
    let Some(glance) = maps::glance(way) else { return true };
    // SAFETY: a helper without arguments.
    let tick = unsafe { bpf_jiffies64() };
    if glance.tick != tick || glance.way != way {
        *glance = Glance { tick, way, watcher: look(ctx, port, is_v4).into() };
    }
    if glance.watcher != 0 {
        maps::count_watched(glance.watcher as u32);
    }
    glance.watcher != 0
}

/// Who watches the way from the packet's interface; 0 if nobody does.
#[inline(never)]
pub(crate) fn look(ctx: &TcContext, port: u32, is_v4: bool) -> u32 {
    if layout!(is_known) == 0 {
        return Watcher::Unknown as u32;
    }
    // To the kernel the context is the packet itself, `struct sk_buff`.
    match look_from(ctx.skb.skb as Address, port, is_v4) {
        Ok(()) => 0,
        Err(watcher) => watcher as u32,
    }
}

#[inline(always)]
fn look_from(skb: Address, port: u32, is_v4: bool) -> Result<(), Watcher> {
    let here = read::<Address>(skb, layout!(skb_dev))?;
    let net = read::<Address>(here, layout!(dev_net))?;
    netfilter(net, is_v4)?;
    policies(net)?;
    let taps = layout!(net_taps);
    if taps != ABSENT {
        list(net, taps)?;
    }
    // What comes behind netctl's program at the hook where the packet is.
    rules_of_device(here, Hook::Ingress)?;
    programs(here, Hook::Ingress)?;
    let (port, hook) = if port == 0 { (here, Hook::Ingress) } else { (find(net, port)?, Hook::Egress) };
    if port != here {
        device(port, hook)?;
    }
    let Some(bridge) = bridge_of(port, net)? else { return Ok(()) };
    device(bridge, hook)?;
    netfilter_of_bridges(net)
}

/// Reads `offset` bytes into an object.
#[inline(always)]
fn read<T: Copy + Default>(object: Address, offset: u32) -> Result<T, Watcher> {
    let mut value = T::default();
    let from = object.wrapping_add(offset.into()) as *const c_void;
    // SAFETY: `value` lives on this stack and has room for as much; of the kernel's memory the helper reads nothing that
    // is not there.
    match unsafe { bpf_probe_read_kernel((&raw mut value).cast(), size_of::<T>() as u32, from) } {
        0 => Ok(value),
        _ => Err(Watcher::Unknown),
    }
}

#[inline(always)]
fn none(object: Address, watcher: Watcher) -> Result<(), Watcher> {
    if object == 0 { Ok(()) } else { Err(watcher) }
}

/// Fails if a list of who captures is not empty: its head then leads elsewhere than to itself.
#[inline(always)]
fn list(object: Address, offset: u32) -> Result<(), Watcher> {
    let first = read::<Address>(object, offset)?;
    if first == object.wrapping_add(offset.into()) { Ok(()) } else { Err(Watcher::Tap) }
}

// `NF_INET_*` and `NF_BR_*` (include/uapi/linux/netfilter.h).
const PRE_ROUTING: u32 = 0;
const FORWARD: u32 = 2;
const POST_ROUTING: u32 = 4;
const HOOKS: u32 = 5;

/// What is between two interfaces passes three of netfilter's hooks. A bridge device has one entry at the first, in every
/// namespace, that does nothing by itself (`ip_sabotage_in` in net/bridge/br_netfilter_hooks.c).
#[inline(always)]
fn netfilter(net: Address, is_v4: bool) -> Result<(), Watcher> {
    let hooks = if is_v4 { layout!(net_netfilter[0]) } else { layout!(net_netfilter[1]) };
    if hooks == ABSENT {
        return Ok(());
    }
    let entries = |hook: u32| read::<Address>(net, hooks.wrapping_add(hook * 8));
    none(entries(FORWARD)?, Watcher::Netfilter)?;
    none(entries(POST_ROUTING)?, Watcher::Netfilter)?;
    nobodys(entries(PRE_ROUTING)?, 1, Watcher::Netfilter)
}

/// The same of what passes a bridge, where the module that hands packets on to the others has up to two entries at each.
#[inline(always)]
fn netfilter_of_bridges(net: Address) -> Result<(), Watcher> {
    let hooks = layout!(net_netfilter_bridge);
    if hooks == ABSENT {
        return Ok(());
    }
    for hook in 0..HOOKS {
        nobodys(read(net, hooks.wrapping_add(hook * 8))?, 2, Watcher::Bridge)?;
    }
    Ok(())
}

/// Fails unless there are at most so many entries (`struct nf_hook_entries`), none of which leads to a table or a chain.
#[inline(always)]
fn nobodys(entries: Address, most: u16, watcher: Watcher) -> Result<(), Watcher> {
    if entries == 0 {
        return Ok(());
    }
    let count = read::<u16>(entries, 0)?;
    if count > most {
        return Err(watcher);
    }
    // `struct nf_hook_entry` is a function and what it is called with.
    for entry in 0..2_u32 {
        if entry < count.into() {
            none(read(entries, layout!(entries_hooks).wrapping_add(entry * 16 + 8))?, watcher)?;
        }
    }
    Ok(())
}

#[inline(always)]
fn policies(net: Address) -> Result<(), Watcher> {
    let counts = layout!(net_policies);
    if counts == ABSENT {
        return Ok(());
    }
    // In, out and forwarded.
    let [first, second, third] = read::<[u32; 3]>(net, counts)?;
    if first | second | third == 0 { Ok(()) } else { Err(Watcher::Policy) }
}

/// A device that the packet would have come in by or left by.
#[inline(always)]
fn device(device: Address, hook: Hook) -> Result<(), Watcher> {
    rules_of_device(device, hook)?;
    programs(device, hook)?;
    list(device, layout!(dev_taps))?;
    match hook {
        Hook::Ingress => Ok(()),
        Hook::Egress => {
            let qdisc = read::<Address>(device, layout!(dev_qdisc))?;
            // noqueue has no way to put a packet in.
            none(read(qdisc, layout!(qdisc_enqueue))?, Watcher::Qdisc)
        }
    }
}

#[inline(always)]
fn rules_of_device(device: Address, hook: Hook) -> Result<(), Watcher> {
    match layout!(dev_netfilter[hook as usize]) {
        ABSENT => Ok(()),
        offset => none(read(device, offset)?, Watcher::Device),
    }
}

/// Fails unless netctl's own programs are the only ones at the hook: one, or two at an inside interface that is a port, too.
#[inline(always)]
fn programs(device: Address, hook: Hook) -> Result<(), Watcher> {
    let tcx = layout!(dev_tcx[hook as usize]);
    if tcx == ABSENT {
        // Before 6.6 netctl's own is a filter.
        return filters(read(device, layout!(dev_filters[hook as usize]))?, 1);
    }
    let entry = read::<Address>(device, tcx)?;
    if entry == 0 {
        return Ok(());
    }
    let [first, second, third] = read::<[Address; 3]>(entry, 0)?;
    none(third, Watcher::Program)?;
    for program in [first, second] {
        if program != 0 && !is_own(program)? {
            return Err(Watcher::Program);
        }
    }
    let tcx = read::<Address>(entry, layout!(mprog_parent))?.wrapping_sub(layout!(tcx_bundle).into());
    filters(read(tcx, layout!(tcx_filters))?, 0)
}

/// Fails if there are more filters than so many (`struct mini_Qdisc`), 0 or 1.
#[inline(always)]
fn filters(filters: Address, most: u32) -> Result<(), Watcher> {
    if filters == 0 {
        return Ok(());
    }
    let first = read::<Address>(filters, layout!(filters_first))?;
    if most == 0 || first == 0 {
        return none(first, Watcher::Program);
    }
    none(read(first, layout!(filter_next))?, Watcher::Program)
}

/// Whether a program (`struct bpf_prog`) is netctl's, by its name.
#[inline(always)]
fn is_own(program: Address) -> Result<bool, Watcher> {
    const fn start(name: &[u8; 8]) -> u64 {
        u64::from_ne_bytes(*name)
    }
    const OWN: [u64; 6] = [
        start(b"port_ing"),
        start(b"port_egr"),
        start(b"inside_i"),
        start(b"inside_e"),
        start(b"uplink_i"),
        start(b"uplink_e"),
    ];
    let aux = read::<Address>(program, layout!(prog_aux))?;
    let name = read::<u64>(aux, layout!(aux_name))?;
    Ok(OWN[0] == name
        || OWN[1] == name
        || OWN[2] == name
        || OWN[3] == name
        || OWN[4] == name
        || OWN[5] == name)
}

/// How many devices of one hash are looked through: there are 256 hashes.
const DEVICES: u32 = 16;

/// The device of an index.
#[inline(always)]
fn find(net: Address, ifindex: u32) -> Result<Address, Watcher> {
    let heads = read::<Address>(net, layout!(net_devices))?;
    let mut node = read::<Address>(heads, (ifindex & 0xff) * 8)?;
    for _ in 0..DEVICES {
        if node == 0 {
            break;
        }
        let device = node.wrapping_sub(layout!(dev_hash).into());
        if read::<u32>(device, layout!(dev_ifindex))? == ifindex {
            return Ok(device);
        }
        node = read(node, 0)?;
    }
    Err(Watcher::Unknown)
}

/// The bridge that a device is a port of. What else a device may be a port of is not understood.
#[inline(always)]
fn bridge_of(device: Address, net: Address) -> Result<Option<Address>, Watcher> {
    if read::<Address>(device, layout!(dev_rx_handler))? == 0 {
        return Ok(None);
    }
    // `struct net_bridge_port` begins with its bridge and its device.
    let port = read::<Address>(device, layout!(dev_rx_data))?;
    let [bridge, this] = read::<[Address; 2]>(port, 0)?;
    let bridge = bridge.wrapping_sub(layout!(dev_priv).into());
    if this != device || read::<Address>(bridge, layout!(dev_net))? != net {
        return Err(Watcher::Unknown);
    }
    Ok(Some(bridge))
}
