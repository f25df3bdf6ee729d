use proptest::prelude::*;

use super::*;

/// A packet of which so many bytes can be read.
struct Slice<'a>(&'a [u8], usize);

impl Bytes for Slice<'_> {
    fn words<const N: usize>(&self, off: u32) -> Option<[u16; N]> {
        let off = off as usize;
        assert_eq!(off % 2, 0, "frames are read two bytes at a time");
        let there = self.0.get(..self.1.min(self.0.len()))?.get(off..off + 2 * N)?;
        Some(core::array::from_fn(|i| u16::from_ne_bytes([there[2 * i], there[2 * i + 1]])))
    }

    fn length(&self) -> u32 {
        self.0.len() as u32
    }
}

/// Of which nothing is known.
fn unread() -> Packet {
    Packet {
        key: FlowKey::default(),
        l3_off: 0,
        l3_len: 0,
        class: 0,
        ttl: 0,
        is_plain: false,
        fragment: Fragment::default(),
        transport: Transport::at(0, 0),
    }
}

fn read(frame: &[u8]) -> Option<Packet> {
    let mut packet = unread();
    let is_v4 = frame.get(14).is_some_and(|first| first >> 4 == 4);
    packet.read(&Slice(frame, usize::MAX), is_v4).then_some(packet)
}

fn plain(frame: &[u8], linear: usize) -> Option<Packet> {
    let is_v4 = frame.get(14).is_some_and(|first| first >> 4 == 4);
    Packet::of_plain(&Slice(frame, linear), is_v4)
}

/// An IPv4 header with its checksum, before a payload.
fn v4(proto: u8, options: &[u8], place: u16, payload: &[u8]) -> Vec<u8> {
    let header_len = 20 + options.len();
    let mut ip = vec![0x40 | (header_len / 4) as u8, 0x20];
    ip.extend(((header_len + payload.len()) as u16).to_be_bytes());
    ip.extend([0x12, 0x34]);
    ip.extend(place.to_be_bytes());
    ip.extend([64, proto, 0, 0, 192, 168, 15, 1, 203, 0, 113, 2]);
    ip.extend(options);
    let sum: u32 = ip.chunks_exact(2).map(|word| u32::from(u16::from_ne_bytes([word[0], word[1]]))).sum();
    let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
    ip[10..12].copy_from_slice(&checksum.to_ne_bytes());
    [&[2; 12][..], &[8, 0], &ip, payload].concat()
}

/// The same of IPv6, whose extension headers are part of the payload.
fn v6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut ip = vec![0x62, 0, 0, 0];
    ip.extend((payload.len() as u16).to_be_bytes());
    ip.extend([next, 64]);
    ip.extend([0xfd; 16]);
    ip.extend([0x20; 16]);
    [&[2; 12][..], &[0x86, 0xdd], &ip, payload].concat()
}

const UDP: [u8; 12] = [0x10, 0xe1, 0, 80, 0, 12, 0, 0, 1, 2, 3, 4];

fn tcp(flags: u8) -> Vec<u8> {
    let mut header = vec![0x10, 0xe1, 0, 80];
    header.extend([0; 8]);
    header.extend([0x50, flags, 0, 0, 0, 0, 0, 0, 7]);
    header
}

#[test]
fn a_plain_packet_is_read_whole() {
    for (frame, is_v4, header_len) in [
        (v4(proto::UDP, &[], 0, &UDP), true, 8),
        (v4(proto::TCP, &[], 0x4000, &tcp(0x18)), true, 20),
        (v6(proto::UDP, &UDP), false, 8),
        (v6(proto::TCP, &tcp(0x18)), false, 20),
    ] {
        let packet = read(&frame).unwrap();
        assert_eq!((packet.key.src_port, packet.key.dst_port), ([0x10, 0xe1], [0, 80]));
        assert_eq!(addr::is_v4(&packet.key.src), is_v4);
        assert_eq!((packet.class, packet.ttl, packet.is_plain), (0x20, 64, true));
        assert_eq!(packet.transport.header_len, header_len);
        assert_eq!(packet.l3_len as usize + 14, frame.len());
        assert_eq!(plain(&frame, usize::MAX), Some(packet));
    }
}

