//! Shortcuts: what goes straight is what the kernel would have made of it, to the byte, and what must not does not.

use netctl::nat::ebpf::maps::events::monotonic_ns;
use netctl_ebpf::config::SECOND_NS;
use netctl_tests::{
    packet::{Endpoint as _, Packet, check, flag, proto, tcp, udp},
    prog::{Context, INSIDE_INDEX, Nat, UPLINK_INDEX, forward},
};
use nix::{
    sched::{CpuSet, sched_getcpu, sched_setaffinity},
    unistd::Pid,
};

use super::{FAMILIES, Family};

const TC_ACT_UNSPEC: i32 = -1;
const TC_ACT_REDIRECT: i32 = 7;

/// Whom routing sends a frame on to.
const NEXT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];

/// A packet from one endpoint to another.
type Make = fn((&str, u16), (&str, u16)) -> Packet;

/// What something does to a frame.
type Alter = fn(&mut Vec<u8>);

/// The programs that a packet meets, in this order.
#[derive(Clone, Copy)]
enum Way {
    Out,
    In,
}

impl Way {
    fn enter(self, nat: &Nat, context: &mut Context, frame: &[u8]) -> (i32, Vec<u8>) {
        match self {
            Self::Out => nat.test_run_with("port_ingress", &mut context.moved(INSIDE_INDEX), frame),
            Self::In => nat.test_run_with("uplink_ingress", &mut context.moved(UPLINK_INDEX), frame),
        }
    }

    fn leave(self, nat: &Nat, context: &mut Context, frame: &[u8]) -> (i32, Vec<u8>) {
        match self {
            Self::Out => nat.test_run_with("uplink_egress", &mut context.moved(UPLINK_INDEX), frame),
            Self::In => nat.test_run_with("port_egress", &mut context.moved(INSIDE_INDEX), frame),
        }
    }
}

/// Runs `f` in the gateway, on one CPU: what a packet that comes in there leaves by is where it came in.
fn on_one_cpu<T: Send>(nat: &Nat, f: impl FnOnce() -> T + Send) -> T {
    nat.within(|| {
        let mut this = CpuSet::new();
        this.set(sched_getcpu().unwrap()).unwrap();
        sched_setaffinity(Pid::from_raw(0), &this).unwrap();
        f()
    })
}

/// The kernel's own part between two hooks: one hop less, and other MACs.
fn routed(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[..6].copy_from_slice(&NEXT_MAC);
    if frame[12..14] == [0x86, 0xdd] {
        frame[21] -= 1;
    } else {
        frame[22] -= 1;
        check::fill_header_checksum(&mut frame);
    }
    frame
}

/// A packet takes the kernel's way; what leaves.
#[track_caller]
fn by_kernel(nat: &Nat, way: Way, frame: &[u8], kernel: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut context = Context::at(0);
    let (action, inside) = way.enter(nat, &mut context, frame);
    assert_eq!(action, TC_ACT_UNSPEC, "it goes straight already");
    let (action, left) = way.leave(nat, &mut Context::at(0), &kernel(&inside));
    assert_eq!(action, TC_ACT_UNSPEC);
    left
}

/// What becomes of a packet after another one has taken the kernel's way.
#[track_caller]
fn after(
    nat: &Nat,
    way: Way,
    first: &[u8],
    kernel: impl Fn(&[u8]) -> Vec<u8> + Send + Sync,
    then: &[u8],
) -> (i32, Vec<u8>) {
    on_one_cpu(nat, || {
        by_kernel(nat, way, first, kernel);
        way.enter(nat, &mut Context::at(0), then)
    })
}

