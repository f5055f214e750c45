// The event stream, read with fetch, since an EventSource cannot send a token. Comes back by
// itself, ever more slowly, and tells when it is gone.

import { ApiError, failureOf, request } from "./api.js";

const SILENCE_MS = 40_000; // the sidecar says something every 15 s
const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 30_000;
const LONGEST_BLOCK = 1 << 20; // characters; no event of the sidecar comes near

export class EventStream {
  #told;
  #attempts = 0;
  #abort = null;
  #wake = null;
  #stopped = false;

  // told: {up(), down(error, retryAtMs), locked(error), event(name, data)}
  constructor(told) {
    this.#told = told;
  }

  async run() {
    while (!this.#stopped) {
      const error = await this.#once();
      if (this.#stopped) return;
      if (error.status === 401) {
        this.#told.locked(error);
        return;
      }
      const longest = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.#attempts);
      const waitMs = longest * (0.75 + Math.random() / 4); // not all pages at once
      this.#attempts += 1;
      this.#told.down(error, Date.now() + waitMs);
      await this.#pause(waitMs);
    }
  }

  retryNow() {
    this.#wake?.();
  }

  stop() {
    this.#stopped = true;
    this.#abort?.abort();
    this.#wake?.();
  }

  #pause(ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  // One connection, to its end; gives the reason of the end.
  async #once() {
    this.#abort = new AbortController();
    let timer = 0;
    const alive = () => {
      clearTimeout(timer);
      timer = setTimeout(() => this.#abort.abort(), SILENCE_MS);
    };
    try {
      alive();
      const response = await request("/v1/events", { signal: this.#abort.signal });
      if (!response.ok) return await failureOf(response);
      await this.#read(response.body, alive);
      return new ApiError(0, "ended", "The sidecar ended the stream.");
    } catch {
      return new ApiError(0, "unreachable", "The control port cannot be reached.");
    } finally {
      clearTimeout(timer);
      this.#abort.abort();
    }
  }

  async #read(body, alive) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    let isUp = false;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      alive();
      if (!isUp) {
        isUp = true; // the sidecar speaks as soon as it listens to us
        this.#attempts = 0;
        this.#told.up();
      }
      const blocks = (text + value).split("\n\n");
      text = blocks.pop();
      if (text.length > LONGEST_BLOCK) throw new Error("an event without end");
      for (const block of blocks) this.#tell(block);
    }
  }

  #tell(block) {
    let name = "message";
    const data = [];
    for (const line of block.split("\n")) {
      if (line.startsWith("event:")) name = line.slice(6).trim();
      if (line.startsWith("data:")) data.push(line.slice(5).trimStart());
    }
    if (data.length) this.#told.event(name, JSON.parse(data.join("\n")));
  }
}
