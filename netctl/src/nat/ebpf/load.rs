//! The embedded object: into the kernel, with its load-time constants, and pinned.

use std::{fs, io, os::fd::AsRawFd as _, path::Path};

use aya::{Ebpf, EbpfLoader, programs::Program};
use nix::{
    mount::{MsFlags, mount},
    sys::{
        socket::{AddressFamily, SockFlag, SockType, socket},
        statfs::{BPF_FS_MAGIC, statfs},
    },
};

use netctl_ebpf::config::Config;

use super::{Error, Pins, make_parent, maps::Tables};

/// The object, as `cargo xtask build-ebpf` made it; empty where it was not built.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/netctl.bpf.o"));

/// Every map of the object that is pinned.
pub(super) const MAPS: [&str; 11] = [
    "FLOWS",
    "MASQUERADES",
    "FORWARDS",
    "ALLOWS",
    "ENDED",
    "CONFIG",
    "GENERATIONS",
    "LOCALS",
    "PEERS",
    "DROPS",
    "WORK",
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
        let netns_cookie =
            netns_cookie().map_err(Error::io("read the cookie of", Path::new("/proc/thread-self/ns/net")))?;
        Ok(Self { netns_cookie, local_ports: [first, last] })
    }
}

fn netns_cookie() -> io::Result<u64> {
    let socket = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let mut cookie = 0_u64;
    let mut len = size_of_val(&cookie) as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to `cookie`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut len,
        )
    };
    if result == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}

/// Makes sure that a bpffs is mounted at `bpffs`, as systemd does at boot.
///
/// # Errors
/// If it is not and cannot be.
pub fn mount_bpffs(bpffs: &Path) -> Result<(), Error> {
    if statfs(bpffs).is_ok_and(|fs| fs.filesystem_type() == BPF_FS_MAGIC) {
        return Ok(());
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("bpf"), bpffs, Some("bpf"), flags, Some("mode=0700"))
        .map_err(|errno| Error::io("mount a bpffs at", bpffs)(errno.into()))
}

/// Parses the object and creates its maps; programs are not loaded yet. Nothing is pinned.
///
/// # Errors
/// If the binary has no object, or the kernel refuses a map.
pub fn open(constants: Constants) -> Result<Ebpf, Error> {
    if OBJECT.is_empty() {
        return Err(Error::NoObject);
    }
    EbpfLoader::new()
        .override_global("NETNS_COOKIE", &constants.netns_cookie, true)
        .override_global("LOCAL_PORTS", &constants.local_ports, true)
        .load(OBJECT)
        .map_err(|error| Error::Load(Box::new(error)))
}

/// Loads the programs of a gateway whose [`Constants`] these are and pins them with their maps. Whatever another ABI
/// version had pinned there goes first. On failure nothing stays behind.
///
/// # Errors
/// If the kernel refuses a map, a program or a pin.
pub fn load(pins: &Pins, constants: Constants) -> Result<(), Error> {
    pins.remove()?;
    let mut ebpf = open(constants)?;
    let result = pin_all(pins, &mut ebpf).and_then(|()| Tables::open(pins)?.set_config(&Config::DEFAULT));
    if result.is_err() {
        let _ = pins.remove();
    }
    result
}

fn pin_all(pins: &Pins, ebpf: &mut Ebpf) -> Result<(), Error> {
    for name in MAPS {
        let path = pins.map(name);
        make_parent(&path)?;
        let map = ebpf.map(name).ok_or_else(|| Error::Missing(name.to_owned()))?;
        map.pin(&path).map_err(Error::pin(&path))?;
    }
    for (name, program) in ebpf.programs_mut() {
        let path = pins.program(name);
        make_parent(&path)?;
        let failed = Error::program(name);
        match program {
            Program::SchedClassifier(tc) => {
                tc.load().map_err(failed)?;
                tc.pin(&path).map_err(Error::pin(&path))?;
            }
            Program::CgroupSockAddr(hook) => {
                hook.load().map_err(failed)?;
                hook.pin(&path).map_err(Error::pin(&path))?;
            }
            _ => return Err(Error::Missing(name.to_owned())),
        }
    }
    Ok(())
}