/// A gateway, and a connection of each protocol through it that has been answered, with what of it goes out and what comes
/// in. With `contended` ports, they are changed on the way.
fn answered(family: &Family, contended: bool) -> (Nat, Vec<(Way, Packet)>) {
    let mut nat = Nat::masquerading();
    for protocol in ["tcp", "udp"] {
        let (gateway, blue) = ((family.gateway, 8080).endpoint(), (family.blue, 80).endpoint());
        nat.forward(&forward(&format!("{gateway}/{protocol}"), blue));
    }
    let mut packets = Vec::new();
    let makes: [Make; 2] = [|src, dst| tcp(src, dst), |src, dst| udp(src, dst)];
    for make in makes {
        if contended {
            nat.egress(&make((family.blue, 4321), (family.server, 7)));
        }
        let call = make((family.red, 4321), (family.server, 7));
        let sent = nat.egress(&call);
        let answer = make((family.server, 7), (family.gateway, sent.src().port()));
        nat.ingress(&answer).assert_passed();
        assert_eq!(sent.src().port() != 4321, contended);
        packets.extend([(Way::Out, call), (Way::In, answer)]);

        let call = make((family.stranger, 999), (family.gateway, 8080));
        let answer = make((family.blue, 80), (family.stranger, 999));
        nat.ingress(&call).assert_passed();
        nat.egress(&answer).assert_passed();
        packets.extend([(Way::In, call), (Way::Out, answer)]);
    }
    (nat, packets)
}

#[test]
fn what_goes_straight_is_to_the_byte_what_goes_the_kernels_way() {
    for (family, contended) in FAMILIES.iter().flat_map(|family| [(family, false), (family, true)]) {
        let (nat, packets) = answered(family, contended);
        for (way, packet) in packets {
            let frame = packet.frame();
            let (by_kernel, (action, straight)) = on_one_cpu(&nat, || {
                (by_kernel(&nat, way, &frame, routed), way.enter(&nat, &mut Context::at(0), &frame))
            });
            assert_eq!(action, TC_ACT_REDIRECT, "{packet:?}");
            assert_eq!(straight, by_kernel, "{packet:?}");
            check::checksums(&straight).unwrap();
        }
    }
}

#[test]
fn a_checksum_that_is_wrong_or_none_stays_so() {
    let call = udp((FAMILIES[0].red, 4321), (FAMILIES[0].server, 7));
    let mut wrong = call.frame();
    *wrong.last_mut().unwrap() ^= 1;
    for frame in [call.without_checksum().frame(), wrong] {
        let (nat, _) = answered(&FAMILIES[0], true);
        let (by_kernel, (action, straight)) = on_one_cpu(&nat, || {
            (by_kernel(&nat, Way::Out, &frame, routed), Way::Out.enter(&nat, &mut Context::at(0), &frame))
        });
        assert_eq!((action, straight), (TC_ACT_REDIRECT, by_kernel));
    }
}

#[test]
fn what_a_shortcut_cannot_carry_takes_the_kernels_way_as_it_came() {
    for family in &FAMILIES {
        let (nat, packets) = answered(family, false);
        for (way, packet) in packets {
            let is_v4 = packet.src.is_ipv4();
            let frame = packet.frame();
            let mut others = vec![
                Packet { ttl: 1, ..packet.clone() }.frame(),
                packet.clone().payload(&vec![7; packet.payload.len() + 1]).frame(),
                packet.clone().fragment(0, true).frame(),
                packet.clone().fragment(3, false).frame(),
                Packet { to_mac: NEXT_MAC, ..packet.clone() }.frame(),
                frame[..frame.len() - packet.payload.len() - 1].to_vec(),
            ];
            if is_v4 {
                others.push(Packet { options: vec![1; 4], ..packet.clone() }.payload(b"").frame());
                let mut damaged = frame.clone();
                damaged[24] ^= 1;
                others.push(damaged);
            } else {
                let padding = [0, 0, 1, 4, 0, 0, 0, 0];
                others.push(packet.clone().payload(b"").extension(proto::DESTINATION, &padding).frame());
            }
            if matches!(packet.transport, netctl_tests::packet::Transport::Tcp { .. }) {
                let ends = [flag::FIN | flag::ACK, flag::RST | flag::ACK, flag::SYN | flag::ACK, flag::PSH];
                others.extend(ends.map(|flags| packet.clone().payload(b"").flags(flags).frame()));
            }
            for other in others {
                let entered = on_one_cpu(&nat, || {
                    let goes_straight = || way.enter(&nat, &mut Context::at(0), &frame).0 == TC_ACT_REDIRECT;
                    if !goes_straight() {
                        by_kernel(&nat, way, &frame, routed);
                        assert!(goes_straight(), "there is a lease: {packet:?}");
                    }
                    way.enter(&nat, &mut Context::at(0), &other)
                });
                assert_ne!(entered.0, TC_ACT_REDIRECT, "{other:02x?}");
                if matches!(way, Way::Out) {
                    assert_eq!(entered.1, other, "a port changes nothing");
                }
            }
        }
    }
}

