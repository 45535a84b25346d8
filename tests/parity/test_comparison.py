import dataclasses
import math

import numpy as np
import pytest

from kzoo.parity import TOLERANCES, Recording, compare


def row_of(quantity, *recordings):
    return next(row for row in compare(recordings).rows if row.quantity == quantity)


def test_difference_is_relative_to_the_largest_value_of_the_tensor(sound, altered):
    weight = sound.arrays["final weights/head/kernel"]
    changed = weight.copy()
    changed[0, 0] += 1e-7 * np.abs(weight).max()
    row = row_of("final weights", sound, altered("final weights/head/kernel", changed))
    assert row.difference == pytest.approx(1e-7, rel=1e-6)
    assert (row.passed, row.where) == (False, "head/kernel")


def test_difference_within_the_tolerance_passes_and_is_shown(sound, altered):
    losses = sound.arrays["losses/step 2"] * (1 + 5e-10)
    comparison = compare([sound, altered("losses/step 2", losses)])
    row = next(row for row in comparison.rows if row.quantity == "losses")
    assert comparison.passed
    assert (row.where, row.tolerance) == ("step 2", 1e-9)
    assert row.difference == pytest.approx(5e-10, rel=1e-3)


def test_where_is_the_first_tensor_beyond_the_tolerance_not_the_furthest(sound, altered):
    first = altered("losses/step 2", sound.arrays["losses/step 2"] * 1.001)
    both = dataclasses.replace(first, arrays={**first.arrays, "losses/step 3": np.array(99.0)})
    assert row_of("losses", sound, both).where == "step 2"


def test_row_is_of_the_pair_that_is_furthest_apart(sound, altered):
    near = altered("losses/step 1", sound.arrays["losses/step 1"] * (1 + 1e-12), name="near")
    far = altered("losses/step 1", sound.arrays["losses/step 1"] * (1 - 1e-6), name="far")
    comparison = compare([sound, near, far])
    row = next(row for row in comparison.rows if row.quantity == "losses")
    assert row.between == ("near", "far")
    pairs = {row.between: row.passed for row in comparison.pairs if row.quantity == "losses"}
    assert pairs == {("sound", "near"): True, ("sound", "far"): False, ("near", "far"): False}


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda a: np.full_like(a, np.nan), "head/kernel"),
        (lambda a: np.full_like(a, np.inf), "head/kernel"),
        (lambda a: a.astype(np.float32), "head/kernel"),
        (lambda a: a[:, :3], "head/kernel (shape (8, 10), (8, 3))"),
        (lambda a: a[..., None], "head/kernel (shape (8, 10), (8, 10, 1))"),
    ],
    ids=["nan", "infinite", "dtype", "shape", "axes"],
)
def test_what_cannot_be_compared_fails(sound, altered, change, where):
    planted = altered("final weights/head/kernel", change(sound.arrays["final weights/head/kernel"]))
    for recordings in ((sound, planted), (planted, sound)):
        row = row_of("final weights", *recordings)
        assert (row.passed, row.difference) == (False, math.inf)
    assert row_of("final weights", sound, planted).where == where


def test_nan_on_both_sides_fails(altered):
    a, b = (altered("losses/step 1", np.nan, name=name) for name in "ab")
    assert not compare([a, b]).passed


def test_zero_against_something_fails(sound, altered):
    nothing = altered("losses/step 1", 0.0)
    assert not compare([nothing, sound]).passed


def with_units_turned(recording, count):
    units = recording.arrays["active units/block_relu1"].copy()
    units.flat[:count] ^= True
    gradient = recording.arrays["gradients/stem/kernel"] * 1.01
    arrays = {**recording.arrays, "active units/block_relu1": units, "gradients/stem/kernel": gradient}
    return dataclasses.replace(recording, name="turned", arrays=arrays)


