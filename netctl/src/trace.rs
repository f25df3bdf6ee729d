//! What would become of a packet: step by step through namespaces, routes, bridges and translation, there and back. What
//! `netctl trace` tells.
//!
//! The kernel is asked where that can be done without sending anything: routes by `RTM_GETROUTE` as for a packet that
//! arrives, sockets by `sock_diag`, and the real NAT programs by [`Rehearsal`](crate::nat::ebpf::rehearsal::Rehearsal).
//! What cannot be asked (rules of packet filters, what is behind a device that is no cable) is said to be unknown.

mod advice;
mod nat;
mod netfilter;
mod packet;
mod programs;
mod segment;
mod walk;
mod world;

use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

pub use self::packet::{Packet, What};
use self::{nat::Nat, walk::Walker, world::World};
pub use crate::verdict::Verdict;
use crate::{
    firewall,
    hint::Advise,
    model::Place,
    nat::ebpf,
    netlink,
    netns::NetnsError,
    place,
    state::{self, Directories},
    sysctl::SysctlError,
    up,
};

/// The source port of a packet that has none given, and the identifier of an echo request.
const SOURCE_PORT: u16 = 40_000;

/// Why nothing can be told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This process may not.
    #[error("{0}")]
    Up(#[from] up::Error),
    /// It begins nowhere.
    #[error("there is no namespace `{0}`")]
    NoPlace(Place),
    /// Source and destination are of two families.
    #[error("{from} and {to} are of two address families")]
    Families {
        /// The source.
        from: IpAddr,
        /// The destination.
        to: IpAddr,
    },
    /// A place could not be entered.
    #[error("{0}")]
    Place(#[from] place::Error),
    /// A namespace could not be entered.
    #[error("{0}")]
    Netns(#[from] NetnsError),
    /// A place does not answer.
    #[error("look into `{place}`: {source}")]
    Netlink {
        /// Where.
        place: Place,
        /// Why.
        source: netlink::Error,
    },
    /// A sysctl could not be read.
    #[error("{0}")]
    Sysctl(#[from] SysctlError),
    /// It is not known what filters there are.
    #[error("{0}")]
    Firewall(#[from] firewall::Error),
    /// The programs of a gateway could not be asked.
    #[error("ask the NAT programs of `{place}`: {source}")]
    Programs {
        /// Where.
        place: Place,
        /// Why.
        source: ebpf::Error,
    },
    /// A record could not be read.
    #[error("{0}")]
    State(#[from] state::Error),
}

impl Advise for Error {
    fn advice(&self) -> Option<String> {
        matches!(self, Self::NoPlace(_)).then(|| "`netctl ns ls` lists the namespaces".to_owned())
    }
}

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question {
    /// Where the packet begins.
    pub place: Place,
    /// Its source; what is left out is chosen as for a socket that is bound to nothing.
    pub from: (Option<IpAddr>, Option<u16>),
    /// Its destination; the port of an echo request is 0.
    pub to: SocketAddr,
    /// What it is.
    pub what: What,
    /// How long it is, the IP header included.
    pub size: u32,
}

/// What would happen.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The packet's way.
    pub there: Walk,
    /// Its answer's, if it arrives.
    pub back: Option<Walk>,
}

/// A packet's way.
#[derive(Debug, Serialize)]
pub struct Walk {
    /// As it leaves its socket.
    pub packet: Packet,
    /// One after the other.
    pub steps: Vec<Step>,
    /// How it ends.
    pub end: End,
}

/// One thing that happens to a packet.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// Where.
    pub place: Place,
    /// What it is about: `route`, `nat`, `link`, ..
    pub about: &'static str,
    /// What happens.
    pub text: String,
    /// Whether it goes on: not after a `problem`, and with a `warning` perhaps.
    pub verdict: Verdict,
}

/// How a packet's way ends.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "result", rename_all = "lowercase")]
pub enum End {
    /// Somebody takes it.
    Arrives {
        /// Where.
        place: Place,
        /// As what.
        packet: Packet,
    },
    /// Nobody does.
    Dies {
        /// Where.
        place: Place,
        /// Why.
        why: String,
        /// What to do about it.
        fix: Option<String>,
    },
    /// It goes where netctl cannot look.
    Leaves {
        /// The last place that can be looked into.
        place: Place,
        /// Which way.
        by: String,
        /// As what.
        packet: Packet,
    },
}

impl Report {
    /// Whether the packet arrives and its answer comes back.
    #[must_use]
    pub fn holds(&self) -> bool {
        let arrives = |walk: &Walk| matches!(walk.end, End::Arrives { .. });
        arrives(&self.there) && self.back.as_ref().is_some_and(arrives)
    }

    /// All of it in a line.
    #[must_use]
    pub fn verdict(&self) -> String {
        match (&self.there.end, self.back.as_ref().map(|back| &back.end)) {
            (End::Arrives { place, packet }, back) => {
                let answer = match back {
                    Some(End::Dies { place, why, .. }) => format!("the answer dies in `{place}`: {why}"),
                    Some(End::Leaves { place, by, .. }) => {
                        format!("the answer leaves `{place}` {by}: netctl sees no further")
                    }
                    _ => "the answer comes back".to_owned(),
                };
                format!(
                    "arrives at `{place}` as {}, from {}; {answer}",
                    packet.destination(),
                    packet.from.ip()
                )
            }
            (End::Dies { place, why, .. }, _) => format!("dies in `{place}`: {why}"),
            (End::Leaves { place, by, packet }, _) => {
                format!("leaves `{place}` {by} as {packet}: netctl sees no further")
            }
        }
    }

    /// What to do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        let ends = [Some(&self.there.end), self.back.as_ref().map(|back| &back.end)];
        ends.into_iter().flatten().find_map(|end| match end {
            End::Dies { fix, .. } => fix.as_deref(),
            _ => None,
        })
    }
}

/// Follows a packet, and its answer. Nothing is sent, and nothing changed.
///
/// # Errors
/// If the place is not there, or the kernel does not tell what is asked.
pub fn trace(question: &Question, directories: &Directories) -> Result<Report, Error> {
    up::require_root()?;
    let Question { place, from: (from, port), to, what, size } = question;
    if let Some(from) = from.filter(|from| from.is_ipv4() != to.is_ipv4()) {
        return Err(Error::Families { from, to: to.ip() });
    }
    let mut world = World::new(directories);
    if !world.open(place)? {
        return Err(Error::NoPlace(place.clone()));
    }
    let mut nat = Nat::new(directories)?;
    let source = from.unwrap_or_else(|| packet::unspecified(to.ip()));
    let source = SocketAddr::new(source, port.unwrap_or(SOURCE_PORT));
    let packet = Packet { what: *what, from: source, to: *to, is_answer: false };
    let mut there = Walker::new(&mut world, &mut nat, packet, *size);
    there.send(place, from.is_some())?;
    let there = there.walk()?;
    let End::Arrives { place: far, packet: arrived } = &there.walk.end else {
        return Ok(Report { there: there.walk, back: None });
    };
    let mut back = Walker::new(&mut world, &mut nat, arrived.answer(), *size);
    back.answers(place, &there);
    back.send(far, true)?;
    let back = back.walk()?.walk;
    Ok(Report { there: there.walk, back: Some(back) })
}
