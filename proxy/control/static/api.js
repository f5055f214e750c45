// The control API, asked with the token of this tab. The token is sent in a header and nowhere
// else: never in an address, which histories and logs keep.

const TOKEN = "toolbooth.token";
const ACTOR = "toolbooth.actor";
const TIMEOUT_MS = 10_000;

export class ApiError extends Error {
  constructor(status, code, detail) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

export const hasToken = () => sessionStorage.getItem(TOKEN) !== null;
export const setToken = (token) => sessionStorage.setItem(TOKEN, token);
export const forgetToken = () => sessionStorage.removeItem(TOKEN);
export const actor = () => sessionStorage.getItem(ACTOR) ?? "";
export const setActor = (name) => sessionStorage.setItem(ACTOR, name);

// Header values are bytes to fetch: UTF-8, one character a byte, and no controls.
function headerText(text) {
  const bytes = new TextEncoder().encode(text.replace(/[\p{Cc}]/gu, " ").trim());
  return Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
}

export function request(path, { method = "GET", body, signal } = {}) {
  const headers = {};
  const token = sessionStorage.getItem(TOKEN);
  if (token !== null) headers.Authorization = `Bearer ${headerText(token)}`;
  if (actor()) headers["Toolbooth-Actor"] = headerText(actor());
  if (body !== undefined) headers["Content-Type"] = "application/json";
  return fetch(path, {
    method, headers, signal,
    body: body === undefined ? undefined : JSON.stringify(body),
    cache: "no-store", credentials: "omit", redirect: "error", referrerPolicy: "no-referrer",
  });
}

export async function failureOf(response) {
  let problem = {};
  try {
    problem = await response.json();
  } catch {
    // Not ours: a port forwarder or a gateway in between answered.
  }
  const detail = problem.detail ?? `The control port answered ${response.status}.`;
  return new ApiError(response.status, problem.code ?? "", detail);
}

export async function ask(path, options = {}) {
  let response;
  try {
    response = await request(path, { ...options, signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (response.ok) return await response.json();
  } catch (error) {
    const detail = error.name === "TimeoutError" ? "does not answer" : "cannot be reached";
    throw new ApiError(0, "unreachable", `The control port ${detail}.`);
  }
  throw await failureOf(response);
}

export const engage = (key, reason, ttlSeconds) =>
  ask(`/v1/switches/${encodeURIComponent(key)}`, {
    method: "PUT",
    body: ttlSeconds === null ? { reason } : { reason, ttl_seconds: ttlSeconds },
  });

export const release = (key) =>
  ask(`/v1/switches/${encodeURIComponent(key)}`, { method: "DELETE" });
