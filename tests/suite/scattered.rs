//! Packets whose headers lie in several pieces of memory: a driver may give the kernel a frame of which only the Ethernet
//! header is where a program could read it directly. Here tap devices give each piece a page of its own
//! (`IFF_NAPI_FRAGS`), and are kept from gathering the headers (`gro off`).

use netctl_tests::{
    lab::{Lab, netctl},
    packet::{
        Endpoint as _, GATEWAY_MAC, Packet, SENDER_MAC, check, icmp,
        parts::{parts, whole},
        ping, tcp, udp,
    },
};

const RULES: &str = r#"
[nat]
masquerade = [
    { namespace = "host", source = "10.1.0.0/24", out = "out0" },
    { namespace = "host", source = "fd01::/64", out = "out0" },
]
forward = [
    { namespace = "host", listen = "203.0.113.1:8080/tcp", to = "10.1.0.2:80" },
    { namespace = "host", listen = "[2001:db8:113::1]:8080/tcp", to = "[fd01::2]:80" },
]
"#;

/// The gateway, whose taps are there: everyone else has one MAC.
const SETUP: &str = "
set -e
for tap in 'in0 10.1.0 fd01:' 'out0 203.0.113 2001:db8:113:'; do
    set -- $tap
    ethtool -K $1 gro off
    ip link set $1 address 02:00:00:00:00:01 up
    ip address add $2.1/24 dev $1
    ip address add $3:1/64 dev $1 nodad
    for other in $2.2 $3:2; do ip neigh add $other lladdr 02:00:00:00:00:02 dev $1 nud permanent; done
done
";

/// Has a tap on either side of the gateway. A line `INTO COUNT CUTS FRAME` writes a frame in pieces that end at CUTS, and
/// is answered by a line of the IP packets that come out of the other tap, so many.
const TAPS: &str = "
import fcntl, os, select, struct, subprocess, sys
def attach(name):
    tap = os.open('/dev/net/tun', os.O_RDWR)
    # TUNSETIFF with IFF_TAP, IFF_NAPI, IFF_NAPI_FRAGS, IFF_NO_PI.
    fcntl.ioctl(tap, 0x400454ca, struct.pack('16sH22x', name.encode(), 0x2 | 0x10 | 0x20 | 0x1000))
    return tap
taps = {name: attach(name) for name in ('in0', 'out0')}
subprocess.check_call(['sh', 'setup'])
def read(tap):
    while select.select([tap], [], [], 15)[0]:
        frame = os.read(tap, 65536)
        if not frame[0] & 1: return frame.hex()
    sys.exit('nothing came')
for line in sys.stdin:
    into, count, cuts, frame = line.split()
    frame = bytes.fromhex(frame)
    cuts = [0, *(cut for cut in map(int, cuts.split(',')) if cut < len(frame)), None]
    os.writev(taps[into], [frame[a:b] for a, b in zip(cuts, cuts[1:])])
    other = taps['out0' if into == 'in0' else 'in0']
    print(*[read(other) for _ in range(int(count))])
";

/// Where frames are cut: behind the Ethernet header, within every header, each few bytes.
const CUTS: [&str; 3] =
    ["14", "14,17,33,36,41,53,56,61,67,75,95", "14,18,22,26,30,34,38,42,46,50,54,58,62,66,70"];

/// Who is where, in one address family.
struct Family {
    client: &'static str,
    gateway: &'static str,
    server: &'static str,
    /// Type and code of the error that says so.
    unreachable: (u8, u8),
}

const FAMILIES: [Family; 2] = [
    Family { client: "10.1.0.2", gateway: "203.0.113.1", server: "203.0.113.2", unreachable: (3, 3) },
    Family { client: "fd01::2", gateway: "2001:db8:113::1", server: "2001:db8:113::2", unreachable: (1, 4) },
];

