//! The conversation with the dashboard: what was said, what is unread, what was announced.
//!
//! Owns the history, bounded in messages and bytes. It sends nothing and knows no host.

use crate::config::Limits;
use crate::log::printable;
use crate::proto::aerostack::ChatMessage;
use crate::proto::timestamp;
use std::collections::VecDeque;

/// One message and what became of it here.
#[derive(Debug)]
struct Entry {
    message: ChatMessage,
    unread: bool,
    announced: bool,
}

/// The conversation.
#[derive(Debug, Default)]
pub(crate) struct Conversation {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// The newest message of a list: the next poll asks for what came after it. A pushed message does
    /// not count: what was said while no socket was open may lie before it.
    last_id: Option<String>,
}

impl Conversation {
    /// Takes a message in; false if it is known. `unread`: it is for this agent and from a person.
    pub(crate) fn add(&mut self, message: ChatMessage, unread: bool, limits: &Limits) -> bool {
        if self.place(&message.id).is_some() {
            return false;
        }
        self.insert(self.entries.len(), message, unread, limits);
        true
    }

    /// Takes a list in, all after `last_id`, in its order: what is new goes before the next that is
    /// known. Returns those that were not.
    pub(crate) fn add_list(
        &mut self,
        messages: Vec<(ChatMessage, bool)>,
        limits: &Limits,
    ) -> Vec<ChatMessage> {
        let newest = messages.last().map(|(message, _)| message.id.clone());
        let mut news = Vec::new();
        let mut next = self.entries.len();
        for (message, unread) in messages.into_iter().rev() {
            match self.place(&message.id) {
                Some(known) => next = known,
                None => {
                    news.push(message.clone());
                    let before = self.entries.len() + 1;
                    self.insert(next, message, unread, limits);
                    // The oldest may have gone for it.
                    next = next.saturating_sub(before - self.entries.len());
                }
            }
        }
        self.last_id = newest.or(self.last_id.take());
        news.reverse();
        news
    }

    fn place(&self, id: &str) -> Option<usize> {
        self.entries.iter().position(|entry| entry.message.id == id)
    }

    fn insert(&mut self, at: usize, mut message: ChatMessage, unread: bool, limits: &Limits) {
        cut(&mut message, limits.chat_max_bytes);
        self.bytes += size(&message);
        let entry = Entry {
            message,
            unread,
            announced: false,
        };
        self.entries.insert(at, entry);
        while self.entries.len() > limits.chat_messages_max || self.bytes > limits.chat_max_bytes {
            match self.entries.pop_front() {
                Some(old) => self.bytes -= size(&old.message),
                None => break,
            }
        }
    }

    pub(crate) fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    pub(crate) fn unread(&self) -> usize {
        self.entries.iter().filter(|entry| entry.unread).count()
    }

    /// Unread messages that no hint has spoken of; they count as announced from here on.
    pub(crate) fn announce(&mut self) -> usize {
        let fresh = self
            .entries
            .iter_mut()
            .filter(|entry| entry.unread && !entry.announced);
        fresh.map(|entry| entry.announced = true).count()
    }

    /// Everything is read. Returns the newest message that was unread, for the workspace to know.
    pub(crate) fn mark_read(&mut self) -> Option<String> {
        let newest = self.entries.iter().rev().find(|entry| entry.unread);
        let newest = newest.map(|entry| entry.message.id.clone());
        self.entries
            .iter_mut()
            .for_each(|entry| entry.unread = false);
        newest
    }

    /// The unread messages, each topic with what was said in it before.
    pub(crate) fn transcript(&self) -> String {
        let unread = self.unread();
        if unread == 0 {
            return "No unread messages from the dashboard.".to_owned();
        }
        let mut topics: Vec<Option<&str>> = Vec::new();
        for entry in self.entries.iter().filter(|entry| entry.unread) {
            let topic = entry.message.topic.as_deref();
            if !topics.contains(&topic) {
                topics.push(topic);
            }
        }
        let plural = if unread == 1 { "" } else { "s" };
        let mut text = format!("{unread} unread message{plural} from the dashboard.\n");
        for topic in topics {
            text.push_str(&format!(
                "\nTopic: {}\n",
                printable(topic.unwrap_or("general"), 200)
            ));
            let of_topic = self
                .entries
                .iter()
                .filter(|entry| entry.message.topic.as_deref() == topic);
            of_topic.for_each(|entry| push_line(&mut text, entry));
        }
        text.push_str("\nAnswer with action send and the same topic.");
        text
    }
}