/// A frame is at least 60 bytes long on a wire; the IP layer cuts off what is behind the datagram.
#[test]
fn a_padded_datagram_goes_straight_without_its_padding() {
    let family = &FAMILIES[0];
    let (nat, packets) = answered(family, false);
    for (way, packet) in packets.iter().filter(|(_, packet)| packet.frame()[23] == proto::UDP) {
        let frame = packet.frame();
        let padded = [frame.clone(), vec![0; 9]].concat();
        let (action, straight) =
            after(&nat, *way, &padded, |frame| routed(&frame[..frame.len() - 9]), &padded);
        assert_eq!(action, TC_ACT_REDIRECT);
        assert_eq!(straight.len(), frame.len());
    }
}

#[test]
fn only_a_packet_that_came_out_as_it_should_gives_a_lease() {
    let family = &FAMILIES[0];
    let (nat, packets) = answered(family, false);
    let (way, packet) = &packets[0];
    let frame = packet.frame();
    let changed = |change: Alter| {
        move |frame: &[u8]| {
            let mut frame = routed(frame);
            change(&mut frame);
            check::fill_header_checksum(&mut frame);
            frame
        }
    };
    let changes: [(&str, Alter); 3] = [
        ("another hop", |frame| frame[22] -= 1),
        ("another class", |frame| frame[15] = 0x28),
        ("padding", |frame| frame.push(0)),
    ];
    for (what, change) in changes {
        let (action, _) = after(&nat, *way, &frame, changed(change), &frame);
        assert_eq!(action, TC_ACT_UNSPEC, "{what}");
    }
    let marked = on_one_cpu(&nat, || {
        way.enter(&nat, &mut Context::at(0), &frame);
        way.leave(&nat, &mut Context::at(0).marked(7), &routed(&frame));
        way.enter(&nat, &mut Context::at(0), &frame)
    });
    assert_eq!(marked.0, TC_ACT_UNSPEC, "a mark");
    let (other_flows, _) = on_one_cpu(&nat, || {
        way.enter(&nat, &mut Context::at(0), &frame);
        let other = packet.clone().from((family.red, 4322));
        nat.test_run("uplink_egress", UPLINK_INDEX, &routed(&other.frame()));
        way.enter(&nat, &mut Context::at(0), &frame)
    });
    assert_eq!(other_flows, TC_ACT_UNSPEC, "another flow's packet");
    assert_eq!(after(&nat, *way, &frame, routed, &frame).0, TC_ACT_REDIRECT, "and then one does");
}

#[test]
fn an_unanswered_flow_has_no_shortcut() {
    let family = &FAMILIES[0];
    let nat = Nat::masquerading();
    let call = udp((family.red, 4321), (family.server, 7));
    nat.egress(&call).assert_passed();
    assert_eq!(after(&nat, Way::Out, &call.frame(), routed, &call.frame()).0, TC_ACT_UNSPEC);
    nat.ingress(&call.clone().from((family.server, 7)).to((family.gateway, 4321))).assert_passed();
    assert_eq!(after(&nat, Way::Out, &call.frame(), routed, &call.frame()).0, TC_ACT_REDIRECT);
}

#[test]
fn a_shortcut_ends_with_its_rule_at_once_and_with_its_lease_after_a_second() {
    let (mut nat, packets) = answered(&FAMILIES[0], false);
    let (way, packet) = &packets[0];
    let frame = packet.frame();
    on_one_cpu(&nat, || {
        by_kernel(&nat, *way, &frame, routed);
        let until_ns = nat.entries().values().map(|half| half.lease.until_ns).max().unwrap();
        assert!(until_ns <= monotonic_ns() + SECOND_NS);
        let mut straight = 0;
        while way.enter(&nat, &mut Context::at(0), &frame).0 == TC_ACT_REDIRECT {
            straight += 1;
            assert!(monotonic_ns() < until_ns + SECOND_NS / 2, "it goes on and on");
        }
        assert!(straight > 0 && monotonic_ns() >= until_ns, "{straight} packets");
    });
    on_one_cpu(&nat, || {
        by_kernel(&nat, *way, &frame, routed);
        assert_eq!(way.enter(&nat, &mut Context::at(0), &frame).0, TC_ACT_REDIRECT);
    });
    let rule = nat.tables.masquerades(&[(UPLINK_INDEX, "wan0".parse().unwrap())].into()).unwrap().remove(0);
    nat.tables.remove_masquerade(rule.id).unwrap();
    let (action, _) = on_one_cpu(&nat, || way.enter(&nat, &mut Context::at(0), &frame));
    assert_eq!(action, TC_ACT_UNSPEC);
}

