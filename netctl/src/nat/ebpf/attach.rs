//! Programs onto hooks: TCX links at interfaces, cgroup links at the socket layer, all of them pinned.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    path::Path,
};

use aya::programs::{
    CgroupAttachMode, CgroupSockAddr, LinkOrder, ProgramError, SchedClassifier, TcAttachType,
    cgroup_sock_addr::CgroupSockAddrAttachType, links::FdLink, tc::TcAttachOptions,
};

use super::{Build, Error, Pins, Side, filter, filter::Device, link::Link, make_parent, remove_tree};
use crate::{fault, model::IfName, netlink::tc::Hook};

/// The hooks of an interface.
pub(super) const HOOKS: [(&str, TcAttachType, Hook); 2] =
    [("ingress", TcAttachType::Ingress, Hook::Ingress), ("egress", TcAttachType::Egress, Hook::Egress)];

/// The hooks of the socket layer.
pub(super) const LOCAL_HOOKS: [&str; 8] =
    ["connect4", "connect6", "sendmsg4", "sendmsg6", "recvmsg4", "recvmsg6", "getpeername4", "getpeername6"];

/// Attaches the programs of `side` to `interface` of the calling thread's network namespace: by TCX links or, where the
/// kernel has none (before 6.6), by filters on a `clsact` qdisc. What runs there already is replaced in place.
///
/// # Errors
/// If the interface does not exist, has no Ethernet frames, or the kernel refuses; where nothing was attached before,
/// nothing is then.
pub fn attach(pins: &Pins, build: Build, side: Side, interface: &IfName) -> Result<(), Error> {
    let mut device = Device::open(pins, interface)?.ok_or_else(|| Error::NoInterface(interface.clone()))?;
    if !device.is_ethernet {
        return Err(Error::NoEthernet(interface.clone()));
    }
    let is_new = !pins.interface(side, interface).exists();
    let result = HOOKS.iter().try_for_each(|(hook, attach_type, tc_hook)| {
        let program = pins.programs(build).join(side.program(hook));
        let pin = pins.link(side, interface, hook);
        if let Some(link) = Link::open(&pin)? {
            if link.attachment()?.is_at(device.index) {
                return link.hand_over(&program);
            }
            link.remove()?;
        }
        match attach_tcx(&program, interface, *attach_type) {
            Ok(link) => self::pin(link, &pin),
            Err(error) if is_unknown_to_kernel(&error) => {
                filter::attach(pins, build, side, &mut device, hook, *tc_hook)
            }
            Err(error) => Err(error),
        }
    });
    if result.is_err() && is_new {
        let _ = detach(pins, side, interface);
    }
    result
}

fn attach_tcx(program: &Path, interface: &IfName, attach_type: TcAttachType) -> Result<FdLink, Error> {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let failed = Error::program(&name);
    let mut program = SchedClassifier::from_pin(program).map_err(&failed)?;
    let order = TcAttachOptions::TcxOrder(LinkOrder::default());
    let id = program.attach_with_options(interface.as_str(), attach_type, order).map_err(&failed)?;
    program.take_link(id).map_err(&failed)?.try_into().map_err(Error::link(&name))
}

/// Whether the kernel does not know what it was asked for: `EINVAL`, as for any attach type it has never heard of.
fn is_unknown_to_kernel(error: &Error) -> bool {
    let Error::Program { source, .. } = error else { return false };
    matches!(&**source, ProgramError::SyscallError(error) if error.io_error.raw_os_error() == Some(libc::EINVAL))
}

