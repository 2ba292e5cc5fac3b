//! The report of a diagnosis: lines for a person as each step ends, or one JSON document.

use crate::proto::aerostack::Offer;
use crate::proto::jsonrpc::quote;
use crate::proto::transport::Established;

/// How the report is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// One JSON document instead of lines.
    pub json: bool,
    /// ✅ and ❌: a terminal that speaks UTF-8.
    pub emoji: bool,
    /// ANSI colours: a terminal, and no NO_COLOR.
    pub colour: bool,
}

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Ok,
    Failed,
    Warning,
    Skipped,
    Note,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Failed => "failed",
            Status::Warning => "warning",
            Status::Skipped => "skipped",
            Status::Note => "note",
        }
    }

    fn mark(self, emoji: bool) -> &'static str {
        match (self, emoji) {
            (Status::Ok, true) => "✅",
            (Status::Failed, true) => "❌",
            (Status::Warning, true) => "⚠️ ",
            (Status::Skipped | Status::Note, true) => "➖",
            (Status::Ok, false) => "[ok]",
            (Status::Failed, false) => "[failed]",
            (Status::Warning, false) => "[warning]",
            (Status::Skipped | Status::Note, false) => "[-]",
        }
    }

    fn colour(self) -> &'static str {
        match self {
            Status::Ok => "\u{1b}[32m",
            Status::Failed => "\u{1b}[31m",
            Status::Warning => "\u{1b}[33m",
            Status::Skipped | Status::Note => "\u{1b}[2m",
        }
    }
}

/// One line, blanks single: what came over the network may hold line breaks.
fn clean(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Where a person looks after an Aerostack workspace that names no dashboard of its own.
const DASHBOARD: &str = "https://app.aerostack.dev";

/// A report in the making.
#[derive(Debug)]
pub(super) struct Report {
    style: Style,
    text: String,
    url: String,
    proxy: Option<String>,
    steps: Vec<String>,
    offer: Offer,
    tools: Option<u64>,
}

impl Report {
    pub(super) fn new(style: Style, url: &str, proxy: Option<&str>) -> Self {
        let text = if style.json {
            String::new()
        } else {
            "Aerostack Connection Check\n".to_owned()
        };
        Self {
            style,
            text,
            url: url.to_owned(),
            proxy: proxy.map(str::to_owned),
            steps: Vec::new(),
            offer: Offer::default(),
            tools: None,
        }
    }

    /// A step has ended.
    pub(super) fn step(&mut self, status: Status, name: &str, text: &str, took_us: u64) {
        let text = &clean(text);
        self.line(status, text);
        self.record(status, name, text, &format!("\"took_us\":{took_us}"));
    }

    /// Something to know that is no step.
    pub(super) fn note(&mut self, status: Status, name: &str, text: &str) {
        let text = &clean(text);
        self.line(status, text);
        self.record(status, name, text, "");
    }

    /// A step that only machines hear of.
    pub(super) fn silent(&mut self, status: Status, name: &str, text: &str) {
        self.record(status, name, &clean(text), "");
    }

    pub(super) fn reachable(
        &mut self,
        text: &str,
        took_us: u64,
        e: &Established,
        first_byte_us: u64,
    ) {
        let text = &clean(text);
        self.line(Status::Ok, text);
        let timings = format!(
            "\"took_us\":{took_us},\"timings\":{{\"dns_us\":{},\"connect_us\":{},\"proxy_us\":{},\"tls_us\":{},\"first_byte_us\":{first_byte_us}}}",
            e.resolve_us, e.connect_us, e.proxy_us, e.tls_us
        );
        self.record(Status::Ok, "reachable", text, &timings);
    }

    pub(super) fn workspace(&mut self, offer: Offer) {
        self.offer = offer;
    }

    pub(super) fn tools(&mut self, count: u64) {
        self.tools = Some(count);
    }

    pub(super) fn offer(&self) -> &Offer {
        &self.offer
    }

    /// All steps are done.
    pub(super) fn finish(&mut self, passed: bool) {
        if self.style.json {
            self.text = self.document(passed);
            return;
        }
        self.text.push_str(match passed {
            true => "All checks passed. Your agent is connected.\n",
            false => "Not all checks passed: see above for what to fix.\n",
        });
        if let Some(url) = self.dashboard() {
            self.text.push_str(&format!("Dashboard: {url}\n"));
        }
    }

    /// What is to be printed now.
    pub(super) fn take_text(&mut self) -> Option<String> {
        (!self.text.is_empty()).then(|| std::mem::take(&mut self.text))
    }

    fn dashboard(&self) -> Option<String> {
        let named = self
            .offer
            .dashboard_url
            .as_deref()
            .map(|url| clean(&crate::log::printable(url, 300)));
        named.or_else(|| self.offer.known.then(|| DASHBOARD.to_owned()))
    }

    fn line(&mut self, status: Status, text: &str) {
        if self.style.json {
            return;
        }
        let mark = status.mark(self.style.emoji);
        if self.style.colour && !self.style.emoji {
            self.text
                .push_str(&format!("{}{mark}\u{1b}[0m {text}\n", status.colour()));
        } else if self.style.colour && status != Status::Ok {
            self.text
                .push_str(&format!("{mark} {}{text}\u{1b}[0m\n", status.colour()));
        } else {
            self.text.push_str(&format!("{mark} {text}\n"));
        }
    }

    fn record(&mut self, status: Status, name: &str, text: &str, more: &str) {
        let comma = if more.is_empty() { "" } else { "," };
        self.steps.push(format!(
            "{{\"name\":{},\"status\":\"{}\",\"text\":{}{comma}{more}}}",
            quote(name),
            status.name(),
            quote(text)
        ));
    }

    /// Schema 1: `schema, version, url, ok, proxy, workspace{name,dashboard_url}|null,
    /// token{name,role}|null, tools, steps[{name,status,text,took_us?,timings?}]`. Times in
    /// microseconds. Members may be added; none changes its meaning within a schema.
    fn document(&self, passed: bool) -> String {
        let text = |text: &Option<String>| text.as_deref().map_or("null".to_owned(), quote);
        let offer = &self.offer;
        let workspace = match offer.known {
            true => format!(
                "{{\"name\":{},\"dashboard_url\":{}}}",
                text(&offer.name.as_deref().map(clean)),
                text(&self.dashboard())
            ),
            false => "null".to_owned(),
        };
        let token = match offer.token_name.is_some() || offer.token_role.is_some() {
            true => format!(
                "{{\"name\":{},\"role\":{}}}",
                text(&offer.token_name.as_deref().map(clean)),
                text(&offer.token_role.as_deref().map(clean))
            ),
            false => "null".to_owned(),
        };
        let tools = self
            .tools
            .map_or("null".to_owned(), |count| count.to_string());
        format!(
            "{{\"schema\":1,\"version\":{},\"url\":{},\"ok\":{passed},\"proxy\":{},\"workspace\":{workspace},\"token\":{token},\"tools\":{tools},\"steps\":[{}]}}\n",
            quote(env!("CARGO_PKG_VERSION")),
            quote(&self.url),
            text(&self.proxy),
            self.steps.join(",")
        )
    }
}
