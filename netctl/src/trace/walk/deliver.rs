//! The end of the way: a socket, or who waits for an answer.

use super::{Next, Walker};
use crate::{
    firewall::Hook,
    model::Place,
    netlink::diag::Listener,
    trace::{End, Error, Packet, advice},
};

impl Walker<'_, '_> {
    pub(super) fn deliver(&mut self, place: &Place) -> Result<Next, Error> {
        if let Some(ended) = self.filter(place, Hook::Input)? {
            return Ok(ended);
        }
        if self.packet.is_answer
            && let Some(made) = self.nat.delivered(place, &self.packet)
            && let Some(ended) = self.take(place, made)?
        {
            return Ok(ended);
        }
        match self.expected.clone() {
            Some((asker, expected)) => Ok(self.answered(place, &asker, &expected)),
            None => self.find_socket(place),
        }
    }

    /// An answer is one if it comes from whom was asked to who asked.
    fn answered(&mut self, place: &Place, asker: &Place, expected: &Packet) -> Next {
        if place != asker {
            let why = format!("the answer is for {}, which is an address of `{place}`", self.packet.to.ip());
            return self.die(place, "socket", why, None);
        }
        if self.packet != *expected {
            let why = format!(
                "the answer comes from {}, and {} was asked: no socket takes it",
                self.packet.end(self.packet.from),
                expected.end(expected.from)
            );
            let fix = "have the answer come back through the gateway that translated".to_owned();
            return self.die(place, "socket", why, Some(fix));
        }
        self.arrive_at(place, "who asked has the answer".to_owned())
    }

    fn find_socket(&mut self, place: &Place) -> Result<Next, Error> {
        let Some(protocol) = self.packet.what.protocol() else { return self.echo(place) };
        let (address, port) = (self.packet.to.ip(), self.packet.to.port());
        let all = self.world.listeners(place)?;
        let at_port = |its: &&Listener| its.protocol == protocol && its.port == port;
        let takes = |its: &Listener| {
            let bound = its.address.to_canonical();
            bound == address
                || its.address.is_unspecified()
                    && (its.address.is_ipv4() == address.is_ipv4() || !its.v6_only && address.is_ipv4())
        };
        if all.iter().filter(at_port).any(takes) {
            return Ok(self.arrive_at(place, format!("a socket takes {port}/{protocol}")));
        }
        let answer = match protocol {
            crate::model::Protocol::Tcp => "a reset: connection refused",
            crate::model::Protocol::Udp => "ICMP's \"port unreachable\"",
        };
        let (why, fix) = match all.iter().find(at_port) {
            Some(other) => (
                format!(
                    "who listens on {port}/{protocol} is bound to {}, not to {address}; the answer is {answer}",
                    other.address
                ),
                format!("have it listen on {address}, or on all addresses"),
            ),
            None => (
                format!("nobody listens on {port}/{protocol}; the answer is {answer}"),
                format!("start the server in `{place}`"),
            ),
        };
        Ok(self.die(place, "socket", why, Some(fix)))
    }

    fn echo(&mut self, place: &Place) -> Result<Next, Error> {
        let version = if self.packet.to.is_ipv4() {
            "net.ipv4.icmp_echo_ignore_all"
        } else {
            "net.ipv6.icmp.echo_ignore_all"
        };
        if self.world.sysctl(place, version)?.is_some_and(|value| value == "1") {
            let why = format!("`{place}` answers no echo requests: {version} is 1");
            return Ok(self.die(place, "echo", why, Some(advice::set_sysctl(place, version, "0"))));
        }
        Ok(self.arrive_at(place, "the kernel answers echo requests".to_owned()))
    }

    fn arrive_at(&mut self, place: &Place, text: String) -> Next {
        self.step(place, "socket", text);
        self.walk.end = End::Arrives { place: place.clone(), packet: self.packet };
        Next::End
    }
}
