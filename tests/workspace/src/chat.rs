//! Agent chat: messages between the dashboard and the agents, with an unread mark for each bridge.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::clock::Clock;
use crate::raw::raw;
use crate::store::Store;
use crate::sync::Locked;

/// Messages kept.
const MESSAGES_MAX: usize = 2000;
/// Messages given at once unless `limit` says otherwise.
const LIMIT: usize = 100;

/// One message.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChatMessage {
    /// `msg_<n>`.
    pub id: String,
    /// `user` or `agent`.
    pub from: String,
    /// The text.
    pub text: String,
    /// Unix seconds.
    pub at: i64,
    /// The topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Only for this bridge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The bridge that sent it (agents).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bridge_id: Option<String>,
    /// The message that it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_reply_to: Option<String>,
    #[serde(skip)]
    number: u64,
}

/// What is said by whoever sends a message.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Draft {
    /// The text.
    pub text: String,
    /// The topic.
    pub topic: Option<String>,
    /// Only for this bridge.
    pub to: Option<String>,
    /// The message that it answers.
    #[serde(alias = "inReplyTo")]
    pub in_reply_to: Option<String>,
    /// The bridge that sends it.
    #[serde(alias = "bridgeId")]
    pub bridge_id: Option<String>,
}

/// Which messages a bridge asks for.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Ask {
    /// Those after this id (`""`: from the beginning); without it, the unread ones.
    pub after: Option<String>,
    /// At most so many; the newest.
    pub limit: Option<usize>,
    /// This one and all before it are read now.
    #[serde(alias = "markRead")]
    pub mark_read: Option<String>,
    /// Who asks.
    #[serde(alias = "bridgeId")]
    pub bridge_id: Option<String>,
}

/// The conversation of a workspace.
#[derive(Debug)]
pub struct Chat {
    clock: Arc<Clock>,
    store: Option<Arc<Store>>,
    inner: Mutex<Inner>,
    push: broadcast::Sender<ChatMessage>,
}

#[derive(Debug, Default)]
struct Inner {
    messages: Vec<ChatMessage>,
    count: u64,
    read: HashMap<String, u64>,
}

impl Default for Chat {
    fn default() -> Self {
        Chat {
            clock: Arc::default(),
            store: None,
            inner: Mutex::default(),
            push: broadcast::channel(256).0,
        }
    }
}

impl Chat {
    /// The conversation that the store has kept.
    pub fn restored(clock: Arc<Clock>, store: Option<Arc<Store>>) -> Result<Self, String> {
        let mut inner = Inner::default();
        if let Some(store) = &store {
            for (number, record) in store.messages()? {
                let message: ChatMessage = serde_json::from_str(&record)
                    .map_err(|e| format!("the message {number} cannot be read: {e}"))?;
                inner.count = number;
                inner.messages.push(ChatMessage { number, ..message });
            }
            inner.read = store.read_marks()?.into_iter().collect();
        }
        Ok(Chat {
            clock,
            store,
            inner: Mutex::new(inner),
            ..Chat::default()
        })
    }

    /// Adds a message and pushes it.
    pub fn post(&self, from: &str, draft: Draft) -> ChatMessage {
        let mut inner = self.inner.locked();
        inner.count += 1;
        let message = ChatMessage {
            id: format!("msg_{}", inner.count),
            from: from.to_owned(),
            text: draft.text,
            at: self.clock.now(),
            topic: draft.topic,
            to: draft.to,
            bridge_id: draft.bridge_id,
            in_reply_to: draft.in_reply_to,
            number: inner.count,
        };
        if let Some(store) = &self.store {
            // A message that cannot be kept is delivered all the same.
            let record = raw(&message);
            store
                .keep_message(message.number, record.get(), MESSAGES_MAX as u64)
                .ok();
        }
        inner.messages.push(message.clone());
        if inner.messages.len() > MESSAGES_MAX {
            inner.messages.remove(0);
        }
        drop(inner);
        self.push.send(message.clone()).ok();
        message
    }

