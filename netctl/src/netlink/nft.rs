//! nftables' base chains: where packets meet a filter, and what becomes of those that no rule decides. Read only.
//!
//! Follows net/netfilter/nf_tables_api.c and include/uapi/linux/netfilter/{nfnetlink,nf_tables}.h; asks a socket of
//! `NETLINK_NETFILTER` ([`Socket::open_for_filters`]). iptables-nft keeps its chains here too.

use neli::consts::nl::NlmF;

use super::{
    Error, Malformed, Request, Socket,
    message::{Attribute, Message, attributes},
};

/// `NFNL_SUBSYS_NFTABLES`, the upper half of each message's type.
const SUBSYSTEM: u16 = 10 << 8;
/// `NFT_MSG_NEWCHAIN` and `NFT_MSG_GETCHAIN`.
const NEW_CHAIN: u16 = SUBSYSTEM | 3;
const GET_CHAIN: u16 = SUBSYSTEM | 4;

/// `NFTA_CHAIN_*` and `NFTA_HOOK_HOOKNUM`.
mod nfta {
    pub(super) const TABLE: u16 = 1;
    pub(super) const NAME: u16 = 3;
    pub(super) const HOOK: u16 = 4;
    pub(super) const POLICY: u16 = 5;
    pub(super) const USE: u16 = 6;
    pub(super) const TYPE: u16 = 7;
    pub(super) const HOOK_NUMBER: u16 = 1;
}

/// `NF_DROP`.
pub const DROP: u32 = 0;

/// A base chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseChain {
    /// `NFPROTO_*` of its table: `ip` is 2, `ip6` 10, `inet` 1.
    pub family: u8,
    /// Its table's name.
    pub table: String,
    /// Its name.
    pub name: String,
    /// `NF_INET_*`, where it hooks in.
    pub hook: u32,
    /// The verdict on what no rule decides.
    pub policy: u32,
    /// How many rules it has.
    pub rules: u32,
    /// Whether it is there to filter, and not to translate or to route.
    pub is_filter: bool,
}

/// `nft list chains`: the base chains of the socket's namespace.
///
/// # Errors
/// Those of [`Socket::dump`]: above all where the kernel has no nftables.
pub fn dump(socket: &mut Socket) -> Result<Vec<BaseChain>, Error> {
    // `struct nfgenmsg`: any family, version 0.
    socket.dump(Request::new(GET_CHAIN, NlmF::DUMP, &[0; 4]), parse)
}

/// Reads an `NFT_MSG_NEWCHAIN`; `None` for any other message and for chains that rules jump to.
pub fn parse(message: &Message<'_>) -> Result<Option<BaseChain>, Malformed> {
    if message.kind != NEW_CHAIN {
        return Ok(None);
    }
    let (&[family, ..], rest) = message.body::<4>()?;
    let (mut table, mut name, mut hook, mut policy, mut rules) =
        (String::new(), String::new(), None, None, 0);
    let mut is_filter = true;
    for attribute in attributes(rest) {
        let attribute = attribute?;
        match attribute.kind {
            nfta::TABLE => table = attribute.text(),
            nfta::NAME => name = attribute.text(),
            nfta::HOOK => hook = hook_number(&attribute)?,
            nfta::POLICY => policy = Some(number(&attribute)?),
            // Nothing else uses a base chain: no rule jumps to one.
            nfta::TYPE => is_filter = attribute.text() == "filter",
            nfta::USE => rules = number(&attribute)?,
            _ => {}
        }
    }
    let base = |(hook, policy)| BaseChain { family, table, name, hook, policy, rules, is_filter };
    Ok(hook.zip(policy).map(base))
}

fn hook_number(hook: &Attribute<'_>) -> Result<Option<u32>, Malformed> {
    for attribute in hook.nested() {
        let attribute = attribute?;
        if attribute.kind == nfta::HOOK_NUMBER {
            return number(&attribute).map(Some);
        }
    }
    Ok(None)
}

/// nfnetlink has its numbers in network order.
fn number(attribute: &Attribute<'_>) -> Result<u32, Malformed> {
    attribute.array().map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::message::messages, *};

    fn chain(hook: Option<u32>, policy: Option<u32>) -> Request {
        let mut request = Request::new(NEW_CHAIN, NlmF::empty(), &[2, 0, 0, 0]);
        request.name(nfta::TABLE, "filter");
        request.name(nfta::NAME, "FORWARD");
        if let Some(hook) = hook {
            request.nested(nfta::HOOK, |nest| {
                nest.attribute(2_u16, &[0; 4]);
                nest.attribute(nfta::HOOK_NUMBER, &hook.to_be_bytes());
            });
        }
        if let Some(policy) = policy {
            request.attribute(nfta::POLICY, &policy.to_be_bytes());
            request.attribute(nfta::USE, &3_u32.to_be_bytes());
        }
        request
    }

    #[test]
    fn base_chains_are_read_and_others_are_not() {
        let read = |request: Request| parse(&messages(request.bytes()).next().unwrap().unwrap()).unwrap();
        let (family, table, name) = (2, "filter".to_owned(), "FORWARD".to_owned());
        assert_eq!(
            read(chain(Some(2), Some(DROP))),
            Some(BaseChain { family, table, name, hook: 2, policy: DROP, rules: 3, is_filter: true })
        );
        assert_eq!(read(chain(None, None)), None);
        assert_eq!(read(Request::new(GET_CHAIN, NlmF::empty(), &[0; 4])), None);
    }

    proptest! {
        #[test]
        fn no_message_makes_the_parser_panic(payload in prop::collection::vec(any::<u8>(), 0..120)) {
            let message =
                Message { kind: NEW_CHAIN, flags: NlmF::empty(), sequence: 0, payload: &payload };
            let _ = parse(&message);
        }
    }
}