fn push_line(text: &mut String, entry: &Entry) {
    let message = &entry.message;
    let mark = if entry.unread { "(unread) " } else { "" };
    let at = message
        .at
        .map(|at| format!(" {}", timestamp::to_rfc3339(at.saturating_mul(1_000))));
    let from = if message.from == "user" {
        "user"
    } else {
        "agent"
    };
    text.push_str(&format!(
        "{mark}{from}{}: {}\n",
        at.unwrap_or_default(),
        message.text
    ));
}

/// A message that is longer than all that may be kept would be gone before anybody reads it.
fn cut(message: &mut ChatMessage, most: usize) {
    let over = size(message).saturating_sub(most);
    if over == 0 {
        return;
    }
    let mark = format!(" [cut: the message has {} bytes]", message.text.len());
    let mut end = message.text.len().saturating_sub(over + mark.len());
    while !message.text.is_char_boundary(end) {
        end -= 1;
    }
    message.text.truncate(end);
    message.text.push_str(&mark);
}

fn size(message: &ChatMessage) -> usize {
    const OVERHEAD: usize = 64;
    message.text.len() + message.id.len() + message.topic.as_ref().map_or(0, String::len) + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: &str, from: &str, topic: Option<&str>) -> ChatMessage {
        let (id, from, topic) = (id.to_owned(), from.to_owned(), topic.map(str::to_owned));
        ChatMessage {
            text: format!("text {id}"),
            id,
            from,
            at: None,
            topic,
            to: None,
        }
    }

    #[test]
    fn unread_messages_come_with_their_topics_history() {
        let limits = Limits::default();
        let mut chat = Conversation::default();
        chat.add(message("1", "user", Some("a")), false, &limits);
        chat.add(message("2", "user", None), false, &limits);
        assert!(chat.add(message("3", "user", Some("a")), true, &limits));
        assert!(!chat.add(message("3", "user", Some("a")), true, &limits));
        let text = chat.transcript();
        assert!(text.contains("1 unread message from") && text.contains("user: text 1"));
        assert!(text.contains("(unread) user: text 3") && !text.contains("text 2"));
        assert_eq!((chat.announce(), chat.announce()), (1, 0));
        assert_eq!(chat.mark_read().as_deref(), Some("3"));
        assert_eq!((chat.unread(), chat.mark_read()), (0, None));
    }

    /// What was said while no socket was open comes by the next list, in its place.
    #[test]
    fn a_list_fills_the_holes_that_pushes_leave() {
        let limits = Limits {
            chat_messages_max: 4,
            ..Limits::default()
        };
        let list = |ids: &[&str]| {
            let unread = |id: &&str| (message(id, "user", None), true);
            ids.iter().map(unread).collect::<Vec<_>>()
        };
        let ids = |chat: &Conversation| {
            let ids = chat.entries.iter().map(|entry| entry.message.id.clone());
            ids.collect::<Vec<_>>()
        };
        let mut chat = Conversation::default();
        chat.add_list(list(&["1"]), &limits);
        chat.add(message("4", "user", None), true, &limits);
        assert_eq!(chat.last_id(), Some("1"));
        let news = chat.add_list(list(&["2", "3", "4"]), &limits);
        let news: Vec<_> = news.into_iter().map(|message| message.id).collect();
        assert_eq!(news, ["2", "3"]);
        assert_eq!(
            (ids(&chat), chat.last_id()),
            (
                vec![
                    "1".to_owned(),
                    "2".to_owned(),
                    "3".to_owned(),
                    "4".to_owned()
                ],
                Some("4")
            )
        );
        chat.add_list(Vec::new(), &limits);
        chat.add_list(list(&["4", "5", "6"]), &limits);
        assert_eq!(ids(&chat), ["3", "4", "5", "6"]);
    }

    #[test]
    fn a_message_beyond_the_history_is_cut_and_says_so() {
        let limits = Limits::default();
        let mut chat = Conversation::default();
        let mut long = message("1", "user", None);
        long.text = "\u{e9}".repeat(40 << 10);
        assert!(chat.add(long, true, &limits));
        assert_eq!(chat.unread(), 1);
        assert!(
            chat.transcript()
                .contains("\u{e9} [cut: the message has 81920 bytes]\n")
        );
        assert!(chat.bytes <= limits.chat_max_bytes && chat.bytes > limits.chat_max_bytes - 4);
    }

    #[test]
    fn the_history_is_bounded() {
        let limits = Limits {
            chat_messages_max: 3,
            ..Limits::default()
        };
        let mut chat = Conversation::default();
        for n in 0..10 {
            chat.add(message(&n.to_string(), "user", None), true, &limits);
        }
        assert_eq!((chat.unread(), chat.last_id()), (3, None));
        let limits = Limits {
            chat_max_bytes: 200,
            ..Limits::default()
        };
        chat.add(message("x", "user", None), true, &limits);
        assert!(chat.bytes <= 200);
    }
}
