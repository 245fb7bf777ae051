"""The page: colours, structure, self-containment, order of the sections, and how it stands a browser."""

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from planted_runs import plant, plant_factorial

from gan_ablate.claims.verdict import Verdict
from gan_ablate.report import claims, compare, html, load, report, tables
from gan_ablate.report.figures.svg import DARK, LIGHT, SERIES, STRONGEST, standalone
from gan_ablate.report.section import Column, Table

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ORDER = [
    "verdicts", "forest", "map", "numbers", "stability", "curves", "profiles", "budget", "arms", "claims", "signs", "protocol",
    "failures",
]  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    root = plant(tmp_path_factory.mktemp("planted"), seeds=8)
    return report([root], tmp_path_factory.mktemp("out"))


class Reader(HTMLParser):
    """What a browser would build: open elements in order, with their attributes."""

    VOID = {"meta", "link", "img", "input", "br", "wbr"}

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.texts = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag):
        return [attrs for name, attrs in self.seen if name == tag]


def luminance(colour):
    """WCAG 2.2, relative luminance of #rrggbb or a tuple of 0..1."""
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)] if isinstance(colour, str) else colour
    r, g, b = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(a, b):
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def over(colour, ground, opacity):
    mix = [
        opacity * int(colour[k : k + 2], 16) / 255 + (1 - opacity) * int(ground[k : k + 2], 16) / 255 for k in (1, 3, 5)
    ]
    return tuple(mix)


def test_contrast_is_computed_as_wcag_does():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_text_has_a_contrast_of_at_least_four_and_a_half(colours):
    for ground in ("bg", "card"):
        for ink in ("ink", "soft", "helps", "hurts", "same"):
            assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
    assert contrast(colours["ink"], colours["note"]) >= 4.5
    for cell in ("helps", "hurts"):  # numbers on the heat map's fullest cells
        assert contrast(colours["ink"], over(colours[cell], colours["bg"], STRONGEST)) >= 4.5
    for shape in ("axis", "neutral", "focus"):
        assert contrast(colours[shape], colours["bg"]) >= 3
    for line in SERIES:  # one set of colours serves both grounds
        assert contrast(line, colours["bg"]) >= 2.5


def test_every_colour_of_the_style_comes_from_the_palette(page):
    css = re.search(r"<style>(.*?)</style>", page.read_text(), re.S)[1]
    known = {*LIGHT.values(), *DARK.values(), *SERIES}
    assert set(re.findall(r"#[0-9a-f]{3,8}\b", css)) <= known
    assert "var(" not in standalone()


def test_elements_nest_and_every_link_lands(page):
    read = Reader(page.read_text())
    assert read.open == []
    ids = [a["id"] for _, a in read.seen if "id" in a]
    assert len(ids) == len(set(ids))
    hrefs = [a["href"] for tag, a in read.seen if tag in ("a", "use")]
    assert hrefs
    assert {h[1:] for h in hrefs} <= set(ids)
    named = [a["aria-labelledby"] for _, a in read.seen if "aria-labelledby" in a]
    assert set(named) <= set(ids)


def test_sections_stand_in_the_order_of_the_specification(page):
    read = Reader(page.read_text())
    found = [a["id"] for tag, a in read.seen if tag == "section" and a.get("id") in ORDER]
    assert found == [s for s in ORDER if s in found]
    assert set(ORDER) - set(found) <= {"claims"}  # there are no claims on invented arms


def test_a_screen_reader_finds_its_way(page):
    read = Reader(page.read_text())
    assert read.all("html")[0]["lang"] == "en"
    for landmark in ("header", "nav", "main", "footer", "h1"):
        assert len(read.all(landmark)) == 1
    assert all(a.get("alt") for a in read.all("img"))
    assert all(a.get("aria-label") for a in read.all("svg"))
    assert all(a.get("scope") in ("col", "row") for a in read.all("th"))
    assert len(read.all("caption")) == len(read.all("table"))
    assert len(read.all("figcaption")) == len(read.all("figure"))
    assert read.all("a")[0]["href"] == "#main"  # the skip link comes first
    groups = [a for a in read.all("div") if a.get("role")]
    assert all(a["role"] == "group" and a["aria-label"] for a in groups)  # landmarks are for sections
    levels = [int(tag[1]) for tag, _ in read.seen if re.fullmatch("h[1-6]", tag)]
    assert all(b <= a + 1 for a, b in pairwise(levels))
    arms = [a for a in read.all("details") if a.get("class") == "arm"]
    text = page.read_text()
    assert len(arms) == 12 == text.count("<details class='arm'") == text.count("<summary><h4><b>")


