"""Figures over one site's features, beside what bounds them."""

import numpy as np
import pandas as pd
from scipy.stats import norm

from steps.data.speech import RELATIONS
from steps.diff.relations import MIRROR
from steps.diff.space import baselines, concepts, follows
from steps.diff.space.concepts import Halves
from steps.diff.space.overlap import overlaps
from steps.diff.space.scored import FEW, Site
from steps.diff.space.telling import shared

FOLLOWED = ("mirrored", "exchanged", "follows", "word", "stated")
"""Columns whose means over features of left and right are figures."""


def nulls(
    site: Site, drawn: list[np.ndarray], alpha: float, draws: int, rng: np.random.Generator
) -> pd.DataFrame:
    """What the best feature of each relation is worth beside two nulls; one row each and draw.

    drawn: codes [N, f] of random dictionaries. Columns relation, null (`permuted`, `random`), draw,
    select and report: AUROC of the best, chosen on the one half, on either.
    """
    names = list(site.relations)
    every = np.stack([site.relations[name] for name in names])
    select, report = concepts.winners(*site.halves.auroc(every))
    low, out = concepts.permuted(site.halves, site.relations, draws, rng)
    parts = [
        pd.DataFrame({"relation": name, "null": "permuted", "draw": range(draws)}).assign(
            select=low[:, i], report=out[:, i]
        )
        for i, name in enumerate(names)
    ]
    passed = []
    for number, codes in enumerate(drawn):
        halves = Halves(codes[:, concepts.alive(codes, site.half)], site.half)
        best = concepts.winners(*halves.auroc(every))
        part = {"relation": names, "null": "random", "draw": number}
        parts.append(pd.DataFrame(part).assign(select=best[0], report=best[1]))
        rows = concepts.table(halves, site.relations)
        passed.append(rows[rows["q"] <= alpha / 2]["place"].nunique())
    found = pd.concat(parts, ignore_index=True)
    for i, name in enumerate(names):
        site.metrics[f"best/{name}"] = float(report[i])
        site.metrics[f"permuted/{name}"] = float(np.quantile(out[:, i], 0.95))
        site.metrics[f"best_p/{name}"] = float((1 + (low[:, i] >= select[i]).sum()) / (1 + draws))
        some = found[(found["null"] == "random") & (found["relation"] == name)]
        site.metrics[f"random/{name}"] = float(some["report"].mean())
    site.metrics["curse"] = float((select - report).mean())
    site.metrics["random/selected"] = float(np.mean(passed))
    return found


def directions(site: Site, raw: dict[str, np.ndarray], lens: dict[str, np.ndarray]) -> None:
    """What directions tell that need no dictionary: `baselines.scores`."""
    if "difference_mean" not in lens:
        site.missing["difference"] = "compare gave no directions of this site"
    for method, found in baselines.scores(raw, site.relations, site.half, lens).items():
        for name, value in found.items():
            site.metrics[f"baseline/{method}/{name}"] = value


def agreement(
    site: Site, cells: follows.Cells, name: str, draws: int, rng: np.random.Generator
) -> None:
    """Whether features tell each axis' relations at all, however weakly: `follows.agreement`."""
    for axis, (one, other) in concepts.AXES.items():
        if {one, other} <= set(site.relations):
            parts = follows.paired(cells, site.relation, site.half, one)
            rho, p = follows.agreement(parts, draws, rng)
            site.metrics |= {f"{name}/{axis}": rho, f"{name}_p/{axis}": p}


def before(
    site: Site, cells: follows.Cells | None, alpha: float, draws: int, rng: np.random.Generator
) -> None:
    """The same features in the model before tuning, by its own dictionary of images."""
    if cells is None:
        site.missing["before"] = "no dictionary of the model before tuning with images"
        return
    rows = concepts.table(Halves(cells["plain"], site.half), site.labels)
    site.table["before"], site.table["before_selected"] = rows["auroc"], rows["q"] <= alpha / 2
    for name in site.relations:
        own = rows[rows["relation"] == name]
        best = own.loc[own["auroc_select"].idxmax(), "auroc"]
        site.metrics[f"before/{name}"] = float(best)
    agreement(site, cells, "agreement_before", draws, rng)


