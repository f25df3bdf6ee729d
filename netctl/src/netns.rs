//! Named network namespaces: create, open, run inside, delete, list.
//!
//! A name is a file below `/run/netns` with the namespace's nsfs file bind-mounted on it, as `ip netns` has it
//! (iproute2, ip/ipnetns.c), so both see each other's namespaces. The calling thread never changes its namespace: what
//! has to happen inside one happens on a helper thread that ends with it. Only
//! [`Netns::enter_for_exec`] moves the calling thread, for a process that is about to become another program.

mod cookie;
mod exec;

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, DirBuilder, File},
    io,
    os::{
        fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
        unix::fs::{DirBuilderExt, MetadataExt},
    },
    panic::resume_unwind,
    path::{Path, PathBuf},
    thread,
};

use nix::{
    errno::Errno,
    fcntl::{Flock, OFlag, open},
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
    sys::{
        stat::Mode,
        statfs::{NSFS_MAGIC, statfs},
    },
};

pub(crate) use self::cookie::cookie;
use crate::{
    errno,
    hint::Advise,
    lock::{Interrupted, Waiting, try_lock},
    model::NetnsName,
    notice::{self, Notice},
};

/// Where the names are, iproute2's `NETNS_RUN_DIR`.
pub(crate) const RUN_DIR: &str = "/run/netns";
/// The calling thread's network namespace; `/proc/self` would be the main thread's.
const OWN: &str = "/proc/thread-self/ns/net";

/// What failed about a namespace.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// The name to create is taken.
    #[error("create namespace `{name}`: it exists already")]
    AlreadyExists {
        /// The namespace's name.
        name: NetnsName,
    },
    /// There is no file of that name, or (to open) only a stale one with no namespace mounted on it.
    #[error("{action} namespace `{name}`: no such namespace")]
    NotFound {
        /// `open` or `delete`.
        action: &'static str,
        /// The namespace's name.
        name: NetnsName,
    },
    /// A system call on a path failed.
    #[error("{action} `{}`: {}", path.display(), errno::words(*errno))]
    Path {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        errno: Errno,
    },
    /// A system call on the thread itself failed.
    #[error("{action}: {}", errno::words(*errno))]
    Thread {
        /// What was tried.
        action: &'static str,
        /// The cause.
        errno: Errno,
    },
}

impl Advise for NetnsError {
    fn advice(&self) -> Option<String> {
        let errno = match self {
            Self::AlreadyExists { .. } | Self::NotFound { .. } => {
                return Some("`netctl ns ls` lists the namespaces".to_owned());
            }
            Self::Path { errno, .. } | Self::Thread { errno, .. } => errno,
        };
        Some(match errno {
            Errno::EPERM => {
                "other namespaces take root with all its rights: use sudo; `netctl doctor` tells what is missing"
                    .to_owned()
            }
            Errno::ENOSPC => {
                "there may not be more namespaces: sysctl `user.max_net_namespaces` is the limit".to_owned()
            }
            Errno::EMFILE => "each namespace takes two files: `ulimit -n` is the limit".to_owned(),
            _ => return None,
        })
    }
}

/// Which namespace this is, whatever its name: equal for two handles of the same one, as long as either is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// The nsfs inode, as `net:[4026531840]` has it.
    #[must_use]
    pub const fn inode(&self) -> u64 {
        self.inode
    }

    /// Follows links: of `/proc/PID/ns/net` and of a name's file this is the namespace's own identity.
    fn of(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|metadata| Self::from(&metadata))
    }
}

