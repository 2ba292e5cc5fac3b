// Time, and the rule that nothing is clicked that has just come under the pointer.

// The one clock of this page. Tests put their own there before the page begins, and turn it.
export const clock = globalThis.aerostackClock ?? {
  now: () => performance.now(),
  after: (ms, act) => { setTimeout(act, ms); },
};

// What has moved or appeared takes no click for so long.
export const STEADY_MS = 600;
const places = new Map();

// Notes where a node stands in the page; true if it is elsewhere than before.
export function look(node) {
  const box = node.getBoundingClientRect();
  const [top, left] = [box.top + scrollY, box.left + scrollX];
  const before = places.get(node);
  if (before && Math.abs(before.top - top) < 1 && Math.abs(before.left - left) < 1) return false;
  places.set(node, { top, left, since: clock.now() });
  return true;
}
// The person's own doing brought it there, or its buttons changed their meaning.
export function unsettle(node) {
  look(node);
  places.get(node).since = clock.now();
}
export function isSteady(node) {
  look(node);
  return clock.now() - places.get(node).since >= STEADY_MS;
}
export const forget = (node) => places.delete(node);

// Where the pointer is: nothing is taken away there. A finger that was lifted points at nothing.
let pointer;
export const pointsInto = (node) => {
  if (!pointer) return false;
  const box = node.getBoundingClientRect();
  return pointer.x >= box.left && pointer.x < box.right && pointer.y >= box.top && pointer.y < box.bottom;
};
let touchedAt = -Infinity;
export const touchedWithin = (ms) => clock.now() - touchedAt < ms;
for (const kind of ["pointermove", "pointerdown", "pointerup"]) {
  document.addEventListener(kind, (event) => {
    touchedAt = clock.now();
    pointer = kind === "pointerup" && event.pointerType === "touch" ? undefined : { x: event.clientX, y: event.clientY };
  }, { passive: true });
}
document.documentElement.addEventListener("pointerleave", () => { pointer = undefined; });
