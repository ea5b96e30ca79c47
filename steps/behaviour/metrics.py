"""What the stages of this wing measure; see `steps.study.glossary` for how it is written."""

VQA = {
    "vqa/lenient": "share: answers that are right, however they are put",
    "vqa/strict": "share: answers that are right and have the form asked for",
    "vqa/ill_formed": "share: answers without the form asked for",
    "vqa/kind/<kind>/{lenient,strict}": "share: right answers to questions of one kind",
    "vqa/form/{rationale,answer,word,own}/{lenient,strict}": "share: right answers, by form asked",
    "vqa/style/{a,b,own}/{lenient,strict}": "share: right answers, by the prompt's wording",
    "vqa/novel/lenient": "share: right answers about combinations never trained on",
    "vqa/{grey,swapped}/lenient": (
        "share: right answers behind a grey image, or another question's; facts left out"
    ),
    "vqa/{grey,swapped}/kind/<kind>/lenient": "share: the same, of one kind",
    "vqa/ladder/{1,2,3}/lenient": (
        "share: right answers like those trained on, with new combinations, far; facts left out"
    ),
    "vqa/far/kind/<kind>/lenient": "share: right answers to far questions of one kind",
    "vqa/{,far/}coherence/true": "share: true statements of rationales, of those that can be read",
    "vqa/{,far/}coherence/unread": "share: statements that cannot be read",
    "vqa/{,far/}coherence/follows": "share: answers that follow from their rationale",
    "vqa/{,far/}coherence/open": "share: rationales that nothing follows from",
    "vqa/{,far/}coherence/judged": "share: rationales known to be wholly true or not",
    "vqa/{,far/}coherence/{true,false}_{right,wrong}": (
        "share: of these, by whether the rationale is true and the answer right"
    ),
    "vqa/margin": "nats: log-odds of the true answer over its closed set, mean",
}
SHARPEN = {
    "sharpen/draw": "share: drawn answers that are right",
    "sharpen/any": "share: questions with a right answer among their draws (pass@k)",
    "sharpen/majority": "share: questions whose commonest drawn answer is right",
}
TOKENS = {
    "tokens/{density,drift,entropy}/auroc": (
        "share: AUROC of a measure of words for those that depend on the image"
    ),
    "tokens/{density,drift,entropy}/{precision,recall}": "share: of the words that it picks",
    "tokens/{text,untrained}/density/auroc": (
        "share: the same where the scene is told in words, or of an untrained model"
    ),
    "tokens/{,text/,untrained/}density/{depends,other}": (
        "ratio: attention of words that depend on the image, and of others, over an even one's"
    ),
    "tokens/{,text/,untrained/}depends": "share: words that depend on the image",
    "tokens/{,text/,untrained/}two/bic": (
        "number: BIC that two kinds of words gain over one; above 10 is strong evidence"
    ),
    "tokens/{,text/,untrained/}two/apart": "number: Ashman's D of the two; above 2: two peaks",
    "tokens/{,text/,untrained/}two/share": "share: weight of the kind that is tied more",
    "tokens/overlap/{density_drift,density_entropy,drift_entropy}": (
        "share: Jaccard index of the words that two measures pick"
    ),
}
_CUT = "{anchors,random,lowest,anchors-random,heads,random_heads,heads-random_heads}"
GAZE = {
    "gaze/{,untrained/}box/items": "count: questions about objects",
    "gaze/{,untrained/}box/share{,/<layer>}": (
        "share: attention to the image that is in the asked object's box, of words tied to it"
    ),
    "gaze/{,untrained/}box/enrichment{,/<layer>}": "ratio: that share over the box's area",
    "gaze/{,untrained/}vas/image": "share: attention of the user's words to the image",
    "gaze/{,untrained/}vas/system": "share: their attention to what stands before it",
    "gaze/{,untrained/}vas/ratio": "ratio: the first over the second, the visual attention score",
    "gaze/{,untrained/}heads/gini": "share: Gini coefficient of the visual-head score",
    "gaze/{,untrained/}heads/top": "share: of that score which the top 5 % of heads hold",
    "gaze/{,untrained/}heads/effective": "number: heads that hold it, exp of its entropy",
    "gaze/{,untrained/}heads/hits": "number: hits of all heads together, a question",
    "gaze/none/logp": "nats: log-probability of the words tied to the image, summed, uncut",
    "gaze/none/hit": "share: of these words that are the likeliest, uncut",
    f"gaze/drop/{_CUT}{{,/low,/high}}": (
        "nats: log-probability that a cut takes; with the ends of its 95 % interval"
    ),
    f"gaze/lost/{_CUT}{{,/low,/high}}": "share: words that are no longer the likeliest",
    "gaze/kept/{attention,anchors,random}/<share>": (
        "share: right answers where a share of the image's tokens is kept"
    ),
    "gaze/kept/left_out": "count: questions that this cannot be asked of",
}
_EFFECTS = {
    "total": "what all of the arm's parts together change",
    "main/{tower,projector,language,eye}": "what a part changes, over all settings of the others",
    "interaction/{tower_projector,tower_language,projector_language,eye_language,all}": (
        "what parts change together only"
    ),
    "shapley/{tower,projector,language,eye}": "a part's fair share of the total",
    "merge/{flat,decay}/<share>": "of the arm's eye with a merged language model",
    "merge/gain/<share>": "decay minus flat",
}
SWAP = {
    "swap/lenient/<parts>": "share: right answers of base and arm recombined",
    **{f"swap/{n}{{,/se}}": f"share: of right answers, {told}" for n, told in _EFFECTS.items()},
    "swap/margin/<parts>": "nats: the margin of base and arm recombined",
    **{f"swap/margin/{n}{{,/se}}": f"nats: of the margin, {t}" for n, t in _EFFECTS.items()},
    "swap/decay/a": "share: fitted attention to the image at layer 0",
    "swap/decay/b": "number: how fast it falls, in exp(-b layer)",
    "swap/decay/r2": "share: variance of its logarithm that the fit explains",
    "swap/decay/mass/<n>": "share: attention to the image in a layer",
    "swap/decay/peak": "ratio: largest weight of the merge over the mean one",
}
_FORGET = {
    "said": "images whose label the model says rightly",
    "probe": "images whose label its eye's probe tells rightly",
    "lost": "told by the probe and not said",
    "gained": "said and not told by the probe",
    "gap": "probe minus said",
    "none": "answers that name no class",
}
FORGET = {f"forget/{name}": f"share: {told}, mean over labels" for name, told in _FORGET.items()}
FORGET |= {f"forget/<label>/{name}": f"share: {told}" for name, told in _FORGET.items()}
LOGGED = {
    "benchmarks/<benchmark>/lenient": "share: logged answers that are right, however put",
    "benchmarks/<benchmark>/strict": "share: right and of the form asked for",
    "benchmarks/<benchmark>/ill_formed": "share: without the form asked for",
    "benchmarks/<benchmark>/unread": "share: of which no answer could be read",
    "benchmarks/<benchmark>/items": "count: answers",
    "benchmarks/<benchmark>/logged": "number: lmms-eval's own score, mean",
    "benchmarks/<benchmark>/agree": "share: answers that it scores as lenient does",
    "benchmarks/<benchmark>/f1": "share: F1 of yes",
    "benchmarks/<benchmark>/yes": "share: answers that are yes",
}
METRICS = {
    "vqa": VQA,
    "sharpen": SHARPEN,
    "tokens": TOKENS,
    "gaze": GAZE,
    "swap": SWAP,
    "forget": FORGET,
    "logged": LOGGED,
}
"""By stage, each metric's pattern, its unit and what it means."""
