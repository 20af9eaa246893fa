"""The page of `polyface serve` in a real browser, where one is installed: by mouse and by keyboard alone."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from shutil import which
from typing import Any

import cv2
import numpy as np
import pytest

from polyface.images import align
from polyface.images.detect import Face
from polyface.inference import analyze as analysis
from polyface.inference import card as cards
from polyface.inference import engine as engines

pytest.importorskip("fastapi", reason="polyface[serve] is not installed")
from polyface.inference.serve import app as serving

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
BROWSER = next(filter(None, map(which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed"), pytest.mark.timeout(600)]
FLAGS = ["--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]


class TwoPlaces:
    """Sees two faces on every picture that is not black, one of them cut by the border."""

    name, sha256 = "two places", ""

    def detect_many(self, images: list[np.ndarray], threshold: float | None = None) -> list[list[Face]]:
        faces = [Face(box, align.points_of_box(np.array(box)), score) for box, score in (((100.0, 60.0, 220.0, 210.0), 0.9), ((-20.0, 80.0, 60.0, 180.0), 0.8))]
        return [faces if image.any() else [] for image in images]

    def detect(self, image: np.ndarray, threshold: float | None = None) -> list[Face]:
        return self.detect_many([image])[0]


@pytest.fixture
def port(model: Path) -> Iterator[int]:
    said = cards.PairCalibration(slope=10.0, intercept=-2.0, different=0.05, frr=0.01)
    cards.write_card(model / "card.json", cards.with_calibration(cards.read_card(model / "card.json"), {"identity": said}, (cards.Threshold(far=0.001, cosine=0.5),)))
    server = serving.server(analysis.Analyzer(engines.load(model, threads=1), TwoPlaces()))
    with serving.listen(0) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join()


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    for name, value, size in (("a.png", 90, 1), ("black.png", 0, 1), ("large.png", 90, 5)):
        assert cv2.imwrite(str(tmp_path / name), np.full((240 * size, 320 * size, 3), value, np.uint8))
    (tmp_path / "page.jpg").write_text("<html>")
    return [str(tmp_path / name) for name in ("a.png", "black.png", "page.jpg", "large.png")]


def test_a_person_sees_answers_compares_takes_a_picture_and_reads_of_the_model(port: int, pictures: list[str], tmp_path: Path) -> None:
    """One browser for all of it, since starting one takes longest."""
    asked, wrong = [], []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=FLAGS)

        def opened(width: int, scheme: str) -> Any:
            seen = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme, reduced_motion="reduce")
            seen.set_default_timeout(60_000)
            seen.on("request", lambda request: asked.append(request.url))
            seen.on("pageerror", lambda error: wrong.append(str(error)))
            seen.on("console", lambda message: wrong.append(message.text) if "Content Security" in message.text else None)
            seen.goto(f"http://localhost:{port}/")
            return seen

        fits_the_narrowest(opened(320, "light"))
        seen = opened(390, "light")
        sees_faces(seen, pictures, tmp_path)
        works_by_keyboard(seen, pictures)
        takes_a_picture(seen)
        leaves_no_camera_on(seen)
        sees_small_faces(seen, pictures)
        compares(seen, pictures)
        reads_of_the_model(seen)
        works_on_a_desk_in_the_dark(opened(1280, "dark"), pictures)
        assert seen.evaluate("fetch('https://example.com/').then(() => 'loaded', () => 'refused')") == "refused"
        browser.close()
    assert not [line for line in wrong if "example.com" not in line]
    assert all(url.startswith((f"http://localhost:{port}/", "blob:", "data:")) for url in asked if "example.com" not in url)


def fits_the_narrowest(seen: Any) -> None:
    assert seen.evaluate("document.documentElement.scrollWidth") == 320 and seen.locator(".brand").bounding_box()["height"] < 30


def sees_faces(seen: Any, pictures: list[str], tmp_path: Path) -> None:
    middles = [box["x"] + box["width"] / 2 for box in (seen.locator(place).bounding_box() for place in ("#take", "#take .lead", "#take .quiet", "#choose"))]
    assert max(middles) - min(middles) < 2
    seen.set_input_files("#files", pictures[:3])
    playwright.expect(seen.locator("#count")).to_have_text("2 faces on 2 pictures, 1 refused", timeout=60_000)
    assert "No face found" in seen.inner_text("article:has(h2:text-is('black.png'))")
    assert "page.jpg: a web page" in seen.inner_text("article:has(h2:text-is('page.jpg'))")
    answered = seen.locator("article:has(h2:text-is('a.png'))")
    words = answered.inner_text()
    assert all(said in words for said in ("Face 0", "Face 1", "30 years", "surprise", "5 o Clock Shadow", "yaw 1"))
    assert answered.locator(".photo .marks").count() == 2
    box, photo = (answered.locator(place).first.bounding_box() for place in (".photo .box", ".photo img"))
    assert [round(320 / photo["width"] * (box[side] - photo[side])) for side in ("x", "y")] == pytest.approx([100, 60], abs=3)
    assert not answered.locator(".photo .regions").first.is_visible()
    seen.check("#show-regions")
    assert answered.locator(".photo .regions").first.is_visible() and "upper lip" in seen.inner_text("#legend")
    assert not unreadable(seen)
    assert seen.evaluate("document.documentElement.scrollWidth") == 390  # nothing sticks out on a telephone
    with seen.expect_download() as saved:
        seen.click("#save")
    saved.value.save_as(tmp_path / "answers.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert sorted((line["image"], "box" in line, "parsing" in line) for line in lines) == [("a.png", True, False), ("a.png", True, False), ("black.png", False, False)]


def works_by_keyboard(seen: Any, pictures: list[str]) -> None:
    """From the top of the page, by Tab, Enter and Space alone."""
    seen.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    seen.click("h1:visible", force=True)
    reached = tab_until(seen, "#choose")
    seen.evaluate(
        "byId('files').addEventListener('click', event => { event.preventDefault(); document.body.dataset.opened = ''; })"
    )  # no dialog, which a slow machine may refuse
    seen.keyboard.press("Enter")
    seen.wait_for_selector("[data-opened]")
    seen.set_input_files("#files", pictures[0])
    playwright.expect(seen.locator("#count")).to_have_text("4 faces on 3 pictures, 1 refused", timeout=60_000)
    reached |= tab_until(seen, "#show-points")
    seen.keyboard.press("Space")
    assert not seen.locator(".photo .points").first.is_visible()
    reached |= tab_until(seen, ".which")
    seen.keyboard.press("Enter")
    assert seen.locator(".face.chosen").count() == 1 and seen.locator(".marks.faint").count() == 1
    assert {"camera", "show-boxes", "show-regions", "save", "clear"} <= reached
    seen.locator(".away").first.press("Enter")
    playwright.expect(seen.locator("#count")).to_have_text("2 faces on 2 pictures, 1 refused")
    assert seen.evaluate("document.activeElement.className") == "away"


def tab_until(seen: Any, selector: str) -> set[str]:
    """Press Tab until the element has the focus; the ids that had it on the way."""
    reached = set()
    for _ in range(60):
        seen.keyboard.press("Tab")
        reached.add(seen.evaluate("document.activeElement.id"))
        if seen.evaluate("selector => document.activeElement.matches(selector)", selector):
            return reached
    raise AssertionError(f"{selector} is not reached by Tab; reached: {reached}")


def takes_a_picture(seen: Any) -> None:
    seen.click("#camera")
    seen.wait_for_selector("#shoot:enabled")
    seen.keyboard.press("Enter")
    playwright.expect(seen.locator("#count")).to_have_text("4 faces on 3 pictures, 1 refused", timeout=60_000)
    assert seen.evaluate("document.querySelector('video').srcObject") is None  # the camera is off again
    seen.click("#clear")
    assert seen.locator("article").count() == 0 and not seen.locator("#bar").is_visible()


def leaves_no_camera_on(seen: Any) -> None:
    """Esc while the browser still asks whether it may, and the camera again: what comes of the first call is stopped."""
    seen.focus("#camera")
    seen.evaluate("""() => {
      const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices), allowed = new Promise(allow => { window.allow = allow; });
      window.asked = 0;
      window.streams = [];
      navigator.mediaDevices.getUserMedia = async wanted => {
        if (++asked === 1) await allowed;
        const stream = await ask(wanted);
        streams.push(stream);
        return stream;
      };
    }""")
    for key in ("Enter", "Escape", "Enter"):
        seen.keyboard.press(key)
        seen.wait_for_selector("#look", state="hidden" if key == "Escape" else "visible")
        assert key != "Escape" or seen.evaluate("document.activeElement.id") == "camera"
    seen.wait_for_selector("#shoot:enabled")
    seen.evaluate("allow()")
    seen.wait_for_function("() => streams.length === 2")
    seen.keyboard.press("Escape")
    seen.wait_for_function("() => streams.every(stream => stream.getTracks().every(track => track.readyState === 'ended'))", timeout=5_000)


def sees_small_faces(seen: Any, pictures: list[str]) -> None:
    """Their numbers stand above them, and go with them where another is chosen."""
    seen.set_input_files("#files", pictures[3])
    playwright.expect(seen.locator("#count")).to_have_text("2 faces on 1 picture", timeout=60_000)
    badge, box = (seen.locator(place).first.bounding_box() for place in (".badge.tight", ".photo .box"))
    assert badge["y"] + badge["height"] <= box["y"] + 2 and badge["width"] < box["width"]
    seen.locator(".badge").last.click()
    assert seen.locator(".badge.faint").count() == seen.locator(".marks.faint").count() == 1


def works_on_a_desk_in_the_dark(seen: Any, pictures: list[str]) -> None:
    """By keyboard: to the content past the views, to another view, into the camera and out of it."""
    seen.keyboard.press("Tab")
    assert seen.evaluate("document.activeElement.className") == "skip" and seen.locator(".skip").bounding_box()["x"] > 0
    seen.keyboard.press("Enter")
    assert seen.evaluate("document.activeElement.id") == "content"
    seen.set_input_files("#files", pictures[0])
    playwright.expect(seen.locator("#count")).to_have_text("2 faces on 1 picture", timeout=60_000)
    photo, faces = (seen.locator(place).bounding_box() for place in (".photo", ".faces"))
    assert photo["x"] + photo["width"] <= faces["x"]
    assert min(bar["width"] for bar in (each.bounding_box() for each in seen.locator(".share").all())) > 100  # so that 66 % is not 99 %
    assert seen.evaluate("document.documentElement.scrollWidth") == 1280 and not unreadable(seen)
    seen.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    seen.keyboard.press("Tab")
    tab_until(seen, "nav a[href='#compare']")
    seen.keyboard.press("Enter")
    seen.wait_for_function("() => document.activeElement.id === 'compare-title'")
    for slot in "ab":
        tab_until(seen, f"[data-slot={slot}] .camera")
        seen.keyboard.press("Enter")
        seen.wait_for_selector("#shoot:enabled")
        seen.keyboard.press("Escape" if slot == "a" else "Enter")
        seen.wait_for_selector("#look", state="hidden")
        seen.wait_for_function("() => document.querySelector('video').srcObject === null")  # a dialog says that it was closed a moment later
        assert seen.evaluate("document.activeElement.matches('.camera')")
    assert seen.locator("[data-slot=a] img").count() == 0 and seen.locator("[data-slot=b] img").count() == 1
    assert not unreadable(seen)


def unreadable(seen: Any) -> list[str]:
    """What text has a contrast below 4.5 with what is behind it (WCAG 2.2, 1.4.3)."""
    return seen.evaluate("""() => {
      const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
      const light = colour => numbers(colour).slice(0, 3).map(c => c / 255).map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
        .reduce((sum, c, at) => sum + c * [.2126, .7152, .0722][at], 0);
      const opaque = element => !element || (numbers(getComputedStyle(element).backgroundColor)[3] ?? 1) === 1;
      const behind = element => opaque(element) ? getComputedStyle(element ?? document.documentElement).backgroundColor : behind(element.parentElement);
      const shown = element => element.checkVisibility() && !element.disabled && !element.closest('.skip, .unseen, svg, header');
      const said = [...document.querySelectorAll('body *')].filter(element => shown(element) &&
        [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim()));
      const contrast = element => {
        const lights = [light(getComputedStyle(element).color), light(behind(element))];
        return (Math.max(...lights) + .05) / (Math.min(...lights) + .05);
      };
      return said.filter(element => contrast(element) < 4.5).map(element => `${element.className} ${element.textContent}: ${contrast(element)}`);
    }""")


def compares(seen: Any, pictures: list[str]) -> None:
    seen.click("nav >> text=Compare")
    for slot, picture in (("a", pictures[0]), ("b", pictures[1])):
        seen.set_input_files(f"[data-slot={slot}] input", picture)
    playwright.expect(seen.locator("#verdict")).to_contain_text("black.png: no face on it", timeout=60_000)
    seen.set_input_files("[data-slot=b] input", pictures[0])
    playwright.expect(seen.locator("#verdict h2")).to_have_text("The same person", timeout=60_000)
    assert "the foremost of its 2 faces" in seen.inner_text("[data-slot=a]") and seen.locator(".slot .box").count() == 2


def reads_of_the_model(seen: Any) -> None:
    seen.click("footer a")
    seen.locator("#compare-title").wait_for(state="hidden")  # the page turns after the address
    assert "What not to use it for" in seen.inner_text("main") and not seen.locator("#compare-title").is_visible()
