//! The real programs on single packets: a [`Nat`] is a gateway in a network namespace of its own, through whose
//! programs packets are run with `BPF_PROG_TEST_RUN`.
//!
//! It looks as the quickstart's router does, with veth pairs in the place of its bridge and its cable. Nothing is
//! attached and nothing is sent; the namespace is there for what the programs ask the kernel: routes and sockets.

mod gateway;
mod outcome;

use std::{collections::HashMap, net::IpAddr, process::Command, time::Duration};

use aya::{
    maps::MapData,
    programs::{SchedClassifier, TestRun as _, TestRunOptions},
};
use netctl::{
    model::{Filtering, Forward, Mapping, Masquerade, Protocol},
    nat::ebpf::maps::Tables,
    netns::{Netns, NetnsError},
};
use netctl_ebpf::{
    config::MAX_FLOWS,
    flow::{FlowKey, Half, hook},
    reason::DropReason,
};

pub use self::outcome::{Change, Outcome};
use crate::packet::{Endpoint, Packet};

/// The uplink's index.
pub const UPLINK_INDEX: u32 = 10;
const UPLINK: &str = "wan0";
/// The index of the inside interface, which is a port, too.
pub const INSIDE_INDEX: u32 = 11;
const INSIDE: &str = "v-net-0";

/// What can be run: a packet, or bytes that no packet has.
pub trait Frame {
    /// From the Ethernet header on.
    fn bytes(&self) -> Vec<u8>;
}

impl Frame for Packet {
    fn bytes(&self) -> Vec<u8> {
        self.frame()
    }
}

impl Frame for Vec<u8> {
    fn bytes(&self) -> Vec<u8> {
        self.clone()
    }
}

/// A gateway whose programs are run by hand.
pub struct Nat {
    /// Its rules, flows and counters.
    pub tables: Tables,
    netns: Netns,
    flows: aya::maps::HashMap<MapData, FlowKey, Half>,
    programs: HashMap<&'static str, SchedClassifier>,
    /// The kernel cancels the timers of a map that nobody holds.
    _timed: [MapData; 2],
}

impl Nat {
    /// A gateway without rules. Its own addresses are 203.0.113.1/24 and 2001:db8:113::1/64 outside, 192.168.15.5/24
    /// and fd15::5/64 inside.
    #[must_use]
    pub fn new() -> Self {
        Self::with_room_for(MAX_FLOWS)
    }

    /// The same with room for so many flows.
    #[must_use]
    pub fn with_room_for(max_flows: u32) -> Self {
        gateway::make(max_flows)
    }

    /// A gateway that masquerades 192.168.15.0/24 and fd15::/64.
    #[must_use]
    pub fn masquerading() -> Self {
        Self::masquerading_as(|_| {})
    }

    /// The same by rules that `change` has changed.
    #[must_use]
    pub fn masquerading_as(change: impl Fn(&mut Masquerade)) -> Self {
        let mut nat = Self::new();
        for network in ["192.168.15.0/24", "fd15::/64"] {
            let mut rule = masquerade(network);
            change(&mut rule);
            nat.masquerade(&rule);
        }
        nat
    }

    /// Puts a masquerade rule in force.
    pub fn masquerade(&mut self, rule: &Masquerade) {
        self.tables.add_masquerade(rule, &[UPLINK_INDEX], None).unwrap();
    }

    /// Puts a forward rule in force.
    pub fn forward(&mut self, rule: &Forward) {
        self.tables.add_forward(rule).unwrap();
    }

    /// What the uplink does to a packet on its way out.
    pub fn egress(&self, frame: &impl Frame) -> Outcome {
        self.egress_at(UPLINK_INDEX, frame)
    }

    /// What another uplink does to a packet on its way out.
    pub fn egress_at(&self, uplink: u32, frame: &impl Frame) -> Outcome {
        self.run("uplink_egress", uplink, frame)
    }

    /// What the uplink does to a packet on its way in.
    pub fn ingress(&self, frame: &impl Frame) -> Outcome {
        self.ingress_at(UPLINK_INDEX, frame)
    }

