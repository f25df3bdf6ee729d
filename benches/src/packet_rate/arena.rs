//! A contender's network with a generator before it and a sink behind it, either way.

use std::net::IpAddr;

use anyhow::{Result, bail};

use crate::{
    contender::Contender,
    options::Way,
    programs::{Burst, Programs, Traffic},
    site::{Addresses, ETH0, Interface, Middle, Site, Wanted, addresses, interface},
};

/// So many flows are opened and then answered: a NAT keeps few of which it does not know whether anyone is there.
const OPENED_AT_ONCE: u32 = 4096;

/// The network.
pub(crate) struct Arena {
    site: Site,
    /// Where frames from the client come in, and whom they are for.
    near: (Interface, [u8; 6]),
    /// Where frames from the server come in.
    far: Interface,
    client: Interface,
    server: Interface,
}

impl Arena {
    /// Builds it.
    pub(crate) fn build(contender: Contender, wanted: &Wanted, programs: &mut Programs) -> Result<Self> {
        let site = Site::build(contender, wanted)?;
        let (client, server) = (interface(site.client(), ETH0)?, interface(site.outside(), ETH0)?);
        programs.sink(site.outside(), ETH0)?;
        programs.sink(site.client(), ETH0)?;
        let (near, far) = match site.middle() {
            Some(Middle { port, bridge, uplink }) => ((port, bridge.mac), uplink),
            None => ((server, server.mac), client),
        };
        Ok(Self { site, near, far, client, server })
    }

    pub(crate) fn name(&self) -> &'static str {
        self.site.contender.name()
    }

    /// Lets every flow have a packet and an answer.
    pub(crate) fn open(&mut self, programs: &mut Programs, is_v6: bool, flows: u32) -> Result<()> {
        for first in (0..flows).step_by(OPENED_AT_ONCE as usize) {
            let some = first..flows.min(first + OPENED_AT_ONCE);
            for way in [Way::Out, Way::In] {
                let burst = self.send(programs, is_v6, some.clone(), way, 64, some.end - some.start)?;
                if burst.arrived < burst.sent {
                    let Burst { sent, arrived, .. } = burst;
                    bail!("{}: only {arrived} of {sent} packets arrive ({})", self.name(), way.name());
                }
            }
        }
        Ok(())
    }

    /// A burst that is measured, after one either way that is not.
    pub(crate) fn burst(
        &mut self,
        programs: &mut Programs,
        is_v6: bool,
        flows: u32,
        way: Way,
        size: usize,
        packets: u32,
    ) -> Result<Burst> {
        if self.site.contender.translates() {
            for way in [Way::Out, Way::In] {
                self.send(programs, is_v6, 0..flows, way, size, flows)?;
            }
        }
        self.send(programs, is_v6, 0..flows, way, size, packets.max(flows))
    }

    fn send(
        &mut self,
        programs: &mut Programs,
        is_v6: bool,
        flows: std::ops::Range<u32>,
        way: Way,
        size: usize,
        packets: u32,
    ) -> Result<Burst> {
        let all = addresses(is_v6);
        match way {
            Way::Out => {
                let (at, to_mac) = self.near;
                let traffic = Traffic {
                    from: self.client_address(&all),
                    to: all.server,
                    macs: [to_mac, self.client.mac],
                    ifindex: at.index,
                    inwards: false,
                };
                // At the end of a lone cable, frames come in at the server itself.
                let is_direct = self.site.contender == Contender::Direct;
                let ns = if is_direct { self.site.outside() } else { self.site.gateway() };
                programs.send(ns, &traffic, size, flows, packets)
            }
            Way::In => {
                let translates = self.site.contender.translates();
                let to = if translates { all.uplink } else { self.client_address(&all) };
                let traffic = Traffic {
                    from: all.server,
                    to,
                    macs: [self.far.mac, self.server.mac],
                    ifindex: self.far.index,
                    inwards: true,
                };
                programs.send(self.site.gateway(), &traffic, size, flows, packets)
            }
        }
    }

    fn client_address(&self, all: &Addresses) -> IpAddr {
        if self.site.contender == Contender::Direct { all.uplink } else { all.client }
    }
}
