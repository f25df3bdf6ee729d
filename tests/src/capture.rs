//! Listens to an interface through a packet socket. What was heard is kept as a pcap file if the test fails.

use std::{
    os::fd::{AsRawFd as _, OwnedFd},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    net::if_::if_nametoindex,
    sys::{
        socket::{
            AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, setsockopt, socket, sockopt,
        },
        time::TimeVal,
    },
};

use crate::{packet::check::View, pcap};

/// A listener on one interface.
pub struct Capture {
    name: String,
    stop: Arc<AtomicBool>,
    listener: Option<JoinHandle<Vec<Vec<u8>>>>,
}

/// A packet socket, and the interface to listen to.
pub(crate) struct Tap {
    socket: OwnedFd,
    index: usize,
}

impl Capture {
    /// Opens the socket in the calling thread's namespace; it stays there.
    pub(crate) fn open(interface: &str) -> Tap {
        let family = AddressFamily::Packet;
        let socket = socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll).unwrap();
        setsockopt(&socket, sockopt::RcvBufForce, &(64 << 20)).unwrap();
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(0, 20_000)).unwrap();
        let index = if_nametoindex(interface).unwrap_or_else(|error| panic!("{interface}: {error}"));
        Tap { socket, index: index as usize }
    }

    pub(crate) fn new(name: String, tap: Tap) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let listener = Some(thread::spawn(move || listen(&tap, &stopped)));
        Self { name, stop, listener }
    }

    /// Everything heard until now, in both directions.
    #[must_use]
    pub fn stop(mut self) -> Heard {
        Heard { name: self.name.clone(), frames: self.end() }
    }

    fn end(&mut self) -> Vec<Vec<u8>> {
        self.stop.store(true, Ordering::Release);
        self.listener.take().map_or_else(Vec::new, |listener| listener.join().unwrap())
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        drop(Heard { name: self.name.clone(), frames: self.end() });
    }
}

/// Until told to stop, and then what is there already: until nothing comes for a moment, or for a second where it never
/// ends.
fn listen(tap: &Tap, stop: &AtomicBool) -> Vec<Vec<u8>> {
    let (mut frames, mut buffer) = (Vec::new(), vec![0; 1 << 17]);
    let mut stopped = None;
    loop {
        if stop.load(Ordering::Acquire)
            && stopped.get_or_insert_with(Instant::now).elapsed() > Duration::from_secs(1)
        {
            return frames;
        }
        match recvfrom::<LinkAddr>(tap.socket.as_raw_fd(), &mut buffer) {
            Ok((length, Some(from))) if from.ifindex() == tap.index => frames.push(buffer[..length].to_vec()),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) if stop.load(Ordering::Acquire) => return frames,
            Err(Errno::EAGAIN) => {}
            Err(error) => panic!("capture: {error}"),
        }
    }
}

/// What a capture heard.
pub struct Heard {
    name: String,
    frames: Vec<Vec<u8>>,
}

impl Heard {
    /// The frames, from the Ethernet header on.
    #[must_use]
    pub fn frames(&self) -> &[Vec<u8>] {
        &self.frames
    }

    /// The IP packets among them, read.
    pub fn packets(&self) -> impl Iterator<Item = View> {
        self.frames.iter().filter_map(|frame| View::read(frame))
    }
}

impl Drop for Heard {
    /// A test that fails keeps what it heard.
    fn drop(&mut self) {
        if thread::panicking() && !self.frames.is_empty() {
            let path: PathBuf =
                std::env::temp_dir().join(format!("netctl-{}-{}.pcap", std::process::id(), self.name));
            match pcap::write(&path, &self.frames) {
                Ok(()) => eprintln!("capture kept: {}", path.display()),
                Err(error) => eprintln!("capture lost: {}: {error}", path.display()),
            }
        }
    }
}
