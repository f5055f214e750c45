// A small chart of the last five minutes: let through above the line, refused and failed below it.
// The place says what the colour says.

import { BUCKETS, KINDS } from "./books.js";
import { makeSvg, mark } from "./element.js";

const STEP = 4;
const BAR = 3;
const UPPER_SHARES = [0.72, 0.5, 0.28]; // where the line may be; few places, so that it stays put
const SMALLEST = 1.2; // what is not nothing is seen

export function drawChart(svg, window, height, label) {
  if (!svg.firstChild) prepare(svg, height);
  const { base, scale } = layout(window, height);
  mark(svg.firstChild, "d", `M0 ${base + 0.5}H${BUCKETS * STEP}`);
  const paths = { passed: "", refused: "", failed: "" };
  window.forEach((bucket, place) => {
    const x = place * STEP;
    const up = tall(bucket.passed * scale, bucket.passed);
    const refused = tall(bucket.refused * scale, bucket.refused);
    const failed = tall(bucket.failed * scale, bucket.failed);
    paths.passed += bar(x, base - up, up);
    paths.refused += bar(x, base + 1, refused);
    paths.failed += bar(x, base + 1 + refused, failed);
  });
  for (const path of svg.querySelectorAll("path[data-kind]")) {
    mark(path, "d", paths[path.dataset.kind] || "M0 0");
  }
  mark(svg, "aria-label", label);
}

function prepare(svg, height) {
  svg.setAttribute("viewBox", `0 0 ${BUCKETS * STEP} ${height}`);
  svg.append(makeSvg("path", { class: "base" }));
  for (const kind of KINDS) {
    const path = makeSvg("path", { class: kind });
    path.dataset.kind = kind;
    svg.append(path);
  }
}

// One scale for both sides, as large as fits; a lone call does not fill the chart.
function layout(window, height) {
  let up = 2;
  let down = 1;
  for (const { passed, refused, failed } of window) {
    up = Math.max(up, passed);
    down = Math.max(down, refused + failed);
  }
  let best = { base: 0, scale: 0 };
  for (const share of UPPER_SHARES) {
    const base = Math.round(height * share);
    const scale = Math.min(base / up, (height - base - 1) / down);
    if (scale > best.scale * 1.01) best = { base, scale };
  }
  return best;
}

const tall = (height, number) => (number ? Math.max(SMALLEST, height) : 0);
const bar = (x, y, height) =>
  height ? `M${x} ${y.toFixed(1)}h${BAR}v${height.toFixed(1)}h-${BAR}z` : "";
