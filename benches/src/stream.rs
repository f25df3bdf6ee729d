//! `stream`: what iperf3 gets through, as its receiver counts it.

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{
    contender::Contender,
    options::{Options, Way},
    record::{Records, Unit},
    site::{Site, Wanted, addresses},
};

/// What is sent: its name, and iperf3's words for it.
const KINDS: [(&str, &[&str]); 4] = [
    ("TCP, 1 stream", &[]),
    ("TCP, 8 streams", &["-P", "8"]),
    ("UDP, 64 bytes", &["-u", "-b", "0", "-l", "64"]),
    ("UDP, 1400 bytes", &["-u", "-b", "0", "-l", "1400"]),
];

/// Every contender's network is up all the time, and they take turns.
pub(crate) fn measure(options: &Options, records: &mut Records) -> Result<()> {
    let wanted = Wanted { peer: options.peer.clone(), ..Wanted::default() };
    let sites = options.contenders().into_iter().map(|contender| Site::build(contender, &wanted));
    let sites = sites.collect::<Result<Vec<_>>>()?;
    let (kinds, seconds) = if options.quick { (&KINDS[..1], "1") } else { (&KINDS[..], "2") };
    for round in 1..=options.rounds(5, 1) {
        for version in options.versions() {
            eprintln!("stream: IPv{version}, round {round}");
            for &(kind, words) in kinds {
                for way in options.ways() {
                    let case = format!("{kind}, {}, IPv{version}", way.name());
                    for site in sites.iter().filter(|site| version == 4 || site.contender != Contender::Peer)
                    {
                        let rate = run(site, version == 6, way, &[words, &["-t", seconds]].concat())
                            .with_context(|| format!("{}: {case}", site.contender.name()))?;
                        records.add("stream", &case, site.contender.name(), Unit::MegabitsPerSecond, rate);
                    }
                }
            }
        }
    }
    Ok(())
}

/// Megabits a second at the receiver. Sender and receiver have a CPU each, if there are two.
fn run(site: &Site, is_v6: bool, way: Way, words: &[&str]) -> Result<f64> {
    const PORT: &str = "5201";
    let address = addresses(is_v6).server.to_string();
    let server = site.outside().serve(5201, "iperf3", ["-s", "-1", "-p", PORT, "-A", "0"]);
    let reverse: &[&str] = if way == Way::In { &["-R"] } else { &[] };
    let client = [&["-c", &address, "-p", PORT, "-A", "1", "-J"], words, reverse].concat();
    let output = site.client().run("iperf3", client);
    drop(server);
    received(&output.json())
}

fn received(result: &Value) -> Result<f64> {
    if let Some(error) = result["error"].as_str() {
        anyhow::bail!("iperf3: {error}");
    }
    let end = &result["end"];
    // For UDP, iperf3 3.12 has one sum: what was sent, and what of it was lost.
    let (bits, share) = match end["sum_received"]["bits_per_second"].as_f64() {
        Some(bits) => (Some(bits), 1.0),
        None => {
            let lost = end["sum"]["lost_percent"].as_f64().unwrap_or(0.0);
            (end["sum"]["bits_per_second"].as_f64(), 1.0 - lost / 100.0)
        }
    };
    Ok(bits.context("iperf3 tells no rate")? * share / 1e6)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_counts_is_what_the_receiver_got() {
        let tcp =
            json!({"end": {"sum_sent": {"bits_per_second": 3e9}, "sum_received": {"bits_per_second": 2e9}}});
        assert_eq!(received(&tcp).unwrap(), 2000.0);
        let udp = json!({"end": {"sum": {"bits_per_second": 1e9, "lost_percent": 25.0}}});
        assert_eq!(received(&udp).unwrap(), 750.0);
        let failed = json!({"error": "unable to connect", "end": {}});
        assert_eq!(received(&failed).unwrap_err().to_string(), "iperf3: unable to connect");
    }
}
