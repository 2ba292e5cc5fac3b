// The dashboard: follows /api/events and sends decisions. All text goes through textContent.
"use strict";
const $ = (id) => document.getElementById(id);
const CATEGORIES = {
  file_delete: "Delete files", shell_destructive: "Destructive shell", git_push: "Git push",
  config_modify: "Change configuration", deploy: "Deploy", database: "Database",
};
const cards = new Map();
let events, state;

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}
async function send(path, body) {
  const response = await fetch(path, { method: "POST", headers: { "content-type": "application/json" }, body });
  if (response.ok) return;
  const answer = await response.json().catch(() => ({}));
  if (response.status === 401) show("login");
  throw new Error(answer.error?.message ?? `the workspace answered ${response.status}`);
}
function show(view) {
  document.body.dataset.view = view;
  if (view === "login") { events?.close(); $("token").focus(); }
}
function live(on, text) {
  $("live").className = on ? "live on" : "live off";
  $("live-text").textContent = text;
}

// --- time ---------------------------------------------------------------------------------------
function span(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d`;
}
const ago = (ms) => { const s = (Date.now() - ms) / 1000; return s < 5 ? "now" : `${span(s)} ago`; };
const clock = (ms) => new Date(ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
function left(approval) {
  if (!approval.expires_at) return "";
  return `expires in ${span(approval.expires_at - Date.now() / 1000)}`;
}

// --- approvals ----------------------------------------------------------------------------------
function bridgeName(id) {
  const bridge = state.bridges.find((b) => b.id === id);
  return bridge ? `${bridge.client?.name || bridge.name} on ${bridge.hostname || "unknown host"}` : "";
}
function card(approval) {
  const node = $("card").content.firstElementChild.cloneNode(true);
  const part = (name) => node.querySelector(`.${name}`);
  node.id = approval.approval_id;
  const guardian = approval.category !== undefined;
  part("what").textContent = guardian ? approval.guardian.action : approval.tool || approval.method;
  if (guardian && approval.guardian.risk) {
    const risk = approval.guardian.risk;
    part("badges").append(make("span", `badge ${/high|critical/.test(risk) ? "bad" : "wait"}`, `${risk} risk`));
  }
  const from = bridgeName(approval.bridge_id) || [approval.client.name, approval.client.version].join(" ").trim();
  part("who").textContent = `${from || "unknown client"} · ${clock(approval.created_at * 1000)}`;
  part("detail").textContent = guardian
    ? [approval.guardian.details, approval.guardian.cwd && `in ${approval.guardian.cwd}`].filter(Boolean).join("\n")
    : approval.reason;
  const pre = part("arguments"), editor = part("editor"), edit = part("edit");
  pre.textContent = approval.arguments_text ?? "";
  pre.hidden = guardian || !approval.arguments_text;
  pre.setAttribute("aria-label", "Arguments");
  edit.hidden = pre.hidden;
  part("note").id = `note-${approval.approval_id}`;
  part("note-label").htmlFor = part("note").id;
  edit.addEventListener("click", () => {
    const open = part("edit-label").hidden;
    part("edit-label").hidden = !open;
    pre.hidden = open;
    edit.textContent = open ? "Undo edit" : "Edit";
    editor.value = approval.arguments_text;
    if (open) editor.focus();
  });
  for (const verb of ["approve", "reject"]) {
    part(verb).addEventListener("click", () => decide(node, approval, verb));
  }
  if (location.hash === `#${node.id}`) node.classList.add("target");
  return node;
}
async function decide(node, approval, verb) {
  const part = (name) => node.querySelector(`.${name}`);
  const members = [`"note":${JSON.stringify(part("note").value)}`];
  const text = part("editor").value;
  if (verb === "approve" && !part("edit-label").hidden && text !== approval.arguments_text) {
    try {
      const value = JSON.parse(text);
      if (value === null || typeof value !== "object" || Array.isArray(value)) throw new Error("they must be an object");
    } catch (e) {
      part("error").textContent = `The arguments are not valid: ${e.message}`;
      part("editor").focus();
      return;
    }
    members.push(`"arguments":${text}`); // as text: numbers keep their digits
  }
  const buttons = [...node.querySelectorAll("button")];
  buttons.forEach((b) => (b.disabled = true));
  try {
    await send(`/api/approvals/${encodeURIComponent(approval.approval_id)}/${verb}`, `{${members.join(",")}}`);
  } catch (e) {
    part("error").textContent = e.message;
    buttons.forEach((b) => (b.disabled = false));
  }
}
function place(list, container, grouped) {
  const wanted = [];
  let group;
  for (const approval of list) {
    if (grouped && approval.category !== group) {
      group = approval.category;
      wanted.push(make("h3", "group", CATEGORIES[group] ?? group));
    }
    if (!cards.has(approval.approval_id)) cards.set(approval.approval_id, card(approval));
    const node = cards.get(approval.approval_id);
    node.querySelector(".when").textContent = approval.busy ? "decided, running" : left(approval);
    wanted.push(node);
  }
  const same = wanted.length === container.children.length
    && wanted.every((n, i) => n === container.children[i] || (n.className === "group" && n.textContent === container.children[i].textContent));
  if (!same) {
    const focus = document.activeElement;
    container.replaceChildren(...wanted);
    if (focus && container.contains(focus)) focus.focus();
  }
}
function decided(approval) {
  const kind = { approved: "ok", executed: "ok", rejected: "bad" }[approval.status] ?? "";
  const item = make("li"), row = make("div", "row");
  row.append(make("span", "what", approval.guardian?.action || approval.tool || approval.method),
    make("span", `badge ${kind}`, approval.status));
  if (approval.edited) row.append(make("span", "badge wait", "edited"));
  row.append(make("span", "when", approval.decided_at ? ago(approval.decided_at * 1000) : ""));
  const more = [approval.note && `“${approval.note}”`, approval.decided_by && `by ${approval.decided_by}`].filter(Boolean);
  if (more.length) row.append(make("span", "sub", more.join(" · ")));
  item.append(row);
  return item;
}
function renderApprovals() {
  const open = state.approvals.filter((a) => a.status === "pending").reverse(); // oldest first: cards do not move under the pointer
  const calls = open.filter((a) => a.category === undefined);
  const guard = open.filter((a) => a.category !== undefined);
  guard.sort((a, b) => a.category.localeCompare(b.category));
  for (const id of cards.keys()) if (!open.some((a) => a.approval_id === id)) cards.delete(id);
  place(calls, $("pending"), false);
  place(guard, $("guardian"), true);
  $("pending-empty").hidden = open.length > 0;
  $("guardian-section").hidden = guard.length === 0;
  for (const [id, n] of [["pending-count", calls.length], ["guardian-count", guard.length]]) {
    $(id).textContent = n;
    $(id).classList.toggle("hot", n > 0);
  }
  const done = state.approvals.filter((a) => a.status !== "pending").slice(0, 12);
  $("decided").replaceChildren(...done.map(decided));
  $("decided-empty").hidden = done.length > 0;
  document.title = (open.length ? `(${open.length}) ` : "") + state.workspace.name;
}

