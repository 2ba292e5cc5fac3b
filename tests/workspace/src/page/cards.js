// The list "Waiting for you": one card for each request, in the order of their coming.
//
// A card keeps its place and its height from its coming to its end. A decided one stays, changed, for some seconds,
// and goes only when nothing points at the list. What destroys takes a second gesture of another kind.
import { clock, forget, isSteady, look, pointsInto, touchedWithin, unsettle } from "/steady.js";
import { FATES, RISKS, clockTime, present, span, title, visible } from "/words.js";

const KEPT_MS = 8000;
const RESTLESS_MS = 2500;
const HOLD_MS = 900;
const $ = (id) => document.getElementById(id);
const cards = new Map(); // by approval id, in the order of the page
let page; // what the rest of the page gives: send, say, bridgeName, now, state

export function begin(own) {
  page = own;
  // Whatever changes a size moves cards: they notice.
  new ResizeObserver(() => cards.forEach(({ node }) => settle(node))).observe($("work"));
  document.addEventListener("keydown", onKey);
  tick();
}
function tick() {
  tidy();
  cards.forEach(describe);
  clock.after(1000, tick);
}

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}
const part = (node, name) => node.querySelector(`.${name}`);
const isOpen = (card) => card.approval.status === "pending" && !card.approval.busy;

// A card that has moved fades its buttons until it takes clicks again.
function settle(node) {
  if (!look(node)) return;
  fade(node);
}
function fade(node) {
  node.classList.add("moved");
  clock.after(600, () => { if (isSteady(node)) node.classList.remove("moved"); });
}
function restart(card) {
  unsettle(card.node);
  fade(card.node);
}

// --- what a card shows --------------------------------------------------------------------------
function build(approval) {
  const node = $("card").content.firstElementChild.cloneNode(true);
  const card = { approval, node, step: "ask" };
  const name = title(approval);
  node.id = approval.approval_id;
  part(node, "what").id = `what-${node.id}`;
  part(node, "what").textContent = name;
  node.setAttribute("aria-labelledby", `what-${node.id}`);
  node.dataset.risk = approval.risk;
  const [word, why] = RISKS[approval.risk] ?? RISKS.unknown;
  part(node, "risk").textContent = word;
  part(node, "risk").title = why;
  part(node, "reason").textContent = approval.category === undefined ? approval.reason : "";
  fill(node, present(approval), name);
  part(node, "note").id = `note-${node.id}`;
  part(node, "note-label").htmlFor = part(node, "note").id;
  for (const [verb, words] of [["approve", "Approve"], ["reject", "Reject"], ["edit", "Edit the arguments of"], ["while", "Approve for 15 minutes"]]) {
    part(node, verb).setAttribute("aria-label", `${words}: ${name}`);
  }
  if (approval.risk === "destructive") part(node, "approve").textContent = "Approve…";
  part(node, "edit").hidden = approval.category !== undefined || !approval.arguments_text;
  part(node, "while").hidden = !approval.grantable;
  wire(card);
  // The second step is written at once, in its longest words: its height is there from the beginning.
  words(card, approval.grantable ? "approve-for-a-while" : "approve");
  if (location.hash === `#${node.id}`) node.classList.add("target");
  step(card, "ask");
  return card;
}
function fill(node, shown, name) {
  const command = part(node, "command"), facts = part(node, "facts"), exact = part(node, "exact");
  command.textContent = shown.command;
  command.hidden = !shown.command;
  command.setAttribute("aria-label", `Command of ${name}`);
  for (const [term, value] of shown.facts) facts.append(make("dt", "", term), make("dd", "", value));
  facts.hidden = shown.facts.length === 0;
  for (const [label, lines] of shown.contents) {
    const pre = make("pre", "content");
    pre.tabIndex = 0;
    pre.setAttribute("aria-label", label);
    for (const [sign, text] of lines) pre.append(make("span", { "+": "add", "-": "del" }[sign] ?? "", `${text}\n`));
    part(node, "contents").append(make("p", "label", label), pre);
  }
  part(node, "arguments").textContent = visible(shown.exact);
  exact.hidden = !shown.exact;
  exact.open = shown.contents.length === 0 && !shown.command;
  exact.addEventListener("toggle", () => cards.forEach((c) => settle(c.node)));
}
function describe(card) {
  const { node, approval } = card, me = page.state().me;
  const from = page.bridgeName(approval.bridge_id) || [approval.client.name, approval.client.version].join(" ").trim() || "unknown client";
  const token = approval.token === "local" ? "" : `token ${approval.token}`;
  part(node, "who").textContent = visible([from, token, clockTime(approval.created_at * 1000)].filter(Boolean).join(" · "));
  const left = approval.expires_at ? `expires in ${span(approval.expires_at - page.now() / 1000)}` : "";
  part(node, "when").textContent = card.sent || approval.status !== "pending" ? "" : left;
  node.classList.toggle("gone", isOpen(card) && approval.agent_gone);
  let words = "";
  if (card.words) words = card.words;
  else if (isOpen(card) && approval.agent_gone) words = "The agent has gone. If it asks the same again within 10 minutes, your decision counts.";
  else if (isOpen(card) && !me.decides) words = `Your token’s role (${me.role}) may look and not decide.`;
  part(node, "state").textContent = words;
  part(node, "state").classList.toggle("error", Boolean(card.failed));
  const off = !page.isLive() || !me.decides || card.sent;
  node.querySelectorAll(".steps button, .steps input, .editor").forEach((b) => { b.disabled = off || !isOpen(card); });
  if (isOpen(card) && card.answered) {
    part(node, "done-text").textContent = card.answered;
    if (card.step !== "done") step(card, "done");
  } else if (!isOpen(card)) {
    const [, kind, text] = FATES[approval.fate];
    const done = part(node, "done-text");
    const by = approval.decided_by && ["approved", "executed", "rejected"].includes(approval.status) ? ` By ${approval.decided_by}.` : "";
    done.textContent = `${text}${by}${approval.note ? ` “${visible(approval.note)}”` : ""}`;
    done.title = done.textContent;
    done.className = `done-text ${kind}`;
    if (card.step !== "done") step(card, "done");
  }
}
function step(card, name) {
  card.step = name;
  card.node.dataset.step = name;
  card.node.querySelectorAll(".step").forEach((s) => s.classList.toggle("shown", s.classList.contains(name)));
}
function tell(card, words, failed = false) {
  card.words = words;
  card.failed = failed;
  describe(card);
  if (words) page.say(words);
}

