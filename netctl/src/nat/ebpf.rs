//! NAT as TC programs: loading, attaching, rules in, flows and counters out.
//!
//! One eBPF object a gateway. Everything that outlives this process is pinned below `BPFFS/netctl/TOPOLOGY/PLACE/`:
//!
//! ```text
//! links/uplink/wan0/egress  links/inside/v-net-0/ingress ..  local/connect4 ..
//! vABI/maps/FLOWS ..        vABI/programs/HASH/uplink_egress ..
//! ```
//!
//! Another [`Build`] of the programs is loaded beside the one that runs, onto the same maps if its ABI version is the
//! same; then each link is handed over in place, and only then the old ones go. What is to appear at once is made in
//! `new/` and renamed.

pub mod attach;
mod build;
mod filter;
mod layout;
mod link;
pub mod load;
pub mod log;
pub mod maps;
pub mod rehearsal;
pub mod watch;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::DirBuilderExt as _,
    },
    path::{Path, PathBuf},
};

use aya::programs::{ProgramInfo, loaded_programs};
use netctl_ebpf::ABI_VERSION;
use nix::errno::Errno;

use crate::{
    build::Build,
    errno::{self, Chain, Io},
    hint::Advise,
    model::{IfName, Place, Side, TopologyName, hash::fnv1a},
    netlink::{self, Refusal},
};

/// What can go wrong between netctl and the kernel's BPF.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This binary was built without the object.
    #[error("this netctl was built without its eBPF object")]
    NoObject,
    /// The object was refused.
    #[error("load the eBPF object: {}", Chain(&**.0))]
    Load(#[source] Box<aya::EbpfError>),
    /// A program was refused by the verifier, or could not be attached.
    #[error("program `{program}`: {}", Chain(&**source))]
    Program {
        /// Its name.
        program: String,
        /// The loader's words.
        source: Box<aya::programs::ProgramError>,
    },
    /// A program or map that the object should have is missing.
    #[error("`{0}` is missing in the eBPF object")]
    Missing(String),
    /// A map could not be read or written.
    #[error("map `{map}`: {}", Chain(&**source))]
    Map {
        /// Its name.
        map: &'static str,
        /// The kernel's words.
        source: Box<aya::maps::MapError>,
    },
    /// What the programs log cannot be read.
    #[error("read what the programs log: {0}")]
    Log(#[source] Box<aya_log::Error>),
    /// A program's link is not of the kind that outlives this process.
    #[error("link of program `{program}`: {}", Chain(&**source))]
    Link {
        /// Its name.
        program: String,
        /// The loader's words.
        source: Box<aya::programs::links::LinkError>,
    },
    /// Something could not be pinned.
    #[error("pin `{}`: {}", path.display(), Chain(&**source))]
    Pin {
        /// Where.
        path: PathBuf,
        /// The kernel's words.
        source: Box<aya::pin::PinError>,
    },
    /// A filter or its qdisc was refused.
    #[error("traffic control of `{interface}`: {refusal}")]
    Filter {
        /// The interface.
        interface: IfName,
        /// The kernel's reason.
        refusal: Refusal,
    },
    /// A filter or its qdisc could not be asked for.
    #[error("traffic control of `{interface}`: {source}")]
    Netlink {
        /// The interface.
        interface: IfName,
        /// The socket's words.
        source: netlink::Error,
    },
    /// A file system call failed.
    #[error("{what} `{}`: {}", path.display(), Io(source))]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's words.
        source: io::Error,
    },
    /// Pins would go with the mounts of this process, and translation with them.
    #[error("no bpffs is mounted at `{}`, and one mounted now would go with this command", path.display())]
    PassingMount {
        /// Where it would be mounted.
        path: PathBuf,
    },
    /// An interface of a rule does not exist.
    #[error("there is no interface `{0}`")]
    NoInterface(IfName),
    /// An interface of a rule has packets without Ethernet headers (tun, WireGuard, PPP), which the programs do not read.
    #[error("`{0}` carries no Ethernet frames")]
    NoEthernet(IfName),
    /// All 65,535 rule numbers are taken.
    #[error("too many rules: a gateway takes 65535")]
    TooManyRules,
}

