"""What the stage `spatial` measures; see `steps.study.glossary` for how it is written."""

SPATIAL = {
    "spatial/scenes": "count: scenes read, of both halves",
    "spatial/<site>/untestable": "count: figures that there was too little for",
    "spatial/<site>/alive": "count: features that fire often enough",
    "spatial/<site>/selected": "count: of these, chosen for telling a relation",
    "spatial/<site>/selected/<relation>": "count: chosen for one relation",
    "spatial/<site>/share": "share: of living features, those chosen",
    "spatial/<site>/selective": "count: chosen that tell a relation well and no attribute",
    "spatial/<site>/by_auroc": "count: chosen by their AUROC between scenes",
    "spatial/<site>/by_pairs": "count: chosen by what turns within scenes",
    "spatial/<site>/random/selected": "number: chosen of a random dictionary, mean over draws",
    "spatial/<site>/best/<relation>": "share: AUROC of the best feature, on the other half",
    "spatial/<site>/best_p/<relation>": "p: of the best feature, against permuted labels",
    "spatial/<site>/permuted/<relation>": "share: the same with permuted labels, 95 % quantile",
    "spatial/<site>/random/<relation>": "share: AUROC of the best of a random dictionary, mean",
    "spatial/<site>/before/<relation>": "share: AUROC of the best feature before tuning",
    "spatial/<site>/baseline/{difference_mean,difference_pca}/<relation>": (
        "share: AUROC of the difference of activations, and of its principal components"
    ),
    "spatial/<site>/baseline/class_means/<relation>": "share: AUROC of the difference of classes",
    "spatial/<site>/baseline/ceiling/<relation>": "share: AUROC of a logistic regression on all",
    "spatial/<site>/curse": "share: AUROC that the best feature loses on the other half, mean",
    "spatial/<site>/curse_selected": "share: the same of all that were chosen",
    "spatial/<site>/replicated": "share: chosen pairs of feature and relation that hold there",
    "spatial/<site>/selected_before": "share: chosen pairs that were chosen before tuning too",
    "spatial/<site>/agreement{,_before}/<axis>": (
        "correlation: of what features tell on both halves, over features; before tuning"
    ),
    "spatial/<site>/agreement{,_before}_p/<axis>": "p: of that correlation",
    "spatial/<site>/text_{before,after}/correlation": (
        "correlation: of features' AUROC in images with that in stories, before and after tuning"
    ),
    "spatial/<site>/text_{before,after}/p": "p: of that, with relations dealt out anew",
    "spatial/<site>/text_{before,after}/pairing_p": "p: of that, with features dealt out anew",
    "spatial/<site>/enriched/{beyond_x,beyond_y,corner}/both": "count: chosen and turned features",
    "spatial/<site>/enriched/{beyond_x,beyond_y,corner}/expected": "number: of these by chance",
    "spatial/<site>/enriched/{beyond_x,beyond_y,corner}/ratio": "ratio: of the two",
    "spatial/<site>/enriched/{beyond_x,beyond_y,corner}/odds": "ratio: common odds ratio",
    "spatial/<site>/enriched/{beyond_x,beyond_y,corner}/p": "p: of at least as many by chance",
    "spatial/<site>/enriched/share/{corner,single,rest}": (
        "share: chosen, of features turned in both orders, in one, in none"
    ),
    "spatial/<site>/{mirrored,exchanged}": (
        "number: change of chosen features when the image, or the words, turn round, in sd"
    ),
    "spatial/<site>/mirrored_control": "number: the same of relations that a mirror leaves",
    "spatial/<site>/follows": "share: of what changes, by the true relation; -1: by its opposite",
    "spatial/<site>/{word,stated}": "number: effect of the relation's word; of a true one, in sd",
    "spatial/<site>/statement": "share: AUROC of true against false statements, mean",
    "spatial/<site>/inverted": "share: chosen pairs in which that is below one half",
    "spatial/<site>/kind/{relation,image,words}": "share: chosen pairs that follow this",
}