    /// What another uplink does to a packet on its way in.
    pub fn ingress_at(&self, uplink: u32, frame: &impl Frame) -> Outcome {
        self.run("uplink_ingress", uplink, frame)
    }

    /// What the inside interface does to a packet from inside.
    pub fn inside_ingress(&self, frame: &impl Frame) -> Outcome {
        self.run("inside_ingress", INSIDE_INDEX, frame)
    }

    /// What the inside interface does to a packet to the inside.
    pub fn inside_egress(&self, frame: &impl Frame) -> Outcome {
        self.run("inside_egress", INSIDE_INDEX, frame)
    }

    /// Runs `f` on a thread in the gateway's namespace, to open sockets there.
    pub fn within<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        self.netns.run(|| Ok::<_, NetnsError>(f())).unwrap()
    }

    /// `ip ARGUMENTS` in the gateway's namespace, and what it says.
    pub fn ip(&self, arguments: &str) -> String {
        let arguments = arguments.split(' ');
        let output =
            self.within(|| Command::new("ip").args(arguments).output()).expect("these tests need `ip`");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn run(&self, program: &str, ifindex: u32, frame: &impl Frame) -> Outcome {
        let sent = frame.bytes();
        let before = self.drops();
        let (action, frame) = self.within(|| self.test_run(program, ifindex, &sent));
        let after = self.drops();
        let count = |drops: &[(DropReason, u64)], reason| {
            drops.iter().find(|(counted, _)| *counted == reason).map_or(0, |(_, count)| *count)
        };
        let dropped = DropReason::ALL
            .iter()
            .flat_map(|&reason| (count(&before, reason)..count(&after, reason)).map(move |_| reason))
            .collect();
        Outcome::new(program, sent, frame, action, dropped)
    }

    /// One run of a program in the calling thread's namespace, which has to be the gateway's: its verdict and the frame
    /// as it left it.
    pub fn test_run(&self, program: &str, ifindex: u32, frame: &[u8]) -> (i32, Vec<u8>) {
        self.test_run_with(program, &mut Context::at(ifindex), frame)
    }

    /// The same with more said about the packet, and what the program has left of that.
    pub fn test_run_with(&self, program: &str, context: &mut Context, frame: &[u8]) -> (i32, Vec<u8>) {
        let mut out = vec![0; frame.len() + 256];
        let (given, mut left) = (context.bytes(), context.bytes());
        let result = self.programs[program].test_run(TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ctx_in: Some(&given),
            ctx_out: Some(&mut left),
            ..TestRunOptions::new()
        });
        let result = result.unwrap_or_else(|error| panic!("run {program}: {error:?}"));
        out.truncate(result.data_size_out as usize);
        for (word, bytes) in context.0.iter_mut().zip(left.chunks_exact(4)) {
            *word = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        (result.return_value.cast_signed(), out)
    }

    /// How long one run takes, as the kernel counts it; otherwise as [`Self::test_run`].
    #[must_use]
    pub fn run_time(&self, program: &str, ifindex: u32, frame: &[u8]) -> Duration {
        let context = Context::at(ifindex).bytes();
        let options =
            TestRunOptions { data_in: Some(frame), ctx_in: Some(&context), ..TestRunOptions::new() };
        let result = self.programs[program].test_run(options);
        result.unwrap_or_else(|error| panic!("run {program}: {error:?}")).duration
    }

    /// Packets dropped so far, by reason.
    #[must_use]
    pub fn drops(&self) -> Vec<(DropReason, u64)> {
        self.tables.drops().unwrap()
    }

    /// How many instructions the kernel's verifier went through to accept each program.
    #[must_use]
    pub fn verified(&self) -> std::collections::BTreeMap<&'static str, u32> {
        let count = |program: &SchedClassifier| program.info().unwrap().verified_instruction_count().unwrap();
        self.programs.iter().map(|(name, program)| (*name, count(program))).collect()
    }

    /// The table's entries, two a flow.
    #[must_use]
    pub fn entries(&self) -> HashMap<FlowKey, Half> {
        self.flows.iter().collect::<Result<_, _>>().unwrap()
    }

    /// There are `count` flows, each of two halves that find each other.
    #[track_caller]
    pub fn assert_flows(&self, count: usize) {
        let entries = self.entries();
        assert_eq!(entries.len(), 2 * count, "entries of {count} flows: {entries:#?}");
        for (key, half) in &entries {
            let other = entries.get(&half.to.reversed()).unwrap_or_else(|| panic!("{key:?} is alone"));
            assert_eq!(other.to, key.reversed(), "the halves of {key:?} undo each other");
            let both = [half, other];
            assert_eq!(both.map(|half| half.direction).iter().sum::<u8>(), 1, "one half a direction");
            assert_eq!(both.map(|half| half.hook).iter().sum::<u8>(), hook::EGRESS, "one half a hook");
            let made_by = both.map(|half| (half.kind, half.rule, half.generation));
            assert_eq!(made_by[0], made_by[1], "one rule made both");
        }
    }
}

