//! An outer machine of its own for netctl to run on: a [`Lab`] has its own network, mounts and processes, so that
//! nothing that happens in it touches the machine, and labs do not touch each other.
//!
//! It hangs on one process, the first of its process namespace. With that process everything in the lab ends: when the
//! lab is dropped, and also when the tests are killed, since it ends with its standard input. A program is started on a
//! thread that has entered the lab (and one of its named namespaces), so a [`Child`] is the program itself.

mod bystander;
mod dump;
mod output;
mod server;

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Seek as _, Write as _},
    panic::resume_unwind,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, setns, unshare},
};
use tempfile::TempDir;

pub use self::{
    dump::{Change, Dump, HOST, Item, Value, Watcher},
    output::Output,
    server::Server,
};
use crate::capture::Capture;

/// How long anything may take that a test waits for: 20 seconds, or as many as `NETCTL_PATIENCE` says.
#[must_use]
pub fn patience() -> Duration {
    let seconds = std::env::var("NETCTL_PATIENCE").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(20))
}

/// A machine of its own.
pub struct Lab {
    holder: Child,
    network: File,
    mounts: File,
    processes: File,
    files: TempDir,
}

impl Lab {
    /// A machine with a loopback that is up, an empty `/run` and an empty bpffs.
    #[must_use]
    pub fn new() -> Self {
        let mut holder = thread::scope(|scope| join(scope.spawn(hold)));
        let ready = holder.stdout.take().map(|stdout| BufReader::new(stdout).lines().next());
        assert!(matches!(ready, Some(Some(Ok(_)))), "the lab was not made: {:?}", holder.wait());
        let namespace = |kind: &str| {
            let path = format!("/proc/{}/ns/{kind}", holder.id());
            File::open(&path).unwrap_or_else(|error| panic!("open {path}: {error}"))
        };
        let (network, mounts, processes) = (namespace("net"), namespace("mnt"), namespace("pid"));
        Self { network, mounts, processes, holder, files: TempDir::new().unwrap() }
    }

    /// A machine on which the quickstart is up.
    #[must_use]
    pub fn quickstart() -> Self {
        let lab = Self::new();
        lab.netctl(["up"]).success();
        lab
    }

    /// Runs the netctl under test.
    #[track_caller]
    pub fn netctl<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Output<'_> {
        self.host().run(&netctl(), arguments)
    }

    /// Starts the netctl under test beside the test.
    #[track_caller]
    pub fn start_netctl<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Server<'_> {
        self.host().start(&netctl(), arguments)
    }

    /// A file in the lab's own directory, which is also where its programs are started. It goes with the lab. A topology's
    /// is made one without shortcuts where `NETCTL_SHORTCUT` is `off`.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.files.path().join(name);
        let is_off = std::env::var_os("NETCTL_SHORTCUT").is_some_and(|value| value == "off");
        match std::str::from_utf8(content.as_ref()) {
            Ok(text) if is_off && name.ends_with(".toml") => fs::write(&path, without_shortcuts(text)),
            _ => fs::write(&path, content),
        }
        .unwrap();
        path
    }

    /// That directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.files.path()
    }

    /// The machine itself, outside its named namespaces.
    #[must_use]
    pub fn host(&self) -> Ns<'_> {
        Ns { lab: self, name: None }
    }

    /// A named namespace.
    #[must_use]
    pub fn ns<'a>(&'a self, name: &'a str) -> Ns<'a> {
        Ns { lab: self, name: Some(name) }
    }
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Its end is that of every process in the lab; `wait` returns when all are gone.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// A place in a lab to run programs in.
#[derive(Clone, Copy)]
pub struct Ns<'a> {
    lab: &'a Lab,
    name: Option<&'a str>,
}

