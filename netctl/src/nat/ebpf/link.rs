//! Pinned links: what aya does not tell of them, and what it cannot do with those of sockets.
//!
//! A link outlives what it attached its program to: it is then attached to nothing (`tcx_link_fill_info` in
//! kernel/bpf/tcx.c, `bpf_cgroup_link_fill_link_info` in kernel/bpf/cgroup.c), and its pin says nothing about that.

use std::{
    ffi::CString,
    fs, io,
    os::{
        fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use aya::programs::ProgramInfo;

use super::Error;

/// `enum bpf_cmd` in include/uapi/linux/bpf.h.
const BPF_OBJ_GET: libc::c_int = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_LINK_UPDATE: libc::c_int = 29;

/// A link that is pinned.
pub(super) struct Link<'a> {
    pin: &'a Path,
    fd: OwnedFd,
}

/// The beginning of `struct bpf_link_info`.
#[repr(C)]
#[derive(Default)]
pub(super) struct Attachment {
    kind: u32,
    id: u32,
    /// The program's id.
    pub(super) program: u32,
    _pad: u32,
    /// Of TCX: the interface's index, 0 if it is gone, and the hook. Of a cgroup: its id, in two halves.
    target: [u32; 2],
}

impl Attachment {
    /// Whether a TCX link is attached to this interface.
    pub(super) const fn is_at(&self, index: u32) -> bool {
        self.target[0] == index
    }

    /// Whether a link of a cgroup is attached to one.
    pub(super) const fn has_cgroup(&self) -> bool {
        self.target[0] != 0 || self.target[1] != 0
    }
}

impl<'a> Link<'a> {
    /// The link that is pinned there, if one is.
    pub(super) fn open(pin: &'a Path) -> Result<Option<Self>, Error> {
        #[repr(C)]
        struct Get {
            path: u64,
            fd: u32,
            flags: u32,
        }
        if !pin.exists() {
            return Ok(None);
        }
        let path = CString::new(pin.as_os_str().as_bytes()).map_err(io::Error::from);
        let fd = path.and_then(|path| {
            let mut get = Get { path: path.as_ptr() as u64, fd: 0, flags: 0 };
            let fd = bpf(BPF_OBJ_GET, &mut get)?;
            // SAFETY: the kernel has just given us this descriptor.
            Ok(unsafe { OwnedFd::from_raw_fd(fd) })
        });
        Ok(Some(Self { pin, fd: fd.map_err(Error::io("open the pin", pin))? }))
    }

    /// What it attaches to what.
    pub(super) fn attachment(&self) -> Result<Attachment, Error> {
        #[repr(C)]
        struct GetInfo {
            fd: u32,
            len: u32,
            info: u64,
        }
        let mut attachment = Attachment::default();
        let mut get = GetInfo {
            fd: self.fd.as_raw_fd().cast_unsigned(),
            len: size_of::<Attachment>() as u32,
            info: (&raw mut attachment) as u64,
        };
        bpf(BPF_OBJ_GET_INFO_BY_FD, &mut get).map_err(Error::io("look at the link", self.pin))?;
        Ok(attachment)
    }

    /// Hands the hook to another pinned program: every packet and every call meets either the one or the other.
    pub(super) fn hand_over(&self, program: &Path) -> Result<(), Error> {
        #[repr(C)]
        struct Update {
            link: u32,
            new_program: u32,
            flags: u32,
            old_program: u32,
        }
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let failed = Error::program(&name);
        let loaded = ProgramInfo::from_pin(program).and_then(|info| info.fd()).map_err(failed)?;
        let mut update = Update {
            link: self.fd.as_raw_fd().cast_unsigned(),
            new_program: loaded.as_fd().as_raw_fd().cast_unsigned(),
            flags: 0,
            old_program: 0,
        };
        bpf(BPF_LINK_UPDATE, &mut update).map(drop).map_err(Error::io("hand over the link", self.pin))
    }

    /// Takes the pin away, and with it the link.
    pub(super) fn remove(self) -> Result<(), Error> {
        fs::remove_file(self.pin).map_err(Error::io("unpin", self.pin))
    }
}

/// bpf(2). A command's part of `union bpf_attr` may be shorter than the union; the kernel takes the rest for zero.
pub(super) fn bpf<T>(command: libc::c_int, attributes: &mut T) -> io::Result<i32> {
    // SAFETY: `attributes` is the command's own struct, passed with its size, and pointers in it are valid for the call.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}
