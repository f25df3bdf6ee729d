//! What went wrong, with the next step and the exit status that go with it.

use std::{io, path::PathBuf};

use netctl::{
    advice, doctor, down,
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
    #[error("{0}")]
    Spec(#[from] model::FileError),
    #[error("{0}")]
    Up(#[from] up::Error),
    #[error("{0}")]
    Down(#[from] down::Error),
    #[error("{0}")]
    Show(#[from] show::Error),
    #[error("{0}")]
    Ping(#[from] ping::Error),
    #[error("{0}")]
    Monitor(#[from] monitor::Error),
    #[error("{0}")]
    Trace(#[from] trace::Error),
    #[error("{0}")]
    Doctor(#[from] doctor::Error),
    #[error("{0}")]
    State(#[from] state::Error),
    #[error("{0}")]
    Export(#[from] export::Error),
    #[error("{0}")]
    Netns(#[from] NetnsError),
    #[error("{0}")]
    Single(#[from] single::Error),
    #[error("{0}")]
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
            Self::Words(error) => error.hint(),
            Self::Command { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("the namespace has the machine's programs: is it installed, and in PATH?".to_owned())
            }
            _ => advice::of(self),
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
