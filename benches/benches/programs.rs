//! What each program of the NAT costs a packet, by path, without anything around it: nanoseconds as the kernel counts them
//! for one run (`BPF_PROG_TEST_RUN`), of which some fifty are its own clock. Skipped without root.
#![expect(clippy::print_stderr, reason = "who skips says why")]

use std::{hint::black_box, time::Duration};

use criterion::{Criterion, criterion_group, criterion_main};
use netctl_tests::{
    packet::{Packet, icmp, udp},
    prog::{Nat, UPLINK_INDEX},
};

const RED: &str = "192.168.15.1:4321";
const SERVER: &str = "203.0.113.2:53";

/// A path: its name, the program, what goes before once, and the frame of each run.
type Path<'a> = (&'a str, &'a str, Vec<Packet>, Box<dyn Fn(u64) -> Vec<u8>>);

fn always(frame: Vec<u8>) -> Box<dyn Fn(u64) -> Vec<u8>> {
    Box::new(move |_| frame.clone())
}

fn paths() -> Vec<Path<'static>> {
    let out = udp(RED, SERVER);
    let answer = out.answer().to("203.0.113.1:4321");
    let long = out.clone().payload(&[0; 1200]);
    let (first, later) = (long.clone().fragment(0, true), long.fragment(151, false));
    let quoted = out.clone().from("203.0.113.1:4321").frame()[14..].to_vec();
    let error = icmp("203.0.113.9", "203.0.113.1", 3, 3, &quoted);
    let new = |n: u64| {
        let port = |n: u64| 1024 + (n % 60_000) as u16;
        udp(("192.168.15.1", port(n)), ("203.0.113.2", port(n / 60_000))).frame()
    };
    vec![
        ("out, hit", "uplink_egress", vec![out.clone()], always(out.frame())),
        ("out, miss: a flow is made", "uplink_egress", vec![], Box::new(new)),
        ("out, not ours", "uplink_egress", vec![], always(udp("198.51.100.7:4321", SERVER).frame())),
        ("in, hit", "uplink_ingress", vec![out.clone()], always(answer.frame())),
        ("in, not ours", "uplink_ingress", vec![], always(answer.frame())),
        ("in, ICMP error", "uplink_ingress", vec![out], always(error.frame())),
        ("out, later fragment", "uplink_egress", vec![first], always(later.frame())),
    ]
}

fn programs(criterion: &mut Criterion) {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: running programs takes root");
        return;
    }
    let mut group = criterion.benchmark_group("program");
    for (name, program, before, frame) in paths() {
        let nat = Nat::masquerading();
        for packet in before {
            nat.egress(&packet);
        }
        let mut made = 0;
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|runs| {
                let frames: Vec<_> = (made..made + runs).map(&frame).collect();
                made += runs;
                nat.within(|| {
                    let time = |frame: &Vec<u8>| black_box(nat.run_time(program, UPLINK_INDEX, frame));
                    frames.iter().map(time).sum::<Duration>()
                })
            });
        });
    }
}

criterion_group!(benches, programs);
criterion_main!(benches);
