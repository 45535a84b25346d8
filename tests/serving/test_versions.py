"""Versions that come and go while the server answers."""

import asyncio
import json
import shutil
import threading
import time

import numpy as np
import pytest
from needs import SERVER, skip_without
from tiny_exports import images_of, logits_of, write_export

from kzoo.serving import Limits

V1 = "/v1/models/tiny:predict"
IMAGES = images_of(2)


@pytest.fixture(autouse=True)
def needed():
    skip_without(*SERVER)


def repository(folder, **options):
    from kzoo.serving.metrics import Metrics
    from kzoo.serving.repository import Repository

    return Repository(folder, Limits(), Metrics(), threads=1, **options)


def in_loop(use, folder, **options):
    """Runs `use(repository)`, once what is there is loaded."""

    async def run():
        one = repository(folder, **options)
        try:
            await one.open()
            return await use(one)
        finally:
            await one.close()

    return asyncio.run(run())


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_folder_may_be_a_version_a_model_or_many(depth, tmp_path):
    path = write_export(tmp_path)
    given = (path, path.parent, tmp_path)[depth]

    async def models(one):
        return one.models

    assert in_loop(models, given) == {"tiny": [1]}


def test_newest_versions_alone_are_loaded_where_that_is_asked_for(tmp_path):
    for version in (2, 9, 10):
        write_export(tmp_path, version=version, scale=version)
    write_export(tmp_path, "other", 1)

    async def look(one):
        outputs = await one.get("tiny").answerer.answer(IMAGES)
        return one.models, outputs["logits"]

    models, logits = in_loop(look, tmp_path, versions=2)
    assert models == {"tiny": [9, 10], "other": [1]}
    np.testing.assert_allclose(logits, logits_of(IMAGES, 10), rtol=1e-4)


def test_version_that_answers_otherwise_than_when_it_was_written_is_not_served(tmp_path):
    write_export(tmp_path)
    write_export(tmp_path, version=2, wrong=0.5)

    async def look(one):
        return one.models, one.states["tiny", 2]

    models, state = in_loop(look, tmp_path)
    assert models == {"tiny": [1]}
    assert state.state == "END"
    assert "must answer as it did when it was written" in state.error


def test_nothing_but_a_damaged_version_is_an_error(tmp_path):
    write_export(tmp_path, wrong=0.5)
    with pytest.raises(ValueError, match=r"Received: a difference of .* for example 0 \(openvino\)"):
        in_loop(None, tmp_path)
    with pytest.raises(FileNotFoundError, match="Expected an export for servers"):
        in_loop(None, tmp_path / "none")


def with_card(path, **changes):
    """Changes what the card of an export says."""
    card = json.loads((path / "card.json").read_text())
    (path / "card.json").write_text(json.dumps({**card, **changes}))


WRONG_SIZE = {"image_size": [2, 2], "decoding": {"image_size": [2, 2]}}


def test_version_whose_card_names_another_size_is_not_served_and_the_others_are(tmp_path):
    write_export(tmp_path)
    with_card(write_export(tmp_path, version=2), **WRONG_SIZE)
    write_export(tmp_path, version=3)

    async def look(one):
        return one.models, one.states["tiny", 2]

    models, state = in_loop(look, tmp_path)
    assert models == {"tiny": [1, 3]}
    assert state.state == "END"
    assert "must hold a model for images of 2x2x3, as its card says. Received: " in state.error


def test_nothing_but_a_version_of_another_size_is_an_error(tmp_path):
    with_card(write_export(tmp_path), **WRONG_SIZE)
    with pytest.raises(ValueError, match="must hold a model for images of 2x2x3, as its card says"):
        in_loop(None, tmp_path)


def test_watch_goes_on_whatever_a_version_raises(tmp_path, monkeypatch, caplog):
    from kzoo.serving import repository as module

    caplog.set_level("INFO", "kzoo.serving")  # whatever other tests have made of the root's level
    write_export(tmp_path)

    def load(path, runtime):
        if path.name == "2":
            raise RuntimeError
        return load_export(path, runtime)

    load_export = module.load_export
    monkeypatch.setattr(module, "load_export", load)

    async def use(one):
        looks = [OSError("no disk"), RuntimeError("odd")]
        look = one.look

        async def sometimes():
            if looks:
                raise looks.pop()
            return await look()

        one.look = sometimes
        watching = asyncio.create_task(one.watch(0.01))
        write_export(tmp_path, version=2)
        write_export(tmp_path, version=3)
        shutil.rmtree(tmp_path / "tiny" / "1")
        for _ in range(500):
            await asyncio.sleep(0.02)
            if one.models == {"tiny": [3]}:
                break
        watching.cancel()
        return one.models, one.states["tiny", 2]

    models, state = in_loop(use, tmp_path)
    assert models == {"tiny": [3]}
    assert (state.state, state.error) == ("END", "RuntimeError")
    assert caplog.text.count("cannot be looked at") == 2
    assert caplog.text.count("Version 2 of tiny is not served. RuntimeError") == 1


