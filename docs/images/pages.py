"""Makes the pictures of pages in this folder, all from phantoms: report.png, run.png, predictions.png and study.png.

    python docs/images/pages.py [--steps 300] [--work DIR]

Runs `duoseg demo`, calibrates its run of `duo` and predicts with uncertainty, compares three methods with two numbers
of annotated scans, and takes pictures of the four pages in Chromium. With --work, what is there already is not made
again.
"""

from __future__ import annotations

import argparse
import io
import shutil
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page, sync_playwright

import duoseg

HERE = Path(__file__).parent
WIDTH = 1100
HEIGHTS = {"report": 2690, "run": 2450, "predictions": 1850, "study": 2700}
COLOURS = 128
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIETLY: dict[str, Any] = {"device": "cpu", "threads": 1}


def main() -> None:
    """Make what the pages are of, and the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--out", type=Path, default=HERE)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pages = pages_in(asked.work or Path(folder), asked.steps)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": WIDTH, "height": 1000})
            for name, path in pages.items():
                picture(page, path, asked.out / f"{name}.png", HEIGHTS[name])
            browser.close()


def pages_in(work: Path, steps: int) -> dict[str, Path]:
    """The four pages, by picture."""
    demo, masks, study = work / "demo", work / "masks", work / "phantoms"
    data, run = demo / "data", demo / "runs" / "duo"
    if not (demo / "report.html").is_file():
        duoseg.demo(demo, steps=steps, **QUIETLY)
    if not (run / "calibration.json").is_file():
        duoseg.calibrate(run, data, **QUIETLY)
    if not (masks / "report.html").is_file():
        duoseg.predict(run, data / "imagesTs", masks, uncertainty=True, **QUIETLY)
        duoseg.report(masks)
    methods = ["supervised", "dtml", "duo"]
    duoseg.compare(data, study, methods=methods, labelled=[2, 4], seeds=[0, 1, 2], steps=steps // 2, **QUIETLY)
    return {
        "report": demo / "report.html",
        "run": run / "report.html",
        "predictions": masks / "report.html",
        "study": study / "report.html",
    }


def picture(page: Page, path: Path, out: Path, height: int) -> None:
    """The upper part of a page as a PNG of few colours."""
    page.goto(path.resolve().as_uri())
    shot = page.screenshot(full_page=True)
    with Image.open(io.BytesIO(shot)) as whole:
        upper = whole.convert("RGB").crop((0, 0, whole.width, min(height, whole.height)))
        upper.quantize(COLOURS, dither=Image.Dither.NONE).save(out, optimize=True)


if __name__ == "__main__":
    main()
