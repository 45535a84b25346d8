"""A report in a browser: it opens, shows its charts, fits phones and paper, and asks nobody."""

import os
from pathlib import Path

import pytest
from browser import IS_HERE, REASON, chromium, complaints, opened
from toy_study import toy

from kzoo.studies import run_study

pytestmark = pytest.mark.skipif(not IS_HERE, reason=REASON)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("chromium"), "--hide-scrollbars") as driver:
        yield driver


@pytest.fixture(scope="module")
def report(tmp_path_factory, bench):
    folder = tmp_path_factory.mktemp("studies") / "toy"
    run_study(toy(), directory=folder, bench=bench, verbose=0)
    return (folder / "report.html").as_uri()


def charts_shown(driver):
    """Returns which source each picture that can be seen has taken, and how wide that is."""
    script = """return [...document.images].filter(one => one.checkVisibility())
        .map(one => [one.currentSrc.slice(0, 22), one.naturalWidth, one.alt])"""
    return driver.execute_script(script)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_report_opens_without_a_complaint_and_shows_its_charts(browser, report, width, scheme):
    asked = opened(browser, report, width, scheme)
    assert asked[0] == report
    assert [url for url in asked[1:] if not url.startswith("data:")] == []
    assert complaints(browser) == []
    (chart,) = charts_shown(browser)
    assert chart[0] == "data:image/png;base64,"
    assert chart[1] > 300
    assert chart[2]  # for who does not see it
    background = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    red = int(background.split("(")[1].split(",")[0])
    assert (red > 200) == (scheme == "light")
    if folder := os.environ.get("KZOO_SCREENSHOTS"):
        browser.save_screenshot(str(Path(folder, f"report-{width}-{scheme}.png")))


def test_report_prints_dark_on_white_in_any_scheme(browser, report):
    opened(browser, report, 1280, "dark")
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": features})
    colour = browser.execute_script("return getComputedStyle(document.body).color")
    assert max(map(int, colour.split("(")[1].rstrip(")").split(",")[:3])) < 100
    assert len(charts_shown(browser)) == 1
    if folder := os.environ.get("KZOO_SCREENSHOTS"):
        browser.save_screenshot(str(Path(folder, "report-print.png")))
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
