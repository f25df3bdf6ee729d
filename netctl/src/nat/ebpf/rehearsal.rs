//! What a gateway's programs would do: the same programs on a copy of its tables, run by hand (`BPF_PROG_TEST_RUN`).
//! Nothing is attached, pinned or sent, and no flow or counter of the gateway changes.

use aya::{
    Ebpf,
    programs::{SchedClassifier, TestRun as _, TestRunOptions},
};
use netctl_ebpf::{flow::FlowKey, flow::Half, reason::DropReason};

use super::{
    Error, Side,
    load::{self, Constants},
    maps::Tables,
};

/// `TC_ACT_SHOT` (include/uapi/linux/pkt_cls.h).
const SHOT: u32 = 2;

/// Words of `struct __sk_buff` (include/uapi/linux/bpf.h): how many, and where it says by which interface a packet came
/// in and at which it is.
pub(super) const CONTEXT: usize = 48;
const INGRESS_IFINDEX: usize = 9;
pub(super) const IFINDEX: usize = 10;

/// Room that a program may add to a packet.
const MORE: usize = 256;

/// A gateway's programs and tables once more. What is asked first is known when the next is asked, as it would be there.
pub struct Rehearsal {
    ebpf: Ebpf,
    tables: Tables,
}

/// Where a program meets a packet.
#[derive(Debug, Clone, Copy)]
pub struct Meeting {
    /// Which programs the interface has.
    pub side: Side,
    /// `ingress` or `egress`.
    pub hook: &'static str,
    /// The interface's index.
    pub interface: u32,
    /// That of the one that the packet came in by, if it did.
    pub came_by: Option<u32>,
}

/// What became of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It goes on like this, translated or as it was.
    Passes(Vec<u8>),
    /// It was dropped; the reason, where one was counted.
    Dropped(Option<DropReason>),
}

impl Rehearsal {
    /// Copies the gateway that has these tables. The calling thread is in its network namespace.
    ///
    /// # Errors
    /// If the kernel refuses a map, or one cannot be read.
    pub fn of(live: &Tables) -> Result<Self, Error> {
        let entries = live.room()?.saturating_mul(2);
        let mut ebpf = load::open(Constants::of_this_namespace()?, entries, &live.config()?, None)?;
        let mut tables = Tables::of_object(&mut ebpf)?;
        tables.copy_from(live)?;
        Ok(Self { ebpf, tables })
    }

    /// Shows a packet, from its Ethernet header on, to a program. The calling thread is in the gateway's network namespace,
    /// whose routes and sockets the program asks about.
    ///
    /// # Errors
    /// If the kernel refuses the program, or to run it.
    pub fn run(&mut self, meeting: Meeting, frame: &[u8]) -> Result<Fate, Error> {
        let before = self.tables.drops()?;
        let name = meeting.side.program(meeting.hook);
        let mut context = [0_u32; CONTEXT];
        context[IFINDEX] = meeting.interface;
        context[INGRESS_IFINDEX] = meeting.came_by.unwrap_or(0);
        let context: Vec<u8> = context.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let mut out = vec![0; frame.len() + MORE];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ctx_in: Some(&context),
            ..TestRunOptions::new()
        };
        let result = self.program(&name)?.test_run(options).map_err(Error::program(&name))?;
        if result.return_value == SHOT {
            let after = self.tables.drops()?;
            let reason = after.iter().find(|count| !before.contains(count));
            return Ok(Fate::Dropped(reason.map(|(reason, _)| *reason)));
        }
        out.truncate(result.data_size_out as usize);
        Ok(Fate::Passes(out))
    }

    /// The half of a flow that has this tuple.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn half(&self, key: &FlowKey) -> Result<Option<Half>, Error> {
        self.tables.half(key)
    }

    /// A program, loaded when it is asked for the first time: each takes the verifier its time.
    fn program(&mut self, name: &str) -> Result<&mut SchedClassifier, Error> {
        let program = self.ebpf.program_mut(name).ok_or_else(|| Error::Missing(name.to_owned()))?;
        if program.fd().is_err() {
            load::load_one(name, program)?;
        }
        program.try_into().map_err(Error::program(name))
    }
}
