// Beside the tools: what calls end with, which runs are near their limits, and how much is logged.

import { kindOf, summed } from "./books.js";
import { byId, make, mark, say, sync } from "./element.js";
import { count, countdown, percent, switchName, visible } from "./format.js";

const MOST_BARS = 8;
const NEAR = 0.8;
const ACTIVE_S = 120; // a run that is silent for longer has probably ended
const LIMITS = {
  steps: "steps", tool_calls: "tool calls", seconds: "seconds", spend_usd: "USD", tokens: "tokens", bytes: "bytes",
};

// What calls of the last five minutes ended with, other than well.
export function drawCodes(books, nowMs) {
  const entries = [];
  for (const [code, series] of books.codes) {
    const number = summed(series.window(nowMs)).calls;
    if (number) entries.push({ code, number });
  }
  entries.sort((a, b) => b.number - a.number || (a.code < b.code ? -1 : 1));
  const most = Math.max(1, ...entries.map((entry) => entry.number));
  sync(byId("code-bars"), entries.slice(0, MOST_BARS), (entry) => entry.code, createBar, (node, entry) => {
    const kind = kindOf(entry.code);
    drawBar(node, visible(entry.code), count(entry.number), entry.number / most, kind);
    mark(node, "title", kind);
  });
  byId("code-none").hidden = entries.length > 0;
}

// The tightest limit of each run that was active lately, the nearest first.
export function drawRuns(runs, acts) {
  const entries = [];
  for (const run of runs) {
    const tightest = tightestOf(run);
    if (tightest && (run.idle_seconds < ACTIVE_S || run.in_flight)) entries.push({ run, ...tightest });
  }
  entries.sort((a, b) => b.share - a.share || (a.run.run_id < b.run.run_id ? -1 : 1));
  sync(byId("run-bars"), entries.slice(0, MOST_BARS), (entry) => entry.run.run_id,
    (entry) => createRun(entry.run.run_id, acts), updateRun);
  byId("run-none").hidden = entries.length > 0;
}

function tightestOf(run) {
  let tightest = null;
  for (const name of Object.keys(LIMITS)) {
    const left = run.left[name];
    if (left === null || left === undefined) continue;
    const limit = run.used[name] + left;
    const share = limit > 0 ? Math.min(1, run.used[name] / limit) : 1;
    if (!tightest || share > tightest.share) tightest = { name, limit, share };
  }
  return tightest;
}

function createRun(runId, acts) {
  const node = createBar();
  const button = make("button");
  button.type = "button";
  button.addEventListener("click", () =>
    button.dataset.act === "revive" ? acts.revive(`run:${runId}`) : acts.kill("run", runId));
  node.append(button);
  node.classList.add("with-button");
  return node;
}

function updateRun(node, { run, name, limit, share }) {
  const used = name === "spend_usd" ? run.used[name].toFixed(2) : count(run.used[name]);
  const whole = name === "spend_usd" ? limit.toFixed(2) : count(limit);
  const isSpent = run.left[name] <= 0;
  const words = [`${used} of ${whole} ${LIMITS[name]}`];
  if (run.looped) words.push("looping");
  if (run.switch) words.push("stopped");
  else if (isSpent) words.push("spent");
  else if (share >= NEAR) words.push("near");
  const state = isSpent || run.looped ? "spent" : share >= NEAR ? "near" : "fine";
  drawBar(node, visible(run.run_id), words.join(" · "), share, state);
  const button = node.querySelector("button");
  const act = run.switch ? "revive" : "kill";
  mark(button, "data-act", act);
  button.className = act === "kill" ? "kill" : "revive";
  say(button, act === "kill" ? "Stop…" : "Revive…");
  mark(button, "aria-label", `${act === "kill" ? "Stop run" : "Revive run"} ${visible(run.run_id)}`);
}

function createBar() {
  const node = make("li");
  const track = make("span", "track");
  track.setAttribute("aria-hidden", "true");
  track.append(make("i"));
  node.append(make("span", "bar-name"), make("span", "bar-value"), track);
  return node;
}

function drawBar(node, name, value, share, state) {
  say(node.querySelector(".bar-name"), name);
  say(node.querySelector(".bar-value"), value);
  mark(node, "data-state", state);
  node.querySelector("i").style.width = `${(share * 100).toFixed(1)}%`;
}

// `sampling` as the API gives it; null: this sidecar has no such switch; nowMs in its time.
export function drawSampling(sampling, nowMs) {
  byId("sampling").hidden = sampling === null;
  if (sampling === null) return;
  const raised = (sampling.raised ?? []).filter((one) => Date.parse(one.expires) > nowMs);
  const forAll = raised.find((one) => one.scope === "all");
  const rate = forAll?.result_sample_rate ?? sampling.result_sample_rate;
  const isForbidden = sampling.sampled_tool_results === false;
  say(byId("sampling-rate"), isForbidden ? "0 %" : typeof rate === "number" ? percent(rate) : "A part");
  say(byId("sampling-until"), forAll ? `for ${countdown((Date.parse(forAll.expires) - nowMs) / 1000)} more` : "");
  const others = raised.filter((one) => one !== forAll).map((one) => switchName(one.scope));
  const more = others.length ? `Raised as well for ${others.join(", ")}.` : "";
  say(byId("sampling-more"), isForbidden ? "The policy forbids samples." : more);
  byId("sampling-acts").hidden = isForbidden;
  byId("sampling-end").hidden = raised.length === 0;
}
