import json
import shutil
import subprocess

import numpy as np
import pytest
from browser import IS_HERE, REASON, chromium
from PIL import Image
from tiny_exports import CLASSES, images_of, logits_of, write_export

pytestmark = pytest.mark.skipif(not IS_HERE, reason=REASON)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    arguments = ("--force-prefers-reduced-motion", "--use-fake-device-for-media-stream")
    arguments += ("--use-fake-ui-for-media-stream", "--window-size=900,700")
    with chromium(tmp_path_factory.mktemp("chromium"), *arguments) as driver:
        yield driver


@pytest.fixture(scope="module")
def axe(tmp_path_factory):
    """The source of axe-core, of npm."""
    folder = tmp_path_factory.mktemp("axe")
    if shutil.which("npm") is None:
        pytest.skip("needs npm")
    command = ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--ignore-scripts", "axe-core@4"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=90, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("npm does not answer")
    if done.returncode:
        pytest.skip("npm has no axe-core here")
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text()


@pytest.fixture(scope="module")
def calibrated_server(tmp_path_factory, run_server):
    """A server of a model that is surer than it should be, by a temperature of 4."""
    folder = tmp_path_factory.mktemp("calibrated")
    write_export(folder, scale=2.0, temperature=4.0)
    with run_server(folder) as server:
        yield server


def until(browser, condition):
    from selenium.webdriver.support.wait import WebDriverWait

    return WebDriverWait(browser, 20).until(lambda _: condition())


def page_of(browser, server):
    browser.get_log("performance")  # what was asked for before
    browser.get(f"http://127.0.0.1:{server.port}/")
    until(browser, lambda: browser.find_element("id", "model").is_enabled())
    select(browser, "model", "tiny")
    return browser


@pytest.fixture
def opened(browser, tiny_server):
    return page_of(browser, tiny_server)


def select(browser, name, text):
    from selenium.webdriver.support.select import Select

    Select(browser.find_element("id", name)).select_by_visible_text(text)


def choose(browser, *paths):
    browser.find_element("id", "file").send_keys("\n".join(map(str, paths)))


def answers(browser, count=1):
    until(browser, lambda: len(browser.find_elements("css selector", ".result")) == count)
    return browser.find_elements("css selector", ".result")


def shown(browser, name):
    until(browser, lambda: browser.find_element("id", name).is_displayed())
    return browser.find_element("id", name)


def saved(image, path):
    Image.fromarray(image).save(path)
    return path


def percents(images, scale):
    powers = np.exp(logits_of(images, scale))
    return 100 * powers / powers.sum(axis=1, keepdims=True)


def rows_of(result):
    return [row.text.split("\n") for row in result.find_elements("css selector", ".name")]


def expected_rows(image, scale):
    row = percents(image[None], scale)[0]
    return [[CLASSES[index], f"{row[index]:.1f} %"] for index in row.argsort()[::-1]]


def test_page_shows_the_classes_of_several_images(opened, tmp_path):
    images = images_of(3)
    choose(opened, *[saved(image, tmp_path / f"{index}.png") for index, image in enumerate(images)])
    results = answers(opened, 3)
    for result, image in zip(results, images[::-1], strict=True):  # the newest is first
        assert rows_of(result) == expected_rows(image, 2)
        assert result.find_element("tag name", "h3").text == expected_rows(image, 2)[0][0]
        tracks = result.find_elements("css selector", ".track")
        bars = result.find_elements("css selector", ".bar")
        widths = [100 * bar.rect["width"] / track.rect["width"] for bar, track in zip(bars, tracks, strict=True)]
        assert widths == pytest.approx(sorted(percents(image[None], 2)[0], reverse=True), abs=0.5)
    assert "answered in " in results[0].text
    opened.find_element("id", "clear").click()
    assert opened.find_elements("css selector", ".result") == []


def widths_of(result, name):
    """How far from the left the bars or marks of a chart go, in percent."""
    tracks = result.find_elements("css selector", ".track")
    parts = [track.find_element("css selector", f".{name}") for track in tracks]
    share = {"bar": lambda rect: rect["width"], "mark": lambda rect: rect["x"] + rect["width"] / 2}[name]
    starts = [track.rect["x"] if name == "mark" else 0 for track in tracks]
    return [
        100 * (share(part.rect) - start) / track.rect["width"]
        for part, start, track in zip(parts, starts, tracks, strict=True)
    ]