impl From<&fs::Metadata> for Identity {
    fn from(metadata: &fs::Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// One namespace of many: its handle and what was prepared in it.
pub type Prepared<T, E> = Result<(Netns, T), E>;

/// An open network namespace; it exists at least as long as this does.
#[derive(Debug)]
pub struct Netns {
    fd: OwnedFd,
    identity: Identity,
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Netns {
    /// The calling thread's namespace.
    ///
    /// # Errors
    /// When `/proc` is not mounted.
    pub fn current() -> Result<Self, NetnsError> {
        Self::open_path(Path::new(OWN))
    }

    /// The namespace of that name.
    ///
    /// # Errors
    /// [`NetnsError::NotFound`], also of a stale file.
    pub fn open(name: &NetnsName) -> Result<Self, NetnsError> {
        let path = path_of(name);
        let file = match open_at(&path) {
            Err(Errno::ENOENT | Errno::EACCES) => None,
            opened => Some(opened.map_err(path_error("open", &path))?),
        };
        match file.filter(|file| kind_of(file) == Some(Kind::Network)) {
            Some(file) => Self::of(file, &path),
            None => Err(NetnsError::NotFound { action: "open", name: name.clone() }),
        }
    }

    /// The namespace of a process's main thread.
    ///
    /// # Errors
    /// If there is no such process, or the caller may not inspect it.
    pub fn of_process(pid: u32) -> Result<Self, NetnsError> {
        Self::open_path(&Path::new("/proc").join(format!("{pid}/ns/net")))
    }

    /// `ip netns add NAME`, with a step in between: makes a namespace, runs `prepare` on a thread inside it while
    /// nobody else can see it, then gives it its name. Where `prepare` fails, nothing is left behind.
    ///
    /// A stale file of that name, left by a crash, is taken over.
    ///
    /// # Errors
    /// [`NetnsError::AlreadyExists`], what `prepare` returns, and failing system calls.
    pub fn create<T, E>(
        name: &NetnsName,
        prepare: impl FnOnce() -> Result<T, E> + Send,
    ) -> Result<(Self, T), E>
    where
        T: Send,
        E: From<NetnsError> + Send,
    {
        let _locked = run_directory()?;
        on_a_thread(|| Self::create_here(name, prepare))
    }

    /// Makes many namespaces as [`Netns::create`] does, on as many threads as there are processors. One that fails does
    /// not keep the others from being made.
    ///
    /// # Errors
    /// Those of [`Netns::create`], each in its place; if no thread can be started, nothing is made.
    pub fn create_all<T, E>(
        names: &[NetnsName],
        prepare: impl Fn() -> Result<T, E> + Sync,
    ) -> Result<Vec<Prepared<T, E>>, NetnsError>
    where
        T: Send,
        E: From<NetnsError> + Send,
    {
        let _locked = run_directory()?;
        side_by_side(names, |name| Self::create_here(name, &prepare))
    }

    /// Opens many namespaces as [`Netns::open`] does and runs `prepare` inside each, on as many threads as there are
    /// processors: to start one thread a namespace would take longer than all the rest.
    ///
    /// # Errors
    /// Those of [`Netns::open`] and what `prepare` returns, each in its place; if no thread can be started, nothing is
    /// opened.
    pub fn open_all<T, E>(
        names: &[NetnsName],
        prepare: impl Fn() -> Result<T, E> + Sync,
    ) -> Result<Vec<Prepared<T, E>>, NetnsError>
    where
        T: Send,
        E: From<NetnsError> + Send,
    {
        side_by_side(names, |name| {
            let netns = Self::open(name)?;
            netns.enter()?;
            Ok((netns, prepare()?))
        })
    }

    /// Makes a namespace and leaves the calling thread in it. The caller holds the lock on [`RUN_DIR`].
    fn create_here<T, E>(name: &NetnsName, prepare: impl FnOnce() -> Result<T, E>) -> Result<(Self, T), E>
    where
        E: From<NetnsError>,
    {
        if matches!(look_at(&path_of(name)), Some(Kind::Network | Kind::Foreign)) {
            return Err(NetnsError::AlreadyExists { name: name.clone() }.into());
        }
        unshare(CloneFlags::CLONE_NEWNET).map_err(thread_error("make a network namespace"))?;
        let netns = Self::current()?;
        let prepared = prepare()?;
        publish(name)?;
        Ok((netns, prepared))
    }

    /// Runs `f` inside this namespace: on a new thread, which ends with `f`, so that nothing has to be restored; or here,
    /// where the caller is in it already, which takes no right.
    ///
    /// # Errors
    /// What `f` returns, and a failing `setns`.
    pub fn run<T, E>(&self, f: impl FnOnce() -> Result<T, E> + Send) -> Result<T, E>
    where
        T: Send,
        E: From<NetnsError> + Send,
    {
        if Self::current()?.identity == self.identity {
            return f();
        }
        on_a_thread(|| {
            self.enter()?;
            f()
        })
    }

    /// Runs `f` on a new thread inside a namespace that has no name and ends with it.
    ///
    /// # Errors
    /// What `f` returns, and a failing `unshare`.
    pub fn in_a_new_one<T, E>(f: impl FnOnce() -> Result<T, E> + Send) -> Result<T, E>
    where
        T: Send,
        E: From<NetnsError> + Send,
    {
        on_a_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).map_err(thread_error("make a network namespace"))?;
            f()
        })
    }

