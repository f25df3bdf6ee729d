//! What is decided about each packet, as log records of `aya-log`: in builds with the feature `log` alone, which are slower.
//! `netctl monitor --debug` prints them.

use aya_log_ebpf::debug;

use super::{Verdict, step::step};

step! {
    /// Tells of the packet at `hook`, and what becomes of it.
    verdict as log_verdict(ctx, work, hook: u8, verdict: u8) -> () {
        let (packet, to, rule) = (&work.packet.key, &work.to, work.plan.rule);
        let port = |port| u16::from_be_bytes(port);
        match Verdict::of(verdict.into()) {
            Verdict::NotOurs => debug!(
                ctx,
                "link {} hook {}, protocol {}, {:i} {} -> {:i} {}: not ours",
                work.ifindex, hook, packet.proto, packet.src, port(packet.src_port), packet.dst, port(packet.dst_port)
            ),
            Verdict::Drop(reason) => debug!(
                ctx,
                "link {} hook {}, protocol {}, {:i} {} -> {:i} {}: dropped for reason {}",
                work.ifindex, hook, packet.proto, packet.src, port(packet.src_port), packet.dst, port(packet.dst_port),
                reason as u32
            ),
            Verdict::Translate | Verdict::TranslateError => debug!(
                ctx,
                "link {} hook {}, protocol {}, {:i} {} -> {:i} {}: by rule {} {:i} {} -> {:i} {}",
                work.ifindex, hook, packet.proto, packet.src, port(packet.src_port), packet.dst, port(packet.dst_port),
                rule, to.src, port(to.src_port), to.dst, port(to.dst_port)
            ),
        }
    }
}
