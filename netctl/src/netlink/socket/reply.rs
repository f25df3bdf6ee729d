//! What the kernel's datagrams mean for a batch or a dump under way; no I/O here.
//!
//! Follows `netlink_ack` and `netlink_dump_done` in net/netlink/af_netlink.c.

use neli::consts::nl::{NlmF, Nlmsg, NlmsgerrAttr};

use super::Answer;
use crate::errno;
use crate::netlink::{
    Error, Malformed, Refusal, Request,
    message::{Message, attributes, messages},
};

/// `sizeof(struct nlmsgerr)`: the error number and the refused message's header.
const ERROR_HEADER: usize = 20;

/// The answers to one batch, as they come in.
pub(super) struct Acks {
    first: u32,
    pub(super) answers: Vec<Option<Answer>>,
    pub(super) missing: usize,
}

impl Acks {
    /// Expects an answer to each request from number `first` on, but for those that are not sent.
    pub(super) fn new(first: u32, batch: &[Request]) -> Self {
        let answers: Vec<_> =
            batch.iter().map(|request| request.is_overlong().then(|| Err(Refusal::overlong()))).collect();
        let missing = answers.iter().filter(|answer| answer.is_none()).count();
        Self { first, answers, missing }
    }

    /// Files the acknowledgements of one datagram; those of earlier requests are ignored.
    pub(super) fn take(&mut self, datagram: &[u8]) -> Result<(), Malformed> {
        for message in messages(datagram) {
            let message = message?;
            let index = message.sequence.wrapping_sub(self.first) as usize;
            if let Some(slot @ None) = self.answers.get_mut(index)
                && message.is(Nlmsg::Error)
            {
                *slot = Some(answer(&message)?);
                self.missing -= 1;
            }
        }
        Ok(())
    }
}

/// A dump, as it comes in.
pub(super) struct Dump<T> {
    sequence: u32,
    pub(super) items: Vec<T>,
    pub(super) interrupted: bool,
    pub(super) done: bool,
    /// The first thing that went wrong: the dump is still read to its end, or the kernel would refuse the next one.
    pub(super) failure: Option<Error>,
}

impl<T> Dump<T> {
    pub(super) fn new(sequence: u32) -> Self {
        Self { sequence, items: Vec::new(), interrupted: false, done: false, failure: None }
    }

