"""What the stage `heads` measures; see `steps.study.glossary` for how it is written."""

_OF = "{margin,features,random}"
_GAP = "difference of the two; with its 95 % interval"
HEADS = {
    "heads/scenes": "count: scenes that figures are of",
    "heads/features": "count: spatial features asked about",
    "heads/left_out": "count: features left out, for too few scenes",
    "heads/selected": "share: 1 where the features were chosen by the stage `spatial`",
    "heads/patched": "count: heads that were patched exactly",
    "heads/leaders": "count: heads that lead for the answer",
    f"heads/selectivity/{_OF}{{,/low,/high}}": (
        "number: drive on the relation minus on the other, over its spread; with its interval"
    ),
    f"heads/gini/{_OF}": "share: Gini coefficient of the heads' drives, mean over targets",
    "heads/gini/more{,/low,/high}": "share: features minus random ones; with its 95 % interval",
    f"heads/few/{_OF}": "share: of all drive, what the few that lead on the other half hold",
    f"heads/few/{_OF}/even": "share: what they would hold if all heads were alike",
    f"heads/halves/{_OF}": "correlation: of heads' drives on both halves, by ranks",
    f"heads/depth/{_OF}": "number: layer, mean weighted by drive",
    "heads/profile/{random,margin}": (
        "correlation: of features' drives with random ones', with the answer's, by ranks"
    ),
    f"heads/agreement/{_OF}/{{spearman,low,high}}": (
        "correlation: of drives by gradients with exact ones, by ranks; with its 95 % interval"
    ),
    "heads/agreement/all/spearman": "correlation: the same over the answer and all features",
    "heads/agreement/{all,margin,features,random}/sign": "share: heads with one sign in both",
    "heads/agreement/{all,margin,features,random}/top": "share: leading heads that lead in both",
}
for _name, _unit, _told in (
    ("look/{margin,features}", "share", "leading heads' attention to the objects asked about"),
    ("focus/{margin,features}", "ratio", "of that to the image, the objects' part over their area"),
    ("writes", "number", "what leading heads write along features' directions"),
):
    HEADS |= {
        f"heads/{_name}": f"{_unit}: {_told}",
        f"heads/{_name}/rivals": f"{_unit}: the same of the other heads of their layers",
        f"heads/{_name}/gap{{,/low,/high}}": f"{_unit}: {_GAP}",
    }
for _name, _unit, _told in (
    ("accuracy", "share", "right answers about relations"),
    ("margin", "nats", "the true relation's margin"),
    ("selectivity", "number", "features' drive on their relation minus on the other"),
):
    HEADS |= {
        f"heads/tuned/{_name}": f"{_unit}: {_told}, of the tuned model as it is",
        f"heads/{{swap,ablate}}/{_name}": (
            f"{_unit}: its change with the leading heads as before tuning, or silenced"
        ),
        f"heads/{{swap,ablate}}/{_name}/rivals": f"{_unit}: with random heads of the same layers",
        f"heads/{{swap,ablate}}/{_name}/gap{{,/low,/high}}": f"{_unit}: {_GAP}",
        f"heads/swap/{_name}/all": f"{_unit}: its change with all heads as before tuning",
    }
