//! `load`: how long NAT takes to be there.

use std::{path::Path, time::Instant};

use anyhow::{Context as _, Result};
use netctl::{
    model::{Place, Side},
    nat::ebpf::{
        Pins, attach,
        load::{Constants, load},
    },
};
use netctl_ebpf::config::MAX_FLOWS;

use crate::{
    contender::Contender,
    options::Options,
    record::{Records, Unit},
    site::{BRIDGE, PORT, Site, UPLINK, Wanted, topology},
};

/// With netctl's own programs in two steps, as the library makes them; and for everyone whom netctl makes rules for, the
/// whole command that adds NAT to a network that is there.
pub(crate) fn measure(options: &Options, records: &mut Records) -> Result<()> {
    let site = Site::build(Contender::Routing, &Wanted::default())?;
    let contenders = options.contenders().into_iter().filter(|contender| contender.backend().is_some());
    let sites = contenders.map(|contender| Site::build(contender, &Wanted::default()));
    let sites = sites.collect::<Result<Vec<_>>>()?;
    for site in &sites {
        site.file("without.toml", &topology(Contender::Peer, "", ""));
    }
    for round in 1..=options.rounds(10, 3) {
        eprintln!("load: round {round}");
        let mut add = |case: &str, name, time| records.add("load", case, name, Unit::Milliseconds, time);
        let [loaded, attached] = by_library(&site)?;
        add("verify and load", Contender::Netctl.name(), loaded);
        add("attach to three interfaces", Contender::Netctl.name(), attached);
        for site in &sites {
            site.netctl(&["up", "without.toml"])?;
            let start = Instant::now();
            site.netctl(&["up", "bench.toml"])?;
            add("`netctl up` that adds NAT", site.contender.name(), milliseconds(start));
        }
    }
    Ok(())
}

/// Milliseconds to verify, load and pin the programs, and to attach them.
fn by_library(site: &Site) -> Result<[f64; 2]> {
    site.gateway().enter(|| {
        let pins = Pins::new(Path::new("/sys/fs/bpf"), &"by-library".parse()?, &Place::Host);
        let constants = Constants::of_this_namespace()?;
        let start = Instant::now();
        let build = load(&pins, constants, MAX_FLOWS).context("loading the programs")?;
        let loaded = milliseconds(start);
        let start = Instant::now();
        for (side, interface) in [(Side::Uplink, UPLINK), (Side::Port, PORT), (Side::Inside, BRIDGE)] {
            attach::attach(&pins, build, side, &interface.parse()?).context("attaching the programs")?;
        }
        let attached = milliseconds(start);
        pins.remove()?;
        Ok([loaded, attached])
    })
}

fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1000.0
}
