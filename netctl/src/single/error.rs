//! Why a single command fails, and what to do about it.

use crate::{
    apply,
    hint::{Advise, switch},
    holder::Held,
    model::{At, Backend, IfName, NetnsName, Place, Problem, Refused, TopologyName},
    nat::{self, ebpf},
    netlink,
    netns::{Netns, NetnsError},
    observe,
    op::Op,
    place,
    single::nat::RuleKind,
    spec::nearest,
    state,
    sysctl::{Key, SysctlError},
    up,
};

/// Why a single command did nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Only root may.
    #[error("{0}")]
    Up(#[from] up::Error),
    /// The lock cannot be had, or a record not be read.
    #[error("{0}")]
    State(#[from] state::Error),
    /// A place cannot be entered.
    #[error("{0}")]
    Place(#[from] place::Error),
    /// A namespace cannot be looked at.
    #[error("{0}")]
    Netns(#[from] NetnsError),
    /// The kernel does not tell.
    #[error("{0}")]
    Netlink(#[from] netlink::Error),
    /// The tables or the programs of a gateway cannot be used.
    #[error("{0}")]
    Nat(#[from] ebpf::Error),
    /// A gateway cannot be told something.
    #[error("{0}")]
    Translation(#[from] nat::Error),
    /// What is there cannot be read.
    #[error("{0}")]
    Observe(#[from] observe::Error),
    /// A rule cannot be.
    #[error("add a {kind} rule {}: {refused}", At(place))]
    Rule {
        /// What it was to do.
        kind: RuleKind,
        /// Where.
        place: Place,
        /// Why not.
        #[source]
        refused: Box<Refused>,
    },
    /// A socket of the gateway would lose its packets to a forward.
    #[error("add a forward rule {}: {held}", At(place))]
    Held {
        /// Where.
        place: Place,
        /// The socket and its process.
        held: Box<Held>,
    },
    /// A rule that is to go is not there.
    #[error("delete {kind} rule `{name}` {}: there is no such rule", At(place))]
    NoRule {
        /// What it was to do.
        kind: RuleKind,
        /// What was looked for.
        name: String,
        /// Where.
        place: Place,
    },
    /// The gateway is not one of netctl's own programs'.
    #[error("the topology `{owner}` has {backend} translate {}", At(place))]
    Classic {
        /// Whose gateway it is.
        owner: TopologyName,
        /// What translates.
        backend: Backend,
        /// Where.
        place: Place,
    },
    /// What was looked for does not say where a forward listens.
    #[error("{0}")]
    Listen(#[source] Box<Problem>),
    /// A sysctl cannot be read.
    #[error("{}: {source}", At(place))]
    Sysctl {
        /// Where.
        place: Place,
        /// Why.
        source: SysctlError,
    },
    /// The kernel has no such key there.
    #[error("read sysctl `{key}` {}: the kernel has no such key", At(place))]
    NoSysctl {
        /// The key.
        key: Key,
        /// Where.
        place: Place,
    },
    /// A namespace that is named is not there.
    #[error("open namespace `{name}`: there is no such namespace")]
    NoNamespace {
        /// Its name.
        name: NetnsName,
        /// One of a similar name.
        nearest: Option<String>,
    },
    /// An interface that is named is not there.
    #[error("{action} `{interface}` {}: there is no such interface", At(place))]
    NoInterface {
        /// What it was needed for: `delete link`, ..
        action: &'static str,
        /// Its name.
        interface: IfName,
        /// Where.
        place: Place,
        /// Where there is one of that name.
        elsewhere: Option<Place>,
        /// One of a similar name in this place.
        nearest: Option<String>,
    },
    /// An interface that is to be made, or to get that name, is there already.
    #[error("{op}: there is an interface `{interface}` already")]
    Taken {
        /// What was to be done.
        op: Box<Op>,
        /// The name.
        interface: IfName,
        /// Where.
        place: Place,
    },
    /// An address that is to go is not there.
    #[error("{op}: it has no such address")]
    NoAddress {
        /// What was to be done.
        op: Box<Op>,
        /// The addresses that it has.
        there: Vec<String>,
    },
    /// A route that is to go is not there.
    #[error("{op}: there is no such route")]
    NoRoute {
        /// What was to be done.
        op: Box<Op>,
        /// Where.
        place: Place,
    },
    /// A neighbour that is to go is not there.
    #[error("{op}: the kernel does not know it")]
    NoNeighbour {
        /// What was to be done.
        op: Box<Op>,
        /// Where.
        place: Place,
    },
    /// A policy rule that is to go is not there.
    #[error("delete policy rule {}: there is no such rule", At(place))]
    NoPolicyRule {
        /// Where.
        place: Place,
    },
    /// A policy rule is there already, at whatever priority.
    #[error("{op}: there is one already, of priority {priority}")]
    SamePolicyRule {
        /// What was to be done.
        op: Box<Op>,
        /// That of the other one.
        priority: u32,
    },
    /// A policy rule that is to go cannot be named in full.
    #[error(
        "delete policy rule of priority {priority} {}: it has conditions that netctl does not know",
        At(place)
    )]
    StrangePolicyRule {
        /// Its priority.
        priority: u32,
        /// Where.
        place: Place,
    },
    /// It would take something from a topology.
    #[error("{op}: it belongs to the topology `{owner}`")]
    Owned {
        /// What was to be done.
        op: Box<Op>,
        /// Whose it is.
        owner: TopologyName,
    },
    /// The kernel refused; what was done before has been undone.
    #[error("{0}")]
    Apply(#[from] apply::Failure),
}

impl Error {
    /// That there is no namespace of that name, with what may be meant.
    ///
    /// # Errors
    /// If the namespaces cannot be listed.
    pub(super) fn no_namespace(name: &NetnsName) -> Result<Self, NetnsError> {
        let names = Netns::list()?;
        let nearest = nearest(name.as_str(), names.iter().map(NetnsName::as_str)).map(str::to_owned);
        Ok(Self::NoNamespace { name: name.clone(), nearest })
    }
}

impl Advise for Error {
    fn advice(&self) -> Option<String> {
        match self {
            Self::NoSysctl { place: Place::Netns(name), .. } => {
                Some(format!("`netctl exec {name:#} -- sysctl -a` lists the keys that are there"))
            }
            Self::NoSysctl { place: Place::Host, .. } => Some("`sysctl -a` lists the keys that are there".to_owned()),
            Self::NoNamespace { nearest: Some(nearest), .. } => Some(format!("did you mean `{nearest}`?")),
            Self::NoNamespace { name, nearest: None } => {
                Some(format!("`netctl ns ls` lists them, `netctl ns add {name:#}` makes it"))
            }
            Self::NoInterface { elsewhere: Some(Place::Netns(name)), .. } => {
                Some(format!("there is one in namespace `{name}`: say `-n {name:#}`"))
            }
            Self::NoInterface { elsewhere: Some(Place::Host), .. } => {
                Some("there is one on the host: leave out `-n`".to_owned())
            }
            Self::NoInterface { nearest: Some(nearest), .. } => Some(format!("did you mean `{nearest}`?")),
            Self::NoInterface { place, .. } => Some(format!("`netctl{} link ls` lists them", switch(place))),
            Self::Taken { interface, .. } if interface.as_str() == "lo" => {
                Some("every namespace has a loopback of its own, which stays there".to_owned())
            }
            Self::Taken { interface, place, .. } => Some(format!(
                "choose another name, or remove it with `netctl{} link del {interface:#}`",
                switch(place)
            )),
            Self::NoAddress { there, .. } if there.is_empty() => Some("it has none at all".to_owned()),
            Self::NoAddress { there, .. } => Some(format!("it has {}", there.join(", "))),
            Self::NoNeighbour { place, .. } => Some(format!("`netctl{} neigh ls` lists them", switch(place))),
            Self::NoPolicyRule { place } => Some(format!("`netctl{} rule ls` lists them", switch(place))),
            Self::SamePolicyRule { .. } => Some("with `priority N` it goes beside it".to_owned()),
            Self::StrangePolicyRule { priority, .. } => {
                Some(format!("`ip rule del priority {priority}` takes the first one of it"))
            }
            Self::NoRoute { place, .. } => Some(format!("`netctl{} route ls` lists them", switch(place))),
            Self::Owned { owner, .. } => Some(format!(
                "edit its file and `netctl up` it, or remove all of it with `netctl down {owner:#}`; `--force` does it all \
                 the same"
            )),
            Self::Held { .. } => Some(
                "end it, or choose another port; with `--force` the forward gets what comes from outside for as long as \
                 it is there"
                    .to_owned(),
            ),
            Self::NoRule { kind, place, .. } => {
                Some(format!("`netctl{} nat {kind} ls` lists them", switch(place)))
            }
            Self::Classic { .. } => Some("edit its file and `netctl up` it".to_owned()),
            // Rather than what `up` has to say of it.
            Self::Apply(failure) => failure
                .left
                .first()
                .map(|left| format!("what was done before it could not all be undone ({left})")),
            _ => None,
        }
    }
}