#[test]
fn who_has_not_used_a_lease_gets_none_for_a_packet_a_second() {
    let (nat, packets) = answered(&FAMILIES[0], false);
    let (way, packet) = &packets[0];
    let frame = packet.frame();
    let goes_by_kernel = || on_one_cpu(&nat, || drop(by_kernel(&nat, *way, &frame, routed)));
    let goes_straight = || {
        let (action, _) = on_one_cpu(&nat, || way.enter(&nat, &mut Context::at(0), &frame));
        action == TC_ACT_REDIRECT
    };
    let pass_a_second = || {
        let last_ns = nat.entries().values().map(|half| half.last_seen_ns).max().unwrap();
        // The programs' clock is behind by a tick at most.
        while monotonic_ns() < last_ns + SECOND_NS + SECOND_NS / 20 {
            std::thread::yield_now();
        }
    };
    goes_by_kernel();
    assert!(goes_straight(), "the first lease");
    pass_a_second();
    goes_by_kernel();
    pass_a_second();
    goes_by_kernel();
    assert!(!goes_straight(), "the second was in vain");
    goes_by_kernel();
    assert!(goes_straight(), "two packets within a second");
}

#[test]
fn the_uplink_knows_what_has_taken_a_shortcut_by_a_number_that_nobody_else_does() {
    let (nat, packets) = answered(&FAMILIES[0], false);
    let (way, packet) = &packets[0];
    let frame = packet.frame();
    let flows = nat.entries().len();
    on_one_cpu(&nat, || {
        by_kernel(&nat, *way, &frame, routed);
        let mut context = Context::at(INSIDE_INDEX);
        let (action, straight) = nat.test_run_with("port_ingress", &mut context, &frame);
        assert_eq!(action, TC_ACT_REDIRECT);
        let mut context = context.moved(UPLINK_INDEX);
        let left = nat.test_run_with("uplink_egress", &mut context, &straight);
        assert_eq!(left, (TC_ACT_UNSPEC, straight.clone()));
        // The number does not leave with it.
        let again = nat.test_run_with("uplink_egress", &mut context.moved(UPLINK_INDEX), &straight);
        assert_ne!(again.1, straight, "taken for a packet of the gateway's own");
        let mut guessed = Context::at(UPLINK_INDEX).with_cb([1, 2, 3, 4, 5]);
        let (_, inside) = nat.test_run_with("uplink_egress", &mut guessed, &frame);
        assert_ne!(inside, frame, "an inside address does not leave");
    });
    assert_eq!(nat.entries().len(), flows + 2);
}

/// As from a network card, whose driver has 64 packets and hands them on together.
#[test]
fn packets_that_come_in_together_are_each_known_where_they_leave() {
    const TOGETHER: u16 = 64;
    let family = &FAMILIES[0];
    let nat = Nat::masquerading();
    let flows: Vec<Packet> = (0..TOGETHER).map(|i| udp((family.red, 4000 + i), (family.server, 7))).collect();
    for call in &flows {
        nat.egress(call).assert_passed();
        nat.ingress(&call.clone().from((family.gateway, call.src.port())).answer()).assert_passed();
    }
    let straight = on_one_cpu(&nat, || {
        for call in &flows {
            Way::Out.enter(&nat, &mut Context::at(0), &call.frame());
        }
        for call in &flows {
            Way::Out.leave(&nat, &mut Context::at(0), &routed(&call.frame()));
        }
        let goes_straight =
            |call: &&Packet| Way::Out.enter(&nat, &mut Context::at(0), &call.frame()).0 == TC_ACT_REDIRECT;
        flows.iter().filter(goes_straight).count()
    });
    assert!(straight > usize::from(TOGETHER) * 2 / 3, "{straight} of {TOGETHER}");
}