impl Advise for Error {
    fn advice(&self) -> Option<String> {
        let hint = match self {
            Self::NoEthernet(_) => "`backend = \"nftables\"` in `[nat]` translates at any interface",
            Self::NoObject => "build it with `cargo xtask build-ebpf`, then build netctl again",
            Self::Load(_) | Self::Program { .. } | Self::Map { .. } => match errno::of(self) {
                Some(Errno::EPERM) => {
                    "loading eBPF needs CAP_BPF and CAP_NET_ADMIN in the first user namespace, and a kernel that is not \
                     locked down: `netctl doctor` tells"
                }
                Some(Errno::ENOMEM) => "memory is short: a smaller `max-flows` in `[nat]` takes less",
                _ => "Linux 6.1 or newer is needed: `netctl doctor` tries what this one can do",
            },
            Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "is /sys mounted? `mount -t sysfs sysfs /sys`"
            }
            Self::PassingMount { .. } => {
                "`ip netns exec` hides what is mounted below /sys: name the namespace instead, as in `netctl -n NS nat \
                 ...`, or begin with `netctl exec NS -- ...`"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

impl Error {
    fn program(program: &str) -> impl Fn(aya::programs::ProgramError) -> Self {
        move |source| Self::Program { program: program.to_owned(), source: Box::new(source) }
    }

    fn link(program: &str) -> impl Fn(aya::programs::links::LinkError) -> Self {
        move |source| Self::Link { program: program.to_owned(), source: Box::new(source) }
    }

    fn pin(path: &Path) -> impl FnOnce(aya::pin::PinError) -> Self {
        move |source| Self::Pin { path: path.to_owned(), source: Box::new(source) }
    }

    fn filter(interface: &IfName) -> impl Fn(netlink::Error) -> Self {
        move |source| Self::Netlink { interface: interface.clone(), source }
    }

    fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, path: path.to_owned(), source }
    }
}

impl Side {
    /// Its program for a hook.
    fn program(self, hook: &str) -> String {
        format!("{}_{hook}", self.as_str())
    }
}

/// Where one gateway's maps, programs and links are pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pins {
    /// `BPFFS/netctl/TOPOLOGY/PLACE`.
    gateway: PathBuf,
}

impl Pins {
    /// The pins of the gateway `place` of `topology`, below the bpffs mounted at `bpffs`.
    #[must_use]
    pub fn new(bpffs: &Path, topology: &TopologyName, place: &Place) -> Self {
        Self { gateway: Self::topology(bpffs, topology).join(escape(&place.to_string())) }
    }

    /// Where all gateways of `topology` are.
    #[must_use]
    pub fn topology(bpffs: &Path, topology: &TopologyName) -> PathBuf {
        bpffs.join("netctl").join(topology.as_str())
    }

    /// Whether the gateway's maps are there, in this ABI version.
    #[must_use]
    pub fn exist(&self) -> bool {
        self.version(ABI_VERSION).join("maps").is_dir()
    }

    /// Detaches the programs from every interface of the calling thread's network namespace, the gateway's.
    ///
    /// # Errors
    /// If a pin or a filter cannot be removed.
    pub fn detach_all(&self) -> Result<(), Error> {
        self.interfaces()?.iter().try_for_each(|(side, interface)| attach::detach(self, *side, interface))
    }

    /// Removes everything, links first, so that nothing is attached to what goes next. Nothing there is no error.
    ///
    /// # Errors
    /// If a pin cannot be removed.
    pub fn remove(&self) -> Result<(), Error> {
        remove_tree(&self.gateway)?;
        for shared in self.gateway.ancestors().skip(1).take(2) {
            remove_if_empty(shared);
        }
        Ok(())
    }

    fn version(&self, abi: u32) -> PathBuf {
        self.gateway.join(format!("v{abi}"))
    }

    /// Where something is made that is to appear at once.
    fn stage(&self) -> PathBuf {
        self.gateway.join("new")
    }

    /// Runs `f`, which changes rules. A kill meanwhile leaves a mark.
    ///
    /// # Errors
    /// Those of `f`, and if the mark cannot be made.
    pub fn change<E: From<Error>>(&self, f: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        let mark = self.changing();
        // One that was left before stays, until what it stands for is tidied up.
        let is_new = !mark.exists();
        make_directory(&mark)?;
        let result = f();
        if is_new {
            remove_if_empty(&mark);
        }
        result
    }

