//! Where in the kernel's structures the programs find who watches: by the kernel's own types (BTF; Documentation/bpf/btf.rst).

use std::{collections::HashMap, fs, sync::OnceLock};

use netctl_ebpf::watch::{ABSENT, Layout};

/// The running kernel's; unknown if it has no types, or a structure has not what is looked for in it.
pub(crate) fn of_this_kernel() -> Layout {
    static LAYOUT: OnceLock<Layout> = OnceLock::new();
    *LAYOUT.get_or_init(|| {
        let types = fs::read("/sys/kernel/btf/vmlinux").ok();
        let layout = types.as_deref().and_then(|types| Types::parse(types)?.layout());
        layout.unwrap_or_default()
    })
}

/// What is looked for in these structures.
const STRUCTURES: [&str; 13] = [
    "sk_buff",
    "net_device",
    "Qdisc",
    "bpf_mprog_entry",
    "tcx_entry",
    "mini_Qdisc",
    "tcf_proto",
    "bpf_prog",
    "bpf_prog_aux",
    "net",
    "nf_hook_entries",
    "netns_nf",
    "netns_xfrm",
];

/// Types of a kernel.
struct Types<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Where each is, by its number; 0 is `void`.
    places: Vec<usize>,
    structures: HashMap<&'static str, usize>,
}

/// A type's head (`struct btf_type`).
struct Head {
    name: usize,
    kind: u32,
    count: usize,
    has_bitfields: bool,
    size_or_type: u32,
}

const HEAD: usize = 12;
const MEMBER: usize = 12;

// `BTF_KIND_*` (include/uapi/linux/btf.h).
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const TYPEDEF: u32 = 8;
const CONST: u32 = 10;
const VOLATILE: u32 = 9;
const TYPE_TAG: u32 = 18;

impl<'a> Types<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        const MAGIC: u16 = 0xeb9f;
        if bytes.get(..2)? != MAGIC.to_ne_bytes() {
            return None;
        }
        let field = |at: usize| Some(number(bytes, at)? as usize);
        let (header, type_at, type_len, string_at, string_len) =
            (field(4)?, field(8)?, field(12)?, field(16)?, field(20)?);
        let section = |at: usize, len: usize| {
            let start = header.checked_add(at)?;
            bytes.get(start..start.checked_add(len)?)
        };
        let (types, strings) = (section(type_at, type_len)?, section(string_at, string_len)?);
        let mut all = Self { types, strings, places: vec![0], structures: HashMap::new() };
        let mut at = 0;
        while at < types.len() {
            let head = all.head(at)?;
            if head.kind == STRUCT
                && let Some(name) = STRUCTURES.into_iter().find(|name| all.is_called(head.name, name))
            {
                all.structures.insert(name, at);
            }
            all.places.push(at);
            at += HEAD + head.length()?;
        }
        Some(all)
    }

    fn head(&self, at: usize) -> Option<Head> {
        let info = number(self.types, at + 4)?;
        Some(Head {
            name: number(self.types, at)? as usize,
            kind: info >> 24 & 0x1f,
            count: (info & 0xffff) as usize,
            has_bitfields: info >> 31 != 0,
            size_or_type: number(self.types, at + 8)?,
        })
    }

    fn is_called(&self, name: usize, text: &str) -> bool {
        let end = name + text.len();
        self.strings.get(name..end) == Some(text.as_bytes()) && self.strings.get(end) == Some(&0)
    }

    /// Where a field of a structure is, through structures and unions without a name, in bytes.
    fn field(&self, structure: &str, field: &str) -> Option<u32> {
        self.field_at(*self.structures.get(structure)?, field, 0)
    }

    fn field_at(&self, at: usize, field: &str, depth: u32) -> Option<u32> {
        /// More than the kernel has.
        const DEEPEST: u32 = 8;
        let head = self.head(at)?;
        if !matches!(head.kind, STRUCT | UNION) || depth > DEEPEST {
            return None;
        }
        (0..head.count).find_map(|index| {
            let member = at + HEAD + index * MEMBER;
            let (name, bits) = (number(self.types, member)? as usize, number(self.types, member + 8)?);
            let bytes = if head.has_bitfields { bits & 0x00ff_ffff } else { bits } / 8;
            if self.is_called(name, field) {
                return Some(bytes);
            }
            if name != 0 {
                return None;
            }
            let inner = self.resolve(number(self.types, member + 4)?)?;
            Some(bytes + self.field_at(inner, field, depth + 1)?)
        })
    }

    /// Where a type is, behind its other names.
    fn resolve(&self, mut number: u32) -> Option<usize> {
        loop {
            let at = *self.places.get(number as usize).filter(|_| number != 0)?;
            let head = self.head(at)?;
            if !matches!(head.kind, TYPEDEF | CONST | VOLATILE | TYPE_TAG) {
                return Some(at);
            }
            number = head.size_or_type;
        }
    }

    fn size(&self, structure: &str) -> Option<u32> {
        Some(self.head(*self.structures.get(structure)?)?.size_or_type)
    }

    fn layout(&self) -> Option<Layout> {
        /// `NETDEV_ALIGN`
        const ALIGNMENT: u32 = 32;
        let device = |field: &str| self.field("net_device", field);
        let or_absent = |field: Option<u32>| field.unwrap_or(ABSENT);
        let within = |structure: &str, outer: &str, field: &str| {
            Some(self.field("net", outer)? + self.field(structure, field)?)
        };
        let dev_tcx = [device("tcx_ingress"), device("tcx_egress")].map(or_absent);
        let has_tcx = dev_tcx[0] != ABSENT;
        let tcx = |field: Option<u32>| if has_tcx { field } else { Some(ABSENT) };
        let dev_filters = [device("miniq_ingress"), device("miniq_egress")].map(or_absent);
        if !has_tcx && dev_filters.contains(&ABSENT) {
            return None;
        }
        Some(Layout {
            is_known: 1,
            skb_dev: self.field("sk_buff", "dev")?,
            dev_net: device("nd_net")?,
            dev_ifindex: device("ifindex")?,
            dev_hash: device("index_hlist")?,
            dev_priv: match device("priv") {
                Some(offset) => offset,
                None => self.size("net_device")?.next_multiple_of(ALIGNMENT),
            },
            dev_rx_handler: device("rx_handler")?,
            dev_rx_data: device("rx_handler_data")?,
            dev_qdisc: device("qdisc")?,
            dev_taps: device("ptype_all")?,
            dev_netfilter: [device("nf_hooks_ingress"), device("nf_hooks_egress")].map(or_absent),
            dev_tcx,
            dev_filters,
            qdisc_enqueue: self.field("Qdisc", "enqueue")?,
            mprog_parent: tcx(self.field("bpf_mprog_entry", "parent"))?,
            tcx_bundle: tcx(self.field("tcx_entry", "bundle"))?,
            tcx_filters: tcx(self.field("tcx_entry", "miniq"))?,
            filters_first: self.field("mini_Qdisc", "filter_list")?,
            filter_next: self.field("tcf_proto", "next")?,
            prog_aux: self.field("bpf_prog", "aux")?,
            aux_name: self.field("bpf_prog_aux", "name")?,
            net_netfilter: ["hooks_ipv4", "hooks_ipv6"]
                .map(|hooks| or_absent(within("netns_nf", "nf", hooks))),
            net_netfilter_bridge: or_absent(within("netns_nf", "nf", "hooks_bridge")),
            entries_hooks: self.field("nf_hook_entries", "hooks").unwrap_or(8),
            net_policies: or_absent(within("netns_xfrm", "xfrm", "policy_count")),
            net_devices: self.field("net", "dev_index_head")?,
            net_taps: or_absent(self.field("net", "ptype_all")),
        })
    }
}

