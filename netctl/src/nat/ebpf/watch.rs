//! Who watches the way that a gateway's shortcuts would skip: the programs' own answer, asked for without a packet.

use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};
use netctl_ebpf::watch::Watcher;

use super::{
    Build, Error, Pins,
    load::Constants,
    rehearsal::{CONTEXT, IFINDEX},
};

/// Where `struct __sk_buff` has its control block.
const CONTROL_BLOCK: usize = 12;

/// Which way of packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// In by this port, outwards.
    Out {
        /// Its index.
        port: u32,
    },
    /// In by this uplink, inwards to that port.
    In {
        /// The uplink's index.
        uplink: u32,
        /// The port's index.
        port: u32,
    },
}

/// A gateway's program that tells.
pub struct Watch(SchedClassifier);

/// What it is called.
const NAME: &str = "watched";

impl Watch {
    /// Opens it. The calling thread is in the gateway's network namespace.
    ///
    /// # Errors
    /// If the gateway's programs are not pinned.
    pub fn open(pins: &Pins) -> Result<Self, Error> {
        let build = pins.build_to_attach(Build::of(&Constants::of_this_namespace()?))?;
        SchedClassifier::from_pin(pins.programs(build).join(NAME)).map(Self).map_err(Error::program(NAME))
    }

    /// Who may look at packets of one family that go this way; `None` if they go straight. The calling thread is in the
    /// gateway's network namespace.
    ///
    /// # Errors
    /// If the kernel refuses to run it.
    pub fn ask(&self, way: Way, is_v4: bool) -> Result<Option<Watcher>, Error> {
        let mut context = [0_u32; CONTEXT];
        let (interface, port) = match way {
            Way::Out { port } => (port, 0),
            Way::In { uplink, port } => (uplink, port),
        };
        context[IFINDEX] = interface;
        context[CONTROL_BLOCK] = port;
        context[CONTROL_BLOCK + 1] = (!is_v4).into();
        let context: Vec<u8> = context.iter().flat_map(|word| word.to_ne_bytes()).collect();
        // The kernel runs nothing on less than an Ethernet header.
        let frame = [0; 64];
        let options =
            TestRunOptions { data_in: Some(&frame), ctx_in: Some(&context), ..TestRunOptions::new() };
        let result = self.0.test_run(options).map_err(Error::program(NAME))?;
        Ok(Watcher::of(result.return_value))
    }
}
