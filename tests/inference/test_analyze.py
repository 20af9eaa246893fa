import base64
import json
import struct
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

import polyface
from polyface.errors import InputError, RequestError
from polyface.images import align, geometry
from polyface.images.detect import Face, load_detector
from polyface.inference import analyze as analysis
from polyface.inference import card as cards
from polyface.inference import engine as engines

RED, GREY = (230, 20, 20), (90, 90, 90)


class OnRed:
    """Finds red discs: the disc lies between the eyes of a face of ArcFace's proportions, turned by `degrees`."""

    name, sha256 = "red", ""

    def __init__(self, degrees: float = 0.0):
        self.degrees = degrees

    def detect_many(self, images: Sequence[np.ndarray], threshold: float | None = None) -> list[list[Face]]:
        return [[self._face(radius, centre) for radius, centre in _discs(image)] for image in images]

    def detect(self, image: np.ndarray, threshold: float | None = None) -> list[Face]:
        return self.detect_many([image])[0]

    def _face(self, radius: float, centre: np.ndarray) -> Face:
        template = (align.Crop().template - np.array(align.Crop().eyes)) / align.Crop().eye_distance * radius * 3.4
        points = geometry.apply(geometry.about((0, 0), degrees=self.degrees), template) + centre
        return Face(tuple(align.box_of_points(template + centre)), points, 0.987654)


def _discs(image: np.ndarray) -> list[tuple[float, np.ndarray]]:
    red = ((image[..., 0] > 128) & (image[..., 1] < 60)).astype(np.uint8)
    _, _, stats, centres = cv2.connectedComponentsWithStats(red)
    return [(float(np.sqrt(stat[4] / np.pi)), centre + 0.5) for stat, centre in zip(stats[1:], centres[1:], strict=True)]


def picture(*discs: tuple[int, int], size: tuple[int, int] = (300, 200), radius: int = 8) -> np.ndarray:
    """uint8 RGB with red discs about (x, y) on grey."""
    image = np.full((size[1], size[0], 3), GREY, np.uint8)
    for x, y in discs:
        cv2.circle(image, (x, y), radius, RED, -1)
    return image


@pytest.fixture
def engine(model: Path) -> engines.Engine:
    return engines.load(model, threads=1)


@pytest.fixture
def analyzer(engine: engines.Engine) -> analysis.Analyzer:
    return analysis.Analyzer(engine, OnRed())


