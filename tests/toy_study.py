"""A study that trains nothing."""

from kzoo.studies.study import Chart, Claim, Study, line, of


def toy(measure=lambda bench, settings, seed: {"loss": settings["on"] + 0.01 * seed, "curve": [1.0, 0.5]}):
    """Returns it; `measure` may say something else than the claim."""
    return Study(
        name="toy",
        title="Is it <worth> it?",
        question="Is it?",
        varies="whether it is on",
        held="the rest",
        measured="the loss",
        claims=(
            Claim(
                "It makes the loss larger.", "It does not.", of("loss", on=1), of("loss", on=0), "larger", "the loss"
            ),
        ),
        grid=lambda smoke: [{"on": on} for on in (0, 1)],
        measure=measure,
        charts=lambda rows: [Chart("loss", "The loss", "on", "loss (nats)", [line("", rows, "on", "loss")])],
        columns={"loss": "loss (nats)"},
        group=("on",),
        seeds=3,
    )
