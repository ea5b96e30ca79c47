"""Effects beside noise: what is in a page of a report's own figures."""

import json
from types import SimpleNamespace

import pytest

from steps.schema import Arm
from steps.study import effects, stats


def arm(values, base=None):
    told = {"mean": sum(values) / len(values), "seeds": dict(zip("012", values, strict=False))}
    if base is not None:
        differences = [v - b for v, b in zip(values, base, strict=False)]
        told["minus_none"] = stats.plain(differences, 0.95)
    return told


@pytest.fixture
def params():
    arms = {"none": {"method": "none"}, "sft": {"method": "sft"}, "dpo": {"method": "dpo"}}
    arms["sighted"] = {"method": "sft", "seeds": 1}
    return SimpleNamespace(
        study=SimpleNamespace(name="s", title="A study"),
        seeds=[0, 1, 2],
        arms={name: Arm(**told) for name, told in arms.items()},
        report=SimpleNamespace(power=0.8, confidence=0.95),
    )


def row(**told):
    base = [50.0, 52.0, 54.0]
    arms = {"none": arm(base), "sft": arm([53.0, 55.1, 56.9], base), "dpo": arm([50, 53, 53], base)}
    arms["sighted"] = arm([60.0], base)
    beside = {"original": {"mean": 41.0, "seeds": {"0": 41.0}}}
    return {"label": "right", "inner": False, "arms": arms, "baselines": beside} | told


def test_differences_noise_and_what_could_be_found(params, tmp_path):
    groups = [
        {"title": "Answers", "unit": "points", "rows": [row(), row(label="a", inner=True)]},
        {"title": "Drift", "unit": "its own", "rows": [row(label="layer1", inner=True)]},
    ]
    (tmp_path / "report").mkdir()
    told = json.dumps({"results": {"b": groups}})
    (tmp_path / "report" / "summary.json").write_text(told)
    text = effects.write(params, tmp_path, "b", tmp_path).read_text()
    lines = [line for line in text.splitlines() if line.startswith("| right")]
    assert len(lines) == 1 and "| a |" not in text and "| layer1 |" in text
    cells = [cell.strip() for cell in lines[0].split("|")[1:-1]]
    sd = stats.pooled([[3.0, 3.1, 2.9], [0.0, 1.0, -1.0]])
    assert cells[:3] == ["right", "52.0", "41.0"]
    assert float(cells[3]) == pytest.approx(sd, abs=0.006)
    assert float(cells[4]) == pytest.approx(stats.smallest(sd, 3, 0.8, 0.95), abs=0.006)
    assert cells[5:] == ["+3.00 *", "0.00", "+10.00"]  # one seed has no interval
    assert "of 2 rows that scatter x 2 arms" in text.replace("\n", " ")


def test_a_study_without_a_report_is_named(params, tmp_path):
    with pytest.raises(FileNotFoundError, match="summary.json"):
        effects.write(params, tmp_path, "b", tmp_path)