impl<'a> Ns<'a> {
    /// Runs a program to its end.
    #[track_caller]
    pub fn run<'b>(self, program: &str, arguments: impl IntoIterator<Item = &'b str>) -> Output<'a> {
        self.run_with(program, arguments, b"")
    }

    /// Runs a program to its end, `input` on its standard input.
    #[track_caller]
    pub fn run_with<'b>(
        self,
        program: &str,
        arguments: impl IntoIterator<Item = &'b str>,
        input: &[u8],
    ) -> Output<'a> {
        let mut command = self.command(program, arguments);
        let mut stdin = tempfile::tempfile_in(self.lab.directory()).unwrap();
        stdin.write_all(input).and_then(|()| stdin.rewind()).unwrap();
        command.stdin(stdin);
        let output = self.enter(|| command.output());
        Output::new(
            self.lab,
            &self.describe(&command),
            output.unwrap_or_else(|error| missing(program, &error)),
        )
    }

    /// Starts a program that goes on until it is dropped.
    #[track_caller]
    pub fn start<'b>(self, program: &str, arguments: impl IntoIterator<Item = &'b str>) -> Server<'a> {
        Server::start(self, program, arguments)
    }

    /// Starts a program and waits until it listens on a port, of TCP or UDP.
    #[track_caller]
    pub fn serve<'b>(
        self,
        port: u16,
        program: &str,
        arguments: impl IntoIterator<Item = &'b str>,
    ) -> Server<'a> {
        let mut server = self.start(program, arguments);
        eventually(&format!("{} listens on port {port}", server.command()), || {
            server.assert_alive();
            self.listens(port)
        });
        server
    }

    /// Whether anyone listens on a port, of TCP or UDP.
    #[must_use]
    pub fn listens(self, port: u16) -> bool {
        let filter = format!("sport = :{port}");
        !self.run("ss", ["-H", "-l", "-n", "-t", "-u", &filter]).success().stdout().is_empty()
    }

    /// Listens to everything that passes an interface.
    #[must_use]
    pub fn capture(self, interface: &str) -> Capture {
        let name = format!("{}-{interface}", self.name.unwrap_or("host"));
        Capture::new(name, self.enter(|| Capture::open(interface)))
    }

    /// Runs `f` on a thread inside; the thread ends with it.
    pub fn enter<T: Send>(self, f: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            join(scope.spawn(|| {
                let Lab { network, mounts, processes, .. } = self.lab;
                // Threads share a root and a working directory, which a mount namespace does not allow.
                unshare(CloneFlags::CLONE_FS).unwrap();
                setns(mounts, CloneFlags::CLONE_NEWNS).unwrap();
                setns(processes, CloneFlags::CLONE_NEWPID).unwrap();
                match self.name.map(|name| Path::new("/run/netns").join(name)) {
                    None => setns(network, CloneFlags::CLONE_NEWNET).unwrap(),
                    Some(path) => {
                        let named = File::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                        setns(named, CloneFlags::CLONE_NEWNET).unwrap();
                    }
                }
                f()
            }))
        })
    }

    fn command<'b>(self, program: &str, arguments: impl IntoIterator<Item = &'b str>) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.lab.directory()).stdin(Stdio::null());
        command.env("LC_ALL", "C").env("NETCTL_LAB", self.lab.directory());
        command
    }

    fn describe(self, command: &Command) -> String {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
        format!("[{}] {}", self.name.unwrap_or("host"), words.join(" "))
    }
}

/// Polls until `holds` does.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience();
    while !holds() {
        assert!(Instant::now() < deadline, "not within {:?}: {what}", patience());
        thread::park_timeout(Duration::from_millis(10));
    }
}

/// The first process of a new lab, on a thread that has just made the lab's namespaces.
fn hold() -> Child {
    const SETUP: &str = "mount -t proc proc /proc && mount -t bpf bpf /sys/fs/bpf && mount -t tmpfs tmpfs /run \
                         && ip link set lo up && echo ready && exec cat > /dev/null";
    const NONE: Option<&Path> = None;
    let apart = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID;
    unshare(apart).unwrap_or_else(|error| panic!("labs need root: {error}"));
    mount(NONE, "/", NONE, MsFlags::MS_PRIVATE | MsFlags::MS_REC, NONE).unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", SETUP]).stdin(Stdio::piped()).stdout(Stdio::piped());
    shell.spawn().unwrap_or_else(|error| missing("sh", &error))
}

/// The same topology, all of whose packets take the kernel's way.
fn without_shortcuts(topology: &str) -> String {
    const TABLE: &str = "[nat]\n";
    const OFF: &str = "[nat]\nshortcut = false\n";
    if !topology.contains("nat") || topology.contains("backend =") {
        topology.to_owned()
    } else if topology.contains(TABLE) {
        topology.replacen(TABLE, OFF, 1)
    } else {
        format!("{topology}\n{OFF}")
    }
}

/// The netctl under test.
#[must_use]
pub fn netctl() -> String {
    std::env::var("NETCTL_BIN").expect("NETCTL_BIN names the netctl to test; `cargo xtask test` sets it")
}

fn missing(program: &str, error: &io::Error) -> ! {
    panic!("the tests need `{program}`: {error}")
}

fn join<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}
