import pytest
from commands import kzoo_command, printed_json

from kzoo.studies.study import Chart, Claim, Study, line, of


@pytest.fixture(autouse=True)
def toy(monkeypatch, tmp_path):
    """Studies that train nothing, in an empty folder."""

    def toy_of(name):
        return Study(
            name=name,
            title="Is it worth it?",
            question="Is it?",
            varies="whether it is on",
            held="the rest",
            measured="the loss",
            claims=(Claim("It costs.", "It does not.", of("loss", on=1), of("loss", on=0), "larger", "the loss"),),
            grid=lambda smoke: [{"on": on} for on in (0, 1)],
            measure=lambda bench, settings, seed: {"loss": float(settings["on"])},
            charts=lambda rows: [Chart("loss", "The loss", "on", "loss (nats)", [line("", rows, "on", "loss")])],
            columns={"loss": "loss (nats)"},
            group=("on",),
        )

    monkeypatch.setattr("kzoo.studies.running.find_study", toy_of)
    monkeypatch.chdir(tmp_path)


def test_study_prints_what_each_claim_comes_to(tmp_path):
    (found,) = printed_json("study", "dropout", "--seeds", "3", "--out", "here")
    assert (found["study"], found["verdict"]) == ("dropout", "supported")
    assert (tmp_path / found["report"]).is_file()
    assert len((tmp_path / "here" / "dropout" / "results.csv").read_text().splitlines()) == 7


def test_all_studies_are_run_each_in_its_folder(tmp_path):
    result = kzoo_command("study", "all", "--smoke", "--quiet")
    assert result.stdout == ""
    folders = {file.parent.name for file in (tmp_path / "studies").glob("*/report.html")}
    assert folders == {"capacity", "early_stopping", "dropout", "batch_norm", "residual"}


def test_study_tells_where_the_reports_are():
    result = kzoo_command("study", "residual", "--smoke")
    assert "undecided at this n" in result.stdout
    assert "reports: studies/residual/report.html" in result.stdout


def test_study_that_there_is_not_is_told(program):
    status, said = program("study", "residul")
    assert (status, "Did you mean 'residual'?" in said) == (1, True)


def test_explain_of_no_run_is_told(program):
    status, said = program("explain", "none", "a.png")
    assert (status, "Expected a run directory" in said) == (1, True)
