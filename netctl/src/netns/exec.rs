//! Moves the calling thread into a namespace for good, for a process that is about to become another program.
//!
//! As `netns_switch` of iproute2 (lib/namespace.c): the program sees the namespace's devices in `/sys` and the files
//! of `/etc/netns/NAME` in `/etc`. Unlike there, bpffs and the cgroups stay visible below the new `/sys`, or tools
//! like netctl itself and bpftool would not work inside.

use std::{
    ffi::c_uint,
    fs,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    path::Path,
};

use nix::{
    NixPath,
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
    sys::{
        statfs::{SYSFS_MAGIC, statfs},
        statvfs::{FsFlags, statvfs},
    },
};

use super::{NONE, Netns, NetnsError, bind, path_error, thread_error};
use crate::model::NetnsName;

/// The mounts below `/sys` that a fresh sysfs would hide.
const KEPT: [&str; 2] = ["/sys/fs/bpf", "/sys/fs/cgroup"];

impl Netns {
    /// What `ip netns exec NAME` does before it becomes the command: moves the calling thread, which has to be the one
    /// that calls `exec`, into this namespace and into a mount namespace of its own with a `/sys` and an `/etc` to
    /// match. A file of `/etc/netns/NAME` without a counterpart in `/etc` is left out with a warning, as there.
    ///
    /// # Errors
    /// Failing system calls; the thread may then be half moved and is of no more use.
    pub fn enter_for_exec(self, name: &NetnsName) -> Result<(), NetnsError> {
        setns(&self.fd, CloneFlags::CLONE_NEWNET).map_err(thread_error("enter a network namespace"))?;
        unshare(CloneFlags::CLONE_NEWNS).map_err(thread_error("unshare the mount namespace"))?;
        let root = Path::new("/");
        mount(NONE, root, NONE, MsFlags::MS_SLAVE | MsFlags::MS_REC, NONE)
            .map_err(path_error("stop sharing the mounts below", root))?;
        replace_sys()?;
        bind_etc(&Path::new("/etc/netns").join(name.as_str()));
        Ok(())
    }
}

/// Mounts the sysfs that shows the thread's network namespace; read-only if the old one was.
fn replace_sys() -> Result<(), NetnsError> {
    let sys = Path::new("/sys");
    let kept: Vec<_> =
        KEPT.into_iter().map(Path::new).filter_map(|path| Some((path, clone_mounts(path)?))).collect();
    let read_only = statvfs(sys).is_ok_and(|old| old.flags().contains(FsFlags::ST_RDONLY));
    let flags = if read_only { MsFlags::MS_RDONLY } else { MsFlags::empty() };
    // Where nothing is mounted, or it cannot be taken away, the new one covers what is there.
    let _ = umount2(sys, MntFlags::MNT_DETACH);
    mount(Some("sysfs"), sys, Some("sysfs"), flags, NONE).map_err(path_error("mount", sys))?;
    for (path, mounts) in kept {
        attach_mounts(&mounts, path).map_err(path_error("mount", path))?;
    }
    Ok(())
}

/// Binds each file of `directory` over its namesake in `/etc`.
fn bind_etc(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let target = Path::new("/etc").join(entry.file_name());
        if let Err(error) = bind(&entry.path(), &target, MsFlags::empty()) {
            tracing::warn!("{error}");
        }
    }
}

/// A copy of the mounts at and below `path`, attached nowhere yet; `None` if nothing but sysfs is there.
fn clone_mounts(path: &Path) -> Option<OwnedFd> {
    if statfs(path).is_ok_and(|found| found.filesystem_type() == SYSFS_MAGIC) {
        return None;
    }
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | libc::AT_RECURSIVE as c_uint;
    let result = path.with_nix_path(|path| {
        // SAFETY: `path` is a C string that outlives the call; the kernel keeps no pointer to it.
        unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) }
    });
    let fd = result.and_then(Errno::result).ok()?;
    // SAFETY: the call succeeded, so this is a new descriptor that nobody else owns.
    Some(unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).ok()?) })
}

fn attach_mounts(mounts: &OwnedFd, path: &Path) -> Result<(), Errno> {
    let result = path.with_nix_path(|path| {
        // SAFETY: both paths are C strings that outlive the call, which keeps no pointer to them; the descriptor is
        // open.
        unsafe {
            libc::syscall(
                libc::SYS_move_mount,
                mounts.as_raw_fd(),
                c"".as_ptr(),
                libc::AT_FDCWD,
                path.as_ptr(),
                libc::MOVE_MOUNT_F_EMPTY_PATH,
            )
        }
    });
    result.and_then(Errno::result).map(drop)
}

#[cfg(test)]
mod tests {
    use nix::sys::statfs::BPF_FS_MAGIC;

    use super::{
        super::tests::{create, isolated, name, tmpfs},
        *,
    };

    fn kind(path: &str) -> i64 {
        statfs(path).unwrap().filesystem_type().0
    }

    fn devices() -> Vec<String> {
        let entries = fs::read_dir("/sys/class/net").unwrap();
        let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        entries.map(name).collect()
    }

    #[test]
    fn the_program_sees_its_namespace_its_files_and_the_kept_mounts() {
        isolated(|| {
            tmpfs("/etc");
            fs::create_dir_all("/etc/netns/red").unwrap();
            fs::write("/etc/hosts", "outside").unwrap();
            fs::write("/etc/resolv.conf", "outside").unwrap();
            fs::write("/etc/netns/red/resolv.conf", "inside").unwrap();
            fs::write("/etc/netns/red/absent", "inside").unwrap();
            mount(Some("bpf"), "/sys/fs/bpf", Some("bpf"), MsFlags::empty(), NONE).unwrap();
            fs::create_dir("/sys/fs/bpf/pinned").unwrap();
            let cgroup = kind("/sys/fs/cgroup");
            let red = name("red");

            create(&red).enter_for_exec(&red).unwrap();

            assert_eq!(devices(), ["lo"]);
            assert_eq!(fs::read_to_string("/etc/resolv.conf").unwrap(), "inside");
            assert_eq!(fs::read_to_string("/etc/hosts").unwrap(), "outside");
            assert!(!Path::new("/etc/absent").exists());
            assert_eq!(kind("/sys"), SYSFS_MAGIC.0);
            assert_eq!(kind("/sys/fs/bpf"), BPF_FS_MAGIC.0);
            assert!(Path::new("/sys/fs/bpf/pinned").is_dir());
            assert_eq!(kind("/sys/fs/cgroup"), cgroup);
        });
    }

    #[test]
    fn a_read_only_sys_stays_read_only() {
        isolated(|| {
            let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
            mount(NONE, "/sys", NONE, flags, NONE).unwrap();
            let red = name("red");
            create(&red).enter_for_exec(&red).unwrap();
            assert!(statvfs("/sys").unwrap().flags().contains(FsFlags::ST_RDONLY));
        });
    }
}
