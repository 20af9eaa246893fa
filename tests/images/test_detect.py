import sys

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from polyface.errors import RequestError
from polyface.files import sha256_of_file
from polyface.images.detect import NOTHING, Face, best_match, load_detector

OPEN = ["n", 3, "h", "w"]


def write(path, nodes, constants, outputs, shape):
    images = helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    graph = helper.make_graph(nodes, "yunet", [images], results, [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()])
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString())
    return path


def constant_yunet(path, finds, side=320):
    """YuNet's twelve outputs, empty but for finds: {stride: [(cell, cls, obj, bbox [4], kps [10])]}."""
    constants, nodes, outputs = {}, [], []
    for stride in (8, 16, 32):
        cells = (side // stride) ** 2
        arrays = {"cls": np.zeros((1, cells, 1)), "obj": np.zeros((1, cells, 1)), "bbox": np.zeros((1, cells, 4)), "kps": np.zeros((1, cells, 10))}
        for cell, *values in finds.get(stride, []):
            for array, value in zip(arrays.values(), values, strict=True):
                array[0, cell] = value
        for kind, array in arrays.items():
            constants[f"{kind}{stride}"] = array.astype(np.float32)
            nodes.append(helper.make_node("Identity", [f"{kind}{stride}"], [f"{kind}_{stride}"]))
            outputs.append(f"{kind}_{stride}")
    return write(path, nodes, constants, outputs, [1, 3, side, side])


def red_finder(path, shape, face=(256, 192)):
    """YuNet's form, but a cell of 32 pixels is as much a face as it is red: a box of `face` and five points, all about the cell's centre."""
    constants = {"start": np.array([2]), "end": np.array([3]), "axis": np.array([1]), "flat": np.array([1, -1, 1]), "top": np.float32(255), "no": np.float32(0)}
    constants |= {"half": np.float32(0.5), "wide": np.float32(np.log(face[0] / 32)), "tall": np.float32(np.log(face[1] / 32))}
    nodes = [helper.make_node("Slice", ["input", "start", "end", "axis"], ["red"]), helper.make_node("Div", ["red", "top"], ["share"])]  # the input is BGR
    outputs = []
    for stride in (8, 16, 32):
        nodes.append(helper.make_node("AveragePool", ["share"], [f"mean{stride}"], kernel_shape=[stride] * 2, strides=[stride] * 2))
        nodes.append(helper.make_node("Reshape", [f"mean{stride}", "flat"], [f"cells{stride}"]))
        nodes.append(helper.make_node("Mul", [f"cells{stride}", "no"], [f"none{stride}"]))
        for kind in ("cls", "obj"):
            nodes.append(helper.make_node("Identity", [f"{'cells' if stride == 32 else 'none'}{stride}"], [f"{kind}_{stride}"]))
        for value in ("half", "wide", "tall"):
            nodes.append(helper.make_node("Add", [f"none{stride}", value], [f"{value}{stride}"]))
        nodes.append(helper.make_node("Concat", [f"{value}{stride}" for value in ("half", "half", "wide", "tall")], [f"bbox_{stride}"], axis=2))
        nodes.append(helper.make_node("Concat", [f"half{stride}"] * 10, [f"kps_{stride}"], axis=2))
        outputs += [f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps")]
    return write(path, nodes, constants, outputs, shape)


def picture(width, height, *spots, size=0.15):
    """Black, with soft red spots about (x, y); their deviation is `size` of the long side."""
    y, x = np.mgrid[:height, :width] + 0.5
    red = sum((np.exp(-((x - u) ** 2 + (y - v) ** 2) / 2 / (size * max(width, height)) ** 2) for u, v in spots), np.zeros((height, width)))
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.rint(np.minimum(red, 1) * 255)
    return image


def middle(face):
    return np.array([(face.box[0] + face.box[2]) / 2, (face.box[1] + face.box[3]) / 2])


def test_outputs_are_decoded_as_yunet_means_them(tmp_path):
    points = np.arange(10) / 4
    find = (8 * 20 + 9, 0.81, 0.64, [0.25, -0.5, np.log(16), np.log(13)], points)  # cell in row 8, column 9 of twenty
    detector = load_detector(constant_yunet(tmp_path / "y.onnx", {16: [find]}), 1)
    (face,) = detector.detect(np.zeros((304, 304, 3), np.uint8))
    centre = np.array([9.25, 7.5]) * 16
    assert np.allclose(face.box, [*(centre - np.array([128, 104])), *(centre + np.array([128, 104]))], atol=1e-3)
    assert np.allclose(face.points, (points.reshape(5, 2) + np.array([9, 8])) * 16, atol=1e-3)
    assert face.score == pytest.approx(0.72, abs=1e-6)
    (half,) = detector.detect(np.zeros((152, 152, 3), np.uint8))  # shown twice as large
    assert np.allclose(half.box, np.array(face.box) / 2) and np.allclose(half.points, face.points / 2)
    assert detector.detect(np.zeros((304, 304, 3), np.uint8), threshold=0.73) == []
    assert detector.name == "yunet" and detector.sha256 == sha256_of_file(tmp_path / "y.onnx")


def test_a_file_may_say_from_which_score_a_find_is_a_face(tmp_path):
    path = constant_yunet(tmp_path / "y.onnx", {16: [(8 * 20 + 9, 0.81, 0.64, [0, 0, 2, 2], np.zeros(10))]})  # a score of 0.72
    model = onnx.load(path)
    for said, faces in (("0.7", 1), ("0.75", 0)):
        helper.set_model_props(model, {"polyface_threshold": said, "polyface_detector": "finder"})
        onnx.save(model, path)
        detector = load_detector(path, 1)
        assert detector.name == "finder" and len(detector.detect(np.zeros((304, 304, 3), np.uint8))) == faces
        assert len(detector.detect(np.zeros((304, 304, 3), np.uint8), threshold=0.6)) == 1  # whoever asks for another gets it


def test_a_file_whose_threshold_is_no_number_is_refused(tmp_path):
    model = onnx.load(constant_yunet(tmp_path / "y.onnx", {}))
    for said, why in (("high", "is no number"), ("nan", "of nan .* 0 to 1"), ("7", "of 7 .* 0 to 1")):
        helper.set_model_props(model, {"polyface_threshold": said})
        onnx.save(model, tmp_path / "y.onnx")
        with pytest.raises(RequestError, match=rf"y\.onnx: .*threshold.* {why}"):
            load_detector(tmp_path / "y.onnx", 1)


def test_finds_of_one_face_are_one_face_with_points_by_score(tmp_path):
    box = [0, 0, np.log(16), np.log(16)]
    finds = [(8 * 20 + 9, 0.9, 0.9, box, np.zeros(10)), (8 * 20 + 10, 0.6, 0.6, box, np.ones(10)), (19 * 20 + 19, 0.5, 0.5, box, np.zeros(10))]
    (face,) = load_detector(constant_yunet(tmp_path / "y.onnx", {16: finds}), 1).detect(np.zeros((304, 304, 3), np.uint8))
    assert np.allclose(middle(face), [144, 128]) and face.score == pytest.approx(0.9)
    assert np.allclose(face.points, [(0.9 * 144 + 0.6 * 176) / 1.5, (0.9 * 128 + 0.6 * 144) / 1.5])


@pytest.mark.parametrize("shape", [[1, 3, 640, 640], [1, 3, 320, 320], [1, 3, 480, 640], OPEN])
@pytest.mark.parametrize("size", [(80, 80), (100, 60), (250, 250), (400, 300), (700, 500), (1500, 1000)])
def test_a_face_is_found_where_it_is_whatever_the_size_of_picture_and_input(tmp_path, shape, size):
    detector = load_detector(red_finder(tmp_path / "r.onnx", shape), 1)
    width, height = size
    spot = (round(width * 0.55), round(height * 0.45))
    faces = detector.detect(picture(width, height, spot))
    nearest = min(faces, key=lambda face: np.abs(middle(face) - spot).max())  # several levels may find it, here all at the same size
    assert np.abs(middle(nearest) - spot).max() < 0.06 * max(size)
    assert np.abs(nearest.points - spot).max() < 0.06 * max(size)


@pytest.mark.parametrize("shape", [[1, 3, 640, 640], OPEN])
def test_many_pictures_at_once_answer_as_each_alone(tmp_path, shape):
    detector = load_detector(red_finder(tmp_path / "r.onnx", shape), 1)
    images = [picture(200 + 7 * n, 260 - 9 * n, (90 + 5 * n, 120 - 3 * n)) for n in range(9)]
    images[3] = picture(200, 200)  # nobody
    images[6] = picture(900, 700, (450, 300))
    together = detector.detect_many(images)
    assert [bool(faces) for faces in together] == [True, True, True, False, True, True, True, True, True]
    for image, faces in zip(images, together, strict=True):
        for one, other in zip(detector.detect(image), faces, strict=True):
            assert np.allclose(one.box, other.box) and np.allclose(one.points, other.points) and one.score == pytest.approx(other.score)
    assert detector.detect_many([]) == []


def test_which_way_up_a_small_picture_is_is_asked_in_one_run_whatever_size_of_face_suits_the_file(tmp_path, monkeypatch):
    detector = load_detector(red_finder(tmp_path / "r.onnx", [1, 3, 640, 640]), 1)
    images = [picture(200, 200, (100, 100)) for _ in range(18)]
    found, runs, run = detector._found(images, 0.6), [], detector._run
    monkeypatch.setattr(detector, "_run", lambda *arguments: runs.append(1) or run(*arguments))
    assert not any(detector._turns(images, found)) and len(runs) == len(images)


def test_a_small_face_on_a_large_photograph_is_found_in_tiles(tmp_path):
    detector = load_detector(red_finder(tmp_path / "r.onnx", [1, 3, 640, 640], face=(128, 128)), 1)
    spots = [(360, 360), (2160, 1680), (1200, 960)]
    image = np.zeros((1800, 2400, 3), np.uint8)
    for x, y in spots:  # 18 pixels where the whole is shown, about a corner of cells: none of them is red enough
        image[y - 33 : y + 33, x - 33 : x + 33, 0] = 255
    found = [middle(face) for face in detector.detect(image)]
    assert len(found) == 3
    assert all(min(np.abs(centre - spot).max() for centre in found) < 60 for spot in spots)


def test_a_picture_twice_as_large_gives_coordinates_twice_as_large(tmp_path):
    detector = load_detector(red_finder(tmp_path / "r.onnx", OPEN), 1)
    small = picture(220, 180, (100, 80))
    (one,), (other,) = detector.detect(small), detector.detect(cv2.resize(small, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST))
    assert np.allclose(np.array(one.box) * 2, other.box, atol=0.5) and np.allclose(one.points * 2, other.points, atol=0.5)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (2000, 2), (33, 7)])
