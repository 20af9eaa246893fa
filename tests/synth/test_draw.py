import dataclasses

import numpy as np
import pytest

from polyface import tasks
from polyface.images import geometry
from polyface.images.detect import best_match, load_detector
from polyface.synth.canvas import Canvas
from polyface.synth.draw import draw
from polyface.synth.people import Scene, person, photo_of
from polyface.synth.preview import preview
from polyface.tasks.parsing import CLASSES


def scenes(count: int, **changes) -> list[Scene]:
    return [dataclasses.replace(photo_of(person(11, index), 11, 0), **changes) for index in range(count)]


def facing(count: int, **changes) -> list[Scene]:
    return scenes(count, **({"yaw": 0.0, "pitch": 0.0, "roll": 0.0, "glasses": False, "hat": None, "bangs": False} | changes))


def class_at(mask: np.ndarray, point: np.ndarray) -> str:
    x, y = np.floor(point).astype(int)
    return CLASSES[mask[y, x]]


def test_the_same_seed_person_and_photo_are_the_same_picture_in_any_order_whatever_the_global_state():
    first = [draw(photo_of(person(5, index), 5, 2), 96) for index in (0, 1, 2)]
    np.random.seed(1)
    again = [draw(photo_of(person(5, index), 5, 2), 96) for index in (2, 1, 0)][::-1]
    for a, b in zip(first, again, strict=True):
        assert np.array_equal(a.image, b.image)
        assert np.array_equal(a.labels.mask, b.labels.mask)
        assert np.array_equal(a.labels.points, b.labels.points)
        assert a.labels.attributes == b.labels.attributes
    assert not np.array_equal(first[0].image, draw(photo_of(person(5, 0), 5, 3), 96).image)
    assert not np.array_equal(first[0].image, first[1].image)
    assert person(5, 0) != person(6, 0)


def test_a_person_keeps_a_look_and_photographs_change_the_rest():
    who = person(3, 7)
    photos = [photo_of(who, 3, index) for index in range(30)]
    assert all(photo.person == who for photo in photos)
    assert max(photo.age for photo in photos) - min(photo.age for photo in photos) <= 20
    assert len({photo.expression for photo in photos}) > 4
    assert len({photo.yaw for photo in photos}) == 30


def test_every_word_of_gender_race_and_expression_is_drawn_and_ages_go_from_small_children_to_the_old():
    drawn = scenes(150)
    assert {scene.person.gender for scene in drawn} == set(tasks.gender.vocabulary)
    assert {scene.person.race for scene in drawn} == set(tasks.race.vocabulary)
    assert {scene.expression for scene in drawn} == set(tasks.expression.vocabulary)
    ages = [scene.age for scene in drawn]
    assert min(ages) < 5 and max(ages) > 80 and all(0 <= age <= 116 for age in ages)


def test_points_lie_in_the_regions_they_name_and_left_is_the_subjects():
    open_mouths = 0
    for scene in facing(40):
        labels = draw(scene, 224).labels
        points, mask = labels.points, labels.mask
        assert class_at(mask, points[36:42].mean(0)) == "r_eye"
        assert class_at(mask, points[42:48].mean(0)) == "l_eye"
        assert class_at(mask, points[19]) == "r_brow"
        assert class_at(mask, points[24]) == "l_brow"
        assert class_at(mask, points[30]) == "nose"
        assert class_at(mask, (points[51] + points[62]) / 2) in ("u_lip", "mouth")
        assert class_at(mask, (points[57] + points[66]) / 2) == "l_lip"
        if (points[66] - points[62])[1] > 4:
            open_mouths += 1
            assert class_at(mask, (points[62] + points[66]) / 2) == "mouth"
        for first, second in (("r_eye", "l_eye"), ("r_brow", "l_brow")):
            assert np.nonzero(mask == CLASSES.index(first))[1].mean() < np.nonzero(mask == CLASSES.index(second))[1].mean()
        assert points[0, 0] < points[36, 0] < points[39, 0] < points[30, 0] < points[42, 0] < points[45, 0] < points[16, 0]
        assert points[48, 0] < points[54, 0] and points[8, 1] > points[57, 1] > points[33, 1] > points[27, 1]
    assert open_mouths > 5


def test_the_outer_edges_of_eyes_and_lips_are_the_points():
    for scene in facing(20):
        labels = draw(scene, 384).labels
        distance = np.linalg.norm(labels.five[1] - labels.five[0])
        rows, columns = np.nonzero(labels.mask == CLASSES.index("l_eye"))
        assert abs(columns.min() - labels.points[42, 0]) < 0.04 * distance
        assert abs(columns.max() + 1 - labels.points[45, 0]) < 0.04 * distance
        rows, _ = np.nonzero(labels.mask == CLASSES.index("l_lip"))
        assert abs(rows.max() + 1 - labels.points[56:59, 1].max()) < 0.03 * distance


def test_the_jaw_follows_the_visible_edge_of_the_face_when_it_turns():
    for scene in facing(10, yaw=45.0):
        labels = draw(scene, 256).labels
        for point in labels.points[10:14]:  # on the far side: face just within the edge, and no face just beyond it
            assert class_at(labels.mask, point - np.array([5, 0])) in ("skin", "nose", "mouth", "u_lip", "l_lip", "hair")
            assert class_at(labels.mask, point + np.array([5, 0])) in ("background", "neck", "cloth", "hair", "neck_l")


