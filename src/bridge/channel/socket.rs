//! The pushing side of a channel: its WebSocket opens, speaks, falls silent, and is opened again.

use super::{Channels, Event, Push, Timer};
use crate::bridge::context::Context;
use crate::bridge::http::{self, Deadline, Http, Owner, Priority, Repeat};
use crate::bridge::ids::Subject;
use crate::failure::Failure;
use crate::log::Level;
use crate::proto::http::request::{HeaderLines, Method};
use crate::proto::http::response::ResponseHead;
use crate::proto::ws::{self, Frame, WebSocket};
use std::time::Duration;

impl Channels {
    /// Opens the socket if one may be had.
    pub(super) fn open_socket(&mut self, ctx: &mut Context, http: &mut Http, subject: Subject) {
        let full = self.approval_sockets >= ctx.limits().approval_sockets_max;
        let ending = ctx.phase().is_ending();
        let Some(channel) = self.channels.get_mut(&subject) else {
            return;
        };
        if !matches!(channel.push, Push::Closed) {
            return;
        }
        match subject {
            Subject::Chat if ending => return,
            Subject::Approval(_) if full => {
                self.without_socket.insert(subject, ());
                return;
            }
            Subject::Approval(_) => self.approval_sockets += 1,
            Subject::Chat => {}
        }
        self.without_socket.remove(&subject);
        let random = ctx.random();
        let seed = (u128::from(random.next()) << 64) | u128::from(random.next());
        let key = ws::key(seed.to_be_bytes());
        let mut headers = HeaderLines::default();
        ws::write_upgrade(&mut headers, &key);
        // Messages for one bridge find it by this.
        headers.add("X-Aerostack-Bridge-Id", ctx.peers().bridge_id());
        let kind = (Priority::Stream, Repeat::Harmless);
        let request = http::Request {
            target: Some(channel.url.clone()),
            upgrade: true,
            ..http::Request::new(Owner::Channel, Method::Get, headers, kind)
        };
        let deadline = Deadline::Within(ctx.limits().upgrade_timeout);
        let exchange = http.send(ctx, request, deadline);
        channel.push = Push::Opening { exchange, key };
        self.exchanges.insert(exchange, subject);
    }

    /// A place has become free: the approval that has waited longest gets it.
    pub(super) fn open_waiting(&mut self, ctx: &mut Context, http: &mut Http) {
        if self.approval_sockets < ctx.limits().approval_sockets_max
            && let Some((next, ())) = self.without_socket.first()
        {
            self.open_socket(ctx, http, *next);
        }
    }

    /// The socket of a channel is of no use any more.
    pub(super) fn close_socket(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        subject: Subject,
        push: Push,
    ) {
        let exchange = match push {
            Push::Closed | Push::Pausing => return,
            Push::Opening { exchange, .. } => exchange,
            Push::Open {
                exchange,
                mut socket,
                ..
            } => {
                socket.close();
                if let Some(bytes) = socket.take_output() {
                    http.write(ctx, exchange, bytes);
                }
                exchange
            }
        };
        ctx.stop(Timer::Ping(subject));
        // The shell flushes what was queued; the peer's own close is not waited for.
        http.abort(ctx, exchange);
        self.exchanges.remove(&exchange);
        if subject != Subject::Chat {
            self.approval_sockets -= 1;
        }
    }

    pub(super) fn upgraded(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        subject: Subject,
        head: &ResponseHead,
    ) {
        let Some(channel) = self.channels.get_mut(&subject) else {
            return;
        };
        let Push::Opening { exchange, key } = &channel.push else {
            return;
        };
        if let Err(error) = ws::check_upgrade(head, key) {
            ctx.log(Level::Warn, || {
                format!("the WebSocket's handshake is wrong: {error}")
            });
            return self.lost(ctx, http, subject, Some(Failure::Handshake(error)));
        }
        let max_bytes = match subject {
            Subject::Approval(_) => ctx.limits().approval_message_max_bytes,
            Subject::Chat => ctx.limits().chat_message_max_bytes,
        };
        channel.push = Push::Open {
            exchange: *exchange,
            socket: Box::new(WebSocket::new(max_bytes)),
            since: ctx.now(),
            heard: ctx.now(),
        };
        ctx.set(Timer::Ping(subject), ctx.limits().socket_ping);
        ctx.log(Level::Debug, || "a WebSocket is open".to_owned());
        // An approval's state is pushed at once; what was said in the chat before is not.
        if subject == Subject::Chat {
            self.poll_now(ctx, subject);
        }
    }

