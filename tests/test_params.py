"""params.yaml: what is wrong with it is one sentence; what a stage may read is what it declares."""

import copy
import re
import subprocess
import sys
from pathlib import Path

import pytest

from steps import params as P
from steps.schema import METHODS, Params
from steps.study.overlay import effective, merge

ROOT = Path(__file__).parents[1]
GOOD = P.read_yaml(ROOT / "params.yaml")


def changed(place, value):
    """The committed values with one changed, added, or (for `...`) removed."""
    values = copy.deepcopy(GOOD)
    node = values
    *above, last = place.split(".")
    for part in above:
        node = node[part]
    if value is ...:
        del node[last]
    else:
        node[last] = value
    return values


IMAGES = {"name": "own", "layout": "voc", "path": "x", "size": 64, "train": 9, "test": 9}
WRONG = [
    # unknown key, wrong type, out of range, unknown method: key, value and what is allowed
    ("sft.epoch", 2, r"sft\.epoch = 2 is not a key: allowed are parts, items, targets"),
    ("spam", {}, r"spam = \{\} is not a key: allowed are study, seeds, .*report"),
    ("sft.learning_rate", "x", r"sft\.learning_rate = 'x' .* a number > 0 and <= 1"),
    ("vqa.batch", True, r"vqa\.batch = True .* a whole number >= 1"),
    ("vqa.batch", 1.5, r"vqa\.batch = 1\.5 .* a whole number >= 1"),
    ("extract.projector", "yes", r"extract\.projector = 'yes' .* true or false"),
    ("world", 3, r"world = 3 is not allowed: give a section with canvas, patch"),
    ("world.canvas", 60, r"world\.canvas = 60 .* a whole number >= 16 and a multiple of 8"),
    ("grpo.generations", 1, r"grpo\.generations = 1 .* a whole number >= 2"),
    ("pairs.mix.wrong", 2.0, r"pairs\.mix\.wrong = 2\.0 .* a number >= 0 and <= 1"),
    ("pairs.mix.wrong", 0.7, r"pairs\.mix: .* is 1\.2: it must be 1"),
    ("world.objects", [4, 1], r"world: objects is \[4, 1\]"),
    ("world.objects", [1], r"world\.objects = \[1\] .* a list of 2, each a whole number >= 1"),
    ("classify.penalties", [1.0, -1.0], r"classify\.penalties\.1 = -1\.0 .* a number > 0"),
    ("arms.sft.method", "ppo", r"arms\.sft\.method = 'ppo' .* one of none, sft, dpo, grpo"),
    ("arms.hot", {"method": "sft", "lr": 1}, r"arms\.hot\.lr = 1 is not a key: allowed are parts"),
    ("arms.hot", {"method": "sft", "epochs": -1.0}, r"arms\.hot\.epochs = -1\.0 .* > 0"),
    ("arms.hot", {"method": "none", "epochs": 1.0}, r"arms\.hot\.epochs = 1\.0: method none"),
    ("arms.none", ..., r"arms = continue, sft, dpo, grpo, .*: there must be `none"),
    ("arms.hot", {"method": "sft", "seeds": "some"}, "arms.hot.seeds = 'some' .* all or a whole"),
    ("instruments", ["eyes"], r"instruments\.0 = 'eyes' .* vqa, sharpen"),
    ("probes.images", [IMAGES | {"name": "photos"}], r"the name is one of the probes' own"),
    ("probes.images", [IMAGES, IMAGES], r"names are own, own: each set needs one of its own"),
    ("probes.images", [IMAGES | {"layout": "coco"}], r"layout = 'coco'"),
    ("classify.kinds", ["knn"], r"ridge must be among them"),
    ("swap.merges", [0.5, 0.5], r"each value at most once"),
    ("gaze.seeds", [7], r"gaze\.seeds = \[7\]: allowed are those in seeds \[0, 1, 2\]"),
    ("arms.Hot", {"method": "sft"}, r"arms\.Hot: this name may hold only lower-case"),
    ("bases.mine", {"source": "hub"}, r"bases\.mine: source is 'hub' and path None"),
    ("bases.mine", {"source": "disk"}, r"bases\.mine\.source = 'disk' .* bundled, train, hub"),
    ("seeds", [], r"seeds = \[\] .* a list of at least 1"),
    ("seeds", [1, 1], r"seeds = \[1, 1\] holds a seed twice"),
    ("diff.seeds", [7], r"diff\.seeds = \[7\]: allowed are those in seeds \[0, 1, 2\]"),
    ("vqa.items", ..., r"vqa\.items is missing: give one of vqa, tune"),
]


@pytest.mark.parametrize(("place", "value", "said"), WRONG)
def test_what_is_wrong_is_one_sentence(place, value, said):
    with pytest.raises(P.ParamsError) as error:
        P.check(changed(place, value), "params.yaml")
    assert re.search(said, str(error.value)), str(error.value)
    assert str(error.value).startswith("params.yaml: ")
    assert "\n" not in str(error.value)


def test_several_mistakes_are_counted():
    values = changed("sft.epochs", 0)
    values["dpo"]["beta"] = -1
    with pytest.raises(P.ParamsError, match=r"sft\.epochs = 0 .*\(and 1 more\)"):
        P.check(values)


def test_every_key_is_commented():
    """A comment stands right above each key, or the one above its section names the key."""
    bare, said, above = [], "", False
    section = ""
    for line in (ROOT / "params.yaml").read_text().splitlines():
        if line.strip().startswith("#"):
            said, above = (said if above else "") + line, True
            continue
        keys = re.findall(r"(\w+):", line)
        section = section if line.startswith(" ") else "".join(keys)
        free = line.startswith(" ") and section in ("bases", "arms")
        words = re.findall(r"\w+", said)
        covered = above or section == "study" == "".join(keys) or free
        bare += [f"{section}: {key}" for key in keys[covered:] if not free and key not in words]
        above = False if keys else above
    assert bare == []