def test_damaged_card_at_first_is_an_error(tmp_path):
    path = write_export(tmp_path)
    (path / "card.json").write_text("[]")
    with pytest.raises(ValueError, match=r"card.json must be a card that `kzoo export` wrote"):
        in_loop(None, path)


def test_version_in_the_making_is_taken_once_it_is_whole(tmp_path):
    write_export(tmp_path)

    async def use(one):
        half = tmp_path / "tiny" / "2"
        half.mkdir()
        await one.look()
        assert one.models == {"tiny": [1]}
        whole = write_export(tmp_path / "other place", version=2, scale=2)
        shutil.copy(whole / "card.json", half)
        assert len(await one.look()) == 1
        assert one.models == {"tiny": [1]}
        assert await one.look() == []  # told once
        for file in whole.iterdir():
            shutil.copy(file, half)
        await one.look()
        return one.models

    assert in_loop(use, tmp_path) == {"tiny": [1, 2]}


def test_version_that_is_gone_finishes_its_requests(tmp_path):
    write_export(tmp_path)
    write_export(tmp_path, version=2)

    async def use(one):
        with one.used("tiny", "1") as loaded:
            shutil.rmtree(tmp_path / "tiny" / "1")
            await one.look()
            assert one.models == {"tiny": [2]}
            await asyncio.sleep(0.05)
            assert one.states["tiny", 1].state == "UNLOADING"
            outputs = await loaded.answerer.answer(IMAGES)
        for _ in range(100):
            await asyncio.sleep(0.02)
            if one.states["tiny", 1].state == "END":
                return outputs["logits"]
        raise TimeoutError

    np.testing.assert_allclose(in_loop(use, tmp_path), logits_of(IMAGES), rtol=1e-4)


def answerer_of(predict, limits):
    """An `Answerer` of a model that is a function, and what it was asked about."""
    import concurrent.futures
    import types

    from kzoo.serving.answering import Answerer
    from kzoo.serving.metrics import Metrics

    asked = []

    def answer(images):
        asked.append(len(images))
        return predict(images)

    pool = concurrent.futures.ThreadPoolExecutor(1)
    return Answerer(types.SimpleNamespace(answer=answer), limits, pool, 1, Metrics()), asked, pool


def slowly(images):
    time.sleep(0.05)
    return {"logits": images.astype(np.float32).mean(axis=(1, 2))}


def test_requests_that_wait_are_computed_together_and_not_crossed():
    async def run():
        answerer, asked, pool = answerer_of(slowly, Limits(together=4))
        images = images_of(10)
        answers = await asyncio.gather(*[answerer.answer(images[i : i + 1]) for i in range(10)])
        floats = await asyncio.gather(answerer.answer(images[:1]), answerer.answer(images[:1].astype(np.float32)))
        await answerer.close()
        pool.shutdown()
        return asked, [one["logits"][0] for one in answers], images, floats

    asked, logits, images, floats = asyncio.run(run())
    np.testing.assert_allclose(logits, images.astype(np.float32).mean(axis=(1, 2)))
    assert max(asked) == 4
    assert sum(asked) == 12
    assert asked[-2:] == [1, 1]  # uint8 and float32 go apart
    assert len(floats) == 2


def test_request_larger_than_a_batch_is_computed_alone():
    async def run():
        answerer, asked, pool = answerer_of(slowly, Limits(together=2))
        await asyncio.gather(
            answerer.answer(images_of(5)), answerer.answer(images_of(1)), answerer.answer(images_of(1))
        )
        await answerer.close()
        pool.shutdown()
        return asked

    assert sorted(asyncio.run(run())) in ([2, 5], [1, 1, 5])


