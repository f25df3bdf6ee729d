//! The embedded object: into the kernel, with its load-time constants, and pinned.

use std::{
    fs, io,
    num::NonZero,
    os::unix::fs::MetadataExt as _,
    panic::resume_unwind,
    path::Path,
    sync::{Mutex, PoisonError},
    thread,
};

use aya::{
    Ebpf, EbpfLoader,
    maps::Array,
    programs::{Program, ProgramError},
    util::nr_cpus,
};
use netctl_ebpf::config::{Config, Timeouts};
use nix::{
    mount::{MsFlags, mount},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};

use super::{Build, Error, Pins, layout, make_parent, maps::events::monotonic_ns, remove_tree};
use crate::netns;

/// The object, as `cargo xtask build-ebpf` made it; empty where it was not built.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/netctl.bpf.o"));

/// Every map of the object that outlives a build. What is not here, each build has of its own.
const MAPS: [&str; 23] = [
    "FLOWS",
    "SWEEP",
    "UNANSWERED",
    "BINDINGS",
    "CONTACTS",
    "DATAGRAMS",
    "HELD",
    "MASQUERADES",
    "FORWARDS",
    "LISTED",
    "ALLOWS",
    "ENDED",
    "CONFIG",
    "GENERATIONS",
    "LOCALS",
    "PEERS",
    "DROPS",
    "PATHS",
    "WATCHED",
    "EVENTS",
    "LISTENER",
    "QUOTAS",
    "LOST",
];

/// What the programs are told when they are loaded.
#[derive(Debug, Clone, Copy)]
pub struct Constants {
    /// `SO_NETNS_COOKIE` of the gateway's namespace.
    pub netns_cookie: u64,
    /// First and last port of the gateway's `net.ipv4.ip_local_port_range`.
    pub local_ports: [u16; 2],
}

impl Constants {
    /// Those of the calling thread's network namespace.
    ///
    /// # Errors
    /// If the kernel does not tell the cookie (before 5.14) or `/proc` the range.
    pub fn of_this_namespace() -> Result<Self, Error> {
        const RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";
        let range = fs::read_to_string(RANGE).map_err(Error::io("read", Path::new(RANGE)))?;
        let ports: Vec<u16> = range.split_whitespace().filter_map(|port| port.parse().ok()).collect();
        let &[first, last] = ports.as_slice() else {
            let odd =
                io::Error::new(io::ErrorKind::InvalidData, format!("not two ports: `{}`", range.trim()));
            return Err(Error::io("read", Path::new(RANGE))(odd));
        };
        let netns_cookie = netns::cookie()
            .map_err(Error::io("read the cookie of", Path::new("/proc/thread-self/ns/net")))?;
        Ok(Self { netns_cookie, local_ports: [first, last] })
    }
}

/// Whether a bpffs is mounted at `bpffs`.
///
/// # Errors
/// If it is not, and one mounted now would go with this process: below the fresh `/sys` of `ip netns exec`.
pub fn has_bpffs(bpffs: &Path) -> Result<bool, Error> {
    if statfs(bpffs).is_ok_and(|fs| fs.filesystem_type() == BPF_FS_MAGIC) {
        return Ok(true);
    }
    if has_lasting_mounts() { Ok(false) } else { Err(Error::PassingMount { path: bpffs.to_owned() }) }
}

/// Makes sure that a bpffs is mounted at `bpffs`, as systemd does at boot.
///
/// # Errors
/// If it is not and cannot be, or those of [`has_bpffs`].
pub fn mount_bpffs(bpffs: &Path) -> Result<(), Error> {
    if has_bpffs(bpffs)? {
        return Ok(());
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("bpf"), bpffs, Some("bpf"), flags, Some("mode=0700"))
        .map_err(|errno| Error::io("mount a bpffs at", bpffs)(errno.into()))
}