    /// Moves the calling thread, which must not live on, into this namespace.
    fn enter(&self) -> Result<(), NetnsError> {
        setns(&self.fd, CloneFlags::CLONE_NEWNET).map_err(thread_error("enter a network namespace"))
    }

    /// `ip netns delete NAME`: takes the name away, or a stale file. The namespace itself ends with its last process,
    /// socket and handle.
    ///
    /// # Errors
    /// [`NetnsError::NotFound`] and failing system calls.
    pub fn delete(name: &NetnsName) -> Result<(), NetnsError> {
        let path = path_of(name);
        match umount2(&path, MntFlags::MNT_DETACH) {
            // EINVAL: nothing is mounted on the file.
            Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
            Err(errno) => return Err(path_error("unmount", &path)(errno)),
        }
        fs::remove_file(&path).map_err(|error| match errno_of(&error) {
            Errno::ENOENT => NetnsError::NotFound { action: "delete", name: name.clone() },
            errno => path_error("remove", &path)(errno),
        })
    }

    /// `ip netns list`: the names that stand for a namespace, sorted.
    ///
    /// # Errors
    /// When `/run/netns` cannot be read; that it is not there is no error.
    pub fn list() -> Result<Vec<NetnsName>, NetnsError> {
        names(Kind::Network)
    }

    /// The names whose file has no namespace mounted on it, as a crash may leave them, sorted.
    ///
    /// # Errors
    /// Those of [`Netns::list`].
    pub fn list_stale() -> Result<Vec<NetnsName>, NetnsError> {
        names(Kind::Stale)
    }

    /// Which namespace has this name now, if one has.
    #[must_use]
    pub fn identity_of(name: &NetnsName) -> Option<Identity> {
        Self::open(name).ok().map(|netns| netns.identity)
    }

    /// Which namespace this is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// `ip netns pids`: the processes whose main thread is in this namespace, sorted. Those that the caller may not
    /// inspect are left out.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn processes(&self) -> Result<Vec<u32>, NetnsError> {
        Ok(Self::all_processes()?.remove(&self.identity).unwrap_or_default())
    }

    /// [`Netns::processes`] of every namespace that has any, in one pass over `/proc`.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn all_processes() -> Result<HashMap<Identity, Vec<u32>>, NetnsError> {
        let proc = Path::new("/proc");
        let entries = fs::read_dir(proc).map_err(|error| path_error("read", proc)(errno_of(&error)))?;
        let mut pids: Vec<u32> =
            entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
        pids.sort_unstable();
        let mut found: HashMap<Identity, Vec<u32>> = HashMap::new();
        for pid in pids {
            if let Ok(identity) = Identity::of(&proc.join(format!("{pid}/ns/net"))) {
                found.entry(identity).or_default().push(pid);
            }
        }
        Ok(found)
    }

    /// The processes that live in namespaces, of those that have any. None where `/proc` cannot be read.
    #[must_use]
    pub fn processes_in(names: &[NetnsName]) -> BTreeMap<NetnsName, Vec<u32>> {
        let mut all = Self::all_processes().unwrap_or_default();
        let of = |name: &NetnsName| Some((name.clone(), all.remove(&Self::open(name).ok()?.identity())?));
        names.iter().filter_map(of).collect()
    }

    fn open_path(path: &Path) -> Result<Self, NetnsError> {
        let file = File::open(path).map_err(|error| path_error("open", path)(errno_of(&error)))?;
        Self::of(file, path)
    }

    fn of(file: File, path: &Path) -> Result<Self, NetnsError> {
        let found = file.metadata().map_err(|error| path_error("look at", path)(errno_of(&error)))?;
        Ok(Self { identity: Identity::from(&found), fd: file.into() })
    }
}

