//! Attaching without TCX: `bpf` filters on a `clsact` qdisc, for kernels before 6.6.
//!
//! A filter is no file descriptor and cannot be pinned. What says that it is there is the program, pinned a second time
//! beside where the link's pin would be; another such pin says that the qdisc is ours to take away.

use std::{os::fd::AsFd as _, path::Path};

use aya::programs::SchedClassifier;
use nix::errno::Errno;

use super::{Error, Pins, Side, attach::HOOKS, make_parent};
use crate::{
    model::IfName,
    netlink::{
        Refusal, Request, Socket, link,
        tc::{self, Hook},
    },
};

/// Attaches one program to one hook.
pub(super) fn attach(
    pins: &Pins,
    name: &str,
    side: Side,
    interface: &IfName,
    hook: &str,
    tc_hook: Hook,
) -> Result<(), Error> {
    let mut device = Device::open(interface)?.ok_or_else(|| Error::NoInterface(interface.clone()))?;
    let program = pins.program(name);
    if device.ask(tc::add_clsact(device.index), &[Errno::EEXIST])? {
        pin_again(&program, name, &pins.qdisc(side, interface))?;
    }
    let loaded = SchedClassifier::from_pin(&program).map_err(Error::program(name))?;
    let fd = loaded.fd().map_err(Error::program(name))?;
    device.ask(tc::add_filter(device.index, tc_hook, fd.as_fd(), name), &[])?;
    pin_again(&program, name, &pins.filter(side, interface, hook))
}

/// Removes the filters, and the qdisc if it came with them and nobody else uses it. An interface that is gone has taken
/// both along.
pub(super) fn detach(pins: &Pins, side: Side, interface: &IfName) -> Result<(), Error> {
    let attached = HOOKS.iter().filter(|(hook, ..)| pins.filter(side, interface, hook).exists());
    let attached: Vec<Hook> = attached.map(|(.., tc_hook)| *tc_hook).collect();
    let is_qdisc_ours = pins.qdisc(side, interface).exists();
    if attached.is_empty() && !is_qdisc_ours {
        return Ok(());
    }
    let Some(mut device) = Device::open(interface)? else { return Ok(()) };
    for hook in attached {
        device.ask(tc::delete_filter(device.index, hook), &[Errno::ENOENT, Errno::EINVAL])?;
    }
    if is_qdisc_ours && device.is_idle()? {
        device.ask(tc::delete_clsact(device.index), &[Errno::ENOENT, Errno::EINVAL])?;
    }
    Ok(())
}

/// An interface of the calling thread's network namespace.
struct Device {
    name: IfName,
    index: u32,
    socket: Socket,
}

impl Device {
    fn open(interface: &IfName) -> Result<Option<Self>, Error> {
        let failed = Error::filter(interface);
        let mut socket = Socket::open().map_err(&failed)?;
        let found = link::find(&mut socket, interface).map_err(&failed)?;
        Ok(found.map(|link| Self { name: interface.clone(), index: link.index, socket }))
    }

    /// Sends one request; false if the kernel refuses it for one of the `expected` reasons.
    fn ask(&mut self, request: Request, expected: &[Errno]) -> Result<bool, Error> {
        let answers = self.socket.execute(vec![request]).map_err(Error::filter(&self.name))?;
        match answers.into_iter().next() {
            Some(Err(Refusal { errno, .. })) if expected.contains(&errno) => Ok(false),
            Some(Err(refusal)) => Err(Error::Filter { interface: self.name.clone(), refusal }),
            _ => Ok(true),
        }
    }

    fn is_idle(&mut self) -> Result<bool, Error> {
        for hook in Hook::ALL {
            let count = tc::count_filters(&mut self.socket, self.index, hook);
            if count.map_err(Error::filter(&self.name))? > 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn pin_again(program: &Path, name: &str, path: &Path) -> Result<(), Error> {
    make_parent(path)?;
    let mut program = SchedClassifier::from_pin(program).map_err(Error::program(name))?;
    program.pin(path).map_err(Error::pin(path))
}
