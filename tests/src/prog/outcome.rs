//! What became of one packet, and the claims that tests make about it.

use std::net::SocketAddr;

use netctl_ebpf::reason::DropReason;

use crate::packet::{
    Endpoint,
    check::{self, Side, View},
};

const TC_ACT_UNSPEC: i32 = -1;
const TC_ACT_SHOT: i32 = 2;

/// The one end of a packet that translation changes.
#[derive(Debug, Clone, Copy)]
pub enum Change<E> {
    /// The source becomes this.
    Src(E),
    /// The destination becomes this.
    Dst(E),
}

/// What became of one packet.
#[derive(Debug)]
pub struct Outcome {
    program: String,
    sent: Vec<u8>,
    frame: Vec<u8>,
    action: i32,
    dropped: Vec<DropReason>,
}

impl Outcome {
    /// A drop is counted once, and nothing else is; whatever passes keeps or gets right checksums.
    #[track_caller]
    pub(super) fn new(
        program: &str,
        sent: Vec<u8>,
        frame: Vec<u8>,
        action: i32,
        dropped: Vec<DropReason>,
    ) -> Self {
        let outcome = Self { program: program.to_owned(), sent, frame, action, dropped };
        match action {
            TC_ACT_UNSPEC => assert_eq!(outcome.dropped, [], "passed and counted: {outcome:?}"),
            TC_ACT_SHOT => assert_eq!(outcome.dropped.len(), 1, "dropped, but counted so: {outcome:?}"),
            other => panic!("{program} returned {other}: {outcome:?}"),
        }
        outcome
    }

    /// Where the packet now comes from.
    #[must_use]
    pub fn src(&self) -> SocketAddr {
        View::read(&self.frame).unwrap().src
    }

    /// Where the packet now goes to.
    #[must_use]
    pub fn dst(&self) -> SocketAddr {
        View::read(&self.frame).unwrap().dst
    }

    /// Its bytes as the program left them.
    #[must_use]
    pub fn frame(&self) -> &[u8] {
        &self.frame
    }

    /// It passed.
    #[track_caller]
    pub fn assert_passed(&self) -> &Self {
        assert_eq!(self.action, TC_ACT_UNSPEC, "{} dropped it: {:?}\n{self}", self.program, self.dropped);
        self
    }

    /// It passed with that one end changed (address, port or ICMP identifier) and nothing else but checksums.
    #[track_caller]
    pub fn assert_only_changed<E: Endpoint>(&self, change: Change<E>) -> &Self {
        self.assert_passed();
        let expected = match change {
            Change::Src(src) => check::with(&self.sent, Side::Src, src.endpoint()),
            Change::Dst(dst) => check::with(&self.sent, Side::Dst, dst.endpoint()),
        };
        let (found, expected) = (check::without_checksums(&self.frame), check::without_checksums(&expected));
        assert_eq!(found, expected, "{} changed something else\n{self}", self.program);
        self
    }

    /// Its checksums are those of its bytes.
    #[track_caller]
    pub fn assert_checksums_valid(&self) -> &Self {
        if let Err(wrong) = check::checksums(&self.frame) {
            panic!("{}: {wrong}\n{self}", self.program);
        }
        self
    }

    /// It passed, byte for byte as it came.
    #[track_caller]
    pub fn assert_untouched(&self) -> &Self {
        self.assert_passed();
        assert_eq!(self.frame, self.sent, "{} changed it\n{self}", self.program);
        self
    }

    /// It was dropped and counted under `reason`.
    #[track_caller]
    pub fn assert_dropped(&self, reason: DropReason) -> &Self {
        assert_eq!(self.action, TC_ACT_SHOT, "{} let it pass\n{self}", self.program);
        assert_eq!(self.dropped, [reason], "{}\n{self}", self.program);
        self
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (when, frame) in [("came in", &self.sent), ("left", &self.frame)] {
            match View::read(frame) {
                Some(view) => writeln!(f, "{when}: {} > {} protocol {}", view.src, view.dst, view.proto)?,
                None => writeln!(f, "{when}: no whole IP packet")?,
            }
            writeln!(f, "    {frame:02x?}")?;
        }
        Ok(())
    }
}