    /// Whether a command was killed while it changed rules.
    #[must_use]
    pub fn is_half_changed(&self) -> bool {
        self.changing().exists()
    }

    /// Notes that what killed commands left is gone.
    pub fn is_whole(&self) {
        remove_if_empty(&self.changing());
    }

    fn changing(&self) -> PathBuf {
        self.gateway.join("changing")
    }

    fn maps(&self) -> PathBuf {
        self.version(ABI_VERSION).join("maps")
    }

    fn map(&self, name: &str) -> PathBuf {
        self.maps().join(name)
    }

    /// Where a build's programs are.
    #[must_use]
    pub fn programs(&self, build: Build) -> PathBuf {
        self.version(build.abi).join("programs").join(build.directory())
    }

    fn local(&self, hook: &str) -> PathBuf {
        self.gateway.join("local").join(hook)
    }

    fn side(&self, side: Side) -> PathBuf {
        self.gateway.join("links").join(side.as_str())
    }

    fn interface(&self, side: Side, interface: &IfName) -> PathBuf {
        self.side(side).join(escape(interface.as_str()))
    }

    /// The interfaces that something was attached to, whether or not it still is.
    fn interfaces(&self) -> Result<Vec<(Side, IfName)>, Error> {
        let mut interfaces = Vec::new();
        for side in Side::ALL {
            let names = list(&self.side(side))?;
            interfaces.extend(names.iter().filter_map(|name| Some((side, unescape(name).parse().ok()?))));
        }
        Ok(interfaces)
    }

    /// Where a filter is remembered, on kernels without links.
    fn filter(&self, side: Side, interface: &IfName, hook: &str) -> PathBuf {
        self.interface(side, interface).join(format!("{hook}-filter"))
    }

    /// The handle of the gateway's filters, by which they are told from those of another topology at the same hook. A port
    /// may be an inside interface, too, and have both sides' filters.
    fn filter_handle(&self, side: Side) -> u32 {
        let handle = (fnv1a(self.gateway.as_os_str().as_encoded_bytes()) as u32 >> 1).max(1);
        if side == Side::Port { handle | 1 << 31 } else { handle }
    }

    /// The gateways of other topologies in the same place, which on the host share its interfaces.
    fn of_other_topologies(&self) -> Result<Vec<Self>, Error> {
        let mut parts = self.gateway.iter();
        let (Some(place), Some(topology)) = (parts.next_back(), parts.next_back()) else {
            return Ok(Vec::new());
        };
        let all = parts.as_path();
        let others = list(all)?.into_iter().filter(|other| other.as_str() != topology);
        Ok(others.map(|other| Self { gateway: all.join(other).join(place) }).collect())
    }

    /// Where it is remembered that the filters' qdisc is ours.
    fn qdisc(&self, side: Side, interface: &IfName) -> PathBuf {
        self.interface(side, interface).join("qdisc")
    }

    fn link(&self, side: Side, interface: &IfName, hook: &str) -> PathBuf {
        self.interface(side, interface).join(hook)
    }
}

/// Removes the pins of all gateways of a topology, of whatever ABI version, and what is attached to interfaces of the
/// calling thread's namespace, the host: those of others have gone with theirs. None there is no error.
///
/// # Errors
/// If a pin or a filter cannot be removed.
pub fn remove_topology(bpffs: &Path, topology: &TopologyName) -> Result<(), Error> {
    Pins::new(bpffs, topology, &Place::Host).detach_all()?;
    let pins = Pins::topology(bpffs, topology);
    remove_tree(&pins)?;
    pins.parent().map(remove_if_empty);
    Ok(())
}

/// The topologies that have pins, of whatever ABI version, and what stands for none.
///
/// # Errors
/// If they cannot be listed.
pub fn owners(bpffs: &Path) -> Result<Vec<TopologyName>, Error> {
    let topologies = list(&bpffs.join("netctl"))?.into_iter().filter_map(|name| name.parse().ok());
    Ok(topologies.chain([TopologyName::by_hand()]).collect())
}

