// How numbers, times and names from outside are written.

const HIDDEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}]/gu;
const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

// Control and direction characters as escapes: a run id must not look like another one.
export const visible = (text) =>
  String(text ?? "").replace(HIDDEN, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);

export const count = (number) => whole.format(number);

export function rate(perSecond) {
  if (perSecond >= 100) return whole.format(perSecond);
  if (perSecond === 0) return "0";
  return perSecond < 0.1 ? "< 0.1" : perSecond.toFixed(1);
}

export function milliseconds(ms) {
  if (ms === null || ms === undefined) return "–";
  return ms < 10 ? ms.toFixed(1) : whole.format(ms);
}

export function percent(share) {
  if (share > 0 && share < 0.001) return "< 0.1 %";
  const text = (share * 100).toFixed(share < 0.1 ? 1 : 0);
  return `${text.replace(/\.0$/, "")} %`;
}

// 4 s, 12 min, 3 h 20 min, 2 d 4 h
export function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return joined(Math.floor(s / 3600), "h", Math.floor((s % 3600) / 60), "min");
  return joined(Math.floor(s / 86400), "d", Math.floor((s % 86400) / 3600), "h");
}

const joined = (big, bigUnit, small, smallUnit) =>
  `${big} ${bigUnit}${small ? ` ${small} ${smallUnit}` : ""}`;

// 9:58, 1:02:03
export function countdown(seconds) {
  const s = Math.max(0, Math.ceil(seconds));
  const two = (n) => String(n).padStart(2, "0");
  const minutes = Math.floor(s / 60);
  if (minutes < 60) return `${minutes}:${two(s % 60)}`;
  return `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(s % 60)}`;
}

export function clock(ms) {
  const two = (n) => String(n).padStart(2, "0");
  const time = new Date(ms);
  return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
}

// `tool:search.read` as a person says it.
export function switchName(key) {
  if (key === "all") return "Everything";
  if (key === "writes") return "All writes";
  const place = key.indexOf(":");
  const kind = key.slice(0, 1).toUpperCase() + key.slice(1, place);
  return `${kind} ${visible(key.slice(place + 1))}`;
}
