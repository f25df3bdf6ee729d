//! A packet socket on one interface, kept open: frames go in at once and what arrives is taken without waiting.

use std::{
    io, mem,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use nix::net::if_::if_nametoindex;

/// A packet socket on one interface.
pub struct Tap {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Tap {
    /// Opens it in the calling thread's namespace; it stays there.
    #[must_use]
    pub fn open(interface: &str) -> Self {
        const ALL: u16 = (libc::ETH_P_ALL as u16).to_be();
        let index = if_nametoindex(interface).unwrap_or_else(|error| panic!("{interface}: {error}"));
        let flags = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: plain integers; the result is checked.
        let socket = unsafe { libc::socket(libc::AF_PACKET, flags, i32::from(ALL)) };
        assert!(socket >= 0, "packet socket: {}", io::Error::last_os_error());
        // SAFETY: a descriptor that the kernel has just given out.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        set(&socket, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, 1);
        set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 16 << 20);
        // SAFETY: a plain C struct of integers, for which all zeroes is a value.
        let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = ALL;
        address.sll_ifindex = index as i32;
        // SAFETY: `address` is of the size given and outlives the call.
        let bound = unsafe {
            libc::bind(
                socket.as_raw_fd(),
                (&raw const address).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        };
        assert_eq!(bound, 0, "bind to {interface}: {}", io::Error::last_os_error());
        Self { socket, buffer: vec![0; 1 << 16] }
    }

    /// Sends a frame. On veth links all that follows from it has happened when this returns, timers apart.
    pub fn send(&self, frame: &[u8]) {
        // SAFETY: the kernel reads `frame` within its bounds.
        let sent = unsafe { libc::send(self.socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        let error = io::Error::last_os_error();
        // The interface's own checks of length are the kernel's to make.
        let is_refused = sent < 0 && error.raw_os_error() == Some(libc::EMSGSIZE);
        assert!(is_refused || sent == frame.len() as isize, "send: {error}");
    }

    /// What has arrived since the last time.
    pub fn take(&mut self, mut frame: impl FnMut(&[u8])) {
        loop {
            // SAFETY: the kernel writes within the buffer's bounds.
            let length = unsafe {
                let (start, size) = (self.buffer.as_mut_ptr().cast(), self.buffer.len());
                libc::recv(self.socket.as_raw_fd(), start, size, 0)
            };
            match usize::try_from(length) {
                Ok(length) => frame(&self.buffer[..length]),
                Err(_) => {
                    let error = io::Error::last_os_error();
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "recv: {error}");
                    return;
                }
            }
        }
    }
}

fn set(socket: &OwnedFd, level: i32, option: i32, value: i32) {
    // SAFETY: `value` is of the size given and outlives the call.
    let set = unsafe {
        let size = size_of::<i32>() as libc::socklen_t;
        libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), size)
    };
    assert_eq!(set, 0, "socket option {option}: {}", io::Error::last_os_error());
}
