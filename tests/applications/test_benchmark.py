import importlib
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import keras
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

PROGRAM = Path(__file__).parents[2] / "applications" / "benchmark.py"
SMALL = ["--models", "resnet8", "--batch-sizes", "4", "--rounds", "2", "--images", "8"]
SMALL += ["--threads", "1", "--out", "out"]
SLOW_KERAS = "keras without oneDNN"


def run(folder, *arguments, **variables):
    """Runs the program on the backend in use, and returns what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KZOO_")}
    backend = {"KERAS_BACKEND": keras.backend.backend(), "PYTHONSAFEPATH": "1"}  # as tox sets it
    result = subprocess.run(
        [sys.executable, str(PROGRAM), *arguments],
        cwd=folder,
        env={**environment, **backend, **variables},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_benchmark_measures_the_backend_in_use(tmp_path):
    printed = run(tmp_path, *SMALL)
    result = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    rows = result["rows"]
    programs = {row["case"][-1] for row in rows}
    assert {
        "kzoo train",
        "kzoo train augmented",
        "keras train",
        "kzoo inference",
        "keras inference",
        "kzoo folded",
    } <= programs
    assert ("pytorch train" in programs) == (keras.backend.backend() == "torch")
    assert ("keras without oneDNN train" in programs) == (keras.backend.backend() == "tensorflow")
    assert all(len(row["images_per_second"]) == 2 and row["median"] > 0 for row in rows)
    (kzoo,) = (row for row in rows if row["case"][-1] == "kzoo train")
    (keras_,) = (row for row in rows if row["case"][-1] == "keras train")
    ratios = [a / b for a, b in zip(kzoo["images_per_second"], keras_["images_per_second"], strict=True)]
    found = kzoo["ratios"][f"Keras on {keras.backend.backend()}"]
    assert found["median"] == pytest.approx(statistics.median(ratios))
    assert min(ratios) <= found["at_least"] <= found["median"]
    assert (tmp_path / "out" / "benchmark.png").stat().st_size > 1000
    assert result["processor"]["model"] in printed
    assert "KZOO_TUNE_PROCESS is not 1" in printed
    assert result["process_tuned"] is False


def test_benchmark_measures_the_libraries_asked_for(tmp_path):
    printed = run(tmp_path, *SMALL, "--libraries", "kzoo", "pytorch", KZOO_TUNE_PROCESS="1")
    result = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    on_torch = keras.backend.backend() == "torch"
    libraries = {row["case"][-1].split()[0] for row in result["rows"]}
    assert libraries == ({"kzoo", "pytorch"} if on_torch else {"kzoo"})
    (train,) = (row for row in result["rows"] if row["case"][-1] == "kzoo train")
    assert set(train["ratios"]) == ({"PyTorch"} if on_torch else set())
    assert "KZOO_TUNE_PROCESS is 1" in printed
    assert result["process_tuned"] is True


def test_benchmark_measures_bfloat16_beside_float32(tmp_path):
    run(tmp_path, *SMALL, "--bfloat16", "--libraries", "kzoo", "pytorch")
    rows = json.loads((tmp_path / "out" / "benchmark.json").read_text())["rows"]
    on_torch = keras.backend.backend() == "torch"
    ratios = {row["case"][-1]: set(row["ratios"]) for row in rows}
    assert ratios["kzoo in bfloat16 train"] == ({"float32", "PyTorch in bfloat16"} if on_torch else {"float32"})
    assert ratios["kzoo in bfloat16 train augmented"] == {"float32"}
    assert ("pytorch in bfloat16 train" in ratios) == on_torch


def test_yardsticks_are_the_same_wide_network(tmp_path):
    # Or the workers' losses would differ, and end it.
    small = [argument.replace("resnet8", "wide_resnet16_4") for argument in SMALL]
    printed = run(tmp_path, *small)
    assert "wide_resnet16_4 batch   4" in printed


def test_unknown_network_is_refused(tmp_path):
    with pytest.raises(AssertionError, match="Expected a name such as resnet20 or wide_resnet16_4. Received: vgg16."):
        run(tmp_path, "--models", "vgg16")


@pytest.mark.slow
def test_benchmark_starts_from_kzoo_weights_where_kzoo_is_not_measured(tmp_path):
    run(tmp_path, *SMALL, "--libraries", "keras")
    rows = json.loads((tmp_path / "out" / "benchmark.json").read_text())["rows"]
    assert {row["case"][-1].split()[0] for row in rows} == {"keras"}


@pytest.fixture
def modules(monkeypatch):
    """Returns a function that imports a module of the applications."""
    monkeypatch.syspath_prepend(PROGRAM.parent)
    return importlib.import_module


SPEEDS = {
    ("torch", "kzoo"): 103.0,
    ("torch", "keras"): 60.0,
    ("torch", "pytorch"): 100.0,
    ("tensorflow", "kzoo"): 98.0,
    ("tensorflow", "keras"): 50.0,
    ("tensorflow", SLOW_KERAS): 30.0,
    ("jax", "kzoo"): 70.0,
    ("jax", "keras"): 35.0,
}
MODES = {
    "kzoo": ("train", "train augmented", "inference", "folded"),
    "pytorch": ("train", "inference", "folded"),
    "keras": ("train", "inference"),
    SLOW_KERAS: ("train", "inference"),
}
TASKS = ["training", "training, augmented", "inference", "inference, folded"]
BACKENDS = ("torch", "tensorflow", "jax")


def measured(modules, backends=BACKENDS, cases=(("resnet20", 128),)):
    """Returns what `benchmark.json` would hold of programs that have a slow round and a fast one."""
    rows_of = modules("benchmark_rows")
    rows = []
    for model, batch in cases:
        speeds = {
            (backend, library, mode): [speed * factor for factor in (1, 0.5, 1.25)]
            for (backend, library), speed in SPEEDS.items()
            for mode in MODES[library]
            if backend in backends
        }
        for (backend, library, mode), values in speeds.items():
            others = rows_of.yardsticks(backend, library, mode, speeds)
            rows.append(
                {
                    "case": [model, batch, backend, f"{library} {mode}"],
                    "images_per_second": values,
                    "ratios": {name: rows_of.ratio(values, speeds[other]) for name, other in others},
                }
            )
    return {"processor": {"model": "Some(R) Processor", "flags": []}, "threads": 2, "rows": rows}


@pytest.fixture
def chart(modules):
    """Returns a function that draws the chart of such measurements."""

    def draw(**options):
        figure = modules("benchmark_chart").chart(measured(modules, **options))
        FigureCanvasAgg(figure).draw()
        return figure

    return draw


def texts(axes):
    return [text.get_text() for text in axes.texts]


@pytest.mark.parametrize("backends", [BACKENDS, *((backend,) for backend in BACKENDS)], ids="-".join)
def test_chart_has_a_panel_a_task(chart, backends):
    figure = chart(backends=backends)
    assert [axes.get_title("left") for axes in figure.axes] == TASKS
    assert figure.get_suptitle() == "resnet20, batch 128, Some Processor, 2 threads"
    assert {axes.get_ylabel() for axes in figure.axes} == {"images/s", ""}


def test_chart_has_a_row_of_panels_a_model_and_batch_size(chart):
    cases = [("resnet20", 1), ("resnet20", 128), ("wide_resnet16_4", 128)]
    figure = chart(cases=cases)
    assert [axes.get_title("left") for axes in figure.axes] == TASKS + [""] * 8
    found = [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()]
    assert found == [f"{model}\nbatch {batch}, images/s" for model, batch in cases]


def test_chart_labels_bars_with_their_ratio_to_plain_pytorch(chart):
    training, augmented, _, folded = chart().axes
    found = texts(training)
    assert found[-1] == "ratio to plain PyTorch"
    assert [text for text in found if text.endswith("x")] == [
        "1.03x",
        "0.60x",
        "0.98x",
        "0.50x",
        "0.30x",
        "0.70x",
        "0.35x",
    ]
    assert [text for text in found if text.endswith("Keras")] == ["1.72x Keras", "1.96x Keras", "2.00x Keras"]
    assert texts(augmented) == ["1.00x"] * 3 + ["ratio to kzoo without augmentation"]
    assert texts(folded)[:2] == ["1.03x", "1.72x Keras"]


@pytest.mark.parametrize(("backend", "label"), [("tensorflow", "1.96x"), ("jax", "2.00x")])
def test_chart_labels_bars_with_their_ratio_to_keras_where_pytorch_is_missing(chart, backend, label):
    training = chart(backends=(backend,)).axes[0]
    assert texts(training) == [label, "ratio to Keras layers"]


def test_chart_shows_medians_a_line_for_pytorch_and_the_spread(chart):
    training, augmented, *_ = chart().axes
    assert [bar.get_height() for bar in training.patches] == list(SPEEDS.values())
    (line,) = training.lines
    assert list(line.get_ydata()) == [100, 100]
    assert not augmented.lines
    spread = training.collections[0].get_segments()[0][:, 1]
    assert list(spread) == [51.5, 128.75]


@pytest.mark.parametrize(
    "cases", [[("resnet20", 128)], [("resnet20", 1), ("wide_resnet16_4", 512)]], ids=["one", "two"]
)
@pytest.mark.parametrize("backends", [BACKENDS, ("torch",)], ids="-".join)
def test_chart_overlaps_nothing(chart, backends, cases):
    figure = chart(backends=backends, cases=cases)
    renderer = figure.canvas.get_renderer()
    (legend,) = figure.legends
    boxes = [axes.get_tightbbox(renderer) for axes in figure.axes] + [legend.get_window_extent(renderer)]
    for i, box in enumerate(boxes):
        assert not [other for other in boxes[:i] if box.overlaps(other)]
        assert figure.bbox.x1 >= box.x1
    for axes in figure.axes:
        labels = [text.get_window_extent(renderer) for text in [*axes.texts, *axes.get_xticklabels()]]
        assert not [(a, b) for i, a in enumerate(labels) for b in labels[:i] if a.overlaps(b)]


def test_benchmark_draws_what_was_measured_before(modules, tmp_path):
    (tmp_path / "before.json").write_text(json.dumps(measured(modules)))
    run(tmp_path, "--draw", "before.json", "--out", "drawn")
    assert [path.name for path in (tmp_path / "drawn").iterdir()] == ["benchmark.png"]


def test_processor_names_the_features_that_linux_lists(modules, monkeypatch, tmp_path):
    content = "processor\t: 0\nmodel name\t: Some Processor\nflags\t\t: fpu avx2 avx512_vnni amx_tile sse\n\n"
    (tmp_path / "cpuinfo").write_text(content)
    program = modules("benchmark")
    assert program.processor(tmp_path / "cpuinfo") == {
        "model": "Some Processor",
        "flags": ["avx2", "avx512_vnni", "amx_tile"],
    }
    assert program.processor(tmp_path / "none")["flags"] == []
    assert program.processor(tmp_path / "none")["model"]
