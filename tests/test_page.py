"""Pages that ask nobody for anything: what goes in is escaped, and comes out whole."""

import base64
import re

import cv2
import numpy as np
import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from polyface import page

NASTY = "<script>alert('a & b')</script>.jpg"


def pixels(uri: str, flags: int = cv2.IMREAD_UNCHANGED) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(base64.b64decode(uri.partition(",")[2]), np.uint8), flags)


def test_a_page_has_its_title_and_body_and_loads_nothing() -> None:
    drawn = np.zeros((4, 4, 3), np.uint8)
    html = page.page("Faces & answers", page.render('<img src="{{ uri }}" alt="">', uri=page.picture(drawn)), style=".mine { color: red }", script="let a = 1 < 2")
    assert "<title>Faces &amp; answers</title>" in html and "<h1>Faces &amp; answers</h1>" in html
    assert ".mine { color: red }" in html and "let a = 1 < 2" in html
    assert not re.search(r"https?:|//|@import|<link|url\(", html.replace("data:image/jpeg;base64," + page.picture(drawn).partition(",")[2], ""))
    assert "default-src 'none'" in html
    assert "prefers-color-scheme: dark" in html and 'name="viewport"' in html


def test_a_page_without_a_script_has_none() -> None:
    assert "<script" not in page.page("x", Markup("<p>y</p>"))


@pytest.mark.parametrize("html", [page.page(NASTY, Markup("")), page.render("{{ name }}", name=NASTY), page.table([{NASTY: NASTY}], caption=NASTY)])
def test_words_from_outside_are_escaped(html: str) -> None:
    assert "&lt;script&gt;alert(&#39;a &amp; b&#39;)" in html and "<script>" not in html


def test_what_was_rendered_is_not_escaped_again() -> None:
    inner = page.render("<b>{{ word }}</b>", word="<")
    assert page.render("{{ inner }}{{ numbers }}", inner=inner, numbers=page.table([{"a": inner}])).count("<b>&lt;</b>") == 2


def test_a_value_that_a_template_lacks_is_an_error_not_a_gap() -> None:
    with pytest.raises(UndefinedError):
        page.render("{{ nam }}", name="x")


def test_a_table_puts_numbers_to_the_right_and_nothing_where_nothing_is() -> None:
    html = page.table([{"set": "a", "rows": 12345, "score": 0.123456}, {"set": "b", "rows": None, "score": None}])
    assert '<td class="number">12,345</td><td class="number">0.1235</td>' in html
    assert '<td>b</td><td class="number"></td><td class="number"></td>' in html
    assert page.table([{"a": 1, "b": 2}], ["b"]).count("<td") == 1
    assert "<td" not in page.table([])


def test_a_picture_comes_back_from_its_uri_in_its_colours() -> None:
    red = np.full((20, 30, 3), (200, 30, 40), np.uint8)
    uri = page.picture(red)
    assert uri.startswith("data:image/jpeg;base64,")
    assert pixels(uri).shape == (20, 30, 3) and np.abs(pixels(uri)[10, 15].astype(int) - (40, 30, 200)).max() < 6


def test_a_picture_with_alpha_keeps_it() -> None:
    clear = np.zeros((5, 6, 4), np.uint8)
    clear[2, 3] = (255, 128, 0, 90)
    uri = page.picture(clear)
    assert uri.startswith("data:image/png;base64,") and pixels(uri)[2, 3].tolist() == [0, 128, 255, 90] and pixels(uri)[0, 0, 3] == 0


@pytest.mark.parametrize(("longest", "shape"), [(10, (5, 10)), (40, (15, 30)), (None, (15, 30)), (1, (1, 1))])
def test_a_picture_is_shrunk_to_its_longest_side_and_never_enlarged(longest: int | None, shape: tuple[int, int]) -> None:
    assert pixels(page.picture(np.zeros((15, 30, 3), np.uint8), longest)).shape[:2] == shape
