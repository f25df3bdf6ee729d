//! How a masquerade rule maps and filters, as its map has it.

use netctl_ebpf::rule::{filtering, mapping};

use crate::model::{Filtering, Mapping};

pub(super) const fn mapping_number(value: Mapping) -> u8 {
    match value {
        Mapping::AddressAndPortDependent => mapping::ADDRESS_AND_PORT_DEPENDENT,
        Mapping::EndpointIndependent => mapping::ENDPOINT_INDEPENDENT,
    }
}

pub(super) const fn mapping_of(number: u8) -> Mapping {
    match number {
        mapping::ENDPOINT_INDEPENDENT => Mapping::EndpointIndependent,
        _ => Mapping::AddressAndPortDependent,
    }
}

pub(super) const fn filtering_number(value: Filtering) -> u8 {
    match value {
        Filtering::AddressAndPortDependent => filtering::ADDRESS_AND_PORT_DEPENDENT,
        Filtering::AddressDependent => filtering::ADDRESS_DEPENDENT,
        Filtering::EndpointIndependent => filtering::ENDPOINT_INDEPENDENT,
    }
}

pub(super) const fn filtering_of(number: u8) -> Filtering {
    match number {
        filtering::ENDPOINT_INDEPENDENT => Filtering::EndpointIndependent,
        filtering::ADDRESS_DEPENDENT => Filtering::AddressDependent,
        _ => Filtering::AddressAndPortDependent,
    }
}