// --- clicks -------------------------------------------------------------------------------------
// Clicks that arrive on a card that has just come there are not meant for it.
function meant(card) {
  if (!isOpen(card) || card.sent || !page.isLive()) return false;
  if (isSteady(card.node)) return true;
  tell(card, "This card had just come here. Look again, then click.");
  clock.after(3000, () => { if (card.words?.startsWith("This card had")) tell(card, ""); });
  return false;
}
function wire(card) {
  const { node, approval } = card, on = (name, act) => part(node, name).addEventListener("click", (event) => { event.preventDefault(); act(event); });
  on("approve", () => { if (meant(card)) ask(card, "approve", approval.risk === "destructive"); });
  on("while", () => { if (meant(card)) ask(card, "approve-for-a-while", true); });
  on("reject", () => { if (meant(card)) decide(card, "reject"); });
  on("back", () => back(card));
  on("edit", () => edit(card));
  const sure = part(node, "sure");
  sure.addEventListener("click", () => { if (!card.hold && meant(card)) decide(card, card.verb); });
  for (const kind of ["pointerdown", "keydown"]) {
    sure.addEventListener(kind, (event) => {
      if (card.hold && !event.repeat && (kind === "pointerdown" || event.key === "Enter" || event.key === " ")) press(card);
    });
  }
  for (const kind of ["pointerup", "pointerleave", "pointercancel", "keyup", "blur"]) sure.addEventListener(kind, () => release(card));
  sure.addEventListener("contextmenu", (event) => event.preventDefault());
  part(node, "typed").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && part(node, "typed").value.trim().toLowerCase() === "approve" && meant(card)) decide(card, card.verb);
  });
}
function back(card) {
  release(card);
  step(card, "ask");
  tell(card, "");
  restart(card);
  part(card.node, "approve").focus({ preventScroll: true });
}
// The second step: hold the button where something may be destroyed; else Enter or a click.
function ask(card, verb, second) {
  if (!second) return decide(card, verb);
  words(card, verb);
  step(card, "confirm");
  describe(card);
  restart(card);
  part(card.node, "sure").focus({ preventScroll: true });
}
function words(card, verb) {
  const { node } = card, name = title(card.approval);
  card.verb = verb;
  card.hold = card.approval.risk === "destructive" && verb !== "reject";
  const said = card.hold ? "Hold to approve" : { reject: "Reject", approve: "Approve", "approve-for-a-while": "Approve for 15 minutes" }[verb];
  part(node, "sure-text").textContent = said;
  part(node, "sure").setAttribute("aria-label", `${said}: ${name}`);
  part(node, "sure").classList.toggle("hold", card.hold);
  part(node, "typed").value = "";
  part(node, "typed").setAttribute("aria-label", `Type approve to approve ${name}`);
  part(node, "typed-label").hidden = !card.hold;
  part(node, "sure-why").textContent = card.hold ? RISKS.destructive[1]
    : verb === "approve-for-a-while" ? `Every call of ${name} by this agent, with this token, until you revoke it.` : "Press Enter, or Esc to go back.";
}
function press(card) {
  if (!meant(card)) return;
  const mark = {};
  card.pressed = mark;
  part(card.node, "sure").classList.add("pressed");
  clock.after(HOLD_MS, () => { if (card.pressed === mark) { release(card); if (meant(card)) decide(card, card.verb); } });
}
function release(card) {
  card.pressed = undefined;
  part(card.node, "sure").classList.remove("pressed");
}
function edit(card) {
  const label = part(card.node, "edit-label"), open = label.hidden;
  label.hidden = !open;
  part(card.node, "edit").textContent = open ? "Undo edit" : "Edit";
  part(card.node, "editor").value = card.approval.arguments_text;
  cards.forEach((c) => { if (c !== card) settle(c.node); });
  if (open) part(card.node, "editor").focus();
  describe(card);
}

