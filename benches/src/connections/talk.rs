//! Both ends of a conversation: one asks, the other answers.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use crate::machine;

/// Where both ends run.
const CPU: usize = 1;
/// A question and an answer are as long.
const LENGTH: usize = 64;
/// Begins a question after whose answer the connection is over.
const LAST: u8 = b'.';
/// Begins any other.
const MORE: u8 = b',';
/// Begins the question after which nobody calls any more.
const GOODBYE: u8 = b'!';

/// The end that answers.
pub(super) struct Listener(TcpListener);

impl Listener {
    /// In the calling thread's namespace.
    pub(super) fn open(port: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port));
        listener.map(Self).with_context(|| format!("listening on port {port}"))
    }

    /// Answers whoever calls, while `call` runs; that has to say [`GOODBYE`].
    pub(super) fn answer<T: Send>(self, call: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        thread::scope(|scope| {
            scope.spawn(move || {
                // One connection that breaks is its caller's to tell.
                let _ = machine::pin(CPU);
                while let Ok((stream, _)) = self.0.accept() {
                    if matches!(answer_all(stream), Ok(GOODBYE)) {
                        break;
                    }
                }
            });
            call()
        })
    }
}

/// Answers every question; tells how the last one began.
fn answer_all(mut stream: TcpStream) -> std::io::Result<u8> {
    stream.set_nodelay(true)?;
    let mut text = [0; LENGTH];
    loop {
        match stream.read_exact(&mut text) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(LAST),
            result => result?,
        }
        stream.write_all(&text)?;
        if text[0] != MORE {
            // Closing first, it is this end that remembers the connection for a minute, not the caller's port.
            return Ok(text[0]);
        }
    }
}

/// How long answers took, sorted, in nanoseconds.
pub(super) struct Answers(Vec<u64>);

impl Answers {
    fn of(mut nanoseconds: Vec<u64>) -> Self {
        nanoseconds.sort_unstable();
        Self(nanoseconds)
    }

    /// In microseconds: so many of a hundred took no longer.
    pub(super) fn quantile(&self, percent: usize) -> f64 {
        let last = self.0.len().saturating_sub(1);
        self.0.get(last * percent / 100).map_or(f64::NAN, |&nanoseconds| nanoseconds as f64 / 1000.0)
    }
}

/// Connects, asks and closes over and over, then asks over one connection: connections a second, and the answers.
pub(super) fn call(to: SocketAddr, time: Duration) -> Result<(f64, Answers)> {
    machine::pin(CPU)?;
    // Nobody listens before the first packets, of which some are slower.
    let result = short(to, time / 10).and_then(|_| Ok((short(to, time)?, long(to, time)?)));
    ask(&mut open(to)?, GOODBYE)?;
    result
}

fn short(to: SocketAddr, time: Duration) -> Result<f64> {
    let (start, mut count) = (Instant::now(), 0);
    while start.elapsed() < time {
        let mut stream = open(to)?;
        ask(&mut stream, LAST)?;
        // Its end, so that this end closes second.
        let _ = stream.read(&mut [0])?;
        count += 1;
    }
    Ok(f64::from(count) / start.elapsed().as_secs_f64())
}

fn long(to: SocketAddr, time: Duration) -> Result<Answers> {
    let mut stream = open(to)?;
    let (start, mut times) = (Instant::now(), Vec::new());
    while start.elapsed() < time {
        let asked = Instant::now();
        ask(&mut stream, MORE)?;
        times.push(asked.elapsed().as_nanos() as u64);
    }
    Ok(Answers::of(times))
}

fn open(to: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(to).with_context(|| format!("connecting to {to}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn ask(stream: &mut TcpStream, first: u8) -> Result<()> {
    let mut text = [0; LENGTH];
    text[0] = first;
    stream.write_all(&text).context("asking")?;
    stream.read_exact(&mut text).context("waiting for the answer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_sorted_answers() {
        let answers = Answers::of((1..=101).rev().map(|n| n * 1000).collect());
        assert_eq!([0, 50, 99, 100].map(|percent| answers.quantile(percent)), [1.0, 51.0, 100.0, 101.0]);
        assert!(Answers::of(Vec::new()).quantile(50).is_nan());
    }

    #[test]
    fn both_ends_understand_each_other() {
        let listener = Listener::open(0).unwrap();
        let to = SocketAddr::from(([127, 0, 0, 1], listener.0.local_addr().unwrap().port()));
        let (rate, answers) = listener.answer(|| call(to, Duration::from_millis(20))).unwrap();
        assert!(rate > 0.0 && answers.quantile(50) > 0.0);
    }
}
