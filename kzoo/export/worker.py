"""The half of an export that needs TensorFlow, in a process of its own: `python -m kzoo.export.worker FOLDER`.

The folder is private to one export, and `kzoo.export.handover` has put there all that is needed. What is written goes
to its `result`.
"""

import json
import shutil
import sys
from pathlib import Path

from kzoo.data.images import Decoding
from kzoo.export.convert import WRITERS
from kzoo.export.handover import ARCHITECTURE, EXAMPLE, JOB, RESULT, WEIGHTS
from kzoo.export.saved_model import write_saved_model
from kzoo.export.signatures import CARD, CLASSES
from kzoo.rebuilding import rebuilt
from kzoo.recursion import deep_recursion


def main(folder: Path) -> None:
    """Builds the model anew and writes it in the format that the job names."""
    job = json.loads((folder / JOB).read_text())
    architecture = json.loads((folder / ARCHITECTURE).read_text())
    with deep_recursion():
        model = rebuilt(architecture, weights_bytes=(folder / WEIGHTS).stat().st_size)
        model.load_weights(folder / WEIGHTS)
        saved_model = folder / ("saved_model" if job["format"] in WRITERS else RESULT)
        decoding = Decoding(**job["decoding"])
        about = {"from_logits": job["from_logits"], "name": job["name"], "decoding": decoding}
        write_saved_model(model, saved_model, assets=folder, example=(folder / EXAMPLE).read_bytes(), **about)
        if job["format"] in WRITERS:
            result = folder / RESULT
            result.mkdir()
            WRITERS[job["format"]](model, saved_model, result, from_logits=job["from_logits"], decoding=decoding)
            for file in (CARD, CLASSES):
                shutil.copy(folder / file, result)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
