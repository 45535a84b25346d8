import json

import keras
from commands import printed_json


def test_doctor_reports_the_backend():
    assert keras.backend.backend() in json.dumps(printed_json("doctor"))
