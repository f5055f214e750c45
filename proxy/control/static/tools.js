// The tools: how much each is called, what becomes of it, and the button that ends it.

import { rateOf, summed } from "./books.js";
import { drawChart } from "./chart.js";
import { byId, make, makeSvg, mark, say, sync } from "./element.js";
import { count, milliseconds, rate, visible } from "./format.js";

const MOST_ROWS = 40;
const SEARCH_FROM = 9;
const FIGURES = ["rate", "refused", "failed", "p95", "flight"];
const LABELS = { rate: "calls/s", refused: "refused", failed: "failed", p95: "p95 ms", flight: "in flight" };

// tools: as the API lists them, in the catalog's order, which is kept: a row that jumps is a wrong
// tool killed. Names that were called but are not listed (tools of an MCP server) follow.
export function drawTools(tools, books, nowMs, acts) {
  const listed = new Set(tools.map((tool) => tool.name));
  const others = [...books.tools.keys()].filter((name) => !listed.has(name)).sort();
  const all = [...tools, ...others.map((name) => ({ name, unlisted: true }))];
  const find = byId("tool-find");
  find.hidden = all.length < SEARCH_FROM;
  const wanted = find.value.trim().toLowerCase();
  const found = all.filter(
    (tool) => tool.name.toLowerCase().includes(wanted) && (!tool.unlisted || wasCalled(books, tool, nowMs)),
  );
  sync(byId("tool-rows"), found.slice(0, MOST_ROWS), (tool) => tool.name,
    (tool) => create(tool, acts), (row, tool) => update(row, tool, books, nowMs));
  const more = found.length - MOST_ROWS;
  say(byId("tool-rest"), more > 0 ? `${count(more)} more; search to see them.`
    : found.length ? "" : "No tool of this name.");
}

const wasCalled = (books, tool, nowMs) => summed(books.tools.get(tool.name).window(nowMs)).calls > 0;

function create(tool, acts) {
  const row = make("tr");
  const head = make("th", "name");
  head.scope = "row";
  head.append(make("span", "tool-name", tool.name ? visible(tool.name) : "no such tool"), make("span", "chips"));
  const chart = make("td", "wide");
  chart.append(makeSvg("svg", { class: "chart spark", role: "img", preserveAspectRatio: "none" }));
  row.append(head, chart);
  for (const figure of FIGURES) {
    const cell = make("td", "num");
    cell.dataset.figure = figure;
    cell.dataset.label = LABELS[figure];
    row.append(cell);
  }
  const act = make("td", "act");
  if (tool.name) {
    const button = make("button");
    button.type = "button";
    button.addEventListener("click", () =>
      button.dataset.act === "revive" ? acts.revive(`tool:${tool.name}`) : acts.kill("tool", tool.name));
    act.append(button);
  }
  row.append(act);
  return row;
}

function update(row, tool, books, nowMs) {
  const window = books.tools.get(tool.name)?.window(nowMs) ?? [];
  const sum = summed(window);
  const perSecond = rateOf(window, nowMs);
  const isOff = Boolean(tool.switch) || tool.disabled_by_policy === true;
  row.classList.toggle("is-off", isOff);
  drawChart(row.querySelector("svg"), window, 34,
    `${visible(tool.name)}: ${count(sum.calls)} calls in 5 minutes, ${sum.refused} refused, ${sum.failed} failed`);
  const texts = {
    rate: rate(perSecond), refused: count(sum.refused), failed: count(sum.failed),
    p95: milliseconds(tool.p95_ms), flight: tool.unlisted ? "–" : count(tool.in_flight),
  };
  for (const figure of FIGURES) {
    const cell = row.querySelector(`[data-figure=${figure}]`);
    say(cell, texts[figure]);
    cell.classList.toggle("zero", ["0", "–"].includes(texts[figure]));
  }
  drawChips(row.querySelector(".chips"), tool);
  drawButton(row.querySelector("button"), tool);
}

function drawChips(parent, tool) {
  const chips = [];
  if (tool.switch) chips.push(["off", "off"]);
  if (tool.disabled_by_policy) chips.push(["off", "off by policy"]);
  if (tool.allowed === false) chips.push(["plain", "not allowed"]);
  if (tool.breaker === "open") chips.push(["warn", "circuit open"]);
  if (tool.breaker === "half_open") chips.push(["warn", "circuit half open"]);
  sync(parent, chips, ([, text]) => text, ([kind, text]) => make("span", `chip ${kind}`, text), () => {});
}

function drawButton(button, tool) {
  if (!button) return;
  const act = tool.switch ? "revive" : "kill";
  mark(button, "data-act", act);
  button.className = act === "kill" ? "kill" : "revive";
  say(button, act === "kill" ? "Kill…" : "Revive…");
  mark(button, "aria-label", `${act === "kill" ? "Kill" : "Revive"} ${visible(tool.name)}`);
}
