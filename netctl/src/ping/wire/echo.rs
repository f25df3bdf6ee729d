//! Pings of many addresses from many namespaces at once.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    os::fd::{AsFd as _, AsRawFd as _, RawFd},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags},
    sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket},
};

use super::{
    super::icmp::{self, Answer},
    AT_ONCE, Outcome, wait,
};

/// How often a request is sent before it counts as unanswered.
const TRIES: u16 = 3;

/// How many are asked before something is done between.
const GROUP: usize = 200;

/// Raw sockets of ICMP, unless the kernel has no such family.
pub(in crate::ping) struct Sockets {
    ipv4: Result<UdpSocket, Errno>,
    ipv6: Result<UdpSocket, Errno>,
}

impl Sockets {
    /// Opens them in the calling thread's namespace.
    pub(in crate::ping) fn open() -> Self {
        let open = |family, protocol| {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            // Of std's sockets the one that sends to an address and tells who answers.
            socket(family, SockType::Raw, flags, protocol).map(UdpSocket::from)
        };
        Self {
            ipv4: open(AddressFamily::Inet, SockProtocol::Icmp),
            ipv6: open(AddressFamily::Inet6, SockProtocol::IcmpV6),
        }
    }

    fn of(&self, to: IpAddr) -> &Result<UdpSocket, Errno> {
        if to.is_ipv4() { &self.ipv4 } else { &self.ipv6 }
    }
}

/// Pings each of the addresses by its sockets. Where they are many, `between` is called again and again. The outcomes are
/// in the order of the questions.
pub(in crate::ping) fn all(
    questions: &[(&Sockets, IpAddr)],
    timeout: Duration,
    mut between: impl FnMut(),
) -> Vec<Outcome> {
    let mut asked = Asked { outcomes: vec![None; questions.len()], lines: BTreeMap::new() };
    for sequence in 1..=TRIES {
        let end = Instant::now() + timeout / u32::from(TRIES);
        let open: Vec<usize> =
            (0..questions.len()).filter(|&index| asked.outcomes[index].is_none()).collect();
        for group in open.chunks(GROUP) {
            let unanswered = asked.open();
            for &index in group {
                asked.ask(questions[index], index, sequence);
            }
            if open.len() > GROUP {
                asked.listen(Instant::now() + AT_ONCE, unanswered);
                between();
            }
        }
        asked.listen(end, 0);
    }
    asked.outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(Outcome::unanswered)).collect()
}

/// What was asked so far.
struct Asked<'a> {
    outcomes: Vec<Option<Outcome>>,
    lines: BTreeMap<RawFd, Line<'a>>,
}

/// The questions of one socket.
struct Line<'a> {
    socket: &'a UdpSocket,
    ipv4: bool,
    /// Those without an outcome: their index, and when they were last asked.
    open: BTreeMap<IpAddr, (usize, Instant)>,
}

impl<'a> Asked<'a> {
    /// Asks, and takes the answers that are there at once.
    fn ask(&mut self, (sockets, to): (&'a Sockets, IpAddr), index: usize, sequence: u16) {
        let socket = match sockets.of(to) {
            Ok(socket) => socket,
            Err(errno) => {
                self.outcomes[index] = Some(Outcome::Failed(errno.desc().to_owned()));
                return;
            }
        };
        let ipv4 = to.is_ipv4();
        let new = || Line { socket, ipv4, open: BTreeMap::new() };
        let line = self.lines.entry(socket.as_raw_fd()).or_insert_with(new);
        line.open.insert(to, (index, Instant::now()));
        match socket.send_to(&icmp::request(ipv4, id(), sequence), SocketAddr::new(to, 0)) {
            Err(error) if !is_congestion(&error) => {
                line.open.remove(&to);
                self.outcomes[index] = Some(Outcome::refused(&error));
            }
            _ => line.take(&mut self.outcomes),
        }
    }

    /// How many are without an outcome.
    fn open(&self) -> usize {
        self.lines.values().map(|line| line.open.len()).sum()
    }

    /// Takes answers until `end`, or until no more than so many are open.
    fn listen(&mut self, end: Instant, enough: usize) {
        while self.open() > enough {
            let open = self.lines.values().filter(|line| !line.open.is_empty());
            let mut fds: Vec<_> =
                open.map(|line| PollFd::new(line.socket.as_fd(), PollFlags::POLLIN)).collect();
            if !wait(&mut fds, end) {
                return;
            }
            self.lines.values_mut().for_each(|line| line.take(&mut self.outcomes));
        }
    }
}

impl Line<'_> {
    /// Takes the answers that are there.
    fn take(&mut self, outcomes: &mut [Option<Outcome>]) {
        let mut buffer = [0; 1500];
        while let Ok((length, sender)) = self.socket.recv_from(&mut buffer) {
            let (about, error) = match icmp::answer(self.ipv4, &buffer[..length], id()) {
                Some(Answer::Reply) => (sender.ip(), None),
                Some(Answer::Error { to, what }) => (to, Some(format!("{what}, says {}", sender.ip()))),
                None => continue,
            };
            if let Some((index, asked)) = self.open.remove(&about) {
                let answered = || Outcome::Answered(asked.elapsed());
                outcomes[index] = Some(error.map_or_else(answered, Outcome::Failed));
            }
        }
    }
}

/// What tells this process's requests from others'. Only its low half fits.
#[expect(clippy::cast_possible_truncation, reason = "the low half is wanted")]
fn id() -> u16 {
    std::process::id() as u16
}

/// Whether trying again may help.
fn is_congestion(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(Errno::ENOBUFS as i32)
}
