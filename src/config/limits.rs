//! Every limit and interval of the program, each with its reason. Nothing else in the program may
//! hold a number that bounds memory or time.

use std::time::Duration;

/// The limits of one process. `Default` is what users get; tests make some of them small.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The longest line from the host. 64 MiB: ten times what any host's own reader takes.
    pub line_max_bytes: usize,
    /// The longest single message from the network (a JSON body, an SSE event). As for lines.
    pub message_max_bytes: usize,
    /// An HTTP response head. Node's default is 16 KiB; cookies of front ends can be long.
    pub head_max_bytes: usize,
    /// An error page that is quoted in a message: more would not help anybody.
    pub error_body_max_bytes: usize,
    /// Requests of the host that may be in the works before stdin is no longer read.
    pub requests_max: usize,
    /// The one budget over everything that waits, whatever it is: messages of the host, replies that
    /// are not complete, lines for stdout, bytes of WebSockets. Past it, the source that fills it is
    /// not read. One message of `message_max_bytes` always fits beyond it.
    pub held_max_bytes: usize,
    /// Bytes queued for stdout before the network is no longer read. A whole message always fits.
    pub stdout_high_bytes: usize,
    /// While the budget is used up, a reply that has come this far waits for its turn; smaller ones are
    /// read all the same. So many of them, one for each connection, are 8 MiB.
    pub small_reply_bytes: usize,
    /// A large reply that has made no progress for so long loses its turn.
    pub stalled_after: Duration,
    /// Open connections for calls; further calls queue. Long-lived streams are not counted.
    pub connections_max: usize,
    /// Connections beyond `connections_max` for what must never queue behind calls: answers,
    /// notifications, cancels, pings, our own requests.
    pub connections_reserve: usize,
    /// Long-lived streams at once: subscriptions, event streams, WebSockets.
    pub streams_max: usize,
    /// Idle connections that are kept; more than the usual burst of an agent only cost memory.
    pub idle_max: usize,
    /// How long surplus idle connections wait for the next burst.
    pub idle_surplus: Duration,
    /// How long any idle connection is kept. Most servers close at 60 s or more, Node after 5 s.
    pub idle_age: Duration,
    /// The oldest idle connection that a call which must not run twice may use, unless the server's
    /// Keep-Alive promises another time. gunicorn closes after 2 s, Node after 5 s; a request that
    /// meets the close on its way is lost.
    pub idle_fresh: Duration,
    /// Name lookup and TCP handshake together.
    pub connect_timeout: Duration,
    /// TLS handshake.
    pub tls_timeout: Duration,
    /// HTTP CONNECT through a proxy.
    pub proxy_timeout: Duration,
    /// `server/discover`: the era probe must be answered quickly (MCP).
    pub discover_timeout: Duration,
    /// The gateway's own requests, notifications and the host's answers.
    pub control_timeout: Duration,
    /// How long a stream stays open after its answer, for late notifications.
    pub linger: Duration,
    /// An `initialize` without answer after this is answered by the gateway itself.
    pub initialize_patience: Duration,
    /// `initialized` counts as accepted after this, should its server never answer it.
    pub initialized_timeout: Duration,
    /// How long an answer may take that is to come on the session's event stream.
    pub elsewhere: Duration,
    /// An answer that takes longer than this is worth a spare connection for what follows it.
    pub warm_after: Duration,
    /// A session that is lost again sooner than this is not opened again.
    pub reopen_pause: Duration,
    /// The longest pause between attempts while the workspace is away.
    pub outage_pause_max: Duration,
    /// A legacy cancel follows its request after this pause: on another connection it could overtake
    /// it.
    pub cancel_pause: Duration,
    /// The pause before the first repeat of a request, doubled for each further one.
    pub retry_pause: Duration,
    /// Repeats of a request that may be replayed, after 5xx or a failed connection.
    pub retries_max: u8,
    /// The longest Retry-After that is waited out.
    pub rate_limit_wait_max: Duration,
    /// How often one request waits for the rate limit.
    pub rate_limit_rounds: u8,
    /// The same where the limiter names no moment, and the first of those pauses; they double.
    pub rate_limit_guesses: u8,
    /// See `rate_limit_guesses`.
    pub rate_limit_guess: Duration,
    /// Redirects followed for one request.
    pub redirects_max: u8,
    /// Where a server gives no `retry`, the pause before an event stream is opened again.
    pub stream_retry: Duration,
    /// The longest such pause.
    pub stream_retry_max: Duration,
    /// Before any event stream is opened again, whatever `retry` its server asks for: its zero is not
    /// ours.
    pub reconnect_min: Duration,
    /// The longest `retry` that is respected.
    pub reconnect_max: Duration,
    /// Resumptions of one request's stream without any event in between.
    pub resumes_max: u8,
    /// Approvals with a WebSocket of their own; beyond, the poll serves.
    pub approval_sockets_max: usize,
    /// The longest message on an approval's socket: 64 sockets hold at most 64 MiB together. A larger
    /// outcome is fetched by the poll.
    pub approval_message_max_bytes: usize,
    /// The longest message on the chat's socket.
    pub chat_message_max_bytes: usize,
    /// A WebSocket's upgrade, from its connection on.
    pub upgrade_timeout: Duration,
    /// Between pings on a WebSocket.
    pub socket_ping: Duration,
    /// Silence after which a WebSocket counts as dead.
    pub socket_dead: Duration,
    /// Between polls of what a WebSocket should have told.
    pub safety_poll: Duration,
    /// Between progress notifications of a waiting call.
    pub progress_every: Duration,
    /// How long an approval stays open after its host gave up.
    pub detached: Duration,
    /// Approvals that stay open so; the oldest is withdrawn for one more.
    pub detached_max: usize,
    /// How long the last question after an approval's time may take.
    pub expiry_grace: Duration,
    /// Chat messages kept for context.
    pub chat_messages_max: usize,
    /// Bytes of such messages, and of one message that is sent.
    pub chat_max_bytes: usize,
    /// The longest `wait` of the chat tool.
    pub chat_wait_max: Duration,
    /// The longest without progress notifications: hosts give up after 60 s.
    pub chat_wait_quiet: Duration,
    /// Resource subscriptions remembered for a session that is opened again.
    pub subscriptions_max: usize,
    /// stdin has ended: how long answers in flight are still waited for (`--drain-timeout`). Hosts
    /// send SIGTERM two seconds after they closed stdin.
    pub drain: Duration,
    /// Headers of the person's own, and their bytes: servers refuse heads beyond 8 to 16 KiB.
    pub headers_max: usize,
    /// See `headers_max`.
    pub headers_max_bytes: usize,
    /// A settings file (`--env-file`); two lines are usual.
    pub settings_file_max_bytes: usize,
    /// The log file's size at which it becomes `.1` and a new one is begun: both together are what a
    /// person reads through.
    pub log_file_max_bytes: u64,
    /// Settings are wrong and nobody asks yet: how long the host's first request is waited for.
    pub refusal_patience: Duration,
    /// The longest such request.
    pub refusal_line_max_bytes: usize,
    /// SIGTERM: as `drain`.
    pub drain_terminated: Duration,
    /// After that: cancelling approvals, DELETE of the session, `offline`.
    pub farewell: Duration,
}