/// Whether this process shares its mounts with the first one. Who cannot be asked is taken to say so.
fn has_lasting_mounts() -> bool {
    let mounts = |process: &str| fs::metadata(format!("/proc/{process}/ns/mnt"));
    match (mounts("1"), mounts("self")) {
        (Ok(first), Ok(own)) => (first.dev(), first.ino()) == (own.dev(), own.ino()),
        _ => true,
    }
}

/// Parses the object and creates its maps, or takes those that are pinned; programs are not loaded yet. The table of flows
/// takes so many entries, two a flow.
pub(super) fn open(
    constants: Constants,
    entries: u32,
    config: &Config,
    pins: Option<&Pins>,
) -> Result<Ebpf, Error> {
    if OBJECT.is_empty() {
        return Err(Error::NoObject);
    }
    let mut loader = EbpfLoader::new();
    // Nothing in the object is relocated by the types of the running kernel, and reading them takes a while.
    loader.btf(None);
    loader.override_global("NETNS_COOKIE", &constants.netns_cookie, true);
    loader.override_global("LOCAL_PORTS", &constants.local_ports, true);
    let layout = layout::of_this_kernel();
    loader.override_global("LAYOUT", &layout, true);
    loader.map_max_entries("FLOWS", entries);
    loader.map_max_entries("UNANSWERED", config.unanswered);
    if let Some(pins) = pins.filter(|pins| pins.exist()) {
        for name in MAPS {
            loader.map_pin_path(name, pins.map(name));
        }
    }
    loader.load(OBJECT).map_err(|error| Error::Load(Box::new(error)))
}

/// Loads the programs of a gateway whose [`Constants`] these are, onto the maps of this ABI version if they are there,
/// else with new ones, for so many flows. Nothing runs them yet; another build beside them goes on. All of it appears at once: on failure,
/// or when killed, nothing counts that was made.
///
/// # Errors
/// If the kernel refuses a map, a program or a pin.
pub fn load(pins: &Pins, constants: Constants, max_flows: u32) -> Result<Build, Error> {
    let build = Build::of(&constants);
    let (stage, has_maps) = (pins.stage(), pins.exist());
    let goal = if has_maps { pins.programs(build) } else { pins.version(build.abi) };
    remove_tree(&stage)?;
    let cpus = nr_cpus().map_err(|(path, source)| Error::io("read", Path::new(path))(source))?;
    let config = Config {
        silent_until_ns: if has_maps || pins.versions()?.is_empty() { 0 } else { patience_ns() },
        ..Config::of(max_flows, cpus as u32, token()?)
    };
    let mut ebpf = open(constants, max_flows.saturating_mul(2), &config, Some(pins))?;
    let pinned = if has_maps {
        pin_programs(&stage, &mut ebpf)
    } else {
        let programs = stage.join("programs").join(build.directory());
        settle(&mut ebpf, config)
            .and_then(|()| pin_maps(&stage.join("maps"), &ebpf))
            .and_then(|()| pin_programs(&programs, &mut ebpf))
    };
    let made = pinned.and_then(|()| {
        remove_tree(&goal)?;
        make_parent(&goal)?;
        fs::rename(&stage, &goal).map_err(Error::io("make", &goal))
    });
    if made.is_err() {
        let _ = remove_tree(&stage);
    }
    made.map(|()| build)
}

/// Until when connections of a table that is replaced may go on: none of them is older than their lifetime.
fn patience_ns() -> u64 {
    monotonic_ns() + Timeouts::DEFAULT.tcp_established
}

/// A number that nobody can guess.
fn token() -> Result<u64, Error> {
    getrandom::u64()
        .map_err(|error| Error::io("draw random bytes from", Path::new("getrandom(2)"))(error.into()))
}

/// Gives new maps what the programs find in them.
fn settle(ebpf: &mut Ebpf, settings: Config) -> Result<(), Error> {
    let map = ebpf.map_mut("CONFIG").ok_or_else(|| Error::Missing("CONFIG".to_owned()))?;
    let set = Array::try_from(map).and_then(|mut config| config.set(0, settings, 0));
    set.map_err(|source| Error::Map { map: "CONFIG", source: Box::new(source) })
}

