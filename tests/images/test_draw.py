import numpy as np
import pytest

from polyface.images import draw

GREY = np.full((700, 900, 3), 100, np.uint8)


def face(box, number=0, **answers):
    return {
        "image": "a.jpg", "face": number, "detector": "yunet", "notes": ["trained on drawings"], "box": list(box), "score": 0.9,
        "age": {"years": 31.2, "low": 26, "high": 37}, "gender": {"answer": "female", "set": ["female"], "probabilities": {"female": 0.98, "male": 0.02}},
        "attributes": {"Smiling": 0.9, "Bald": 0.01}, "pose": {"yaw": -8.1, "pitch": 3.0, "roll": 0.4}, "landmarks": [[box[0] + 50, box[1] + 60]],
        "parsing": {"png": "a.png"}, "identity": {"embedding": "AAAA"}, "model": "m@0", **answers,
    }  # fmt: skip


def changed(image, before=GREY):
    return (image != before).any(2)


def test_an_annotated_picture_is_new_and_shows_box_points_and_words():
    before = GREY.copy()
    image = draw.annotate(before, [face((300, 200, 500, 450))])
    assert np.array_equal(before, GREY) and image.shape == GREY.shape
    shown = changed(image)
    assert shown[200:451, 300].all() and shown[200, 300:501].all()  # the box
    assert image[259, 349].min() > 200  # the point at (350, 260)
    assert shown[200:450, 510:700].mean() > 0.3  # the panel at its right
    assert not shown[:150].any() and not shown[:, :250].any()


def test_a_panel_never_lies_on_its_own_face_nor_on_another():
    boxes = [(40, 40, 240, 300), (300, 60, 500, 320), (600, 350, 880, 690)]
    image = draw.annotate(GREY, [face(box, number, landmarks=[], pose={}) for number, box in enumerate(boxes)])
    shown = changed(image)
    for x0, y0, x1, y1 in boxes:
        assert not shown[y0 + 45 : y1 - 45, x0 + 45 : x1 - 45].any()


def test_a_face_that_fills_the_picture_gets_a_margin_for_its_words():
    image = draw.annotate(GREY, [face((5, 5, 895, 695), landmarks=[], pose={})])
    assert image.shape[0] == 700 and image.shape[1] > 1000
    assert not changed(image[:, :900])[150:550, 200:700].any()


def test_a_small_picture_is_enlarged_until_words_can_be_read():
    assert draw.annotate(np.zeros((60, 80, 3), np.uint8), [face((40, 20, 60, 45))]).shape[:2] == (480, 640)
    assert draw.annotate(np.zeros((1, 1, 3), np.uint8), []).shape == (640, 640, 3)


def test_a_class_map_is_laid_over_the_picture():
    regions = np.zeros(GREY.shape[:2], np.uint8)
    regions[600:650, 100:150] = 13
    shown = changed(draw.annotate(GREY, [face((300, 200, 500, 450), parsing=regions)]))
    assert shown[600:650, 100:150].all() and not shown[655:, :].any()


def test_answers_of_a_new_task_of_a_known_form_are_drawn():
    plain = draw.annotate(GREY, [face((300, 200, 500, 450))])
    more = draw.annotate(GREY, [face((300, 200, 500, 450), mood={"answer": "calm", "probabilities": {"calm": 0.7}})])
    assert changed(more).sum() > changed(plain).sum()


def test_a_crowd_and_boxes_beyond_the_edge_are_drawn():
    crowd = [face((x, y, x + 60, y + 80), n) for n, (x, y) in enumerate((x, y) for x in range(-30, 900, 150) for y in range(-30, 700, 200))]
    assert draw.annotate(GREY, crowd).shape[2] == 3


def test_in_a_crowd_on_a_large_picture_no_panel_hides_a_face():
    boxes = [(x, y, x + 62, y + 72) for y in range(35, 1900, 200) for x in range(105, 2900, 300)]
    before = np.full((2000, 3000, 3), 128, np.uint8)
    shown = changed(draw.annotate(before, [face(box, number, landmarks=[]) for number, box in enumerate(boxes)]), before)
    assert shown.any() and not any(shown[y0 + 30 : y1 - 20, x0 + 30 : x1 - 20].any() for x0, y0, x1, y1 in boxes)


def test_points_and_axes_are_left_out_where_they_would_hide_the_face():
    small = draw.annotate(GREY, [face((300, 200, 330, 240), landmarks=[[310, 215], [320, 215], [315, 230]])])
    assert not changed(small)[206:235, 306:325].any()


def test_among_many_faces_that_stand_close_no_panel_hides_one_and_those_without_room_are_left_out():
    boxes = [(x, y, x + 20, y + 24) for y in range(100, 600, 28) for x in range(100, 800, 24)]
    shown = changed(draw.annotate(GREY, [face(box, number) for number, box in enumerate(boxes)]))
    inside = np.concatenate([shown[y0 + 3 : y1 - 2, x0 + 3 : x1 - 2].ravel() for x0, y0, x1, y1 in boxes])
    assert shown[60:99].any() and inside.mean() < 0.01


def test_a_few_small_faces_have_one_line_each():
    boxes = [(100, 100, 125, 130), (400, 120, 425, 150), (160, 400, 185, 430)]
    shown = changed(draw.annotate(GREY, [face(box, number) for number, box in enumerate(boxes)]))
    assert 0 < shown.sum() < 3 * 5000