async function decide(card, verb) {
  const { node, approval } = card;
  const members = [`"note":${JSON.stringify(part(node, "note").value)}`];
  const text = part(node, "editor").value;
  if (verb !== "reject" && !part(node, "edit-label").hidden && text !== approval.arguments_text) {
    try {
      const value = JSON.parse(text);
      if (value === null || typeof value !== "object" || Array.isArray(value)) throw new Error("they must be an object");
    } catch (e) {
      step(card, "ask");
      tell(card, `The arguments are not valid: ${e.message}`, true);
      part(node, "editor").focus();
      return;
    }
    members.push(`"arguments":${text}`); // as text: numbers keep their digits
  }
  card.sent = true;
  tell(card, "");
  try {
    await page.send(`/api/approvals/${encodeURIComponent(approval.approval_id)}/${verb}`, `{${members.join(",")}}`);
    card.answered = verb === "reject" ? "Rejected." : "Approved.";
    card.decidedAt = clock.now();
    page.say(`${card.answered.slice(0, -1)}: ${title(approval)}`);
    describe(card);
    next(card);
  } catch (e) {
    card.sent = false;
    step(card, "ask");
    tell(card, e.message, true);
    restart(card);
  }
}
// Focus goes on to the next request, not to a button of it.
function next(card) {
  const all = [...cards.values()], at = all.indexOf(card);
  const following = [...all.slice(at + 1), ...all.slice(0, at)].find((c) => isOpen(c) && !c.sent);
  (following?.node ?? $("pending-title")).focus({ preventScroll: true });
}

// --- keys ---------------------------------------------------------------------------------------
function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || $("keys").open || document.body.dataset.view !== "board") return;
  const focused = [...cards.values()].find((c) => c.node.contains(document.activeElement));
  if (event.key === "Escape" && focused?.step === "confirm") return back(focused);
  if (event.key === "Escape" && focused) return focused.node.focus();
  if (document.activeElement?.matches("input, textarea, select")) return;
  if (event.key === "?") return $("keys").showModal();
  const open = [...cards.values()].filter(isOpen);
  if (!"jkarn".includes(event.key) || open.length === 0) return;
  event.preventDefault();
  if (event.key === "j" || event.key === "k" || !focused || !isOpen(focused)) {
    const at = open.indexOf(focused), to = event.key === "k" ? Math.max(0, at - 1) : Math.min(open.length - 1, at + 1);
    open[to].node.focus({ preventScroll: true });
    open[to].node.scrollIntoView({ block: "nearest" });
    // The page may have moved under the pointer.
    open.forEach(restart);
    return;
  }
  if (event.key === "n") return part(focused.node, "note").focus();
  if (meant(focused)) ask(focused, event.key === "a" ? "approve" : "reject", true);
}

// --- the list -----------------------------------------------------------------------------------
// Takes the approvals of a new state; returns those that are new and wait.
export function take(approvals) {
  const fresh = [];
  for (const approval of approvals) {
    const card = cards.get(approval.approval_id);
    if (card) {
      const open = isOpen(card);
      card.approval = approval;
      if (open && !isOpen(card)) card.decidedAt ??= clock.now();
      if (!isOpen(card)) card.sent = false;
    } else if (approval.status === "pending") {
      const made = build(approval);
      cards.set(approval.approval_id, made);
      $("pending").append(made.node);
      fresh.push(approval);
    }
  }
  // What the workspace does not know any more, after a restart without a memory, is over.
  for (const [id, card] of cards) {
    if (!approvals.some((a) => a.approval_id === id)) card.approval = { ...card.approval, status: "cancelled", fate: "cancelled" };
  }
  cards.forEach(describe);
  cards.forEach(({ node }) => settle(node));
  tidy();
  const open = [...cards.values()].filter(isOpen).length;
  $("pending-empty").hidden = cards.size > 0;
  $("pending-count").textContent = open;
  $("pending-count").classList.toggle("hot", open > 0);
  return { fresh, open };
}
export const refresh = () => cards.forEach(describe);
export function clear() {
  cards.forEach(({ node }) => { node.remove(); forget(node); });
  cards.clear();
}

// Decided cards go after some seconds, and not while something points at the column or is being touched.
function tidy() {
  if (pointsInto($("work")) || touchedWithin(RESTLESS_MS)) return;
  let gone = false;
  for (const [id, card] of cards) {
    if (isOpen(card) || clock.now() - (card.decidedAt ?? clock.now()) < KEPT_MS || card.node.contains(document.activeElement)) continue;
    card.node.remove();
    forget(card.node);
    cards.delete(id);
    gone = true;
  }
  if (!gone) return;
  cards.forEach(({ node }) => settle(node));
  $("pending-empty").hidden = cards.size > 0;
}