/// A packet that goes into a tap, and what has to come out of the other.
type Passage = (&'static str, Packet, Packet);

/// All kinds of packets, one after the other.
fn passages(family: &Family) -> Vec<Passage> {
    let Family { client, gateway, server, unreachable: (kind, code) } = *family;
    let mut passages = Vec::new();
    for sent in [
        tcp((client, 4321), (server, 80)).syn(),
        udp((client, 4321), (server, 53)),
        ping((client, 7), (server, 0)),
    ] {
        let seen = sent.clone().from((gateway, sent.src.port()));
        let error = |to: &str, quoted: &Packet| {
            icmp((server, 0), (to, 0), kind, code, &sent_on(quoted.clone())[14..])
        };
        passages.extend([
            ("in0", sent.clone(), seen.clone()),
            ("out0", seen.answer(), sent.answer()),
            ("out0", error(gateway, &seen), error(client, &Packet { ttl: sent.ttl, ..sent })),
        ]);
    }
    let call = tcp((server, 777), (gateway, 8080)).syn();
    let led = call.clone().to((client, 80));
    passages.extend([("out0", call.clone(), led.clone()), ("in0", led.answer(), call.answer())]);
    passages
}

/// As the gateway sends a packet on: one hop less, from its MAC.
fn sent_on(packet: Packet) -> Vec<u8> {
    let mut frame = Packet { ttl: packet.ttl - 1, ..packet }.frame();
    frame[..6].copy_from_slice(&SENDER_MAC);
    frame[6..12].copy_from_slice(&GATEWAY_MAC);
    frame
}

/// Passes frames through a gateway, each into a tap, cut at `cuts`, and tells what came out: of each as much as it says.
fn pass(cuts: &str, frames: &[(&str, usize, Vec<u8>)]) -> Vec<Vec<Vec<u8>>> {
    let lab = Lab::new();
    lab.file("netctl.toml", RULES);
    lab.file("setup", format!("{SETUP}{} up >&2", netctl()));
    let hex = |frame: &Vec<u8>| frame.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let line = |(into, count, frame): &(_, _, _)| format!("{into} {count} {cuts} {}\n", hex(frame));
    let input: String = frames.iter().map(line).collect();
    let output = lab.host().run_with("python3", ["-c", TAPS], input.as_bytes()).success();
    let byte = |hex: &[u8]| u8::from_str_radix(str::from_utf8(hex).unwrap(), 16).unwrap();
    let frame = |hex: &str| hex.as_bytes().chunks(2).map(byte).collect();
    output.stdout().lines().map(|line| line.split_whitespace().map(frame).collect()).collect()
}

#[test]
fn row_101_headers_in_several_pieces_of_memory_are_found_and_changed() {
    let passages: Vec<Passage> = FAMILIES.iter().flat_map(passages).collect();
    let frames: Vec<_> = passages.iter().map(|(into, sent, _)| (*into, 1, sent.frame())).collect();
    for cuts in CUTS {
        let came = pass(cuts, &frames);
        assert_eq!(came.len(), passages.len());
        for ((into, sent, wanted), came) in passages.iter().zip(came) {
            assert_eq!(came, [sent_on(wanted.clone())], "of {sent:?} into {into}, cut at {cuts}");
        }
    }
}

/// The last part comes first, and is held.
#[test]
fn row_101_parts_of_a_datagram_in_several_pieces_of_memory_are_held_and_sent_on() {
    for cuts in CUTS {
        for &Family { client, gateway, server, .. } in &FAMILIES {
            let sent = udp((client, 4321), (server, 53)).payload(&[7; 2000]);
            let parts = parts(&sent.frame(), 800, 77);
            let frames = [(2, 0), (1, 0), (0, 3)].map(|(part, count)| ("in0", count, parts[part].clone()));
            let came = whole(pass(cuts, &frames).concat());
            assert_eq!(check::checksums(&came).unwrap().src, (gateway, 4321).endpoint(), "cut at {cuts}");
            assert!(came.ends_with(&sent.payload), "cut at {cuts}");
        }
    }
}
