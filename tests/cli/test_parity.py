import json

import pytest
from commands import kzoo_command, printed_json

QUICK = ["--image-size", "8", "--steps", "1", "--model", "resnet8", "--dropout", "0"]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings")
    for name, options in (("a", []), ("b", []), ("other", ["--seed", "1"])):
        result = kzoo_command("parity", "record", folder / f"{name}.npz", *QUICK, *options)
        assert f"{name}.npz: " in result.output.replace("\n", "")
    return folder


def test_parity_compare_passes_what_agrees(recordings, tmp_path):
    command = ("parity", "compare", recordings / "a.npz", recordings / "b.npz")
    result = kzoo_command(*command, "--report", tmp_path / "report.md")
    assert result.exit_code == 0
    assert "All within tolerance." in result.output
    assert (tmp_path / "report.md").read_text().startswith("# resnet8 on digits: a, b")
    assert printed_json(*command)["passed"] is True


def test_parity_compare_exits_with_1_where_a_recording_differs(recordings, tmp_path):
    from kzoo.parity import Recording

    damaged = Recording.load(recordings / "a.npz")
    damaged.arrays["losses/step 1"][...] = 0.5
    damaged.save(tmp_path / "damaged.npz")
    result = kzoo_command("parity", "compare", recordings / "a.npz", tmp_path / "damaged.npz", "--json")
    assert result.exit_code == 1
    rows = {row["quantity"]: row for row in json.loads(result.stdout)["rows"]}
    assert (rows["losses"]["passed"], rows["losses"]["where"]) == (False, "step 1")


def test_parity_compare_tells_files_of_one_name_apart(recordings, tmp_path):
    (tmp_path / "a.npz").write_bytes((recordings / "a.npz").read_bytes())
    names = list(printed_json("parity", "compare", recordings / "a.npz", tmp_path / "a.npz")["recordings"])
    assert names == [str(recordings / "a.npz"), str(tmp_path / "a.npz")]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("compare", "a.npz", "other.npz"), ValueError, "seed is 0 in a, 1 in other"),
        (("compare", "a.npz", "gone.npz"), FileNotFoundError, "gone.npz, no file"),
        (("compare", "a.npz"), ValueError, "Expected two recordings or more"),
        (("record", "a.txt"), ValueError, "path must end in '.npz'"),
    ],
)
def test_parity_says_what_is_wrong(recordings, arguments, error, message):
    command, *files = arguments
    with pytest.raises(error, match=message):
        kzoo_command("parity", command, *(recordings / file for file in files))


def test_parity_compare_checks_the_report_before_it_compares(recordings):
    with pytest.raises(ValueError, match="must end in '.md'"):
        kzoo_command("parity", "compare", recordings / "a.npz", recordings / "gone.npz", "--report", "report.txt")
