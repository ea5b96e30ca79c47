"""One site under intervention: what is planned, what is answered, and the tables of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from steps.data.speech import RELATIONS
from steps.diff.acts import doses, edits, foils, groups, outcomes, removal
from steps.diff.acts.behind import Answers, Edit, Questions, answers
from steps.track import log

TABLES = ("effects", "removal", "doses", "groups", "transfer")
FEATURES = ("chosen", "unadapted", "matched")
"""Roles of edits whose name is a feature."""
DOSED = 20
"""Foils of the chosen features, nearest first, that doses are given of as well."""


@dataclass
class Asked:
    """What a site is examined with: questions of both halves and of other kinds, and resamples."""

    select: Questions
    report: Questions
    others: Questions
    counts: np.ndarray
    others_counts: np.ndarray


@dataclass
class Plan:
    """Edits of a site: single (removals), dosed, grouped; and whom they concern.

    chosen: rows of the ranking. near: matched foils of each chosen feature. fed: the foils that
    doses are given of. given: the doses, ascending, with 0.
    """

    chosen: pd.DataFrame
    near: dict[int, np.ndarray]
    fed: list[int]
    given: np.ndarray
    single: list[Edit]
    dosed: list[Edit]
    grouped: list[Edit]

    @property
    def edits(self) -> list[Edit]:
        """All of them."""
        return [*self.single, *self.dosed, *self.grouped]


def planned(ranked: pd.DataFrame, seen: foils.Profile, decoder: Any, want: Any, seed: int) -> Plan:
    """What to do with features `ranked`, all alive, of a dictionary's decoder [f, d]."""
    some = ranked["selected"].to_numpy()
    chosen = (ranked[some] if some.any() else ranked).head(want.features)
    mine = [int(f) for f in chosen["feature"]]
    near = {f: foils.matched(seen, f, want.foils, mine) for f in mine}
    rest = ranked[(ranked["adapted"] == 0) & ~ranked["feature"].isin(mine)].head(len(mine))
    roles = dict.fromkeys(np.concatenate([*near.values()]).tolist(), "matched")
    roles |= dict.fromkeys(rest["feature"].tolist(), "unadapted") | dict.fromkeys(mine, "chosen")
    single = [
        edits.removal(role, f, form, decoder, [f])
        for f, role in roles.items()
        for form in edits.FORMS
    ]
    loose = [("random", i, u) for i, u in enumerate(foils.directions(decoder, want.foils, seed))]
    loose.append(("component", 0, seen.component.to(decoder)))
    single += [edits.direction(*one, form) for one in loose for form in ("project", "onward")]
    turns = [f for place in range(DOSED) for pool in near.values() for f in pool[place : place + 1]]
    fed = [int(f) for f in dict.fromkeys(turns)][:DOSED]
    given = np.array(sorted({0.0, *map(float, want.doses)}))
    dosed = [
        edits.addition(roles[f], f, dose, float(seen.typical[f]), decoder[f])
        for f in (*mine, *fed)
        for dose in given[given != 0]
    ]
    grouped = groups.planned(ranked["feature"].tolist(), want.groups, seen, decoder, seed)
    return Plan(chosen, near, fed, given, single, dosed, grouped)


