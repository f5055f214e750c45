"""The style sheet of the page: two palettes of the same roles, and one for paper."""

STYLE = """
:root {
  color-scheme: light dark;
  --ground: #f5f6f8; --card: #fff; --line: #e1e5ea; --text: #18202b; --soft: #596474;
  --ok: #3d72d6; --refused: #c77c10; --failed: #b3261e; --gone: #868f9c; --bar: #3d72d6;
  --warn: #fff5e2; --warn-line: #eccf96;
  --mono: ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #0e1319; --card: #161c25; --line: #2a3441; --text: #e7ebf1; --soft: #9aa6b6;
    --ok: #6b9df5; --refused: #e5a13c; --failed: #ff7f73; --gone: #69788c; --bar: #6b9df5;
    --warn: #2c2413; --warn-line: #57461d;
  }
}
*, *::before, *::after { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0 auto; max-width: 76rem; padding: 1.5rem 1rem 3rem; background: var(--ground);
  color: var(--text); font: 14px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
}
h1 { margin: 0; font-size: 1.5rem; letter-spacing: -.01em; }
h2 { margin: 0 0 .15rem; font-size: 1rem; }
h3 { margin: 0; font-size: .875rem; font-weight: 600; overflow-wrap: anywhere; }
p { margin: 0; color: var(--soft); }
header p { margin-top: .25rem; overflow-wrap: anywhere; }
section, .tile {
  background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 1rem;
}
section { margin-top: 1rem; min-width: 0; }
section > p { margin-bottom: .75rem; }
.warning {
  margin-top: .75rem; padding: .5rem .75rem; background: var(--warn); color: var(--text);
  border: 1px solid var(--warn-line); border-radius: 6px;
}
.tiles {
  display: grid; gap: .75rem; margin-top: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr));
}
.tile { padding: .7rem .9rem; }
.tile b { display: block; font-size: 1.4rem; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); }
.pair {
  display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr));
}
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1rem; margin-bottom: .5rem; }
.legend span::before {
  content: ""; display: inline-block; width: .7em; height: .7em; margin-right: .4em;
  border-radius: 2px; background: var(--swatch);
}
.plot { display: grid; grid-template-columns: auto minmax(0, 1fr); gap: 0 .5rem; }
.scale {
  display: flex; flex-direction: column; justify-content: space-between; text-align: right;
  margin: -.6em 0;
}
.scale, .axis { color: var(--soft); font-size: .78rem; font-variant-numeric: tabular-nums; }
.axis { grid-column: 2; display: flex; justify-content: space-between; padding-top: .25rem; }
svg { display: block; width: 100%; height: 11rem; border-bottom: 1px solid var(--soft); }
svg line { stroke: var(--line); vector-effect: non-scaling-stroke; }
svg .ok { fill: var(--ok); } svg .refused { fill: var(--refused); }
svg .failed { fill: var(--failed); } svg .gone { fill: var(--gone); }
svg .over { fill: transparent; } svg .over:hover { fill: var(--text); fill-opacity: .08; }
.tools {
  display: grid; gap: 1.25rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 15rem), 1fr));
}
.tools svg { height: 4.5rem; margin-top: .4rem; }
.tools .axis { padding-top: .15rem; }
.bars {
  display: grid; grid-template-columns: fit-content(14rem) minmax(3rem, 1fr) auto;
  gap: .35rem .75rem; align-items: center;
}
.bars > .name {
  overflow: hidden; text-overflow: ellipsis; white-space: nowrap; font-family: var(--mono);
  font-size: .8rem;
}
.bars > .value { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.track { height: .8rem; }
.track i {
  display: block; height: 100%; min-width: 2px; border-radius: 2px; background: var(--bar);
}
.track .refused { background: var(--refused); } .track .failed { background: var(--failed); }
.wide { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td {
  padding: .35rem .6rem; text-align: left; border-bottom: 1px solid var(--line);
  white-space: nowrap;
}
th { color: var(--soft); font-weight: 500; font-size: .8rem; }
tr:last-child td { border-bottom: 0; }
td:first-child, th:first-child { padding-left: 0; }
.n { text-align: right; }
.id {
  font-family: var(--mono); font-size: .8rem; max-width: 18rem; overflow: hidden;
  text-overflow: ellipsis;
}
.long { white-space: normal; min-width: 18rem; overflow-wrap: anywhere; }
section > .more, .more { margin: .5rem 0 0; }
.more + .bars { margin-top: .35rem; }
.zero { color: var(--soft); }
@media (max-width: 40rem) {
  body { padding: 1rem .6rem 2rem; }
  section { padding: .75rem; }
  .tiles { grid-template-columns: repeat(2, 1fr); gap: .5rem; }
  .bars { grid-template-columns: fit-content(9rem) minmax(2rem, 1fr) auto; }
}
@media print {
  :root { color-scheme: light; --ground: #fff; }
  body {
    padding: 0; max-width: none; font-size: 10px; print-color-adjust: exact;
    -webkit-print-color-adjust: exact;
  }
  section, .tile { break-inside: avoid; }
  .wide { overflow: visible; } th, td { padding: .2rem .35rem; }
  .id { max-width: 11rem; } .long { min-width: 0; }
}
"""
