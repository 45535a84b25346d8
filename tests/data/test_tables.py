"""Images that a table lists, or that an array of NumPy holds."""

import copy
import io
import json
import os
import pickle
import shutil
import zipfile

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

import kzoo

LEVELS = list(range(10, 130, 10))


def png(level):
    file = io.BytesIO()
    Image.new("RGB", (4, 3), (level,) * 3).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    for level in LEVELS:
        (tmp_path / "images" / f"{level}.png").write_bytes(png(level))
    return tmp_path


def table(folder, rows, name="table.csv", delimiter=","):
    (folder / name).write_text("\n".join(delimiter.join(map(str, row)) for row in rows) + "\n", encoding="utf-8")
    return folder / name


def levels_of(split):
    return sorted(split.images[:, 0, 0, 0].tolist())


@pytest.mark.parametrize(("name", "delimiter"), [("table.csv", ","), ("table.csv", ";"), ("table.tsv", "\t")])
@pytest.mark.parametrize("columns", [("image", "label", "split"), ("File_Name", "Class", "subset")])
def test_table_gives_images_labels_and_splits(folder, name, delimiter, columns):
    splits = ["train"] * 6 + ["Val"] * 3 + ["test"] * 3
    rows = [(f"images/{LEVELS[i]}.png", ("cat", "dog")[i % 2], split) for i, split in enumerate(splits)]
    dataset = kzoo.load_dataset(table(folder, [columns, *rows], name, delimiter))
    assert dataset.name == "table"
    assert dataset.class_names == ("cat", "dog")
    assert [levels_of(part) for part in (dataset.train, dataset.validation, dataset.test)] == [
        LEVELS[:6],
        LEVELS[6:9],
        LEVELS[9:],
    ]
    assert dataset.train.labels.tolist() == [0, 1] * 3
    assert dataset.train.names[0] == "images/10.png"


@pytest.mark.parametrize(("labels", "names"), [((10, 9), ("9", "10")), (("b", "a"), ("a", "b")), ((0, 1), ("0", "1"))])
def test_labels_are_text_or_numbers(folder, labels, names):
    rows = [(f"images/{level}.png", labels[i % 2]) for i, level in enumerate(LEVELS)]
    dataset = kzoo.load_dataset(table(folder, [("path", "label"), *rows]))
    assert dataset.class_names == names
    assert sum(map(len, (dataset.train, dataset.validation, dataset.test))) == 12


def test_weights_come_with_the_batches(folder):
    rows = [(f"images/{level}.png", "ab"[i % 2], level / 10) for i, level in enumerate(LEVELS)]
    dataset = kzoo.load_dataset(table(folder, [("path", "label", "weight"), *rows]))
    images, _, weights = kzoo.Batches(dataset.train, 2, batch_size=4).batch(0, 0)
    np.testing.assert_allclose(weights, images[:, 0, 0, 0] / 10)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "must have a row for each image. Received: none"),
        ([("path", "x")], "must have a row for each image. Received: none"),
        ([("path", "x"), ("images/10.png", "a")], r"must have a column 'label' \(or labels, .*Received: path, x"),
        ([("x", "label"), ("images/10.png", "a")], r"must have a column 'image'"),
        ([("path", "label"), ("images/11.png", "a")], "row 1: the image must be a file. Received: 'images/11.png'"),
        ([("path", "label"), ("../secret.png", "a")], "row 1: the image must lie beside the table"),
        ([("path", "label"), ("/etc/hostname", "a")], "row 1: the image must lie beside the table"),
        ([("path", "label"), ("images/10.png", "")], "row 1: the label must be text or a whole number"),
        ([("path", "label"), ("", "a")], "row 1: the image must be a path"),
        (
            [("path", "label"), *[("images/10.png", "a")] * 2],
            "must list each image once. Received: .* twice",
        ),
        ([("path", "label", "split"), ("images/10.png", "a", "tset")], "split must be train, validation or test"),
        ([("path", "label", "split"), ("images/10.png", "a", "test")], "must have rows of the split train"),
        ([("path", "label", "weight"), ("images/10.png", "a", "-1")], "weight must be a number, 0 or larger"),
    ],
)
def test_tables_that_cannot_be_understood_are_errors(folder, rows, message):
    with pytest.raises(ValueError, match=message):
        kzoo.load_dataset(table(folder, rows))


