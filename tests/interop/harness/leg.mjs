// One leg: a list of named checks, each bounded in time, each printed as it ends.

export class Leg {
  passed = 0;
  failed = 0;
  #only;

  constructor(name, only = /./) {
    this.name = name;
    this.#only = only;
  }

  /** Whether this check was asked for. */
  wants(name) {
    return this.#only.test(`${this.name} ${name}`);
  }

  /** Runs `body`; a throw or a late end is a failure. Returns what `body` returned. */
  async check(name, body, limitMs = 20_000) {
    if (!this.wants(name)) return undefined;
    try {
      const value = await within(limitMs, body(), name);
      this.pass(name);
      return value;
    } catch (error) {
      this.fail(name, error);
      return undefined;
    }
  }

  pass(name) {
    this.passed += 1;
    console.log(`ok ${this.name}: ${name}`);
  }

  fail(name, why) {
    this.failed += 1;
    const text = String(why?.message ?? why).replace(/\s+/g, ' ').slice(0, 600);
    console.log(`not ok ${this.name}: ${name} -- ${text}`);
  }
}

/** `promise`, or an error after `limitMs`. */
export function within(limitMs, promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing within ${limitMs} ms`)), limitMs);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

export function assert(condition, message) {
  if (!condition) throw new Error(message);
}

/** Throws the first place where two JSON values differ; the order of members does not matter. */
export function assertSame(got, want, what = 'answer') {
  const place = difference(got, want, what);
  if (place) throw new Error(place);
}

function difference(got, want, path) {
  const kind = (value) => (Array.isArray(value) ? 'array' : value === null ? 'null' : typeof value);
  if (kind(got) !== kind(want) || (kind(got) !== 'object' && kind(got) !== 'array')) {
    return Object.is(got, want) ? undefined : `${path}: ${show(got)}, expected ${show(want)}`;
  }
  for (const key of new Set([...Object.keys(want), ...Object.keys(got)])) {
    const inner = difference(got[key], want[key], `${path}.${key}`);
    if (inner) return inner;
  }
  return undefined;
}

function show(value) {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 160 ? `${text.slice(0, 160)}… (${text.length} characters)` : text;
}
