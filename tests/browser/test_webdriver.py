"""The browser: what is asked of a driver, here one that plays a page, and what its answers mean to those who wait."""

import base64
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest
from rookery.browser import container
from rookery.browser.webdriver import Browser
from rookery.errors import InfrastructureError, UsageError
from rookery.images import recipes
from rookery.images.catalogue import CHROMIUM
from rookery.machine import docker as leases_docker
from rookery.machine.leases import Lease
from rookery.waiting import NotYet

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # https://www.w3.org/TR/webdriver2/#elements
PNG = b"\x89PNG"


@pytest.fixture
def driver():
    """A driver: `answers` has what it says to a method and path of the session, `asked` all it was asked."""
    state = SimpleNamespace(answers={}, asked=[])

    class Handler(BaseHTTPRequestHandler):
        def _answer(self):
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            path = self.path.removeprefix("/session/1") or "/"
            state.asked.append((self.command, path, body, self.headers["Host"]))
            status, value = self._value(path, body)
            data = json.dumps({"value": value}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _value(self, path, body):
            if path == "/session":
                return 200, {"sessionId": "1", "capabilities": {}}
            key = body["value"] if path == "/elements" else path
            found = state.answers.get(key)
            if isinstance(found, tuple):
                return found[0], {"error": found[1], "message": found[2]}
            return 200, [{_ELEMENT: name} for name in found or []] if path == "/elements" else found

        do_GET = do_POST = do_DELETE = _answer

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    yield state
    server.shutdown()
    server.server_close()


@pytest.fixture
def browser(driver):
    with Browser(driver.url) as browser:
        browser.start()
        yield browser


def test_a_session_is_started_once_and_ended(driver):
    with Browser(driver.url) as browser:
        browser.start()
        browser.start()
    browser.close()

    assert [(method, path) for method, path, _, _ in driver.asked] == [
        ("POST", "/session"),
        ("DELETE", "/"),
    ]
    wanted = driver.asked[0][2]["capabilities"]["alwaysMatch"]
    assert "--headless=new" in wanted["goog:chromeOptions"]["args"]
    assert {host for *_, host in driver.asked} == {"localhost"}, "the one name that ChromeDriver always serves"


def test_a_driver_that_is_not_there_yet_is_waited_for():
    with pytest.raises(NotYet, match="no driver at"):
        Browser("http://127.0.0.1:9").start()


def test_without_selenium_there_is_no_browser_but_a_way_to_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "rookery.browser.webdriver", None)
    monkeypatch.setitem(sys.modules, "selenium", None)
    with pytest.raises(UsageError, match=r"pytest-rookery\[browser\]"), container.browser_on("net", None, image="i"):
        pass


def test_nothing_is_asked_before_the_start(driver):
    with pytest.raises(InfrastructureError, match="has not been started"):
        Browser(driver.url).open("http://172.18.255.247:7000/")
    assert not driver.asked


def test_elements_are_read_filled_in_and_clicked(driver, browser):
    driver.answers = {
        ".card": ["e1", "e2"],
        "/element/e1/text": "3 OSDs",
        "/element/e1/attribute/title": "HEALTH_OK",
    }

    assert browser.text(".card") == "3 OSDs"
    assert browser.attribute(".card", "title") == "HEALTH_OK"
    browser.type(".card", "s3cret")
    browser.click(".card")
    told = [(path, body.get("text")) for method, path, body, _ in driver.asked if method == "POST" and "e1" in path]
    assert told == [("/element/e1/clear", None), ("/element/e1/value", "s3cret"), ("/element/e1/click", None)]


def test_what_the_page_lacks_is_a_reason_to_wait_that_reports_where(driver, browser):
    driver.answers = {"/url": "http://dashboard/#/login", ".card": ["e1"]}

    assert not browser.has(".absent")
    with pytest.raises(NotYet, match=r"#/login shows no \.absent"):
        browser.text(".absent")
    with pytest.raises(NotYet, match="has no title"):
        browser.attribute(".card", "title")


@pytest.mark.parametrize(
    ("code", "message", "told"),
    [
        ("stale element reference", "the page has been built anew", "StaleElement"),
        ("element not interactable", "", "NotInteractable"),
        ("unknown error", "net::ERR_CONNECTION_REFUSED", "net::ERR"),
        ("timeout", "Timed out receiving message from renderer", "Timeout"),
    ],
)
def test_what_passes_is_waited_for(driver, browser, code, message, told):
    driver.answers = {"/url": (400, code, message)}
    with pytest.raises(NotYet, match=told):
        browser.open("http://dashboard/")


def test_what_does_not_pass_is_a_fault(driver, browser):
    driver.answers = {".card[": (400, "invalid selector", "not a selector")}
    with pytest.raises(InfrastructureError, match=r"InvalidSelector.*not a selector"):
        browser.text(".card[")


def test_a_script_of_ours_answers_by_its_only_argument(driver, browser):
    driver.answers = {"/execute/async": {"worst": 3.5}}
    assert browser.ask("arguments[0]({worst: 3.5})") == {"worst": 3.5}
    (body,) = [body for _, path, body, _ in driver.asked if path == "/execute/async"]
    assert body["script"] == "arguments[0]({worst: 3.5})"


def test_a_screenshot_is_a_file(driver, browser, tmp_path):
    driver.answers = {"/screenshot": base64.b64encode(PNG).decode()}
    browser.screenshot(tmp_path / "page.png")
    assert (tmp_path / "page.png").read_bytes() == PNG


@pytest.fixture
def engine(monkeypatch, driver):
    """An engine with one container, whose address is where the driver is."""
    engine = SimpleNamespace(running=False, on_record=[], lives=True)
    lease = engine.lease = Lease.acquire("c")

    def docker(command, *args, check=True):
        if command == "run":
            engine.on_record.append(lease.has("container", "rookery-c-browser"))
            engine.running = args[args.index("--label") + 1]
        elif command == "rm":
            assert args[-1] == "id"
            engine.running = False
        return SimpleNamespace(stdout="", stderr="cannot find Chrome binary")

    def docker_output(*args):
        if "State.Running" in args[2]:
            return "true" if engine.lives else "false"
        return json.dumps({"rookery-c": {"IPAddress": "127.0.0.1"}})

    def labelled(label):
        return [{"Id": "id", "Names": ["/rookery-c-browser"]}] if engine.running == label else []

    monkeypatch.setattr(leases_docker, "docker", docker)
    monkeypatch.setattr(leases_docker, "labelled", labelled)
    monkeypatch.setattr(container, "docker", docker)
    monkeypatch.setattr(container, "docker_output", docker_output)
    monkeypatch.setattr(container, "PORT", int(driver.url.rpartition(":")[2]))
    return engine


def test_its_container_is_on_record_while_it_lasts(engine):
    with container.browser_on("rookery-c", engine.lease, image=CHROMIUM) as browser:
        assert browser.has(".absent") is False
        assert engine.running
        assert engine.lease.has("container", "rookery-c-browser")
    assert engine.on_record == [True]
    assert not engine.running
    assert not engine.lease.has("container")


def test_a_browser_that_does_not_start_gives_the_reason_and_leaves_nothing(engine):
    engine.lives = False
    with (
        pytest.raises(InfrastructureError, match="cannot find Chrome binary"),
        container.browser_on("rookery-c", engine.lease, image=CHROMIUM),
    ):
        pass
    assert not engine.running
    assert not engine.lease.has("container")


def test_its_image_can_be_built():
    assert recipes.find(CHROMIUM).needs == ("localhost/rookery/debian:bookworm",)
