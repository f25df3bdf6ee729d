//! NAT by the classic path: runs `iptables`, `ip6tables` or `nft` inside a gateway's namespace.

use std::{
    io::{self, Write as _},
    process::{Command, Output, Stdio},
};

use crate::{
    errno,
    hint::Advise,
    model::TopologyName,
    netfilter::{self, Rules, Tool, iptables, nftables},
    netns::{Netns, NetnsError},
    tool,
};

/// Why rules could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The tool is not there, or is not to be trusted.
    #[error("{0}")]
    Tool(#[from] tool::Error),
    /// The tool cannot be run.
    #[error("run `{program}`: {}", errno::Io(source))]
    Run {
        /// The command.
        program: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The tool says no.
    #[error("{program}: {said}")]
    Refused {
        /// The command.
        program: &'static str,
        /// Its own words.
        said: String,
    },
    /// The gateway's namespace cannot be entered.
    #[error("{0}")]
    Netns(#[from] NetnsError),
}

impl Advise for Error {
    fn advice(&self) -> Option<String> {
        let hint = match self {
            Self::Tool(tool::Error::Absent { program: "nft" }) => {
                "install the package `nftables`, or set `backend = \"ebpf\"` in `[nat]`"
            }
            Self::Tool(tool::Error::Absent { .. }) => {
                "install the package `iptables`, or set `backend = \"ebpf\"` in `[nat]`"
            }
            Self::Refused { .. } => {
                "it needs a kernel with netfilter's NAT; `backend = \"ebpf\"` in `[nat]` does not"
            }
            Self::Tool(_) | Self::Run { .. } | Self::Netns(_) => return None,
        };
        Some(hint.to_owned())
    }
}

/// The topology's rules that a tool finds in a namespace. None where the tool is missing or fails, as it does on a
/// kernel that has no netfilter: nobody can have made rules then.
///
/// # Errors
/// If the namespace cannot be entered.
pub fn read(tool: Tool, topology: &TopologyName, netns: &Netns) -> Result<Rules, Error> {
    match read_recorded(tool, topology, netns) {
        Err(error @ (Error::Tool(_) | Error::Run { .. } | Error::Refused { .. })) => {
            tracing::debug!("{error}");
            Ok(Rules::default())
        }
        read => read,
    }
}

/// The topology's rules that a tool finds in a namespace, of which it is on record that there may be some.
///
/// # Errors
/// If the namespace cannot be entered, or the tool is missing or fails.
pub fn read_recorded(tool: Tool, topology: &TopologyName, netns: &Netns) -> Result<Rules, Error> {
    let said = |program, arguments: &[&str]| run(netns, program, arguments, "");
    Ok(match tool {
        Tool::Iptables => iptables::parse(topology, &said("iptables-save", &[])?),
        Tool::Ip6tables => iptables::parse(topology, &said("ip6tables-save", &[])?),
        Tool::Nftables => {
            let name = netfilter::name(topology);
            let table = format!("table inet {name}");
            if said("nft", &["list", "tables", "inet"])?.lines().any(|line| line == table) {
                nftables::parse(topology, &said("nft", &["-s", "list", "table", "inet", &name])?)
            } else {
                Rules::default()
            }
        }
    })
}

/// Makes what [`read`] found, `before`, into `after`. Where that fails, what was done of it is taken back.
///
/// # Errors
/// If the tool is missing or refuses.
pub fn change(
    tool: Tool,
    topology: &TopologyName,
    netns: &Netns,
    before: &Rules,
    after: &Rules,
) -> Result<(), Error> {
    let write = |before: &Rules, after: &Rules| {
        let (program, arguments) = tool.writer();
        run(netns, program, arguments, &tool.transaction(before, after)).map(drop)
    };
    let result = write(before, after);
    if result.is_err() {
        // The legacy iptables changes one table after the other.
        let now = read(tool, topology, netns)?;
        if !now.is_same(before) {
            write(&now, before)?;
        }
    }
    result
}

/// Runs a program inside, and returns what it says.
fn run(netns: &Netns, program: &'static str, arguments: &[&str], input: &str) -> Result<String, Error> {
    let mut command = tool::command(program)?;
    // The program is in the namespace of the thread that starts it.
    let output = netns
        .run(|| feed(command.args(arguments), input).map_err(|source| Error::Run { program, source }))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).take(3).collect();
    let said = if lines.is_empty() { output.status.to_string() } else { lines.join("; ") };
    Err(Error::Refused { program, said })
}

fn feed(command: &mut Command, input: &str) -> io::Result<Output> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // All of these programs read their input before they answer. One that ends earlier says why.
    let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output()?;
    match written {
        Err(error) if output.status.success() => Err(error),
        _ => Ok(output),
    }
}