fn path_of(name: &NetnsName) -> PathBuf {
    Path::new(RUN_DIR).join(name.as_str())
}

/// What is below a name in `/run/netns`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A network namespace.
    Network,
    /// A plain file, on which nothing is mounted.
    Stale,
    /// Anything else, as a namespace of another kind.
    Foreign,
}

/// Opens what may be anything, and changes nothing by that.
fn open_at(path: &Path) -> Result<File, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    open(path, flags, Mode::empty()).map(File::from)
}

/// Of what kind the namespace is that an open file stands for; none where it stands for none.
fn kind_of(file: &File) -> Option<Kind> {
    /// `_IO(0xb7, 3)` of include/uapi/linux/nsfs.h.
    const NS_GET_NSTYPE: libc::Ioctl = 0xb703;
    // SAFETY: this ioctl takes no argument and writes nothing; the descriptor is open.
    match Errno::result(unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE) }) {
        Ok(libc::CLONE_NEWNET) => Some(Kind::Network),
        Ok(_) => Some(Kind::Foreign),
        Err(_) => None,
    }
}

/// What is there, if anything is. Of what has no business there people are told.
fn look_at(path: &Path) -> Option<Kind> {
    let kind = match statfs(path) {
        Ok(found) if found.filesystem_type() == NSFS_MAGIC => kind_of(&open_at(path).ok()?),
        Ok(_) if fs::symlink_metadata(path).ok()?.is_file() => Some(Kind::Stale),
        Ok(_) => Some(Kind::Foreign),
        Err(_) => None,
    };
    if kind == Some(Kind::Foreign) {
        notice::tell_once(path, || Notice::NoNetwork { path: path.to_owned() });
    }
    kind
}

/// The names below `/run/netns` whose file is as wanted.
fn names(wanted: Kind) -> Result<Vec<NetnsName>, NetnsError> {
    let directory = Path::new(RUN_DIR);
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| path_error("read", directory)(errno_of(&error)))?,
    };
    let mut names: Vec<NetnsName> = entries
        .filter_map(Result::ok)
        .filter(|entry| look_at(&entry.path()) == Some(wanted))
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    names.sort_unstable();
    Ok(names)
}

/// Gives the calling thread's namespace its name. The caller holds the lock on [`RUN_DIR`].
fn publish(name: &NetnsName) -> Result<(), NetnsError> {
    let path = path_of(name);
    let flags = OFlag::O_RDONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    match open(&path, flags, Mode::empty()) {
        Ok(_) => {}
        Err(Errno::EEXIST) => match look_at(&path) {
            Some(Kind::Stale) => {}
            Some(Kind::Network | Kind::Foreign) | None => {
                return Err(NetnsError::AlreadyExists { name: name.clone() });
            }
        },
        Err(errno) => return Err(path_error("create", &path)(errno)),
    }
    bind(Path::new(OWN), &path, MsFlags::empty()).inspect_err(|_| {
        // The mount's failure is the one to report.
        let _ = fs::remove_file(&path);
    })
}

/// Makes `/run/netns` if need be, and a shared mount point, so that a namespace named or deleted in one mount
/// namespace is so in the others. Returns the directory locked, as iproute2 does: two that do this at a time would
/// mount it twice.
fn run_directory() -> Result<Flock<File>, NetnsError> {
    let path = Path::new(RUN_DIR);
    let failed = |action| move |error: io::Error| path_error(action, path)(errno_of(&error));
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o755).create(path).map_err(failed("create"))?;
    let directory = File::open(path).map_err(failed("open"))?;
    let directory = locked(directory, path)?;
    let share = || mount(NONE, path, NONE, MsFlags::MS_SHARED | MsFlags::MS_REC, NONE);
    // EINVAL: not a mount point yet.
    if let Err(Errno::EINVAL) = share() {
        bind(path, path, MsFlags::MS_REC)?;
    }
    share().map_err(path_error("share the mount", path))?;
    Ok(directory)
}