def test_request_that_was_given_up_is_not_computed():
    async def run():
        answerer, asked, pool = answerer_of(slowly, Limits(together=1))
        first = asyncio.create_task(answerer.answer(images_of(1)))
        second = asyncio.create_task(answerer.answer(images_of(2)))
        await asyncio.sleep(0.02)
        second.cancel()
        await first
        await answerer.close()
        pool.shutdown()
        return asked

    assert asyncio.run(run()) == [1]


@pytest.mark.parametrize(("milliseconds", "batches"), [(0, [1, 1, 1]), (500, [2, 1])])
def test_request_waits_for_others_where_that_is_asked_for(milliseconds, batches):
    async def run():
        answerer, asked, pool = answerer_of(slowly, Limits(wait_milliseconds=milliseconds))
        images, start = images_of(3), time.monotonic()
        first = asyncio.create_task(answerer.answer(images[:1]))
        await asyncio.sleep(0.1)
        given_up = asyncio.create_task(answerer.answer(images[:2]))
        second = asyncio.create_task(answerer.answer(images[1:2]))
        await asyncio.sleep(0)
        given_up.cancel()
        answers = [await first, await second]
        seconds = time.monotonic() - start
        third = asyncio.create_task(answerer.answer(images[2:]))  # alone: its time passes, then it is computed
        answers.append(await third)
        await answerer.close()
        pool.shutdown()
        return asked, [one["logits"][0] for one in answers], images, seconds

    asked, logits, images, seconds = asyncio.run(run())
    assert asked == batches
    np.testing.assert_allclose(logits, images.astype(np.float32).mean(axis=(1, 2)))
    assert seconds >= milliseconds / 1e3


def test_end_does_not_wait_for_others():
    async def run():
        answerer, asked, pool = answerer_of(slowly, Limits(wait_milliseconds=20_000))
        answer = asyncio.create_task(answerer.answer(images_of(1)))
        closing = asyncio.create_task(answerer.close())
        await asyncio.wait_for(asyncio.gather(answer, closing), 5)
        pool.shutdown()
        return asked

    assert asyncio.run(run()) == [1]


def test_error_of_the_runtime_is_that_of_its_requests_alone():
    def sometimes(images):
        if images[0, 0, 0, 0] == 7:
            raise RuntimeError("the runtime failed")
        return slowly(images)

    async def run():
        answerer, _, pool = answerer_of(sometimes, Limits(together=1))
        bad = np.full((1, 4, 5, 3), 7, np.uint8)
        answers = await asyncio.gather(
            answerer.answer(bad), answerer.answer(images_of(1)), answerer.answer(bad), return_exceptions=True
        )
        await answerer.close()
        pool.shutdown()
        return answers

    answers = asyncio.run(run())
    assert [isinstance(answer, RuntimeError) for answer in answers] == [True, False, True]


def test_new_version_takes_over_and_the_old_one_goes_without_losing_a_request(tmp_path, run_server):
    folder = tmp_path / "served"
    write_export(folder)
    body = json.dumps({"instances": IMAGES.tolist()})
    stop = threading.Event()
    answers = []

    def ask(server):
        while not stop.is_set():
            status, _, content = server.whole("POST", V1, body)
            answers.append((status, json.loads(content)))

    def until(server, versions):
        end = time.monotonic() + 30
        while time.monotonic() < end:
            if server.request("GET", "/v2/models/tiny")[1]["versions"] == versions:
                return
            time.sleep(0.05)
        pytest.fail(f"not {versions}: {server.said()[-2000:]}")

    with run_server(folder, "--watch") as server:
        threads = [threading.Thread(target=ask, args=(server,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        write_export(folder, version=2, scale=2)
        write_export(folder, version=3, wrong=1)  # which is not taken
        until(server, ["1", "2"])
        shutil.rmtree(folder / "tiny" / "1")
        until(server, ["2"])
        time.sleep(0.3)
        stop.set()
        for thread in threads:
            thread.join()
        states = server.request("GET", "/v1/models/tiny")[1]["model_version_status"]
    assert {status for status, _ in answers} == {200}
    found = [np.round(answer["predictions"][0]["logits"][0] / logits_of(IMAGES)[0, 0], 3) for _, answer in answers]
    assert {1.0, 2.0} == set(found)
    assert [(one["version"], one["state"]) for one in states] == [("3", "END"), ("2", "AVAILABLE"), ("1", "END")]
    assert "could not be loaded" in states[0]["status"]["error_message"]