def test_page_shows_calibrated_probabilities_beside_the_plain_ones(browser, calibrated_server, tmp_path):
    page = page_of(browser, calibrated_server)
    image = images_of(1)
    choose(page, saved(image[0], tmp_path / "a.png"))
    (result,) = answers(page)
    order = logits_of(image)[0].argsort()[::-1]
    calibrated, plain = percents(image, 0.5)[0][order], percents(image, 2)[0][order]
    assert abs(calibrated - plain).max() > 10
    expected = [[CLASSES[i], f"{a:.1f} % {b:.1f} % before"] for i, a, b in zip(order, calibrated, plain, strict=True)]
    assert rows_of(result) == expected
    until(page, lambda: widths_of(result, "bar") == pytest.approx(calibrated, abs=0.7))
    assert widths_of(result, "mark") == pytest.approx(plain, abs=0.7)
    assert result.find_element("css selector", ".legend").text == "calibrated (temperature 4.00) before calibration"
    said = page.find_element("id", "said").get_attribute("textContent")
    assert said == f"a.png: {CLASSES[order[0]]}, {calibrated[0]:.0f} percent calibrated, {plain[0]:.0f} before."


def test_page_says_nothing_of_calibration_where_there_is_none(opened, tmp_path):
    choose(opened, saved(images_of(1)[0], tmp_path / "a.png"))
    (result,) = answers(opened)
    assert result.find_elements("css selector", ".mark, .legend") == []


def test_page_asks_the_version_that_is_chosen(opened, tmp_path):
    select(opened, "version", "1")
    choose(opened, saved(images_of(1)[0], tmp_path / "a.png"))
    (result,) = answers(opened)
    assert rows_of(result) == expected_rows(images_of(1)[0], 1)
    assert "by version 1" in result.text


def test_page_answers_examples_and_shows_the_card(opened):
    card = opened.find_element("id", "card").text
    assert "means" in card
    assert "50.00 %" in card
    assert "1, 12" in card
    examples = opened.find_elements("css selector", "#example-list button")
    assert len(examples) == 2
    assert "in truth green" in examples[0].find_element("tag name", "img").get_attribute("alt")
    examples[1].click()
    (result,) = answers(opened)
    assert rows_of(result) == expected_rows(images_of(2, seed=9)[1], 2)


def test_page_shows_requests_that_work(opened, tiny_server, tmp_path):
    image = images_of(1)[0]
    choose(opened, saved(image, tmp_path / "a.png"))
    answers(opened)
    best = expected_rows(image, 2)[0]
    for language, interpreter in (("curl", "bash"), ("python", "python3"), ("javascript", "node")):
        opened.find_element("id", f"tab-{language}").click()
        snippet = opened.find_element("id", "snippet").text
        if shutil.which(interpreter) is None:
            continue
        command = [interpreter, "-c", snippet]
        if language == "javascript":
            (tmp_path / "ask.mjs").write_text(snippet)
            command = [interpreter, "ask.mjs"]
        said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True).stdout
        found = json.loads(said) if said.lstrip().startswith(("[", "{")) else None
        found = found["predictions"][0]["probabilities"] if isinstance(found, dict) else found
        assert f"{100 * max(found):.1f} %" == best[1], language


def test_page_takes_pictures_with_the_camera(opened):
    shown(opened, "camera").click()
    shown(opened, "take").click()
    (result,) = answers(opened)
    assert "camera.png" in result.text
    opened.find_element("id", "stop").click()
    assert not opened.find_element("id", "live").is_displayed()