/// Waits for the lock that iproute2 takes, too, on a file of its own.
fn locked(mut directory: File, path: &Path) -> Result<Flock<File>, NetnsError> {
    let mut waiting = Waiting::begin(path);
    loop {
        directory = match try_lock(directory) {
            Ok(lock) => return Ok(lock),
            Err((directory, Errno::EWOULDBLOCK)) => directory,
            Err((_, errno)) => return Err(path_error("lock", path)(errno)),
        };
        waiting.go_on().map_err(|Interrupted| path_error("lock", path)(Errno::EINTR))?;
    }
}

/// Whether namespaces that are named here have no name outside: this process has mounts of its own, and what it mounts at
/// `/run/netns` does not get to those of process 1. Where that cannot be told, they are taken to have one.
#[must_use]
pub fn is_hidden() -> bool {
    let mounts = |process: &str| fs::read_link(format!("/proc/{process}/ns/mnt")).ok();
    match (mounts("thread-self"), mounts("1")) {
        (Some(own), Some(first)) if own != first => {}
        _ => return false,
    }
    let read = |process: &str| fs::read_to_string(format!("/proc/{process}/mountinfo"));
    match (read("thread-self"), read("1")) {
        (Ok(own), Ok(first)) => {
            let shared = |group: &str| first.lines().any(|line| groups(line).any(|its| its == group));
            !run_mount(&own).is_some_and(|line| groups(line).any(shared))
        }
        _ => false,
    }
}

/// The line of a `mountinfo` for the mount that [`RUN_DIR`] is on: the deepest, and of these the last.
fn run_mount(mountinfo: &str) -> Option<&str> {
    let depth = |line: &&str| {
        let mounted = Path::new(line.split(' ').nth(4)?);
        Path::new(RUN_DIR).starts_with(mounted).then(|| mounted.components().count())
    };
    let mounts = mountinfo.lines().filter_map(|line| Some((depth(&line)?, line)));
    mounts.max_by_key(|(depth, _)| *depth).map(|(_, line)| line)
}

/// The peer groups of a mount, `shared:N`, which mount namespaces share by their numbers (proc_pid_mountinfo(5)).
fn groups(line: &str) -> impl Iterator<Item = &str> {
    line.split(' ').skip(6).take_while(|field| *field != "-").filter(|field| field.starts_with("shared:"))
}

/// An argument of `mount` that is not given.
const NONE: Option<&Path> = None;

fn bind(source: &Path, target: &Path, flags: MsFlags) -> Result<(), NetnsError> {
    mount(Some(source), target, NONE, MsFlags::MS_BIND | flags, NONE).map_err(path_error("mount", target))
}

/// Does `work` on every item and returns the outcomes in the items' order, on as many threads as there are processors,
/// whose namespaces may then be changed. A panic goes on in the caller.
fn side_by_side<I: Sync, O: Send>(items: &[I], work: impl Fn(&I) -> O + Sync) -> Result<Vec<O>, NetnsError> {
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let share = items.len().div_ceil(workers).max(1);
    thread::scope(|scope| {
        let mut threads = Vec::with_capacity(workers);
        for share in items.chunks(share) {
            let work = || share.iter().map(&work).collect::<Vec<_>>();
            let started = thread::Builder::new().spawn_scoped(scope, work);
            threads.push(started.map_err(|error| thread_error("start a thread")(errno_of(&error)))?);
        }
        let done =
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        Ok(done.flatten().collect())
    })
}