// --- bridges, chat, audit -----------------------------------------------------------------------
function renderBridges() {
  $("bridges").replaceChildren(...state.bridges.map((b) => {
    const item = make("li", b.online ? "bridge on" : "bridge gone");
    const running = b.instances.filter((i) => i.status === "online");
    const sum = (name) => running.reduce((n, i) => n + i[name], 0);
    item.append(make("span", "dot"), make("span", "name", b.client?.name || b.name),
      make("span", b.online ? "badge ok" : "badge", b.online ? "online" : "offline"));
    item.append(make("span", "sub", [b.hostname, [b.os, b.arch].filter(Boolean).join("/"),
      `${b.name} ${b.version}`].filter(Boolean).join(" · ")));
    const numbers = b.online ? ` · ${sum("calls_total")} calls, ${sum("in_flight")} running` : "";
    const windows = running.length > 1 ? ` · ${running.length} windows` : "";
    item.append(make("span", "sub", `heartbeat ${ago(b.last_seen_ms)}${numbers}${windows}`));
    return item;
  }));
  const online = state.bridges.filter((b) => b.online);
  $("bridges-count").textContent = online.length;
  $("bridges-empty").hidden = state.bridges.length > 0;
  const select = $("chat-to"), chosen = select.value;
  const options = online.map((b) => { const o = make("option", "", b.client?.name || b.name); o.value = b.id; return o; });
  select.replaceChildren(make("option", "", "Everyone"), ...options);
  select.firstElementChild.value = "";
  select.value = online.some((b) => b.id === chosen) ? chosen : "";
}
function renderChat() {
  const list = $("chat"), last = state.chat.at(-1)?.id;
  if (list.dataset.last === last) return;
  list.dataset.last = last ?? "";
  list.replaceChildren(...state.chat.map((m) => {
    const item = make("li", `message ${m.from}`, m.text);
    const who = m.from === "user" ? (m.to ? `to ${bridgeName(m.to) || m.to}` : "") : bridgeName(m.bridge_id) || "agent";
    item.append(make("small", "", [who, m.topic, clock(m.at * 1000)].filter(Boolean).join(" · ")));
    return item;
  }));
  list.scrollTop = list.scrollHeight;
}
function renderAudit() {
  $("audit").replaceChildren(...state.audit.map((e) => {
    const item = make("li"), row = make("div", "row");
    row.append(make("span", "time", clock(e.at_ms)), make("span", "", e.event), make("span", "sub", [bridgeName(e.actor) || e.actor, e.detail].filter(Boolean).join(" · ")));
    item.append(row);
    return item;
  }));
}
function render() {
  $("name").textContent = state.workspace.name;
  renderApprovals();
  renderBridges();
  renderChat();
  renderAudit();
}

// --- start --------------------------------------------------------------------------------------
function follow() {
  events?.close();
  events = new EventSource("/api/events");
  events.addEventListener("state", (event) => {
    state = JSON.parse(event.data);
    show("board");
    live(true, "live");
    render();
  });
  events.addEventListener("error", async () => {
    live(false, "reconnecting");
    const session = await fetch("/api/session").catch(() => null);
    if (session?.status === 401) show("login");
    else if (events.readyState === EventSource.CLOSED) setTimeout(follow, 2000);
  });
}
$("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  $("login-error").textContent = "";
  try {
    await send("/api/login", JSON.stringify({ token: $("token").value }));
    $("token").value = "";
    follow();
  } catch (e) {
    $("login-error").textContent = e.message;
  }
});
$("logout").addEventListener("click", () => send("/api/logout", "{}").finally(() => show("login")));
$("chat-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = $("chat-text").value.trim();
  if (!text) return;
  const to = $("chat-to").value || undefined;
  await send("/api/chat", JSON.stringify({ text, to })).then(() => { $("chat-text").value = ""; }, (e) => live(false, e.message));
});
setInterval(() => { if (state && document.body.dataset.view === "board") { renderApprovals(); renderBridges(); } }, 10000);
fetch("/api/session").then((r) => (r.ok ? follow() : show("login")), () => show("login"));
