//! POSTs that want no answer: notifications, and the host's answers to the workspace.

use super::Bridge;
use super::ids::Era;
use super::retry::rpc_error;
use super::task::{Lane, NoticeKind, Purpose, Task};
use crate::failure::Failure;
use crate::log::Level;
use crate::proto::http::response::ResponseHead;
use crate::proto::jsonrpc::{self, Kind, Parsed};

impl Bridge {
    #[allow(
        clippy::too_many_arguments,
        reason = "the parts of a notice and of its refusal"
    )]
    pub(super) fn notice_refused(
        &mut self,
        kind: NoticeKind,
        era: Era,
        message: Vec<u8>,
        retries: u8,
        session: u32,
        head: &ResponseHead,
        body: &[u8],
    ) {
        let refusal = self.refusal(head, body);
        if head.status == 429
            && retries < self.config.limits.retries_max
            && self.close_gate(&refusal).is_some()
        {
            let purpose = Purpose::Notice {
                kind,
                era,
                message,
                retries: retries + 1,
            };
            self.gate.notices.push(purpose);
            return;
        }
        if kind == NoticeKind::Other
            && era == Era::Legacy
            && self.is_session_loss(session, head.status, rpc_error(body, "").as_ref())
        {
            // What it spoke of is gone with the session.
            return self.lose_session(session);
        }
        self.notice_failed(kind, era, message, retries, Failure::Status(refusal));
    }

    pub(super) fn notice_failed(
        &mut self,
        kind: NoticeKind,
        era: Era,
        message: Vec<u8>,
        retries: u8,
        failure: Failure,
    ) {
        let origin = self.config.endpoint.origin();
        let words = failure.words(&origin);
        match kind {
            // `initialized` may be repeated; without it the session would stay closed for ever.
            NoticeKind::Initialized
                if failure.is_transient()
                    && retries < self.config.limits.retries_max
                    && !self.ending.is_over() =>
            {
                let purpose = Purpose::Notice {
                    kind,
                    era,
                    message,
                    retries: retries + 1,
                };
                self.start(Task::new(purpose, Lane::Urgent));
            }
            NoticeKind::Initialized => {
                self.log(Level::Warn, || {
                    format!("notifications/initialized was not accepted: {words}")
                });
                self.notice_accepted(kind);
            }
            NoticeKind::Other => {
                let what = match jsonrpc::parse(&message) {
                    Ok(Parsed::One(m)) if m.kind == Kind::Notification => m.method.into_owned(),
                    _ => "an answer of the host".to_owned(),
                };
                self.log(Level::Warn, || {
                    format!("{what} could not be delivered: {words}")
                });
            }
        }
    }

    pub(super) fn notice_accepted(&mut self, kind: NoticeKind) {
        match kind {
            NoticeKind::Initialized => self.session_ready(),
            NoticeKind::Other => {}
        }
    }
}