def test_yaml_is_read_as_dvc_reads_it(tmp_path):
    from ruamel.yaml import YAML

    text = "a: 1e-4\nb: 3E5\nc: yes\nd: off\ne: 1.5\nf: true\ng: 12\nh: 2026-01-01\ni: .5\nj: 1_0\n"
    (tmp_path / "x.yaml").write_text(text)
    theirs = dict(YAML(typ="safe").load(text))
    ours = P.read_yaml(tmp_path / "x.yaml")
    for key in "abcdefgi":
        assert ours[key] == theirs[key] and type(ours[key]) is type(theirs[key]), key


def test_a_key_that_stands_twice_is_refused(tmp_path):
    (tmp_path / "x.yaml").write_text("a:\n  b: 1\n  b: 2\n")
    with pytest.raises(P.ParamsError, match=r"x\.yaml: line 2: key 'b' stands twice"):
        P.read_yaml(tmp_path / "x.yaml")


@pytest.mark.parametrize("text", ["a: [", "- 1\n"])
def test_what_is_no_mapping_is_refused(tmp_path, text):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(P.ParamsError, match=r"x\.yaml"):
        P.read_yaml(tmp_path / "x.yaml")


def test_a_stage_reads_what_it_declares_and_no_more():
    run = P.Run("embedded", "sft", "bundled", "hot", 0)
    params = P.check(changed("arms.hot", {"method": "sft", "learning_rate": 1e-3}))
    view = P.view(params, ["train", "sft", "arms.hot", "diff.layers"], run)
    assert view.sft.learning_rate == 1e-3 and params.sft.learning_rate != 1e-3
    assert view.sft.epochs == params.sft.epochs
    assert view.diff.layers == params.diff.layers and view.arms["hot"].method == "sft"
    assert view.run is run
    for read in (lambda: view.vqa, lambda: view.diff.width, lambda: view.arms["dpo"]):
        with pytest.raises(AttributeError, match=r"stage sft reads params\.\S+, which its rule"):
            read()
    with pytest.raises(Exception, match="frozen"):
        view.train.batch = 1


@pytest.mark.parametrize("key", ["spam", "vqa.spam", "arms.spam"])
def test_a_declared_key_must_exist(key):
    with pytest.raises(P.ParamsError, match="spam"):
        P.view(P.check(GOOD), [key], P.Run("embedded", "vqa"))


def test_values_are_plain_and_without_overrides():
    params = P.check(changed("arms.hot", {"method": "sft", "learning_rate": 1e-3}))
    assert P.values(params, ["sft.learning_rate", "arms.hot", "seeds"]) == {
        "sft.learning_rate": GOOD["sft"]["learning_rate"],
        "arms.hot": {"method": "sft", "seeds": "all", "learning_rate": 1e-3},
        "seeds": [0, 1, 2],
    }


def test_an_overlay_changes_what_it_names(monkeypatch):
    monkeypatch.chdir(ROOT)
    values = effective(GOOD, "smoke")
    assert values["study"]["name"] == "smoke" and values["seeds"] == [0]
    assert values["items"]["train"] < GOOD["items"]["train"]
    assert values["world"] == GOOD["world"]
    assert list(values["arms"]) == ["none", "sft", "dpo", "grpo"]
    P.check(values)
    with pytest.raises(P.ParamsError, match="there is no .*spam.yaml; studies are .*smoke"):
        effective(GOOD, "spam")


def test_an_overlay_may_be_like_another(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "workflow/studies"
    folder.mkdir(parents=True)
    (folder / "one.yaml").write_text("study: {title: One}\nseeds: [1, 2]\nitems: {vqa: 7}\n")
    (folder / "two.yaml").write_text("study: {title: Two, like: one}\nseeds: [3, 4]\n")
    values = effective(GOOD, "two")
    assert values["study"] == {"name": "two", "title": "Two", "like": "one"}
    assert values["seeds"] == [3, 4] and values["items"]["vqa"] == 7
    (folder / "one.yaml").write_text("study: {like: two}\n")
    with pytest.raises(P.ParamsError, match=r"study\.like: two like one like two never ends"):
        effective(GOOD, "two")
    (folder / "one.yaml").write_text("study: {like: spam}\n")
    with pytest.raises(P.ParamsError, match=r"one\.yaml: study\.like = 'spam': there is no .*spam"):
        effective(GOOD, "two")


def test_null_in_an_overlay_removes_an_entry():
    merged = merge({"arms": {"a": 1, "b": {"c": 2}}}, {"arms": {"a": None, "b": {"d": 3}}})
    assert merged == {"arms": {"b": {"c": 2, "d": 3}}}


def test_every_method_has_its_section():
    for name, section in METHODS.items():
        own = name in Params.model_fields  # `checkpoint` has keys of its arm alone
        assert own is (name not in ("none", "checkpoint"))
        assert not own or Params.model_fields[name].annotation is section


@pytest.mark.parametrize("command", [["--help"], ["vqa", "--help"], ["check"]])
def test_help_and_validation_import_nothing_heavy(command):
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['steps', *{command!r}]\n"
        "try: runpy.run_module('steps', run_name='__main__')\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'torch', 'numpy', 'transformers', 'pandas', 'mlflow', 'snakemake', 'dvc'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_wrong_key_ends_the_command_with_one_sentence(tmp_path):
    import yaml

    (tmp_path / "params.yaml").write_text(yaml.safe_dump(changed("sft.epoch", 2)))
    done = subprocess.run(
        [sys.executable, "-m", "steps", "check"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "sft.epoch = 2 is not a key" in done.stderr
