//! Every map and every load-time constant.

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC},
    btf_maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, PerCpuHashMap, RingBuf},
    helpers::generated::bpf_get_smp_processor_id,
    macros::btf_map,
};
use netctl_ebpf::{
    addr::Addr,
    binding::{Binding, BindingKey, ContactKey},
    clock::Clock,
    config::{Config, Timeouts},
    count::{self, Ended, Path},
    event::{Event, Listener, Quota, RING_BYTES},
    flow::{FlowKey, Half},
    fragment::{Datagram, DatagramKey, Held, HeldKey},
    local::{Peer, PeerKey},
    reason::{self, DropReason},
    rule::{AllowKey, ForwardKey, ForwardRule, ListedForward, MasqueradeKey, MasqueradeRule},
    sighting::{self, Sighting},
    watch::{self, Glance},
};

use super::{Work, kernel, shortcut::Passage};

const ON_DEMAND: usize = BPF_F_NO_PREALLOC as usize;

/// User space reads all of it at the speed of memory.
const MAPPED: usize = BPF_F_MMAPABLE as usize;

/// Two entries a flow, allocated as they come; user space may resize it before loading.
#[btf_map]
pub(crate) static FLOWS: HashMap<FlowKey, Half, 262_144, ON_DEMAND> = HashMap::new();

/// The keys of the latest flows without an answer, overwritten in turn; user space may resize it before loading.
#[btf_map]
pub(crate) static UNANSWERED: Array<FlowKey, 65_536> = Array::new();

/// Endpoint-independent mappings, two entries each.
#[btf_map]
pub(crate) static BINDINGS: HashMap<BindingKey, Binding, 262_144, ON_DEMAND> = HashMap::new();

/// When a binding last sent to a peer's address (`CLOCK_MONOTONIC`, nanoseconds); the oldest go first.
#[btf_map]
pub(crate) static CONTACTS: LruHashMap<ContactKey, u64, 65_536> = LruHashMap::new();

/// Datagrams in pieces; the oldest go first.
#[btf_map]
pub(crate) static DATAGRAMS: LruHashMap<DatagramKey, Datagram, 4096> = LruHashMap::new();

/// Fragments that came before the one with the ports; the oldest go first.
#[btf_map]
pub(crate) static HELD: LruHashMap<HeldKey, Held, 512> = LruHashMap::new();

/// Room for each [`Frame`].
#[btf_map]
static FRAMES: PerCpuArray<Held, 2> = PerCpuArray::new();

/// How many places of [`UNANSWERED`] each CPU has taken.
#[btf_map]
static TAKEN: PerCpuArray<u32, 1> = PerCpuArray::new();

/// Masquerade rules by uplink and inside network.
#[btf_map]
pub(crate) static MASQUERADES: LpmTrie<MasqueradeKey, MasqueradeRule, 65_536, ON_DEMAND> = LpmTrie::new();

/// Forward rules by address, protocol and port.
#[btf_map]
pub(crate) static FORWARDS: LpmTrie<ForwardKey, ForwardRule, 1_048_576, ON_DEMAND> = LpmTrie::new();

/// The forwards by their ids, for user space alone.
#[btf_map]
static LISTED: Array<ListedForward, 65_536, MAPPED> = Array::new();

/// Who may use a restricted forward.
#[btf_map]
pub(crate) static ALLOWS: LpmTrie<AllowKey, u32, 1_048_576, ON_DEMAND> = LpmTrie::new();

/// What a rule's ended flows carried, by its id.
#[btf_map]
pub(crate) static ENDED: PerCpuHashMap<u32, Ended, 65_536, ON_DEMAND> = PerCpuHashMap::new();

/// The one [`Config`].
#[btf_map]
pub(crate) static CONFIG: Array<Config, 1> = Array::new();

/// The live generation of each rule, by its id; 0 while there is no such rule.
#[btf_map]
pub(crate) static GENERATIONS: Array<u32, 65_536, MAPPED> = Array::new();

/// The gateway's own addresses, as last seen by user space.
#[btf_map]
pub(crate) static LOCALS: HashMap<Addr, u32, 4096, ON_DEMAND> = HashMap::new();

/// What sockets of the gateway asked for before they were led inside; the oldest go first.
#[btf_map]
pub(crate) static PEERS: LruHashMap<PeerKey, Peer, 65_536> = LruHashMap::new();

/// Dropped packets by [`DropReason`].
#[btf_map]
static DROPS: PerCpuArray<u64, { reason::SLOTS }> = PerCpuArray::new();

