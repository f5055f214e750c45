// The console: logs in, follows the sidecar, draws. Everything is drawn from `state` and `books`,
// at most four times a second, however many calls there are.

import { ask, forgetToken, hasToken, setToken } from "./api.js";
import { Books, rateOf, summed } from "./books.js";
import { CallTable } from "./calls.js";
import { drawChart } from "./chart.js";
import { KillDialog, ReviveDialog } from "./dialogs.js";
import { byId, mark, say } from "./element.js";
import { clock, count, duration, percent, rate, switchName, visible } from "./format.js";
import { drawCodes, drawRuns, drawSampling } from "./limits.js";
import { EventStream } from "./stream.js";
import { drawSwitches } from "./switches.js";
import { drawTools } from "./tools.js";

const DRAW_MS = 250;
const POLL_MS = 3000;
const RAISED_S = 300;
const NO_SWITCHES = { switches: [], policy: { disabled: [], writes_disabled: false } };

const books = new Books();
const state = {
  status: null, tools: [], runs: [], switches: NO_SWITCHES, sampling: null,
  skewMs: 0, // our clock minus the sidecar's
  isUp: false, freshMs: 0, problem: null, downMs: 0, retryAtMs: 0,
};
let stream = null;
let needsDrawing = true;

const changed = () => {
  needsDrawing = true;
};
const table = new CallTable(books, changed);
const kill = new KillDialog(namesOf, readSwitches);
const revive = new ReviveDialog(readSwitches);
const acts = {
  kill: (scope, name) => kill.open(scope, name),
  revive: (key) => {
    const entry = state.switches.switches.find((one) => one.key === key);
    if (entry) revive.open(entry);
  },
};

function namesOf(scope) {
  if (scope === "tool") return state.tools.map((tool) => tool.name);
  if (scope === "run") return state.runs.map((run) => run.run_id);
  return [...new Set(books.calls.map((call) => call.agent_id).filter(Boolean))];
}

// --- logging in ------------------------------------------------------------------------------

async function start() {
  try {
    takeStatus(await ask("/v1/status"));
  } catch (error) {
    if (error.status === 401) {
      lock(error);
      return;
    }
    // Not reachable now: the stream keeps trying, and says so.
  }
  unlock();
}

function lock(error) {
  stream?.stop();
  stream = null;
  say(byId("login-error"), hasToken() ? error.message : "");
  forgetToken();
  for (const id of ["main", "kill-open", "log-out", "banner"]) byId(id).hidden = true;
  byId("gate").hidden = false;
  setLink("off", "Not connected");
  byId("token").focus();
}

function unlock() {
  stream?.stop();
  byId("gate").hidden = true;
  byId("main").hidden = false;
  byId("kill-open").hidden = false;
  byId("log-out").hidden = !hasToken();
  stream = new EventStream({ up, down, locked: lock, event: takeEvent });
  stream.run();
}

byId("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  setToken(byId("token").value.trim());
  byId("token").value = "";
  await start();
  byId("main").focus({ preventScroll: true }); // the kill button is one step back
});
byId("log-out").addEventListener("click", () => {
  sessionStorage.clear();
  location.reload(); // with everything that is remembered
});

// --- following -------------------------------------------------------------------------------

async function up() {
  state.isUp = true;
  state.problem = null;
  books.forgetCounters();
  try {
    takeStatus(await ask("/v1/status"));
    // What the page does not remember it could not tell from what it counted already.
    const { calls } = await ask(`/v1/calls?limit=${books.calls.length ? 500 : 1000}`);
    for (const call of calls.reverse()) {
      books.add(call, Math.min(Date.now(), Date.parse(call.ts) + call.total_ms + state.skewMs));
    }
    await Promise.all([poll(), readSampling()]);
  } catch {
    // The stream tells when the sidecar is gone; a list that failed is read again soon.
  }
  changed();
}

function down(error, retryAtMs) {
  if (!state.problem) state.downMs = Date.now();
  state.isUp = false;
  state.problem = error;
  state.retryAtMs = retryAtMs;
  changed();
}

function takeEvent(name, data) {
  if (name === "call") books.add(data, Date.now());
  if (name === "dropped") books.loseSome();
  if (name === "switch") {
    announce(data);
    readSwitches();
  }
  if (name === "policy") {
    say(byId("live"), "Another policy is in force.");
    poll().catch(() => {}); // else the next round reads it
    readSampling();
  }
  changed();
}

function announce({ action, switch: entry }) {
  const what = switchName(entry.key);
  say(byId("live"), action === "engaged"
    ? `${what} switched off by ${visible(entry.actor)}: ${visible(entry.reason)}`
    : `${what} revived.`);
}

function takeStatus(status) {
  state.status = status;
  state.skewMs = Date.now() - (Date.parse(status.started) + status.uptime_seconds * 1000);
  state.freshMs = Date.now();
}

async function readSwitches() {
  try {
    state.switches = await ask("/v1/switches");
    state.tools = (await ask("/v1/tools")).tools;
  } catch {
    // The next poll reads them again.
  }
  changed();
}

