//! How long flows live: the kinds of flows, and durations in the words of the file.

use std::{collections::BTreeMap, fmt};

use netctl_ebpf::config::{self, SECOND_NS};
use serde::{Deserialize, Serialize};

use super::{Problem, error::Error};
use crate::spec::{self, Duration, key_path};

/// A kind of flow with a lifetime of its own, counted from its last packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Timeout {
    /// TCP, acknowledged by both sides and not closed.
    TcpEstablished,
    /// TCP, until the answer to the SYN is acknowledged.
    TcpOpening,
    /// TCP, closed by both sides or reset.
    TcpClosing,
    /// UDP, answered.
    Udp,
    /// UDP, not answered.
    UdpUnanswered,
    /// ICMP queries.
    Icmp,
    /// Protocols without ports.
    Other,
}

/// A whole number of seconds, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Seconds(pub u32);

/// Every kind's lifetime.
pub type Timeouts = BTreeMap<Timeout, Seconds>;

impl Timeout {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::TcpEstablished,
        Self::TcpOpening,
        Self::TcpClosing,
        Self::Udp,
        Self::UdpUnanswered,
        Self::Icmp,
        Self::Other,
    ];

    /// Its key in the file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TcpEstablished => "tcp-established",
            Self::TcpOpening => "tcp-opening",
            Self::TcpClosing => "tcp-closing",
            Self::Udp => "udp",
            Self::UdpUnanswered => "udp-unanswered",
            Self::Icmp => "icmp",
            Self::Other => "other",
        }
    }

    /// The sysctls that netfilter has for the same flows (net/netfilter/nf_conntrack_standalone.c).
    pub(crate) fn conntrack_keys(self) -> impl Iterator<Item = String> {
        let keys: &[&str] = match self {
            Self::TcpEstablished => &["tcp_timeout_established"],
            Self::TcpOpening => &["tcp_timeout_syn_sent", "tcp_timeout_syn_recv"],
            Self::TcpClosing => &["tcp_timeout_last_ack", "tcp_timeout_time_wait", "tcp_timeout_close"],
            Self::Udp => &["udp_timeout_stream"],
            Self::UdpUnanswered => &["udp_timeout"],
            Self::Icmp => &["icmp_timeout", "icmpv6_timeout"],
            Self::Other => &["generic_timeout"],
        };
        keys.iter().map(|key| format!("net.netfilter.nf_conntrack_{key}"))
    }

    /// What holds unless the file says otherwise.
    #[must_use]
    pub fn default_lifetime(self) -> Seconds {
        self.of(&config::Timeouts::DEFAULT)
    }

    /// Its lifetime among those that the programs have.
    pub(crate) fn of(self, timeouts: &config::Timeouts) -> Seconds {
        let mut timeouts = *timeouts;
        Seconds((*self.place(&mut timeouts) / SECOND_NS).try_into().unwrap_or(u32::MAX))
    }

    /// Sets its lifetime among those that the programs have.
    pub(crate) fn set(self, timeouts: &mut config::Timeouts, Seconds(seconds): Seconds) {
        *self.place(timeouts) = u64::from(seconds) * SECOND_NS;
    }

    const fn place(self, timeouts: &mut config::Timeouts) -> &mut u64 {
        match self {
            Self::TcpEstablished => &mut timeouts.tcp_established,
            Self::TcpOpening => &mut timeouts.tcp_opening,
            Self::TcpClosing => &mut timeouts.tcp_closing,
            Self::Udp => &mut timeouts.udp,
            Self::UdpUnanswered => &mut timeouts.udp_unanswered,
            Self::Icmp => &mut timeouts.icmp,
            Self::Other => &mut timeouts.other,
        }
    }
}

/// Fills in the defaults.
pub(super) fn resolve(spec: &spec::Timeouts) -> Result<Timeouts, Error> {
    let defaults = Timeout::ALL.map(|timeout| (timeout, timeout.default_lifetime()));
    Ok(defaults.into_iter().chain(given(spec)?).collect())
}

/// What the file says.
pub(super) fn given(spec: &spec::Timeouts) -> Result<Timeouts, Error> {
    let duration = |timeout| match timeout {
        Timeout::TcpEstablished => &spec.tcp_established,
        Timeout::TcpOpening => &spec.tcp_opening,
        Timeout::TcpClosing => &spec.tcp_closing,
        Timeout::Udp => &spec.udp,
        Timeout::UdpUnanswered => &spec.udp_unanswered,
        Timeout::Icmp => &spec.icmp,
        Timeout::Other => &spec.other,
    };
    let lifetime = |timeout: Timeout| {
        let duration = duration(timeout).as_ref()?;
        let refuse = || {
            let problem = Problem::Duration { text: duration.to_string() };
            Error::new(key_path!["nat", "timeouts", timeout.as_str()], problem)
        };
        Some(Seconds::of(duration).map(|seconds| (timeout, seconds)).ok_or_else(refuse))
    };
    Timeout::ALL.into_iter().filter_map(lifetime).collect()
}

