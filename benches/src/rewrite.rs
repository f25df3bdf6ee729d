//! One flow's packets out through a gateway, for who counts time by himself.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::{contender::Contender, options::Way, packet_rate::Arena, programs::Programs, site::Wanted};

/// A gateway with a generator before it and a sink behind it.
pub struct Rewrite {
    programs: Programs,
    arena: Arena,
}

impl Rewrite {
    /// Builds it, and has the flow answered once.
    ///
    /// # Errors
    /// If the network cannot be made, or nothing passes.
    pub fn by(contender: Contender) -> Result<Self> {
        let mut programs = Programs::load()?;
        let mut arena = Arena::build(contender, &Wanted::default(), &mut programs)?;
        arena.open(&mut programs, false, 1)?;
        Ok(Self { programs, arena })
    }

    /// How long so many packets of 64 bytes took, beside one each way that go before.
    ///
    /// # Errors
    /// If they cannot be sent, or some do not arrive.
    pub fn packets(&mut self, count: u32) -> Result<Duration> {
        let burst = self.arena.burst(&mut self.programs, false, 1, Way::Out, 64, count)?;
        if burst.arrived < burst.sent {
            bail!("{} of {} packets arrived", burst.arrived, burst.sent);
        }
        Ok(burst.each * count)
    }
}