/// What is known of a packet beside its bytes: `struct __sk_buff` (include/uapi/linux/bpf.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context([u32; 48]);

impl Context {
    const MARK: usize = 2;
    const PRIORITY: usize = 8;
    const IFINDEX: usize = 10;
    const CB: std::ops::Range<usize> = 12..17;
    const DEPARTURE: std::ops::Range<usize> = 38..40;

    /// Of a packet at an interface.
    #[must_use]
    pub fn at(ifindex: u32) -> Self {
        let mut context = Self([0; 48]);
        context.0[Self::IFINDEX] = ifindex;
        context
    }

    /// With a mark.
    #[must_use]
    pub fn marked(mut self, mark: u32) -> Self {
        self.0[Self::MARK] = mark;
        self
    }

    /// With a priority and a time of departure.
    #[must_use]
    pub fn queued(mut self, priority: u32, departure: [u32; 2]) -> Self {
        self.0[Self::PRIORITY] = priority;
        self.0[Self::DEPARTURE].copy_from_slice(&departure);
        self
    }

    /// What others have said about the packet: mark, priority and both halves of the time of departure.
    #[must_use]
    pub fn words(&self) -> [u32; 4] {
        let [early, late] = [0, 1].map(|half| self.0[Self::DEPARTURE][half]);
        [self.0[Self::MARK], self.0[Self::PRIORITY], early, late]
    }

    /// With a control block.
    #[must_use]
    pub fn with_cb(mut self, cb: [u32; 5]) -> Self {
        self.0[Self::CB].copy_from_slice(&cb);
        self
    }

    /// The same packet at another interface: what it takes along.
    #[must_use]
    pub fn moved(&self, ifindex: u32) -> Self {
        let mut moved = Self::at(ifindex).marked(self.0[Self::MARK]);
        moved.0[Self::CB].copy_from_slice(&self.0[Self::CB]);
        moved
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }
}

impl Default for Nat {
    fn default() -> Self {
        Self::new()
    }
}

/// The uplink's masquerade rule for `source`, with the file's defaults.
#[must_use]
pub fn masquerade(source: &str) -> Masquerade {
    Masquerade {
        source: source.parse().unwrap(),
        out: vec![UPLINK.parse().unwrap()],
        address: None,
        ports: None,
        routed: false,
        mapping: Mapping::default(),
        filtering: Filtering::default(),
    }
}

/// A forward rule in the words of the file: `ADDRESS:PORT/PROTOCOL`, the address 0.0.0.0 or `::` for all of a family.
#[must_use]
pub fn forward(listen: &str, to: impl Endpoint) -> Forward {
    let (endpoint, protocol) = listen.split_once('/').expect("ADDRESS:PORT/PROTOCOL");
    let (listen, to) = (endpoint.endpoint(), to.endpoint());
    Forward {
        address: Some(listen.ip()).filter(|address: &IpAddr| !address.is_unspecified()),
        ports: (listen.port(), listen.port()),
        protocol: if protocol == "tcp" { Protocol::Tcp } else { Protocol::Udp },
        to: to.ip(),
        to_port: to.port(),
        allow: None,
    }
}
