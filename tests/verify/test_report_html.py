"""The page with plots: whole without anything else, and safe whatever a model says."""

import re
from html.parser import HTMLParser

import pytest
from verification_reports import HOSTILE, check, hostile, mixed, plain, several

from mtt.report.svg import Axis, linear, tick_label
from mtt.verify.report import Report, html, parity_plots

# Those that HTML closes by itself.
VOID = {"meta", "br"}
KNOWN = {
    *("html", "head", "body", "meta", "title", "style", "header", "footer", "article", "section"),
    *(
        "h1",
        "h2",
        "h3",
        "pre",
        "p",
        "b",
        "a",
        "span",
        "div",
        "ul",
        "li",
        "table",
        "tr",
        "th",
        "td",
        "details",
    ),
    *("summary", "figure", "figcaption", "svg", "g", "line", "circle", "rect", "text"),
}
ATTRIBUTES = {
    *("lang", "charset", "http-equiv", "content", "name", "class", "id", "href", "open"),
    *("viewbox", "width", "height", "role", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r"),
    "text-anchor",
}


class Page(HTMLParser):
    """Tags, attributes and texts of a page; fails where tags do not match."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(content.decode())
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def page(*reports: Report) -> Page:
    return Page(html.page([(f"model-{k}.pt", report) for k, report in enumerate(reports)]))


def test_page_says_all_and_needs_nothing() -> None:
    content = html.page([("model.pt", mixed())])
    found = Page(content)
    assert found.tags <= KNOWN
    assert found.attributes <= ATTRIBUTES
    assert set(found.links) == {"#finding-0-1"}
    assert b"url(" not in content and b"@import" not in content
    text = " ".join(found.texts)
    for said in ("model.pt", "ab" * 32, "Not for ASE, LAMMPS.", "forces are wrong", "one rank"):
        assert said in text
    assert "Checks: 2 passed, 1 failed, 2 skipped." in text
    assert "prefers-color-scheme:dark" in text
    assert "memory limit 4.29 GB" in text
    assert "coverage" in text and "checks run 1" in text


def test_page_of_a_hostile_model_holds_nothing_but_text_of_it() -> None:
    content = html.page([(HOSTILE, hostile())])
    found = Page(content)
    assert found.tags <= KNOWN
    assert found.attributes <= ATTRIBUTES
    assert set(found.links) == {"#finding-0-1"}
    assert "script" not in found.tags
    assert b"\x00" not in content and b"\x1b" not in content
    assert any("<script>alert('1')</script>" in text for text in found.texts)


def test_several_models_share_a_page() -> None:
    found = page(mixed(), mixed())
    assert found.links[:2] == ["#report-0", "#report-1"]
    assert set(found.links[2:]) == {"#finding-0-1", "#finding-1-1"}
    assert {link.removeprefix("#") for link in found.links} == set(found.ids)
    assert len(found.ids) == len(set(found.ids))
    assert "Verification of 2 models" in found.texts


def test_who_can_use_the_model_comes_first_and_each_cause_has_a_section() -> None:
    content = html.page([("model.pt", several())]).decode()
    order = [content.index(f"<h2>{title}</h2>") for title in ("Who can use it", "What is wrong")]
    assert order == sorted(order) and order[1] < content.index("File, model and run")
    text = " ".join(Page(content.encode()).texts)
    for said in (
        "yes, unless",
        "slabs (pbc TTF)",
        "The verdict is about the rows in bold.",
        "no longer needed: nothing like it fails",
        "From mtt-verify.yaml.",
        "serialized code, line 3",
        "waived, wrong numbers",
    ):
        assert said in text
    kinds = re.findall(r'<section class="finding (\w+)"', content)
    assert kinds == ["counts", "aside", "counts", "aside", "waived"]


def test_model_that_did_not_load_has_a_page() -> None:
    report = plain(check(status="fail", measured=None), model=None, peak_memory_bytes=None)
    assert "could not be loaded" in page(report).texts


def test_margins_are_placed_by_their_logarithm() -> None:
    ratios = (1e-4, 1e-2, 1.0)
    checks = [check(name=f"c{k}", measured=r, tolerance=1.0) for k, r in enumerate(ratios)]
    drawn = parity_plots.margins(plain(*checks))
    places = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', drawn)]
    assert places[1] - places[0] == pytest.approx(places[2] - places[1], abs=0.11)
    (limit,) = re.findall(r'<line x1="([\d.]+)"[^>]* class="limit"', drawn)
    assert float(limit) == places[2]


def test_checks_beyond_the_axis_stay_on_the_page() -> None:
    checks = [check(measured=1e300, tolerance=1e-300, status="fail"), check(measured=0.0)]
    drawn = parity_plots.margins(plain(*checks))
    places = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', drawn)]
    assert places == [690.0, 250.0]
    assert "inf" not in drawn and "nan" not in drawn


def test_parity_is_drawn_on_the_diagonal_and_errors_around_zero() -> None:
    series = [{"x": x, "y": x, "label": "a"} for x in (-1e4, 0.0, 1e4)]
    series.append({"x": 5e3, "y": 5e3 + 1e-3, "label": "worst <one>"})
    parity, errors = parity_plots.plots(plain(check(series=series, tolerance=1e-4)).checks[0])
    places = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', parity)
    for x, y in places:
        assert (float(x) - 62) / 250 == pytest.approx((240 - float(y)) / 214, abs=1e-3)
    assert errors.count('class="bad"') == 1
    assert "worst &lt;one&gt;: 0.001" in errors
    assert errors.count('class="limit"') == 2


def test_many_points_are_thinned_to_the_worst() -> None:
    series = [{"x": float(k), "y": float(k), "label": ""} for k in range(20_000)]
    series[12_345]["y"] = 0.0
    parity, _ = parity_plots.plots(plain(check(series=series)).checks[0])
    assert 500 < parity.count("<circle") <= 1501
    assert "12345, 0" in parity


@pytest.mark.parametrize(
    "values", [[0.0], [1e-300, 1e300], [-2041.25, -2041.25], [1.0, 1.0 + 1e-12]]
)
def test_axes_hold_whatever_comes(values: list[float]) -> None:
    axis = linear(values, 0, 100)
    assert all(0 <= axis.place(value) <= 100 for value in values)
    ticks = axis.ticks()
    assert len(ticks) < 12
    for tick in ticks:
        assert tick_label(tick, abs(axis.high - axis.low) / 5)


def test_ticks_are_round() -> None:
    assert Axis(0.0, 10.0, 0, 1).ticks() == [0, 2, 4, 6, 8, 10]
    assert Axis(1e-6, 1e3, 0, 1, logarithmic=True).ticks(5) == [1e-6, 1e-4, 1e-2, 1.0, 100.0]
    assert [tick_label(v, 0.05) for v in (0.0, 0.05, -0.1)] == ["0", "0.05", "-0.10"]