def examine(
    tuned: Any,
    untuned: Any,
    processor: Any,
    site: str,
    marks: Any,
    ranked: pd.DataFrame,
    asked: Asked,
    want: Any,
    seed: int,
) -> dict[str, pd.DataFrame]:
    """All interventions at a site, as TABLES.

    marks: the dictionary. ranked: `foils.ranking`; features that are dead on the words looked at
    are left out, and where none is left there are no tables.
    """
    layer = int(site.partition(".")[2])
    seen = foils.profile(tuned, processor, asked.select.asked, site, marks, want.batch)
    ranked = ranked.iloc[np.flatnonzero(seen.alive[ranked["feature"].to_numpy(dtype=int)])]
    if ranked.empty:
        log.text(f"intervene: at {site} no feature of a relation fires on the words of questions")
        return {}
    plan = planned(ranked, seen, marks.weights["W_dec"], want, seed)
    if not plan.chosen["selected"].to_numpy().any():
        log.text(f"intervene: no feature of {site} was selected: the best by AUROC are taken")
    features = [e for e in plan.single if e.role in FEATURES and e.form == "project"]
    beside = [e for e in plan.edits if e.role in ("chosen", "group")]
    shared = processor, layer, marks, want.batch
    told = _told(tuned, asked.report, plan.edits, *shared)
    away = _told(tuned, asked.others, beside, *shared)
    before = _told(untuned, asked.report, features, *shared)
    curves = towards(told, plan.given, sorted(set(plan.chosen["relation"])))
    effects = [
        outcomes.effects(*told, asked.counts, "relation", processor.tokenizer),
        outcomes.effects(*away, asked.others_counts, "others", processor.tokenizer),
        doses.toward(_pairs(plan), plan.given, curves, asked.counts),
    ]
    rows = effects[0][(effects[0]["asked"] == "relation") & (effects[0]["role"] == "chosen")]
    collapsed = rows.set_index(["name", "form"])["collapsed"].to_dict()
    fallen, harmed, kind, counts = drops(told), drops(away), asked.report.kind, asked.counts
    every = outcomes.margins(told.answers, asked.report.true)
    lost = every[0] - every[len(every) - len(plan.grouped) :]
    shifts = {name: drops(told, name) for name in set(plan.chosen["relation"])}
    moved = {name: (shift, drops(before, name)) for name, shift in shifts.items()}
    verdicts = removal.verdicts(
        plan.chosen, plan.near, fallen, shifts, harmed, kind, counts, asked.others_counts, collapsed
    )
    return {
        "effects": pd.concat(effects, ignore_index=True),
        "removal": verdicts.merge(foils.likeness(seen, plan.near), on="feature"),
        "doses": doses.responses(plan.chosen, plan.fed, plan.given, curves, kind, counts),
        "groups": groups.table(plan.grouped, lost, harmed, counts, int(ranked["selected"].sum())),
        "transfer": removal.transfer(
            plan.chosen, plan.near, fallen, drops(before), moved, kind, counts
        ),
    }


class Told(NamedTuple):
    """What a model answers to questions under edits."""

    edits: Sequence[Edit]
    answers: Answers
    questions: Questions


def _told(
    model: Any,
    some: Questions,
    wanted: Sequence[Edit],
    processor: Any,
    layer: int,
    marks: Any,
    batch: int,
) -> Told:
    return Told(wanted, answers(model, processor, some, layer, wanted, marks, batch), some)


def _pairs(plan: Plan) -> pd.DataFrame:
    """Whose curves are told: role, feature and the relation toward which."""
    pairs = plan.chosen[["feature", "relation"]].assign(role="chosen")
    foiled = pd.DataFrame({"role": "matched", "feature": plan.fed})
    return pd.concat([pairs, foiled.merge(pairs[["relation"]].drop_duplicates(), "cross")])


def drops(told: Told, of: str | None = None) -> dict[tuple[str, int, str], np.ndarray]:
    """Drop [N] under each removal of the log-odds of relation `of`, or of the true one."""
    true = told.questions.true
    odds = outcomes.margins(told.answers, true if of is None else _whole(true, of))
    return {
        ("feature" if edit.role in FEATURES else edit.role, edit.name, edit.form): odds[0] - after
        for edit, after in zip(told.edits, odds[1:], strict=True)
        if edit.form != "add"
    }


def towards(
    told: Told, given: np.ndarray, wanted: Sequence[str]
) -> dict[tuple[int, str], np.ndarray]:
    """`doses.Curves` of all features that doses `given` (ascending, with 0) were given of."""
    found: dict[tuple[int, str], np.ndarray] = {}
    for relation in wanted:
        odds = outcomes.margins(told.answers, _whole(told.questions.true, relation))
        for number, edit in enumerate(told.edits, 1):
            if edit.form == "add":
                curve = found.setdefault(
                    (edit.name, relation), np.zeros((len(given), odds.shape[1]))
                )
                curve[given == edit.amount] = odds[number] - odds[0]
    return found


def _whole(like: np.ndarray, relation: str) -> np.ndarray:
    return np.full_like(like, RELATIONS.index(relation))
