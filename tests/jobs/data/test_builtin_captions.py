"""Captioned shapes: the picture shows what the caption says, and what is held out is held out."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from forgeline.errors import DataError
from forgeline.preprocessing import CaptionPreprocessing
from forgeline_jobs.data.base import SPLITS, PreparedData
from forgeline_jobs.data.builtin_captions import CaptionedShapesConfig, prepare_captioned_shapes
from forgeline_jobs.data.captions import CaptionSplit
from forgeline_jobs.data.shape_captions import all_attributes, meanings, parse, wordings
from forgeline_jobs.data.shape_pictures import CARDINALITIES, COLOURS, Scenes

PLACES = np.asarray([0.2, 0.5, 0.8])


def prepared(**settings: Any) -> PreparedData:
    return prepare_captioned_shapes(CaptionedShapesConfig(**settings))


def split_of(data: PreparedData, name: str) -> CaptionSplit:
    return cast(CaptionSplit, data.splits[name])


def attributes_of(data: PreparedData, name: str) -> Any:
    split = split_of(data, name)
    return split.attributes(np.arange(len(split)))


@pytest.fixture(scope="module")
def plain() -> PreparedData:
    return prepared()


class TestGrammar:
    def test_every_wording_is_read_as_what_it_means(self) -> None:
        seen: set[str] = set()
        for row in all_attributes().tolist():
            possible = wordings(row)
            assert [parse(wording) for wording in possible] == [tuple(row)] * len(possible)
            assert len(possible) >= 4 and not seen & set(possible)
            seen |= set(possible)
        assert wordings([0, 0, 0])[0] == "a red circle at the top left"

    @pytest.mark.parametrize(
        "text", ["", "a red circle", "a red circle at the top left left", "a circle red at the top"]
    )
    def test_what_the_grammar_does_not_have_means_nothing(self, text: str) -> None:
        assert parse(text) is None

    def test_meanings_are_numbered_without_gaps(self) -> None:
        assert meanings(all_attributes()).tolist() == list(range(int(np.prod(CARDINALITIES))))


class TestPictures:
    def test_the_shape_is_where_and_what_the_attributes_say(self) -> None:
        attributes = all_attributes()
        scenes = Scenes.draw(attributes, np.random.default_rng(3))
        pixels = scenes.render(32).astype(np.float64)
        away = np.abs(pixels - pixels[:, :1, :1]).sum(axis=-1)  # the corner is background at every position
        shown = away > 0.5 * away.max(axis=(1, 2), keepdims=True)
        middles = (np.arange(32) + 0.5) / 32
        area = shown.sum(axis=(1, 2))
        x, y = (shown * middles).sum(axis=(1, 2)) / area, (shown * middles[:, None]).sum(axis=(1, 2)) / area
        assert np.abs(np.stack([x, y], axis=1) - scenes.centre).max() < 0.03
        row, column = np.divmod(attributes[:, 2], 3)
        assert np.array_equal(np.abs(x[:, None] - PLACES).argmin(axis=1), column)
        assert np.array_equal(np.abs(y[:, None] - PLACES).argmin(axis=1), row)
        inside = np.stack([picture[mask].mean(axis=0) for picture, mask in zip(pixels, shown, strict=True)])
        distances = np.linalg.norm(inside[:, None] - np.asarray(list(COLOURS.values())), axis=-1)
        assert np.array_equal(distances.argmin(axis=1), attributes[:, 0])
        relative = area / (scenes.radius * 32) ** 2
        by_shape = [relative[attributes[:, 1] == shape].mean() for shape in range(4)]
        assert max(by_shape) < 1.7 * min(by_shape)

    def test_edges_are_smooth(self) -> None:
        scenes = Scenes.draw(np.asarray([[5, 0, 4]]), np.random.default_rng(0))
        levels = np.unique(scenes.render(32)[0, ..., 0])
        assert len(levels) > 10, "a hard edge has two levels"

    def test_both_sizes_show_the_same_scene(self) -> None:
        scenes = Scenes.draw(all_attributes()[::5], np.random.default_rng(1))
        large, small = (scenes.render(size).astype(np.float64) for size in (32, 16))
        halved = large.reshape(-1, 16, 2, 16, 2, 3).mean(axis=(2, 4))
        assert np.abs(halved - small).mean() < 2.0 and np.abs(halved - small).max() < 60


class TestSplits:
    def test_every_combination_is_as_frequent_in_every_split(self, plain: PreparedData) -> None:
        for name, each in zip(SPLITS, (28, 3, 5), strict=True):
            counts = np.bincount(meanings(attributes_of(plain, name)), minlength=216)
            assert counts.tolist() == [each] * 216
        assert split_of(plain, "val").attribute_cardinalities == (6, 4, 9)

    def test_no_picture_is_in_two_splits(self, plain: PreparedData) -> None:
        seen = [{picture.tobytes() for picture in all_pictures(plain, name)} for name in SPLITS]
        assert [len(pictures) for pictures in seen] == [6048, 648, 1080]
        assert not seen[0] & seen[1] and not seen[0] & seen[2] and not seen[1] & seen[2]

    def test_held_out_combinations_are_in_one_split_alone(self) -> None:
        data = prepared(held_out="combinations", size=16)
        found = {name: set(meanings(attributes_of(data, name)).tolist()) for name in SPLITS}
        assert [len(found[name]) for name in SPLITS] == [168, 24, 24]
        assert len(found["train"] | found["val"] | found["test"]) == 216
        train = attributes_of(data, "train")
        for first, second in ((0, 1), (0, 2), (1, 2)):
            pairs = {tuple(row) for row in train[:, [first, second]].tolist()}
            assert len(pairs) == CARDINALITIES[first] * CARDINALITIES[second], "every pair is trained on"

    @pytest.mark.parametrize("choice", ["one", "several"])
    def test_captions_say_what_the_attributes_are(self, plain: PreparedData, choice: str) -> None:
        data = plain if choice == "one" else prepared(wordings="several", size=16)
        preprocessing = cast(CaptionPreprocessing, data.preprocessing)
        batch = data.splits["test"].batch(np.arange(1080))
        captions = [preprocessing.decode_tokens(np.maximum(row, 0)) for row in batch["target"]]
        assert [parse(caption) for caption in captions] == [tuple(row) for row in attributes_of(data, "test").tolist()]
        assert len(set(captions)) == 216 if choice == "one" else len(set(captions)) > 700
        assert np.array_equal(batch["previous"][:, 1:], np.maximum(batch["target"], 0)[:, :-1])

    def test_to_generate_there_are_pictures_from_black_to_white_and_what_they_are_asked_for_by(self) -> None:
        data = prepared(task="generation", size=16)
        batch = data.splits["val"].batch(np.arange(648))
        assert set(batch) == {"image", "caption"} and data.signature.conditions == {"caption": 21}
        assert data.signature.outputs == batch["image"].shape[1:] == (3, 16, 16)
        assert -1 <= batch["image"].min() < -0.95 and 0.9 < batch["image"].max() < 1.001
        preprocessing = cast(CaptionPreprocessing, data.preprocessing)
        captions = [wordings(row)[0] for row in attributes_of(data, "val").tolist()]
        assert np.array_equal(preprocessing.encode_condition("caption", captions), batch["caption"])
        shown = preprocessing.decode_samples(batch["image"])
        assert shown.dtype == np.uint8 and np.array_equal(preprocessing.encode(shown)["image"], batch["image"])
        with pytest.raises(DataError, match="no condition 'label'"):
            preprocessing.encode_condition("label", ["3"])

    def test_size_wording_and_holding_out_change_the_fingerprint(self, plain: PreparedData) -> None:
        others = ({"size": 16}, {"wordings": "several"}, {"held_out": "combinations"})
        assert len({plain.fingerprint, *(prepared(**other).fingerprint for other in others)}) == 4


def all_pictures(data: PreparedData, name: str) -> Any:
    return data.splits[name].batch(np.arange(len(data.splits[name])))["image"]
