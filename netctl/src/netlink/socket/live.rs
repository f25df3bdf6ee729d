//! Sockets against a kernel that changes while it answers, and with next to no room for its answers.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    ops::Range,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use ipnet::IpNet;
use neli::consts::{nl::NlmF, rtnl::Rtm};
use nix::sys::socket::SockProtocol;

use super::{DUMP_TRIES, Socket};
use crate::{
    model::IfName,
    netlink::{
        Error, Request,
        addr::{self, NewAddress},
        family,
        link::{self, Link, NewLink},
    },
    netns::tests::isolated,
};

/// A socket with the smallest receive buffer and no larger reads: the kernel hands a dump out in small pieces, each
/// made when the one before has been read.
fn narrow() -> Socket {
    let mut socket = Socket::with_receive_buffer(SockProtocol::NetlinkRoute, 0).unwrap();
    socket.buffer.truncate(16);
    socket
}

fn execute(socket: &mut Socket, requests: Vec<Request>) {
    for answer in socket.execute(requests).unwrap() {
        answer.unwrap();
    }
}

/// The loopback's addresses of these numbers.
fn addresses(numbers: Range<u32>) -> impl Iterator<Item = IpNet> {
    numbers.map(|number| format!("10.0.{}.{}/32", number / 250, number % 250).parse().unwrap())
}

fn add(address: IpNet) -> Request {
    addr::add(&NewAddress::of(1, address))
}

fn delete(address: IpNet) -> Request {
    addr::delete(1, address)
}

/// Dumps the addresses, calling `meanwhile` with the count of the answers that were read before.
fn dump_while(socket: &mut Socket, mut meanwhile: impl FnMut(u32)) -> Result<Vec<IpNet>, Error> {
    let (read, meanwhile) = (Cell::new(0), RefCell::new(&mut meanwhile));
    family::dump::<8, _>(socket, Rtm::Getaddr, |message| {
        (*meanwhile.borrow_mut())(read.replace(read.get() + 1));
        Ok(addr::parse(message)?.map(|its| its.address))
    })
}

#[test]
fn a_dump_that_changes_under_way_is_taken_again() {
    isolated(|| {
        let (mut asking, mut changing) = (narrow(), Socket::open().unwrap());
        execute(&mut changing, addresses(0..1000).map(add).collect());
        let mut reads = 0;
        let listed = dump_while(&mut asking, |read| {
            reads = read + 1;
            if read == 0 {
                execute(&mut changing, addresses(1000..1001).map(add).collect());
            }
        });
        let listed: BTreeSet<_> = listed.unwrap().into_iter().collect();
        assert_eq!(listed, addresses(0..1001).collect());
        assert!(reads > 1001, "{reads} addresses were read, so the dump was taken once");
    });
}

#[test]
fn a_dump_that_loses_its_tail_under_way_is_taken_again() {
    isolated(|| {
        let (mut asking, mut changing) = (narrow(), Socket::open().unwrap());
        execute(&mut changing, addresses(0..1000).map(add).collect());
        // What is left has fewer addresses than have been read already: the kernel finds no more of them to mark as
        // interrupted.
        let listed = dump_while(&mut asking, |read| {
            if read == 0 {
                execute(&mut changing, addresses(0..995).map(delete).collect());
            }
        });
        assert_eq!(listed.unwrap(), addresses(995..1000).collect::<Vec<_>>());
    });
}

#[test]
fn a_dump_that_never_comes_out_consistent_says_so() {
    isolated(|| {
        let (mut asking, mut changing) = (narrow(), Socket::open().unwrap());
        execute(&mut changing, addresses(0..300).map(add).collect());
        let extra = addresses(1000..1001).next().unwrap();
        let failure = dump_while(&mut asking, |read| {
            if read % 50 == 0 {
                execute(&mut changing, vec![add(extra), delete(extra)]);
            }
        });
        let error = failure.unwrap_err();
        assert!(matches!(error, Error::DumpInterrupted { tries: DUMP_TRIES }), "{error}");
        assert_eq!(addr::dump(&mut asking).unwrap().len(), 300, "and the socket is usable");
    });
}

fn name(kind: &str, number: usize) -> IfName {
    format!("{kind}{number}").parse().unwrap()
}

/// Stops the other thread also when this one panics.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Makes a link with an address and deletes it, again and again until told to stop.
fn churn(socket: &mut Socket, stop: &AtomicBool) {
    let passing = name("passing", 0);
    let index = 1000;
    let new = link::create_bridge(&NewLink { index: Some(index), ..NewLink::named(&passing) });
    let address = "10.9.0.1/24".parse().unwrap();
    let address = addr::add(&NewAddress::of(index, address));
    while !stop.load(Ordering::Relaxed) {
        execute(socket, vec![new.clone(), address.clone(), link::delete(index)]);
    }
}

/// A link dump, and whether it took more than one try.
fn dump_links(socket: &mut Socket) -> (Vec<Link>, bool) {
    let read = Cell::new(0);
    let links = socket.dump(Request::new(Rtm::Getlink, NlmF::DUMP, &[0; 16]), |message| {
        read.set(read.get() + 1);
        link::parse(message)
    });
    let links = links.unwrap();
    let again = read.get() > links.len();
    (links, again)
}

#[test]
fn what_stays_is_once_in_every_dump_whatever_comes_and_goes_meanwhile() {
    const STAYING: usize = 120;
    const DUMPS: usize = 50;
    isolated(|| {
        let (mut asking, mut changing) = (narrow(), Socket::open().unwrap());
        let bridge = |number| link::create_bridge(&NewLink::named(&name("staying", number)));
        execute(&mut changing, (0..STAYING).map(bridge).collect());
        let staying: BTreeSet<_> = (0..STAYING).map(|number| name("staying", number).to_string()).collect();
        let stop = AtomicBool::new(false);
        let deadline = Instant::now() + Duration::from_secs(20);
        thread::scope(|scope| {
            scope.spawn(|| churn(&mut changing, &stop));
            let _stopped = StopOnDrop(&stop);
            let (mut dumps, mut again) = (0, 0);
            while dumps < DUMPS || again == 0 {
                assert!(Instant::now() < deadline, "{dumps} dumps, {again} of them taken again");
                let (links, more_than_once) = dump_links(&mut asking);
                dumps += 1;
                again += usize::from(more_than_once);
                let names: BTreeSet<_> = links.iter().map(|link| link.name.clone()).collect();
                let indexes: BTreeSet<_> = links.iter().map(|link| link.index).collect();
                assert_eq!(indexes.len(), links.len(), "one is listed twice: {links:?}");
                assert!(names.is_superset(&staying), "one is missing: {names:?}");
            }
        });
    });
}

#[test]
fn no_answer_is_lost_however_small_the_receive_buffer_is() {
    isolated(|| {
        for bytes in [0, 4_000, 10_000, 50_000] {
            let mut socket = Socket::with_receive_buffer(SockProtocol::NetlinkRoute, bytes).unwrap();
            let br0 = "br0".parse().unwrap();
            // Refusals with a text and an offset are the longest answers.
            let request = |number| link::set_mtu(&br0, if number % 2 == 0 { 1_000_000 } else { 1500 });
            if bytes == 0 {
                execute(&mut socket, vec![link::create_bridge(&NewLink::named(&br0))]);
            }
            let answers = socket.execute((0..500).map(request).collect()).unwrap();
            let refused: Vec<_> = answers.iter().map(Result::is_err).collect();
            assert_eq!(refused, [true, false].repeat(250), "{bytes} bytes");
        }
    });
}
