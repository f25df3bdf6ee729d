//! What `netctl up` thinks before it acts: parse, model, plan, and the bytes of the messages. No root, no kernel.
//!
//! Everything here should grow with the number of namespaces and no faster.
#![expect(clippy::expect_used, reason = "a benchmark that cannot begin has nothing else to say")]

use std::{
    fmt::Write as _,
    fs::File,
    hint::black_box,
    os::fd::{AsFd, BorrowedFd},
};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use netctl::{
    model::{IfName, Place, Topology, TopologyName},
    observed::Observed,
    op::{Lookup, Op},
    plan::plan,
    spec::Spec,
};

/// Written out one by one, as a generator of files would: bridges of 250 ports each, and half as many routes and
/// forwards as namespaces.
fn file(namespaces: usize) -> String {
    let mut text = "[namespaces.router]\n".to_owned();
    let mut write = |line: std::fmt::Arguments<'_>| text.write_fmt(line).expect("a string takes everything");
    for n in 0..namespaces {
        write(format_args!("[namespaces.ns-{n}]\n"));
    }
    for n in 0..namespaces {
        let (bridge, port) = (n / 250, n % 250);
        if port == 0 {
            write(format_args!(
                "[bridges.br{bridge}]\nnamespace = 'router'\naddresses = ['10.{bridge}.0.1/16']\n\
                 [bridges.br{bridge}.ports]\n"
            ));
        }
        if n % 2 == 0 {
            write(format_args!("ns-{n} = {{}}\n"));
        } else {
            write(format_args!("ns-{n} = {{ addresses = ['10.{bridge}.1.{}/16'] }}\n", port + 1));
        }
    }
    write(format_args!(
        "[[cables]]\na = {{ namespace = 'router', interface = 'wan0', addresses = ['192.0.2.1/24'] }}\n"
    ));
    write(format_args!(
        "b = {{ namespace = 'host', interface = 'to-router', addresses = ['192.0.2.2/24'] }}\n"
    ));
    for n in (1..namespaces).step_by(2) {
        let (bridge, port) = (n / 250, n % 250 + 1);
        write(format_args!(
            "[[routes]]\nnamespace = 'ns-{n}'\nto = '172.16.0.0/12'\nvia = '10.{bridge}.0.1'\n\
             [[nat.forward]]\nnamespace = 'router'\nlisten = '{}'\nto = '10.{bridge}.1.{port}:80'\n",
            10_000 + n
        ));
    }
    text
}

fn topology(spec: &Spec) -> Topology {
    let name: TopologyName = "bench".parse().expect("a name");
    Topology::from_spec(spec, name).expect("a topology")
}

/// Answers what messages ask for as the kernel might.
struct Kernel(File);

impl Lookup for Kernel {
    fn index(&self, _: &Place, _: &IfName) -> Option<u32> {
        Some(2)
    }

    fn netns(&self, _: &Place) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }
}

/// The bytes of all messages of a plan.
fn encode(ops: &[Op], kernel: &Kernel) -> usize {
    ops.iter().filter_map(|op| op.request(kernel)).map(|request| request.bytes().len()).sum()
}

fn thinking(criterion: &mut Criterion) {
    let kernel = Kernel(File::open("/dev/null").expect("/dev/null"));
    for namespaces in [10, 100, 1000] {
        let text = file(namespaces);
        let spec = Spec::parse(&text, "bench.toml").expect("a file");
        let topology = topology(&spec);
        let empty = self::topology(&Spec::default());
        let (nothing, settled) = (Observed::default(), Observed::settled(&topology));
        let ops = plan(&topology, &nothing).expect("a plan");
        assert!(plan(&topology, &settled).expect("a plan").is_empty(), "what is settled needs no plan");

        let mut group = criterion.benchmark_group("up");
        group.throughput(Throughput::Elements(namespaces as u64));
        let mut measure = |step: &str, work: &dyn Fn()| {
            group.bench_function(BenchmarkId::new(step, namespaces), |bencher| bencher.iter(work));
        };
        measure("parse", &|| drop(black_box(Spec::parse(&text, "bench.toml"))));
        measure("model", &|| drop(black_box(self::topology(&spec))));
        measure("plan fresh", &|| drop(black_box(plan(&topology, &nothing))));
        measure("plan removal", &|| drop(black_box(plan(&empty, &settled))));
        measure("plan no-op", &|| drop(black_box(plan(&topology, &settled))));
        measure("encode", &|| {
            black_box(encode(&ops, &kernel));
        });
        group.finish();
    }
}

criterion_group!(benches, thinking);
criterion_main!(benches);
