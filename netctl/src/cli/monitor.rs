//! `netctl monitor`: what happens, as it happens.

mod text;

use std::{collections::BTreeSet, future::poll_fn, io, task::Poll};

use netctl::{
    model::Place,
    monitor::{
        Monitor, Wanted,
        event::{Event, Kind},
    },
    state::Directories,
};
use tokio::{
    runtime::Builder,
    signal::unix::{Signal, SignalKind, signal},
};

use self::text::Columns;
use super::{Exit, Failure, Printer, namespace, source};

/// Shown below the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  netctl monitor                           all that happens in the topology that is up
  netctl monitor office --only flow,drop
  netctl monitor -n red -n blue            two namespaces, whoever made them
  netctl monitor --json | jq 'select(.kind == \"drop\") | .object.reason'

It goes on until Ctrl-C. Events that are lost are an event, too. One monitor at a time can listen to a gateway.";

/// What to listen to.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The topology, by its name or its file [default: the one that is up, unless -n says where]
    #[arg(value_name = "NAME|FILE")]
    topology: Option<String>,
    /// Tell of these alone
    #[arg(short, long, value_name = "KIND", value_delimiter = ',')]
    only: Vec<Choice>,
    /// Listen in these namespaces alone, or in `host`; without NAME whoever made them
    #[arg(short = 'n', long = "netns", value_name = "NS", value_parser = namespace::place)]
    namespaces: Vec<Place>,
    /// Tell also what the programs decide about each packet, if they were built to log it
    #[arg(long)]
    debug: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Choice {
    Link,
    Address,
    Route,
    Neighbour,
    Flow,
    Drop,
}

impl From<Choice> for Kind {
    fn from(choice: Choice) -> Self {
        match choice {
            Choice::Link => Self::Link,
            Choice::Address => Self::Address,
            Choice::Route => Self::Route,
            Choice::Neighbour => Self::Neighbour,
            Choice::Flow => Self::Flow,
            Choice::Drop => Self::Drop,
        }
    }
}

pub(super) fn run(
    args: &Args,
    before: Option<&Place>,
    directories: &Directories,
    printer: &mut Printer,
) -> Result<Exit, Failure> {
    let places: Vec<Place> = before.into_iter().chain(&args.namespaces).cloned().collect();
    let topology = match &args.topology {
        None if !places.is_empty() => None,
        argument => Some(source::up(argument.as_deref(), directories)?),
    };
    let kinds: BTreeSet<Kind> = match args.only.as_slice() {
        [] => Kind::CHOICE.into(),
        chosen => chosen.iter().map(|choice| Kind::from(*choice)).collect(),
    };
    let wanted = Wanted { topology, places, kinds, debug: args.debug };
    let runtime = Builder::new_current_thread().enable_all().build().map_err(Failure::Runtime)?;
    runtime.block_on(tell(wanted, directories, printer))
}

async fn tell(wanted: Wanted, directories: &Directories, printer: &mut Printer) -> Result<Exit, Failure> {
    let mut signals = signals().map_err(Failure::Runtime)?;
    let mut monitor = Monitor::begin(wanted, directories)?;
    monitor.end_at(async move {
        poll_fn(|context| match signals.iter_mut().any(|signal| signal.poll_recv(context).is_ready()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    });
    let mut columns = Columns::default();
    while let Some(event) = monitor.next().await {
        print(&event, &mut columns, printer)?;
    }
    Ok(Exit::Done)
}

fn print(event: &Event, columns: &mut Columns, printer: &mut Printer) -> Result<(), Failure> {
    printer.stream(event, |printer| printer.line(&columns.line(event, printer)))
}

/// What ends it.
fn signals() -> io::Result<[Signal; 3]> {
    Ok([signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?])
}