def test_controls_are_named_by_what_they_do(page):
    text = page.read_text()
    assert 'setAttribute("aria-label", "Filter: " + table.caption.textContent)' in text
    for arrow in "↕↑↓":  # drawn, not read aloud
        assert f'content:" {arrow}"/""' in text


def test_paper_hides_nothing_but_the_arms_own_pages(page):
    paper = re.search(r"@media print\{html.*", page.read_text())[0]
    assert "details:not(.arm)::details-content{content-visibility:visible;block-size:auto}" in paper
    assert "tr[hidden]{display:table-row!important}" in paper
    section = claims.claims([Verdict("c1", "s", "src", "supported", "sum", (), 1.0)])
    assert "<details class='claim'>" in html.Writer(str).section(section)


def test_only_the_table_of_verdicts_marks_its_second_column(page):
    text = page.read_text()
    numbers, stability = (
        text[text.index(f"<section id='{s}'") :].partition("</section>")[0] for s in ("numbers", "stability")
    )
    assert numbers.count("<tr class='helps'>") == 2
    assert set(re.findall("<tr class='([^']+)'", stability)) == {"base"}
    table = Table("", [Column("a", str)], ["a"], kind=lambda _: "x' onclick='y")
    assert "<tr class='x&#39; onclick=&#39;y'>" in html.Writer(str).parts([table], 3)


def test_nothing_can_be_loaded_or_run_but_our_own(page):
    text = page.read_text()
    assert "default-src 'none'" in text
    assert "script-src 'sha256-" in text
    without_names = text.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://", without_names)
    assert not re.search(r"url\((?!#)", without_names)
    assert "@import" not in text
    assert not re.search(r"\son\w+\s*=", re.sub(r"<script>.*?</script>", "", text, flags=re.S))


def test_undecided_cells_of_the_heat_map_are_hatched_and_others_blank(page, tmp_path):
    drawing = (page.parent / "figures" / "heatmap.svg").read_text()
    assert "url(#hatch-map)" not in drawing  # every truth is found
    assert drawing.count('class="frame"') == 2 * 5
    assert {m: drawing.count(f"{m} ") for m in "●▲◆▼■"} == {"●": 2, "▲": 0, "◆": 4, "▼": 2, "■": 2}
    root = plant(tmp_path / "r", seeds=2, pictures=False)
    undecided = sum(a.verdict == "undecided" for t in tables(load(root)) for a in t.arms)
    drawing = (report([root], tmp_path / "o").parent / "figures" / "heatmap.svg").read_text()
    assert drawing.count("url(#hatch-map)") == undecided > 0


def test_samples_are_of_the_median_and_the_worst_seed(page, tmp_path):
    read = Reader(page.read_text())
    shots = [a["alt"] for a in read.all("img") if a["alt"].startswith("Samples of helped,")]
    assert len(shots) == 4
    assert sum("median" in s for s in shots) == sum("worst" in s for s in shots) == 2
    fids = [float(s.rpartition(" ")[2]) for s in shots[:2]]
    assert fids[0] < fids[1]


def test_an_arms_page_repeats_its_runs(tmp_path):
    root = plant(tmp_path / "r", models=("dcgan",), effects={"base": 0.0, "helped": -0.8}, pictures=False)
    text = report([root], tmp_path / "o").read_text()
    assert "for seed in 0 1 2 3 4; do gan-ablate train --model dcgan --dataset shapes" in text
    assert "--seed $seed" in text
    assert text.count("<h5>Recipe</h5>") == 1  # base's; that of others by what differs
    assert "<summary>Recipe" not in text
    assert "<th scope='col'>FID@2048 (shapes classifier)</th><th scope='col'>at its best</th>" in text
    assert "<th scope='col'>FID</th>" not in text


