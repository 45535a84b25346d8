from commands import kzoo_command, printed_json

import kzoo


def test_list_prints_the_models():
    assert printed_json("list") == kzoo.list_models()
    assert kzoo_command("list").stdout.split() == kzoo.list_models()


def test_list_takes_a_pattern_and_those_with_presets():
    assert printed_json("list", "*_v2") == [name for name in kzoo.list_models() if name.endswith("_v2")]
    assert printed_json("list", "--pretrained", "resnet1*") == ["resnet110"]
    assert printed_json("list", "nothing*") == []


def test_describe_prints_cost_and_layers():
    description = printed_json("describe", "resnet20")
    assert (description["parameters"], description["receptive_field"]) == (269_722, 81)
    summary = kzoo_command("describe", "resnet20").stdout.splitlines()[-1]
    assert summary.startswith("resnet20: 269,722 parameters, ")
    assert summary.endswith(f"{len(description['layers'])} layers")