def test_yaw_right_pitch_up_and_roll_clockwise_are_positive():
    for scene in facing(8):

        def moved(scene: Scene = scene, **angles: float) -> np.ndarray:
            labels = draw(dataclasses.replace(scene, **angles), 192).labels
            assert (labels.yaw, labels.pitch, labels.roll) == tuple(angles.get(name, 0.0) for name in ("yaw", "pitch", "roll"))
            return labels.five[2] - labels.five[:2].mean(0)

        assert moved(yaw=30.0)[0] > moved()[0] + 4 > moved(yaw=-30.0)[0] + 8
        assert moved(pitch=20.0)[1] < moved()[1] - 4 < moved(pitch=-20.0)[1] - 6
        eyes = draw(dataclasses.replace(scene, roll=20.0), 192).labels.five[:2]
        assert np.degrees(np.arctan2(*(eyes[1] - eyes[0])[::-1])) == pytest.approx(20, abs=0.5)


def test_roll_is_that_of_the_points_that_are_asked_for():
    turned = geometry.apply(geometry.about((56, 56), degrees=10), draw(facing(1)[0], 112).labels.five)
    assert draw(facing(1)[0], 112, five=turned).labels.roll == pytest.approx(10, abs=1e-6)


def test_five_points_are_fitted_in_least_squares():
    target = draw(scenes(1)[0], 112).labels.five
    for scene in facing(5):
        moved = geometry.similarity(draw(scene, 112, five=target).labels.five, target)
        assert np.allclose(moved, [[1, 0, 0], [0, 1, 0]], atol=1e-6)


def test_attributes_are_celebas_names_and_agree_with_the_picture():
    seen: dict[str, set[int]] = {}
    for scene in scenes(150):
        drawing = draw(scene, 128)
        attributes, mask = drawing.labels.attributes, drawing.labels.mask
        assert set(attributes) <= set(tasks.attributes.vocabulary)
        for name, value in attributes.items():
            seen.setdefault(name, set()).add(value)
        assert attributes["Male"] == (drawing.labels.gender == "male")
        assert (mask == CLASSES.index("eye_g")).any() == bool(attributes["Eyeglasses"])
        assert (mask == CLASSES.index("hat")).any() == bool(attributes["Wearing_Hat"])
        assert attributes.get("Bangs", 0) == 0 or attributes["Wearing_Hat"] == 0
        if attributes.get("Bald"):
            assert not (mask == CLASSES.index("hair")).any()
        assert sum(attributes.get(f"{colour}_Hair", 0) for colour in ("Black", "Blond", "Brown", "Gray")) <= 1
    constant = {name for name, values in seen.items() if values != {0, 1}}
    assert not constant


def test_the_box_holds_the_points_and_the_mask_is_as_large_as_the_picture():
    for scene in scenes(20):
        drawing = draw(scene, (150, 130))
        x0, y0, x1, y1 = drawing.labels.box
        points = drawing.labels.points
        assert drawing.image.shape == (130, 150, 3) and drawing.image.dtype == np.uint8
        assert drawing.labels.mask.shape == (130, 150) and drawing.labels.mask.dtype == np.uint8 and drawing.labels.mask.max() <= 18
        assert x0 <= points[:, 0].min() and points[:, 0].max() <= x1 and y0 < points[:, 1].min() and points[:, 1].max() <= y1


def test_a_filled_outline_covers_its_own_area_and_nothing_around_it():
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    for radius in (4, 8, 16):
        covered = 0.0
        for shift in np.random.default_rng(radius).random((40, 2)):
            canvas = Canvas(np.zeros((64, 64, 3), np.uint8))
            outline = 30 + shift + radius * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
            canvas.fill(outline, (255, 255, 255), 1)
            rows, columns = np.nonzero(canvas.mask)
            assert abs(np.mean(columns + 0.5) - outline[:, 0].mean()) < 0.3 and abs(np.mean(rows + 0.5) - outline[:, 1].mean()) < 0.3
            covered += canvas.mask.sum() / 40
        assert covered == pytest.approx(np.pi * radius**2, rel=0.04)


def test_a_detector_of_photographed_faces_finds_most_frontal_ones():
    detector = load_detector(threads=1)
    near = [scene for scene in scenes(120) if max(abs(scene.yaw), abs(scene.pitch), abs(scene.roll)) < 15][:50]
    assert len(near) == 50
    drawings = [draw(scene, 192) for scene in near]
    finds = detector.detect_many([drawing.image for drawing in drawings])
    assert sum(best_match(faces, drawing.labels.box)[1] > 0.4 for faces, drawing in zip(finds, drawings, strict=True)) >= 30


def test_a_preview_has_a_row_for_each_person():
    plain, labelled = preview(1, 2, 3, size=96), preview(1, 2, 3, labelled=True, size=96)
    assert plain.shape == labelled.shape == (192, 288, 3)
    assert not np.array_equal(plain, labelled)
