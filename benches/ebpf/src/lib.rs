//! What the benchmark's programs and user space share.
#![no_std]

/// Every frame begins with so many bytes of headers, and has at least so many.
pub const HEADER: usize = 64;

/// What the generator sends: frames of several flows in turn, which differ in their ports alone.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    /// The head of flow 0's frames.
    pub header: [u8; HEADER],
    /// The first flow.
    pub first: u32,
    /// How many there are.
    pub flows: u32,
    /// How many frames have been made.
    pub turn: u32,
    /// Where the UDP header begins: [`UDP_V4`] or [`UDP_V6`].
    pub udp: u32,
    /// 1: from outside, the flow's own port is the destination's.
    pub inwards: u32,
    /// Zero.
    pub _pad: u32,
}

const _: () = assert!(size_of::<Stream>() == HEADER + 6 * 4);

/// The UDP header's offset behind Ethernet and IPv4.
pub const UDP_V4: u32 = 14 + 20;
/// The UDP header's offset behind Ethernet and IPv6.
pub const UDP_V6: u32 = 14 + 40;

/// The ports of a flow, inside and outside: 32768 flows to each port of the server.
#[inline(always)]
#[must_use]
pub const fn ports(flow: u32) -> (u16, u16) {
    (1024 + (flow & 0x7fff) as u16, 5000 + (flow >> 15) as u16)
}

/// Where the bare redirect sends everything.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Destination and source MAC of what it sends.
    pub macs: [u8; 12],
    /// The interface.
    pub ifindex: u32,
    /// 1: to its peer, as `bpf_redirect_peer` has it.
    pub to_peer: u32,
}

const _: () = assert!(size_of::<Target>() == 12 + 2 * 4);

// SAFETY: repr(C), integers and arrays of integers only, no padding (the sizes are asserted), any bit pattern is a value.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Stream {}

// SAFETY: as above.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Target {}