def write(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return path


def test_a_face_answers_by_the_names_of_the_tasks(analyzer: analysis.Analyzer) -> None:
    (face,) = analyzer.analyze(picture((150, 100)))
    assert face.age == {"years": 30.0}
    assert face.gender["answer"] == "male"  # the point between the eyes is red, so the crop is where it should be
    assert face.expression["answer"] == "surprise"
    assert face.attributes["5_o_Clock_Shadow"] == face.attributes["Arched_Eyebrows"] == 1.0
    assert face.score == 0.9877
    assert face.detector == "red"
    with pytest.raises(AttributeError, match="no answer 'agee'; did you mean 'age'"):
        _ = face.agee


def test_one_task_may_be_named_without_a_list(analyzer: analysis.Analyzer) -> None:
    (face,) = analyzer.analyze(picture((150, 100)), "age")
    assert list(face.answers) == ["age"]
    with pytest.raises(RequestError, match="'agee'; did you mean 'age'"):
        analyzer.analyze(picture((150, 100)), "agee")


def test_points_are_in_the_pixels_of_the_picture(analyzer: analysis.Analyzer) -> None:
    (face,) = analyzer.analyze(picture((140, 90)))
    five = geometry.five_of_68() @ np.array(face.landmarks)
    np.testing.assert_allclose(five[:2].mean(0), (140.5, 90.5), atol=0.5)  # cv2 draws about the centre of a pixel
    assert np.array(face.landmarks).shape == (68, 2)


@pytest.mark.parametrize("degrees", [-60.0, 0.0, 25.0])
def test_the_roll_is_that_of_the_picture(engine: engines.Engine, degrees: float) -> None:
    (face,) = analysis.Analyzer(engine, OnRed(degrees=degrees)).analyze(picture((150, 100)))
    assert face.pose["yaw"] == pytest.approx(10.5, abs=0.1)
    assert face.pose["pitch"] == pytest.approx(-10.5, abs=0.1)
    assert face.pose["roll"] == pytest.approx(4.5 + degrees, abs=0.2)


def test_a_class_map_lies_where_the_face_is(analyzer: analysis.Analyzer) -> None:
    (face,) = analyzer.analyze(picture((60, 60)))
    classes = face.parsing.in_picture()
    assert classes.shape == (200, 300)
    assert set(np.unique(classes)) == {0, 1}  # the stripe of skin that the network sees, and nothing beyond its crop
    assert classes[60, 60] == 1
    assert not classes[:, 200:].any()


def test_points_that_fall_together_leave_the_crop_to_the_box(engine: engines.Engine) -> None:
    class Collapsed(OnRed):
        def _face(self, radius: float, centre: np.ndarray) -> Face:
            return replace(super()._face(radius, centre), points=np.tile(centre, (5, 1)))

    (face,) = analysis.Analyzer(engine, Collapsed()).analyze(picture((150, 100)))
    assert face.gender["answer"] == "male"


def test_an_embedding_is_given_only_when_asked_for_by_name(analyzer: analysis.Analyzer) -> None:
    (face,) = analyzer.analyze(picture((150, 100)))
    assert "identity" not in face.answers and "embedding" not in face.to_json()
    (face,) = analyzer.analyze(picture((150, 100)), ["identity"])
    assert list(face.answers) == ["identity"]
    vector = np.frombuffer(base64.b64decode(face.identity["embedding"]), "<f4")
    np.testing.assert_allclose(vector, np.full(512, 1 / np.sqrt(512)), rtol=1e-6)


def test_an_answer_as_json_has_the_keys_of_the_design_in_order(analyzer: analysis.Analyzer, tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", picture((150, 100)))
    (face,) = analyzer.analyze(path)
    line = json.loads(face.to_json())
    answered = ["age", "gender", "race", "expression", "attributes", "landmarks", "pose"]
    assert list(line) == ["image", "face", "detector", "notes", "box", "score", *answered, "model"]
    assert line["image"] == str(path) and line["face"] == 0 and line["notes"] == []
    assert line["model"] == analyzer.engine.label
    assert all(round(side, 2) == side for side in [*line["box"], *np.ravel(line["landmarks"])])


def test_a_network_trained_on_drawings_says_so_on_every_answer(model: Path) -> None:
    card = json.loads((model / "card.json").read_bytes()) | {"trained_on_drawings": True}
    (model / "card.json").write_text(json.dumps(card))
    faces = analysis.Analyzer(engines.load(model, threads=1), OnRed()).analyze(picture((60, 60), (220, 100)))
    assert [face.to_dict()["notes"] for face in faces] == [["trained on drawings"]] * 2


def test_a_small_face_has_the_wider_set_and_the_humbler_probability(engine: engines.Engine) -> None:
    sizes = tuple(cards.AtSize(eyes=eyes, below=below, temperature=temperature, level=0.9) for eyes, below, temperature in ((8, 16, 20.0), (16, 24, 10.0)))
    said = cards.AnswerCalibration(temperature=1.0, level=0.9, coverage=0.9, sizes=sizes)
    sized = replace(engine, card=cards.with_calibration(engine.card, {"age": said, "race": said, "attributes": msgspec.structs.replace(said, level=None)}, ()))
    discs = picture((50, 60), (150, 100), (250, 60), radius=4)
    cv2.circle(discs, (150, 100), 9, RED, -1)  # 31 pixels between its eyes, 14 between those of the others
    large, small, other = (json.loads(face.to_json()) for face in sorted(analysis.Analyzer(sized, OnRed()).analyze(discs), key=lambda face: -face.box[2] + face.box[0]))
    assert large["age"] == {"years": 30.0, "low": 30, "high": 30}
    assert small["age"]["low"] < 30 < small["age"]["high"]
    assert len(small["race"]["set"]) > len(large["race"]["set"]) == 1
    assert small["race"]["answer"] == large["race"]["answer"]
    assert max(small["race"]["probabilities"].values()) < 0.9 < max(large["race"]["probabilities"].values())
    assert 0.5 < small["attributes"]["Arched_Eyebrows"] < 0.9 < large["attributes"]["Arched_Eyebrows"]
    assert small["race"] == other["race"] and not small["notes"]


def test_a_face_smaller_than_any_that_sets_were_fitted_to_says_so(engine: engines.Engine) -> None:
    said = cards.AnswerCalibration(level=0.9, coverage=0.9, sizes=(cards.AtSize(eyes=8, below=48, temperature=2.0, level=0.95),))
    for calibration, notes in (({"age": said}, [analysis.TOO_SMALL]), ({"age": msgspec.structs.replace(said, sizes=())}, [])):
        analyzer = analysis.Analyzer(replace(engine, card=cards.with_calibration(engine.card, calibration, ())), OnRed())
        assert [face.to_dict()["notes"] for face in analyzer.analyze(picture((60, 60), radius=1))] == [notes]
        assert [face.to_dict()["notes"] for face in analyzer.analyze(picture((60, 60), radius=8))] == [[]]


def test_many_pictures_come_in_order_whatever_is_on_them(analyzer: analysis.Analyzer, tmp_path: Path) -> None:
    paths, counts = [], []
    for number in range(analysis.GROUP_PICTURES * 2 + 5):
        count = number % 3
        paths.append(write(tmp_path / f"{number:02d}.png", picture(*[(60 + 90 * at, 60 + number) for at in range(count)])))
        counts.append(count)
    paths[4].write_bytes(b"")
    counts[4] = 0
    answers = list(analyzer.analyze_many(paths))
    assert [found.image for found in answers] == list(map(str, paths))
    assert [len(found.faces) for found in answers] == counts
    assert [found.image for found in answers if found.error is not None] == [str(paths[4])]
    assert answers[0].to_dicts() == [{"image": str(paths[0]), "faces": 0}]
    assert answers[4].to_dicts() == [{"image": str(paths[4]), "error": f"{paths[4]}: empty"}]
    for number, found in enumerate(answers):
        for face in found.faces:
            five = geometry.five_of_68() @ np.array(face.landmarks)
            assert five[:2].mean(0)[1] == pytest.approx(60.5 + number, abs=1.0)  # each answer is about its own picture


def test_groups_are_looked_at_side_by_side(engine: engines.Engine, tmp_path: Path) -> None:
    together = threading.Barrier(analysis.LOOKS)

    class Waiting(OnRed):
        def detect_many(self, images: Sequence[np.ndarray], threshold: float | None = None) -> list[list[Face]]:
            together.wait(timeout=30)  # raises where nobody else comes
            return super().detect_many(images)

    path = write(tmp_path / "a.png", picture((60, 60)))
    answers = list(analysis.Analyzer(engine, Waiting()).analyze_many([path] * analysis.GROUP_PICTURES * analysis.LOOKS, ["age"]))
    assert [len(found.faces) for found in answers] == [1] * len(answers)


def test_large_pictures_are_looked_at_in_smaller_groups(engine: engines.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group ends with the picture by which it has so many pixels."""
    groups: dict[int, int] = {}

    class Counting(OnRed):
        def detect_many(self, images: Sequence[np.ndarray], threshold: float | None = None) -> list[list[Face]]:
            groups[images[0].shape[1]] = len(images)
            return super().detect_many(images)

    widths = [*range(100, 109), 500, *range(110, 118)]
    paths = [write(tmp_path / f"{at:02d}.png", picture((60, 60), size=(width, 100))) for at, width in enumerate(widths)]
    monkeypatch.setattr(analysis, "GROUP_PIXELS", 42_000)
    answers = list(analysis.Analyzer(engine, Counting()).analyze_many(paths, ["age"]))
    assert [found.image for found in answers] == list(map(str, paths)) and [len(found.faces) for found in answers] == [1] * len(paths)
    assert groups == {100: 5, 105: 4, 500: 1, 110: 4, 114: 4}


def test_pictures_are_read_no_further_ahead_than_a_few_groups(analyzer: analysis.Analyzer, tmp_path: Path) -> None:
    path, taken = write(tmp_path / "a.png", picture((60, 60))), []

    def endless():
        while True:
            taken.append(path)
            yield path

    answers = analyzer.analyze_many(endless(), ["age"])
    for _ in range(3):
        next(answers)
    answers.close()
    assert len(taken) <= analysis.GROUP_PICTURES * (analysis.LOOKS + 2)


def test_a_picture_the_detector_chokes_on_does_not_take_others_with_it(engine: engines.Engine, tmp_path: Path) -> None:
    class Fragile(OnRed):
        def detect_many(self, images: Sequence[np.ndarray], threshold: float | None = None) -> list[list[Face]]:
            if any(image.shape[1] == 77 for image in images):
                raise cv2.error("(-215) assertion")
            return super().detect_many(images)

    paths = [write(tmp_path / name, picture((60, 60), size=(width, 150))) for name, width in (("a.png", 150), ("b.png", 77), ("c.png", 150))]
    answers = list(analysis.Analyzer(engine, Fragile()).analyze_many(paths))
    assert [len(found.faces) for found in answers] == [1, 0, 1]
    assert answers[1].error is not None and answers[1].error.startswith(f"{paths[1]}: ")


@pytest.mark.parametrize("size", [(1, 1), (3, 1), (2000, 3), (3, 2000)])
def test_a_picture_of_any_shape_is_looked_at(engine: engines.Engine, size: tuple[int, int]) -> None:
    assert analysis.Analyzer(engine, load_detector(threads=1)).analyze(picture(size=size)) == []


def test_a_broken_picture_is_refused_by_name(analyzer: analysis.Analyzer, tmp_path: Path) -> None:
    (tmp_path / "page.jpg").write_text("<html>not found</html>")
    with pytest.raises(InputError, match=r"page\.jpg: a web page"):
        analyzer.analyze(tmp_path / "page.jpg")
    with pytest.raises(InputError, match="no such file"):
        analyzer.analyze(tmp_path / "nothing.jpg")
    with pytest.raises(InputError, match=r"\\udcff\.jpg': its name is no UTF-8"):
        analyzer.analyze(tmp_path / "\udcff.jpg")


@pytest.mark.parametrize("array", [np.zeros((5, 5)), np.zeros((5, 5, 4), np.uint8), np.zeros((0, 5, 3), np.uint8)])
def test_an_array_that_is_no_picture_is_refused(analyzer: analysis.Analyzer, array: np.ndarray) -> None:
    with pytest.raises(RequestError, match="a picture is an array uint8 RGB"):
        analyzer.analyze(array)


def test_load_from_python_is_the_same_code(model: Path) -> None:
    analyzer = polyface.load(model, threads=1)
    assert isinstance(analyzer, polyface.Analyzer)
    assert analyzer.detector.sha256 == load_detector().sha256


def test_every_kind_has_an_answer_and_its_words(engine: engines.Engine, write_network: Callable) -> None:
    outputs = engine.run(np.zeros((1, 64, 64, 3), np.uint8))
    matrix = np.array([[1.0, 0, 0], [0, 1, 0]])
    said = {task.name: analysis.in_words(task, analysis.answer_of(task, outputs[task.name][0], matrix, (64, 64))) for task in engine.tasks}
    assert {type(task).__name__ for task in engine.tasks} == set(cards.KINDS)
    assert said["age"] == "30 years"
    assert said["expression"] == "surprise >99%"
    assert said["attributes"] == "5 o Clock Shadow, Arched Eyebrows"
    assert said["pose"] == "yaw 10, pitch -10, roll 4"
    assert said["landmarks"] is said["parsing"] is said["identity"] is None


def clip(path: Path, discs: Sequence[Sequence[tuple[int, int]]], rate: float = 25.0) -> Path:
    """A video, one frame for each list of red discs."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), rate, (300, 200))
    for each in discs:
        writer.write(cv2.cvtColor(picture(*each), cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def test_every_frame_of_a_video_is_answered_with_number_time_and_track(analyzer: analysis.Analyzer, tmp_path: Path) -> None:
    count = analysis.GROUP_PICTURES + 9  # more than one group
    path = clip(tmp_path / "a.avi", [[(60 + 4 * at, 60), (220 - 4 * at, 140)] if at % 10 else [] for at in range(count)])
    answers = list(analyzer.analyze_many([path], ["age"]))
    assert [found.frame for found in answers] == list(range(count))
    assert [found.time for found in answers] == pytest.approx(np.arange(count) / 25)
    assert [len(found.faces) for found in answers] == [2 if at % 10 else 0 for at in range(count)]
    assert answers[0].to_dicts() == [{"image": str(path), "frame": 0, "time": 0.0, "faces": 0}]
    for found in answers:
        for face in found.faces:
            upper = sum(face.box[1::2]) / 2 < 100
            assert (face.track == 0) == (sum(answers[1].faces[0].box[1::2]) / 2 < 100) if upper else face.track in (0, 1)
    assert {len({face.track for face in found.faces}) for found in answers if found.faces} == {2}
    assert {face.track for found in answers for face in found.faces} == {0, 1}
    line = answers[1].faces[1].to_dict()
    assert list(line) == ["image", "frame", "time", "track", "face", "detector", "notes", "box", "score", "age", "model"]
    assert (line["frame"], line["time"], line["face"]) == (1, 0.04, 1)


def test_photographs_and_videos_come_in_order_in_one_call(analyzer: analysis.Analyzer, tmp_path: Path) -> None:
    photo = write(tmp_path / "p.png", picture((150, 100)))
    one, two = clip(tmp_path / "one.avi", [[(100, 100)]] * 3), clip(tmp_path / "two.avi", [[(100, 100)]] * 2)
    (tmp_path / "bad.mp4").write_bytes(b"no film")
    cut = clip(tmp_path / "cut.avi", [[(100, 100)]] * 30)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    answers = list(analyzer.analyze_many([photo, one, tmp_path / "bad.mp4", two, cut, photo], ["age"]))
    before, cut_answers = answers[:7], answers[7:-1]
    assert [(Path(found.image).name, found.frame) for found in before] == [
        ("p.png", None),
        *(("one.avi", at) for at in range(3)),
        ("bad.mp4", None),
        *(("two.avi", at) for at in range(2)),
    ]
    assert [face.track for found in before for face in found.faces] == [None, 0, 0, 0, 0, 0]
    assert before[4].error is not None and before[4].error.startswith(f"{tmp_path / 'bad.mp4'}: not a video")
    assert [found.frame for found in cut_answers] == [*range(len(cut_answers) - 1), None] and len(cut_answers) > 5
    assert cut_answers[-1].to_dicts() == [{"image": str(cut), "error": cut_answers[-1].error}] and "cut short" in str(cut_answers[-1].error)
    assert answers[-1].image == str(photo) and answers[-1].faces[0].track is None
    assert list(answers[-1].to_dicts()[0]) == ["image", "face", "detector", "notes", "box", "score", "age", "model"]


def test_some_frames_of_a_video_are_looked_at(analyzer: analysis.Analyzer, tmp_path: Path) -> None:
    path = clip(tmp_path / "a.avi", [[(100, 100)]] * 30)
    assert [found.frame for found in analyzer.analyze_many([path], ["age"], every=7)] == [0, 7, 14, 21, 28]
    assert [found.frame for found in analyzer.analyze_many([path], ["age"], every="0.4s")] == [0, 10, 20]
    with pytest.raises(RequestError, match="frames, as 10"):
        analyzer.analyze_many([path], ["age"], every="often")


def test_one_call_gives_the_faces_of_a_whole_video(analyzer: analysis.Analyzer, tmp_path: Path) -> None:
    faces = analyzer.analyze(clip(tmp_path / "a.avi", [[(100, 100)]] * 3))
    assert [(face.frame, face.track) for face in faces] == [(0, 0), (1, 0), (2, 0)]
    assert "identity" not in faces[0].answers  # asked for, to follow the face, and not given away
    (tmp_path / "b.mp4").write_bytes(b"")
    with pytest.raises(InputError, match=r"b\.mp4: empty"):
        analyzer.analyze(tmp_path / "b.mp4")


def test_embeddings_of_a_video_are_given_where_they_are_asked_for(analyzer: analysis.Analyzer, tmp_path: Path) -> None:
    faces = analyzer.analyze(clip(tmp_path / "a.avi", [[(100, 100)]] * 2), ["identity"])
    assert [list(face.answers) for face in faces] == [["identity"]] * 2


def test_frames_are_read_no_further_ahead_than_a_group_or_two(analyzer: analysis.Analyzer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken, frames = [], analysis.video.frames
    monkeypatch.setattr(analysis.video, "frames", lambda *given: (taken.append(frame.number) or frame for frame in frames(*given)))
    answers = analyzer.analyze_many([clip(tmp_path / "a.avi", [[]] * 80)], ["age"])
    for _ in range(3):
        next(answers)
    answers.close()
    assert len(taken) <= analysis.GROUP_PICTURES * (analysis.LOOKS + 2)


def test_a_hundred_faces_are_a_hundred_answers(analyzer: analysis.Analyzer) -> None:
    image = picture(*[(40 + 70 * column, 40 + 70 * row) for row in range(10) for column in range(10)], size=(720, 720), radius=5)
    faces = analyzer.analyze(image)
    assert [face.index for face in faces] == list(range(100))
    for face in faces:
        five = geometry.five_of_68() @ np.array(face.landmarks)
        x0, y0, x1, y1 = face.box
        assert x0 < five[:2].mean(0)[0] < x1 and y0 < five[:2].mean(0)[1] < y1
        assert face.gender["answer"] == "male"


@pytest.mark.parametrize("place", [(2, 100), (298, 100), (150, 2), (150, 198), (1, 1)])
def test_a_face_cut_by_the_border_is_answered_in_the_pixels_of_the_picture(analyzer: analysis.Analyzer, place: tuple[int, int]) -> None:
    (face,) = analyzer.analyze(picture(place))
    five = geometry.five_of_68() @ np.array(face.landmarks)
    np.testing.assert_allclose(five[:2].mean(0), np.array(place) + 0.5, atol=6)  # of the disc, half is out of sight
    assert face.parsing.in_picture().shape == (200, 300)


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_photograph_that_lies_upside_down_is_answered_upright(analyzer: analysis.Analyzer, tmp_path: Path, orientation: int) -> None:
    upright = picture((60, 70))
    turns = {3: 2, 6: 1, 8: 3}[orientation]
    data = cv2.imencode(".jpg", cv2.cvtColor(np.ascontiguousarray(np.rot90(upright, turns)), cv2.COLOR_RGB2BGR))[1].tobytes()
    exif = b"Exif\0\0II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x112, 3, 1, orientation, 0, 0)
    (tmp_path / "a.jpg").write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:])
    (face,) = analyzer.analyze(tmp_path / "a.jpg")
    five = geometry.five_of_68() @ np.array(face.landmarks)
    np.testing.assert_allclose(five[:2].mean(0), (60.5, 70.5), atol=1.5)