impl Head {
    /// How many bytes of it follow the head.
    fn length(&self) -> Option<usize> {
        // By `BTF_KIND_*`: what is there once, and what as often as its number says.
        const LENGTHS: [(usize, usize); 20] = [
            (0, 0),
            (4, 0),
            (0, 0),
            (12, 0),
            (0, MEMBER),
            (0, MEMBER),
            (0, 8),
            (0, 0),
            (0, 0),
            (0, 0),
            (0, 0),
            (0, 0),
            (0, 0),
            (0, 8),
            (4, 0),
            (0, 12),
            (0, 0),
            (4, 0),
            (0, 0),
            (0, 12),
        ];
        let (once, each) = LENGTHS.get(self.kind as usize)?;
        Some(once + each * self.count)
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let (word, _) = bytes.get(at..)?.split_first_chunk::<4>()?;
    Some(u32::from_ne_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_kernels_structures_are_found() {
        let types = fs::read("/sys/kernel/btf/vmlinux").unwrap();
        let types = Types::parse(&types).unwrap();
        let layout = types.layout().unwrap();
        assert_eq!(layout, of_this_kernel());
        // The head of `struct sk_buff` is three pointers since 4.16 at least, the third of which is the device.
        assert_eq!(layout.skb_dev, 16);
        assert!(layout.dev_priv.is_multiple_of(32) && layout.dev_priv > layout.dev_ifindex);
        assert_eq!(types.field("net_device", "no such field"), None);
        assert_eq!(types.field("no such structure", "dev"), None);
    }

    #[test]
    fn what_is_no_description_of_types_is_nothing() {
        let types = fs::read("/sys/kernel/btf/vmlinux").unwrap();
        for cut in [0, 1, 2, 8, 24, 100, types.len() / 2, types.len() - 1] {
            assert!(Types::parse(&types[..cut]).is_none_or(|types| types.layout().is_none()), "{cut}");
        }
        let mut other = types;
        other[0] ^= 1;
        assert!(Types::parse(&other).is_none());
    }
}
