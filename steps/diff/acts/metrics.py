"""What the stage `intervene` measures; see `steps.study.glossary` for how it is written."""

_FORM = "{project,onward,subtract}"
INTERVENE = {
    "intervene/<site>/chosen": "count: features taken away",
    "intervene/<site>/selected": "count: of these, chosen by the stage `spatial`",
    "intervene/<site>/adapted": "count: of these, turned beyond a null",
    "intervene/<site>/foils": "count: matched foils of a feature, the fewest",
    "intervene/<site>/match/{rate,energy}": "ratio: of feature and foils, median; 1 where alike",
    "intervene/<site>/accuracy": "share: right answers about relations, unedited",
    "intervene/<site>/commonest": "share: of unedited answers, the commonest one",
    f"intervene/<site>/{_FORM}/drop": (
        "nats: the true answer's margin that a removal takes, on the feature's own relation"
    ),
    f"intervene/<site>/{_FORM}/selective": "nats: that drop minus the one on other relations",
    f"intervene/<site>/{_FORM}/separation": (
        "nats: how much less the relation's log-odds set its own scenes apart"
    ),
    f"intervene/<site>/{_FORM}/elsewhere": "nats: drop on questions of other kinds",
    f"intervene/<site>/{_FORM}/accuracy": "share: change of right answers",
    f"intervene/<site>/{_FORM}/collapsed": "count: removals after which one word is answered",
    f"intervene/<site>/{_FORM}/quantile": "share: of the selective drop among foils, median",
    f"intervene/<site>/{_FORM}/quantile_separation": "share: of separation among foils, median",
    f"intervene/<site>/{_FORM}/beyond": "count: removals beyond 95 % of their foils",
    f"intervene/<site>/{_FORM}/counts": "count: of these, corrected, separating, not collapsed",
    "intervene/<site>/{chosen,matched,random,component,unadapted}/drop": (
        "nats: margin that projecting out takes on all relations, by what is projected out: "
        "features, matched foils, random directions, the first component, features not turned"
    ),
    "intervene/<site>/yes/{before,after}": "share: answers about existence that are yes",
    "intervene/<site>/dose/{slope,foils_slope}": (
        "nats: log-odds of the relation that a typical activation adds; of foils"
    ),
    "intervene/<site>/dose/up": "share: steps from dose to dose that raise it",
    "intervene/<site>/dose/rising": "count: features with a slope above 0 and every step up",
    "intervene/<site>/dose/beyond": "count: features whose slope is beyond 95 % of foils",
    "intervene/<site>/dose/hurts_both": "count: features that harm with either sign",
    "intervene/<site>/group/<n>/{project,subtract}/drop": "nats: margin that n features take",
    "intervene/<site>/group/<n>/{project,subtract}/elsewhere": "nats: on questions of other kinds",
    "intervene/<site>/group/<n>/{project,subtract}/foils_drop": "nats: that groups of foils take",
    "intervene/<site>/group/<n>/{project,subtract}/quantile": "share: of the drop among these",
    "intervene/<site>/transfer/drop_{tuned,untuned}": (
        "nats: drop in the tuned model, and in the one from before tuning"
    ),
    "intervene/<site>/transfer/separation_{tuned,untuned}": "nats: separation in both",
    "intervene/<site>/transfer/ratio": "ratio: drop before tuning over the one after it",
    "intervene/<site>/transfer/told": "count: features that this is told of",
}
