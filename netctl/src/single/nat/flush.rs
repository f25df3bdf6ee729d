//! `netctl nat flush`: forget flows. Their next packets are new ones.

use serde::Serialize;

use super::{Filter, flows::connections, gateways};
use crate::{
    model::{Place, TopologyName},
    nat::ebpf::maps::Flow,
    single::{Error, Session},
};

/// What was forgotten of one gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Flushed {
    /// The gateway.
    pub gateway: Place,
    /// The topology that made it; `null` of one made by hand.
    pub topology: Option<TopologyName>,
    /// How many connections.
    pub flows: u64,
}

/// Forgets the connections of a gateway, or of all, that fit: `conntrack -F`, `conntrack -D ..`; and the
/// endpoint-independent mappings that nobody else uses.
///
/// # Errors
/// If the place is not there, or the kernel refuses; what was forgotten before stays so.
pub fn flush(
    session: &mut Session<'_>,
    place: Option<&Place>,
    filter: &Filter,
) -> Result<Vec<Flushed>, Error> {
    let mut flushed = Vec::new();
    for mut gateway in gateways(place, session.directories)? {
        let connections = connections(&gateway, filter)?;
        let flows: Vec<Flow> = connections.iter().flat_map(|connection| connection.flows.clone()).collect();
        gateway.tables.forget(&flows)?;
        let is_all = *filter == Filter::default();
        gateway.tables.forget_mappings(Some(flows.as_slice()).filter(|_| !is_all))?;
        let (topology, gateway) = (gateway.topology(), gateway.place);
        flushed.push(Flushed { gateway, topology, flows: connections.len() as u64 });
    }
    Ok(flushed)
}