/// Translated packets by [`Path`].
#[btf_map]
static PATHS: PerCpuArray<u64, { count::PATHS as usize }> = PerCpuArray::new();

/// Packets that did not go straight because of a [`Watcher`](netctl_ebpf::watch::Watcher).
#[btf_map]
static WATCHED: PerCpuArray<u64, { watch::SLOTS }> = PerCpuArray::new();

/// Some [`Glance`]s a CPU.
#[btf_map]
static GLANCES: PerCpuArray<Glance, { watch::GLANCES as usize }> = PerCpuArray::new();

/// What a listener hears.
#[btf_map]
pub(crate) static EVENTS: RingBuf<Event, RING_BYTES> = RingBuf::new();

/// The one [`Listener`].
#[btf_map]
pub(crate) static LISTENER: Array<Listener, 1> = Array::new();

/// What was told of drops, by [`DropReason`].
#[btf_map]
static QUOTAS: PerCpuArray<Quota, { reason::SLOTS }> = PerCpuArray::new();

/// Events that [`EVENTS`] had no room for.
#[btf_map]
static LOST: PerCpuArray<u64, 1> = PerCpuArray::new();

/// Some [`Sighting`]s a CPU.
#[btf_map]
static SIGHTED: PerCpuArray<Sighting, { sighting::SIGHTINGS as usize }> = PerCpuArray::new();

/// The one [`Clock`] of a CPU.
#[btf_map]
static CLOCK: PerCpuArray<Clock, 1> = PerCpuArray::new();

/// Room for some [`Passage`]s a CPU, opaque to the kernel's BTF: a network card's driver hands 64 packets on at once, and
/// few of them are to share a place.
#[btf_map]
static PASSAGES: PerCpuArray<[u64; PASSAGE_WORDS], 256> = PerCpuArray::new();

const PASSAGE_WORDS: usize = size_of::<Passage>().div_ceil(8);

/// Room for one [`Work`] a CPU, opaque to the kernel's BTF.
#[btf_map]
static WORK: PerCpuArray<[u64; WORK_WORDS], 1> = PerCpuArray::new();

const WORK_WORDS: usize = size_of::<Work>().div_ceil(8);

/// The cookie of the gateway's network namespace (`SO_NETNS_COOKIE`), set when the object is loaded.
#[unsafe(no_mangle)]
static NETNS_COOKIE: u64 = 0;

/// The gateway's `net.ipv4.ip_local_port_range`, set when the object is loaded.
#[unsafe(no_mangle)]
static LOCAL_PORTS: [u16; 2] = [32768, 60999];

/// The cookie of the gateway's network namespace.
#[inline(always)]
pub(crate) fn netns_cookie() -> u64 {
    // SAFETY: a plain static; volatile because the loader writes it after compilation.
    unsafe { core::ptr::read_volatile(&raw const NETNS_COOKIE) }
}

/// First and last port that the gateway's own sockets draw from.
#[inline(always)]
pub(crate) fn local_ports() -> (u16, u16) {
    // SAFETY: as above.
    let [first, last] = unsafe { core::ptr::read_volatile(&raw const LOCAL_PORTS) };
    (first, last)
}

/// Counts a dropped packet.
#[inline(always)]
pub(crate) fn count_drop(reason: DropReason) {
    if let Some(count) = DROPS.get_ptr_mut(reason as u32) {
        // SAFETY: a per-CPU slot that the verifier has checked; nothing else on this CPU writes it meanwhile.
        unsafe { *count = (*count).wrapping_add(1) };
    }
}

/// Whether a listener is to hear of one more packet dropped for the reason of this number.
#[inline(always)]
pub(crate) fn may_tell(reason: u8) -> bool {
    let Some(quota) = QUOTAS.get_ptr_mut(reason.into()) else { return false };
    // SAFETY: as in `count_drop`.
    unsafe { (*quota).takes(kernel::now_ns()) }
}

/// Counts an event that nobody will hear of.
#[inline(always)]
pub(crate) fn count_lost() {
    if let Some(count) = LOST.get_ptr_mut(0) {
        // SAFETY: as in `count_drop`; a timer that ends flows may come in between, and then one is not counted.
        unsafe { *count = (*count).wrapping_add(1) };
    }
}

/// Counts a translated packet.
#[inline(always)]
pub(crate) fn count_path(path: Path) {
    if let Some(count) = PATHS.get_ptr_mut(path as u32) {
        // SAFETY: as in `count_drop`.
        unsafe { *count = (*count).wrapping_add(1) };
    }
}

