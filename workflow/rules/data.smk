# What is shown, asked and probed: drawn once for each seed, shared by all arms.


rule items:
    """Draw the questions to train on, to tune on, and those that arms are judged on."""
    input:
        **PLAN.scenery,
        **PLAN.brought,
        code=code("items"),
    output:
        out=directory("<results>/items/seed{seed}"),
    log:
        "<logs>/items/seed{seed}.log",
    benchmark:
        "<benchmarks>/items/seed{seed}.tsv"
    threads: 1
    resources:
        mem_mb=1500,
        runtime=15,
    params:
        **PLAN.reads("world", "items", "data"),
    message:
        "items: questions of seed {wildcards.seed}"
    shell:
        "python -m steps items --params {PARAMS} --keys {params.reads}"
        " --seed {wildcards.seed}" + SCENERY + BROUGHT + " --out {output} > {log} 2>&1"


rule probes:
    """Draw the labelled scenes, and collect the real images, that probes are fitted on."""
    input:
        photos=PLAN.photographs,
        code=code("probes"),
    output:
        out=directory("<results>/probes/seed{seed}"),
    log:
        "<logs>/probes/seed{seed}.log",
    benchmark:
        "<benchmarks>/probes/seed{seed}.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        **PLAN.reads("world", "probes", "data.source"),
    message:
        "probes: labelled images of seed {wildcards.seed}"
    shell:
        "python -m steps probes --params {PARAMS} --keys {params.reads}"
        " --seed {wildcards.seed}"
        " --input photos={input.photos}"
        " --out {output} > {log} 2>&1"
