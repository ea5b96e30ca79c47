"""What the stages of this wing measure; see `steps.study.glossary` for how it is written."""

from steps.diff.acts.metrics import INTERVENE
from steps.diff.drivers.metrics import HEADS
from steps.diff.space.metrics import SPATIAL
from steps.diff.turning.metrics import COMPARE, CONTROLS, PLANTED, TURNED

HARVEST = {
    "harvest/samples": "count: questions read",
    "harvest/tokens": "count: tokens of each cell with the image",
    "harvest/tokens_text": "count: tokens of each cell with the scene in words",
    "harvest/megabytes": "number: megabytes of activations stored; 0 where none are",
}
DICTIONARY = {
    "dictionary/<site>/<dictionary>/fvu/<tokens>": "share: variance unexplained on held-out scenes",
    "dictionary/<site>/<dictionary>/l0": "number: latents that fire on a held-out token, mean",
    "dictionary/<site>/<dictionary>/dead": "share: latents that fire on no held-out token",
    "dictionary/<site>/<dictionary>/loss": "number: loss at the end of the fit",
    "dictionary/<site>/scale": "number: what activations are multiplied by; a power of two",
    "dictionary/<site>/ratio/{S,D,M,MF}": "ratio: variance unexplained after going on, over before",
    "dictionary/<site>/gained/{S,D,M,MF}": "share: variance explained besides by going on",
    "dictionary/<site>/converged/{S,D,M,MF}": "share: 1 where going on hardly helped",
    "dictionary/<site>/lag/{D,M,DF,MF}": "share: variance unexplained beyond the parent's",
    "dictionary/<site>/followed/{D,M,DF,MF}": "share: 1 where that is little",
}
_READ = "{S,D,M,DF,MF}/{S,D,M,F}"
QUALITY = {
    f"quality/<site>/fvu/{_READ}/<tokens>": (
        "share: variance unexplained of a dictionary on a cell, on held-out scenes"
    ),
    "quality/<site>/fvu/{random,random_fast}/F/<tokens>": (
        "share: the same of one that starts at random, at MF's rate and at a higher one"
    ),
    f"quality/<site>/loss_mean/{_READ}/{{all,image,text}}": (
        "share: loss recovered by a reconstruction, 0 for the mean in its place, 1 for the model"
    ),
    f"quality/<site>/kl_mean/{_READ}/{{all,image,text}}": "share: the same of the divergence",
    "quality/<site>/right/{none,zero,mean,S,D,M,DF,MF}/{S,D,M,F}/{all,image,text}": (
        "share: answers whose first token is the likeliest, with this in place"
    ),
    "quality/<site>/warm_ratio{,_fast}": "ratio: variance unexplained by MF over a random start's",
}
STABILITY = {
    "stability/<site>/share_{0.7,0.9}": "share: latents with a partner in another seed, by cosine",
    "stability/<site>/cosine": "correlation: cosine of partners, median",
    "stability/<site>/best": "correlation: a latent's best cosine with any, median",
    "stability/<site>/overlap": "share: of the spaces that latents without a partner span",
    "stability/<site>/overlap_chance": "share: overlap to expect of random spaces",
}
ATLAS = {
    "atlas/features": "count: features shown",
    "atlas/questions": "count: questions read",
    "atlas/silent": "count: features shown that fire on none of them",
    "atlas/corner": "count: features shown that turned in both orders",
    "atlas/shown/{spatial,turned,visual,foil}": "count: features shown for this reason",
    "atlas/auroc/{spatial,turned,visual,foil}": "share: AUROC of a feature's best label, median",
}
METRICS = {
    "harvest": HARVEST,
    "dictionary": DICTIONARY,
    "compare": COMPARE,
    "planted": PLANTED,
    "quality": QUALITY,
    "stability": STABILITY,
    "controls": CONTROLS,
    "turned": TURNED,
    "spatial": SPATIAL,
    "heads": HEADS,
    "intervene": INTERVENE,
    "atlas": ATLAS,
}
"""By stage, each metric's pattern, its unit and what it means."""
