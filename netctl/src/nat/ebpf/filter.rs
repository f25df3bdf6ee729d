//! Attaching without TCX: `bpf` filters on a `clsact` qdisc, for kernels before 6.6.
//!
//! A filter is no file descriptor and cannot be pinned. What says that it was made is an empty directory where the link's
//! pin would be; another one says that the qdisc is ours to take away.

use std::{os::fd::AsFd as _, path::Path};

use aya::programs::ProgramInfo;
use nix::errno::Errno;

use super::{Build, Error, Pins, Side, attach::HOOKS, make_directory};
use crate::{
    model::IfName,
    netlink::{
        Refusal, Request, Socket, link,
        tc::{self, Hook},
    },
};

/// Attaches one program to one hook, in the place of the one that is there.
pub(super) fn attach(
    pins: &Pins,
    build: Build,
    side: Side,
    device: &mut Device,
    hook: &str,
    tc_hook: Hook,
) -> Result<(), Error> {
    if device.ask(tc::add_clsact(device.index), &[Errno::EEXIST])? {
        remember(&pins.qdisc(side, &device.name))?;
    }
    let name = side.program(hook);
    let program = ProgramInfo::from_pin(pins.programs(build).join(&name)).and_then(|info| info.fd());
    let program = program.map_err(Error::program(&name))?;
    remember(&pins.filter(side, &device.name, hook))?;
    device.ask(tc::replace_filter(device.filter(side, tc_hook), program.as_fd(), &name), &[]).map(drop)
}

/// Removes the filters, and the qdisc if it came with them and nobody else uses it; if another gateway does, it is that
/// one's from then on. An interface that is gone has taken both along.
pub(super) fn detach(pins: &Pins, side: Side, interface: &IfName) -> Result<(), Error> {
    let attached = HOOKS.iter().filter(|(hook, ..)| pins.filter(side, interface, hook).exists());
    let attached: Vec<Hook> = attached.map(|(.., tc_hook)| *tc_hook).collect();
    let is_qdisc_ours = pins.qdisc(side, interface).exists();
    if attached.is_empty() && !is_qdisc_ours {
        return Ok(());
    }
    let Some(mut device) = Device::open(pins, interface)? else { return Ok(()) };
    for hook in attached {
        device.ask(tc::delete_filter(device.filter(side, hook)), &[Errno::ENOENT, Errno::EINVAL])?;
    }
    if is_qdisc_ours && device.is_idle()? {
        device.ask(tc::delete_clsact(device.index), &[Errno::ENOENT, Errno::EINVAL])?;
    } else if is_qdisc_ours && let Some((other, side)) = neighbour(pins, side, interface)? {
        remember(&other.qdisc(side, interface))?;
    }
    Ok(())
}

/// An interface of the calling thread's network namespace.
pub(super) struct Device {
    name: IfName,
    pub(super) index: u32,
    /// Whether its frames have Ethernet headers.
    pub(super) is_ethernet: bool,
    pins: Pins,
    socket: Socket,
}

impl Device {
    /// The interface, if it is there.
    pub(super) fn open(pins: &Pins, interface: &IfName) -> Result<Option<Self>, Error> {
        let failed = Error::filter(interface);
        let mut socket = Socket::open().map_err(&failed)?;
        let found = link::find(&mut socket, interface).map_err(&failed)?;
        let (name, pins) = (interface.clone(), pins.clone());
        Ok(found.map(|link| Self {
            name,
            index: link.index,
            is_ethernet: link.address.is_some(),
            pins,
            socket,
        }))
    }

    /// The id of the program that a filter of ours runs at a hook for a side, if there is one.
    pub(super) fn program(&mut self, side: Side, hook: Hook) -> Result<Option<u32>, Error> {
        let filter = self.filter(side, hook);
        tc::filter_program(&mut self.socket, filter).map_err(Error::filter(&self.name))
    }

    fn filter(&self, side: Side, hook: Hook) -> tc::Filter {
        tc::Filter { index: self.index, hook, handle: self.pins.filter_handle(side) }
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

/// Who else has filters at the same interface: the gateway itself for another side, or another topology's in the same
/// place.
fn neighbour(pins: &Pins, side: Side, interface: &IfName) -> Result<Option<(Pins, Side)>, Error> {
    let own = Side::ALL.into_iter().filter(|other| *other != side).map(|other| (pins.clone(), other));
    let others = pins.of_other_topologies()?.into_iter();
    let others = others.flat_map(|other| Side::ALL.map(|side| (other.clone(), side)));
    let has_filters = |(pins, side): &(Pins, Side)| {
        HOOKS.iter().any(|(hook, ..)| pins.filter(*side, interface, hook).exists())
    };
    Ok(own.chain(others).find(has_filters))
}

fn remember(mark: &Path) -> Result<(), Error> {
    make_directory(mark)
}
