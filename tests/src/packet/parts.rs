//! Datagrams taken apart and put together again (RFC 791 section 3.2, RFC 8200 section 4.5).

/// Cuts a frame's datagram into parts of at most `unit` bytes of payload, a multiple of eight, with this identification.
#[must_use]
pub fn parts(frame: &[u8], unit: usize, id: u16) -> Vec<Vec<u8>> {
    let header_end = if is_v4(frame) { 34 } else { 54 };
    let (header, payload) = frame.split_at(header_end);
    let count = payload.len().div_ceil(unit);
    let cut = |(number, part): (usize, &[u8])| {
        let offset = u16::try_from(number * unit / 8).unwrap();
        join(header, part, offset, number + 1 < count, id)
    };
    payload.chunks(unit).enumerate().map(cut).collect()
}

fn join(header: &[u8], part: &[u8], offset: u16, more: bool, id: u16) -> Vec<u8> {
    let mut frame = header.to_vec();
    if is_v4(header) {
        frame[16..18].copy_from_slice(&u16::try_from(20 + part.len()).unwrap().to_be_bytes());
        frame[18..20].copy_from_slice(&id.to_be_bytes());
        frame[20..22].copy_from_slice(&(offset | if more { 0x2000 } else { 0 }).to_be_bytes());
        frame[24..26].fill(0);
        let sum = super::check::sum(&[&frame[14..34]]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
    } else {
        let next = std::mem::replace(&mut frame[20], 44);
        frame[18..20].copy_from_slice(&u16::try_from(8 + part.len()).unwrap().to_be_bytes());
        frame.extend([next, 0]);
        frame.extend((offset << 3 | u16::from(more)).to_be_bytes());
        frame.extend([0, 0]);
        frame.extend(id.to_be_bytes());
    }
    frame.extend(part);
    frame
}

/// The identification of a part, and where it belongs in its datagram, in units of eight bytes.
#[must_use]
pub fn place(part: &[u8]) -> (u32, u16) {
    if is_v4(part) {
        let word = |at: usize| u16::from_be_bytes([part[at], part[at + 1]]);
        (u32::from(word(18)), word(20) & 0x1fff)
    } else {
        let id = u32::from_be_bytes([part[58], part[59], part[60], part[61]]);
        (id, u16::from_be_bytes([part[56], part[57]]) >> 3)
    }
}

/// The whole datagram's frame, of all its parts in any order, which have one identification and one pair of addresses.
#[must_use]
pub fn whole(mut parts: Vec<Vec<u8>>) -> Vec<u8> {
    parts.sort_by_key(|part| place(part).1);
    let (id, addresses) = (place(&parts[0]).0, addresses(&parts[0]).to_vec());
    for part in &parts {
        assert_eq!(place(part).0, id, "one identification");
        assert_eq!(self::addresses(part), addresses, "one pair of addresses");
    }
    let v4 = is_v4(&parts[0]);
    let payload_at = if v4 { 34 } else { 62 };
    let payload: Vec<u8> = parts.iter().flat_map(|part| part[payload_at..].to_vec()).collect();
    let mut frame = parts[0][..if v4 { 34 } else { 54 }].to_vec();
    if v4 {
        frame[16..18].copy_from_slice(&u16::try_from(20 + payload.len()).unwrap().to_be_bytes());
        frame[20..22].fill(0);
        frame[24..26].fill(0);
        let sum = super::check::sum(&[&frame[14..34]]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
    } else {
        frame[18..20].copy_from_slice(&u16::try_from(payload.len()).unwrap().to_be_bytes());
        frame[20] = parts[0][54];
    }
    frame.extend(payload);
    frame
}

fn addresses(frame: &[u8]) -> &[u8] {
    if is_v4(frame) { &frame[26..34] } else { &frame[22..54] }
}

fn is_v4(frame: &[u8]) -> bool {
    frame[12..14] == [8, 0]
}
