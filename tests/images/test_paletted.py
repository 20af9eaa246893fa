import cv2
import numpy as np
import pytest

from polyface.images import draw, paletted, read


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (40, 33)])
def test_a_class_map_comes_back_as_it_was_and_is_shown_in_its_colours(shape: tuple[int, int]) -> None:
    classes = np.random.default_rng(3).integers(0, 19, shape, dtype=np.uint8)
    palette = draw.region_palette(19)
    content = paletted.encode(classes, palette)
    np.testing.assert_array_equal(read.decode_mask(content, "classes"), classes)
    shown = cv2.cvtColor(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED), cv2.COLOR_BGRA2RGBA)
    np.testing.assert_array_equal(shown[..., :3], palette[classes])
    np.testing.assert_array_equal(shown[..., 3] > 0, classes > 0)
