//! The control plane, message by message: into bytes, out of bytes, and to the kernel and back. What talks to the kernel
//! is skipped without root.
#![expect(clippy::expect_used, reason = "a benchmark that cannot begin has nothing else to say")]
#![expect(clippy::print_stderr, reason = "who skips says why")]

use std::{
    hint::black_box,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use criterion::{
    BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use ipnet::{IpNet, Ipv4Net};
use netctl::netlink::{
    Request, Socket,
    addr::{self, NewAddress},
    link::{self, NewLink},
    message::messages,
};
use netctl::netns::{Netns, NetnsError};

/// As many as a batch of `up` has, once there are some hundred namespaces.
const MESSAGES: u32 = 1000;

/// Each a network of its own: with the first address of a network the others would go, too.
fn addresses() -> impl Iterator<Item = IpNet> {
    (0..MESSAGES).map(|n| Ipv4Net::new_assert(Ipv4Addr::from_bits(0x0a00_0001 + n), 32).into())
}

fn additions(index: u32) -> Vec<Request> {
    let add = |address| addr::add(&NewAddress { no_dad: true, ..NewAddress::of(index, address) });
    addresses().map(add).collect()
}

fn encode_and_decode(group: &mut BenchmarkGroup<'_, WallTime>) {
    group.bench_function("encode", |bencher| bencher.iter(|| black_box(additions(2))));
    // What adds an address is of the form in which the kernel tells of one.
    let datagram: Vec<u8> = additions(2).iter().flat_map(|request| request.bytes().to_vec()).collect();
    let decode = || {
        let read = |message: Result<_, _>| addr::parse(&message.expect("a message")).expect("an address");
        messages(&datagram).filter_map(read).count()
    };
    assert_eq!(decode(), MESSAGES as usize, "every message is an address");
    group.bench_function("decode", |bencher| bencher.iter(|| black_box(decode())));
}

/// A bridge's index, in the namespace that the socket is in.
fn bridge(socket: &mut Socket) -> u32 {
    let name = "br0".parse().expect("a name");
    execute(socket, vec![link::create_bridge(&NewLink::named(&name))]);
    link::find(socket, &name).expect("a dump").expect("the bridge").index
}

fn execute(socket: &mut Socket, requests: Vec<Request>) {
    for answer in socket.execute(requests).expect("a socket that works") {
        answer.expect("a request that the kernel likes");
    }
}

/// Has the kernel add all addresses, in batches of so many, and returns how long that took.
fn apply(socket: &mut Socket, index: u32, at_once: usize) -> Duration {
    let mut requests = additions(index).into_iter().peekable();
    let begin = Instant::now();
    while requests.peek().is_some() {
        execute(socket, requests.by_ref().take(at_once).collect());
    }
    let took = begin.elapsed();
    execute(socket, addresses().map(|address| addr::delete(index, address)).collect());
    took
}

fn to_the_kernel(group: &mut BenchmarkGroup<'_, WallTime>) {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: making a network namespace takes root");
        return;
    }
    let opened: Result<_, NetnsError> = Netns::in_a_new_one(|| Ok(Socket::open().expect("a socket")));
    let mut socket = opened.expect("a namespace");
    let index = bridge(&mut socket);
    for (name, at_once) in [("apply in one batch", MESSAGES as usize), ("apply one by one", 1)] {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|runs| (0..runs).map(|_| apply(&mut socket, index, at_once)).sum());
        });
    }
    execute(&mut socket, additions(index));
    group.bench_function("dump", |bencher| {
        bencher.iter(|| assert_eq!(addr::dump(&mut socket).expect("a dump").len(), MESSAGES as usize));
    });
}

fn netlink(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("netlink/1000 addresses");
    group.throughput(Throughput::Elements(MESSAGES.into()));
    encode_and_decode(&mut group);
    to_the_kernel(&mut group);
    group.finish();
}

criterion_group!(benches, netlink);
criterion_main!(benches);