def test_strange_sizes_are_looked_at_without_a_find(tmp_path, size):
    detector = load_detector(red_finder(tmp_path / "r.onnx", [1, 3, 640, 640]), 1)
    assert detector.detect(picture(*size)) == []
    assert isinstance(load_detector(threads=1).detect(picture(*size)), list)


@pytest.mark.parametrize(("shape", "size"), [([1, 3, 320, 320], (207, 180)), ([1, 3, 192, 320], (321, 200)), ([1, 3, 320, 320], (479, 333))])
def test_a_file_with_a_small_input_looks_at_any_picture(tmp_path, shape, size):
    assert load_detector(red_finder(tmp_path / "r.onnx", shape), 1).detect(picture(*size)) == []


def test_the_largest_face_comes_first(tmp_path):
    finds = {
        8: [(30 * 40 + 30, 0.99, 0.99, [0, 0, np.log(5), np.log(5)], np.zeros(10))],
        32: [(3 * 10 + 3, 0.8, 0.8, [0, 0, np.log(6), np.log(6)], np.zeros(10))],
    }
    faces = load_detector(constant_yunet(tmp_path / "y.onnx", finds), 1).detect(np.zeros((152, 152, 3), np.uint8))
    assert [round(face.score, 2) for face in faces] == [0.8, 0.99]


