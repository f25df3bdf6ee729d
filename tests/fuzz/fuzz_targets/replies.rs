//! Any bytes as the kernel's replies on a netlink socket.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| netctl::netlink::socket::fuzz::replies(input));