/// Whether the kernel attaches programs by TCX links. Asks about the loopback of the calling thread's network namespace.
///
/// # Errors
/// If the kernel does not tell.
pub fn has_tcx() -> Result<bool, Error> {
    match SchedClassifier::query_tcx("lo", TcAttachType::Ingress).map_err(Error::program("lo")) {
        Ok(_) => Ok(true),
        Err(error) if is_unknown_to_kernel(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The programs of others that TCX runs at an interface of the calling thread's network namespace: at which hook, and
/// their names. None on kernels without TCX.
///
/// # Errors
/// If the kernel does not tell.
pub fn others(interface: &IfName) -> Result<Vec<(&'static str, String)>, Error> {
    /// `BPF_OBJ_NAME_LEN` without the NUL: as much as the kernel keeps of a program's name.
    const NAME: usize = 15;
    let own: BTreeSet<String> = programs().map(|name| name.chars().take(NAME).collect()).collect();
    let mut others = Vec::new();
    for (hook, attach_type, _) in HOOKS {
        let failed = Error::program(hook);
        let programs = match SchedClassifier::query_tcx(interface.as_str(), attach_type).map_err(failed) {
            Ok((_, programs)) => programs,
            Err(error) if is_unknown_to_kernel(&error) => continue,
            Err(error) => return Err(error),
        };
        let names = programs.iter().map(|info| info.name_as_str().unwrap_or("?").to_owned());
        others.extend(names.filter(|name| !own.contains(name)).map(|name| (hook, name)));
    }
    Ok(others)
}

/// Detaches the programs of `side` from `interface` of the calling thread's network namespace. None there is no error.
///
/// # Errors
/// If a pin or a filter cannot be removed.
pub fn detach(pins: &Pins, side: Side, interface: &IfName) -> Result<(), Error> {
    filter::detach(pins, side, interface)?;
    remove_tree(&pins.interface(side, interface))
}

/// Attaches the socket hooks to the root cgroup that this process sees. What runs there already is replaced in place.
///
/// # Errors
/// If there is no cgroup v2, or the kernel refuses; where nothing was attached before, nothing is then.
pub fn attach_local(pins: &Pins, build: Build) -> Result<(), Error> {
    let cgroup = root_cgroup().map_err(Error::io("open the root cgroup", Path::new("cgroup2")))?;
    let is_new = !pins.gateway.join("local").exists();
    let result = LOCAL_HOOKS.iter().try_for_each(|hook| {
        let pin = pins.local(hook);
        if let Some(link) = Link::open(&pin)? {
            if link.attachment()?.has_cgroup() {
                return link.hand_over(&pins.programs(build).join(local_program(hook)));
            }
            link.remove()?;
        }
        self::pin(attach_cgroup(pins, build, hook, &cgroup)?, &pin)
    });
    if result.is_err() && is_new {
        let _ = detach_local(pins);
    }
    result
}

/// Makes sure that there is a cgroup v2 hierarchy.
///
/// # Errors
/// If there is none.
pub fn has_cgroups() -> io::Result<()> {
    root_cgroup().map(drop)
}

/// The names of all programs.
pub(super) fn programs() -> impl Iterator<Item = String> {
    let of_side = |side: Side| HOOKS.iter().map(move |(hook, ..)| side.program(hook));
    Side::ALL.into_iter().flat_map(of_side).chain(LOCAL_HOOKS.iter().map(|hook| local_program(hook)))
}

fn local_program(hook: &str) -> String {
    format!("local_{hook}")
}

/// Hands every hook that something is attached to over to another build, one after the other. The calling thread is in
/// the gateway's network namespace.
///
/// # Errors
/// If the kernel refuses; hooks before that one are handed over all the same.
pub fn hand_over(pins: &Pins, build: Build) -> Result<(), Error> {
    let programs = pins.programs(build);
    for (side, interface) in pins.interfaces()? {
        for (hook, _, tc_hook) in HOOKS {
            let pin = pins.link(side, &interface, hook);
            if let Some(link) = Link::open(&pin)? {
                if !link.attachment()?.is_at(0) {
                    link.hand_over(&programs.join(side.program(hook)))?;
                    fault::point();
                }
            } else if let Some(mut device) = Device::open(pins, &interface)?
                && device.program(side, tc_hook)?.is_some()
            {
                filter::attach(pins, build, side, &mut device, hook, tc_hook)?;
                fault::point();
            }
        }
    }
    for hook in LOCAL_HOOKS {
        let pin = pins.local(hook);
        if let Some(link) = Link::open(&pin)?
            && link.attachment()?.has_cgroup()
        {
            link.hand_over(&programs.join(local_program(hook)))?;
            fault::point();
        }
    }
    Ok(())
}

/// What truly runs at a gateway's hooks.
#[derive(Debug, Default)]
pub struct Running {
    /// The interfaces at all whose hooks a loaded build's programs run.
    pub interfaces: Vec<(Side, IfName)>,
    /// Whether they run at the socket hooks.
    pub local: bool,
    /// The builds that run at any of these.
    pub builds: BTreeSet<Build>,
}

/// Looks at the hooks, not only at the pins: interfaces are deleted and made again, and others detach programs. The
/// calling thread is in the gateway's network namespace; `indexes` are its interfaces.
///
/// # Errors
/// If a pin cannot be used, or the kernel does not tell.
pub fn running(pins: &Pins, indexes: &BTreeMap<IfName, u32>) -> Result<Running, Error> {
    let known: BTreeMap<u32, Build> = pins.programs_of_builds()?.into_iter().collect();
    let mut running = Running::default();
    for (side, interface) in pins.interfaces()? {
        let Some(&index) = indexes.get(&interface) else { continue };
        let mut builds: Vec<Build> = Vec::new();
        for (hook, _, tc_hook) in HOOKS {
            let pin = pins.link(side, &interface, hook);
            let program = match Link::open(&pin)? {
                Some(link) => Some(link.attachment()?).filter(|at| at.is_at(index)).map(|at| at.program),
                None if !pins.filter(side, &interface, hook).exists() => None,
                None => match Device::open(pins, &interface)? {
                    Some(mut device) => device.program(side, tc_hook)?,
                    None => None,
                },
            };
            builds.extend(program.and_then(|id| known.get(&id).copied()));
        }
        if builds.len() == HOOKS.len() {
            running.interfaces.push((side, interface));
        }
        running.builds.extend(builds);
    }
    let mut locals = 0;
    for hook in LOCAL_HOOKS {
        if let Some(link) = Link::open(&pins.local(hook))? {
            let at = link.attachment()?;
            if let Some(build) = known.get(&at.program).filter(|_| at.has_cgroup()) {
                running.builds.insert(*build);
                locals += 1;
            }
        }
    }
    running.local = locals == LOCAL_HOOKS.len();
    Ok(running)
}

fn attach_cgroup(pins: &Pins, build: Build, hook: &str, cgroup: &OwnedFd) -> Result<FdLink, Error> {
    let attach_type = match hook {
        "connect4" => CgroupSockAddrAttachType::Connect4,
        "connect6" => CgroupSockAddrAttachType::Connect6,
        "sendmsg4" => CgroupSockAddrAttachType::UDPSendMsg4,
        "sendmsg6" => CgroupSockAddrAttachType::UDPSendMsg6,
        "recvmsg4" => CgroupSockAddrAttachType::UDPRecvMsg4,
        "recvmsg6" => CgroupSockAddrAttachType::UDPRecvMsg6,
        "getpeername4" => CgroupSockAddrAttachType::GetPeerName4,
        _ => CgroupSockAddrAttachType::GetPeerName6,
    };
    let name = local_program(hook);
    let failed = Error::program(&name);
    let pin = pins.programs(build).join(&name);
    let mut program = CgroupSockAddr::from_pin(pin, attach_type).map_err(&failed)?;
    // A link is always one of several and takes no flag to say so (cgroup_bpf_link_attach in kernel/bpf/cgroup.c).
    let id = program.attach(cgroup, CgroupAttachMode::Single).map_err(&failed)?;
    program.take_link(id).map_err(&failed)?.try_into().map_err(Error::link(&name))
}

/// Detaches the socket hooks. None there is no error.
///
/// # Errors
/// If a pin cannot be removed.
pub fn detach_local(pins: &Pins) -> Result<(), Error> {
    remove_tree(&pins.gateway.join("local"))
}

fn pin(link: FdLink, path: &Path) -> Result<(), Error> {
    make_parent(path)?;
    link.pin(path).map(drop).map_err(Error::pin(path))
}

/// The root of the cgroup v2 hierarchy, wherever it is mounted and even where it is not: a mount of its own that goes
/// with the file descriptor.
fn root_cgroup() -> io::Result<OwnedFd> {
    let context = syscall_fd(|| {
        // SAFETY: a constant C string and flags.
        unsafe { libc::syscall(libc::SYS_fsopen, c"cgroup2".as_ptr(), libc::FSOPEN_CLOEXEC) }
    })?;
    // SAFETY: `context` is open; this command takes no key and no value.
    let created = unsafe {
        libc::syscall(
            libc::SYS_fsconfig,
            context.as_raw_fd(),
            libc::FSCONFIG_CMD_CREATE,
            std::ptr::null::<libc::c_char>(),
            std::ptr::null::<libc::c_char>(),
            0,
        )
    };
    if created < 0 {
        return Err(io::Error::last_os_error());
    }
    let mount = syscall_fd(|| {
        // SAFETY: `context` is open and configured.
        unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), libc::FSMOUNT_CLOEXEC, 0) }
    })?;
    // The mount itself is an O_PATH-like descriptor; the kernel wants an open directory.
    let root = fs::File::open(format!("/proc/self/fd/{}", mount.as_raw_fd()))?;
    Ok(root.into())
}

fn syscall_fd(call: impl FnOnce() -> libc::c_long) -> io::Result<OwnedFd> {
    match call() {
        fd if fd < 0 => Err(io::Error::last_os_error()),
        // SAFETY: the kernel has just given us this descriptor.
        fd => Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) }),
    }
}
