// The last calls, newest first, filtered, and held still on request.

import { kindOf } from "./books.js";
import { byId, make, mark, say, sync } from "./element.js";
import { clock, count, milliseconds, visible } from "./format.js";

const MOST_ROWS = 100;
const CELLS = ["time", "tool", "outcome", "status", "ms", "call", "run"];

export class CallTable {
  #books;
  #held = null; // while paused: the calls as they were

  constructor(books, changed) {
    this.#books = books;
    byId("by-tool").addEventListener("change", changed);
    byId("by-code").addEventListener("change", changed);
    byId("pause").addEventListener("click", () => {
      this.#held = this.#held ? null : [...this.#books.calls];
      changed();
    });
  }

  draw() {
    const calls = this.#held ?? this.#books.calls;
    drawChoices(byId("by-tool"), calls.map((call) => call.tool).filter(Boolean));
    drawChoices(byId("by-code"), calls.map((call) => call.code));
    const wanted = filter(byId("by-tool").value, byId("by-code").value);
    const found = calls.filter(wanted).reverse();
    sync(byId("call-rows"), found.slice(0, MOST_ROWS), (call) => call.call_id, createRow, () => {});
    say(byId("call-rest"), summary(found.length, calls.length));
    this.#drawPause();
  }

  #drawPause() {
    const button = byId("pause");
    mark(button, "aria-pressed", String(this.#held !== null));
    if (!this.#held) {
      say(button, "Pause");
      return;
    }
    const last = this.#held.at(-1);
    const since = this.#books.calls.length - 1 - this.#books.calls.lastIndexOf(last);
    say(button, since ? `Resume · ${count(since)} new` : "Resume");
  }
}

function summary(found, all) {
  if (!all) return "No call yet. They appear here as they end.";
  if (!found) return `None of the last ${count(all)} calls fits.`;
  const shown = Math.min(found, MOST_ROWS);
  return `${count(shown)} of the last ${count(all)} calls.`;
}

function filter(tool, code) {
  return (call) =>
    (!tool || call.tool === tool) &&
    (!code || (code === "!" ? kindOf(call.code) !== "passed" : call.code === code));
}

// Adds what has turned up; never takes away, since somebody may be choosing.
function drawChoices(select, values) {
  const known = new Set(Array.from(select.options, (option) => option.value));
  for (const value of values) {
    if (known.has(value) || known.size > 300) continue;
    known.add(value);
    const option = make("option", "", visible(value));
    option.value = value;
    select.append(option);
  }
}

// A call that ended does not change, so its row is made once.
function createRow(call) {
  const row = make("tr", kindOf(call.code));
  for (const name of CELLS) row.append(make("td", name));
  const [time, tool, outcome, status, ms, what, run] = row.children;
  const ended = Date.parse(call.ts) + call.total_ms;
  const stamp = make("time", "", clock(ended));
  stamp.dateTime = new Date(ended).toISOString();
  time.append(stamp);
  tool.textContent = call.tool ? visible(call.tool) : "–";
  outcome.append(make("span", `code ${kindOf(call.code)}`, visible(call.code)));
  status.textContent = call.status || "–";
  ms.textContent = milliseconds(call.total_ms);
  status.classList.add("num");
  ms.classList.add("num");
  const line = make("span", "line");
  if (call.method) {
    line.append(make("b", "", visible(call.method)), ` ${visible(call.host)}`, make("span", "path", visible(call.path)));
  } else {
    line.append(make("span", "path", "a request that could not be read"));
  }
  what.append(line);
  if (call.detail) {
    const detail = make("span", "detail", visible(call.detail));
    detail.title = detail.textContent;
    what.append(detail);
  }
  run.textContent = visible(call.run_id) || "–";
  run.title = visible(call.run_id);
  return row;
}
