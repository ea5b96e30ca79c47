"""The tables of what changed: their rows stand where their metrics are, and nowhere else."""

from steps.study import change, instruments


def test_without_these_instruments_there_is_no_table():
    titles = {g.title for g in instruments.groups({"vqa/lenient", "classify/asked/shape/top1"})}
    assert not any(t.startswith(("Eye or mind", "How far", "Where losses")) for t in titles)


def test_rows_follow_the_layers_and_losses_that_there_are():
    names = {f"drift/cka/{layer}" for layer in ("layer0", "layer1", "proj")}
    names |= {"swap/total", "swap/main/eye", "swap/merge/flat/0.5", "drift/align_gain/last/k10"}
    names |= {"localise/answer/encoder/gradient/enrichment"}
    found = {g.title: [r.metric for r in g.rows] for g in change.groups(names)}
    assert "drift/cka/proj" in found["How far the tower moved"]
    assert "swap/merge/flat/0.5" in found["Eye or mind"]
    shown = {g.title: len(g.rows) for g in instruments.groups(names)}
    assert shown["How far the tower moved"] == 3 and shown["Eye or mind"] == 3
    assert shown["Where losses look: gradient"] == 1


def test_the_patch_probe_has_its_control_beside_it():
    at = "segment/shape/patch"
    names = {f"{at}/{n}" for n in ("local/map", "global/map", "localisation/map")}
    (group,) = instruments.groups(names)
    assert [row.metric for row in group.rows] == [
        f"{at}/local/map", f"{at}/global/map", f"{at}/localisation/map"
    ]  # fmt: skip
    assert all(row.baselines for row in group.rows)


def test_other_probes_and_other_places_have_tables_of_their_own():
    names = {"classify/asked/shape/knn/top1", "pca/classify/asked/shape/top1"}
    names |= {"layer2/classify/asked/shape/top1"}
    titles = [g.title for g in instruments.groups(names)]
    assert titles == [
        "What the eye tells: classification by other probes",
        "What the eye tells, at a fixed width: classification",
        "At block 2: classification",
    ]
