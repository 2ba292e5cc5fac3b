// What the page says: times, states, and requests made readable. Nothing here touches the page.

export const CATEGORIES = {
  file_delete: "Delete files", shell_destructive: "Destructive shell command", git_push: "Git push",
  config_modify: "Change configuration", deploy: "Deploy", database: "Database", other: "Local operation",
};
export const RISKS = {
  reads: ["Reads", "It says that it only reads."],
  changes: ["Changes", "It changes something and destroys nothing."],
  unknown: ["Unmarked", "Nobody says what it does: look closely."],
  destructive: ["Destructive", "It can destroy what is there, or reach what others use."],
};
// What became of a request: badge, kind of badge, and the words of a decided card.
export const FATES = {
  waiting: ["waiting", "wait", "Waiting."],
  approved: ["approved", "ok", "Approved. The agent has not taken it up yet."],
  running: ["running", "wait", "Approved. It runs."],
  executed: ["executed", "ok", "Approved. It was executed."],
  failed: ["failed", "bad", "Approved. It was executed and failed."],
  allowed: ["allowed", "ok", "Approved. The agent was told to go on."],
  unknown: ["unknown", "bad", "Approved. The workspace was stopped while it ran: it may have been executed."],
  agent_gone: ["never executed", "bad", "Approved, and never executed: the agent had gone."],
  rejected: ["rejected", "bad", "Rejected. It was not executed."],
  expired: ["expired", "", "Nobody decided in time. It was not executed."],
  cancelled: ["withdrawn", "", "The agent withdrew it. It was not executed."],
};

export function span(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d`;
}
export const ago = (ms, now) => ((now - ms) < 5000 ? "now" : `${span((now - ms) / 1000)} ago`);
export const clockTime = (ms) => new Date(ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });

// Characters that would not be seen, or that turn others around, are shown by their number.
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\u{e0000}-\u{e0fff}]/gu;
export const visible = (text) => String(text).replace(UNSEEN, (c) => `⟨U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);

export const title = (approval) => visible(approval.category === undefined
  ? approval.tool || approval.method
  : CATEGORIES[approval.category] ?? approval.category);

const first = (object, names) => names.find((name) => typeof object[name] === "string");
const ended = (text) => text.replace(/\n$/, "");
const lines = (text) => { const n = ended(text).split("\n").length; return n === 1 ? "1 line" : `${n} lines`; };

const KNOWN = ["category", "action", "cwd", "tool", "host", "matched", "risk", "details", "operation", "bridge_id", "bridgeId"];

// A request taken apart for the eye: the command, facts about it, and contents as lines.
export function present(approval) {
  const shown = { command: "", facts: [], contents: [], exact: approval.arguments_text ?? "" };
  const fact = (name, value) => { if (value !== undefined && value !== null && value !== "") shown.facts.push([name, visible(value)]); };
  if (approval.category !== undefined) {
    const asked = approval.guardian;
    shown.command = visible(asked.action);
    fact("Directory", asked.cwd);
    fact("Tool", asked.tool);
    fact("Host", asked.host);
    fact("The rule saw", asked.matched);
    fact("The agent calls it", asked.risk && `${asked.risk} risk`);
    if (typeof asked.details === "string" && asked.details) shown.contents.push(["Details", linesOf(visible(asked.details))]);
    // Whatever else was sent is shown, too: nothing is approved unseen.
    for (const [name, value] of Object.entries(asked)) if (!KNOWN.includes(name)) fact(name, typeof value === "string" ? value : JSON.stringify(value));
    return shown;
  }
  let own;
  try { own = JSON.parse(approval.arguments_text); } catch { return shown; }
  if (own === null || typeof own !== "object") return shown;
  const command = first(own, ["command", "cmd", "script", "sql", "query"]);
  if (command) shown.command = visible(own[command]);
  fact("Directory", own[first(own, ["cwd", "directory", "workdir"])]);
  fact("File", own[first(own, ["path", "file_path", "filePath", "filename", "uri"])]);
  fact("From", own[first(own, ["source", "from"])]);
  fact("To", own[first(own, ["destination", "to"])]);
  fact("Repository", own[first(own, ["repo", "repository"])]);
  const content = first(own, ["content", "contents", "text", "data"]);
  if (content) shown.contents.push([`Content, ${lines(own[content])}`, plain(visible(own[content]))]);
  const edits = Array.isArray(own.edits) ? own.edits : [own];
  for (const edit of edits) {
    const [old, fresh] = [first(edit ?? {}, ["old_string", "oldText", "old_str"]), first(edit ?? {}, ["new_string", "newText", "new_str"])];
    if (old && fresh) shown.contents.push(["Edit", [...marked(edit[old], "-"), ...marked(edit[fresh], "+")]]);
  }
  if (own.patch || own.diff) shown.contents.push(["Patch", linesOf(visible(own.patch ?? own.diff))]);
  return shown;
}
const plain = (text) => ended(text).split("\n").map((line) => ["", line]);
const marked = (text, sign) => visible(text).split("\n").map((line) => [sign, `${sign} ${line}`]);
// A unified diff is coloured; other text is not.
function linesOf(text) {
  if (!/^(@@ |--- |\+\+\+ |[+-] ?)/m.test(text)) return plain(text);
  return text.split("\n").map((line) => [/^[+-]/.exec(line)?.[0] ?? "", line]);
}
