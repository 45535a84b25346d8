import math

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from kzoo.training.picture import plot_comparison, plot_history


def history(epochs, first=2.1, last=0.08):
    """Losses that fall from `first` to `last`, with those of validation above them."""
    rows = []
    for epoch in range(1, epochs + 1):
        done = (epoch - 1) / max(1, epochs - 1)
        loss = first * (last / first) ** done
        metrics = {"loss": loss, "val_loss": loss * (1 + done), "accuracy": 0.2 + 0.7 * done, "val_accuracy": 0.2}
        rows.append({"epoch": float(epoch), **metrics, "learning_rate": 0.1 * (1 - done)})
    return rows


def without(rows, *names):
    return [{name: value for name, value in row.items() if name not in names} for row in rows]


@pytest.fixture
def saved(monkeypatch, tmp_path):
    """Returns a function that plots and returns the figure, after it was drawn."""
    figures = []
    save = Figure.savefig

    def keep(figure, *args, **kwargs):
        figures.append(figure)
        save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", keep)

    def plot(function, *args, **kwargs):
        function(*args, tmp_path / "picture.png", **kwargs)
        assert (tmp_path / "picture.png").stat().st_size > 1000
        (figure,) = figures
        FigureCanvasAgg(figure).draw()
        return figure

    return plot


def ticks(axis):
    """Returns the texts at the ticks that are seen, minor ones too."""
    low, high = sorted(axis.get_view_interval())
    labels = [*axis.get_ticklabels(), *axis.get_ticklabels(minor=True)]
    places = [*axis.get_ticklocs(), *axis.get_ticklocs(minor=True)]
    return [label.get_text() for label, place in zip(labels, places, strict=True) if low <= place <= high]


@pytest.mark.parametrize(
    ("epochs", "first", "last"),
    [
        *((epochs, 2.1, 0.08) for epochs in (1, 2, 20, 200)),
        *((20, first, last) for first, last in ((2.4, 2.0), (0.09, 0.0004), (0.6931, 0.6930), (30.0, 1e-5))),
        (2, 2.3026, 2.3026),
    ],
)
def test_history_has_plain_distinct_numbers_at_its_ticks(saved, epochs, first, last):
    figure = saved(plot_history, history(epochs, first, last), title="resnet20 on cifar10")
    for axes in figure.axes:
        texts = ticks(axes.yaxis)
        assert 2 <= len(texts) <= 12
        assert len({float(text) for text in texts}) == len(texts)
        assert not [text for text in texts if "e" in text or "^" in text or "mathdefault" in text]


@pytest.mark.parametrize("epochs", [1, 2, 20, 200])
def test_history_counts_whole_epochs(saved, epochs):
    figure = saved(plot_history, history(epochs), title="resnet20 on cifar10")
    for axes in figure.axes:
        numbers = [int(text) for text in ticks(axes.xaxis)]
        assert numbers == sorted(set(numbers))
        assert 1 <= len(numbers) <= 12
        assert epochs > 2 or numbers == list(range(1, epochs + 1))


@pytest.mark.parametrize("epochs", [1, 2, 20])
def test_history_shows_each_epoch_of_a_short_run(saved, epochs):
    figure = saved(plot_history, history(epochs), title="resnet20 on cifar10")
    assert {line.get_marker() for line in figure.axes[0].lines[:2]} == {"o"}


def test_history_marks_the_lowest_validation_loss_that_is_a_number(saved):
    rows = history(6, 2.0, 1.0)
    rows[0]["val_loss"], rows[3]["val_loss"], rows[4]["val_loss"] = math.nan, 0.5, -math.inf
    figure = saved(plot_history, rows, title="resnet20 on cifar10")
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.texts] == ["training", "validation", "lowest validation loss, epoch 4"]
    assert list(figure.axes[0].lines[2].get_xdata()) == [4, 4]


def test_history_marks_the_epoch_whose_weights_were_kept(saved):
    rows = history(6, 2.0, 1.0)
    rows[3]["val_loss"] = 0.5
    figure = saved(plot_history, rows, title="resnet20 on cifar10", kept_epoch=3)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.texts] == ["training", "validation", "weights kept, epoch 3"]
    assert all(list(axes.lines[2].get_xdata()) == [3, 3] for axes in figure.axes[:2])


def assert_nothing_overlaps(figure):
    renderer = figure.canvas.get_renderer()
    (legend,) = figure.legends
    boxes = [axes.get_tightbbox(renderer) for axes in figure.axes]
    boxes.append(legend.get_window_extent(renderer))
    for i, box in enumerate(boxes):
        assert not [other for other in boxes[:i] if box.overlaps(other)]
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1


@pytest.mark.parametrize("epochs", [1, 2, 20, 200])
def test_history_overlaps_nothing(saved, epochs):
    assert_nothing_overlaps(saved(plot_history, history(epochs), title="resnet20 on cifar10"))


@pytest.mark.parametrize("name", ["a", "runs/2025-11-25/cifar10/resnet20-with-dropout-and-a-long-name"])
@pytest.mark.parametrize("count", [1, 2, 12])
def test_comparison_overlaps_nothing(saved, count, name):
    figure = saved(plot_comparison, {f"{name}{i}": history(1 + 7 * i) for i in range(count)})
    assert_nothing_overlaps(figure)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.texts][:count] == [f"{name}{i}" for i in range(count)]


@pytest.mark.parametrize(
    "rows",
    [
        without(history(5), "val_loss", "val_accuracy"),
        without(history(5), "loss", "accuracy", "learning_rate"),
        [*history(3), *without(history(5)[3:], "val_loss")],
        [{**row, "val_loss": math.nan, "val_accuracy": None} for row in history(3)],
        [{**row, "loss": math.nan, "val_loss": math.inf} for row in history(3)],
        [{**row, "loss": 0.0, "val_loss": 0.0, "learning_rate": 0.0} for row in history(3)],
    ],
    ids=["no validation", "no training", "part of it", "nan and none", "no finite loss", "zero"],
)
@pytest.mark.parametrize("function", [plot_history, plot_comparison])
def test_missing_values_are_left_out(saved, function, rows):
    figure = saved(plot_history, rows, title="") if function is plot_history else saved(plot_comparison, {"a": rows})
    assert figure.axes[1].lines
    assert_nothing_overlaps(figure)


def test_comparison_has_the_scale_of_all_its_runs(saved):
    figure = saved(plot_comparison, {"a": history(2, 2.0, 1.0), "b": history(30, 4.0, 0.01)})
    loss = figure.axes[0]
    assert loss.get_yscale() == "log"
    assert ticks(loss.yaxis) == ["0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1", "2", "5"]
    assert loss.get_xlim()[1] >= 30


@pytest.mark.parametrize("name", ["a $x", "$\\frac{$", "_hidden", "caf\udce9", "a_b^c"])
def test_names_are_drawn_as_they_are(saved, name):
    figure = saved(plot_history, history(3), title=name)
    assert name.encode("utf-8", "backslashreplace").decode() in figure.get_suptitle()


@pytest.mark.parametrize("name", ["a $x", "$\\frac{$", "_hidden", "caf\udce9"])
def test_names_of_runs_are_in_the_legend(saved, name):
    figure = saved(plot_comparison, {name: history(3), "other": history(3)})
    texts = [text.get_text().strip() for text in figure.legends[0].get_texts()]
    assert name.encode("utf-8", "backslashreplace").decode() in texts


def test_picture_without_an_ending_is_a_png(tmp_path):
    plot_history(history(2), tmp_path / "picture", title="run")
    assert (tmp_path / "picture").read_bytes().startswith(b"\x89PNG")