    pub(super) fn bytes_came(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        subject: Subject,
        bytes: &[u8],
    ) {
        let Some(channel) = self.channels.get_mut(&subject) else {
            return;
        };
        let Push::Open { socket, heard, .. } = &mut channel.push else {
            return;
        };
        *heard = ctx.now();
        socket.feed(bytes);
        loop {
            match socket.next() {
                Ok(Some(Frame::Text(text))) => {
                    self.events.push_back(Event::Pushed(subject, text));
                }
                Ok(Some(Frame::Pong)) => {}
                Ok(None) => return self.flush(ctx, http, subject),
                Ok(Some(Frame::Closed(_))) => break,
                Err(error) => {
                    ctx.log(Level::Warn, || format!("a WebSocket failed: {error}"));
                    break;
                }
            }
        }
        self.flush(ctx, http, subject);
        self.lost(ctx, http, subject, None);
    }

    /// Hands on what the socket has to say, one piece at a time: a peer that does not read must not
    /// fill memory with what is said to it.
    fn flush(&mut self, ctx: &mut Context, http: &mut Http, subject: Subject) {
        let Some(channel) = self.channels.get_mut(&subject) else {
            return;
        };
        if let Push::Open {
            exchange, socket, ..
        } = &mut channel.push
            && let Some(bytes) = socket.take_output()
        {
            http.write(ctx, *exchange, bytes);
        }
    }

    pub(super) fn sent(&mut self, ctx: &mut Context, http: &mut Http, subject: Subject) {
        if let Some(channel) = self.channels.get_mut(&subject)
            && let Push::Open { socket, .. } = &mut channel.push
        {
            socket.sent();
        }
        self.flush(ctx, http, subject);
    }

    /// The socket could not be opened, or dropped: poll at once, and open it again after a pause.
    pub(super) fn lost(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        subject: Subject,
        trouble: Option<Failure>,
    ) {
        let Some(channel) = self.channels.get_mut(&subject) else {
            return;
        };
        channel.trouble = trouble.or(channel.trouble.take());
        if let Push::Open { since, .. } = channel.push {
            // Not by a word alone: a server that says one and closes is asked less and less.
            let lasted = ctx.now().saturating_duration_since(since);
            if lasted >= ctx.limits().socket_ping {
                channel.failures = 0;
            }
        }
        channel.failures = channel.failures.saturating_add(1);
        let pause = backoff(channel.failures);
        let push = std::mem::replace(&mut channel.push, Push::Pausing);
        self.close_socket(ctx, http, subject, push);
        let pause = ctx.random().around(pause, 4);
        ctx.set(Timer::Reconnect(subject), pause);
        self.poll_now(ctx, subject);
        // Its place may be taken meanwhile.
        self.open_waiting(ctx, http);
    }

    /// A sign of life is asked for, or has not come in time.
    pub(super) fn ping(&mut self, ctx: &mut Context, http: &mut Http, subject: Subject) {
        let (every, dead) = (ctx.limits().socket_ping, ctx.limits().socket_dead);
        let Some(channel) = self.channels.get_mut(&subject) else {
            return;
        };
        let Push::Open { socket, heard, .. } = &mut channel.push else {
            return;
        };
        let ends = *heard + dead;
        let left = ends.saturating_duration_since(ctx.now());
        if left.is_zero() {
            ctx.log(Level::Debug, || "a WebSocket fell silent".to_owned());
            return self.lost(ctx, http, subject, None);
        }
        socket.ping();
        ctx.set(Timer::Ping(subject), every.min(left));
        self.flush(ctx, http, subject);
    }
}

/// "Reconnect after 1, 2, 4 … 30 s."
fn backoff(failures: u8) -> Duration {
    let doubled = 1u64 << failures.saturating_sub(1).min(5);
    Duration::from_secs(doubled.min(30))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_half_a_minute() {
        let pauses: Vec<u64> = (1..=8).map(|n| backoff(n).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
    }
}
