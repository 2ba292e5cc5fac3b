// The dashboard: follows /api/events and shows the state. All text goes through textContent.
import { begin, clear, refresh, take } from "/cards.js";
import { clock, isSteady, look } from "/steady.js";
import { CATEGORIES, FATES, ago, clockTime, span, title, visible } from "/words.js";

const SILENT_MS = 20000; // the workspace sends its state every 5 s
const RETRY_MS = 1500;
const ANSWER_MS = 5000;
const $ = (id) => document.getElementById(id);
const history = new Map();
let events, state, stateAt = 0, heardAt = 0, known = false;

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}
const now = () => (state ? state.now_ms + (clock.now() - stateAt) : Date.now());
const isLive = () => document.body.dataset.live === "on";
const say = (words) => { $("say").textContent = words; };

async function send(path, body) {
  let response;
  try {
    response = await fetch(path, { method: "POST", headers: { "content-type": "application/json" }, body });
  } catch {
    stopped();
    throw new Error("The workspace did not answer. Whether this arrived shows here once it is back.");
  }
  if (response.ok) return;
  const answer = await response.json().catch(() => ({}));
  if (response.status === 401 && path !== "/api/login") logIn("The workspace does not know this login any more.");
  throw new Error(answer.error?.message ?? `the workspace answered ${response.status}`);
}
function show(view) {
  document.body.dataset.view = view;
}
function logIn(words = "") {
  events?.close();
  show("login");
  known = false;
  $("stopped").hidden = true;
  $("login-error").textContent = words;
  document.title = "Aerostack Workspace";
  $("token").focus();
}

// --- there, or stopped --------------------------------------------------------------------------
function live(on) {
  document.body.dataset.live = on ? "on" : "off";
  $("live").className = on ? "live on" : "live off";
  $("live-text").textContent = on ? "live" : "stopped";
  $("stopped").hidden = on || document.body.dataset.view !== "board";
  document.querySelectorAll("#chat-form button, #grants button").forEach((b) => { b.disabled = !on || !state?.me.decides; });
  if (state) refresh();
}
function stopped() {
  events?.close();
  if (isLive()) { live(false); say("The workspace does not answer."); clock.after(RETRY_MS, again); }
}
async function again() {
  const session = await fetch("/api/session", { signal: AbortSignal.timeout(ANSWER_MS) }).catch(() => null);
  if (session?.status === 401) logIn("The workspace was started anew: log in once more.");
  else if (session?.ok) follow();
  else clock.after(RETRY_MS, again);
}
function watch() {
  if (isLive() && clock.now() - heardAt > SILENT_MS) stopped();
  clock.after(1000, watch);
}
function follow() {
  events?.close();
  const own = new EventSource("/api/events");
  events = own;
  own.addEventListener("state", (event) => {
    state = JSON.parse(event.data);
    stateAt = heardAt = clock.now();
    show("board");
    if (!isLive()) { live(true); if (known) say("The workspace is back."); }
    render();
  });
  own.addEventListener("error", () => {
    if (events !== own) return;
    if (isLive()) stopped();
    else { own.close(); clock.after(RETRY_MS, again); }
  });
}

