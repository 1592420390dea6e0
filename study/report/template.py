"""The template, the style and the script of report.html. Everything that is put in is escaped (jinja2, autoescape)."""

STYLE = """
:root { color-scheme: light; --ink: #1d2329; --soft: #5b6570; --line: #d5dae0; --bad: #a3261b; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 80rem; padding: 2rem 1.5rem 4rem; color: var(--ink); background: #fff;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, "Liberation Sans", sans-serif; }
h1, h2, h3 { overflow-wrap: anywhere; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.3rem; margin: 2.6rem 0 .6rem; padding-bottom: .25rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
p, ul { max-width: 60rem; margin: .5rem 0; overflow-wrap: anywhere; }
ul { padding-left: 1.2rem; }
.lead { font-size: 1.1rem; color: var(--soft); margin: 0 0 1rem; }
.small, figcaption { font-size: .86rem; color: var(--soft); }
nav { font-size: .9rem; margin: 1rem 0 0; }
nav a { margin-right: 1.1rem; white-space: nowrap; }
#summary { border: 1px solid var(--line); border-radius: 6px; padding: .2rem 1.2rem .8rem; margin: 1.2rem 0 0; }
#summary h2 { border: 0; font-size: 1.05rem; margin: .9rem 0 .2rem; padding: 0; }
a { color: #0b5cad; }
.scroll { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { padding: .28rem .5rem; text-align: right; vertical-align: top; white-space: nowrap; }
table.many { font-size: .84rem; }
table.many th, table.many td { padding-left: .35rem; padding-right: .35rem; }
th { font-weight: 600; }
th[scope="row"] { font-weight: 400; }
th.l, td.l { text-align: left; }
td.wide, th.wide { white-space: normal; overflow-wrap: anywhere; min-width: 12rem; }
thead th.wide { min-width: 7rem; }
th [role="button"] { cursor: pointer; }
th [role="button"]:focus-visible { outline: 2px solid #0b5cad; }
th[aria-sort="ascending"] span::after { content: " \\25b2"; font-size: .7em; }
th[aria-sort="descending"] span::after { content: " \\25bc"; font-size: .7em; }
thead tr:first-child th { border-top: 2px solid var(--ink); }
thead tr:last-child th { border-bottom: 1px solid var(--ink); }
th.over { text-align: center; border-bottom: 1px solid var(--line); }
tbody { border-bottom: 1px solid var(--line); }
tbody:last-of-type { border-bottom: 2px solid var(--ink); }
td .sd { color: var(--soft); white-space: nowrap; }
td .gap { display: block; white-space: nowrap; color: var(--bad); font-size: .88em; }
.strong { font-weight: 600; }
details { border: 1px solid var(--line); border-radius: 4px; margin: .6rem 0; padding: 0 .8rem; }
details[open] { padding-bottom: .4rem; }
summary { cursor: pointer; font-size: .94rem; font-weight: 600; overflow-wrap: anywhere; padding: .4rem 0; }
summary:focus-visible { outline: 2px solid #0b5cad; }
.failed { color: var(--bad); }
figure { margin: 1rem 0; max-width: 60rem; border: 1px solid var(--line); }
figure img { display: block; max-width: 100%; height: auto; }
figcaption { padding: .4rem .8rem; }
code { font: .92em ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: fit-content(20rem) minmax(0, 1fr); gap: .25rem 1.2rem; }
dt { color: var(--soft); overflow-wrap: anywhere; }
dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 40rem) {
  body { padding: 1.2rem .9rem 3rem; }
  dl { grid-template-columns: minmax(0, 1fr); }
  dd { margin-bottom: .5rem; }
}
@media print {
  @page { margin: 14mm; size: A4 landscape; }
  html { font-size: 10pt; }
  body { max-width: none; padding: 0; font-size: 1rem; }
  nav { display: none; }
  .scroll { overflow: visible; }
  table { font-size: 8.5pt; line-height: 1.3; }
  th, td { padding: .12rem .4rem; }
  table.many { font-size: 7pt; }
  table.many th, table.many td { padding: .12rem .25rem; }
  th, td { white-space: normal; }
  h2, h3, summary { break-after: avoid; }
  tr, li, dt, dd, figure img, figcaption, table.short, tbody.named { break-inside: avoid; }
  thead { break-after: avoid; }
  figcaption, .scroll + .small { break-before: avoid; }
  figure, details { border: 0; padding: 0; }
  summary { list-style: none; }
  details:not([open]) > summary::after { content: " (folded: open it to print it)"; color: var(--soft);
    font-weight: 400; }
}
"""

