// What the page remembers: the last calls, and counts of the last five minutes. All of it bounded:
// a page that is left open over a weekend must not be what fails on Monday.

export const BUCKET_MS = 5000;
export const BUCKETS = 60;
export const KINDS = ["passed", "refused", "failed"];
const MOST_CALLS = 500;
const MOST_TOOLS = 2500; // the sidecar's own figures end at 2,000
const MOST_CODES = 100;

// Something failed, as opposed to something said no. The list of proxy/telemetry/tool_figures.py;
// a test compares.
const FAILED = new Set([
  "timeout", "upstream_dns", "upstream_connect", "upstream_tls", "upstream_reset",
  "upstream_invalid", "state_unavailable", "internal_error",
]);

export function kindOf(code) {
  if (code === "ok" || code === "client_gone") return "passed";
  return FAILED.has(code) ? "failed" : "refused";
}

// Counts by kind in buckets of five seconds, the last five minutes of them.
export class Series {
  #counts = new Uint32Array(BUCKETS * KINDS.length);
  #newest = 0; // number of the newest bucket since the epoch

  add(atMs, kind, number = 1) {
    const bucket = Math.floor(atMs / BUCKET_MS);
    this.#advance(bucket);
    if (bucket <= this.#newest - BUCKETS) return;
    this.#counts[(bucket % BUCKETS) * KINDS.length + KINDS.indexOf(kind)] += number;
  }

  // [{passed, refused, failed}], the oldest first, the last one being under way.
  window(nowMs) {
    this.#advance(Math.floor(nowMs / BUCKET_MS));
    const found = [];
    for (let bucket = this.#newest - BUCKETS + 1; bucket <= this.#newest; bucket += 1) {
      const start = (((bucket % BUCKETS) + BUCKETS) % BUCKETS) * KINDS.length;
      const [passed, refused, failed] = this.#counts.subarray(start, start + KINDS.length);
      found.push({ passed, refused, failed });
    }
    return found;
  }

  #advance(bucket) {
    const steps = Math.min(bucket - this.#newest, BUCKETS);
    for (let step = 0; step < steps; step += 1) {
      const start = ((bucket - step) % BUCKETS) * KINDS.length;
      this.#counts.fill(0, start, start + KINDS.length);
    }
    this.#newest = Math.max(this.#newest, bucket);
  }
}

export function summed(window) {
  const sum = { passed: 0, refused: 0, failed: 0 };
  for (const bucket of window) for (const kind of KINDS) sum[kind] += bucket[kind];
  return { ...sum, calls: sum.passed + sum.refused + sum.failed };
}

// Calls a second over the last ten to fifteen seconds.
export function rateOf(window, nowMs) {
  const elapsedMs = 2 * BUCKET_MS + (nowMs % BUCKET_MS);
  return (summed(window.slice(-3)).calls * 1000) / elapsedMs;
}

export class Books {
  calls = []; // the newest last
  total = new Series();
  tools = new Map();
  codes = new Map();
  #ids = new Set();
  #counters = new Map(); // tool -> what the sidecar's counters said, plus the events since
  #lost = false;

  // A call that ended. False if it was known, which happens when lists are read anew.
  add(call, endedMs) {
    if (this.#ids.has(call.call_id)) return false;
    this.#ids.add(call.call_id);
    this.calls.push(call);
    if (this.calls.length > MOST_CALLS) this.#ids.delete(this.calls.shift().call_id);
    this.#count(call.tool, call.code, kindOf(call.code), endedMs, 1);
    const seen = this.#counters.get(call.tool);
    if (seen) seen[kindOf(call.code)] += 1;
    return true;
  }

  #count(tool, code, kind, atMs, number) {
    this.total.add(atMs, kind, number);
    series(this.tools, tool, MOST_TOOLS)?.add(atMs, kind, number);
    if (code && kind !== "passed") series(this.codes, code, MOST_CODES)?.add(atMs, kind, number);
  }

  // The stream left events out; the next counters say how many of what.
  loseSome() {
    this.#lost = true;
  }

  // The counters of every tool, now. What they know and the stream did not tell is added to the
  // charts, without its code.
  compare(tools, nowMs) {
    for (const tool of tools) {
      const now = { refused: tool.refusals, failed: tool.errors };
      now.passed = tool.calls - tool.refusals - tool.errors;
      const seen = this.#counters.get(tool.name);
      if (seen && this.#lost) {
        for (const kind of KINDS) {
          const missing = now[kind] - seen[kind];
          if (missing > 0) this.#count(tool.name, "", kind, nowMs, missing);
        }
      }
      if (seen || this.#counters.size < MOST_TOOLS) this.#counters.set(tool.name, now);
    }
    this.#lost = false;
  }

  // After a gap the counters start anew; the gap is filled by the list of calls.
  forgetCounters() {
    this.#counters.clear();
  }
}

function series(map, name, most) {
  let found = map.get(name);
  if (!found && map.size < most) {
    found = new Series();
    map.set(name, found);
  }
  return found;
}
