# The vision tower of each model, cut out and probed.


rule extract:
    """Cut the tower at the layer that the projector reads, as a Hugging Face folder."""
    input:
        model="<results>/model/{base}/{arm}/seed{seed}",
        code=code("extract"),
    output:
        out=directory("<results>/extract/{base}/{arm}/seed{seed}"),
    log:
        "<logs>/extract/{base}/{arm}/seed{seed}.log",
    benchmark:
        "<benchmarks>/extract/{base}/{arm}/seed{seed}.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
        gpu=1,
    params:
        **PLAN.reads("extract"),
    message:
        "extract: {wildcards.base}, arm {wildcards.arm}, seed {wildcards.seed}"
    shell:
        "python -m steps extract --params {PARAMS} --keys {params.reads}"
        " --base {wildcards.base} --arm {wildcards.arm} --seed {wildcards.seed}"
        " --input model={input.model}"
        " --out {output} > {log} 2>&1"


rule features:
    """Features of the frozen tower on every probe image, computed once."""
    input:
        extract="<results>/extract/{base}/{arm}/seed{seed}",
        probes="<results>/probes/seed{seed}",
        code=code("features"),
    output:
        out=directory("<results>/features/{base}/{arm}/seed{seed}"),
    log:
        "<logs>/features/{base}/{arm}/seed{seed}.log",
    benchmark:
        "<benchmarks>/features/{base}/{arm}/seed{seed}.tsv"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=30,
        gpu=1,
    params:
        **PLAN.reads("features"),
    message:
        "features: {wildcards.base}, arm {wildcards.arm}, seed {wildcards.seed}"
    shell:
        "python -m steps features --params {PARAMS} --keys {params.reads}"
        " --base {wildcards.base} --arm {wildcards.arm} --seed {wildcards.seed}"
        " --input extract={input.extract} --input probes={input.probes}"
        " --out {output} > {log} 2>&1"


rule classify:
    """Linear classification probes in four tiers of labels."""
    input:
        features="<results>/features/{base}/{arm}/seed{seed}",
        probes="<results>/probes/seed{seed}",
        code=code("classify"),
    output:
        out=directory("<results>/classify/{base}/{arm}/seed{seed}"),
    log:
        "<logs>/classify/{base}/{arm}/seed{seed}.log",
    benchmark:
        "<benchmarks>/classify/{base}/{arm}/seed{seed}.tsv"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
    params:
        **PLAN.reads("classify"),
    message:
        "classify: {wildcards.base}, arm {wildcards.arm}, seed {wildcards.seed}"
    shell:
        "python -m steps classify --params {PARAMS} --keys {params.reads}"
        " --base {wildcards.base} --arm {wildcards.arm} --seed {wildcards.seed}"
        " --input features={input.features} --input probes={input.probes}"
        " --out {output} > {log} 2>&1"


rule segment:
    """Linear segmentation probes on patches."""
    input:
        features="<results>/features/{base}/{arm}/seed{seed}",
        probes="<results>/probes/seed{seed}",
        code=code("segment"),
    output:
        out=directory("<results>/segment/{base}/{arm}/seed{seed}"),
    log:
        "<logs>/segment/{base}/{arm}/seed{seed}.log",
    benchmark:
        "<benchmarks>/segment/{base}/{arm}/seed{seed}.tsv"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
    params:
        **PLAN.reads("segment"),
    message:
        "segment: {wildcards.base}, arm {wildcards.arm}, seed {wildcards.seed}"
    shell:
        "python -m steps segment --params {PARAMS} --keys {params.reads}"
        " --base {wildcards.base} --arm {wildcards.arm} --seed {wildcards.seed}"
        " --input features={input.features} --input probes={input.probes}"
        " --out {output} > {log} 2>&1"


rule baselines:
    """Linear probes on the original tower, on one with random weights and on pixels."""
    input:
        base="<results>/base/{base}",
        probes="<results>/probes/seed{seed}",
        code=code("baselines"),
    output:
        out=directory("<results>/baselines/{base}/seed{seed}"),
    log:
        "<logs>/baselines/{base}/seed{seed}.log",
    benchmark:
        "<benchmarks>/baselines/{base}/seed{seed}.tsv"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=120,
        gpu=1,
    params:
        **PLAN.reads("features", "classify", "segment"),
    message:
        "baselines: {wildcards.base}, seed {wildcards.seed}"
    shell:
        "python -m steps baselines --params {PARAMS} --keys {params.reads}"
        " --base {wildcards.base} --seed {wildcards.seed}"
        " --input base={input.base} --input probes={input.probes}"
        " --out {output} > {log} 2>&1"
