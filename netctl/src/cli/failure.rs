//! What went wrong, with the next step and the exit status that go with it.

use std::{io, path::PathBuf};

use netctl::{
    doctor, down,
    errno::Io,
    export,
    model::{self, TopologyName},
    monitor,
    netns::NetnsError,
    ping, show, single, state, trace, up,
};

use super::{Exit, words};

/// Everything that a verb can fail with.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("read `{}`: {}", path.display(), Io(source))]
    File { path: PathBuf, source: io::Error },
    #[error("`./{one}` and `./{other}` are both there")]
    TwoFiles { one: &'static str, other: &'static str },
    #[error("`{}` gives the topology no name: {source}", path.display())]
    Name { path: PathBuf, source: model::NameError },
    #[error("`{text}` is neither a topology's name nor a file: {source}")]
    Argument { text: String, source: model::NameError },
    #[error("there is no topology `{name}`{}", if up.is_empty() { ": none is up" } else { "" })]
    Unknown { name: TopologyName, nearest: Option<String>, up: Vec<TopologyName> },
    #[error("several topologies are up: {}", listed(names))]
    Several { names: Vec<TopologyName> },
    #[error(transparent)]
    Spec(#[from] model::FileError),
    #[error(transparent)]
    Up(#[from] up::Error),
    #[error(transparent)]
    Down(#[from] down::Error),
    #[error(transparent)]
    Show(#[from] show::Error),
    #[error(transparent)]
    Ping(#[from] ping::Error),
    #[error(transparent)]
    Monitor(#[from] monitor::Error),
    #[error(transparent)]
    Trace(#[from] trace::Error),
    #[error(transparent)]
    Doctor(#[from] doctor::Error),
    #[error(transparent)]
    State(#[from] state::Error),
    #[error(transparent)]
    Export(#[from] export::Error),
    #[error(transparent)]
    Netns(#[from] NetnsError),
    #[error(transparent)]
    Single(#[from] single::Error),
    #[error(transparent)]
    Words(#[from] words::Error),
    #[error("run `{command}`: {}", Io(source))]
    Command { command: String, source: io::Error },
    #[error("begin to listen: {}", Io(.0))]
    Runtime(io::Error),
    #[error("write the output: {}", Io(.0))]
    Output(#[from] io::Error),
}

impl Failure {
    /// The next step, where there is one.
    pub(super) fn hint(&self) -> Option<String> {
        match self {
            Self::File { path, source } if source.kind() == io::ErrorKind::NotFound => {
                let is_word = path.extension().is_none() && path.components().count() == 1;
                is_word.then(|| {
                    "a topology's file is meant; without one it is ./netctl.toml, else the quickstart"
                        .to_owned()
                })
            }
            Self::Unknown { nearest: Some(nearest), .. } => Some(format!("did you mean `{nearest}`?")),
            Self::Unknown { up, .. } if !up.is_empty() => Some(format!("these are up: {}", listed(up))),
            Self::Several { .. } => Some("say which one is meant by its name, or its file".to_owned()),
            Self::TwoFiles { .. } => Some("say which one is meant".to_owned()),
            Self::Name { .. } => Some("begin the file with `name = \"NAME\"`".to_owned()),
            Self::Spec(error) => error.hint(),
            Self::Up(error)
            | Self::Ping(ping::Error::Up(error))
            | Self::Monitor(monitor::Error::Up(error))
            | Self::Down(down::Error::Up(error)) => error.hint(),
            Self::Down(down::Error::Ownership(error)) => error.hint(),
            Self::Single(error) => error.hint(),
            Self::Words(error) => error.hint(),
            Self::Show(error) => error.hint(),
            Self::Export(error) => error.hint(),
            Self::Ping(ping::Error::NotUp(_))
            | Self::Monitor(monitor::Error::NotUp(_))
            | Self::Doctor(doctor::Error::NotUp(_)) => Some(show::Error::HOW_TO_BE_UP.to_owned()),
            Self::Monitor(monitor::Error::NoLog(_)) => Some(
                "`cargo xtask build-ebpf --log`, build netctl again, and `netctl up` again loads some that do".to_owned(),
            ),
            Self::Monitor(monitor::Error::Busy(_)) => {
                Some("with `--only link,address,route,neighbour` several may listen".to_owned())
            }
            Self::Trace(error) => error.hint(),
            Self::Monitor(monitor::Error::NoPlace(_)) => {
                Some("`netctl ns ls` lists the namespaces".to_owned())
            }
            Self::Netns(error)
            | Self::Ping(ping::Error::Netns(error))
            | Self::Down(down::Error::Netns(error)) => error.hint(),
            // What is said of it is being done.
            Self::Down(down::Error::State(state::Error::Record { .. })) => None,
            Self::State(error)
            | Self::Ping(ping::Error::State(error))
            | Self::Monitor(monitor::Error::State(error))
            | Self::Doctor(doctor::Error::State(error))
            | Self::Down(down::Error::State(error)) => error.hint(),
            Self::Ping(ping::Error::Place(error))
            | Self::Monitor(monitor::Error::Place(error))
            | Self::Down(down::Error::Place(error)) => error.hint(),
            Self::Down(error @ down::Error::Rules(_)) => error.rules_hint().map(str::to_owned),
            Self::Command { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("the namespace has the machine's programs: is it installed, and in PATH?".to_owned())
            }
            _ => None,
        }
    }

    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::File { .. }
            | Self::TwoFiles { .. }
            | Self::Name { .. }
            | Self::Argument { .. }
            | Self::Unknown { .. }
            | Self::Several { .. }
            | Self::Spec(_)
            | Self::Trace(trace::Error::Families { .. })
            | Self::Words(_) => Exit::Usage,
            // As shells have it: not found, or found and not to be run.
            Self::Command { source, .. } if source.kind() == io::ErrorKind::NotFound => Exit::Command(127),
            Self::Command { .. } => Exit::Command(126),
            _ => Exit::Failed,
        }
    }
}

/// `` `a`, `b` ``
fn listed(names: &[TopologyName]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