    /// Adds one datagram's messages; those that answer other requests are ignored.
    pub(super) fn take(
        &mut self,
        datagram: &[u8],
        parse: impl Fn(&Message<'_>) -> Result<Option<T>, Malformed>,
    ) -> Result<(), Malformed> {
        for message in messages(datagram) {
            let message = message?;
            if message.sequence != self.sequence {
                continue;
            }
            self.interrupted |= message.flags.contains(NlmF::DUMP_INTR);
            match Nlmsg::from(message.kind) {
                Nlmsg::Noop => {}
                Nlmsg::Error => self.end(answer(&message)?),
                Nlmsg::Done => self.end(end_of_dump(&message)?),
                _ => match parse(&message) {
                    Ok(item) => self.items.extend(item),
                    Err(malformed) => self.failure = self.failure.take().or(Some(malformed.into())),
                },
            }
        }
        Ok(())
    }

    fn end(&mut self, answer: Answer) {
        self.done = true;
        if let Err(refusal) = answer {
            self.failure = self.failure.take().or(Some(Error::Refused(refusal)));
        }
    }
}

/// Reads an `NLMSG_ERROR`: an error number (0 acknowledges), the refused message's header, the rest of that message
/// unless the reply is capped, then the extended acknowledgement's attributes.
fn answer(message: &Message<'_>) -> Result<Answer, Malformed> {
    let (&[e0, e1, e2, e3, l0, l1, l2, l3, ..], rest) = message.body::<ERROR_HEADER>()?;
    let quoted = if message.flags.contains(NlmF::CAPPED) {
        0
    } else {
        let length = u32::from_ne_bytes([l0, l1, l2, l3]) as usize;
        length.saturating_sub(ERROR_HEADER - size_of::<i32>()).next_multiple_of(4)
    };
    let extended = rest.get(quoted..).unwrap_or_default();
    Ok(verdict(i32::from_ne_bytes([e0, e1, e2, e3]), message.flags, extended))
}

/// Reads an `NLMSG_DONE`: an error number (0 or more is success), then the extended acknowledgement's attributes.
fn end_of_dump(message: &Message<'_>) -> Result<Answer, Malformed> {
    let (&code, extended) = message.body::<4>()?;
    Ok(verdict(i32::from_ne_bytes(code), message.flags, extended))
}

fn verdict(code: i32, flags: NlmF, extended: &[u8]) -> Answer {
    if code >= 0 {
        return Ok(());
    }
    let text = || {
        attributes(extended)
            .flatten()
            .find(|attribute| attribute.kind == u16::from(NlmsgerrAttr::Msg))
            .map(|attribute| attribute.text())
    };
    Err(Refusal {
        errno: errno::from_raw(code.saturating_neg()),
        message: flags.contains(NlmF::ACK_TLVS).then(text).flatten(),
    })
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;
    use proptest::prelude::*;

    use super::*;
    use crate::netlink::link;

    /// A message of `kind` as the kernel would send it.
    fn message(kind: Nlmsg, flags: NlmF, sequence: u32, payload: &[&[u8]]) -> Vec<u8> {
        let payload = payload.concat();
        let mut bytes = (16 + payload.len() as u32).to_ne_bytes().to_vec();
        bytes.extend(u16::from(kind).to_ne_bytes());
        bytes.extend(flags.bits().to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(payload);
        bytes
    }

    /// An `NLMSG_ERROR` about a message of `length` bytes.
    fn error(flags: NlmF, sequence: u32, errno: i32, length: u32, rest: &[&[u8]]) -> Vec<u8> {
        let mut header = (-errno).to_ne_bytes().to_vec();
        header.extend(length.to_ne_bytes());
        header.extend([0; 12]);
        message(Nlmsg::Error, flags, sequence, &[&[header.as_slice()], rest].concat())
    }

    /// `NLMSGERR_ATTR_OFFS` and then `NLMSGERR_ATTR_MSG`.
    const EXTENDED: [u8; 20] = *b"\x08\0\x02\0\x24\0\0\0\x09\0\x01\0gone\0\0\0\0";

    fn gone() -> Answer {
        Err(Refusal { errno: Errno::ENODEV, message: Some("gone".into()) })
    }

    fn acks(first: u32, requests: usize) -> Acks {
        Acks::new(first, &vec![link::set_up(1); requests])
    }

    #[test]
    fn acknowledgements_are_filed_by_number_across_the_wrap() {
        let mut acks = acks(u32::MAX, 3);
        let capped = NlmF::CAPPED;
        acks.take(&error(capped, 1, 0, 32, &[])).unwrap();
        acks.take(&error(capped, 7, libc::EPERM, 32, &[])).unwrap(); // an earlier request's
        let both = [error(capped, 0, libc::EEXIST, 32, &[]), error(capped, u32::MAX, 0, 32, &[])];
        acks.take(&both.concat()).unwrap();
        let refusal = Refusal { errno: Errno::EEXIST, message: None };
        assert_eq!(acks.missing, 0);
        assert_eq!(acks.answers, [Some(Ok(())), Some(Err(refusal)), Some(Ok(()))]);
    }

    #[test]
    fn a_second_acknowledgement_changes_nothing() {
        let mut acks = acks(1, 2);
        for errno in [0, libc::EPERM] {
            acks.take(&error(NlmF::CAPPED, 1, errno, 32, &[])).unwrap();
        }
        assert_eq!((acks.missing, &acks.answers[0]), (1, &Some(Ok(()))));
    }

    #[test]
    fn extended_text_is_found_after_a_capped_and_after_a_quoted_message() {
        let extended = NlmF::ACK_TLVS;
        for bytes in [
            error(extended | NlmF::CAPPED, 1, libc::ENODEV, 4000, &[&EXTENDED]),
            error(extended, 1, libc::ENODEV, 32, &[&[0xff; 16], &EXTENDED]),
            error(extended, 1, libc::ENODEV, 30, &[&[0xff; 16], &EXTENDED]),
        ] {
            let mut acks = acks(1, 1);
            acks.take(&bytes).unwrap();
            assert_eq!(acks.answers, [Some(gone())]);
        }
        let mut acks = acks(1, 1);
        // Without the flag the bytes are no attributes.
        acks.take(&error(NlmF::CAPPED, 1, libc::ENODEV, 32, &[&EXTENDED])).unwrap();
        assert!(matches!(&acks.answers[..], [Some(Err(Refusal { message: None, .. }))]));
    }

    #[test]
    fn an_acknowledgement_that_is_too_short_is_an_error() {
        let short = message(Nlmsg::Error, NlmF::empty(), 1, &[&[0; 8]]);
        assert_eq!(acks(1, 1).take(&short), Err(Malformed::FamilyHeader { length: 20, left: 8 }));
    }

    /// Takes the datagrams as a dump of the messages' sequence numbers.
    fn dump(datagrams: &[Vec<u8>]) -> Dump<u32> {
        let mut dump = Dump::new(5);
        for datagram in datagrams {
            dump.take(datagram, |message| Ok(Some(message.sequence))).unwrap();
        }
        dump
    }

    #[test]
    fn a_dump_reads_every_message_and_ignores_foreign_ones() {
        let item = |sequence| message(Nlmsg::from(16), NlmF::MULTI, sequence, &[&[0; 4]]);
        let done = message(Nlmsg::Done, NlmF::MULTI, 5, &[&[0; 4]]);
        let dump = dump(&[[item(5), item(4), item(5)].concat(), [item(5), done].concat()]);
        assert_eq!(dump.items, [5, 5, 5]);
        assert!(dump.done && !dump.interrupted && dump.failure.is_none());
    }

    #[test]
    fn an_interruption_shows_on_any_message() {
        for flags in [[NlmF::DUMP_INTR, NlmF::MULTI], [NlmF::MULTI, NlmF::DUMP_INTR]] {
            let item = message(Nlmsg::from(16), flags[0], 5, &[&[0; 4]]);
            assert!(dump(&[item, message(Nlmsg::Done, flags[1], 5, &[&[0; 4]])]).interrupted);
        }
    }

    #[test]
    fn a_dump_can_end_in_a_refusal() {
        let code = (-libc::ENODEV).to_ne_bytes();
        let done = message(Nlmsg::Done, NlmF::ACK_TLVS, 5, &[&code, &EXTENDED]);
        let refused = error(NlmF::ACK_TLVS | NlmF::CAPPED, 5, libc::ENODEV, 32, &[&EXTENDED]);
        for bytes in [done, refused] {
            let dump = dump(&[bytes]);
            assert!(dump.done);
            let failure = dump.failure.unwrap().to_string();
            assert_eq!(failure, "ask the kernel for a list: No such device (kernel: gone)");
        }
    }

    #[test]
    fn a_malformed_item_is_reported_once_the_dump_is_over() {
        let item = message(Nlmsg::from(16), NlmF::MULTI, 5, &[]);
        let mut dump = Dump::<()>::new(5);
        dump.take(&item, |message| message.body::<4>().map(|_| None)).unwrap();
        assert!(!dump.done);
        dump.take(&message(Nlmsg::Done, NlmF::MULTI, 5, &[&[0; 4]]), |_| Ok(None)).unwrap();
        assert!(dump.done && matches!(dump.failure, Some(Error::Malformed(_))));
    }

    proptest! {
        #[test]
        fn no_reply_makes_the_readers_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), code: i32) {
            let kinds = [Nlmsg::Error, Nlmsg::Done, Nlmsg::from(16)];
            let flags = [NlmF::empty(), NlmF::ACK_TLVS, NlmF::ACK_TLVS | NlmF::CAPPED];
            for kind in kinds {
                for flags in flags {
                    let reply = message(kind, flags, 5, &[&code.to_ne_bytes(), &bytes]);
                    let _ = acks(5, 1).take(&reply);
                    let _ = Dump::new(5).take(&reply, link::parse);
                }
            }
            let _ = acks(5, 1).take(&bytes);
            let _ = Dump::new(5).take(&bytes, link::parse);
        }

        #[test]
        fn what_answers_others_changes_nothing_however_it_is_interleaved(
            sequences in prop::collection::vec(4_u32..7, 0..40), per_datagram in 1_usize..8,
        ) {
            let of = |wanted| sequences.iter().filter(move |&&sequence| sequence == wanted).count();
            let mut dump = Dump::new(5);
            let mut acks = acks(5, 1);
            for datagram in sequences.chunks(per_datagram) {
                let items: Vec<u8> = datagram.iter().flat_map(|&its| {
                    let interrupted = if its == 5 { NlmF::MULTI } else { NlmF::MULTI | NlmF::DUMP_INTR };
                    message(Nlmsg::from(16), interrupted, its, &[&[0; 4]])
                }).collect();
                dump.take(&items, |message| Ok(Some(message.sequence))).unwrap();
                let errors: Vec<u8> = datagram.iter().flat_map(|&its| {
                    error(NlmF::CAPPED, its, if its == 5 { 0 } else { libc::EPERM }, 32, &[])
                }).collect();
                acks.take(&errors).unwrap();
            }
            prop_assert_eq!(dump.items, vec![5; of(5)]);
            prop_assert!(!dump.interrupted && !dump.done);
            prop_assert_eq!(acks.answers, [(of(5) > 0).then_some(Ok(()))]);
        }
    }
}
