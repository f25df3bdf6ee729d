//! The BPF half: entry points and licence. Each entry point only dispatches; the order of the steps is in
//! [`prog::uplink`], [`prog::inside`] and [`prog::local`].
//!
//! "Not ours" is `TC_ACT_UNSPEC`, so that other programs on the hook still run; a packet that a rule covers and that
//! cannot be translated is dropped and counted, never passed on with its private address.
#![no_std]
#![no_main]
#![expect(clippy::needless_borrows_for_generic_args, reason = "a key passed by value is copied to the stack")]
#![expect(clippy::needless_pass_by_value, reason = "the entry points' macros pass the context by value")]
#![expect(missing_docs, unreachable_pub, reason = "the entry points' macros drop docs and ask for `pub`")]

mod prog;

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC},
    macros::{cgroup_sock_addr, classifier},
    programs::{SockAddrContext, TcContext},
};
use netctl_ebpf::{count::Path, flow::hook, reason::DropReason};
use prog::{Verdict, events, fragments, inside, local, maps, parse, rewrite, shortcut, uplink, watch};

/// TC egress of an uplink.
#[classifier]
pub fn uplink_egress(ctx: TcContext) -> i32 {
    if shortcut::was_taken(&ctx) {
        return TC_ACT_UNSPEC;
    }
    let action = run(&ctx, hook::EGRESS, true, uplink::egress);
    if action != TC_ACT_SHOT {
        shortcut::grant(&ctx);
    }
    action
}

/// TC ingress of an uplink.
#[classifier]
pub fn uplink_ingress(ctx: TcContext) -> i32 {
    match shortcut::take_inwards(&ctx) {
        TC_ACT_UNSPEC => run(&ctx, hook::INGRESS, true, uplink::ingress),
        taken => taken,
    }
}

/// TC ingress of a port: a veth by which the inside is reached.
#[classifier]
pub fn port_ingress(ctx: TcContext) -> i32 {
    shortcut::take(&ctx, hook::EGRESS)
}

/// TC egress of a port.
#[classifier]
pub fn port_egress(ctx: TcContext) -> i32 {
    shortcut::grant(&ctx);
    TC_ACT_UNSPEC
}

/// For user space to run by hand at an interface: who watches the way from there, outwards or, where the control block
/// begins with a port's index, inwards to that one.
#[classifier]
pub fn watched(ctx: TcContext) -> i32 {
    // SAFETY: the context is valid for the whole run of the program.
    let [port, is_v6] = unsafe { [(*ctx.skb.skb).cb[0], (*ctx.skb.skb).cb[1]] };
    watch::look(&ctx, port, is_v6 == 0) as i32
}

/// TC ingress of an inside interface.
#[classifier]
pub fn inside_ingress(ctx: TcContext) -> i32 {
    run(&ctx, hook::INGRESS, false, inside::ingress)
}

/// TC egress of an inside interface.
#[classifier]
pub fn inside_egress(ctx: TcContext) -> i32 {
    run(&ctx, hook::EGRESS, false, inside::egress)
}

/// Parse, decide, rewrite. A part of a datagram does what the one with the ports did.
#[inline(always)]
fn run(
    ctx: &TcContext,
    hook: u8,
    is_uplink: bool,
    decide: impl Fn(&TcContext) -> Result<Verdict, DropReason>,
) -> i32 {
    if !parse::parse(ctx) {
        return TC_ACT_UNSPEC;
    }
    let verdict = match fragments::follow(ctx, hook, is_uplink) {
        Some(verdict) => verdict,
        None => decide(ctx).into(),
    };
    let done = rewrite::rewrite(ctx, verdict);
    #[cfg(feature = "log")]
    prog::log::verdict(ctx, hook, prog::step::Answer::number(done) as u8);
    match fragments::lead(ctx, hook, done) {
        Verdict::Drop(reason) => {
            maps::count_drop(reason);
            events::tell_drop(ctx, reason as u8, hook);
            TC_ACT_SHOT
        }
        Verdict::Translate => {
            maps::count_path(Path::Kernel);
            TC_ACT_UNSPEC
        }
        _ => TC_ACT_UNSPEC,
    }
}

/// Generates one entry point of the socket layer; all of them let the call go on.
macro_rules! socket_hook {
    ($hook:ident, $name:ident, $step:path) => {
        #[doc = concat!("cgroup/", stringify!($hook))]
        #[cgroup_sock_addr($hook)]
        pub fn $name(ctx: SockAddrContext) -> i32 {
            $step(&ctx);
            1
        }
    };
}

socket_hook!(connect4, local_connect4, local::translate_v4);
socket_hook!(connect6, local_connect6, local::translate_v6);
socket_hook!(sendmsg4, local_sendmsg4, local::translate_v4);
socket_hook!(sendmsg6, local_sendmsg6, local::translate_v6);
socket_hook!(recvmsg4, local_recvmsg4, local::restore_v4);
socket_hook!(recvmsg6, local_recvmsg6, local::restore_v6);
socket_hook!(getpeername4, local_getpeername4, local::restore_v4);
socket_hook!(getpeername6, local_getpeername6, local::restore_v6);

/// Several helpers are for GPL-compatible programs only; the crate is also under GPL-2.0.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