@pytest.mark.parametrize("hub", [True, False])
def test_parquet_holds_the_files_themselves(tmp_path, hub):
    """With the features of the Hugging Face hub labels have names, also those of no image."""
    rows = {"image": [{"bytes": png(level), "path": None} for level in LEVELS], "label": [i % 2 for i in range(12)]}
    content = pyarrow.table(rows)
    if hub:
        features = {"label": {"names": ["cat", "dog", "eel"], "_type": "ClassLabel"}}
        content = content.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pyarrow.parquet.write_table(content, tmp_path / "pets.parquet")
    dataset = kzoo.load_dataset(tmp_path / "pets.parquet")
    assert dataset.class_names == (("cat", "dog", "eel") if hub else ("0", "1"))
    for part in (dataset.train, dataset.validation, dataset.test):
        np.testing.assert_array_equal(part.labels, (part.images[:, 0, 0, 0] // 10 - 1) % 2)


def test_parquet_files_of_the_hub_are_split_by_their_names(tmp_path):
    (tmp_path / "pets" / "data").mkdir(parents=True)
    files = ("train-00000-of-00002", "train-00001-of-00002", "validation-00000-of-00001", "test-00000-of-00001")
    for number, name in enumerate(files):
        levels = LEVELS[3 * number : 3 * number + 3]
        rows = {"image": [{"bytes": png(level), "path": "x.png"} for level in levels], "label": [0, 1, 0]}
        pyarrow.parquet.write_table(pyarrow.table(rows), tmp_path / "pets" / "data" / f"{name}.parquet")
    dataset = kzoo.load_dataset(tmp_path / "pets")
    assert dataset.name == "pets"
    assert [levels_of(part) for part in (dataset.train, dataset.validation, dataset.test)] == [
        LEVELS[:6],
        LEVELS[6:9],
        LEVELS[9:],
    ]


def test_damaged_parquet_is_an_error(tmp_path):
    (tmp_path / "pets.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match="must be a readable Parquet file"):
        kzoo.load_dataset(tmp_path / "pets.parquet")


GREYS = np.repeat(np.uint8(LEVELS)[:, None, None], 3, axis=1).repeat(4, axis=2)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("color", [False, True])
def test_npz_of_keras_is_read(tmp_path, channels, color):
    images = np.stack([GREYS] * 3, axis=-1) if color else GREYS
    labels = np.arange(12) % 2
    np.savez(tmp_path / "mnist.npz", x_train=images[:8], y_train=labels[:8, None], x_test=images[8:], y_test=labels[8:])
    dataset = kzoo.load_dataset(tmp_path / "mnist.npz", channels=channels)
    assert dataset.image_shape == (3, 4, channels)
    assert levels_of(dataset.test) == LEVELS[8:]
    assert len(dataset.train) + len(dataset.validation) == 8


def test_npz_of_images_and_labels_is_divided(tmp_path):
    np.savez(tmp_path / "pets.npz", images=GREYS, labels=np.array(["dog", "cat"] * 6))
    dataset = kzoo.load_dataset(tmp_path / "pets.npz", image_size=8)
    assert dataset.class_names == ("cat", "dog")
    assert dataset.image_shape == (8, 8, 3)
    for part in (dataset.train, dataset.validation, dataset.test):
        np.testing.assert_array_equal(part.labels, (part.images[:, 0, 0, 0] // 10) % 2)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": GREYS}, "must have arrays x_train and y_train, or images and labels. Received: a"),
        ({"x_train": GREYS, "y_train": np.array([{}] * 12)}, "must be a readable .npz file of arrays"),
        ({"images": GREYS, "labels": np.arange(3)}, "must have the same length. Received: 12 images and 3 labels"),
    ],
)
def test_npz_without_images_and_labels_is_an_error(tmp_path, arrays, message):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        kzoo.load_dataset(tmp_path / "x.npz")


@pytest.mark.parametrize("labels", [["b", "a"] * 6, np.arange(12)[:, None] % 2, [1, 0] * 6])
def test_dataset_of_arrays(labels):
    dataset = kzoo.Dataset.from_arrays(GREYS, labels, validation=(GREYS[:2], labels[:2]))
    assert dataset.class_names == (("a", "b") if labels[0] == "b" else ("0", "1"))
    assert dataset.image_shape == (3, 4, 1)
    assert [len(part) for part in (dataset.train, dataset.validation, dataset.test)] == [10, 2, 2]


def test_label_of_no_class_is_an_error():
    with pytest.raises(ValueError, match="`labels` must be of cat, dog. Received: 'eel'"):
        kzoo.Dataset.from_arrays(GREYS, ["eel"] * 12, class_names=["cat", "dog"])


def test_balanced_classes_count_alike():
    labels = [0] * 8 + [1] * 4
    dataset = kzoo.Dataset.from_arrays(GREYS, labels, test=0.25, validation=0.25).balanced()
    weights = dataset.train.weights
    assert weights.mean() == pytest.approx(1)
    assert weights[dataset.train.labels == 0].sum() == pytest.approx(weights[dataset.train.labels == 1].sum())
    assert dataset.test.weights is None


def test_balanced_training_is_recorded(tmp_path, folder):
    rows = [(f"images/{level}.png", "ab"[i % 3 == 0]) for i, level in enumerate(LEVELS)]
    dataset = kzoo.load_dataset(table(folder, [("path", "label"), *rows]), image_size=8, balance=True)
    recipe = kzoo.recipe("default").override(epochs=2, patience=0, batch_size=4)
    model = kzoo.resnet(8, input_shape=(8, 8, 3), classes=2)
    run = kzoo.fit(model, dataset, recipe, run_dir=tmp_path / "run", verbose=0)
    assert run.config["data"]["source"]["balance"] is True
    np.testing.assert_allclose(run.load_dataset().train.weights, dataset.train.weights)


def test_changed_files_within_parquet_are_seen(tmp_path):
    for shift in (0, 5):
        for number, split in enumerate(("train", "test")):
            levels = LEVELS[6 * number : 6 * number + 6]
            rows = {"image": [{"bytes": png(level + shift)} for level in levels], "label": [0, 1] * 3}
            pyarrow.parquet.write_table(pyarrow.table(rows), tmp_path / f"{split}-0.parquet")
        assert levels_of(kzoo.load_dataset(tmp_path).test) == [level + shift for level in LEVELS[6:]]


def test_labels_beyond_the_names_are_an_error(tmp_path):
    content = pyarrow.table({"image": [{"bytes": png(9)}] * 2, "label": [0, -1]})
    features = {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
    content = content.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pyarrow.parquet.write_table(content, tmp_path / "x.parquet")
    with pytest.raises(ValueError, match="labels from 0 to 1, of its 2 classes. Received: -1"):
        kzoo.load_dataset(tmp_path / "x.parquet")


@pytest.mark.parametrize("about", ["[]", "{", '{"info": []}', '{"info": {"features": {"label": {}}}}'])
def test_metadata_of_others_are_no_matter(tmp_path, about):
    content = pyarrow.table({"image": [{"bytes": png(level)} for level in LEVELS], "label": [0, 1] * 6})
    pyarrow.parquet.write_table(content.replace_schema_metadata({"huggingface": about}), tmp_path / "x.parquet")
    assert kzoo.load_dataset(tmp_path / "x.parquet").class_names == ("0", "1")


def test_column_twice_is_an_error(folder):
    with pytest.raises(ValueError, match="must have each column once. Received: 'label' twice"):
        kzoo.load_dataset(table(folder, [("path", "label", "label"), ("images/10.png", "a", "b")]))


def test_weights_stay_with_the_splits_of_a_run(folder):
    rows = [(f"images/{level}.png", "ab"[i % 2], level / 10) for i, level in enumerate(LEVELS)]
    dataset = kzoo.load_dataset(table(folder, [("path", "label", "weight"), *rows]))
    again = kzoo.load_dataset(folder / "table.csv", splits=dataset.file_names)
    np.testing.assert_array_equal(again.train.weights, dataset.train.weights)


@pytest.mark.parametrize("damage", [None, {}, {"train": "a"}, {"train": ["a"], "validation": [1], "test": ["b"]}, [1]])
def test_splits_that_are_none_are_an_error(folder, damage):
    rows = [(f"images/{level}.png", "ab"[i % 2]) for i, level in enumerate(LEVELS)]
    path = table(folder, [("path", "label"), *rows])
    if damage is None:
        whole = kzoo.load_dataset(path).file_names
        damage = {**whole, "test": whole["test"] + whole["train"][:1]}
    with pytest.raises(ValueError, match="`splits` must list (the names of files|each file once)"):
        kzoo.load_dataset(path, splits=damage)


def test_npz_with_images_and_no_labels_of_a_split_is_an_error(tmp_path):
    np.savez(tmp_path / "x.npz", x_train=GREYS, y_train=np.arange(12) % 2, x_test=GREYS)
    with pytest.raises(ValueError, match="must have images and labels of each split. Received: x_test alone"):
        kzoo.load_dataset(tmp_path / "x.npz")


def test_splits_take_booleans_and_nothing():
    split = kzoo.Split(GREYS[..., None], [0, 1] * 6)
    assert split.take(split.labels == 1).labels.tolist() == [1] * 6
    assert split.read([]).shape == (0, 3, 4, 1)
    np.testing.assert_array_equal(split.read([-1]), split.images[-1:])


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("per_split", [True, False])
def test_image_folders_of_the_hub_have_metadata(tmp_path, suffix, per_split):
    root = tmp_path / "pets"
    rows: dict[str, list[dict[str, object]]] = {}
    for number, level in enumerate(LEVELS):
        split = ("train", "validation", "test")[number // 4]
        path = root / split / "files" / f"{level}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(level))
        place = root / split if per_split else root
        row = {"file_name": path.relative_to(place).as_posix(), "label": ("cat", "dog")[number % 2]}
        rows.setdefault(str(place), []).append(row if per_split else {**row, "split": split})
    for place, listed in rows.items():
        names = list(listed[0])
        if suffix == "csv":
            table(root, [names, *(row.values() for row in listed)], f"{place}/metadata.csv")
        elif suffix == "jsonl":
            (root / place / "metadata.jsonl").write_text("\n".join(map(json.dumps, listed)))
        else:
            columns = {name: [row[name] for row in listed] for name in names}
            pyarrow.parquet.write_table(pyarrow.table(columns), root / place / "metadata.parquet")
    dataset = kzoo.load_dataset(root)
    assert dataset.class_names == ("cat", "dog")
    assert [levels_of(part) for part in (dataset.train, dataset.validation, dataset.test)] == [
        LEVELS[:4],
        LEVELS[4:8],
        LEVELS[8:],
    ]
    assert dataset.test.names[0] == "test/files/90.png"


def test_metadata_without_labels_leaves_the_folders_as_classes(tmp_path):
    for number, level in enumerate(LEVELS):
        path = tmp_path / "pets" / ("cat", "dog")[number % 2] / f"{level}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(level))
    table(tmp_path / "pets", [("file_name", "text"), ("cat/10.png", "A cat.")], "metadata.csv")
    assert kzoo.load_dataset(tmp_path / "pets").class_names == ("cat", "dog")


def save_to_disk(folder, rows):
    folder.mkdir(parents=True)
    (folder / "state.json").write_text('{"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}')
    (folder / "cache-0123.arrow").write_bytes(b"what `map` and `filter` leave beside it")
    (folder / "dataset_info.json").write_text('{"features": {"image": {"_type": "Image"}}}')
    content = pyarrow.table(rows)
    features = {"image": {"_type": "Image"}, "label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
    content = content.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    with pyarrow.ipc.new_stream(folder / "data-00000-of-00001.arrow", content.schema) as file:
        file.write_table(content, 2)


@pytest.mark.parametrize("splits", [True, False])
def test_arrow_files_of_datasets_are_read(tmp_path, splits):
    root = tmp_path / "pets"
    for number, split in enumerate(("test", "train") if splits else ("",)):
        levels = LEVELS[6 * number : 6 * number + 6]
        save_to_disk(
            root / split, {"image": [{"bytes": png(level), "path": None} for level in levels], "label": [0, 1] * 3}
        )
    if splits:
        (root / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    dataset = kzoo.load_dataset(root)
    assert dataset.class_names == ("cat", "dog")
    if splits:
        assert levels_of(dataset.test) == LEVELS[:6]
    parts = (dataset.train, dataset.validation, dataset.test)
    assert sorted(level for part in parts for level in levels_of(part)) == LEVELS[: 12 if splits else 6]
    for part in parts:
        np.testing.assert_array_equal(part.labels, (part.images[:, 0, 0, 0] // 10 - 1) % 2)


def test_images_in_parquet_are_read_as_they_are_needed(tmp_path, monkeypatch):
    rows = {"image": [{"bytes": png(level), "path": None} for level in LEVELS], "label": [0, 1] * 6}
    pyarrow.parquet.write_table(pyarrow.table(rows), tmp_path / "pets.parquet", row_group_size=2)
    groups = []
    read = pyarrow.parquet.ParquetFile.read_row_group
    monkeypatch.setattr(
        pyarrow.parquet.ParquetFile,
        "read_row_group",
        lambda *of, **columns: groups.append(of[1]) or read(*of, **columns),
    )
    dataset = kzoo.load_dataset(tmp_path / "pets.parquet", cache=False)
    assert len(groups) == 1  # the first image says how large they are
    number = int(dataset.test.names[0].removeprefix("row ")) - 1
    assert dataset.test.read([0])[0, 0, 0, 0] == LEVELS[number]
    assert set(groups) == {0, number // 2}


def test_parquet_may_hold_some_files_and_name_others(tmp_path):
    (tmp_path / "20.png").write_bytes(png(20))
    image = [{"bytes": png(level), "path": None} for level in LEVELS]
    image[1] = {"bytes": None, "path": "20.png"}
    pyarrow.parquet.write_table(pyarrow.table({"image": image, "label": [0, 1] * 6}), tmp_path / "pets.parquet")
    dataset = kzoo.load_dataset(tmp_path / "pets.parquet")
    parts = (dataset.train, dataset.validation, dataset.test)
    assert sorted(level for part in parts for level in levels_of(part)) == LEVELS


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "must have a JSON object in each line"), ("[1]", r"must have a JSON object in each line. Received: \[1\]")],
)
def test_lines_that_are_no_json_objects_are_an_error(tmp_path, content, message):
    (tmp_path / "pets.jsonl").write_text(content)
    with pytest.raises(ValueError, match=message):
        kzoo.load_dataset(tmp_path / "pets.jsonl")


def parquet(path, levels, labels=None, names=None, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = {"image": [{"bytes": png(level)} for level in levels], "label": labels or [0, 1] * (len(levels) // 2)}
    content = pyarrow.table({**rows, **columns})
    if names:
        features = {"label": {"names": names, "_type": "ClassLabel"}}
        content = content.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pyarrow.parquet.write_table(content, path)


def test_class_names_are_the_same_in_each_file(tmp_path):
    parquet(tmp_path / "train-0.parquet", LEVELS[:6], names=["cat", "dog"])
    parquet(tmp_path / "test-0.parquet", LEVELS[6:])
    assert kzoo.load_dataset(tmp_path).class_names == ("cat", "dog")
    parquet(tmp_path / "test-0.parquet", LEVELS[6:], names=["dog", "cat"])
    with pytest.raises(ValueError, match="must have tables with the same class names, in the same order"):
        kzoo.load_dataset(tmp_path)


def test_columns_are_those_of_all_rows(folder):
    rows = [{"image": f"images/{level}.png", "label": "ab"[i % 2]} for i, level in enumerate(LEVELS)]
    lines = [json.dumps(row) for row in rows[:11]] + [json.dumps({**rows[11], "split": "test", "text": "\u2028"})]
    (folder / "pets.jsonl").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(ValueError, match="row 1: the split must be train, validation or test. Received: None"):
        kzoo.load_dataset(folder / "pets.jsonl")
    lines = [json.dumps({**row, "split": "train"}) for row in rows[:11]] + lines[11:]
    lines[3] = json.dumps({**rows[3], "split": "train", "text": "a\u2028b"}, ensure_ascii=False)
    (folder / "pets.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert levels_of(kzoo.load_dataset(folder / "pets.jsonl").test) == LEVELS[11:]


def test_folders_named_like_splits_are_the_splits(folder):
    for split, levels in (("train", LEVELS[:8]), ("test", LEVELS[8:])):
        (folder / split).mkdir()
        for level in levels:
            (folder / "images" / f"{level}.png").rename(folder / split / f"{level}.png")
    rows = [(f"{'train' if i < 8 else 'test'}/{level}.png", "ab"[i % 2]) for i, level in enumerate(LEVELS)]
    dataset = kzoo.load_dataset(table(folder, [("file_name", "label"), *rows], "metadata.csv").parent)
    assert levels_of(dataset.test) == LEVELS[8:]


def test_order_of_the_classes_is_always_the_same(folder):
    rows = [(f"images/{level}.png", ("1", "01", "001")[i % 3]) for i, level in enumerate(LEVELS)]
    assert kzoo.load_dataset(table(folder, [("path", "label"), *rows])).class_names == ("001", "01", "1")


def test_columns_that_nobody_needs_are_not_read(tmp_path):
    parquet(tmp_path / "pets.parquet", LEVELS, when=pyarrow.array([1] * 12, pyarrow.timestamp("ns")))
    assert len(kzoo.load_dataset(tmp_path / "pets.parquet").train) == 8


@pytest.mark.parametrize("content", [b"file_name,label\n\xff,a", b"a,a\n1,2", b""])
def test_metadata_of_something_else_are_left_alone(folder, content):
    for i, level in enumerate(LEVELS):
        (folder / "pets" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        (folder / "images" / f"{level}.png").rename(folder / "pets" / "ab"[i % 2] / f"{level}.png")
    (folder / "pets" / "metadata.csv").write_bytes(content)
    assert kzoo.load_dataset(folder / "pets").class_names == ("a", "b")


def test_links_to_tables_and_images_are_followed(tmp_path):
    """As the cache of the Hugging Face hub has them."""
    (tmp_path / "blobs").mkdir()
    (tmp_path / "pets").mkdir()
    for level in LEVELS:
        (tmp_path / "blobs" / f"image{level}").write_bytes(png(level))
        (tmp_path / "pets" / f"{level}.png").symlink_to(tmp_path / "blobs" / f"image{level}")
    rows = [(f"{level}.png", "ab"[i % 2]) for i, level in enumerate(LEVELS)]
    table(tmp_path / "blobs", [("file_name", "label"), *rows], "0123")
    (tmp_path / "pets" / "train.csv").symlink_to(tmp_path / "blobs" / "0123")
    assert kzoo.load_dataset(tmp_path / "pets" / "train.csv").class_names == ("a", "b")


def test_splits_of_other_names_are_told(tmp_path):
    for split in ("train", "extra"):
        images = [{"bytes": png(level), "path": None} for level in LEVELS]
        save_to_disk(tmp_path / split, {"image": images, "label": [0, 1] * 6})
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "extra", "../train"]}')
    with pytest.warns(UserWarning, match=r"splits of other names are left out: extra, \.\./train"):
        assert len(kzoo.load_dataset(tmp_path).train) == 8


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("{", "must be JSON"),
        ("[]", "must be a JSON object"),
        ("{}", "must list the files. Received: None"),
        ('{"_data_files": [{"filename": "../x.arrow"}]}', "must list the files"),
        ('{"_data_files": [{"filename": ".arrow"}]}', "must list the files"),
        ('{"_indices_files": [{"filename": "x"}]}', "call `flatten_indices`"),
    ],
)
def test_damaged_state_of_a_saved_table_is_an_error(tmp_path, state, message):
    save_to_disk(tmp_path / "pets", {"image": [{"bytes": png(9), "path": None}], "label": [0]})
    (tmp_path / "pets" / "state.json").write_text(state)
    with pytest.raises(ValueError, match=message):
        kzoo.load_dataset(tmp_path / "pets")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"image": "images/10.png", "label": 1, "weight": 10**400}, "row 12: the weight must be a number"),
        ({"image": "images/10.png\ud800", "label": 1}, "row 12: the image must be a file"),
        (
            {"image": list(range(1000)), "label": 1},
            r"row 12: the image must be a path. Received: \[0, 1, 2, 3, 4, 5, \.\.\.\]",
        ),
        (
            {"image": "images/120.png", "label": "1"},
            "must have labels of one kind. Received: 1 as a number and as text",
        ),
    ],
)
def test_odd_values_are_errors_that_name_the_table(folder, row, message):
    rows = [{"image": f"images/{level}.png", "label": i % 2} for i, level in enumerate(LEVELS[:11])]
    (folder / "pets.jsonl").write_text("\n".join(map(json.dumps, [*rows, row])))
    with pytest.raises(ValueError, match=f"pets.jsonl'.*{message}"):
        kzoo.load_dataset(folder / "pets.jsonl")


def test_label_of_more_digits_than_any_number_is_a_text(folder):
    rows = [(f"images/{level}.png", "7" * (1 + 5000 * (i % 2))) for i, level in enumerate(LEVELS)]
    assert kzoo.load_dataset(table(folder, [("path", "label"), *rows])).class_names == ("7", "7" * 5001)


@pytest.mark.parametrize("form", ["parquet", "arrow", "zip", "folder"])
@pytest.mark.parametrize("cache", [True, False])
def test_splits_are_copied_and_sent_to_processes(tmp_path, form, cache):
    path = tmp_path / "pets"
    if form == "parquet":
        parquet(path / "train.parquet", LEVELS)
    elif form == "arrow":
        save_to_disk(path, {"image": [{"bytes": png(level), "path": None} for level in LEVELS], "label": [0, 1] * 6})
    else:
        for i, level in enumerate(LEVELS):
            (path / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
            (path / "ab"[i % 2] / f"{level}.png").write_bytes(png(level))
    if form == "zip":
        path = shutil.make_archive(str(path), "zip", path)
    split = kzoo.load_dataset(path, cache=cache).train
    for other in (copy.deepcopy(split), pickle.loads(pickle.dumps(split))):
        np.testing.assert_array_equal(other.images, split.images)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning", "ignore:os.fork:RuntimeWarning")
def test_zip_is_read_by_several_processes_at_once(tmp_path):
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as archive:
        for i in range(200):
            archive.writestr(f"{'ab'[i % 2]}/{i}.png", png(i))
    split = kzoo.load_dataset(tmp_path / "pets.zip", cache=False).train
    expected = split.images
    children = []
    for _ in range(4):
        child = os.fork()
        if not child:
            os._exit(0 if np.array_equal(split.images, expected) else 1)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 4


def test_parquet_that_is_cut_off_later_is_an_error(tmp_path):
    parquet(tmp_path / "pets.parquet", LEVELS)
    split = kzoo.load_dataset(tmp_path / "pets.parquet", cache=False).train
    other = pickle.loads(pickle.dumps(split))
    (tmp_path / "pets.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match="pets.parquet' must be a readable Parquet file"):
        other.images  # noqa: B018