def test_a_file_that_is_no_such_detector_is_refused_by_name(tmp_path):
    node = helper.make_node("Identity", ["input"], ["out"])
    other = write(tmp_path / "other.onnx", [node], {}, ["out"], [1, 3, 64, 64])
    odd = red_finder(tmp_path / "odd.onnx", [1, 3, 100, 100])
    (tmp_path / "text.onnx").write_bytes(b"hello")
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(odd.read_bytes()[:300])
    for path, said in (
        (other, "not a detector"),
        (odd, "multiples of 32"),
        (tmp_path / "text.onnx", "not an ONNX"),
        (cut, "not an ONNX"),
        (tmp_path / "no.onnx", "No such"),
    ):
        with pytest.raises(RequestError, match=rf"{path.name}: .*{said}"):
            load_detector(path, 1)
    assert onnx.load(odd).graph.name == "yunet"


def test_the_detector_of_the_installed_weights_finds_a_portrait_and_drawn_people_and_nobody_where_nobody_is():
    detector = load_detector(threads=1)
    portrait = pytest.importorskip("skimage.data").astronaut()
    for shown, scale in ((portrait, 1.0), (cv2.resize(portrait, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), 0.5), (portrait[60:170, 170:280], 1.0)):
        face = detector.detect(shown)[0]
        corner = np.array([170, 60]) if shown.shape == (110, 110, 3) else np.zeros(2)
        assert np.abs(middle(face) / scale + corner - [224, 117]).max() < 15  # between the eyes and the mouth
        assert np.abs(face.points[2] / scale + corner - [227, 120]).max() < 12  # the nose
    assert detector.detect_many([np.full((200, 300, 3), 128, np.uint8), np.zeros((50, 50, 3), np.uint8)]) == [[], []]


