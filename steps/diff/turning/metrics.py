"""What the stages that ask how far features turned measure; see `steps.study.glossary`."""

COMPARE = {
    "compare/<site>/fvu/<dictionary>/<tokens>": "share: variance unexplained on its own cell",
    "compare/<site>/fvu/{S_on_D,S_on_M,S_on_F,D_on_F}/<tokens>": (
        "share: variance unexplained on a cell that the dictionary never saw"
    ),
    "compare/<site>/l0/<dictionary>": "number: latents that fire on a token, mean",
    "compare/<site>/dead/<dictionary>": "share: latents that hardly ever fire",
    "compare/<site>/refused/<order>": "share: 1 where an arrow says nothing, by the gate",
    "compare/<site>/settled/<order>": "count: features whose direction can be compared",
    "compare/<site>/threshold/<order>": "degrees: turned by more, a feature is beyond the null",
    "compare/<site>/beyond/<order>": "share: settled features beyond the null's 1 % quantile",
    "compare/<site>/beyond_null/<order>": "share: the same of the null, judged by its other half",
    "compare/<site>/beyond_aligned/<order>": (
        "share: of settled features, beyond it also behind an orthogonal map of the space"
    ),
    "compare/<site>/matched/<order>": "share: beyond the null of features that fire alike",
    "compare/<site>/paired/<order>": "share: turned by 10 degrees more than by their own null",
    "compare/<site>/cosine/<order>": "correlation: cosine of a feature's directions, median",
    "compare/<site>/null/<order>": "correlation: the same of the null",
    "compare/<site>/aligned/<order>": "correlation: cosine behind the orthogonal map, median",
    "compare/<site>/excess/<order>": "degrees: turned further than by its own null, median",
    "compare/<site>/{born,born_null}/{x,y}": "count: dead in S and alive now; in the null",
    "compare/<site>/{class,class_null}/{x,y}/<became>": "count: features of a class; in the null",
    "compare/<site>/paper/{x,y}/share": "share: features that the paper's fixed rule adapts",
    "compare/<site>/paper/{x,y}/precision_{beyond,paired}": "share: of these, turned by our rule",
    "compare/<site>/paper/{x,y}/jaccard_{beyond,paired}": "share: overlap of both sets",
    "compare/<site>/corner": "count: features beyond the null in both orders",
    "compare/<site>/corner_paired": "count: the same by the rule `paired`",
    "compare/<site>/corner_by_chance": "number: corner to expect if the orders were independent",
    "compare/<site>/end": "correlation: cosine of where both orders end, median",
    "compare/<site>/visual": "share: a feature's energy behind the image over both inputs', median",
    "compare/<site>/visual_start": "share: the same against the start's dictionary on words",
    "compare/<site>/visual_{above,below}": "share: features surely above, or below, one half",
    "compare/<site>/procrustes/{SD,SM,DF,MF}/explained": (
        "share: variance of one cell that another explains behind an orthogonal map"
    ),
    "compare/<site>/procrustes/{SD,SM,DF,MF}/plain": "share: the same without the map",
    "compare/<site>/lens/mean/<tokens>": "share: of the squared difference, its mean explains",
    "compare/<site>/lens/pca/<n>": "share: of the rest, its first n principal components explain",
    "compare/<site>/lens/tokens": "count: tokens that these were fitted on",
}
_ARROW = {
    "moved{,/image,/question,/answer,/told}": (
        "ratio: squared change of activations over their variance; by type of token"
    ),
    "refused": "share: 1 where the parent had not converged, and nothing is said",
    "settled": "count: features whose direction can be compared",
    "beyond": "share: settled features beyond the null's 1 % quantile",
    "matched": "share: beyond the null of features that fire alike",
    "paired": "share: turned by 10 degrees more than by their own null",
    "beyond_null": "share: beyond, of the null, judged by its other half",
    "{angle,angle_null}": "degrees: turned by, median; of the null",
    "cosine": "correlation: cosine of a feature's directions, median",
    "excess": "degrees: turned further than by its own null, median",
    "energy_ratio": "share: energy after over the sum with the null's, median; .5 where alike",
}
TURNED = {f"turned/<site>/{name}": told for name, told in _ARROW.items()}
_MODEL = "{seen,told,shuffled,instruct}"
_OVER = "{seen_over_told,seen_over_shuffled,instruct_over_told,instruct_over_shuffled}"
CONTROLS = {f"controls/<site>/{_MODEL}/{name}": told for name, told in _ARROW.items()}
CONTROLS |= {
    "controls/<site>/settled_in_all": "count: features that are settled for all four models",
    f"controls/<site>/{_MODEL}/in_all/{{beyond,paired}}": "share: of these, turned by the rule",
    f"controls/<site>/{_OVER}/{{beyond,paired}}{{,/low,/high}}": (
        "share: difference of two of these; with the ends of its 95 % interval"
    ),
}
PLANTED = {
    "planted/<case>/gate": "share: of the unexplained variance, what going on took away",
    "planted/<case>/refused": "share: 1 where the gate refuses the arrow",
    "planted/<case>/recovered": "share: turned atoms that some feature is",
    "planted/<case>/quarter": "share: of the lowest quarter of cosines, features that turned",
    "planted/<case>/atoms/<rule>": "share: turned atoms told by a feature nearest to them",
    "planted/<case>/found{,_any}/<rule>": (
        "share: turned features that a rule takes; of those that are an atom, of all that live"
    ),
    "planted/<case>/false{,_any}/<rule>": "share: other features that it takes",
    "planted/<case>/precision{,_any}/<rule>": "share: of those that it takes, features that turned",
    "planted/<case>/auroc{,_any}/<rule>": "share: AUROC over all of a rule's thresholds",
    "planted/<case>/found_at_1{,_any}/<rule>": "share: found at 1 % of false ones",
}