def test_the_design_gets_its_effects(tmp_path):
    out = report([plant_factorial(tmp_path / "r")], tmp_path / "o")
    read = Reader(out.read_text())
    assert "interactions" in {a.get("id") for a in read.all("section")}
    assert (out.parent / "figures" / "effects-dcgan.svg").is_file()


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
@pytest.mark.parametrize(("width", "scheme"), [(390, 1), (1440, 0)])
def test_chromium_shows_the_page_without_a_word_of_complaint(page, tmp_path, width, scheme):
    done = browse(page, tmp_path, f"--screenshot={tmp_path / 'shot.png'}", f"--window-size={width},900", scheme=scheme)
    assert (tmp_path / "shot.png").stat().st_size > 10_000
    complaints = [s for s in done.splitlines() if "CONSOLE" in s or "Refused" in s]
    assert complaints == []


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
def test_the_script_sorts_and_filters_and_no_page_is_wider_than_a_phone(page, tmp_path):
    probe = """<script>addEventListener('load',()=>{const t=document.querySelector('#numbers table.sorts');
    const names=()=>[...t.tBodies[0].rows].map(r=>r.cells[0].textContent).join(' ');
    const b=[...t.tHead.rows[0].cells].map(c=>c.querySelector('button'));const before=names();
    const list=document.querySelector('#verdicts table.sorts');
    const first=()=>{const h=[...list.tHead.rows[0].cells].find(c=>c.textContent==='verdict');
    h.querySelector('button').click();h.querySelector('button').click();return list.tBodies[0].rows[0].textContent};
    b[3].click();const up=names();b[3].click();const down=names();
    document.body.dataset.probe=JSON.stringify([before,up,down,b[3].parentElement.getAttribute('aria-sort'),
    document.documentElement.scrollWidth<=innerWidth,first()]);});</script></body>"""
    copy = tmp_path / "probe.html"
    text = re.sub(r"<meta http-equiv=\"Content-Security-Policy\"[^>]*>", "", page.read_text())
    copy.write_text(text.replace("</body>", probe))
    dom = browse(copy, tmp_path, "--dump-dom", "--window-size=500,900", output=True)
    found = re.search(r"data-probe=\"(.*?)\"", dom)[1].replace("&quot;", '"')
    before, up, down, state, fits, worst = __import__("json").loads(found)
    assert up.startswith("helped base")
    assert down.startswith("harmed")
    assert before.startswith("base helped")
    assert state == "descending"
    assert fits
    assert worst.startswith("harmedhurts, certain")


def browse(page, tmp_path, *options, scheme=1, output=False):
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}", "--hide-scrollbars",
        "--enable-logging=stderr", f"--blink-settings=preferredColorScheme={scheme}", *options, page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=120, env=os.environ | {"LC_ALL": "C.UTF-8"}
    )
    return done.stdout if output else done.stderr


def test_two_reports_are_compared(tmp_path):
    effects = {"base": 0.0, "steady": -0.8, "turns": -0.8, "gone": 0.0}
    a = plant(tmp_path / "a", models=("dcgan",), effects=effects, pictures=False)
    b = plant(
        tmp_path / "b",
        models=("dcgan",),
        effects={"base": 0.0, "steady": -0.8, "turns": 0.8, "new": 0.0},
        pictures=False,
        draw=2,
    )
    kept = report([a], tmp_path / "report-a").parent  # a report's folder does as well as a root
    for source in (a, kept):
        page = compare(source, b, tmp_path / "c")
        frame = __import__("pandas").read_csv(tmp_path / "c" / "tables" / "compare.csv").set_index("arm")
        assert dict(frame["kind"]) == {"base": "both", "steady": "both", "turns": "both", "gone": "gone", "new": "new"}
        assert frame.loc["turns", ["verdict_before", "verdict_after"]].tolist() == ["helps", "hurts"]
        assert frame.loc["turns", "change"] == pytest.approx(2.718**1.6, rel=0.1)
        assert frame.loc["turns", "q"] < 0.05 < frame.loc["steady", "q"]
        assert frame.loc["steady", "change_low"] < 1 < frame.loc["steady", "change_high"]
        assert "turns" in page.read_text()
        assert Reader(page.read_text()).open == []
    assert compare(a, a, tmp_path / "same").parent.joinpath("compare.md").read_text().count("| unmoved |") == 4


def test_the_command_compares_and_says_what_is_wrong(tmp_path):
    command = [sys.executable, "-m", "gan_ablate.report", "--compare", str(tmp_path / "x"), str(tmp_path / "y")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "neither a root" in done.stderr
    assert "Traceback" not in done.stderr