    /// Messages as they are posted.
    pub fn subscribe(&self) -> broadcast::Receiver<ChatMessage> {
        self.push.subscribe()
    }

    /// What a bridge asks for. Only `from: user` counts as unread.
    pub fn messages(&self, ask: &Ask) -> Vec<ChatMessage> {
        let bridge = ask.bridge_id.clone().unwrap_or_default();
        let mut inner = self.inner.locked();
        if let Some(number) = ask.mark_read.as_deref().and_then(number_of) {
            let newest = inner.count;
            let mark = inner.read.entry(bridge.clone()).or_default();
            *mark = (*mark).max(number.min(newest));
            if let Some(store) = &self.store {
                store.keep_read_mark(&bridge, *mark);
            }
        }
        let read = inner.read.get(&bridge).copied().unwrap_or(0);
        let wanted = |m: &&ChatMessage| match &ask.after {
            Some(after) => {
                m.number > number_of(after).unwrap_or(0)
                    && (visible(m, &bridge) || m.bridge_id.as_deref() == Some(&bridge))
            }
            None => m.number > read && visible(m, &bridge),
        };
        let mut found: Vec<ChatMessage> = inner.messages.iter().filter(wanted).cloned().collect();
        let limit = ask.limit.unwrap_or(LIMIT).min(MESSAGES_MAX);
        if found.len() > limit {
            found.drain(..found.len() - limit);
        }
        found
    }

    /// How many messages a bridge has not read.
    pub fn unread(&self, bridge: &str) -> usize {
        let inner = self.inner.locked();
        let read = inner.read.get(bridge).copied().unwrap_or(0);
        inner
            .messages
            .iter()
            .filter(|m| m.number > read && visible(m, bridge))
            .count()
    }

    /// Up to which message each bridge has read.
    pub fn read_marks(&self) -> HashMap<String, String> {
        self.inner
            .locked()
            .read
            .iter()
            .map(|(b, n)| (b.clone(), format!("msg_{n}")))
            .collect()
    }

    /// The newest messages, oldest first.
    pub fn newest(&self, limit: usize) -> Vec<ChatMessage> {
        let inner = self.inner.locked();
        inner.messages[inner.messages.len().saturating_sub(limit)..].to_vec()
    }
}

/// A user's message that this bridge may see.
pub fn visible(message: &ChatMessage, bridge: &str) -> bool {
    message.from == "user" && message.to.as_deref().is_none_or(|to| to == bridge)
}

fn number_of(id: &str) -> Option<u64> {
    id.strip_prefix("msg_")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(bridge: &str) -> Ask {
        Ask {
            bridge_id: Some(bridge.to_owned()),
            ..Ask::default()
        }
    }

    #[test]
    fn unread_is_kept_for_each_bridge() {
        let chat = Chat::default();
        let first = chat.post(
            "user",
            Draft {
                text: "hello".into(),
                ..Draft::default()
            },
        );
        chat.post(
            "user",
            Draft {
                text: "only b".into(),
                to: Some("b".into()),
                ..Draft::default()
            },
        );
        chat.post(
            "agent",
            Draft {
                text: "hi".into(),
                bridge_id: Some("a".into()),
                ..Draft::default()
            },
        );
        assert_eq!((chat.unread("a"), chat.unread("b")), (1, 2));
        chat.messages(&Ask {
            mark_read: Some(first.id),
            ..ask("a")
        });
        assert_eq!((chat.unread("a"), chat.unread("b")), (0, 2));
        assert!(chat.messages(&ask("a")).is_empty());
        let history = chat.messages(&Ask {
            after: Some(String::new()),
            ..ask("a")
        });
        assert_eq!(
            history.iter().map(|m| m.text.as_str()).collect::<Vec<_>>(),
            ["hello", "hi"]
        );
    }
}
