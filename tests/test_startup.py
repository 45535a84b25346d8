import json
import os
import re
import resource
import subprocess
import sys
import timeit

import keras
import pytest

from kzoo import environment, startup
from kzoo.training.known_recipes import list_recipes

BACKENDS = ["tensorflow", "jax", "torch"]
# What `kzoo list` and `kzoo --help` have no time for.
HEAVY = [*BACKENDS, "h5py", "keras", "matplotlib", "numpy", "scipy", "sklearn"]
PROGRAM = """
import sys
sys.modules |= dict.fromkeys({absent})
sys.argv = ["kzoo", *{arguments}]
from kzoo.cli import main
try:
    main()
finally:
    print(*sorted(set(sys.modules) & set({heavy})), file=sys.stderr)
"""


def kzoo_program(*arguments, absent=(), path="", **variables):
    """Runs the `kzoo` program as its script does; the last line of standard error is what it imported of HEAVY."""
    code = PROGRAM.format(absent=list(absent), arguments=list(arguments), heavy=HEAVY)
    paths = [path, os.environ.get("PYTHONPATH", "")]
    variables = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), **variables}
    return _run_python(code, **variables)


def imported(done):
    return set(done.stderr.splitlines()[-1].split())


@pytest.fixture
def no_choice(tmp_path):
    """Variables with which nothing chooses a backend."""
    return {"KERAS_BACKEND": "", "KERAS_HOME": str(tmp_path)}


def test_check_backend_accepts_an_installed_one(settings, installed, monkeypatch):
    installed("torch", "jax")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert startup.check_backend() is None


def test_check_backend_names_the_installed_ones(settings, installed):
    installed("torch", "jax")
    with pytest.raises(ImportError) as error:
        startup.check_backend()
    assert str(error.value) == (
        "Keras's backend is 'tensorflow' (Keras's default), which is not installed. "
        "Installed: jax, torch. Choose one: KERAS_BACKEND=jax or KERAS_BACKEND=torch"
    )


def test_check_backend_says_what_to_install_where_there_is_none(settings, installed):
    installed()
    with pytest.raises(ImportError, match=re.escape('Installed: none. Install one: pip install "kzoo[torch]"')):
        startup.check_backend()


@pytest.mark.parametrize("name", ["pytorch", "numpy", "openvino"])
def test_check_backend_refuses_other_backends(settings, installed, monkeypatch, name):
    installed("torch")
    monkeypatch.setenv("KERAS_BACKEND", name)
    message = f"must be 'tensorflow', 'jax' or 'torch'. Received: '{name}' (KERAS_BACKEND). Installed: torch. Choose"
    with pytest.raises(ImportError, match=re.escape(message)):
        startup.check_backend()


def test_check_backend_is_not_fooled_by_a_folder_of_that_name(settings, monkeypatch, tmp_path):
    for name in environment.BACKENDS:
        (tmp_path / name).mkdir()
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(ImportError, match="Installed: none"):
        startup.check_backend()


@pytest.mark.parametrize(
    ("argv", "orig_argv"),
    [(["/usr/bin/kzoo"], ["python", "/usr/bin/kzoo"]), (["-m"], ["python", "-X", "dev", "-m", "kzoo.doctor"])],
)
def test_check_backend_leaves_the_kzoo_program_without_a_traceback(settings, installed, monkeypatch, argv, orig_argv):
    installed("torch")
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "orig_argv", orig_argv)
    with pytest.raises(SystemExit, match=r"^kzoo: Keras's backend is 'tensorflow'"):
        startup.check_backend()


@pytest.mark.parametrize(("argv", "orig_argv"), [(["-m"], ["python", "-m", "pytest"]), (["-m"], ["python"]), ([], [])])
def test_check_backend_raises_in_any_other_program(settings, installed, monkeypatch, argv, orig_argv):
    installed("torch")
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "orig_argv", orig_argv)
    with pytest.raises(ImportError):
        startup.check_backend()


def test_import_kzoo_checks_the_backend_first():
    done = _run_python("import kzoo", KERAS_BACKEND="pytorch")
    assert done.stderr.splitlines()[-1].startswith("ImportError: Keras's backend must be 'tensorflow', 'jax' or")


def test_kzoo_program_says_it_in_one_line():
    done = _run_python("import sys; sys.argv = ['bin/kzoo']; import kzoo; kzoo.fit", KERAS_BACKEND="pytorch")
    assert done.returncode == 1
    assert re.fullmatch(r"kzoo: Keras's backend must be .* Choose one: KERAS_BACKEND=.*\n", done.stderr)