SCRIPT = """
"use strict";
const number = text => parseFloat(text.replace(/^(n=|[+])/, "").replace(/,/g, ""));
const entry = (row, column) => row.cells[column] ? row.cells[column].textContent.trim() : "";
const spread = body => {
  const name = body.rows[0] && body.rows[0].querySelector("th[rowspan]");
  if (!name) return;
  name.removeAttribute("rowspan");
  for (const row of [...body.rows].slice(1)) row.prepend(name.cloneNode(true));
};
const compare = (a, b, down) => {
  const [x, y] = [number(a), number(b)];
  if (isNaN(x) && isNaN(y)) return down ? b.localeCompare(a) : a.localeCompare(b);
  if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y);
  return down ? y - x : x - y;
};
for (const table of document.querySelectorAll("table")) {
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  heads.forEach((head, column) => {
    if (!head.textContent) return;
    const button = document.createElement("span");  // a real button is not printed on the next pages of a long table
    button.setAttribute("role", "button");
    button.tabIndex = 0;
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("keydown", event => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();  // a blank would scroll the page
      button.click();
    });
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      for (const body of table.tBodies) {
        spread(body);
        const rows = [...body.rows].sort((a, b) => compare(entry(a, column), entry(b, column), down));
        body.append(...rows);
      }
    });
  });
}
"""

TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{{ policy }}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{{ name }}: results</title>
<style>{{ style }}</style>
</head>
<body>
{% macro words(part) %}
{% for line in part.lines %}
<p{% if part.small %} class="small"{% endif %}>{{ line|coded }}</p>
{% endfor %}
{% endmacro %}
{% macro items(part) %}
<ul{% if part.small %} class="small"{% endif %}>
{% for item in part.items %}
<li{% if item.strong %} class="strong"{% endif %}>{{ item.text|coded }}</li>
{% endfor %}
</ul>
{% endmacro %}
{% macro pairs(part) %}
{% if part.title %}
<h3>{{ part.title }}</h3>
{% endif %}
<dl>
{% for name, value in part.rows %}
<dt>{{ name }}</dt>
<dd>{{ value|coded }}</dd>
{% endfor %}
</dl>
{% endmacro %}
{% macro picture(part) %}
<figure>
{% for image in part.shown %}
<img src="{{ image.address }}"{% if image.width %} width="{{ image.width }}"{% endif %}
 alt="{{ part.name }}{% if not loop.first %}, continued{% endif %}">
{% endfor %}
{% if part.caption %}
<figcaption>{{ part.caption }}</figcaption>
{% endif %}
</figure>
{% endmacro %}
{% macro table(part) %}
{% if part.title %}
<h3>{{ part.title }}</h3>
{% endif %}
<div class="scroll">
<table{% if part.looks %} class="{{ part.looks }}"{% endif %}>
<thead>
{% if part.over %}
<tr>
{% for _ in range(part.left) %}
<th></th>
{% endfor %}
{% for text, width in part.over %}
<th class="over{% if text|length > 24 %} wide{% endif %}" colspan="{{ width }}" scope="colgroup">{{ text }}</th>
{% endfor %}
</tr>
{% endif %}
<tr>
{% for name in part.header %}
{% set looks = ["l" if loop.index0 < part.left, "wide" if name|length > 24]|select|join(" ") %}
<th scope="col"{% if looks %} class="{{ looks }}"{% endif %}>{{ name }}</th>
{% endfor %}
</tr>
</thead>
{% for body in part.bodies %}
{% set named = body.name is not none %}
<tbody{% if named %} class="named"{% endif %}>
{% for row in body.rows %}
<tr>
{% if named and loop.first %}
<th class="l{% if body.name|length > 28 %} wide{% endif %}" scope="rowgroup"
 rowspan="{{ body.rows|length }}">{{ body.name }}</th>
{% endif %}
{% for entry in row %}
{% set place = loop.index0 + named|int %}
{% set wide = entry is not escaped and entry|length > 40 %}
{% if place < part.left and loop.first %}
<th class="l{% if wide %} wide{% endif %}" scope="row">{{ entry }}</th>
{% elif place < part.left %}
<td class="l{% if wide %} wide{% endif %}">{{ entry }}</td>
{% else %}
<td{% if wide %} class="wide"{% endif %}>{{ entry }}</td>
{% endif %}
{% endfor %}
</tr>
{% endfor %}
</tbody>
{% endfor %}
</table>
</div>
{% if part.note %}
<p class="small">{{ part.note }}</p>
{% endif %}
{% endmacro %}
{% macro fold(part) %}
<details{% if part.open %} open{% endif %}>
<summary>{{ part.title }}</summary>
{% for inner in part.parts %}
{{ draw[inner.kind](inner) }}
{% endfor %}
</details>
{% endmacro %}
{% set draw = {"words": words, "items": items, "pairs": pairs, "picture": picture, "table": table, "fold": fold} %}
<header>
<h1>{{ name }}</h1>
{% if description %}
<p class="lead">{{ description }}</p>
{% endif %}
<p{% if not complete %} class="failed"{% endif %}>{{ state }}</p>
{% if summary %}
<section id="summary">
{% for heading, list in summary %}
<h2>{{ heading }}</h2>
{{ items(list) }}
{% endfor %}
</section>
{% endif %}
<nav>
{% for section in sections %}
<a href="#{{ section.anchor }}">{{ section.title }}</a>
{% endfor %}
</nav>
</header>
{% for section in sections %}
<section id="{{ section.anchor }}">
<h2>{{ section.title }}</h2>
{% for part in section.parts %}
{{ draw[part.kind](part) }}
{% endfor %}
</section>
{% endfor %}
<script>{{ script }}</script>
</body>
</html>
"""
