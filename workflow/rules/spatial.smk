# What features say of where things are, which heads write them, and whether that matters.


rule spatial:
    """Which features tell relations, follow the image, and are more than chance."""
    input:
        **PLAN.scenery,
        base="<results>/base/{base}",
        dictionary="<results>/dictionary/{base}/seed{seed}",
        compare="<results>/compare/{base}/seed{seed}",
        code=code("spatial"),
    output:
        out=directory("<results>/spatial/{base}/seed{seed}"),
    log:
        "<logs>/spatial/{base}/seed{seed}.log",
    benchmark:
        "<benchmarks>/spatial/{base}/seed{seed}.tsv"
    wildcard_constraints:
        base=one_of(PLAN.diffed()),
        seed=one_of(P.diff.seeds),
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
        gpu=1,
    params:
        **PLAN.reads("world", "spatial"),
    message:
        "spatial: {wildcards.base}, seed {wildcards.seed}"
    shell:
        "python -m steps spatial --params {PARAMS} --keys {params.reads}"
        " --base {wildcards.base} --seed {wildcards.seed}"
        " --input base={input.base}"
        " --input dictionary={input.dictionary}"
        " --input compare={input.compare}" + SCENERY + " --out {output} > {log} 2>&1"


rule heads:
    """Which heads drive spatial features: attribution, exact patching, attention, swaps."""
    input:
        **PLAN.scenery,
        base="<results>/base/{base}",
        dictionary="<results>/dictionary/{base}/seed{seed}",
        spatial="<results>/spatial/{base}/seed{seed}",
        code=code("heads"),
    output:
        out=directory("<results>/heads/{base}/seed{seed}"),
    log:
        "<logs>/heads/{base}/seed{seed}.log",
    benchmark:
        "<benchmarks>/heads/{base}/seed{seed}.tsv"
    wildcard_constraints:
        base=one_of(PLAN.diffed()),
        seed=one_of(P.diff.seeds),
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
        gpu=1,
    params:
        **PLAN.reads("world", "heads"),
    message:
        "heads: {wildcards.base}, seed {wildcards.seed}"
    shell:
        "python -m steps heads --params {PARAMS} --keys {params.reads}"
        " --base {wildcards.base} --seed {wildcards.seed}"
        " --input base={input.base}"
        " --input dictionary={input.dictionary}"
        " --input spatial={input.spatial}" + SCENERY + " --out {output} > {log} 2>&1"


rule intervene:
    """Take spatial features away and add them, beside matched foils."""
    input:
        **PLAN.scenery,
        base="<results>/base/{base}",
        questions="<results>/items/seed{seed}",
        dictionary="<results>/dictionary/{base}/seed{seed}",
        compare="<results>/compare/{base}/seed{seed}",
        spatial="<results>/spatial/{base}/seed{seed}",
        code=code("intervene"),
    output:
        out=directory("<results>/intervene/{base}/seed{seed}"),
    log:
        "<logs>/intervene/{base}/seed{seed}.log",
    benchmark:
        "<benchmarks>/intervene/{base}/seed{seed}.tsv"
    wildcard_constraints:
        base=one_of(PLAN.diffed()),
        seed=one_of(P.diff.seeds),
    threads: 1
    resources:
        mem_mb=3000,
        runtime=120,
        gpu=1,
    params:
        **PLAN.reads("world", "intervene"),
    message:
        "intervene: {wildcards.base}, seed {wildcards.seed}"
    shell:
        "python -m steps intervene --params {PARAMS} --keys {params.reads}"
        " --base {wildcards.base} --seed {wildcards.seed}"
        " --input base={input.base}"
        " --input items={input.questions}"
        " --input dictionary={input.dictionary}"
        " --input compare={input.compare}"
        " --input spatial={input.spatial}" + SCENERY + " --out {output} > {log} 2>&1"


rule atlas:
    """Pages of features to look at."""
    input:
        base="<results>/base/{base}",
        questions="<results>/items/seed{seed}",
        dictionary="<results>/dictionary/{base}/seed{seed}",
        compare="<results>/compare/{base}/seed{seed}",
        spatial="<results>/spatial/{base}/seed{seed}",
        heads="<results>/heads/{base}/seed{seed}",
        code=code("atlas"),
    output:
        out=directory("<results>/atlas/{base}/seed{seed}"),
    log:
        "<logs>/atlas/{base}/seed{seed}.log",
    benchmark:
        "<benchmarks>/atlas/{base}/seed{seed}.tsv"
    wildcard_constraints:
        base=one_of(PLAN.diffed()),
        seed=one_of(P.diff.seeds),
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
        gpu=1,
    params:
        **PLAN.reads("atlas"),
    message:
        "atlas: {wildcards.base}, seed {wildcards.seed}"
    shell:
        "python -m steps atlas --params {PARAMS} --keys {params.reads}"
        " --base {wildcards.base} --seed {wildcards.seed}"
        " --input base={input.base}"
        " --input items={input.questions}"
        " --input dictionary={input.dictionary}"
        " --input compare={input.compare}"
        " --input spatial={input.spatial}"
        " --input heads={input.heads}"
        " --out {output} > {log} 2>&1"