@pytest.mark.parametrize("width", [700, 1200, 2000])
def test_the_detector_of_the_installed_weights_finds_a_face_of_sixteen_pixels_on_a_photograph(width: int) -> None:
    portrait = pytest.importorskip("skimage.data").astronaut()[20:220, 120:330]
    small = cv2.resize(portrait, None, fx=16 / 90, fy=16 / 90, interpolation=cv2.INTER_AREA)  # the face is 90 pixels of the portrait
    photograph = np.full((width * 3 // 4, width, 3), 128, np.uint8)
    photograph[300 : 300 + len(small), 400 : 400 + small.shape[1]] = small
    (face,) = load_detector(threads=1).detect(photograph)
    assert np.abs(middle(face) - [400 + 104 * 16 / 90, 300 + 97 * 16 / 90]).max() < 4


def test_what_is_found_on_a_photograph_does_not_depend_on_the_others() -> None:
    portrait = pytest.importorskip("skimage.data").astronaut()
    images = [portrait[:256], portrait[:200, 100:350], portrait[:, ::-1], cv2.resize(portrait, (90, 90))]
    detector = load_detector(threads=1)
    for alone, together in zip(map(detector.detect, images), detector.detect_many(images), strict=True):
        assert len(alone) == len(together) > 0
        assert all(np.array_equal(one.box, other.box) and np.array_equal(one.points, other.points) for one, other in zip(alone, together, strict=True))


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_a_photograph_on_its_side_or_head_is_looked_at_upright(turn: int) -> None:
    portrait = pytest.importorskip("skimage.data").astronaut()[:400]
    detector = load_detector(threads=1)
    (upright,) = detector.detect(portrait)
    (face,) = detector.detect(np.rot90(portrait, turn))
    height, width = portrait.shape[:2]
    there = {1: lambda x, y: (y, width - x), 2: lambda x, y: (width - x, height - y), 3: lambda x, y: (height - y, x)}[turn]
    assert np.allclose(face.points, [there(*point) for point in upright.points], atol=2)
    corners = np.array([there(*upright.box[:2]), there(*upright.box[2:])])
    assert np.allclose(face.box, [*corners.min(0), *corners.max(0)], atol=3)


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_a_lying_photograph_on_which_nothing_is_found_is_looked_at_in_its_turns(turn: int, monkeypatch: pytest.MonkeyPatch) -> None:
    portrait = pytest.importorskip("skimage.data").astronaut()[:400]
    detector = load_detector(threads=1)
    (upright,), found = detector.detect(portrait), detector._found
    lying = np.rot90(portrait, turn)
    monkeypatch.setattr(
        detector, "_found", lambda images, threshold: [NOTHING if image is lying else each for image, each in zip(images, found(images, threshold), strict=True)]
    )
    (face,) = detector.detect(lying)
    assert face.score == pytest.approx(upright.score, abs=0.02)
    assert detector.detect(np.zeros_like(lying)) == []


@pytest.mark.parametrize("parts", [None, ["model"]])
def test_without_the_detector_of_the_weights_it_says_how_to_install_it_or_name_another(parts, tmp_path, monkeypatch):
    package(tmp_path, monkeypatch, parts)
    with pytest.raises(RequestError, match=r"^no detector: .*pip install \./weights.* --detector FILE$"):
        load_detector()


def package(folder, monkeypatch, parts):
    """In place of the installed weights a package with these parts, or none at all."""
    if parts is None:
        monkeypatch.setitem(sys.modules, "polyface_weights", None)
        return
    for part in parts:
        (folder / "polyface_weights" / part).mkdir(parents=True)
    (folder / "polyface_weights" / "__init__.py").touch()
    monkeypatch.syspath_prepend(folder)


def test_the_best_match_is_the_face_that_overlaps_a_labelled_box_most():
    faces = [Face((0, 0, 10, 10), np.zeros((5, 2)), 0.9), Face((4, 0, 14, 10), np.zeros((5, 2)), 0.5)]
    face, overlap = best_match(faces, (5, 0, 15, 10))
    assert face is faces[1] and overlap == pytest.approx(90 / 110)
    assert best_match(faces, (50, 50, 60, 60)) == (None, 0.0)
    assert best_match([], (0, 0, 1, 1)) == (None, 0.0)
