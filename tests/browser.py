"""Chromium without a window, for tests of pages."""

import contextlib
import importlib.util
import json
import shutil

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
IS_HERE = bool(CHROMIUM and DRIVER and importlib.util.find_spec("selenium"))
REASON = "needs chromium and chromedriver (Debian: apt-get install chromium chromium-driver) and selenium"
_ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


@contextlib.contextmanager
def chromium(folder, *arguments):
    """Yields a driver whose logs tell of everything; Chromium keeps its files in the folder."""
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    options = ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (*_ARGUMENTS, *arguments, f"--user-data-dir={folder}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = Chrome(options, ChromeService(DRIVER))
    yield driver
    driver.quit()


def opened(driver, url, width, scheme):
    """Opens a page in a window of that width, in a light or dark scheme; returns the addresses that it asked for."""
    driver.get("about:blank")
    driver.get_log("performance")
    driver.get_log("browser")
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    driver.get(url)
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    return [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]


def complaints(driver):
    """Returns the errors that a page has written to the console, and how far it is wider than its window."""
    errors = [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
    wide = driver.execute_script("return document.documentElement.scrollWidth - window.innerWidth")
    return errors + ([f"{wide} pixels too wide"] if wide > 0 else [])
