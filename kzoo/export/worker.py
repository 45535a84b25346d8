"""The half of an export that needs TensorFlow, in a process of its own: `python -m kzoo.export.worker FOLDER`.

The folder is private to one export, and `kzoo.export.handover` has put there all that is needed. What is written goes
to its `result`; where that is quantized, the same in float32 goes to its `floats`.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np

from kzoo.data.images import Decoding
from kzoo.export.convert import WRITERS
from kzoo.export.handover import (
    ARCHITECTURE,
    CALIBRATION,
    EXAMPLE,
    FLOATS,
    JOB,
    NOTES,
    RESULT,
    SAVED_MODEL,
    WEIGHTS,
)
from kzoo.export.quantizers import QUANTIZERS
from kzoo.export.saved_model import write_saved_model
from kzoo.rebuilding import rebuilt
from kzoo.recursion import deep_recursion


def main(folder: Path) -> None:
    """Builds the model anew and writes it in the formats that the job names."""
    job = json.loads((folder / JOB).read_text())
    architecture = json.loads((folder / ARCHITECTURE).read_text())
    formats, quantize = job["formats"], job["quantize"]
    result, saved_model = folder / RESULT, folder / SAVED_MODEL
    floats = folder / FLOATS if quantize else result
    with deep_recursion():
        model = rebuilt(architecture, weights_bytes=(folder / WEIGHTS).stat().st_size)
        model.load_weights(folder / WEIGHTS)
        decoding = Decoding(**job["decoding"])
        about = {"from_logits": job["from_logits"], "name": job["name"], "decoding": decoding}
        write_saved_model(model, saved_model, assets=folder, example=(folder / EXAMPLE).read_bytes(), **about)
        if "saved_model" in formats:
            shutil.copytree(saved_model, result)
        for made in (result, floats):
            made.mkdir(exist_ok=True)
        notes = {}
        for name in formats:
            if name in WRITERS:
                WRITERS[name](model, saved_model, floats, from_logits=job["from_logits"], decoding=decoding)
                if quantize:
                    calibration = folder / CALIBRATION
                    images = np.load(calibration) if calibration.is_file() else np.empty(0, np.uint8)
                    notes[name] = QUANTIZERS[name, quantize](saved_model, floats, result, images)
    (folder / NOTES).write_text(json.dumps(notes))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
