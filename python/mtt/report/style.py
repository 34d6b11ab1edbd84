"""Style of the page: dark where the reader's system is, and fit for paper."""

STYLE = """
:root{--ink:#1b1f24;--quiet:#667080;--paper:#fff;--line:#d8dde3;--soft:#f4f6f8;--good:#1a7f4b;
--bad:#c4282d;--warn:#9a6700;--blue:#2a6f97;color-scheme:light dark}
@media (prefers-color-scheme:dark){:root{--ink:#e4e8ec;--quiet:#98a2ae;--paper:#14171a;
--line:#343b43;--soft:#1d2226;--good:#4cc38a;--bad:#ff7b7b;--warn:#e0b450;--blue:#6cb6e4}}
*{box-sizing:border-box}
body{margin:0 auto;padding:2rem 1.2rem;max-width:50rem;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;overflow-wrap:anywhere}
h1{font-size:1.5rem;margin:.3rem 0}h2{font-size:1.1rem;margin:2.2rem 0 .6rem}
h2 .quiet{font-weight:400;font-size:.9rem}p{margin:.3rem 0}
article+article{border-top:3px solid var(--line);margin-top:3rem;padding-top:1rem}
.badge{display:inline-block;padding:.1rem .8rem;border-radius:1rem;color:var(--paper);
font-weight:600;text-transform:uppercase;letter-spacing:.06em}
.badge.pass{background:var(--good)}.badge.fail{background:var(--bad)}
.quiet,figcaption,footer{color:var(--quiet)}figcaption,footer,details{font-size:.85rem}
.failures{border-left:4px solid var(--bad);padding-left:1rem}ul{padding-left:1.2rem}
.verdicts td:first-child{white-space:nowrap}.verdicts td:nth-child(2){white-space:nowrap;font-weight:600}
.verdicts .judged td:first-child{font-weight:600}.verdicts .aside td{color:var(--quiet)}
.verdicts .judged td.yes{color:var(--good)}.verdicts .judged td.no{color:var(--bad)}
.verdicts .judged td.unless,.verdicts .judged td.untried{color:var(--warn)}
h3{font-size:1rem;margin:0 0 .2rem}
.finding{border-left:4px solid var(--line);padding-left:1rem;margin:0 0 1.2rem}
.finding.counts{border-color:var(--bad)}.finding.waived{border-color:var(--warn)}
.finding.aside,.finding.aside .severity{color:var(--quiet)}
.severity{font-weight:400;font-size:.85rem;color:var(--bad)}.waived .severity,.needless{color:var(--warn)}
pre{font-size:.75rem;overflow-x:auto;background:var(--soft);padding:.4rem}a{color:var(--blue)}
table{border-collapse:collapse;width:100%;font-size:.88rem}
th,td{text-align:left;vertical-align:top;padding:.25rem .6rem .25rem 0;
border-bottom:1px solid var(--line)}th{font-weight:600}
.facts th{width:9rem;color:var(--quiet);font-weight:400;white-space:nowrap}
.checks td:first-child{min-width:15rem}.checks thead th,td.pass,td.fail,td.skip,td.waived{white-space:nowrap}
.n{text-align:right;padding-right:1rem}td.n{white-space:nowrap;font-variant-numeric:tabular-nums}
td.pass{color:var(--good)}td.fail{color:var(--bad);font-weight:700}
td.skip,td.waived{color:var(--warn)}
summary{cursor:pointer;font-size:.88rem}details p{margin:.1rem 0 .1rem 1rem;color:var(--quiet)}
figure{margin:0 0 1.2rem}.scroll{overflow-x:auto}.plots{display:flex;flex-wrap:wrap;gap:1rem}
svg{max-width:100%;height:auto;font:11px system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
svg text{fill:var(--ink)}svg .tick{fill:var(--quiet)}svg .bad-text{fill:var(--bad)}
svg .grid{stroke:var(--line);stroke-width:.7}svg .axis{stroke:var(--quiet)}
svg .diagonal{stroke:var(--quiet);stroke-dasharray:4 3}
svg .limit{stroke:var(--warn);stroke-width:1.4;stroke-dasharray:5 3}
svg .stem{stroke-width:1.6;opacity:.45}svg .stem.good{stroke:var(--good)}
svg .stem.bad{stroke:var(--bad)}svg circle.good{fill:var(--good)}svg circle.bad{fill:var(--bad)}
svg .point{fill:var(--blue);fill-opacity:.6}svg .bar{fill:var(--blue)}
img.plot{width:100%;background:#fff;border-radius:4px}
.plain td:first-child{white-space:nowrap;overflow-wrap:normal}
.rms{display:inline-block;height:.35rem;background:var(--blue)}.badge.skip{background:var(--warn)}
footer{margin-top:3rem}
@media print{body{max-width:none;padding:0;font-size:11px}section{break-inside:avoid-page}}
""".replace("\n", "")
