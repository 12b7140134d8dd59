"""The template of the report that is mailed: one file, no script, nothing from the net."""

#: Jinja, for `examination_report.page`; to be rendered with autoescape.
TEMPLATE = """\
{%- macro f3(value) %}{{ "%.3f" | format(value) }}{% endmacro -%}
{%- macro picture(name, text, wide=false) -%}
{% if name in pictures %}
<figure{% if wide %} class="wide"{% endif %}>
<div class="scroll" role="region" tabindex="0" aria-label="{{ text }}">
<img src="{{ pictures[name] }}" alt="{{ text }}">
</div>
</figure>
{% endif %}
{%- endmacro -%}
{%- macro prose(parts) -%}
{% for tag, text in parts %}{% if tag == "code" %}<code>{{ text }}</code>\
{% elif tag == "em" %}<em>{{ text }}</em>{% else %}{{ text }}{% endif %}{% endfor %}
{%- endmacro -%}
{%- macro slice_row(one) -%}
<tr><th scope="row">{{ one.name }}</th><td>{{ "{:,}".format(one.images) }}</td>
<td class="bar" style="--v:{{ f3(one.dice * 100) }}">{{ f3(one.dice) }}</td>
<td>{% if one.interval %}{{ f3(one.interval[0]) }} to {{ f3(one.interval[1]) }}{% else %}\
<span class="soft">too few</span>{% endif %}</td>
<td>{{ f3(one.iou) }}</td><td>{{ f3(one.accuracy) }}</td><td>{{ f3(one.floor) }}</td></tr>
{%- endmacro -%}
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" \
content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{{ about.model }} on {{ all_images }}</title>
<style>
:root { --ink: #1b1f24; --soft: #59636e; --paper: #fff; --panel: #f4f6f8; --line: #d8dee4;
  --accent: #0072b2; --bar: #cfe5f3; --warn: #8a3b00; --warned: #fff1e3; --good: #00684b;
  --gooded: #e3f5ee; }
@media screen and (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ec; --soft: #9aa4af; --paper: #14171a; --panel: #1f2429; --line: #363d45;
    --accent: #56b4e9; --bar: #1d4763; --warn: #ffb77a; --warned: #3a2512; --good: #6fd6b2;
    --gooded: #10302a; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 66rem; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
  overflow-wrap: break-word; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; padding-top: .75rem;
  border-top: 1px solid var(--line); }
p { max-width: 48rem; margin: .5rem 0; }
code { font: .9em ui-monospace, Consolas, monospace; background: var(--panel); padding: .1em .3em;
  border-radius: .25rem; overflow-wrap: anywhere; }
.soft { color: var(--soft); font-size: .9rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .6rem;
  margin: 1.25rem 0; padding: 0; list-style: none; }
.tiles li { background: var(--panel); border-radius: .5rem; padding: .7rem .8rem; font-size: .85rem;
  color: var(--soft); line-height: 1.35; }
.tiles b { display: block; font-size: 1.7rem; line-height: 1.2; color: var(--ink);
  font-variant-numeric: tabular-nums; }
.tiles li:first-child b { color: var(--accent); }
.tiles strong { display: block; color: var(--ink); }
.note { border-left: .3rem solid var(--good); background: var(--gooded); color: var(--ink);
  padding: .5rem .8rem; border-radius: .25rem; margin: .5rem 0; max-width: none; }
.warning { border-color: var(--warn); background: var(--warned); }
.warning b { color: var(--warn); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; min-width: min(100%, 44rem); font-size: .9rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
th:first-child { text-align: left; }
thead th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
tbody th { font-weight: 500; }
td.text { text-align: left; }
tr.asked > * { background: var(--panel); font-weight: 650; }
tr.kind th { color: var(--soft); font-weight: 600; padding-top: .9rem; }
td.bar { background: linear-gradient(to right, var(--bar) calc(var(--v) * 1%), transparent 0); }
figure { margin: 1rem 0; }
figure img { display: block; max-width: 100%; height: auto; border-radius: .4rem;
  background: #fff; }
dl { max-width: 48rem; }
dt { font-weight: 600; margin-top: .6rem; }
dd { margin: 0; }
.key { display: inline-block; width: .8em; height: .8em; border-radius: .15em; }
/* Galleries are wide: they may leave the column. */
.wide { margin-inline: calc(50% - min(50vw - 1rem, 52rem)); }
@media (max-width: 40rem) {
  .wide img { max-width: none; width: 56rem; }
  h1 { font-size: 1.4rem; }
}
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; }
  table { font-size: 8pt; }
  th, td { padding: .15rem .35rem; white-space: normal; }
  .scroll { overflow: visible; }
  .tiles, figure, tr, .note { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  .wide { margin-inline: 0; }
}
</style>
</head>
<body>
<header>
<h1>{{ about.model }} on {{ all_images }}</h1>
<p class="soft"><code>{{ about.uri }}</code></p>
<p><strong>{{ score }}</strong> {{ floors }}</p>
</header>

<ul class="tiles" aria-label="The figures at a glance">
<li><strong>Dice</strong><b>{{ f3(mean.dice) }}</b>{{ f3(interval[0]) }} to {{ f3(interval[1]) }} \
(95 %), mean over {{ all_images }}</li>
<li><strong>IoU</strong><b>{{ f3(mean.iou) }}</b>mean over {{ all_images }}</li>
<li><strong>Accuracy</strong><b>{{ f3(mean.accuracy) }}</b>mean over {{ all_images }}</li>
<li><strong>Boundary F</strong><b>{{ f3(found.boundary.mean()) }}</b>within {{ tolerance }}, mean \
over {{ all_images }}</li>
<li><strong>Calibration error</strong><b>{{ f3(found.calibration_error) }}</b>over the pixels of \
{{ all_images }}</li>
</ul>

{% for warning in warnings %}
<p class="note warning"><b>Beware.</b> {{ warning }}</p>
{% endfor %}
{% if unseen %}
<p class="note">{{ unseen }}</p>
{% endif %}

<main>
<section>
<h2>Scores</h2>
<p>{{ pooled }}</p>
<p class="soft">Each meaning of the border, over the same {{ all_images }}. The one that was asked \
for is marked. Floors: what answering 'pet' or 'background' everywhere scores.</p>
<div class="scroll" role="region" tabindex="0" aria-label="Scores by meaning of the border">
<table>
<thead><tr><th scope="col">border</th><th scope="col">images</th><th scope="col">Dice</th>\
<th scope="col">95 % interval</th><th scope="col">IoU</th><th scope="col">accuracy</th>\
<th scope="col">pooled<br>Dice</th><th scope="col">pooled<br>IoU</th>\
<th scope="col">pooled<br>accuracy</th><th scope="col">'pet':<br>Dice</th>\
<th scope="col">'background':<br>accuracy</th></tr></thead>
<tbody>
{% for name, one in found.by_border.items() %}
{% set here = one.counts.mean() %}
{% set pooled_here = one.counts.pooled() %}
{% set low, high = found.by_border[name].interval() %}
<tr{% if name == found.border %} class="asked"{% endif %}><th scope="row">{{ border_of(name) }}</th>
<td>{{ "{:,}".format(one.counts | length) }}</td>
<td>{{ f3(here.dice) }}</td><td>{{ f3(low) }} to {{ f3(high) }}</td><td>{{ f3(here.iou) }}</td>
<td>{{ f3(here.accuracy) }}</td><td>{{ f3(pooled_here.dice) }}</td>
<td>{{ f3(pooled_here.iou) }}</td><td>{{ f3(pooled_here.accuracy) }}</td>
<td>{{ f3(one.counts.all_pet().mean().dice) }}</td>
<td>{{ f3(one.counts.all_background().mean().accuracy) }}</td></tr>
{% endfor %}
</tbody>
</table>
</div>
{{ picture("scores.png", "Distribution of Dice over " ~ all_images ~ ", with the mean, its "
~ "interval and the floor") }}
<p>{{ boundary }}</p>
</section>

<section>
<h2>By species and breed</h2>
<p>{{ extremes }}</p>
{{ picture("slices.png", "Dice by species and breed of " ~ all_images ~ ", with intervals, floors "
~ "and counts; the table below has the figures") }}
<p class="soft">Means over the images of each row, {{ all_images }} in all; breeds with the lowest \
Dice first. Fewer than 5 images have no interval.</p>
<div class="scroll" role="region" tabindex="0" aria-label="Scores by species and breed">
<table>
<thead><tr><th scope="col"></th><th scope="col">images</th><th scope="col">Dice</th>\
<th scope="col">95 % interval</th><th scope="col">IoU</th><th scope="col">accuracy</th>\
<th scope="col">'pet' everywhere:<br>Dice</th></tr></thead>
<tbody>
<tr class="kind"><th colspan="7">Species</th></tr>
{% for one in species %}
{{ slice_row(one) }}
{% endfor %}
<tr class="kind"><th colspan="7">Breeds</th></tr>
{% for one in breeds %}
{{ slice_row(one) }}
{% endfor %}
</tbody>
</table>
</div>
</section>

<section>
<h2>Threshold and calibration</h2>
<p>{{ calibration }}</p>
{{ picture("threshold.png", "Mean Dice by threshold over " ~ all_images) }}
{{ picture("calibration.png", "Share of pet by probability of pet, and share of pixels in each of "
~ "ten bins, over " ~ all_images) }}
<p class="soft">The pixels of {{ all_images }} by their probability of pet.</p>
<div class="scroll" role="region" tabindex="0" aria-label="Pixels by probability">
<table>
<thead><tr><th scope="col">probability</th><th scope="col">pixels</th>\
<th scope="col">mean probability</th><th scope="col">share of pet</th></tr></thead>
<tbody>
{% for one in found.bins %}
<tr><th scope="row">{{ "%.1f" | format(one.low) }} to {{ "%.1f" | format(one.low + 0.1) }}</th>
<td>{{ "{:,}".format(one.pixels) }}</td><td>{{ f3(one.probability) }}</td>
<td>{{ f3(one.share) }}</td></tr>
{% endfor %}
</tbody>
</table>
</div>
</section>

<section>
<h2>Pictures</h2>
<p>Photo, truth and prediction. In the third, <span class="key" style="background:#009e73"></span> \
green is pet that was found, <span class="key" style="background:#d55e00"></span> orange is \
background called pet, <span class="key" style="background:#56b4e9"></span> blue is pet that was \
missed. Images: {{ prose(data) }}.</p>
<h3>The worst {{ dozen }} of {{ all_images }}</h3>
{{ picture("worst.jpg", "The worst " ~ dozen ~ " of " ~ all_images ~ ": photo, truth and "
~ "prediction of each", true) }}
<h3>A random {{ dozen }} of {{ all_images }}</h3>
{{ picture("random.jpg", "A random " ~ dozen ~ " of " ~ all_images ~ ": photo, truth and "
~ "prediction of each", true) }}
</section>

<section>
<h2>Every image</h2>
<p class="soft">{{ shown }}, the lowest Dice first, border {{ border_of(found.border) }}.</p>
<div class="scroll" role="region" tabindex="0" aria-label="Scores of every image">
<table>
<thead><tr><th scope="col">image</th><th scope="col">species</th><th scope="col">Dice</th>\
<th scope="col">IoU</th><th scope="col">accuracy</th><th scope="col">boundary F</th>\
<th scope="col">'pet' everywhere:<br>Dice</th></tr></thead>
<tbody>
{% for one in rows %}
<tr><th scope="row">{{ one.example.id }}</th><td>{{ one.example.species }}</td>
<td class="bar" style="--v:{{ f3(one.dice * 100) }}">{{ f3(one.dice) }}</td>
<td>{{ f3(one.iou) }}</td><td>{{ f3(one.accuracy) }}</td><td>{{ f3(one.boundary) }}</td>
<td>{{ f3(one.floor) }}</td></tr>
{% endfor %}
</tbody>
</table>
</div>
{% if found.problems %}
<h3>Left out</h3>
<p>{{ left_out }}</p>
<ul>
{% for line in problems %}
<li>{{ line }}</li>
{% endfor %}
</ul>
{% endif %}
</section>

<section>
<h2>How this was computed</h2>
<dl>
{% for term, meaning in definitions %}
<dt>{{ term }}</dt><dd>{{ prose(meaning) }}</dd>
{% endfor %}
<dt>Data</dt><dd>{{ prose(data) }}; {{ all_images }}</dd>
</dl>
</section>
</main>
</body>
</html>
"""