// --- approvals ----------------------------------------------------------------------------------
function bridgeName(id) {
  const bridge = state.bridges.find((b) => b.id === id);
  return bridge ? `${bridge.client?.name || bridge.name} on ${bridge.hostname || "unknown host"}` : "";
}
function renderApprovals() {
  // Oldest first: what comes, comes below.
  const { fresh, open } = take(state.approvals.filter((a) => a.status === "pending").reverse()
    .concat(state.approvals.filter((a) => a.status !== "pending")));
  if (known && fresh.length > 0) {
    say(`${fresh.length === 1 ? title(fresh[0]) : `${fresh.length} requests`} waiting for you`);
    if (document.hidden) fresh.forEach(notify);
  }
  document.title = (open ? `(${open}) ` : "") + state.workspace.name;
  renderHistory();
}
function renderHistory() {
  const done = state.approvals.filter((a) => a.status !== "pending").slice(0, 50);
  const kept = done.map((approval) => {
    if (!history.has(approval.approval_id)) history.set(approval.approval_id, past(approval));
    return history.get(approval.approval_id)(approval);
  });
  for (const id of history.keys()) if (!done.some((a) => a.approval_id === id)) history.delete(id);
  const list = $("decided");
  if (kept.length !== list.children.length || kept.some((node, i) => node !== list.children[i])) list.replaceChildren(...kept);
  $("decided-empty").hidden = done.length > 0;
}
// A row of the history that opens; returns what brings it up to date.
function past(approval) {
  const item = make("li"), details = make("details"), row = make("summary", "row");
  const badge = make("span", "badge"), when = make("span", "when"), sub = make("span", "sub");
  const what = approval.category === undefined ? title(approval) : visible(approval.guardian.action);
  row.append(make("span", "what", what), badge, when, sub);
  const facts = make("dl", "facts"), asked = make("pre", "arguments"), came = make("pre", "came");
  asked.textContent = visible(approval.arguments_text ?? JSON.stringify(approval.guardian, undefined, 2));
  asked.setAttribute("aria-label", `Arguments of ${what}`);
  details.append(row, facts, asked, came);
  item.append(details);
  return (newer) => {
    const [word, kind, words] = FATES[newer.fate];
    badge.textContent = newer.edited ? `${word}, edited` : word;
    badge.className = `badge ${kind}`;
    when.textContent = newer.decided_at ? ago(newer.decided_at * 1000, now()) : "";
    sub.textContent = [newer.note && `“${visible(newer.note)}”`, newer.decided_by && `by ${newer.decided_by}`].filter(Boolean).join(" · ");
    facts.replaceChildren();
    const from = bridgeName(newer.bridge_id) || [newer.client.name, newer.client.version].join(" ").trim();
    for (const [term, value] of [["Asked", `${from || "unknown client"}, ${clockTime(newer.created_at * 1000)}`], ["Kind", CATEGORIES[newer.category]],
      ["Token", newer.token], ["Decided", newer.decided_by && `${newer.decided_by}, ${clockTime(newer.decided_at * 1000)}`], ["Outcome", words]]) {
      if (value) facts.append(make("dt", "", term), make("dd", "", visible(value)));
    }
    came.textContent = visible(newer.outcome_text ?? "");
    came.hidden = !newer.outcome_text;
    return item;
  };
}

// --- 15 minutes ---------------------------------------------------------------------------------
function renderGrants() {
  const list = $("grants");
  const kept = new Map([...list.children].map((node) => [node.dataset.id, node]));
  const nodes = state.grants.map((grant) => {
    const node = kept.get(grant.id) ?? grantNode(grant);
    const left = span(grant.until - now() / 1000), uses = grant.uses === 1 ? "1 call" : `${grant.uses} calls`;
    node.querySelector(".sub").textContent = visible(`${bridgeName(grant.agent.bridge_id) || grant.client.name} · until ${clockTime(grant.until * 1000)}, ${left} left · ${uses} · by ${grant.by}`);
    return node;
  });
  if (nodes.length !== list.children.length || nodes.some((node, i) => node !== list.children[i])) list.replaceChildren(...nodes);
  nodes.forEach(look);
  $("grants-section").hidden = nodes.length === 0;
  $("grants-count").textContent = nodes.length;
}
function grantNode(grant) {
  const item = make("li", "grant"), button = make("button", "danger", "Revoke");
  item.dataset.id = grant.id;
  button.type = "button";
  button.setAttribute("aria-label", `Revoke: ${grant.what}`);
  button.disabled = !state.me.decides;
  button.addEventListener("click", () => {
    if (!isSteady(item)) return;
    send(`/api/grants/${encodeURIComponent(grant.id)}/revoke`, "").then(() => say(`Revoked: ${grant.what}`), (e) => say(e.message));
  });
  item.append(make("span", "what", visible(CATEGORIES[grant.what] ?? grant.what)), button, make("span", "sub"));
  return item;
}