def test_check_backend_costs_little(settings, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", environment.installed_backends()[0])
    assert min(timeit.repeat(startup.check_backend, number=1, repeat=5)) < 0.005


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--help"], "Usage: kzoo"),
        (["train", "--help"], "default|fast|akamaster|he2015"),
        (["list"], "wide_resnet28_10"),
        (["list", "--json"], '"resnet20"'),
        (["--version"], "0."),
    ],
    ids=" ".join,
)
def test_program_starts_without_a_backend_and_without_keras(arguments, expected, no_choice):
    done = kzoo_program(*arguments, absent=BACKENDS, COLUMNS="200", **no_choice)
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout
    assert imported(done) - set(BACKENDS) == set()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["preset", "list"], "akamaster_resnet20"),
        (["recipe", "show", "he2015"], "milestones"),
        (["data", "info", "digits"], "images.test: 359"),
    ],
    ids=" ".join,
)
def test_command_that_builds_no_model_does_not_wait_for_keras(arguments, expected):
    done = kzoo_program(*arguments, COLUMNS="200")
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout
    assert imported(done) & {"keras", *BACKENDS} == set()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("kzoo train wide", {"wide_resnet16_4", "wide_resnet28_10"}),
        ("kzoo train resnet20 --recipe ", set(list_recipes())),
        ("kzoo train resnet20 --precision ", {"float32", "mixed_bfloat16", "float64"}),
        ("kzoo evaluate run --split ", {"train", "validation", "test"}),
        ("kzoo export run --format ", {"saved_model", "onnx", "litert", "openvino"}),
        ("kzoo export run --quantize ", {"int8", "float16"}),
        ("kzoo serve exports --runtime ", {"openvino", "onnxruntime", "litert", "tensorflow"}),
        ("kzoo serve exports --log-format ", {"text", "json"}),
        ("kzoo import file --layout ", {"akamaster", "chenyaofo", "pytorchcv"}),
        ("kzoo study ", {"capacity", "early_stopping", "dropout", "batch_norm", "residual", "all"}),
        ("kzoo parity record out.npz --device ", {"cpu", "gpu"}),
        ("kzoo parity record out.npz --dtype ", {"float32", "float64"}),
    ],
)
def test_completion_lists_every_choice(words, expected, no_choice):
    asked = {"_KZOO_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = kzoo_program(absent=BACKENDS, **asked, **no_choice)
    assert set(done.stdout.split()) == expected
    assert imported(done) - set(BACKENDS) == set()


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["--version"]], ids=" ".join)
def test_program_starts_in_little_time(arguments):
    def seconds(run):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def bare():
        subprocess.run([sys.executable, "-c", "import typer.main, rich.console, json, inspect"], check=True)

    # In turns: what else the machine does makes both longer.
    times = [(seconds(lambda: kzoo_program(*arguments)), seconds(bare)) for _ in range(5)]
    assert min(program for program, _ in times) < max(0.3, 3 * min(other for _, other in times))


def test_program_without_a_backend_says_what_to_install(no_choice):
    done = kzoo_program("describe", "resnet20", absent=BACKENDS, **no_choice)
    assert done.returncode == 1
    assert "kzoo: Keras's backend is 'tensorflow' (Keras's default), which is not installed." in done.stderr
    assert "Install one: pip install" in done.stderr
    assert "Traceback" not in done.stderr


def test_program_as_a_module_without_a_backend_says_it_in_one_line(no_choice):
    done = _run_module("kzoo.cli", "describe", "resnet20", **{**no_choice, "KERAS_BACKEND": "pytorch"})
    assert re.fullmatch(r"kzoo: Keras's backend must be .* Choose one: KERAS_BACKEND=.*\n", done.stderr)


def test_script_finds_every_class_of_kzoo_in_keras_register():
    names = ["Add", "BatchNorm", "Conv2D", "Dropout", "HeNormal", "Model", "PixelNormalization", "SGD", "StepSchedule"]
    code = "import json, keras, kzoo; print([n for n in {} if not keras.saving.get_registered_object('kzoo>' + n)])"
    assert _run_python(code.format(names)).stdout.strip() == "[]"


def test_script_loads_a_model_of_kzoo_after_importing_it_alone(tmp_path):
    import kzoo

    kzoo.resnet(8, input_shape=(8, 8, 3)).save(tmp_path / "model.keras")
    code = f"import kzoo, keras; print(keras.saving.load_model({str(tmp_path / 'model.keras')!r}).name)"
    done = _run_python(code)
    assert done.stdout.strip().splitlines()[-1] == "resnet8", done.stderr


def test_program_has_every_class_in_keras_register_once_it_uses_a_name():
    names = ["Add", "BatchNorm", "Conv2D", "Dropout", "HeNormal", "Model", "PixelNormalization", "SGD", "StepSchedule"]
    code = "import sys; sys.argv = ['kzoo']; import kzoo; print('keras' in sys.modules); kzoo.Run; import keras; "
    code += f"print([n for n in {names} if not keras.saving.get_registered_object('kzoo>' + n)])"
    assert _run_python(code).stdout.split() == ["False", "[]"]


