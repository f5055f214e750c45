// Switching off and on again: both ask before they act, and both can be done by keyboard alone.

import { actor, engage, release, setActor } from "./api.js";
import { byId, make, say } from "./element.js";
import { switchName, visible } from "./format.js";

const NAMED = { tool: "Tool", run: "Run id", agent: "Agent id" };
const MOST_NAMES = 500;

export class KillDialog {
  #namesOf;
  #changed;

  // namesOf(scope): names to offer. changed(): something was switched.
  constructor(namesOf, changed) {
    this.#namesOf = namesOf;
    this.#changed = changed;
    byId("kill-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    byId("kill-form").addEventListener("input", () => this.#describe());
    byId("kill-form").addEventListener("change", (event) => {
      if (event.target.name === "scope") this.#offerNames();
    });
    byId("kill-cancel").addEventListener("click", () => byId("kill").close());
  }

  open(scope = "tool", name = "") {
    byId("kill-form").reset();
    byId("kill-form").querySelector(`input[name=scope][value=${scope}]`).checked = true;
    byId("kill-name").value = name;
    byId("kill-actor").value = actor();
    say(byId("kill-error"), "");
    this.#offerNames();
    this.#describe();
    byId("kill").showModal();
    byId(name ? "kill-reason" : "kill-name").focus();
  }

  #scope() {
    return new FormData(byId("kill-form")).get("scope");
  }

  #offerNames() {
    const names = NAMED[this.#scope()] ? this.#namesOf(this.#scope()).slice(0, MOST_NAMES) : [];
    byId("kill-names").replaceChildren(...names.map((name) => {
      const option = make("option");
      option.value = name;
      return option;
    }));
  }

  #describe() {
    const scope = this.#scope();
    const isNamed = scope in NAMED;
    byId("kill-name-part").hidden = !isNamed;
    byId("kill-name").required = isNamed;
    say(byId("kill-name-label"), NAMED[scope] ?? "");
    const name = visible(byId("kill-name").value.trim());
    const what = {
      tool: `Every call of ${name || "the tool"}`, run: `Every call of run ${name}`, agent: `Every call of agent ${name}`,
      writes: "Every call that may change something, of any tool,", all: "Every call of every tool",
    }[scope];
    say(byId("kill-effect"), `${what} is refused from the next one on. Open streams and tunnels end at once.`);
    const button = { tool: "Kill tool", run: "Stop run", agent: "Stop agent", writes: "Stop all writes", all: "Stop everything" };
    say(byId("kill-do"), button[scope]);
  }

  async #submit() {
    const scope = this.#scope();
    const key = scope in NAMED ? `${scope}:${byId("kill-name").value.trim()}` : scope;
    const ttl = byId("kill-ttl").value;
    setActor(byId("kill-actor").value.trim());
    await attempt("kill", async () => {
      await engage(key, byId("kill-reason").value.trim(), ttl ? Number(ttl) : null);
      this.#changed();
    });
  }
}

export class ReviveDialog {
  #entry = null;

  constructor(changed) {
    byId("revive-form").addEventListener("submit", (event) => {
      event.preventDefault();
      attempt("revive", async () => {
        await release(this.#entry.key);
        changed();
      });
    });
    byId("revive-cancel").addEventListener("click", () => byId("revive").close());
  }

  // entry: the switch as the API gives it.
  open(entry) {
    this.#entry = entry;
    say(byId("revive-title"), `Revive ${switchName(entry.key)}?`);
    say(byId("revive-what"), `Calls go through again from the next one on. ${visible(entry.actor)} switched it off because:`);
    say(byId("revive-reason"), visible(entry.reason));
    say(byId("revive-error"), "");
    byId("revive").showModal();
    byId("revive-do").focus();
  }
}

// Does it once, closes the dialog if it is done, else says there why not.
async function attempt(dialog, act) {
  const button = byId(`${dialog}-do`);
  if (button.disabled) return;
  button.disabled = true;
  say(byId(`${dialog}-error`), "");
  try {
    await act();
    byId(dialog).close();
  } catch (error) {
    say(byId(`${dialog}-error`), error.message);
  } finally {
    button.disabled = false;
  }
}
