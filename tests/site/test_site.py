"""The built site: nothing that asks another host, no link to a page or place that is not there.

Run by `tox run -e docs`, which builds it into the folder that KZOO_SITE names.
"""

import functools
import http.server
import os
import threading
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
from browser import IS_HERE, REASON, chromium, complaints, opened

if not os.environ.get("KZOO_SITE"):
    pytest.skip("needs the built site: tox run -e docs", allow_module_level=True)

SITE = Path(os.environ["KZOO_SITE"]).resolve()
PAGES = sorted(SITE.rglob("*.html"))
# Links that a reader may follow; everything else would be asked for by the page itself.
FOLLOWED = {("a", "href")}


class Links(HTMLParser):
    """The links of a page, by element and attribute, and the places in it that links may lead to."""

    def __init__(self, text):
        super().__init__()
        self.links, self.places = [], {"", "__comments"}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in ("id", "name") and tag != "meta":
                self.places.add(value)
            elif name in ("href", "src", "srcset", "action", "poster", "data"):
                self.links.append((tag, name, value))


READ = {page: Links(page.read_text()) for page in PAGES}


def test_site_has_pages():
    assert len(PAGES) > 30


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(SITE)))
def test_page_asks_no_other_host(page):
    found = [link for link in READ[page].links if link[:2] not in FOLLOWED and urlsplit(link[2]).netloc]
    assert found == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(SITE)))
def test_links_of_a_page_lead_somewhere(page):
    assert [value for _, _, value in READ[page].links if leads_nowhere(page, value)] == []


def leads_nowhere(page, link):
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return False
    path, place = urldefrag(unquote(link))
    target = page
    if path:
        # The page for what is not found has links from the root.
        target = SITE / path.lstrip("/") if path.startswith("/") else (page.parent / path).resolve()
    if target.is_dir():
        target = target / "index.html"
    return not target.is_file() or (bool(place) and target in READ and place not in READ[target].places)


def test_styles_ask_no_other_host():
    for file in SITE.rglob("*.css"):
        assert "url(http" not in file.read_text(), file
        assert "url(//" not in file.read_text(), file


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if not IS_HERE:
        pytest.skip(REASON)
    with chromium(tmp_path_factory.mktemp("chromium"), "--hide-scrollbars") as driver:
        yield driver


@pytest.fixture(scope="module")
def address():
    """Where the site is served meanwhile."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=SITE))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


OPENED = ("index.html", "recipes.html", "reference/training.html")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("page", OPENED)
def test_page_opens_without_a_complaint(browser, address, page, width, scheme):
    """No error in the console, no request beyond the site's files, nothing wider than the window."""
    # What the page before remembered of the reader's choice.
    browser.get("about:blank")
    browser.execute_cdp_cmd("Storage.clearDataForOrigin", {"origin": address.rstrip("/"), "storageTypes": "all"})
    asked = opened(browser, address + page, width, scheme)
    assert asked
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
    assert complaints(browser) == []
    used = browser.execute_script("return document.body.getAttribute('data-md-color-scheme')")
    assert used == {"light": "default", "dark": "slate"}[scheme]
    if folder := os.environ.get("KZOO_SCREENSHOTS"):
        name = f"{page.replace('/', '-').removesuffix('.html')}-{width}-{scheme}.png"
        browser.save_screenshot(str(Path(folder, name)))
