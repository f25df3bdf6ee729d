//! Programs onto hooks: TCX links at interfaces, cgroup links at the socket layer, all of them pinned.

use std::{
    fs, io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    path::Path,
};

use aya::programs::{
    CgroupAttachMode, CgroupSockAddr, LinkOrder, ProgramError, SchedClassifier, TcAttachType,
    cgroup_sock_addr::CgroupSockAddrAttachType, links::FdLink, tc::TcAttachOptions,
};

use super::{Error, Pins, Side, filter, make_parent, remove_tree};
use crate::{model::IfName, netlink::tc::Hook};

/// The hooks of an interface.
pub(super) const HOOKS: [(&str, TcAttachType, Hook); 2] =
    [("ingress", TcAttachType::Ingress, Hook::Ingress), ("egress", TcAttachType::Egress, Hook::Egress)];

/// The hooks of the socket layer.
pub(super) const LOCAL_HOOKS: [&str; 8] =
    ["connect4", "connect6", "sendmsg4", "sendmsg6", "recvmsg4", "recvmsg6", "getpeername4", "getpeername6"];

/// Attaches the programs of `side` to `interface` of the calling thread's network namespace: by TCX links or, where the
/// kernel has none (before 6.6), by filters on a `clsact` qdisc.
///
/// # Errors
/// If the interface does not exist or the kernel refuses; what was attached before is detached again.
pub fn attach(pins: &Pins, side: Side, interface: &IfName) -> Result<(), Error> {
    detach(pins, side, interface)?;
    let result = HOOKS.iter().try_for_each(|(hook, attach_type, tc_hook)| {
        let name = format!("{}_{hook}", side.as_str());
        match attach_tcx(pins, &name, interface, *attach_type) {
            Ok(link) => pin(link, &pins.link(side, interface, hook)),
            Err(error) if is_unknown_to_kernel(&error) => {
                filter::attach(pins, &name, side, interface, hook, *tc_hook)
            }
            Err(error) => Err(error),
        }
    });
    if result.is_err() {
        let _ = detach(pins, side, interface);
    }
    result
}

fn attach_tcx(
    pins: &Pins,
    name: &str,
    interface: &IfName,
    attach_type: TcAttachType,
) -> Result<FdLink, Error> {
    let failed = Error::program(name);
    let mut program = SchedClassifier::from_pin(pins.program(name)).map_err(&failed)?;
    let order = TcAttachOptions::TcxOrder(LinkOrder::default());
    let id = program.attach_with_options(interface.as_str(), attach_type, order).map_err(&failed)?;
    program.take_link(id).map_err(&failed)?.try_into().map_err(Error::link(name))
}

/// Whether the kernel does not know what it was asked for: `EINVAL`, as for any attach type it has never heard of.
fn is_unknown_to_kernel(error: &Error) -> bool {
    let Error::Program { source, .. } = error else { return false };
    matches!(&**source, ProgramError::SyscallError(error) if error.io_error.raw_os_error() == Some(libc::EINVAL))
}

/// Detaches the programs of `side` from `interface` of the calling thread's network namespace. None there is no error.
///
/// # Errors
/// If a pin or a filter cannot be removed.
pub fn detach(pins: &Pins, side: Side, interface: &IfName) -> Result<(), Error> {
    filter::detach(pins, side, interface)?;
    remove_tree(&pins.interface(side, interface))
}

/// Attaches the socket hooks to the root cgroup that this process sees.
///
/// # Errors
/// If there is no cgroup v2, or the kernel refuses; what was attached before is detached again.
pub fn attach_local(pins: &Pins) -> Result<(), Error> {
    detach_local(pins)?;
    let cgroup = root_cgroup().map_err(Error::io("open the root cgroup", Path::new("cgroup2")))?;
    let result = LOCAL_HOOKS.iter().try_for_each(|hook| {
        let link = attach_cgroup(pins, hook, &cgroup)?;
        pin(link, &pins.local(hook))
    });
    if result.is_err() {
        let _ = detach_local(pins);
    }
    result
}

fn attach_cgroup(pins: &Pins, hook: &str, cgroup: &OwnedFd) -> Result<FdLink, Error> {
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
    let name = format!("local_{hook}");
    let failed = Error::program(&name);
    let mut program = CgroupSockAddr::from_pin(pins.program(&name), attach_type).map_err(&failed)?;
    // A link is always one of several and takes no flag to say so (cgroup_bpf_link_attach in kernel/bpf/cgroup.c).
    let id = program.attach(cgroup, CgroupAttachMode::Single).map_err(&failed)?;
    program.take_link(id).map_err(&failed)?.try_into().map_err(Error::link(&name))
}

/// Detaches the socket hooks. None there is no error.
///
/// # Errors
/// If a pin cannot be removed.
pub fn detach_local(pins: &Pins) -> Result<(), Error> {
    remove_tree(&pins.version().join("local"))
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
