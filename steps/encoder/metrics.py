"""What the stages of this wing measure; see `steps.study.glossary` for how it is written."""

EXTRACT = {
    "extract/parameters": "count: numbers in the tower's weights that were kept",
    "extract/blocks": "count: blocks kept",
    "extract/blocks_dropped": "count: blocks behind the cut",
    "extract/patches": "count: tokens of an image",
    "extract/max_difference": "number: largest gap between the folder's features and the VLM's; 0",
}
FEATURES = {"features/images": "count: images whose features are cached"}
CLASSIFY = {
    "<view>classify/<tier>/<label>/top1": "share: test images that the ridge probe is right about",
    "<view>classify/<tier>/<label>/top1_novel": "share: the same, of combinations never trained on",
    "<view>classify/<tier>/<label>/chance": "share: right by always saying train's commonest class",
    "<view>classify/<tier>/<label>/penalty": "number: the penalty chosen on a slice of train",
    "<view>classify/<tier>/<label>/{logistic,fused,knn}/top1": "share: top1 of another probe",
    "<view>classify/<tier>/<label>/{logistic,fused,knn}/setting": (
        "number: what that probe chose: C, the learning rate, k"
    ),
    "<view>classify/digits/{clean,noisy}/top1": "share: few-shot top1 on digits, mean over draws",
    "<view>classify/digits/{clean,noisy}/top1_sd": "share: its standard deviation over draws",
    "<view>classify/digits/{clean,noisy}/chance": "share: right by guessing",
}
SEGMENT = {
    "<place>segment/<map>/miou": "share: intersection over union, mean over classes",
    "<place>segment/<map>/miou_objects": "share: the same without the background",
    "<place>segment/<map>/pixels_right": "share: pixels of the right class",
    "<place>segment/<map>/{precision,recall,f1}": "share: of pixels, mean over classes",
    "<place>segment/<map>/{iou,precision,recall,f1}/<class>": "share: of one class",
    "<place>segment/<map>/rate": "number: the learning rate chosen on a slice of train",
    "<place>segment/<map>/patch/{local,global}/{precision,recall,f1}": (
        "share: of patches, mean over classes, at the chosen threshold; by their own tokens, or "
        "by the image's mean token"
    ),
    "<place>segment/<map>/patch/{local,global}/map": "share: average precision, mean over classes",
    "<place>segment/<map>/patch/{local,global}/threshold": "share: threshold chosen on train",
    "<place>segment/<map>/patch/{local,global}/paper_macro_recall": (
        "share: recall at a threshold of one half, PIVOT's number"
    ),
    "<place>segment/<map>/patch/{local,global}/{precision,f1}_at_half": (
        "share: precision and F1 at that threshold"
    ),
    "<place>segment/<map>/patch/localisation/{f1,map}": "share: local minus global",
    "<place>segment/<map>/patch/prior/{f1,map}": "share: of a yes to every class at every patch",
}
_BASELINES = {
    "{original,random,pixels}/" + name.replace("<view>", "").replace("<place>", ""): told
    for name, told in (CLASSIFY | SEGMENT).items()
}
_ALIGN = "neighbours that images share with texts about them"
DRIFT = {
    "drift/images": "count: images that both eyes read",
    "drift/{,patch/}cka/<layer>": "share: debiased CKA with the reference's; 1 where alike",
    "drift/{,patch/}procrustes/<layer>": "share: half the Procrustes distance; 0 where alike",
    "drift/knn/<layer>": "share: nearest images that both eyes have in common",
    "drift/weights/<layer>": "ratio: norm of the layer's change over that of its weights",
    "drift/{,patch/}{rank,rank_base}/<layer>": "number: effective rank, of the reference too",
    "drift/align{,_low,_high}/{middle,last}/k<n>": f"share: {_ALIGN}; with its interval's ends",
    "drift/align_base{,_low,_high}/{middle,last}/k<n>": "share: the same of the reference's eye",
    "drift/align_gain{,_low,_high}/{middle,last}/k<n>": "share: the first minus the second",
    "drift/align_null{,_high}/{middle,last}/k<n>": "share: with texts dealt out anew; its quantile",
    "drift/align_chance/{middle,last}/k<n>": "share: to expect of features that know nothing",
}
_MAP = "{answer,preference,reward,describe}/{encoder,projector}/{gradient,gradcam}"
LOCALISE = {
    "localise/items": "count: pairs whose question is about one object",
    "localise/area": "share: of an image's patches that are the object's",
    f"localise/{_MAP}/pointing": "share: of the map's highest patches that are the object's",
    f"localise/{_MAP}/energy": "share: of the map's sum on the object's patches",
    f"localise/{_MAP}/enrichment": "ratio: energy over the object's share of the patches",
    f"localise/{_MAP}/elsewhere": "ratio: enrichment where other questions' objects are",
    f"localise/{_MAP}/iou": "share: intersection over union at the map's best threshold",
    f"localise/{_MAP}/iou_chance": "share: the same of shuffled maps",
    f"localise/{_MAP}/entropy": "share: of the map, over an even one's",
    f"localise/{{random_weights,random_labels}}/{_MAP}/{{pointing,energy,enrichment,iou}}": (
        "share: the same scores of a control's maps (enrichment: a ratio)"
    ),
    f"localise/{{random_weights,random_labels}}/{_MAP}/alike": (
        "correlation: of a control's maps with the true ones, by ranks"
    ),
}
REUSE = {
    "reuse/lenient": "share: answers that are right, of the encoder in a new model",
    "reuse/strict": "share: answers that are right and have the form asked for",
    "reuse/kind/<kind>/lenient": "share: right answers to questions of one kind",
    "reuse/sighted/lenient": "share: right answers to the questions that are also asked blind",
    "reuse/grey/lenient": "share: right answers to these behind a grey image",
    "reuse/loss/{align,instruct}": "nats: training loss, mean over the last 100 steps",
}
NEWCOMERS = {f"<encoder>/{name}": told for name, told in REUSE.items()}
NEWCOMERS["<encoder>/reuse/parameters"] = "count: numbers in the encoder's weights"
COST = {
    "cost/{tower,align,instruct}/samples": "count: images that a part of the recipe trains on",
    "cost/{tower,align,instruct}/tokens": "count: tokens that it reads, of text and image",
    "cost/{tower,align,instruct}/flops": "operations: floating-point operations of training",
}
METRICS = {
    "extract": EXTRACT,
    "features": FEATURES,
    "classify": CLASSIFY,
    "segment": SEGMENT,
    "baselines": _BASELINES,
    "drift": DRIFT,
    "localise": LOCALISE,
    "reuse": REUSE,
    "newcomers": NEWCOMERS,
    "cost": COST,
}
"""By stage, each metric's pattern, its unit and what it means."""