def test_float32_asks_less_of_gradients_where_a_unit_is_active_on_one_side_only(recorded):
    sound = recorded(name="sound", dtype="float32", steps=1)
    turned = with_units_turned(sound, 1)
    shown = {row.quantity: row for row in compare([sound, turned]).rows}
    units = sound.arrays["active units/block_relu1"].size
    assert shown["active units"].difference == 1 / units
    assert (shown["gradients"].tolerance, shown["gradients"].difference) == (0.1, pytest.approx(0.01, rel=1e-3))
    assert shown["gradients"].passed
    wrong = dataclasses.replace(
        turned, arrays={**turned.arrays, "gradients/stem/kernel": sound.arrays["gradients/stem/kernel"] * -1}
    )
    assert not row_of("gradients", sound, wrong).passed
    asked = {row.quantity: row for row in compare([sound, with_units_turned(sound, 0)]).rows}
    assert (asked["gradients"].tolerance, asked["gradients"].passed) == (1e-4, False)
    assert not compare([sound, with_units_turned(sound, units // 5_000)]).passed


def test_float64_asks_for_the_same_active_units(sound):
    failure = compare([sound, with_units_turned(sound, 1)]).first_failure
    assert (failure.quantity, failure.where) == ("active units", "block_relu1")


def test_missing_tensor_fails_and_is_named(sound):
    arrays = {key: array for key, array in sound.arrays.items() if key != "gradients/stem/kernel"}
    planted = dataclasses.replace(sound, name="planted", arrays=arrays)
    row = row_of("gradients", planted, sound)
    assert (row.passed, row.where) == (False, "stem/kernel (only in sound)")


def test_missing_quantity_fails(sound):
    arrays = {key: array for key, array in sound.arrays.items() if not key.startswith("masks/")}
    planted = dataclasses.replace(sound, name="planted", arrays=arrays)
    assert not row_of("masks", sound, planted).passed


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"steps": 4}, r"steps is 3 in sound, 4 in planted"),
        ({"seed": 1}, r"seed is 0 in sound, 1 in planted"),
        ({"model": "resnet20"}, r"model is 'one_block' in sound, 'resnet20' in planted"),
        ({"recipe": {"momentum": 0.9}}, r"recipe.batch_size is 32 in sound, None in planted"),
    ],
)
def test_other_settings_are_an_error(sound, settings, said):
    planted = dataclasses.replace(sound, name="planted", settings={**sound.settings, **settings})
    with pytest.raises(ValueError, match=f"of the same training. Received: .*{said}"):
        compare([sound, planted])


@pytest.mark.parametrize(("count", "received"), [(0, "none"), (1, "sound"), (2, "sound, sound")])
def test_too_few_recordings_are_an_error(sound, count, received):
    with pytest.raises(ValueError, match=f"two recordings or more, of different names. Received: {received}."):
        compare([sound] * count)


def test_float32_has_its_own_tolerances(recorded):
    a, b = (recorded(name=name, dtype="float32", steps=1) for name in "ab")
    rows = {row.quantity: row for row in compare([a, b]).rows}
    assert (rows["logits"].tolerance, rows["gradients"].tolerance) == (1e-5, 1e-4)
    assert (rows["final weights"].tolerance, rows["final weights"].passed) == (None, True)


def test_every_tolerance_has_a_reason():
    assert all(len(tolerance.reason.split()) > 2 for tolerance in TOLERANCES.values())


def test_json_form_has_no_infinity(sound, altered):
    planted = altered("final weights/head/kernel", np.zeros((1, 1)))
    rows = {row["quantity"]: row for row in compare([sound, planted]).to_dict()["rows"]}
    assert rows["final weights"]["difference"] is None
    assert rows["final weights"]["passed"] is False


def test_recording_survives_its_file(sound, tmp_path):
    sound.save(tmp_path / "new" / "a.npz")
    loaded = Recording.load(tmp_path / "new" / "a.npz")
    assert (loaded.name, loaded.settings, loaded.environment) == ("a", sound.settings, sound.environment)
    assert list(loaded.arrays) == list(sound.arrays)
    assert all(np.array_equal(loaded.arrays[key], sound.arrays[key]) for key in sound.arrays)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.npz"]


def damage(path, kind):
    content = path.read_bytes()
    if kind == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "flipped":
        middle = len(content) // 2
        path.write_bytes(
            content[:middle] + bytes(255 - byte for byte in content[middle : middle + 64]) + content[middle + 64 :]
        )
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("not a recording")
    elif kind == "other arrays":
        np.savez(path, a=np.zeros(3))
    elif kind == "one array":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    else:
        np.savez(path, **{"header.json": np.array({"format": 1}, dtype=object)})


@pytest.mark.parametrize("kind", ["cut", "flipped", "empty", "text", "other arrays", "one array", "pickle"])
def test_damaged_file_is_an_error(sound, tmp_path, kind):
    path = tmp_path / "a.npz"
    sound.save(path)
    damage(path, kind)
    with pytest.raises(ValueError, match=r"Expected a recording.*Received: .*a.npz, damaged or something else"):
        Recording.load(path)


def test_a_flipped_byte_anywhere_is_an_error_or_changes_nothing(sound, tmp_path):
    path = tmp_path / "a.npz"
    sound.save(path)
    content = path.read_bytes()
    places = np.random.default_rng(0).choice(len(content), 300, replace=False).tolist()
    messages = []
    for place in places:
        path.write_bytes(content[:place] + bytes([255 - content[place]]) + content[place + 1 :])
        try:
            loaded = Recording.load(path)
        except ValueError as error:
            messages.append(str(error))
        else:  # a date or a flag of the archive
            assert all(np.array_equal(loaded.arrays[key], sound.arrays[key]) for key in sound.arrays)
    assert len(messages) > len(places) // 2
    assert [message for message in messages if "damaged or something else" not in message] == []


def test_file_of_another_format_is_an_error(sound, tmp_path, monkeypatch):
    monkeypatch.setattr("kzoo.parity.recording._FORMAT", 2)
    sound.save(tmp_path / "a.npz")
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"a.npz must be of format 1: record it again. Received: format 2."):
        Recording.load(tmp_path / "a.npz")
