//! Frames as a file that tcpdump and Wireshark read (draft-ietf-opsawg-pcap).

use std::{fs, io, path::Path};

/// Writes `frames`, one millisecond apart: the order is what counts.
///
/// # Errors
/// If the file cannot be written.
pub fn write(path: &Path, frames: &[Vec<u8>]) -> io::Result<()> {
    const MAGIC: u32 = 0xa1b2_c3d4;
    const ETHERNET: u32 = 1;
    let mut file: Vec<u8> =
        [MAGIC, 2 | 4 << 16, 0, 0, 1 << 18, ETHERNET].into_iter().flat_map(u32::to_le_bytes).collect();
    for (number, frame) in (0_u32..).zip(frames) {
        let length = frame.len() as u32;
        let header = [number / 1000, number % 1000 * 1000, length, length];
        file.extend(header.into_iter().flat_map(u32::to_le_bytes));
        file.extend(frame);
    }
    fs::write(path, file)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::packet::udp;

    #[test]
    fn tcpdump_reads_what_was_written() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let frame = udp("192.0.2.1:5", "192.0.2.2:6").frame();
        write(file.path(), &[frame.clone(), frame]).unwrap();
        let output = Command::new("tcpdump").args(["-n", "-vv", "-r"]).arg(file.path()).output();
        let output = output.expect("these tests need `tcpdump`");
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.matches("192.0.2.1.5 > 192.0.2.2.6: [udp sum ok]").count(), 2, "{text}");
    }
}
