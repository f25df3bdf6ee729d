//! A client that sends a thousand datagrams a second to somebody who sends each back.

use std::{
    fs,
    time::{Duration, Instant},
};

use netctl_tests::lab::{Ns, Server, eventually};

const ECHO: &str = "
import socket
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.bind(('::', 7000))
while True: s.sendto(*s.recvfrom(2000))
";

/// For as long as the file is there; then tells how many were not answered.
const TALK: &str = "
import errno, os, select, socket, sys, time
host, length, go_on = sys.argv[1], int(sys.argv[2]), sys.argv[3]
v6 = ':' in host
s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(*((41, 23) if v6 else (0, 10)), 2)
s.connect((host, 7000))
s.setblocking(False)
sent, answered, due = 0, set(), time.monotonic()
def hear(patience):
    while select.select([s], [], [], patience)[0]:
        try: answered.add(int(s.recv(2000)))
        except BlockingIOError: continue
        except OSError as error: print('error', errno.errorcode[error.errno], flush=True); continue
        print(len(answered), flush=True)
while os.path.exists(go_on):
    try: s.send(b'%0*d' % (length, sent))
    except OSError as error:
        print('too long' if error.errno == errno.EMSGSIZE else error, flush=True)
        time.sleep(0.1)
    sent += 1; due += 0.001
    hear(max(0, due - time.monotonic()))
hear(1)
print('lost', sent - len(answered), flush=True)
";

/// Sends back what comes to port 7000.
#[must_use]
pub(super) fn echo(at: Ns<'_>) -> Server<'_> {
    at.serve(7000, "python3", ["-c", ECHO])
}

pub(super) struct Talk<'a> {
    client: Server<'a>,
    go_on: tempfile::TempPath,
}

impl<'a> Talk<'a> {
    /// With datagrams of so many bytes, that nobody may take apart; they are answered already.
    #[track_caller]
    pub(super) fn start(at: Ns<'a>, server: &str, length: u16) -> Self {
        let go_on = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        let words = ["-c", TALK, server, &length.to_string(), go_on.to_str().unwrap()];
        let mut talk = Self { client: at.start("python3", words), go_on };
        talk.goes_on(10);
        talk
    }

    /// So many more are answered.
    #[track_caller]
    pub(super) fn goes_on(&mut self, more: usize) {
        let before = self.answered();
        eventually(&format!("{} hears {more} answers more", self.client.command()), || {
            self.client.assert_alive();
            self.answered() >= before + more
        });
    }

    /// Waits until nothing is answered any more; tells when the last answer came.
    #[track_caller]
    pub(super) fn falls_silent(&mut self) -> Instant {
        const SILENCE: Duration = Duration::from_millis(500);
        let (mut heard, mut last) = (self.answered(), Instant::now());
        eventually(&format!("{} hears nothing", self.client.command()), || {
            let now = self.answered();
            if now != heard {
                (heard, last) = (now, Instant::now());
            }
            last.elapsed() > SILENCE
        });
        last
    }

    /// It has said this.
    #[track_caller]
    pub(super) fn wait_for(&mut self, words: &str) {
        self.client.wait_for(words);
    }

    /// Ends it: everything was answered.
    #[track_caller]
    pub(super) fn end_without_loss(self) {
        fs::remove_file(&self.go_on).unwrap();
        let said = self.client.finish().success();
        assert_eq!(said.stdout().lines().last(), Some("lost 0"), "{said}");
    }

    fn answered(&self) -> usize {
        let is_number = |line: &str| !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit());
        self.client.log().lines().filter(|line| is_number(line)).count()
    }
}
