"""Pages as a browser shows them, from a file, without any network."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from duoseg.pictures.planes import CasePicture
from duoseg.prediction.calibration import Expected
from duoseg.prediction.judgement import Judgement
from duoseg.reporting.page import write_report
from duoseg.reporting.predictions_page import PredictedCase, write_predictions_page
from duoseg.reporting.records import RunSummary
from duoseg.reporting.study_page import write_study_page
from duoseg.reporting.volumes import viewer_script
from study_cases import NAMES, make_field, study_content, write_study

playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright: make test-browser")

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
KINDS = pytest.mark.parametrize("kind", ["run", "predictions", "study"])
SOFTWARE_GL = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(BROWSER is None, reason="needs Chromium: apt-get install chromium"),
]


def a_picture(case: str, side: int = 48) -> CasePicture:
    """A bright ball in a dark noisy scan; the prediction is moved to the front."""
    index = np.indices((side, side, side)) - side / 2
    ball = (np.square(index).sum(axis=0) < (side / 5) ** 2).astype(int)
    image = 200.0 * ball + np.random.default_rng(0).normal(60, 10, ball.shape)
    return CasePicture(case, 0.8, image, ball, np.roll(ball, 6, axis=1), (1.0, 1.0, 1.0))


def a_predicted_scan(number: int) -> PredictedCase:
    """One of a calibrated run; the last is unlike the training scans."""
    trust = 0.95 - 0.02 * number
    expected = Expected(dice=trust - 0.05, low=trust - 0.1, high=trust, modelled=True)
    unlike = ("its orientation: it is more like them when mirrored head to foot",) if number == 7 else ()
    judgement = Judgement(0.03 * number, trust, expected, unlike)
    return PredictedCase(f"scan {number}", {"organ": 20.0 + number}, judgement, ["a note"], {"runs": ["runs/first"]})


def a_run(name: str, shift: float) -> RunSummary:
    cases = [
        {
            "case": f"scan {i}",
            "labels": {"organ": {"dice": 0.5 + 0.04 * i + shift, "hd95_mm": 9.0 - i, "assd_mm": 1.0, "nsd": 0.8}},
        }
        for i in range(8)
    ]
    records = [{"step": s, "loss": 1 / s, "region": 1 / s, "training_dice/organ": 1 - 1 / s} for s in range(1, 60)]
    return RunSummary(
        name, name, 59, 60.0, records, {"cases": cases, "problems": []}, plan={"steps": 59, "patch": [8, 8, 8]}
    )


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    """A page of each kind."""
    folder = tmp_path_factory.mktemp("pages")
    runs = [a_run("supervised", 0.0), a_run("duo", 0.05)]
    pictures = [("best", a_picture("a")), ("worst", a_picture("b"))]
    run = write_report(folder / "run.html", title="Two methods", runs=runs, pictures=pictures)
    unsure = [
        (label, replace(one, truth=None, uncertainty=np.clip(one.prediction * 0.4, 0, 1))) for label, one in pictures
    ]
    predictions = write_predictions_page(
        folder / "predictions.html", title="Masks", scans=[a_predicted_scan(n) for n in range(8)], pictures=unsure
    )
    results = make_field(NAMES[:4], labelled=(4,), cases=8)
    write_study(folder / "study", study_content(results, against="supervised"), results)
    compared = [(f"{place}: {method}", one) for place, one in pictures for method in NAMES[:2]]
    write_study_page(folder / "study", folder / "study.html", pictures=compared)
    return {"run": run, "predictions": predictions, "study": folder / "study.html"}


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", *SOFTWARE_GL])
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium, pages):
    """Opens a page; whatever the browser complains about fails the test at its end."""
    complaints, contexts = [], []

    def requested(request):
        if not request.url.startswith(("file:", "data:", "blob:")):
            complaints.append(request.url)

    def open_page(kind="run", **options):
        context = chromium.new_context(**{"offline": True, "viewport": {"width": 1100, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda fault: complaints.append(str(fault)))
        page.on("request", requested)
        page.goto(pages[kind].as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints


def test_a_column_sorts_by_its_heading_with_the_keyboard_too(opened):
    page = opened()
    table = page.locator("#scans table")
    dice = table.get_by_role("button", name="Dice, duo")

    def column():
        return [float(text) for text in table.locator("tbody tr td:nth-child(3)").all_inner_texts()]

    dice.click()
    assert column() == sorted(column())
    dice.focus()
    page.keyboard.press("Enter")
    assert column() == sorted(column(), reverse=True)
    assert table.locator("th[aria-sort=descending]").count() == 1


def test_outlines_can_be_hidden(opened):
    page = opened()
    layer = page.locator("#pictures .layer-truth").first
    assert layer.is_visible()
    page.locator("[data-toggles=truth]").uncheck()
    assert not layer.is_visible()


@KINDS
def test_a_narrow_screen_scrolls_down_only(opened, kind):
    page = opened(kind, viewport={"width": 375, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= 375


@KINDS
def test_dark_mode_is_dark(opened, kind):
    shades = []
    for scheme in ("light", "dark"):
        colour = opened(kind, color_scheme=scheme).evaluate("getComputedStyle(document.body).backgroundColor")
        shades.append(sum(int(part) for part in colour.strip("rgb()").split(",")))
    assert shades[0] > 700 and shades[1] < 150


@KINDS
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(opened, kind, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    found = axe.Axe().run(opened(kind, color_scheme=scheme)).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")] == []


def test_predictions_sort_and_their_uncertainty_can_be_hidden(opened):
    page = opened("predictions")
    table = page.locator("#scans table")
    first = table.locator("tbody tr th").first
    assert first.inner_text() == "scan 7"  # unlike the training scans: before all others
    table.get_by_role("button", name="Trust").click()
    table.get_by_role("button", name="Trust").click()
    assert first.inner_text() == "scan 0"
    layer = page.locator("#pictures .layer-uncertainty").first
    assert layer.is_visible()
    page.locator("[data-toggles=uncertainty]").uncheck()
    assert not layer.is_visible()


@pytest.mark.skipif(viewer_script() is None, reason="needs the viewer: make viewer")
def test_the_viewer_draws_image_and_masks_and_hides_them_again(opened, tmp_path):
    page = opened()

    def drawn(number: int) -> np.ndarray:
        page.wait_for_selector(f"#viewer[data-shown='{number}']", timeout=60_000)
        page.wait_for_timeout(500)
        page.locator("#viewer canvas").screenshot(path=tmp_path / "canvas.png")
        return np.asarray(Image.open(tmp_path / "canvas.png").convert("RGB")).astype(int)

    def counted(pixels: np.ndarray) -> dict[str, int]:
        red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
        return {
            "grey": int(((abs(red - green) < 6) & (abs(green - blue) < 6) & (red > 30)).sum()),
            "truth": int((blue - red > 40).sum()),
            "prediction": int((red - blue > 40).sum()),
        }

    page.locator("[data-open]").press("Enter")
    assert page.evaluate("document.activeElement.tagName") == "CANVAS"
    both = counted(drawn(0))
    assert min(both.values()) > 500
    page.locator("[data-layer=prediction]").uncheck()
    truth = counted(drawn(0))
    assert truth["prediction"] < 20 and truth["truth"] > both["truth"]
    page.locator("[data-layer=truth]").uncheck()
    assert counted(drawn(0))["truth"] < 20
    page.locator("[name=scan]").select_option("1")
    page.locator("[data-layer=truth]").check()
    assert counted(drawn(1))["truth"] > 500
    page.locator("[data-render]").check()
    alone = counted(drawn(1))
    assert alone["truth"] > 500 and alone["grey"] < both["grey"] / 4


@pytest.mark.skipif(viewer_script() is None, reason="needs the viewer: make viewer")
def test_the_viewer_draws_uncertainty(opened, tmp_path):
    page = opened("predictions")
    page.locator("[data-open]").click()

    def red() -> int:
        page.wait_for_selector("#viewer[data-shown='0']", timeout=60_000)
        page.wait_for_timeout(500)
        page.locator("#viewer canvas").screenshot(path=tmp_path / "canvas.png")
        pixels = np.asarray(Image.open(tmp_path / "canvas.png").convert("RGB")).astype(int)
        return int((pixels[..., 0] - pixels[..., 1] > 50).sum())

    page.locator("[data-layer=prediction]").uncheck()
    shown = red()
    page.locator("[data-layer=uncertainty]").uncheck()
    assert shown > 500 and red() < shown / 10


@KINDS
def test_the_whole_page_can_be_used_from_the_keyboard_and_shows_where_it_is(opened, kind):
    page = opened(kind)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # the first stop skips what is above the summary
    assert page.url.endswith("#summary")
    wanted = "a[href], button, input, select, summary, [tabindex='0']"
    count = page.evaluate(f"[...document.querySelectorAll(`{wanted}`)].filter((one) => one.checkVisibility()).length")
    reached = set()
    for _ in range(count + 2):
        page.keyboard.press("Tab")
        if not page.evaluate("document.activeElement.matches(':focus-visible')"):
            continue
        outline, name = page.evaluate(
            "[getComputedStyle(document.activeElement).outlineStyle, document.activeElement.outerHTML]"
        )
        assert outline != "none", name
        reached.add(page.evaluate("[...document.querySelectorAll('*')].indexOf(document.activeElement)"))
    assert len(reached) >= count - 1  # all but the link that skips, which lies before


@KINDS
def test_it_prints_with_everything_unfolded_in_ink_on_paper(opened, kind):
    page = opened(kind, color_scheme="dark")
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = false")
    folded = page.locator("details:not([open])").count()
    assert page.pdf().startswith(b"%PDF")
    assert folded > 0 and page.locator("details:not([open])").count() == 0
    page.emulate_media(media="print")
    colours = page.evaluate("[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]")
    paper, ink = (sum(int(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]) for colour in colours)
    assert paper in (0, 765) and ink < 150 and ("0, 0, 0, 0" in colours[0] or paper == 765)
    assert page.locator("nav").is_hidden() and page.locator("th button").first.is_visible()
