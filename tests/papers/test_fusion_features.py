"""A user's own features: read, fitted to the world whose pictures they are of, and refused by the first picture that they lack."""

from pathlib import Path

import numpy as np
import pytest

from polyface.errors import RequestError
from polyface.papers.fusion_features import check_fit, fitting, named
from polyface.papers.fusion_pictures import Pictures


def pictures(name: str, count: int = 6) -> Pictures:
    people = np.arange(count) // 2
    return Pictures(name, name, tuple(f"{name}/{row}" for row in range(count)), np.zeros((count, 4, 4, 3), np.uint8), people, tuple("abc"))


def test_a_picture_gives_its_features_to_all_its_variants_whatever_their_order(tmp_path: Path) -> None:
    made, order = pictures("one"), np.random.default_rng(0).permutation(6)
    np.savez(tmp_path / "e.npz", keys=np.array(made.keys)[order], features=np.arange(6.0)[order, None])
    found = fitting(named([f"mine={tmp_path / 'e.npz'}"]), made, 3)
    assert list(found) == ["mine"] and np.array_equal(found["mine"][:, 0], np.repeat(np.arange(6), 3))


def test_features_go_to_the_world_that_they_fit_and_to_no_other(tmp_path: Path) -> None:
    one, other = pictures("one"), pictures("other")
    np.savez(tmp_path / "e.npz", keys=np.array(one.keys), features=np.zeros((6, 2)))
    given = named([f"mine={tmp_path / 'e.npz'}"])
    check_fit(given, [other, one])
    assert fitting(given, other, 1) == {} and list(fitting(given, one, 1)) == ["mine"]
    with pytest.raises(RequestError, match="another image list, other/0 of other is not in it"):
        check_fit(given, [other])


def test_features_that_lack_a_picture_are_refused_by_it(tmp_path: Path) -> None:
    made = pictures("one")
    np.savez(tmp_path / "e.npz", keys=np.array(made.keys[1:]), features=np.zeros((5, 2)))
    with pytest.raises(RequestError, match="another image list, one/0 of one is not in it"):
        check_fit(named([f"mine={tmp_path / 'e.npz'}"]), [pictures("other"), made])


def test_features_named_as_a_network_are_refused(tmp_path: Path) -> None:
    made = pictures("one")
    np.savez(tmp_path / "e.npz", keys=np.array(made.keys), features=np.zeros((6, 2)))
    with pytest.raises(RequestError, match="--features identity: that is a network of one"):
        check_fit(named([f"identity={tmp_path / 'e.npz'}"]), [made])


def test_what_is_no_file_of_features_is_refused(tmp_path: Path) -> None:
    keys = np.array(pictures("one").keys)
    np.savez(tmp_path / "nan.npz", keys=keys, features=np.where(np.arange(6)[:, None] == 5, np.nan, 0.0))
    np.savez(tmp_path / "flat.npz", keys=keys, features=np.zeros(6))
    (tmp_path / "no.npz").write_text("no")
    for asked, what in (
        (f"mine={tmp_path / 'nan.npz'}", "features of one/5 are not finite"), (f"mine={tmp_path / 'flat.npz'}", r"6 keys for features of shape \[6\]"),
        (f"mine={tmp_path / 'no.npz'}", r"no\.npz: no \.npz of keys"), ("mine", "expected name=E.npz"), ("=e.npz", "expected name=E.npz"),
    ):  # fmt: skip
        with pytest.raises(RequestError, match=what):
            named([asked])