/// The gateways of an owner that have pins, of whatever ABI version.
///
/// # Errors
/// If they cannot be listed.
pub fn places(bpffs: &Path, owner: &TopologyName) -> Result<Vec<Place>, Error> {
    let names = list(&Pins::topology(bpffs, owner))?;
    Ok(names.iter().filter_map(|name| unescape(name).try_into().ok()).collect())
}

/// bpffs keeps dots in names for itself (`bpf_lookup` in kernel/bpf/inode.c).
/// Programs of whatever owner by their ids, held as long as these descriptors are open; without those that are gone or are
/// not ours to hold.
pub fn programs(ids: &BTreeSet<u32>) -> BTreeMap<u32, OwnedFd> {
    if ids.is_empty() {
        return BTreeMap::new();
    }
    let meant = loaded_programs().flatten().filter(|program| ids.contains(&program.id()));
    let hold = |program: &ProgramInfo| program.fd().ok()?.as_fd().try_clone_to_owned().ok();
    meant.filter_map(|program| Some((program.id(), hold(&program)?))).collect()
}

fn escape(name: &str) -> String {
    name.replace('%', "%25").replace('.', "%2E")
}

fn unescape(name: &str) -> String {
    name.replace("%2E", ".").replace("%25", "%")
}

/// Makes the directory that `pin` goes into.
fn make_parent(pin: &Path) -> Result<(), Error> {
    let Some(parent) = pin.parent() else { return Ok(()) };
    make_directory(parent)
}

/// Makes a directory, and those above it, that nobody else gets into whatever the umask.
fn make_directory(path: &Path) -> Result<(), Error> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(Error::io("make the directory", path))
}

/// The names in a directory; none if there is no such directory.
fn list(dir: &Path) -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("list", dir)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::io("list", dir))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Removes a directory of pins in the order of its names, in which links and local come before what they run.
fn remove_tree(dir: &Path) -> Result<(), Error> {
    for name in list(dir)? {
        let path = dir.join(name);
        if path.is_dir() {
            remove_tree(&path)?;
        } else {
            ignore_missing(fs::remove_file(&path)).map_err(Error::io("unpin", &path))?;
        }
    }
    ignore_missing(fs::remove_dir(dir)).map_err(Error::io("remove the directory", dir))
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Other gateways and topologies may still be there.
fn remove_if_empty(dir: &Path) {
    let _ = fs::remove_dir(dir);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_dots_find_a_pin_and_the_way_back() {
        for name in ["wan0.100", "a%2Eb", "100%", "plain"] {
            assert!(!escape(name).contains('.'));
            assert_eq!(unescape(&escape(name)), name);
        }
    }

    #[test]
    fn pins_are_apart_by_topology_place_and_abi() {
        let pins = Pins::new(Path::new("/sys/fs/bpf"), &"office".parse().unwrap(), &Place::Host);
        let version = format!("/sys/fs/bpf/netctl/office/host/v{ABI_VERSION}");
        assert_eq!(pins.map("FLOWS"), Path::new(&version).join("maps/FLOWS"));
        let link = pins.link(Side::Uplink, &"wan0.5".parse().unwrap(), "egress");
        assert_eq!(link, Path::new("/sys/fs/bpf/netctl/office/host/links/uplink/wan0%2E5/egress"));
    }

    #[test]
    fn removing_takes_all_of_one_gateway_and_leaves_the_next() {
        let root = std::env::temp_dir().join(format!("netctl-pins-{}", std::process::id()));
        let name: TopologyName = "office".parse().unwrap();
        let [one, two] =
            [Place::Host, Place::Netns("red".parse().unwrap())].map(|p| Pins::new(&root, &name, &p));
        for pins in [&one, &two] {
            fs::create_dir_all(pins.version(ABI_VERSION).join("maps")).unwrap();
            fs::write(pins.map("FLOWS"), "").unwrap();
        }
        one.remove().unwrap();
        assert!(!one.exist() && two.exist());
        two.remove().unwrap();
        assert!(!root.join("netctl").exists(), "the last one takes the shared directories with it");
        two.remove().unwrap();
        fs::remove_dir(root).unwrap();
    }
}