async function poll() {
  const [status, tools, runs, switches] = await Promise.all(
    ["/v1/status", "/v1/tools", "/v1/runs?limit=200", "/v1/switches"].map((path) => ask(path)),
  );
  takeStatus(status);
  state.tools = tools.tools;
  state.runs = runs.runs;
  state.switches = switches;
  books.compare(state.tools, Date.now());
  changed();
}

async function pollOn() {
  if (state.isUp && !document.hidden) {
    try {
      await poll();
    } catch (error) {
      if (error.status === 401) lock(error);
    }
  }
  setTimeout(pollOn, POLL_MS);
}

// --- how much is logged ----------------------------------------------------------------------

async function readSampling() {
  try {
    state.sampling = await ask("/v1/observability");
  } catch (error) {
    if (error.status === 404) state.sampling = null; // a sidecar without it
  }
  changed();
}

async function orderSampling(order) {
  say(byId("sampling-error"), "");
  try {
    state.sampling = await ask("/v1/observability", order);
  } catch (error) {
    say(byId("sampling-error"), error.message);
  }
  changed();
}

byId("sampling-raise").addEventListener("click", () => {
  const rate = Number(byId("sampling-choice").value);
  orderSampling({ method: "PATCH", body: { result_sample_rate: rate, ttl_seconds: RAISED_S } });
});
byId("sampling-end").addEventListener("click", () => orderSampling({ method: "DELETE" }));

// --- drawing ---------------------------------------------------------------------------------

function setLink(kind, text) {
  mark(byId("link"), "data-state", kind);
  say(byId("link-text"), text);
}

function drawLink(nowMs) {
  byId("banner").hidden = !state.problem;
  if (!state.problem) {
    setLink(state.isUp ? "up" : "off", state.isUp ? "Live" : "Connecting");
    return;
  }
  setLink("down", "Disconnected");
  const stale = state.freshMs ? ` What you see is from ${clock(state.freshMs)}.` : "";
  const waitS = Math.max(0, Math.ceil((state.retryAtMs - nowMs) / 1000));
  say(byId("banner-text"), `Disconnected. ${state.problem.message}${stale}`);
  say(byId("banner-retry"), waitS ? `Try now (${waitS} s)` : "Trying…");
}

// Seen even where the page itself is not: among the tabs.
function drawTitle() {
  const number = state.switches.switches.length;
  const alarm = state.problem ? "⚠ disconnected · " : number ? `⛔ ${number} off · ` : "";
  if (document.title !== `${alarm}Toolbooth`) document.title = `${alarm}Toolbooth`;
}

function drawOverview(nowMs) {
  const window = books.total.window(nowMs);
  const sum = summed(window);
  const peak = Math.max(...window.map((b) => b.passed + b.refused + b.failed)) / 5;
  say(byId("fig-rate"), rate(rateOf(window, nowMs)));
  say(byId("fig-rate-sub"), `at most ${rate(peak)} in 5 min`);
  say(byId("fig-refused"), percent(sum.calls ? sum.refused / sum.calls : 0));
  say(byId("fig-failed"), percent(sum.calls ? sum.failed / sum.calls : 0));
  say(byId("fig-flight"), count(state.tools.reduce((all, tool) => all + tool.in_flight, 0)));
  say(byId("fig-runs"), state.status ? count(state.status.runs) : "–");
  const active = state.runs.filter((run) => run.idle_seconds < 60).length;
  say(byId("fig-runs-sub"), `${count(active)}${active >= 200 ? " or more" : ""} active in 1 min`);
  drawChart(byId("trend"), window, 96,
    `All tools, last 5 minutes: ${count(sum.calls)} calls, ${sum.refused} refused, ${sum.failed} failed`);
}

function drawAbout() {
  if (!state.status) return;
  const { version, policy, uptime_seconds: uptime, draining } = state.status;
  say(byId("about"), `${draining ? "DRAINING · " : ""}${version} · policy ${visible(policy.version)} · up ${duration(uptime)}`);
}

let lastDrawnMs = 0;

function draw() {
  const nowMs = Date.now();
  drawLink(nowMs);
  drawTitle();
  if (document.hidden || byId("main").hidden) return;
  if (!needsDrawing && nowMs - lastDrawnMs < 1000) return;
  needsDrawing = false;
  lastDrawnMs = nowMs;
  byId("main").classList.toggle("stale", state.problem !== null);
  drawAll(state.problem ? state.downMs : nowMs); // what nobody told us is not a quiet time
}

function drawAll(nowMs) {
  drawAbout();
  drawSwitches(state.switches, nowMs - state.skewMs, acts.revive);
  drawOverview(nowMs);
  drawTools(state.tools, books, nowMs, acts);
  drawCodes(books, nowMs);
  drawRuns(state.runs, acts);
  drawSampling(state.sampling, nowMs - state.skewMs);
  table.draw();
}

byId("kill-open").addEventListener("click", () => kill.open());
byId("banner-retry").addEventListener("click", () => stream?.retryNow());
byId("tool-find").addEventListener("input", changed);
setInterval(draw, DRAW_MS);
setTimeout(pollOn, POLL_MS);
start();
