//! What rewriting a packet costs by netctl and by iptables, the whole way through the gateway: an in-kernel generator, a
//! sink, and the time between. The same as `cargo xtask bench packet-rate --flows 1 --sizes 64 --ways out`, with criterion's
//! statistics but one contender after the other. Skipped without root.
#![expect(clippy::print_stderr, reason = "who skips says why")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use netctl_benches::{Contender, Rewrite};

fn rewrite(criterion: &mut Criterion) {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: namespaces take root");
        return;
    }
    if std::env::var_os("NETCTL_BENCH_OBJECT").is_none() {
        eprintln!("skipped: `cargo xtask bench criterion` builds the generator");
        return;
    }
    let mut group = criterion.benchmark_group("rewrite");
    group.throughput(Throughput::Elements(1));
    for (name, contender) in [
        ("netctl", Contender::Netctl),
        ("netctl, the kernel's way", Contender::NetctlSlow),
        ("iptables", Contender::IptablesLegacy),
        ("iptables-nft", Contender::IptablesNft),
    ] {
        let mut gateway = Rewrite::by(contender).unwrap_or_else(|error| panic!("{name}: {error:#}"));
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|packets| {
                let packets = u32::try_from(packets).unwrap_or(u32::MAX);
                gateway.packets(packets).unwrap_or_else(|error| panic!("{name}: {error:#}"))
            });
        });
    }
}

criterion_group!(benches, rewrite);
criterion_main!(benches);