impl Limits {
    /// While stdin is not read for want of memory, no large reply has made progress for so long: one
    /// of them fails, so that the host is heard again. Half a minute.
    pub fn stalled_max(&self) -> Duration {
        self.stalled_after * 15
    }

    /// Of the budget over everything, what requests may hold that wait for a person: that may take an hour,
    /// and the host must be heard meanwhile. Past it a request is refused; one always waits.
    pub fn gated_max_bytes(&self) -> usize {
        self.held_max_bytes / 2
    }

    /// The pause before an event stream is opened again whose server asked for this `retry`.
    pub fn reconnect_pause(&self, retry_ms: u64) -> Duration {
        Duration::from_millis(retry_ms).clamp(self.reconnect_min, self.reconnect_max)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line_max_bytes: 64 << 20,
            message_max_bytes: 64 << 20,
            head_max_bytes: 64 << 10,
            error_body_max_bytes: 64 << 10,
            requests_max: 4_096,
            held_max_bytes: 32 << 20,
            stdout_high_bytes: 1 << 20,
            small_reply_bytes: 64 << 10,
            stalled_after: Duration::from_secs(2),
            connections_max: 128,
            connections_reserve: 64,
            streams_max: 256,
            idle_max: 16,
            idle_surplus: Duration::from_secs(1),
            idle_age: Duration::from_secs(55),
            idle_fresh: Duration::from_millis(1_500),
            connect_timeout: Duration::from_secs(10),
            tls_timeout: Duration::from_secs(10),
            proxy_timeout: Duration::from_secs(10),
            discover_timeout: Duration::from_millis(2_500),
            control_timeout: Duration::from_secs(30),
            linger: Duration::from_secs(5),
            initialize_patience: Duration::from_secs(3),
            initialized_timeout: Duration::from_secs(5),
            elsewhere: Duration::from_secs(3_600),
            warm_after: Duration::from_millis(5),
            reopen_pause: Duration::from_secs(10),
            outage_pause_max: Duration::from_secs(30),
            cancel_pause: Duration::from_millis(25),
            retry_pause: Duration::from_millis(100),
            retries_max: 3,
            rate_limit_wait_max: Duration::from_secs(30),
            rate_limit_rounds: 8,
            rate_limit_guesses: 2,
            rate_limit_guess: Duration::from_secs(1),
            redirects_max: 3,
            stream_retry: Duration::from_secs(1),
            stream_retry_max: Duration::from_secs(30),
            reconnect_min: Duration::from_millis(500),
            reconnect_max: Duration::from_secs(86_400),
            resumes_max: 5,
            approval_sockets_max: 64,
            approval_message_max_bytes: 256 << 10,
            chat_message_max_bytes: 1 << 20,
            upgrade_timeout: Duration::from_secs(20),
            socket_ping: Duration::from_secs(20),
            socket_dead: Duration::from_secs(50),
            safety_poll: Duration::from_secs(30),
            progress_every: Duration::from_secs(15),
            detached: Duration::from_secs(600),
            detached_max: 4_096,
            expiry_grace: Duration::from_secs(5),
            chat_messages_max: 200,
            chat_max_bytes: 64 << 10,
            chat_wait_max: Duration::from_secs(300),
            chat_wait_quiet: Duration::from_secs(50),
            subscriptions_max: 1_024,
            headers_max: 32,
            headers_max_bytes: 8 << 10,
            settings_file_max_bytes: 64 << 10,
            log_file_max_bytes: 4 << 20,
            refusal_patience: Duration::from_secs(10),
            refusal_line_max_bytes: 1 << 20,
            drain: Duration::from_secs(3),
            drain_terminated: Duration::from_millis(900),
            farewell: Duration::from_millis(900),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers that a person can notice or was promised, once in plain figures: other tests take
    /// theirs from the limits, and would follow any change.
    #[test]
    fn the_promised_numbers() {
        let limits = Limits::default();
        let check = |name: &str, ours: Duration, millis: u128| {
            assert_eq!(ours.as_millis(), millis, "{name}");
        };
        check("a name and a connection", limits.connect_timeout, 10_000);
        check("TLS", limits.tls_timeout, 10_000);
        check("a proxy", limits.proxy_timeout, 10_000);
        check("server/discover", limits.discover_timeout, 2_500);
        check("requests of ours", limits.control_timeout, 30_000);
        check("a late notification", limits.linger, 5_000);
        check("an own initialize", limits.initialize_patience, 3_000);
        check("Node closes after 5 s", limits.idle_fresh, 1_500);
        check("others close after 60 s", limits.idle_age, 55_000);
        check("a burst is over", limits.idle_surplus, 1_000);
        check("a Retry-After", limits.rate_limit_wait_max, 30_000);
        check("a stream again", limits.stream_retry, 1_000);
        check("at most", limits.stream_retry_max, 30_000);
        check("an upgrade", limits.upgrade_timeout, 20_000);
        check("pings", limits.socket_ping, 20_000);
        check("a dead socket", limits.socket_dead, 50_000);
        check("the approval's poll", limits.safety_poll, 30_000);
        check("progress", limits.progress_every, 15_000);
        check("an approval without a host", limits.detached, 600_000);
        check("after an approval's time", limits.expiry_grace, 5_000);
        check("chat", limits.chat_wait_max, 300_000);
        check("hosts give up after 60 s", limits.chat_wait_quiet, 50_000);
        check("wrong settings", limits.refusal_patience, 10_000);
        check("the end of stdin", limits.drain, 3_000);
        // Hosts send SIGKILL two seconds after SIGTERM: both together are shorter.
        check("SIGTERM", limits.drain_terminated, 900);
        check("the farewell", limits.farewell, 900);
        check("initialized", limits.initialized_timeout, 5_000);
        check("an answer elsewhere", limits.elsewhere, 3_600_000);
        check("a session again", limits.reopen_pause, 10_000);
        check("while it is away", limits.outage_pause_max, 30_000);
        check("a repeat", limits.retry_pause, 100);
        check("a cancel", limits.cancel_pause, 25);
        check("a stalled reply", limits.stalled_after, 2_000);
        check("a limiter without a moment", limits.rate_limit_guess, 1_000);
    }

    /// As above, of what is counted.
    #[test]
    fn the_promised_counts() {
        let limits = Limits::default();
        let check = |name: &str, ours: usize, expect: usize| assert_eq!(ours, expect, "{name}");
        check("a line", limits.line_max_bytes, 67_108_864);
        check("a message", limits.message_max_bytes, 67_108_864);
        check("a head", limits.head_max_bytes, 65_536);
        check("an error page", limits.error_body_max_bytes, 65_536);
        check("requests", limits.requests_max, 4_096);
        check("stdout", limits.stdout_high_bytes, 1_048_576);
        check("all that waits", limits.held_max_bytes, 33_554_432);
        check("for a person", limits.gated_max_bytes(), 16_777_216);
        check("a small reply", limits.small_reply_bytes, 65_536);
        check("connections", limits.connections_max, 128);
        check("beside calls", limits.connections_reserve, 64);
        check("streams", limits.streams_max, 256);
        check("idle connections", limits.idle_max, 16);
        check("repeats", usize::from(limits.retries_max), 3);
        check("rate limits", usize::from(limits.rate_limit_rounds), 8);
        check("redirects", usize::from(limits.redirects_max), 3);
        check("resumptions", usize::from(limits.resumes_max), 5);
        check("approvals' sockets", limits.approval_sockets_max, 64);
        check("their messages", limits.approval_message_max_bytes, 262_144);
        check("approvals without a host", limits.detached_max, 4_096);
        check("chat's message", limits.chat_message_max_bytes, 1_048_576);
        check("chat's messages", limits.chat_messages_max, 200);
        check("chat's bytes", limits.chat_max_bytes, 65_536);
        check("subscriptions", limits.subscriptions_max, 1_024);
        check("headers", limits.headers_max, 32);
        check("headers' bytes", limits.headers_max_bytes, 8_192);
        check("a settings file", limits.settings_file_max_bytes, 65_536);
        assert_eq!(limits.log_file_max_bytes, 4_194_304, "the log file");
    }

    /// The promised numbers: no server makes the gateway come back more than twice a second, or
    /// never.
    #[test]
    fn a_servers_retry_is_kept_within_bounds() {
        let pause = |retry_ms| Limits::default().reconnect_pause(retry_ms).as_millis();
        assert_eq!(pause(0), 500);
        assert_eq!(pause(499), 500);
        assert_eq!(pause(700), 700);
        assert_eq!(pause(10_000), 10_000);
        assert_eq!(pause(u64::MAX), 86_400_000);
    }
}