@pytest.mark.parametrize(("name", "lazy"), [("kzoo.cli", True), ("kzoo.doctor", True), ("kzoo.export.worker", False)])
def test_programs_that_load_models_have_keras_from_the_start(name, lazy, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["-m"])
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", name])
    assert startup.is_kzoo_program()
    assert startup.may_start_without_keras() is lazy


def test_program_evaluates_a_run_in_a_process_of_its_own(tmp_path):
    run = str(tmp_path / "run")
    small = ["--image-size", "8", "--json"]
    trained = kzoo_program("train", "resnet8", "--epochs", "1", "--patience", "0", "--run", run, *small)
    assert trained.returncode == 0, trained.stderr
    evaluated = kzoo_program("evaluate", run, "--json")
    assert json.loads(evaluated.stdout)["accuracy"] == json.loads(trained.stdout)["test_accuracy"], evaluated.stderr


@pytest.mark.parametrize(
    "code",
    [
        "import kzoo.folding.fold; print(kzoo.folding.fold.fold_batch_norm is kzoo.fold_batch_norm)",
        "from kzoo import *; print(resnet20().name == 'resnet20' and callable(fit))",
        "import kzoo; print(set(kzoo.__all__) <= set(dir(kzoo)))",
        "import kzoo, pickle; print(pickle.loads(pickle.dumps(kzoo.Augmentation())) == kzoo.Augmentation())",
        "import kzoo, pydoc; print('resnet110' in pydoc.render_doc(kzoo))",
        "import kzoo; print(not hasattr(kzoo, 'nothing'))",
    ],
)
@pytest.mark.parametrize("program", ["script.py", "kzoo"])
def test_names_are_there_at_once_and_at_first_use(code, program):
    done = _run_python(f"import sys; sys.argv = [{program!r}]; {code}")
    assert done.stdout.splitlines()[-1:] == ["True"], done.stderr


@pytest.mark.parametrize(
    ("names", "variable", "setting", "said"),
    [
        (["tensorflow", "torch"], "", None, "KERAS_BACKEND=torch"),
        (["tensorflow", "jax", "torch"], "", "tensorflow", "KERAS_BACKEND=jax or KERAS_BACKEND=torch"),
        (["tensorflow"], "", None, None),
        (["tensorflow", "torch"], "tensorflow", None, None),
        (["tensorflow", "torch"], "torch", None, None),
        (["tensorflow", "torch"], "", "torch", None),
    ],
)
def test_default_that_nobody_asked_for_is_told(settings, installed, monkeypatch, names, variable, setting, said):
    installed(*names)
    monkeypatch.setenv("KERAS_BACKEND", variable)
    if setting:
        settings.write_text(json.dumps({"backend": setting}))
    remark = startup.backend_remark()
    assert remark is None if said is None else remark.endswith(f"another backend that is installed: {said}")


def test_program_tells_of_the_default_and_a_script_does_not(tmp_path, no_choice):
    for name in ("keras", *BACKENDS):
        (tmp_path / "fake" / name).mkdir(parents=True)
        (tmp_path / "fake" / name / "__init__.py").write_text("raise OSError('torn')")
    said = "runs on tensorflow, Keras's default. "
    variables = {**no_choice, "PYTHONPATH": os.pathsep.join([str(tmp_path / "fake"), *sys.path])}
    assert said in _run_python("import sys; sys.argv = ['kzoo']; import kzoo; kzoo.fit", **variables).stderr
    assert said not in _run_python("import kzoo; kzoo.fit", **variables).stderr


def test_process_is_tuned_before_keras_is_imported():
    code = "import sys, kzoo.acceleration.process as p; print(p.is_asked_for(), 'keras' in sys.modules)"
    assert _run_python(f"import sys; sys.argv = ['kzoo']; {code}").stdout.split() == ["True", "False"]


def test_only_backend_is_taken_where_nothing_chooses(settings, installed, monkeypatch):
    monkeypatch.setattr(environment, "taken_backend", None)
    installed("jax")
    startup.take_only_backend()
    assert environment.backend_choice() == ("jax", "the only one installed")
    assert environment.backend_was_taken()
    assert startup.check_backend() is None


def test_only_backend_is_taken_where_the_settings_name_another(settings, installed, monkeypatch):
    monkeypatch.setattr(environment, "taken_backend", None)
    settings.write_text(json.dumps({"backend": "tensorflow"}))
    installed("torch")
    startup.take_only_backend()
    assert environment.backend_choice().name == "torch"


