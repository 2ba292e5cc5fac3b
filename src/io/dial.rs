//! Happy eyeballs (RFC 8305): which address to try when.
//!
//! Owns the order of the addresses and the delay between attempts. It is pure: it must never hold
//! a socket or a clock; `now` is an argument, and the owner of the sockets says what became of them.

use crate::proto::transport::CloseCause;
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// RFC 8305 section 5: "a recommended value for a default delay is 250 milliseconds".
pub(crate) const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// More addresses than this are not tried: each needs its share of ten seconds.
pub(crate) const ATTEMPTS_MAX: usize = 8;

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Open a connection to this address; more may be due at once.
    Start(SocketAddr),
    /// Nothing until an attempt ends or this time comes (`None`: only an attempt's end).
    Wait(Option<Instant>),
    /// Every address has failed; the cause is the most telling one.
    Failed(CloseCause),
}

/// The dialling of one host.
#[derive(Debug)]
pub(crate) struct Dial {
    /// Not yet tried.
    waiting: VecDeque<SocketAddr>,
    /// Attempts that have neither failed nor won.
    in_flight: usize,
    /// When the next attempt may start while others are in flight.
    next_at: Instant,
    error: Option<CloseCause>,
}

impl Dial {
    /// Dials these addresses, in the resolver's order but families interleaved, IPv6 first.
    pub(crate) fn new(addresses: &[SocketAddr], now: Instant) -> Self {
        Self {
            waiting: interleave(addresses),
            in_flight: 0,
            next_at: now,
            error: None,
        }
    }

    /// The next step. Call again after `Start`.
    pub(crate) fn poll(&mut self, now: Instant) -> Step {
        if self.waiting.is_empty() {
            return match self.in_flight {
                0 => Step::Failed(self.error.clone().unwrap_or(NO_ADDRESS)),
                _ => Step::Wait(None),
            };
        }
        if self.in_flight > 0 && now < self.next_at {
            return Step::Wait(Some(self.next_at));
        }
        let address = self
            .waiting
            .pop_front()
            .expect("checked above: an address waits");
        self.in_flight += 1;
        self.next_at = now + ATTEMPT_DELAY;
        Step::Start(address)
    }

    /// An attempt has failed: the next one starts at once.
    pub(crate) fn handle_failure(&mut self, cause: CloseCause, now: Instant) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.next_at = now;
        // "No route" of a family that this machine does not have says less than what the other
        // family met.
        if self.error.as_ref().is_none_or(is_unreachable) {
            self.error = Some(cause);
        }
    }
}

const NO_ADDRESS: CloseCause = CloseCause::Io(ErrorKind::AddrNotAvailable);

fn is_unreachable(cause: &CloseCause) -> bool {
    matches!(
        cause,
        CloseCause::Io(
            ErrorKind::NetworkUnreachable
                | ErrorKind::HostUnreachable
                | ErrorKind::AddrNotAvailable
                | ErrorKind::Unsupported
        )
    )
}

/// RFC 8305 section 4: "the first address in the list should be followed by an address of the
/// other address family".
fn interleave(addresses: &[SocketAddr]) -> VecDeque<SocketAddr> {
    let mut sixes = addresses.iter().filter(|address| address.is_ipv6());
    let mut fours = addresses.iter().filter(|address| address.is_ipv4());
    let mut mixed: VecDeque<SocketAddr> = VecDeque::new();
    while mixed.len() < ATTEMPTS_MAX {
        let pair = [sixes.next(), fours.next()];
        if pair == [None, None] {
            break;
        }
        for address in pair.into_iter().flatten() {
            if !mixed.contains(address) && mixed.len() < ATTEMPTS_MAX {
                mixed.push_back(*address);
            }
        }
    }
    mixed
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn families_interleave_sixes_first() {
        let list = addresses(&[
            "1.1.1.1:1",
            "2.2.2.2:1",
            "[::1]:1",
            "3.3.3.3:1",
            "1.1.1.1:1",
        ]);
        let want = addresses(&["[::1]:1", "1.1.1.1:1", "2.2.2.2:1", "3.3.3.3:1"]);
        assert_eq!(interleave(&list), want);
        let many: Vec<SocketAddr> = (1..40)
            .map(|host| SocketAddr::from(([10, 0, 0, host], 1)))
            .collect();
        assert_eq!(interleave(&many).len(), ATTEMPTS_MAX);
    }

    #[test]
    fn a_silent_first_address_gets_250_ms() {
        let list = addresses(&["[::1]:1", "1.1.1.1:1"]);
        let start = Instant::now();
        let mut dial = Dial::new(&list, start);
        assert_eq!(dial.poll(start), Step::Start(list[0]));
        assert_eq!(dial.poll(start), Step::Wait(Some(start + ATTEMPT_DELAY)));
        let later = start + ATTEMPT_DELAY;
        assert_eq!(dial.poll(later), Step::Start(list[1]));
        assert_eq!(dial.poll(later), Step::Wait(None));
    }

    #[test]
    fn a_failure_starts_the_next_at_once() {
        let list = addresses(&["[::1]:1", "1.1.1.1:1"]);
        let now = Instant::now();
        let mut dial = Dial::new(&list, now);
        assert_eq!(dial.poll(now), Step::Start(list[0]));
        dial.handle_failure(CloseCause::Io(ErrorKind::NetworkUnreachable), now);
        assert_eq!(dial.poll(now), Step::Start(list[1]));
        assert_eq!(dial.poll(now), Step::Wait(None));
        dial.handle_failure(CloseCause::Io(ErrorKind::ConnectionRefused), now);
        assert_eq!(
            dial.poll(now),
            Step::Failed(CloseCause::Io(ErrorKind::ConnectionRefused))
        );
    }

    #[test]
    fn the_telling_error_sticks() {
        let list = addresses(&["[::1]:1", "1.1.1.1:1"]);
        let now = Instant::now();
        let mut dial = Dial::new(&list, now);
        dial.poll(now);
        dial.handle_failure(CloseCause::Io(ErrorKind::ConnectionRefused), now);
        dial.poll(now);
        dial.handle_failure(CloseCause::Io(ErrorKind::NetworkUnreachable), now);
        assert_eq!(
            dial.poll(now),
            Step::Failed(CloseCause::Io(ErrorKind::ConnectionRefused))
        );
        assert_eq!(
            Dial::new(&[], now).poll(now),
            Step::Failed(CloseCause::Io(ErrorKind::AddrNotAvailable))
        );
    }
}