def stories(site: Site, name: str, told: pd.DataFrame, codes: np.ndarray, draws: int,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    """AUROC of the features' codes [n, a] on told scenes (rows of Related's table), column `name`.

    Of the half that selects, so that it shares no scene with `auroc`, which it is correlated with.
    """
    labels = concepts.testable(concepts.relation_labels(told), told["half"].to_numpy())
    names = [concept for concept in site.relations if concept in labels]
    fires = concepts.alive(codes, told["half"].to_numpy())
    site.table[name] = np.nan
    if not names or fires.sum() < FEW:
        site.missing[name] = f"{fires.sum()} features fire on stories, {len(names)} relations"
        return
    halves = Halves(codes, told["half"].to_numpy())
    mine = np.stack([labels[concept] for concept in names])
    text, _ = halves.auroc(mine)
    image = []
    for concept, values in zip(names, text, strict=True):
        rows = site.table["relation"] == concept
        site.table.loc[rows, name] = np.where(fires, values, np.nan)
        image.append(site.table.loc[rows, "auroc"].to_numpy()[fires])
    ranked, mine = halves.select[:, fires], mine[:, halves.rows[0]]
    found = shared(np.stack(image), ranked, mine, draws, rng)
    site.metrics |= {f"{name}/{key}": value for key, value in found.items()}


def summary(site: Site, high: float, low: float, compared: pd.DataFrame) -> None:
    """Counts and means over features and over the pairs that were chosen.

    compared: compare's rows of this site's living features, in order.
    """
    table, chosen, alive = site.table, site.chosen(), len(site.features)
    told = (table["auroc"] >= high) & (table["attribute_auroc"] <= low)
    table["selective"] = table["selected"] & told & table["relation"].isin(RELATIONS)
    count = chosen["feature"].nunique()
    site.metrics |= {"alive": alive, "selected": count, "share": count / alive}
    site.metrics["selective"] = table[table["selective"]]["feature"].nunique()
    site.metrics |= {f"selected/{name}": len(site.chosen(name)) for name in site.relations}
    for test in ("by_auroc", "by_pairs"):
        site.metrics[test] = chosen[chosen[test]]["feature"].nunique()
    marked = np.isin(site.features, chosen["feature"])
    found, missing = overlaps(marked, site.rate, compared)
    site.metrics |= {f"enriched/{name}": value for name, value in found.items()}
    site.missing |= {f"enriched/{name}": why for name, why in missing.items()}
    turning = chosen[chosen["relation"].map(MIRROR) != chosen["relation"]]
    groups = {"chosen": chosen, "turning": turning, "steady": chosen.drop(turning.index)}
    for name, some in groups.items():
        if len(some) < FEW:
            site.missing[name] = f"{len(some)} pairs of feature and relation"
    if len(chosen) >= FEW:
        again = np.where(chosen["by_auroc"], chosen["p_report"], norm.sf(chosen["paired_t_report"]))
        site.metrics["replicated"] = float((again <= 0.05).mean())
        site.metrics["curse_selected"] = float((chosen["auroc_select"] - chosen["auroc"]).mean())
        site.metrics["statement"] = float(chosen["statement"].mean())
        site.metrics["inverted"] = float((chosen["statement"] < 0.5).mean())
        if "before_selected" in chosen:
            site.metrics["selected_before"] = float(chosen["before_selected"].mean())
    if len(turning) >= FEW:
        for name in FOLLOWED:
            site.metrics[name] = float(turning[name].mean())
        for kind in follows.KINDS:
            site.metrics[f"kind/{kind}"] = float((turning["kind"] == kind).mean())
    if len(steady := groups["steady"]) >= FEW:
        site.metrics["mirrored_control"] = float(steady["mirrored"].mean())