/// Runs `f` on a thread of its own, whose namespaces may then be changed; a panic goes on in the caller.
fn on_a_thread<T, E>(f: impl FnOnce() -> Result<T, E> + Send) -> Result<T, E>
where
    T: Send,
    E: From<NetnsError> + Send,
{
    thread::scope(|scope| {
        let started = thread::Builder::new().spawn_scoped(scope, f);
        let thread = started.map_err(|error| thread_error("start a thread")(errno_of(&error)))?;
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

fn path_error(action: &'static str, path: &Path) -> impl Fn(Errno) -> NetnsError {
    move |errno| NetnsError::Path { action, path: path.to_owned(), errno }
}

fn thread_error(action: &'static str) -> impl Fn(Errno) -> NetnsError {
    move |errno| NetnsError::Thread { action, errno }
}

fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Runs `f` on a thread with a network and a mount namespace of its own and an empty `/run`, all of which end with
    /// it. Needs root, and fails without.
    pub(crate) fn isolated<T: Send>(f: impl FnOnce() -> T + Send) -> T {
        on_a_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("kernel tests need root");
            mount(NONE, "/", NONE, MsFlags::MS_PRIVATE | MsFlags::MS_REC, NONE).unwrap();
            tmpfs("/run");
            Ok::<_, NetnsError>(f())
        })
        .unwrap()
    }

    pub(super) fn tmpfs(path: &str) {
        mount(Some("none"), path, Some("tmpfs"), MsFlags::empty(), NONE).unwrap();
    }

    pub(crate) fn name(name: &str) -> NetnsName {
        name.parse().unwrap()
    }

    pub(crate) fn create(name: &NetnsName) -> Netns {
        Netns::create(name, || Ok::<_, NetnsError>(())).unwrap().0
    }

    fn here() -> Result<Identity, NetnsError> {
        Netns::current().map(|netns| netns.identity())
    }

    #[test]
    fn a_namespace_is_prepared_inside_before_it_has_its_name() {
        isolated(|| {
            let red = name("red");
            let before = here().unwrap();
            let (netns, (inside, names)) =
                Netns::create(&red, || Ok::<_, NetnsError>((here()?, Netns::list()?))).unwrap();
            assert_eq!(names, []);
            assert_eq!(inside, netns.identity());
            assert_ne!(inside, before);
            assert_eq!(here().unwrap(), before, "the calling thread stays where it is");
            assert_eq!(Netns::list().unwrap(), std::slice::from_ref(&red));
            assert_eq!(Netns::open(&red).unwrap().identity(), inside);
            assert_eq!(netns.run(here).unwrap(), inside);
        });
    }

    #[test]
    fn a_taken_name_is_refused_and_stays() {
        isolated(|| {
            let red = name("red");
            let first = create(&red);
            let error = Netns::create(&red, || Ok::<_, NetnsError>(())).unwrap_err();
            assert!(matches!(error, NetnsError::AlreadyExists { .. }));
            assert_eq!(error.to_string(), "create namespace `red`: it exists already");
            // Also where the other one came between the first look and the naming.
            assert!(matches!(publish(&red), Err(NetnsError::AlreadyExists { .. })));
            assert_eq!(Netns::open(&red).unwrap().identity(), first.identity());
        });
    }

    #[test]
    fn a_failing_preparation_leaves_nothing() {
        isolated(|| {
            let refuse = || Err::<(), _>(NetnsError::Thread { action: "prepare", errno: Errno::EPERM });
            let error = Netns::create(&name("red"), refuse).unwrap_err();
            assert_eq!(error.to_string(), "prepare: Operation not permitted");
            assert_eq!(Netns::list().unwrap(), []);
            assert_eq!(Netns::list_stale().unwrap(), []);
        });
    }

    #[test]
    fn a_stale_file_is_no_namespace_can_be_deleted_and_can_be_reused() {
        isolated(|| {
            let red = name("red");
            fs::create_dir(RUN_DIR).unwrap();
            File::create(path_of(&red)).unwrap();
            assert_eq!(Netns::list().unwrap(), []);
            assert_eq!(Netns::list_stale().unwrap(), std::slice::from_ref(&red));
            let error = Netns::open(&red).unwrap_err();
            assert_eq!(error.to_string(), "open namespace `red`: no such namespace");
            Netns::delete(&red).unwrap();
            assert_eq!(Netns::list_stale().unwrap(), []);
            File::create(path_of(&red)).unwrap();
            create(&red);
            assert_eq!(Netns::list().unwrap(), [red]);
        });
    }

    #[test]
    fn a_deleted_name_is_gone_but_an_open_namespace_is_not() {
        isolated(|| {
            let red = name("red");
            let netns = create(&red);
            Netns::delete(&red).unwrap();
            assert!(!path_of(&red).exists());
            assert_eq!(netns.run(here).unwrap(), netns.identity());
            let error = Netns::delete(&red).unwrap_err();
            assert_eq!(error.to_string(), "delete namespace `red`: no such namespace");
        });
    }

    #[test]
    fn iproute2_sees_our_namespaces_and_we_see_its() {
        isolated(|| {
            let ip =
                |args: &[&str]| std::process::Command::new("ip").arg("netns").args(args).output().unwrap();
            create(&name("ours"));
            assert!(ip(&["add", "theirs"]).status.success());
            assert_eq!(Netns::list().unwrap(), [name("ours"), name("theirs")]);
            let listed = String::from_utf8(ip(&["list"]).stdout).unwrap();
            assert!(listed.contains("ours") && listed.contains("theirs"), "{listed}");
            Netns::delete(&name("theirs")).unwrap();
            assert!(ip(&["delete", "ours"]).status.success());
            assert_eq!(Netns::list().unwrap(), []);
        });
    }

    #[test]
    fn many_namespaces_can_be_created_at_once() {
        isolated(|| {
            thread::scope(|scope| {
                for number in 0..20 {
                    scope.spawn(move || create(&name(&format!("n{number}"))));
                }
            });
            assert_eq!(Netns::list().unwrap().len(), 20);
            let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
            let on_run_dir = mounts.lines().filter(|line| line.contains(" /run/netns ")).count();
            assert_eq!(on_run_dir, 1, "/run/netns is mounted once");
        });
    }

    #[test]
    fn many_namespaces_are_opened_in_their_order_and_each_from_inside() {
        isolated(|| {
            let names: Vec<NetnsName> = (0..20).map(|number| name(&format!("n{number}"))).collect();
            let made = Netns::create_all(&names[1..], here).unwrap();
            let before = here().unwrap();
            let opened = Netns::open_all(&names, here).unwrap();
            assert!(matches!(opened[0], Err(NetnsError::NotFound { .. })), "{:?}", opened[0]);
            for (opened, made) in opened[1..].iter().zip(&made) {
                let ((opened, inside), (made, _)) = (opened.as_ref().unwrap(), made.as_ref().unwrap());
                assert_eq!((opened.identity(), *inside), (made.identity(), made.identity()));
            }
            assert_eq!(here().unwrap(), before, "the calling thread stays where it is");
        });
    }

    #[test]
    fn processes_are_found_by_their_namespace() {
        isolated(|| {
            let netns = create(&name("red"));
            assert!(netns.processes().unwrap().is_empty());
            let mut holder = netns
                .run(|| {
                    let mut sleep = std::process::Command::new("sleep");
                    Ok::<_, NetnsError>(sleep.arg("60").spawn().unwrap())
                })
                .unwrap();
            let found = netns.processes();
            holder.kill().unwrap();
            holder.wait().unwrap();
            assert_eq!(found.unwrap(), [holder.id()]);
        });
    }

    #[test]
    fn the_mount_that_the_names_are_on_is_the_deepest_and_the_last() {
        let mounts = "22 1 0:20 / / rw shared:1 - ext4 /dev/a rw\n\
                      23 22 0:21 / /run rw shared:5 master:2 - tmpfs tmpfs rw\n\
                      24 23 0:21 /netns /run/netns rw - tmpfs tmpfs rw\n\
                      25 23 0:21 /netns /run/netns rw shared:9 - tmpfs shared:7 rw\n\
                      26 23 0:22 / /run/netns2 rw shared:8 - tmpfs tmpfs rw";
        assert_eq!(groups(run_mount(mounts).unwrap()).collect::<Vec<_>>(), ["shared:9"]);
        let fewer: Vec<&str> = mounts.lines().take(2).collect();
        assert_eq!(groups(run_mount(&fewer.join("\n")).unwrap()).collect::<Vec<_>>(), ["shared:5"]);
        assert_eq!(run_mount(""), None);
    }

    #[test]
    fn a_panic_inside_goes_on_outside() {
        let inside = || -> Result<(), NetnsError> { panic!("inside") };
        let caught = std::panic::catch_unwind(|| on_a_thread(inside)).unwrap_err();
        assert_eq!(caught.downcast_ref(), Some(&"inside"));
    }
}
