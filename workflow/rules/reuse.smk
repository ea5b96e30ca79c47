# Encoders in a new model: a fresh language model and a fresh projector, the same for all of them.

ENCODERS = {f"encoder_{name}": path for name, path in P.reuse.encoders.items()}
DATA = ["world", "recipe.grow", "recipe.style_b", "recipe.captions", "recipe.image_questions"]


rule reuse:
    """Put an arm's encoder into a fresh language model, train it and ask."""
    input:
        **PLAN.scenery,
        model="<results>/model/{base}/{arm}/seed{seed}",
        base="<results>/base/{base}",
        questions="<results>/items/seed{seed}",
        code=code("reuse"),
    output:
        out=directory("<results>/reuse/{base}/{arm}/seed{seed}"),
    log:
        "<logs>/reuse/{base}/{arm}/seed{seed}.log",
    benchmark:
        "<benchmarks>/reuse/{base}/{arm}/seed{seed}.tsv"
    wildcard_constraints:
        base=one_of(PLAN.diffed("reuse")),
    threads: 1
    resources:
        mem_mb=4000,
        runtime=240,
        gpu=1,
    params:
        **PLAN.reads(
            *DATA,
            "recipe.tower_share",
            "reuse.tower",
            "reuse.align",
            "reuse.instruct",
            "reuse.items",
            "reuse.blind",
            "reuse.batch",
            "reuse.max_tokens",
        ),
    message:
        "reuse: {wildcards.base}, arm {wildcards.arm}, seed {wildcards.seed}"
    shell:
        "python -m steps reuse --params {PARAMS} --keys {params.reads}"
        " --base {wildcards.base} --arm {wildcards.arm} --seed {wildcards.seed}"
        " --input model={input.model} --input base={input.base} --input items={input.questions}"
        + SCENERY
        + " --out {output} > {log} 2>&1"


rule newcomers:
    """Train fresh language models on encoders that no arm is: the original and larger ones."""
    input:
        **PLAN.scenery,
        **ENCODERS,
        base="<results>/base/{base}",
        questions="<results>/items/seed{seed}",
        code=code("newcomers"),
    output:
        out=directory("<results>/newcomers/{base}/seed{seed}"),
    log:
        "<logs>/newcomers/{base}/seed{seed}.log",
    benchmark:
        "<benchmarks>/newcomers/{base}/seed{seed}.tsv"
    wildcard_constraints:
        base=one_of(PLAN.diffed("reuse")),
    threads: 1
    resources:
        mem_mb=4000,
        runtime=480,
        gpu=1,
    params:
        **PLAN.reads(*DATA, "recipe.tower_share", "reuse"),
    message:
        "newcomers: {wildcards.base}, seed {wildcards.seed}"
    shell:
        "python -m steps newcomers --params {PARAMS} --keys {params.reads}"
        " --base {wildcards.base} --seed {wildcards.seed}"
        " --input base={input.base} --input items={input.questions}"
        + "".join(f" --input {name}={path}" for name, path in ENCODERS.items())
        + SCENERY
        + " --out {output} > {log} 2>&1"


rule cost:
    """Count what making the base's encoder took: images, tokens, operations."""
    input:
        **PLAN.scenery,
        base="<results>/base/{base}",
        code=code("cost"),
    output:
        out=directory("<results>/cost/{base}"),
    log:
        "<logs>/cost/{base}.log",
    benchmark:
        "<benchmarks>/cost/{base}.tsv"
    wildcard_constraints:
        base=one_of(PLAN.diffed("reuse")),
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        **PLAN.reads("world", "recipe"),
    message:
        "cost: {wildcards.base}"
    shell:
        "python -m steps cost --params {PARAMS} --keys {params.reads} --base {wildcards.base}"
        " --input base={input.base}" + SCENERY + " --out {output} > {log} 2>&1"
