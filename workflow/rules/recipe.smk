# Bases with `source: train`: the recipe, stage by stage, each of which is kept.


rule tower:
    """Pre-train the vision tower on images and texts."""
    input:
        **PLAN.scenery,
        code=code("tower"),
    output:
        out=directory("<results>/tower/{base}"),
    log:
        "<logs>/tower/{base}.log",
    benchmark:
        "<benchmarks>/tower/{base}.tsv"
    wildcard_constraints:
        base=one_of(PLAN.bases("train")),
    threads: 1
    resources:
        mem_mb=4000,
        runtime=720,
        gpu=1,
    params:
        **PLAN.reads("world", "recipe.seed", "recipe.model", "recipe.clear", "recipe.tower"),
    message:
        "tower: {wildcards.base}"
    shell:
        "python -m steps tower --params {PARAMS} --keys {params.reads} --base {wildcards.base}"
        + SCENERY
        + " --out {output} > {log} 2>&1"


rule language:
    """Pre-train the language model on text-only stories of the same world."""
    input:
        **PLAN.scenery,
        code=code("language"),
    output:
        out=directory("<results>/language/{base}"),
    log:
        "<logs>/language/{base}.log",
    benchmark:
        "<benchmarks>/language/{base}.tsv"
    wildcard_constraints:
        base=one_of(PLAN.bases("train")),
    threads: 1
    resources:
        mem_mb=4000,
        runtime=720,
        gpu=1,
    params:
        **PLAN.reads(
            "world",
            "recipe.seed",
            "recipe.model",
            "recipe.grow",
            "recipe.style_b",
            "recipe.captions",
            "recipe.story_questions",
            "recipe.language",
        ),
    message:
        "language: {wildcards.base}"
    shell:
        "python -m steps language --params {PARAMS} --keys {params.reads} --base {wildcards.base}"
        + SCENERY
        + " --out {output} > {log} 2>&1"


rule align:
    """Fit the projector between tower and language model, both frozen."""
    input:
        **PLAN.scenery,
        tower="<results>/tower/{base}",
        language="<results>/language/{base}",
        code=code("align"),
    output:
        out=directory("<results>/align/{base}"),
    log:
        "<logs>/align/{base}.log",
    benchmark:
        "<benchmarks>/align/{base}.tsv"
    wildcard_constraints:
        base=one_of(PLAN.bases("train")),
    threads: 1
    resources:
        mem_mb=4000,
        runtime=720,
        gpu=1,
    params:
        **PLAN.reads(
            "world",
            "recipe.seed",
            "recipe.model",
            "recipe.style_b",
            "recipe.captions",
            "recipe.image_questions",
            "recipe.align",
        ),
    message:
        "align: {wildcards.base}"
    shell:
        "python -m steps align --params {PARAMS} --keys {params.reads} --base {wildcards.base}"
        " --input tower={input.tower} --input language={input.language}"
        + SCENERY
        + " --out {output} > {log} 2>&1"


rule instruct:
    """Tune the whole on instructions: the stage-1 base."""
    input:
        **PLAN.scenery,
        align="<results>/align/{base}",
        code=code("instruct"),
    output:
        out=directory("<results>/instruct/{base}"),
    log:
        "<logs>/instruct/{base}.log",
    benchmark:
        "<benchmarks>/instruct/{base}.tsv"
    wildcard_constraints:
        base=one_of(PLAN.bases("train")),
    threads: 1
    resources:
        mem_mb=8000,
        runtime=720,
        gpu=1,
    params:
        **PLAN.reads(
            "world",
            "recipe.seed",
            "recipe.grow",
            "recipe.style_b",
            "recipe.captions",
            "recipe.story_questions",
            "recipe.image_questions",
            "recipe.text_every",
            "recipe.tower_share",
            "recipe.instruct",
            "recipe.practise",
        ),
    message:
        "instruct: {wildcards.base}"
    shell:
        "python -m steps instruct --params {PARAMS} --keys {params.reads} --base {wildcards.base}"
        " --input align={input.align}" + SCENERY + " --out {output} > {log} 2>&1"


rule bases:
    """Every base and nothing else."""
    input:
        expand("<results>/base/{base}", base=P.bases),
    localrule: True
