"""The template and the style of report.html. Everything that is put in is escaped (jinja2, autoescape)."""

STYLE = """
:root { color-scheme: light; --ink: #1d2329; --soft: #5b6570; --line: #d5dae0; --bad: #a3261b; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 80rem; padding: 2rem 1.5rem 4rem; color: var(--ink); background: #fff;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, "Liberation Sans", sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 2.6rem 0 .6rem; padding-bottom: .25rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
p, ul { max-width: 60rem; margin: .5rem 0; overflow-wrap: anywhere; }
ul { padding-left: 1.2rem; }
.lead { font-size: 1.1rem; color: var(--soft); margin: 0 0 1rem; }
.small, figcaption { font-size: .86rem; color: var(--soft); }
nav { font-size: .9rem; margin: 1rem 0 0; }
nav a { margin-right: 1.1rem; }
a { color: #0b5cad; }
.scroll { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { padding: .28rem .5rem; text-align: right; vertical-align: top; white-space: nowrap; }
th { font-weight: 600; }
th[scope="row"] { font-weight: 400; }
th.l, td.l { text-align: left; }
td.wrap { white-space: normal; overflow-wrap: anywhere; min-width: 14rem; }
thead tr:first-child th { border-top: 2px solid var(--ink); }
thead tr:last-child th { border-bottom: 1px solid var(--ink); }
th.over { text-align: center; border-bottom: 1px solid var(--line); }
tbody { border-bottom: 1px solid var(--line); }
tbody:last-of-type { border-bottom: 2px solid var(--ink); }
td .sd { color: var(--soft); }
td .gap { display: block; color: var(--bad); font-size: .82rem; }
.decisive { font-weight: 600; }
.failed { color: var(--bad); }
figure { margin: 1rem 0; max-width: 60rem; border: 1px solid var(--line); }
figure img { display: block; width: 100%; height: auto; }
figcaption { padding: .4rem .8rem; }
code { font: .92em ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.2rem; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 40rem) { dl { grid-template-columns: 1fr; } dd { margin-bottom: .5rem; } }
@media print {
  @page { margin: 14mm; size: A4 landscape; }
  body { max-width: none; padding: 0; font-size: 10.5pt; }
  nav { display: none; }
  .scroll { overflow: visible; }
  h2, h3 { break-after: avoid; }
  tr, li, figure img { break-inside: avoid; }
  figure { border: 0; }
}
"""

TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{{ policy }}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{{ about.name }}: results</title>
<style>{{ style }}</style>
</head>
<body>
{% macro item(text, decisive=false) %}
<li{% if decisive %} class="decisive"{% endif %}>{{ text }}</li>
{% endmacro %}
{% macro heads(names, left) %}
<thead>
<tr>
{% for name in names %}
<th scope="col"{% if name in left %} class="l"{% endif %}>{{ name }}</th>
{% endfor %}
</tr>
</thead>
{% endmacro %}
{% macro named(rows) %}
<dl>
{% for name, value in rows %}
<dt>{{ name }}</dt>
<dd>{{ value }}</dd>
{% endfor %}
</dl>
{% endmacro %}
{% macro bodies(blocks, which) %}
{% for block in blocks %}
<tbody>
{% for row in block.rows %}
<tr>
{% if loop.first %}
<th class="l" scope="rowgroup" rowspan="{{ block.rows|length }}">{{ block.name }}</th>
{% endif %}
<th class="l" scope="row">{{ row.label }}</th>
{% for entry in row[which] %}
<td>{{ entry }}</td>
{% endfor %}
</tr>
{% endfor %}
</tbody>
{% endfor %}
{% endmacro %}
{% macro grid(which, text) %}
<div class="scroll">
<table>
<thead>
<tr>
<th></th>
<th></th>
{% for name, width in datasets %}
<th class="over" colspan="{{ width }}" scope="colgroup">{{ name }}</th>
{% endfor %}
</tr>
<tr>
<th class="l" scope="col">Encoder</th>
<th class="l" scope="col">Method</th>
{% for goal in goals %}
<th scope="col">{{ goal }}</th>
{% endfor %}
</tr>
</thead>
{{ bodies(blocks, which) }}
</table>
</div>
<p class="small">{{ text }}</p>
{% endmacro %}
<header>
<h1>{{ about.name }}</h1>
{% if about.description %}
<p class="lead">{{ about.description }}</p>
{% endif %}
<p{% if not complete %} class="failed"{% endif %}>{{ notes[0] }}</p>
<nav>
<a href="#results">Results</a>
{% if sets %}
<a href="#evaluations">{{ heading }}</a>
{% endif %}
<a href="#figures">Figures</a>
<a href="#comparisons">Comparisons</a>
<a href="#epochs">Epochs</a>
{% if failures %}
<a href="#failures">Failures</a>
{% endif %}
<a href="#made">How it was made</a>
</nav>
</header>
<section id="results">
<h2>Results</h2>
{{ grid("results", caption) }}
<ul class="small">
{% for note in notes[1:] %}
{{ item(note) }}
{% endfor %}
</ul>
</section>
{% if sets %}
<section id="evaluations">
<h2>{{ heading }}</h2>
{% for table in sets.tables %}
<h3>{{ table.title }}</h3>
<div class="scroll">
<table>
{{ heads(["Encoder", "Method"] + table.columns, ["Encoder", "Method"]) }}
{{ bodies(table.blocks, "entries") }}
</table>
</div>
{% endfor %}
<p class="small">{{ sets.caption }}</p>
</section>
{% endif %}
<section id="figures">
<h2>Figures</h2>
{% for figure in figures %}
<figure>
{% for part in figure.parts %}
<img src="{{ part }}" alt="{{ figure.name }}{% if not loop.first %}, continued{% endif %}">
{% endfor %}
{% if figure.text %}
<figcaption>{{ figure.text }}</figcaption>
{% endif %}
</figure>
{% endfor %}
</section>
<section id="comparisons">
<h2>Comparisons</h2>
<p class="small">{{ how }}</p>
{% if remarks %}
<ul>
{% for remark in remarks %}
{{ item(remark) }}
{% endfor %}
</ul>
{% endif %}
{% for family in families %}
<h3>{{ family.title }}</h3>
<div class="scroll">
<table>
{{ heads(family.header, family.header[:1]) }}
<tbody>
{% for row in family.rows %}
<tr>
{% for entry in row %}
<td{% if loop.first %} class="l"{% endif %}>{{ entry }}</td>
{% endfor %}
</tr>
{% endfor %}
</tbody>
</table>
</div>
<ul>
{% for line, decisive in family.said %}
{{ item(line, decisive) }}
{% endfor %}
</ul>
<p class="small">{{ family.remarks }}</p>
{% endfor %}
</section>
<section id="epochs">
<h2>Epochs</h2>
{{ grid("epochs", epochs) }}
</section>
{% if failures %}
<section id="failures">
<h2>Failures</h2>
<p>They are counted and never averaged. The same <code>l3study run</code> tries them again.</p>
<div class="scroll">
<table>
{{ heads(["Trial", "Objective", "Seed", "Attempts", "Reason"], ["Trial", "Objective", "Reason"]) }}
<tbody>
{% for failure in failures %}
<tr>
<td class="l">{{ failure.trial }}</td>
<td class="l">{{ failure.objective }}</td>
<td>{{ failure.seed }}</td>
<td>{{ failure.attempts }}</td>
<td class="l wrap">{{ failure.reason }}</td>
</tr>
{% endfor %}
</tbody>
</table>
</div>
</section>
{% endif %}
<section id="made">
<h2>How it was made</h2>
{{ named(about.settings) }}
<h3>Encoders, by revision</h3>
{{ named(about.encoders) }}
<h3>Datasets, by content hash</h3>
{{ named(about.datasets) }}
{% if about.warnings %}
<h3>What to know of the data</h3>
<ul class="small">
{% for warning in about.warnings %}
{{ item(warning) }}
{% endfor %}
</ul>
{% endif %}
<p><code>l3study run SPACE</code> made this study. Its space file is kept as <code>space.yaml</code>;
<code>resolved.yaml</code> holds every setting as it was used, with revisions and content hashes. The records in
<code>records/</code> are the truth: <code>l3study export FOLDER</code> makes this page and the tables again.</p>
</section>
</body>
</html>
"""
