//! The benchmark's own programs: one generator and one sink for all contenders, a redirect for the floor.

use std::{fs, net::IpAddr, time::Duration};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, MapData, PerCpuArray},
    programs::{SchedClassifier, TcAttachType, TestRun as _, TestRunAttrs, TestRunOptions, Xdp},
};
use netctl_benches_ebpf::{HEADER, Stream, Target, UDP_V4, UDP_V6, ports};
use netctl_tests::{
    lab::Ns,
    packet::{Packet, udp},
};

use crate::machine;

/// So many frames are made at once, as a driver takes them from its queue; the kernel's own number.
const BATCH: u32 = 64;
/// Where the generator runs. Not on the first CPU, which takes most of a machine's interrupts.
const CPU: usize = 1;

/// The generator and the sink.
pub(crate) struct Programs {
    object: Ebpf,
    stream: Array<MapData, Stream>,
    arrived: PerCpuArray<MapData, u64>,
}

/// Frames of one flow after the other, put into one interface as if they had come from its other end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Traffic {
    /// From where to where.
    pub(crate) from: IpAddr,
    pub(crate) to: IpAddr,
    /// The frame's destination and source.
    pub(crate) macs: [[u8; 6]; 2],
    /// The interface.
    pub(crate) ifindex: u32,
    /// Whether the flows were begun by the other side.
    pub(crate) inwards: bool,
}

/// What became of some frames.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Burst {
    /// How long one took.
    pub(crate) each: Duration,
    pub(crate) sent: u32,
    pub(crate) arrived: u32,
}

/// The object that `cargo xtask build-ebpf` has made.
fn load(target: Option<&Target>) -> Result<Ebpf> {
    let path =
        std::env::var("NETCTL_BENCH_OBJECT").context("NETCTL_BENCH_OBJECT; `cargo xtask bench` sets it")?;
    let bytes = fs::read(&path).with_context(|| format!("reading {path}"))?;
    let mut loader = EbpfLoader::new();
    if let Some(target) = target {
        loader.override_global("TARGET", target, true);
    }
    loader.load(&bytes).with_context(|| format!("loading {path}"))
}

impl Programs {
    pub(crate) fn load() -> Result<Self> {
        let mut object = load(None)?;
        let generator: &mut Xdp = object.program_mut("generate").context("no generator")?.try_into()?;
        generator.load()?;
        let sink: &mut SchedClassifier = object.program_mut("sink").context("no sink")?.try_into()?;
        sink.load()?;
        let stream = Array::try_from(object.take_map("STREAM").context("no stream")?)?;
        let arrived = PerCpuArray::try_from(object.take_map("ARRIVED").context("no counter")?)?;
        Ok(Self { object, stream, arrived })
    }

    /// Lets an interface swallow what the generator has made.
    pub(crate) fn sink(&mut self, ns: Ns<'_>, interface: &str) -> Result<()> {
        let sink: &mut SchedClassifier = self.object.program_mut("sink").context("no sink")?.try_into()?;
        ns.enter(|| sink.attach(interface, TcAttachType::Ingress)).context("attaching the sink")?;
        Ok(())
    }

    /// Sends `count` frames of `size` bytes, of the flows from `first` on in turn. The calling thread does all of the
    /// work, up to the sink.
    pub(crate) fn send(
        &mut self,
        ns: Ns<'_>,
        traffic: &Traffic,
        size: usize,
        flows: std::ops::Range<u32>,
        count: u32,
    ) -> Result<Burst> {
        let frame = traffic.frame(size);
        let mut header = [0; HEADER];
        header.copy_from_slice(&frame[..HEADER]);
        let udp = if traffic.from.is_ipv4() { UDP_V4 } else { UDP_V6 };
        let stream = Stream {
            header,
            first: flows.start,
            flows: flows.end - flows.start,
            turn: 0,
            udp,
            inwards: traffic.inwards.into(),
            _pad: 0,
        };
        self.stream.set(0, stream, 0)?;
        let generator: &Xdp = self.object.program("generate").context("no generator")?.try_into()?;
        let context = context(frame.len(), traffic.ifindex);
        let before = arrived(&self.arrived)?;
        let result = ns.enter(|| {
            machine::pin(CPU)?;
            generator
                .test_run(TestRunOptions {
                    data_in: Some(&frame),
                    ctx_in: Some(&context),
                    repeat: count,
                    attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
                    ..TestRunOptions::new()
                })
                .context("running the generator")
        })?;
        let arrived = arrived(&self.arrived)? - before;
        Ok(Burst { each: result.duration, sent: count, arrived: arrived.try_into()? })
    }
}

fn arrived(counter: &PerCpuArray<MapData, u64>) -> Result<u64> {
    Ok(counter.get(&0, 0)?.iter().sum())
}

/// `struct xdp_md` (include/uapi/linux/bpf.h): a frame of so many bytes at an interface.
fn context(len: usize, ifindex: u32) -> [u8; 24] {
    let mut context = [0; 24];
    context[4..8].copy_from_slice(&(len as u32).to_ne_bytes());
    context[12..16].copy_from_slice(&ifindex.to_ne_bytes());
    context
}

impl Traffic {
    /// Flow 0's frame of `size` bytes.
    fn frame(&self, size: usize) -> Vec<u8> {
        let (own, server) = ports(0);
        let [from, to] = if self.inwards { [server, own] } else { [own, server] };
        let headers = if self.from.is_ipv4() { UDP_V4 } else { UDP_V6 } as usize + 8;
        let packet = Packet {
            payload: vec![0; size.saturating_sub(headers)],
            to_mac: self.macs[0],
            ..udp((self.from, from), (self.to, to))
        };
        let mut frame = packet.frame();
        frame[6..12].copy_from_slice(&self.macs[1]);
        frame
    }
}

/// Redirects everything that comes to an interface, for as long as this lives.
pub(crate) struct Redirect {
    _object: Ebpf,
}

impl Redirect {
    pub(crate) fn attach(ns: Ns<'_>, interface: &str, target: &Target) -> Result<Self> {
        let mut object = load(Some(target))?;
        let program: &mut SchedClassifier =
            object.program_mut("redirect").context("no redirect")?.try_into()?;
        program.load()?;
        ns.enter(|| program.attach(interface, TcAttachType::Ingress)).context("attaching the redirect")?;
        Ok(Self { _object: object })
    }
}