fn pin_maps(directory: &Path, ebpf: &Ebpf) -> Result<(), Error> {
    for name in MAPS {
        let path = directory.join(name);
        make_parent(&path)?;
        let map = ebpf.map(name).ok_or_else(|| Error::Missing(name.to_owned()))?;
        map.pin(&path).map_err(Error::pin(&path))?;
    }
    Ok(())
}

fn pin_programs(directory: &Path, ebpf: &mut Ebpf) -> Result<(), Error> {
    make_parent(&directory.join("program"))?;
    let pin = |name: &str, program: &mut Program| {
        let path = directory.join(name);
        program.pin(&path).map_err(Error::pin(&path))
    };
    load_all(ebpf, pin).map(drop)
}

/// Has every program verified at once, as long as there are processors: that is nearly all of the time that loading takes.
fn load_all<T: Send>(
    ebpf: &mut Ebpf,
    then: impl Fn(&str, &mut Program) -> Result<T, Error> + Sync,
) -> Result<Vec<T>, Error> {
    let waiting = Mutex::new(ebpf.programs_mut().collect::<Vec<_>>());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let load = || {
        std::iter::from_fn(next)
            .map(|(name, program)| {
                load_one(name, program)?;
                then(name, program)
            })
            .collect::<Result<Vec<T>, Error>>()
    };
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        // This thread does it, with as many others as there may be.
        let others = (1..processors).map_while(|_| thread::Builder::new().spawn_scoped(scope, load).ok());
        let others: Vec<_> = others.collect();
        let join =
            |load: thread::ScopedJoinHandle<'_, _>| load.join().unwrap_or_else(|panic| resume_unwind(panic));
        let mut loaded = load()?;
        for other in others {
            loaded.extend(join(other)?);
        }
        Ok(loaded)
    })
}

pub(super) fn load_one(name: &str, program: &mut Program) -> Result<(), Error> {
    match program {
        Program::SchedClassifier(tc) => patiently(|| tc.load()).map_err(Error::program(name)),
        Program::CgroupSockAddr(hook) => patiently(|| hook.load()).map_err(Error::program(name)),
        _ => Err(Error::Missing(name.to_owned())),
    }
}

/// How many programs the kernel takes, and how many of them it compiles to machine code.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rehearsed {
    /// All of them.
    pub programs: usize,
    /// Those that are not interpreted.
    pub compiled: usize,
}

/// Loads the programs as for a gateway in the calling thread's network namespace, and lets go of them.
///
/// # Errors
/// If the kernel refuses a map or a program.
pub fn rehearse() -> Result<Rehearsed, Error> {
    /// Flows that there is room for: as few as will do.
    const FLOWS: u32 = 64;
    let config = Config::of(FLOWS, 1, 0);
    let mut ebpf = open(Constants::of_this_namespace()?, 2 * FLOWS, &config, None)?;
    let is_compiled = |name: &str, program: &mut Program| {
        program.info().map(|info| info.size_jitted() > 0).map_err(Error::program(name))
    };
    let are_compiled = load_all(&mut ebpf, is_compiled)?;
    let compiled = are_compiled.iter().filter(|is_compiled| **is_compiled).count();
    Ok(Rehearsed { programs: are_compiled.len(), compiled })
}

/// How often a program is offered to the verifier.
const OFFERS: u32 = 5;

/// The verifier gives up with `EAGAIN` when a signal is pending (`do_check` in kernel/bpf/verifier.c), and means it.
fn patiently(mut load: impl FnMut() -> Result<(), ProgramError>) -> Result<(), ProgramError> {
    let is_interrupted = |error: &ProgramError| matches!(error, ProgramError::LoadError { io_error, .. } if io_error.kind() == io::ErrorKind::WouldBlock);
    for _ in 1..OFFERS {
        match load() {
            Err(error) if is_interrupted(&error) => {}
            loaded => return loaded,
        }
    }
    load()
}
