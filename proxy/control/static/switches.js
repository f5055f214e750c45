// What is switched off, by whom, why and for how long; with the way back.

import { byId, make, say, sync } from "./element.js";
import { countdown, duration, switchName, visible } from "./format.js";

// switches: {switches: [...], policy: {...}} as the API gives them; nowMs in the sidecar's time.
export function drawSwitches(switches, nowMs, revive) {
  const entries = [
    ...switches.switches,
    ...switches.policy.disabled.map((name) => byPolicy(`tool:${name}`)),
    ...(switches.policy.writes_disabled ? [byPolicy("writes")] : []),
  ];
  byId("switches").hidden = entries.length === 0;
  sync(byId("switch-list"), entries, (entry) => `${entry.policy ? "policy " : ""}${entry.key}`,
    (entry) => create(entry, revive), (node, entry) => update(node, entry, nowMs));
}

const byPolicy = (key) => ({ key, policy: true });

function create(entry, revive) {
  const node = make("li", entry.policy ? "switch fixed" : "switch");
  const icon = make("span", "off-icon");
  icon.setAttribute("aria-hidden", "true");
  const text = make("div", "switch-text");
  text.append(make("strong"), make("p", "why"), make("p", "meta"));
  node.append(icon, text);
  if (!entry.policy) {
    const button = make("button", "revive", "Revive…");
    button.type = "button";
    button.setAttribute("aria-label", `Revive ${switchName(entry.key)}`);
    button.addEventListener("click", () => revive(entry.key));
    node.append(button);
  }
  return node;
}

function update(node, entry, nowMs) {
  const [name, why, meta] = node.querySelector(".switch-text").children;
  say(name, `${switchName(entry.key)} is off`);
  if (entry.policy) {
    say(why, "Switched off by the policy file; only the file can change it.");
    return;
  }
  say(why, visible(entry.reason));
  const age = duration((nowMs - Date.parse(entry.since)) / 1000);
  const end = entry.expires === null
    ? "until revived"
    : `ends in ${countdown((Date.parse(entry.expires) - nowMs) / 1000)}`;
  say(meta, `by ${visible(entry.actor)} · ${age} ago · ${end}`);
}