def test_of_several_faces_the_one_in_front_has_all_its_answers():
    crowd = [face((40 + 60 * at, 620, 70 + 60 * at, 660), 1 + at) for at in range(12)]
    alone, among = (changed(draw.annotate(GREY, faces)) for faces in ([face((300, 150, 560, 500))], [face((300, 150, 560, 500)), *crowd]))
    assert np.array_equal(among[:550], alone[:550])


def test_no_line_of_a_panel_is_hidden_by_another_panel():
    rows = [np.array([x, y, x + 10, y + 12.0]) for y in (208, 228, 248) for x in range(690, 880, 14)]  # between which no line has room
    boxes = [np.array([600, 60, 700, 200.0]), *rows]
    unit = 900 / draw.LEGIBLE
    forms = draw._forms([face(box, number) for number, box in enumerate(boxes)], boxes, unit, True)
    plates = [draw._plate(panel, place) for _, panel, place in draw._placed(forms, boxes, (900, 700), unit)]
    areas = [(plate[2:] - plate[:2]).prod() for plate in plates]
    assert len(plates) > 3 and max(areas) > 10 * min(areas)
    assert all(draw._shared(one, other) <= draw.HIDES * area for one, area in zip(plates, areas, strict=True) for other in plates if one is not other)


def test_an_angle_that_rounds_to_nothing_has_no_minus():
    said = draw._at_length("pose", {"yaw": -0.2, "pitch": 12.4, "roll": -3.0})
    assert said == ["pose: yaw +0, pitch +12, roll -3"]


def test_a_share_stands_beside_the_word_whose_it_is():
    answer = {"answer": "East_Asian", "set": ["East_Asian", "White"], "probabilities": {"White": 0.3, "East_Asian": 0.61, "Black": 0.09}}
    assert draw._at_length("race", answer) == ["race: East Asian 61%, or White"]
    assert draw._at_length("race", {**answer, "set": ["East_Asian"]}) == ["race: East Asian 61%"]
    del answer["set"]
    assert draw._at_length("race", answer) == ["race: East Asian 61%"]
    assert draw._at_length("attributes", {"Wearing_Hat": 0.97, "Bald": 0.2}) == ["Wearing Hat 97%"]


def test_words_outside_ascii_do_no_harm():
    assert changed(draw.draw_text_panel(GREY.copy(), ["José", "naïve ☺"], (850, 690), 16)).any()


@pytest.mark.parametrize(("angles", "nose"), [((40, 0, 0), (1, 0)), ((0, 40, 0), (0, -1)), ((-40, 0, 0), (-1, 0))])
def test_the_nose_points_where_yaw_and_pitch_say(angles, nose):
    pointing = draw.axes_in_picture(*angles)[2]
    assert np.allclose(pointing / np.linalg.norm(pointing), nose)


def test_roll_leans_the_crown_clockwise():
    right, crown, nose = draw.axes_in_picture(0, 0, 30)
    assert crown[0] > 0 > crown[1] and right[1] > 0 and np.allclose(nose, 0)


def test_axes_points_and_boxes_draw_into_the_picture_given():
    for drawn in (
        lambda image: draw.draw_axes(image, 10, 5, 0, (450, 350), 80),
        lambda image: draw.draw_points(image, np.array([[450.5, 350.5]])),
        lambda image: draw.draw_box(image, (400, 300, 500, 400)),
    ):
        image = GREY.copy()
        assert drawn(image) is image and changed(image).any() and not changed(image)[:200].any()


def test_class_zero_stays_clear_and_neighbouring_classes_differ():
    palette = draw.region_palette(19).astype(int)
    assert (np.abs(np.diff(palette, axis=0)).sum(1) > 100).all()
    image = draw.draw_regions(GREY.copy(), np.zeros(GREY.shape[:2], np.uint8))
    assert np.array_equal(image, GREY)


def test_a_contact_sheet_holds_every_picture_in_its_cell():
    images = [np.full((10, 30, 3), 200, np.uint8), np.full((300, 100, 3), 150, np.uint8), np.full((5, 5, 3), 90, np.uint8)]
    sheet = draw.contact_sheet(images, 2, ["one", "two", "three that is far too long for its cell"], cell=80)
    assert sheet.shape == (2 * 90, 160, 3)
    assert (sheet[40, 40] == 200).all() and (sheet[40, 120] == 150).all() and (sheet[130, 40] == 90).all()
    assert draw.contact_sheet([], 3).shape[2] == 3


def test_a_video_keeps_its_size_and_a_face_its_colour() -> None:
    image = np.full((640, 640, 3), 60, np.uint8)
    filling = {"face": 0, "track": 4, "box": [20, 20, 620, 620], "age": {"years": 30.0}}
    assert draw.annotate(image, [filling]).shape[1] > 640
    drawn = draw.annotate(image, [filling], margin=False)
    assert drawn.shape == image.shape and (drawn[25:615, 20] == draw.ACCENTS[4]).all(1).any()
    other = {"face": 0, "track": 1, "box": [300, 300, 340, 340], "age": {"years": 30.0}}
    both = draw.annotate(image, [other, filling | {"face": 1}], margin=False)
    assert (both[25:615, 20] == draw.ACCENTS[4]).all(1).any()  # though it is not the foremost any more
