import importlib.util
import json
import shutil

import keras
import pytest
from PIL import Image

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER and importlib.util.find_spec("selenium")),
    reason="needs chromium and chromedriver (Debian: apt-get install chromium chromium-driver) and selenium",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    options = ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
        "--window-size=900,700",
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = Chrome(options, ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser, server):
    browser.get(f"http://127.0.0.1:{server.port}/")
    return browser


def shown(browser, selector):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.wait import WebDriverWait

    element = browser.find_element(By.CSS_SELECTOR, selector)
    WebDriverWait(browser, 20).until(lambda _: element.is_displayed())
    return element


def choose(browser, path):
    from selenium.webdriver.common.by import By

    browser.find_element(By.ID, "file").send_keys(str(path))


def enlarged(image, path):
    Image.fromarray(image).resize((96, 96), Image.Resampling.NEAREST).save(path)
    return path


def test_page_shows_the_right_class_of_an_image(opened, digits, model, tmp_path):
    from kzoo.data import decode_image

    path = enlarged(digits.test.images[0], tmp_path / "digit.png")
    pixels = decode_image(path.read_bytes(), "digit", (16, 16))
    probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(model(pixels[None], training=False)))[0]
    choose(opened, path)
    rows = shown(opened, "#answer").find_elements("css selector", "li .name")
    order = probabilities.argsort()[::-1][:5]
    assert order[0] == digits.test.labels[0]
    assert [row.text.split() for row in rows] == [f"digit {i} {100 * probabilities[i]:.1f} %".split() for i in order]
    tracks = opened.find_elements("css selector", ".track")
    bars = opened.find_elements("css selector", ".bar")
    widths = [bar.rect["width"] / track.rect["width"] for bar, track in zip(bars, tracks, strict=True)]
    assert widths == pytest.approx([probabilities[i] for i in order], abs=0.005)
    assert shown(opened, "#time").text.startswith("Answered in ")


def test_page_asks_no_other_host(opened, server, digits, tmp_path):
    choose(opened, enlarged(digits.test.images[1], tmp_path / "digit.png"))
    shown(opened, "#answer")
    events = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    urls = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    asked = [url for url in urls if url.startswith(("http", "ws"))]
    assert asked
    assert [url for url in asked if not url.startswith(f"http://127.0.0.1:{server.port}/")] == []
    assert [entry for entry in opened.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_page_begins_without_an_answer(opened):
    assert not opened.find_element("id", "answer").is_displayed()
    assert not opened.find_element("id", "error").is_displayed()


def test_page_shows_what_the_server_refuses_instead_of_the_last_answer(opened, digits, tmp_path):
    choose(opened, enlarged(digits.test.images[0], tmp_path / "digit.png"))
    answer = shown(opened, "#answer")
    (tmp_path / "note.png").write_text("no image")
    choose(opened, tmp_path / "note.png")
    error = shown(opened, "#error")
    assert error.text == "Image 0 must be a JPEG or PNG file. Received: 8 other bytes."
    assert error.get_attribute("role") == "alert"
    assert not answer.is_displayed()


def test_page_is_used_by_keyboard_and_read_aloud(opened, digits, tmp_path):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    opened.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    focused = opened.switch_to.active_element
    assert focused.get_attribute("id") == "file"
    assert focused.accessible_name.startswith("Drop a JPEG or PNG image here")
    choose(opened, enlarged(digits.test.images[2], tmp_path / "digit.png"))
    answer = shown(opened, "#answer")
    assert opened.find_element(By.CSS_SELECTOR, "[role=status][aria-live=polite] #answer") == answer
    assert opened.find_element(By.ID, "image").get_attribute("alt") == "digit.png"
