import pytest

import kzoo
from kzoo.training.progress import Progress, ending

LOGS = {"accuracy": 0.73412, "loss": 12.3456, "val_accuracy": 0.7, "val_loss": 0.91234}


def printed(capsys, logs=LOGS, epochs=200, epoch=99, live=False, columns="80"):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", columns)
        progress = Progress(live)
        progress.set_params({"epochs": epochs, "steps": 67})
        progress.on_train_begin()
        progress.on_epoch_begin(epoch)
        progress.on_train_batch_end(33, {"loss": 2.0, "accuracy": 0.5})
        progress.on_epoch_end(epoch, logs)
    return capsys.readouterr().out


def test_progress_is_a_line_an_epoch(capsys):
    line = "epoch 100/200  loss 12.3 (val 0.912)  accuracy 0.734 (val 0.700)  0.0 s\n"
    assert printed(capsys) == line


def test_progress_on_a_terminal_shows_how_far_the_epoch_is(capsys):
    within, line = printed(capsys, epochs=20, epoch=2, live=True).split("\r")[1:]
    assert within.rstrip() == "epoch  3/20  step 34/67  loss 2.000  accuracy 0.500"
    assert line.startswith("epoch  3/20  loss 12.3 (val 0.912)")
    assert line.endswith("\n")
    assert len(within) == len(line) - 1 == 79


@pytest.mark.parametrize("columns", ["80", "120", "40"])
@pytest.mark.parametrize("live", [False, True])
def test_progress_fits_the_terminal(capsys, columns, live):
    logs = {**LOGS, **{f"metric{number}": float("nan") for number in range(20)}, "note": "text"}
    output = printed(capsys, logs, epochs=10_000, epoch=9_998, live=live, columns=columns)
    assert max(map(len, output.replace("\r", "\n").splitlines())) < int(columns)
    assert " s" in output
    assert ("metric0 nan" in output) is (columns == "120")
    assert "text" not in output


def test_validation_alone_is_shown(capsys):
    assert "val_other 0.500" in printed(capsys, {"loss": 1.0, "val_other": 0.5})


@pytest.mark.parametrize(
    ("run", "best", "stopped", "said"),
    [
        (9, 9, False, ""),
        (9, 7, False, "trained 9 epochs; the weights are those of epoch 7"),
        (5, 3, True, "stopped in epoch 5 of 9; the weights are those of epoch 3"),
        (5, 5, True, "stopped in epoch 5 of 9; the weights are those of epoch 5"),
        (9, None, False, "trained 9 epochs; the weights are those of no epoch"),
    ],
)
def test_ending_says_once_what_stopped(run, best, stopped, said):
    assert ending({"epochs_run": run, "best_epoch": best, "stopped_early": stopped}, 9) == said


@pytest.mark.parametrize(("verbose", "lines"), [(0, 0), (2, 3), ("auto", 3)])
def test_fit_prints_as_told(tiny, small_model, tmp_path, capsys, verbose, lines):
    recipe = kzoo.recipe("default").override(epochs=2, batch_size=16, patience=1, min_delta=100)
    with pytest.warns(UserWarning, match="cannot stop before"):
        kzoo.fit(small_model, tiny, recipe, run_dir=tmp_path / "run", verbose=verbose)
    output = capsys.readouterr().out
    assert len(output.splitlines()) == lines
    assert output.count("the weights are those of epoch 1") == (1 if lines else 0)


def test_live_progress_needs_no_terminal(tiny, small_model, tmp_path, capsys):
    recipe = kzoo.recipe("default").override(epochs=1, batch_size=16, patience=0)
    kzoo.fit(small_model, tiny, recipe, run_dir=tmp_path / "run", verbose=1)
    assert "\repoch 1/1  step 1/3" in capsys.readouterr().out