def test_page_asks_no_other_host(opened, tiny_server, tmp_path):
    choose(opened, saved(images_of(1)[0], tmp_path / "a.png"))
    answers(opened)
    events = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    urls = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    asked = [url for url in urls if url.startswith(("http", "ws"))]
    assert asked
    assert [url for url in asked if not url.startswith(f"http://127.0.0.1:{tiny_server.port}/")] == []
    assert [entry for entry in opened.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_page_shows_what_the_server_refuses_beside_what_it_answers(opened, tmp_path):
    (tmp_path / "note.png").write_text("no image")
    choose(opened, saved(images_of(1)[0], tmp_path / "a.png"), tmp_path / "note.png")
    error = shown(opened, "error")
    assert error.text == "note.png: Image 0 must be a JPEG or PNG file. Received: 8 other bytes."
    assert error.get_attribute("role") == "alert"
    answers(opened)
    opened.get_log("browser")  # the answer 400 is in it


def test_page_asks_for_the_key(browser, tiny_exports, run_server, tmp_path):
    key = "of more than sixteen letters"
    with run_server(tiny_exports, KZOO_API_KEY=key) as server:
        browser.get(f"http://127.0.0.1:{server.port}/")
        shown(browser, "key-form")
        browser.find_element("id", "key").send_keys(key)
        browser.find_element("css selector", "#key-form button").click()
        until(browser, lambda: browser.find_element("id", "model").is_enabled())
        choose(browser, saved(images_of(1)[0], tmp_path / "a.png"))
        answers(browser)
        assert not browser.find_element("id", "error").is_displayed()
        assert "$KZOO_API_KEY" in browser.find_element("id", "snippet").text
        assert key not in browser.find_element("id", "snippet").text
        browser.execute_script("sessionStorage.clear()")


def test_page_is_used_by_keyboard_and_read_aloud(opened, tmp_path):
    from selenium.webdriver.common.keys import Keys

    opened.find_element("id", "version").send_keys(Keys.TAB)
    focused = opened.switch_to.active_element
    assert focused.get_attribute("id") == "file"
    assert focused.accessible_name.startswith("Choose images")
    choose(opened, saved(images_of(1)[0], tmp_path / "a.png"))
    answers(opened)
    said = opened.find_element("css selector", "[role=status][aria-live=polite]#said")
    best = expected_rows(images_of(1)[0], 2)[0]
    assert said.get_attribute("textContent").startswith(f"a.png: {best[0]}, ")
    assert opened.find_element("css selector", ".result img").get_attribute("alt") == "a.png"
    tab = opened.find_element("id", "tab-curl")
    tab.send_keys(Keys.ARROW_RIGHT)
    assert opened.switch_to.active_element.get_attribute("id") == "tab-python"
    assert "urllib" in opened.find_element("id", "snippet").text


def test_name_of_a_class_stays_whole_on_a_phone(browser, calibrated_server, tmp_path):
    page = page_of(browser, calibrated_server)
    size = {"width": 390, "height": 900, "deviceScaleFactor": 1, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        choose(page, saved(images_of(1)[0], tmp_path / "a.png"))
        name = answers(page)[0].find_element("css selector", ".name span")
        heights = set()
        for text in ("cat", "automobile"):
            page.execute_script("arguments[0].textContent = arguments[1]", name, text)
            heights.add(name.rect["height"])
        assert len(heights) == 1
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1600])
@pytest.mark.parametrize("path", ["/", "/docs"])
def test_page_has_no_fault_that_axe_finds_and_fits(
    scheme, width, path, browser, calibrated_server, axe, tmp_path, shots
):
    opened = page_of(browser, calibrated_server)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        if path == "/":
            choose(opened, saved(images_of(1)[0], tmp_path / "a.png"))
            answers(opened)
        else:
            opened.get(f"http://127.0.0.1:{calibrated_server.port}{path}")
        run = "axe.run().then(found => arguments[0](found.violations.map(one => [one.id, one.nodes[0].html])))"
        if shots is not None:
            opened.save_screenshot(str(shots / f"{path.strip('/') or 'page'}-{width}-{scheme}.png"))
        # By the protocol of developers' tools, which the page's policy does not bind.
        opened.execute_cdp_cmd("Runtime.evaluate", {"expression": axe})
        assert opened.execute_async_script(run) == []
        wide = opened.execute_script("return document.documentElement.scrollWidth - window.innerWidth")
        wider = "[...document.querySelectorAll('*')].filter(e => e.getBoundingClientRect().right > innerWidth + 1)"
        outside = opened.execute_script(f"return {wider}.map(e => e.outerHTML.slice(0, 90))")
        assert wide <= 0, outside
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@pytest.fixture
def shots():
    """Where to leave screenshots to look at, if the environment names a folder."""
    import os
    from pathlib import Path

    folder = os.environ.get("KZOO_SCREENSHOTS")
    return None if folder is None else Path(folder)