// --- bridges, chat, audit -----------------------------------------------------------------------
function bridgeNode(b) {
  const item = make("li", b.online ? "bridge on" : "bridge gone");
  const running = b.instances.filter((i) => i.status === "online");
  const sum = (name) => running.reduce((n, i) => n + i[name], 0);
  item.append(make("span", "dot"), make("span", "name", visible(b.client?.name || b.name)),
    make("span", b.online ? "badge ok" : "badge", b.online ? "online" : "offline"));
  item.append(make("span", "sub", visible([b.hostname, [b.os, b.arch].filter(Boolean).join("/"),
    `${b.name} ${b.version}`].filter(Boolean).join(" · "))));
  const numbers = b.online ? ` · ${sum("calls_total")} calls, ${sum("in_flight")} running` : "";
  const windows = running.length > 1 ? ` · ${running.length} windows` : "";
  item.append(make("span", "sub", `heartbeat ${ago(b.last_seen_ms, now())}${numbers}${windows}`));
  return item;
}
function renderBridges() {
  const online = state.bridges.filter((b) => b.online), offline = state.bridges.filter((b) => !b.online);
  $("bridges").replaceChildren(...online.map(bridgeNode));
  $("bridges-count").textContent = online.length;
  $("bridges-empty").hidden = online.length > 0;
  $("offline-list").replaceChildren(...offline.map(bridgeNode));
  $("offline-count").textContent = offline.length;
  $("offline").hidden = offline.length === 0;
  const select = $("chat-to"), chosen = select.value;
  const options = online.map((b) => { const o = make("option", "", visible(b.client?.name || b.name)); o.value = b.id; return o; });
  if (options.map((o) => o.value).join() === [...select.options].slice(1).map((o) => o.value).join()) return;
  select.replaceChildren(make("option", "", "Everyone"), ...options);
  select.firstElementChild.value = "";
  select.value = online.some((b) => b.id === chosen) ? chosen : "";
}
function renderChat() {
  const list = $("chat"), last = state.chat.at(-1)?.id ?? "";
  if (list.dataset.last === last) return;
  list.dataset.last = last;
  list.replaceChildren(...state.chat.map((m) => {
    const item = make("li", `message ${m.from}`, m.text);
    const who = m.from === "user" ? (m.to ? `to ${bridgeName(m.to) || m.to}` : "") : bridgeName(m.bridge_id) || "agent";
    item.append(make("small", "", [who, m.topic, clockTime(m.at * 1000)].filter(Boolean).join(" · ")));
    return item;
  }));
  list.scrollTop = list.scrollHeight;
}
function renderAudit() {
  const list = $("audit"), last = String(state.audit[0]?.n ?? "");
  if (list.dataset.last === last) return;
  list.dataset.last = last;
  list.replaceChildren(...state.audit.map((e) => {
    const item = make("li"), row = make("div", "row");
    row.append(make("span", "time", clockTime(e.at_ms)), make("span", "", e.event), make("span", "sub", [bridgeName(e.actor) || e.actor, e.detail].filter(Boolean).join(" · ")));
    item.append(row);
    return item;
  }));
}
function render() {
  $("name").textContent = state.workspace.name;
  renderApprovals();
  renderGrants();
  renderBridges();
  renderChat();
  renderAudit();
  $("notify").hidden = !("Notification" in globalThis) || Notification.permission !== "default";
  known = true;
}

// --- notifications ------------------------------------------------------------------------------
function notify(approval) {
  if (!("Notification" in globalThis) || Notification.permission !== "granted") return;
  const words = approval.category === undefined ? approval.arguments_text : approval.guardian.action;
  const shown = new Notification(`${title(approval)} waits for you`, { body: visible(words).slice(0, 200), tag: approval.approval_id });
  shown.onclick = () => { globalThis.focus(); $(approval.approval_id)?.focus(); };
}
$("notify").addEventListener("click", async () => {
  await Notification.requestPermission();
  $("notify").hidden = Notification.permission !== "default";
});

// --- start --------------------------------------------------------------------------------------
$("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  $("login-error").textContent = "";
  try {
    await send("/api/login", JSON.stringify({ token: $("token").value }));
    $("token").value = "";
    clear();
    follow();
  } catch (e) {
    $("login-error").textContent = e.message;
  }
});
$("logout").addEventListener("click", () => send("/api/logout", "{}").catch(() => {}).finally(() => logIn()));
$("help").addEventListener("click", () => $("keys").showModal());
$("chat-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = $("chat-text").value.trim();
  if (!text) return;
  const to = $("chat-to").value || undefined;
  await send("/api/chat", JSON.stringify({ text, to })).then(() => { $("chat-text").value = ""; }, (e) => say(e.message));
});
begin({ send, say, bridgeName, now, isLive, state: () => state });
watch();
(function keepTimes() {
  if (state && document.body.dataset.view === "board") { renderHistory(); renderGrants(); renderBridges(); }
  clock.after(10000, keepTimes);
})();
fetch("/api/session").then((r) => (r.ok ? follow() : logIn()), () => { live(false); clock.after(RETRY_MS, again); });