#[test]
fn what_pads_a_frame_is_no_part_of_it() {
    let mut frame = v4(proto::UDP, &[], 0, &UDP);
    let whole = read(&frame).unwrap();
    frame.resize(60, 0);
    assert_eq!(read(&frame), Some(whole));
    assert_eq!(plain(&frame, usize::MAX), Some(whole));
    assert_eq!(whole.length_of_frame(60), 46);
    assert_eq!(whole.length_of_frame(40), 40, "cut short");
}

#[test]
fn options_and_parts_are_left_to_the_kernels_way() {
    let padding = [1; 4];
    for frame in [
        v4(proto::UDP, &padding, 0, &UDP),
        v4(proto::UDP, &[], 0x2000, &UDP),
        v4(proto::ICMP, &[], 0, &[8, 0, 0, 0, 0, 7, 0, 1]),
        v6(DESTINATION, &[&[proto::UDP, 0, 1, 4, 0, 0, 0, 0][..], &UDP].concat()),
    ] {
        assert_eq!(plain(&frame, usize::MAX), None);
        assert_eq!(read(&frame).unwrap().transport.refusal, None);
    }
    let mut wrong = v4(proto::UDP, &[], 0, &UDP);
    wrong[24] ^= 1;
    assert_eq!(plain(&wrong, usize::MAX), None, "the IP layer drops it");
}

#[test]
fn extension_headers_may_come_before_and_behind_that_of_a_part() {
    let options = |next: u8| [next, 0, 1, 4, 0, 0, 0, 0];
    let part = |next: u8, place: u16| {
        let [high, low] = place.to_be_bytes();
        [next, 0, high, low, 0, 0, 0, 9]
    };
    let frame =
        v6(HOP_BY_HOP, &[&options(FRAGMENT)[..], &part(DESTINATION, 1), &options(proto::UDP), &UDP].concat());
    let packet = read(&frame).unwrap();
    assert_eq!((packet.key.proto, packet.key.dst_port), (proto::UDP, [0, 80]));
    assert!(packet.fragment.is_first() && packet.transport.refusal.is_none());
    // Behind that of a later part is the middle of something.
    let frame = v6(FRAGMENT, &[&part(DESTINATION, 8 | 1)[..], &options(proto::UDP), &UDP].concat());
    let packet = read(&frame).unwrap();
    assert_eq!(packet.key.proto, DESTINATION);
    assert_eq!((packet.fragment.is_later(), packet.transport.refusal), (true, Some(DropReason::Fragment)));
}

proptest! {
    /// Whatever is made of a packet where its bytes lie is made of it when they are copied, too.
    #[test]
    fn both_ways_to_read_are_of_one_mind(
        is_v4: bool,
        is_tcp: bool,
        flags: u8,
        options in proptest::collection::vec(any::<u8>(), 0..3),
        place in prop_oneof![Just(0_u16), Just(0x4000), any::<u16>()],
        changes in proptest::collection::vec((0..80_usize, any::<u8>()), 0..4),
        cut in 0..30_usize,
        padding in 0..30_usize,
        linear in 0..120_usize,
    ) {
        let (proto, payload) =
            if is_tcp { (proto::TCP, tcp(flags)) } else { (proto::UDP, UDP.to_vec()) };
        let options: Vec<u8> = options.iter().flat_map(|&byte| [byte; 4]).collect();
        let mut frame = if is_v4 { v4(proto, &options, place, &payload) } else { v6(proto, &payload) };
        for (at, byte) in changes {
            if at >= 14 && let Some(there) = frame.get_mut(at) {
                *there = byte;
            }
        }
        frame.truncate(frame.len() - cut.min(frame.len() - 15));
        frame.extend(vec![0; padding]);
        let is_v4 = frame[14] >> 4 == 4;
        let mut copied = unread();
        let there = copied.read(&Slice(&frame, usize::MAX), is_v4);
        if let Some(found) = Packet::of_plain(&Slice(&frame, linear), is_v4) {
            prop_assert!(there);
            prop_assert_eq!(found, copied);
        }
    }
}
