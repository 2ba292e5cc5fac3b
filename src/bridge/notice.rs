//! POSTs that want no answer: notifications, and the host's answers to the workspace.

use super::Bridge;
use super::ids::Era;
use super::retry::rpc_error;
use super::task::{Lane, Notice, NoticeKind, Purpose, Task};
use crate::failure::Failure;
use crate::log::{Level, printable};
use crate::proto::http::response::ResponseHead;
use crate::proto::jsonrpc::{self, Kind, Parsed};

impl Bridge {
    /// Sends a message that wants no answer.
    pub(super) fn post(&mut self, kind: NoticeKind, era: Era, message: Vec<u8>) {
        let notice = Notice {
            kind,
            era,
            message,
            retries: 0,
        };
        self.start(Task::new(Purpose::Notice(notice), Lane::Urgent));
    }

    pub(super) fn notice_refused(
        &mut self,
        mut notice: Notice,
        session: u32,
        head: &ResponseHead,
        body: &[u8],
    ) {
        let refusal = self.refusal(head, body);
        let may_repeat = notice.retries < self.config.limits.retries_max;
        if head.status == 429 && may_repeat && self.close_gate(&refusal).is_some() {
            notice.retries += 1;
            self.gate.notices.push(notice);
            return;
        }
        if notice.kind == NoticeKind::Other
            && notice.era == Era::Legacy
            && self.is_session_loss(session, head.status, rpc_error(body, "").as_ref())
        {
            // What it spoke of is gone with the session.
            return self.lose_session(session);
        }
        self.notice_failed(notice, Failure::Status(refusal));
    }

    pub(super) fn notice_failed(&mut self, mut notice: Notice, failure: Failure) {
        let words = failure.words(&self.config.endpoint.origin());
        let may_repeat = failure.is_transient()
            && notice.retries < self.config.limits.retries_max
            && !self.ending.is_over();
        match notice.kind {
            // `initialized` may be repeated; without it the session would stay closed for ever.
            NoticeKind::Initialized if may_repeat => {
                notice.retries += 1;
                self.start(Task::new(Purpose::Notice(notice), Lane::Urgent));
            }
            NoticeKind::Initialized => {
                self.log(Level::Warn, || {
                    format!("notifications/initialized was not accepted: {words}")
                });
                self.notice_accepted(notice.kind);
            }
            NoticeKind::Other => {
                let what = match jsonrpc::parse(&notice.message) {
                    Ok(Parsed::One(m)) if m.kind == Kind::Notification => m.method.into_owned(),
                    _ => "an answer of the host".to_owned(),
                };
                let what = printable(&what, 100);
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
