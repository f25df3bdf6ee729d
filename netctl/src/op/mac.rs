//! MAC addresses that are the same from run to run.
//!
//! A bridge without an address of its own takes the lowest of its ports' and changes it as they come and go
//! (`br_stp_recalculate_bridge_id`), which breaks its neighbours' caches; and udev gives a link that came with a random
//! one another a moment later.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

use crate::model::{IfName, Place, TopologyName, hash::fnv1a};

/// A MAC address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mac(pub [u8; 6]);

/// One of the machines that may have the same topology, on one network even.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Machine(u64);

impl Machine {
    /// One that cannot be told from others.
    pub const UNKNOWN: Self = Self(0);

    /// The one with this id.
    #[must_use]
    pub fn called(id: &str) -> Self {
        Self(fnv1a(id.as_bytes()))
    }
}

impl Mac {
    /// The address of an interface, drawn from its names and its machine: locally administered, unicast.
    #[must_use]
    pub fn of(machine: Machine, topology: &TopologyName, place: &Place, interface: &IfName) -> Self {
        let names = [topology.as_str(), &place.to_string(), interface.as_str()].join("/");
        let hash = fnv1a(&[&machine.0.to_be_bytes()[..], names.as_bytes()].concat());
        let [_, _, a, b, c, d, e, f] = hash.to_be_bytes();
        Self([a & 0xfc | 0x02, b, c, d, e, f])
    }
}

/// What is no MAC address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write it as 02:00:00:00:00:01")]
pub struct MacError;

impl FromStr for Mac {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, MacError> {
        let byte = |part: &str| {
            let is_hex = matches!(part.len(), 1 | 2) && part.bytes().all(|digit| digit.is_ascii_hexdigit());
            if is_hex { u8::from_str_radix(part, 16).map_err(|_| MacError) } else { Err(MacError) }
        };
        let separator = if text.contains('-') { '-' } else { ':' };
        let bytes: Vec<u8> = text.split(separator).map(byte).collect::<Result<_, _>>()?;
        bytes.try_into().map(Self).map_err(|_| MacError)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl Serialize for Mac {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_is_written() {
        let mac = Mac([2, 0, 0xab, 0, 0, 9]);
        for text in ["02:00:ab:00:00:09", "02-00-AB-00-00-09", "2:0:ab:0:0:9", &mac.to_string()] {
            assert_eq!(text.parse(), Ok(mac), "{text}");
        }
        for text in ["", "02:00:ab:00:00", "02:00:ab:00:00:09:01", "02:00:ab:00:00:0g", "+2:00:ab:00:00:09"] {
            assert_eq!(text.parse::<Mac>(), Err(MacError), "{text}");
        }
    }

    #[test]
    fn an_interface_keeps_its_address_and_shares_it_with_none() {
        let of = |machine, topology: &str, place: &str, interface: &str| {
            let place = Place::try_from(place.to_owned()).unwrap();
            Mac::of(Machine::called(machine), &topology.parse().unwrap(), &place, &interface.parse().unwrap())
        };
        let mac = of("a", "office", "red", "eth0");
        assert_eq!(mac, of("a", "office", "red", "eth0"));
        let others = [
            of("a", "office", "red", "eth1"),
            of("a", "office", "blue", "eth0"),
            of("a", "lab", "red", "eth0"),
            of("b", "office", "red", "eth0"),
        ];
        assert!(!others.contains(&mac));
        for mac in others {
            assert_eq!(mac.0[0] & 0x03, 0x02, "{mac} is not a locally administered unicast address");
        }
    }
}
