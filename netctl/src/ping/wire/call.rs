//! Connections by TCP to many addresses from many namespaces at once.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::{AsFd as _, AsRawFd as _},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags},
    sys::socket::{
        AddressFamily, SockFlag, SockType, SockaddrIn, SockaddrIn6, connect, setsockopt, socket, sockopt,
    },
};

use super::{AT_ONCE, Outcome, wait};
use crate::netns::{Netns, NetnsError};

/// Connects to each of the addresses from its namespace, all at once, and resets the connections. The outcomes are in the
/// order of the questions.
pub(in crate::ping) fn all(questions: &[(&Netns, SocketAddr)], timeout: Duration) -> Vec<Outcome> {
    let mut outcomes = vec![None; questions.len()];
    let mut calls = Vec::new();
    for (index, (netns, to)) in questions.iter().enumerate() {
        let asked = Instant::now();
        match netns.run(|| Ok::<_, NetnsError>(call(*to))) {
            Ok(Ok(stream)) => calls.push(Call { index, asked, stream }),
            Ok(Err(errno)) => outcomes[index] = Some(Outcome::Failed(errno.desc().to_owned())),
            Err(error) => outcomes[index] = Some(Outcome::Failed(error.to_string())),
        }
        // Most are decided at once: their time is then not that of the next call's beginning.
        settle(&mut calls, Instant::now() + AT_ONCE, &mut outcomes);
    }
    let end = Instant::now() + timeout;
    while settle(&mut calls, end, &mut outcomes) {}
    outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(Outcome::unanswered)).collect()
}

/// A connection under way.
struct Call {
    index: usize,
    asked: Instant,
    stream: TcpStream,
}

/// Begins a connection from the calling thread's namespace.
fn call(to: SocketAddr) -> Result<TcpStream, Errno> {
    let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(family, SockType::Stream, flags, None)?;
    // Closed, it is reset: neither its port nor its flow is kept waiting.
    setsockopt(&fd, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 })?;
    let begun = match to {
        SocketAddr::V4(to) => connect(fd.as_raw_fd(), &SockaddrIn::from(to)),
        SocketAddr::V6(to) => connect(fd.as_raw_fd(), &SockaddrIn6::from(to)),
    };
    begun.or_else(|errno| if errno == Errno::EINPROGRESS { Ok(()) } else { Err(errno) })?;
    Ok(fd.into())
}

/// Waits until a call is decided and takes out those that are; false if there was none until `end`.
fn settle(calls: &mut Vec<Call>, end: Instant, outcomes: &mut [Option<Outcome>]) -> bool {
    let mut fds: Vec<_> =
        calls.iter().map(|call| PollFd::new(call.stream.as_fd(), PollFlags::POLLOUT)).collect();
    if !wait(&mut fds, end) {
        return false;
    }
    let decided: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(true)).collect();
    let mut decided = decided.into_iter();
    calls.retain(|call| {
        let is_open = !decided.next().unwrap_or(false);
        if !is_open {
            let error = call.stream.take_error().unwrap_or_else(Some);
            let answered = || Outcome::Answered(call.asked.elapsed());
            outcomes[call.index] = Some(error.map_or_else(answered, |error| Outcome::refused(&error)));
        }
        is_open
    });
    true
}

/// Listens at an address of a namespace, where nobody does so far, until dropped.
pub(in crate::ping) fn listen(netns: &Netns, at: SocketAddr) -> Option<TcpListener> {
    netns.run(|| Ok::<_, NetnsError>(TcpListener::bind(at).ok())).ok()?
}