@pytest.mark.parametrize(
    ("names", "variable", "setting", "choice"),
    [
        (["tensorflow"], "", None, ("tensorflow", "Keras's default")),
        (["jax", "torch"], "", None, ("tensorflow", "Keras's default")),
        (["tensorflow", "torch"], "", None, ("tensorflow", "Keras's default")),
        (["jax"], "torch", None, ("torch", "KERAS_BACKEND")),
        ([], "", None, ("tensorflow", "Keras's default")),
    ],
)
def test_backend_is_left_to_keras_where_one_is_chosen_or_several_are_there(
    settings, installed, monkeypatch, names, variable, setting, choice
):
    monkeypatch.setattr(environment, "taken_backend", None)
    monkeypatch.setenv("KERAS_BACKEND", variable)
    installed(*names)
    startup.take_only_backend()
    assert environment.backend_choice() == choice


def test_backend_of_the_settings_is_left_where_it_is_the_only_one(settings, installed, monkeypatch):
    monkeypatch.setattr(environment, "taken_backend", None)
    settings.write_text(json.dumps({"backend": "torch"}))
    installed("torch")
    startup.take_only_backend()
    assert environment.backend_choice() == ("torch", str(settings))


def test_program_takes_the_only_backend_and_doctor_says_so(no_choice):
    backend = keras.config.backend()
    done = kzoo_program("doctor", "--json", absent=sorted({*BACKENDS} - {backend}), **no_choice)
    report = json.loads(done.stdout)
    expected = "Keras's default" if backend == "tensorflow" else "the only one installed"
    assert (report["backend"]["name"], report["backend"]["chosen_by"]) == (backend, expected)
    assert report["environment"].get("KERAS_BACKEND", "") == ""


def test_script_does_not_take_the_only_backend(no_choice):
    done = _run_python("import sys; sys.modules['tensorflow'] = None; import kzoo", **no_choice)
    assert done.stderr.splitlines()[-1].startswith("ImportError: Keras's backend is 'tensorflow' (Keras's default)")


def test_tensorflow_is_imported_without_its_banner(tmp_path, no_choice):
    fake = tmp_path / "fake" / "tensorflow"
    fake.mkdir(parents=True)
    banner = "I0000 port.cc:153] oneDNN custom operations are on. You may see slightly different results."
    (fake / "__init__.py").write_text(f"import os\nos.write(2, b'{banner}\\nwhat counts\\n')\nraise OSError('torn')")
    done = kzoo_program("doctor", path=str(tmp_path / "fake"), **{**no_choice, "KERAS_BACKEND": "tensorflow"})
    assert "what counts" in done.stderr
    assert "oneDNN" not in done.stderr
    assert "Received: OSError: torn" in done.stdout.replace("\n", " ")


def test_gpus_are_hidden_from_a_recording_on_the_cpu_before_keras_looks_for_them(tmp_path):
    fake = tmp_path / "fake" / "keras"
    fake.mkdir(parents=True)
    (fake / "__init__.py").write_text("import os\nraise OSError('sees ' + os.environ['CUDA_VISIBLE_DEVICES'])")
    arguments = ["parity", "record", str(tmp_path / "out.npz"), "--device", "cpu"]
    done = kzoo_program(*arguments, path=str(tmp_path / "fake"), CUDA_VISIBLE_DEVICES="0")
    assert "kzoo: sees -1" in done.stderr.splitlines()


def test_program_says_nothing_of_its_own_on_standard_error():
    done = kzoo_program("describe", "plain20", TF_CPP_MIN_LOG_LEVEL="")
    assert len(done.stderr.splitlines()) == 1, done.stderr  # that of this test


def test_doctor_works_without_a_backend(no_choice):
    done = kzoo_program("doctor", absent=BACKENDS, COLUMNS="500", **no_choice)
    assert done.returncode == 0, done.stderr
    assert "problem: Keras's backend is 'tensorflow' (Keras's default), which is not installed." in done.stdout
    assert "faster:" not in done.stdout


def test_doctor_works_where_the_backend_cannot_be_imported(tmp_path, no_choice):
    # Two are installed and none is chosen: Keras takes TensorFlow.
    for name in ("tensorflow", "jax"):
        (tmp_path / "fake" / name).mkdir(parents=True)
        (tmp_path / "fake" / name / "__init__.py").write_text("raise OSError('libcuda.so: no such file')")
    done = kzoo_program("doctor", "--json", path=str(tmp_path / "fake"), **no_choice)
    report = json.loads(done.stdout)
    assert (report["backend"]["name"], report["backend"]["chosen_by"]) == ("tensorflow", "Keras's default")
    assert set(report["backend"]["installed"]) >= {"tensorflow", "jax"}
    problem = "tensorflow is installed and cannot be used. Received: OSError: libcuda.so: no such file"
    assert report["problems"][0] == problem


def _run_python(code, **variables):
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=False)


def _run_module(name, *arguments, **variables):
    command = [sys.executable, "-m", name, *arguments]
    return subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=False)
