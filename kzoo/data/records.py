"""From arrays to the record files and metadata of tensorflow-datasets, without TensorFlow."""

import contextlib
import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kzoo.data.dataset import Parts
from kzoo.data.images import Images
from kzoo.data.originals import Original
from kzoo.data.split import Split


def write_records(parts: Parts, original: Original | None, version: str, folder: Path, *, progress: bool) -> Path:
    """Writes a dataset as `array_record` files of PNG images.

    Args:
        parts: `Parts` to write.
        original: `Original` whose ids and superclass labels to write, or `None` for a user's own images.
        version: String, version to give the dataset, for example `"1.0.0"`.
        folder: Path of an existing folder to write in.
        progress: Boolean, whether to show progress on the standard error stream.

    Returns:
        Path of the directory written, `folder/name/version`.
    """
    import tensorflow_datasets as tfds
    from tqdm import tqdm

    splits = {"train": parts.train, "validation": parts.validation, "test": parts.test}
    superclasses = original.superclasses if original else None
    superclass_of = {name: superclass for superclass, names in (superclasses or {}).items() for name in names}
    id_digits = original.id_digits if original else 6

    class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
        """Describes the dataset and yields its examples, as every builder of tensorflow-datasets does."""

        name = parts.name
        VERSION = tfds.core.Version(version)

        def _info(self) -> Any:
            features = {
                "id": tfds.features.Text(),
                "image": tfds.features.Image(shape=parts.train.image_shape),
                "label": tfds.features.ClassLabel(names=parts.class_names),
            }
            if superclasses:
                features["coarse_label"] = tfds.features.ClassLabel(names=list(superclasses))
            return tfds.core.DatasetInfo(
                builder=self,
                description=f"{parts.name}, prepared by kzoo.",
                features=tfds.features.FeaturesDict(features),
                supervised_keys=("image", "label"),
                homepage=original.homepage if original else None,
            )

        def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
            del dl_manager
            return {name: self._generate_examples(name, split) for name, split in splits.items() if split is not None}

        def _generate_examples(self, name: str, split: Split) -> Iterator[tuple[int, dict[str, Any]]]:
            # The order in the files is drawn from these keys, so it is that of the stock dataset.
            images = itertools.chain.from_iterable(split.chunks())
            for key, (image, label) in enumerate(zip(images, split.labels.tolist(), strict=True)):
                example = {"id": f"{name}_{key:0{id_digits}d}", "image": _png(image), "label": label}
                if superclasses:
                    example["coarse_label"] = superclass_of[parts.class_names[label]]
                yield key, example
                bar.update()

    total = sum(len(split) for split in splits.values() if split is not None)
    # Shown on a terminal only, where it takes more than a second.
    hidden = None if progress else True
    with _quiet(), tqdm(total=total, desc="writing", unit=" images", disable=hidden, delay=1) as bar:
        builder = Builder(data_dir=str(folder), file_format="array_record")
        builder.download_and_prepare()
    return Path(builder.data_dir)


def _png(image: Images) -> io.BytesIO:
    # An open file of bytes that are PNG already is stored as it is; an array would be encoded by TensorFlow.
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, "PNG")
    file.seek(0)
    return file


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps back what tensorflow-datasets prints and its bars, which are about a folder that is renamed."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.utils import tqdm_utils

    were_shown = not isinstance(tqdm_utils.tqdm(disable=True), tqdm_utils.EmptyTqdm)
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        if were_shown:
            tfds.enable_progress_bar()
