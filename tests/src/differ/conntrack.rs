//! Netfilter's connection table, as far as the oracle needs it: emptied by one netlink message.

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

/// A netlink socket of the oracle's gateway.
pub struct Conntrack {
    socket: OwnedFd,
}

impl Conntrack {
    /// Opens it in the calling thread's namespace, where connections are also tracked without a look at TCP's windows.
    #[must_use]
    pub fn open() -> Self {
        std::fs::write("/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal", "1").unwrap();
        // SAFETY: plain integers; the result is checked.
        let socket = unsafe {
            libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_NETFILTER)
        };
        assert!(socket >= 0, "netlink socket: {}", io::Error::last_os_error());
        // SAFETY: a descriptor that the kernel has just given out.
        Self { socket: unsafe { OwnedFd::from_raw_fd(socket) } }
    }

    /// Deletes every entry (`conntrack -F`).
    pub fn flush(&self) {
        const DELETE: u16 = (libc::NFNL_SUBSYS_CTNETLINK as u16) << 8 | 2;
        const REQUEST_ACK: u16 = (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
        let mut message = Vec::new();
        message.extend(20_u32.to_ne_bytes()); // struct nlmsghdr
        message.extend(DELETE.to_ne_bytes());
        message.extend(REQUEST_ACK.to_ne_bytes());
        message.extend([0; 8]);
        message.extend([0; 4]); // struct nfgenmsg: every family
        let mut answer = [0_u8; 256];
        // SAFETY: the kernel reads and writes within the bounds given.
        let length = unsafe {
            let fd = self.socket.as_raw_fd();
            assert_eq!(libc::send(fd, message.as_ptr().cast(), message.len(), 0), 20);
            libc::recv(fd, answer.as_mut_ptr().cast(), answer.len(), 0)
        };
        assert!(length >= 20, "conntrack: {}", io::Error::last_os_error());
        let error = i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]);
        assert_eq!(error, 0, "conntrack: {}", io::Error::from_raw_os_error(-error));
    }
}