/// The place of a packet of this CPU's that will leave with `tuple`.
#[inline(always)]
pub(crate) fn passage(tuple: &FlowKey) -> Option<&'static mut Passage> {
    let passage = PASSAGES.get_ptr_mut(u32::from(tuple.hash()))?.cast::<Passage>();
    // SAFETY: large enough and 8-byte aligned, and any bytes are a value; bottom halves are off, so one user at a time.
    Some(unsafe { &mut *passage })
}

/// The settings; `None` cannot be, but the verifier does not know that.
#[inline(always)]
pub(crate) fn config() -> Option<&'static Config> {
    CONFIG.get(0)
}

/// This CPU's clock.
#[inline(always)]
pub(crate) fn clock() -> Option<&'static mut Clock> {
    let clock = CLOCK.get_ptr_mut(0)?;
    // SAFETY: a per-CPU slot that the verifier has checked. A timer may come between what a socket's program reads and
    // writes, and both write what is right.
    Some(unsafe { &mut *clock })
}

/// The place for what this CPU has seen of a way.
#[inline(always)]
pub(crate) fn glance(way: u64) -> Option<&'static mut Glance> {
    let glance = GLANCES.get_ptr_mut(Glance::place(way))?;
    // SAFETY: a per-CPU slot that the verifier has checked, with one user at a time.
    Some(unsafe { &mut *glance })
}

/// Counts a packet that would have gone straight, and did not because of who watches.
#[inline(always)]
pub(crate) fn count_watched(watcher: u32) {
    if let Some(count) = WATCHED.get_ptr_mut(watcher) {
        // SAFETY: as in `count_drop`.
        unsafe { *count = (*count).wrapping_add(1) };
    }
}

/// The place for what this CPU knows of an outside address.
#[inline(always)]
pub(crate) fn sighting(address: &Addr, ifindex: u32) -> Option<&'static mut Sighting> {
    let sighting = SIGHTED.get_ptr_mut(Sighting::place(address, ifindex))?;
    // SAFETY: a per-CPU slot that the verifier has checked, with one user at a time.
    Some(unsafe { &mut *sighting })
}

/// How long flows live.
#[inline(always)]
pub(crate) fn timeouts() -> Timeouts {
    config().map_or(Timeouts::DEFAULT, |config| config.timeouts)
}

/// The next place of [`UNANSWERED`] that is this CPU's to take.
#[inline(always)]
pub(crate) fn next_place() -> Option<u32> {
    let config = config()?;
    let taken = TAKEN.get_ptr_mut(0)?;
    // SAFETY: a per-CPU slot that the verifier has checked; nothing else on this CPU writes it meanwhile.
    let turn = unsafe {
        *taken = (*taken).wrapping_add(1);
        *taken
    };
    // SAFETY: a helper without arguments.
    config.place(turn, unsafe { bpf_get_smp_processor_id() })
}

/// Frames that a program needs room for.
#[derive(Clone, Copy)]
pub(crate) enum Frame {
    /// One to hold.
    Held = 0,
    /// The packet's own, while it has the form of others.
    Own = 1,
}

/// This CPU's room for a frame.
#[inline(always)]
pub(crate) fn frame(which: Frame) -> Option<&'static mut Held> {
    let frame = FRAMES.get_ptr_mut(which as u32)?;
    // SAFETY: a per-CPU slot that the verifier has checked, with one user at a time.
    Some(unsafe { &mut *frame })
}

/// Takes back what [`count_drop`] counted, perhaps on another CPU: the sum over all of them is what tells.
#[inline(always)]
pub(crate) fn uncount_drop(reason: DropReason) {
    if let Some(count) = DROPS.get_ptr_mut(reason as u32) {
        // SAFETY: as in `count_drop`.
        unsafe { *count = (*count).wrapping_sub(1) };
    }
}

/// This CPU's work. TC programs run with bottom halves off, so it has one user at a time; what a program itself sends
/// while it runs ([`super::fragments::lead`]) uses it, too.
#[inline(always)]
pub(crate) fn work() -> Option<&'static mut Work> {
    let work = WORK.get_ptr_mut(0)?.cast::<Work>();
    // SAFETY: large enough and 8-byte aligned; every program writes a part of it before reading that part, except
    // padding; one user at a time.
    Some(unsafe { &mut *work })
}

/// Whether a rule of this id and generation is in force.
#[inline(always)]
pub(crate) fn is_live(id: u32, generation: u32) -> bool {
    GENERATIONS.get(id).is_some_and(|live| *live == generation)
}