/// The units of a duration and their seconds, in the order in which they are written.
const UNITS: [(char, u32); 4] = [('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];

impl Seconds {
    /// `None` for what is not a duration of at least a second, or longer than 136 years.
    fn of(duration: &Duration) -> Option<Self> {
        let seconds = match duration {
            Duration::Seconds(seconds) => u32::try_from(*seconds).ok(),
            Duration::Text(text) => parse(text),
        };
        seconds.filter(|&seconds| seconds > 0).map(Self)
    }
}

fn parse(text: &str) -> Option<u32> {
    let (mut rest, mut seconds) = (text, 0_u32);
    for (unit, length) in UNITS {
        if let Some((number, later)) = rest.split_once(unit) {
            let number = Some(number).filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()))?;
            seconds = seconds.checked_add(number.parse::<u32>().ok()?.checked_mul(length)?)?;
            rest = later;
        }
    }
    rest.is_empty().then_some(seconds)
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Seconds {
    /// `2h4m`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        for (unit, length) in UNITS {
            if rest >= length {
                write!(f, "{}{unit}", rest / length)?;
            }
            rest %= length;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::trial::{assert_office_refused, office},
        *,
    };

    #[test]
    fn durations_are_numbers_with_units_the_longest_first() {
        for (text, seconds) in [
            ("2h4m", 7440),
            ("300s", 300),
            ("5m", 300),
            ("1d", 86_400),
            ("1d2h3m4s", 93_784),
            ("90m", 5400),
            ("0h1s", 1),
        ] {
            assert_eq!(parse(text), Some(seconds), "{text}");
        }
        for text in ["", "5", "m", "5 m", "+5m", "-5m", "5m2h", "5m5m", "1.5h", "5min", "5M", "50000d", "٣s"]
        {
            assert_eq!(parse(text).filter(|&seconds| seconds > 0), None, "{text:?}");
        }
    }

    #[test]
    fn rows_55_104_115_timeouts_are_the_files_or_the_defaults() {
        let timeouts = |text: &str| {
            let lifetimes = office(text).timeouts;
            lifetimes.iter().map(|(timeout, lifetime)| format!("{timeout}={lifetime}")).collect::<Vec<_>>()
        };
        let defaults = [
            "tcp-established=2h4m",
            "tcp-opening=4m",
            "tcp-closing=4m",
            "udp=5m",
            "udp-unanswered=2m",
            "icmp=1m",
            "other=10m",
        ];
        assert_eq!(timeouts(""), defaults);
        let text = "[nat.timeouts]\ntcp-established = '5d'\ntcp-opening = 1\ntcp-closing = '10s'\nudp = '90s'\n\
                    udp-unanswered = 30\nicmp = '1m1s'\nother = '1h'\n";
        assert_eq!(
            timeouts(text),
            [
                "tcp-established=5d",
                "tcp-opening=1s",
                "tcp-closing=10s",
                "udp=1m30s",
                "udp-unanswered=30s",
                "icmp=1m1s",
                "other=1h"
            ]
        );
        assert_eq!(timeouts("[nat.timeouts]\nudp = '10m'\n")[3], "udp=10m");
    }

    #[test]
    fn what_is_no_lifetime_is_refused() {
        let refused = |value: &str, shown: &str| {
            assert_office_refused(&[(
                &format!("[nat.timeouts]\nicmp = '1m'\nudp = {value}\n"),
                &format!("16: `{shown}` is not a duration of at least a second (`nat.timeouts.udp`)"),
                "write it as `2h4m`, `300s` or a number of seconds without quotes",
            )]);
        };
        for (value, shown) in [
            ("0", "0"),
            ("-1", "-1"),
            ("'0s'", "0s"),
            ("'300'", "300"),
            ("'soon'", "soon"),
            ("4294967296", "4294967296"),
        ] {
            refused(value, shown);
        }
    }

    #[test]
    fn each_kind_has_a_place_of_its_own() {
        let mut timeouts = config::Timeouts::DEFAULT;
        for (timeout, seconds) in Timeout::ALL.into_iter().zip(1..) {
            timeout.set(&mut timeouts, Seconds(seconds));
        }
        let found: Vec<u32> = Timeout::ALL.iter().map(|timeout| timeout.of(&timeouts).0).collect();
        assert_eq!(found, [1, 2, 3, 4, 5, 6, 7]);
    }

    proptest! {
        #[test]
        fn a_lifetime_reads_as_it_is_written(seconds in 1..u32::MAX) {
            prop_assert_eq!(parse(&Seconds(seconds).to_string()), Some(seconds));
        }
    }
}
