//! Traffic control: qdiscs, classes, filters, and the programs at TCX.

use aya::programs::{ProgramError, SchedClassifier, TcAttachType, tc::TcError};

use super::{
    Items, Value,
    link::Link,
    netlink::{Field, Names, Netlink, Shape, attribute, describe, hex, interface, number, text},
};
use Shape::{Each, Nest, Number, Skip, Text};

const RTM_GETQDISC: u16 = 38;
const RTM_GETTCLASS: u16 = 42;
const RTM_GETTFILTER: u16 = 46;
const KIND: u16 = 1;
const OPTIONS: u16 = 2;
const CHAIN: u16 = 11;

/// The two hooks of a `clsact`.
const HOOKS: [u32; 2] = [0xffff_fff2, 0xffff_fff3];

const ACTIONS: Shape = Each(&[
    (1, "kind", Text),
    // `TCA_GACT_TM`, and its like of other actions.
    (2, "options", Nest(&[(1, "", Skip)])),
    (4, "stats", Skip),
    (5, "", Skip),
]);
const MATCHALL: &[Field] = &[(2, "action", ACTIONS), (4, "count", Skip)];
const U32: &[Field] = &[(7, "action", ACTIONS), (9, "count", Skip)];
// A program's number is new where netctl has to attach its own again.
const BPF: &[Field] =
    &[(1, "action", ACTIONS), (6, "fd", Skip), (7, "name", Text), (8, "flags", Number), (11, "id", Skip)];

pub(super) fn dump(netlink: &Netlink, items: &mut Items<'_>, links: &[Link], names: &Names) {
    for answer in netlink.dump(RTM_GETQDISC, &[0; 20]).expect("dump qdiscs") {
        let (index, kind) = (number(&answer[4..8]) as u32, kind_of(&answer));
        add(items, "qdisc", &answer, &[], names);
        let handle = number(&answer[8..12]) as u32;
        match kind.as_str() {
            "noqueue" | "pfifo_fast" | "fq_codel" | "pfifo" | "bfifo" | "fq" => {}
            "clsact" | "ingress" => {
                HOOKS.iter().for_each(|hook| filters(netlink, items, index, *hook, names));
            }
            _ => {
                let classes = netlink.dump(RTM_GETTCLASS, &request(index, 0)).unwrap_or_default();
                let of_it = classes.iter().filter(|class| number(&class[8..12]) as u32 >> 16 == handle >> 16);
                of_it.for_each(|class| add(items, "class", class, &[], names));
                filters(netlink, items, index, handle, names);
            }
        }
    }
    for link in links {
        for (hook, name) in [(TcAttachType::Ingress, "ingress"), (TcAttachType::Egress, "egress")] {
            programs(items, &link.name, hook, name);
        }
    }
}

fn kind_of(answer: &[u8]) -> String {
    attribute(&answer[20..], KIND).map(text).unwrap_or_default()
}

/// A `struct tcmsg`.
fn request(index: u32, parent: u32) -> Vec<u8> {
    let words = [0, index, 0, parent, 0];
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn filters(netlink: &Netlink, items: &mut Items<'_>, index: u32, parent: u32, names: &Names) {
    // The link may have gone meanwhile.
    for answer in netlink.dump(RTM_GETTFILTER, &request(index, parent)).unwrap_or_default() {
        let fields = match kind_of(&answer).as_str() {
            "matchall" => MATCHALL,
            "u32" => U32,
            "bpf" => BPF,
            _ => &[],
        };
        add(items, "filter", &answer, fields, names);
    }
}

fn add(items: &mut Items<'_>, what: &str, answer: &[u8], fields: &'static [Field], names: &Names) {
    let (handle, parent, info) = (number(&answer[8..12]), number(&answer[12..16]), number(&answer[16..20]));
    let rest = &answer[20..];
    let device = interface(number(&answer[4..8]), names);
    let kind = kind_of(answer);
    let chain = attribute(rest, CHAIN).map_or(0, number);
    let mut words = format!("handle={handle:x}");
    if what == "filter" {
        words = format!("{words} info={info:x} chain={chain}");
    }
    match attribute(rest, OPTIONS) {
        Some(options) if fields.is_empty() => words = format!("{words} options={}", hex(options)),
        Some(options) => describe(&mut words, options, fields, "", names),
        None => {}
    }
    items.add(format!("{what} {kind} dev {device} parent {parent:x}"), Value::Words(words));
}

fn programs(items: &mut Items<'_>, device: &str, hook: TcAttachType, name: &str) {
    let errno = |error: &ProgramError| match error {
        ProgramError::SyscallError(error) => error.io_error.raw_os_error(),
        ProgramError::TcError(TcError::IoError(error)) => error.raw_os_error(),
        _ => None,
    };
    let programs = match SchedClassifier::query_tcx(device, hook) {
        Ok((_, programs)) => programs,
        // A kernel without TCX has filters instead. The link may have gone with its peer's namespace.
        Err(error) if matches!(errno(&error), Some(libc::EINVAL | libc::ENODEV)) => return,
        Err(error) => panic!("query programs of {device}: {error}"),
    };
    for program in programs {
        let words = format!("name={} tag={:x}", program.name_as_str().unwrap_or_default(), program.tag());
        items.add(format!("tcx {name} dev {device}"), Value::Words(words));
    }
}
