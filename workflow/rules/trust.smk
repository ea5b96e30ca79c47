# Whether dictionaries can be trusted: on atoms that are known, in the model, over seeds.


rule planted:
    """Model diffing on made-up atoms of which a known part turned."""
    input:
        code=code("planted"),
    output:
        out=directory("<results>/planted/seed{seed}"),
    log:
        "<logs>/planted/seed{seed}.log",
    benchmark:
        "<benchmarks>/planted/seed{seed}.tsv"
    wildcard_constraints:
        seed=one_of(P.diff.seeds),
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        **PLAN.reads(),
    message:
        "planted: seed {wildcards.seed}"
    shell:
        "python -m steps planted --params {PARAMS} --seed {wildcards.seed}"
        " --out {output} > {log} 2>&1"


rule quality:
    """What a model answers with dictionaries' reconstructions in its place."""
    input:
        base="<results>/base/{base}",
        questions="<results>/items/seed{seed}",
        harvest="<results>/harvest/{base}/seed{seed}",
        dictionary="<results>/dictionary/{base}/seed{seed}",
        code=code("quality"),
    output:
        out=directory("<results>/quality/{base}/seed{seed}"),
    log:
        "<logs>/quality/{base}/seed{seed}.log",
    benchmark:
        "<benchmarks>/quality/{base}/seed{seed}.tsv"
    wildcard_constraints:
        base=one_of(PLAN.diffed()),
        seed=one_of(P.diff.seeds),
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
        gpu=1,
    params:
        **PLAN.reads(*FITTED),
    message:
        "quality: {wildcards.base}, seed {wildcards.seed}"
    shell:
        "python -m steps quality --params {PARAMS} --keys {params.reads}"
        " --base {wildcards.base} --seed {wildcards.seed}"
        " --input base={input.base}"
        " --input items={input.questions}"
        " --input harvest={input.harvest}"
        " --input dictionary={input.dictionary}"
        " --out {output} > {log} 2>&1"


rule stability:
    """How many features are found again by dictionaries of other seeds."""
    input:
        dictionary=expand("<results>/dictionary/{{base}}/seed{seed}", seed=P.diff.seeds),
        code=code("stability"),
    output:
        out=directory("<results>/stability/{base}"),
    log:
        "<logs>/stability/{base}.log",
    benchmark:
        "<benchmarks>/stability/{base}.tsv"
    wildcard_constraints:
        base=one_of(PLAN.diffed()),
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
    params:
        **PLAN.reads("diff.seeds"),
    message:
        "stability: {wildcards.base}"
    shell:
        "python -m steps stability --params {PARAMS} --keys {params.reads}"
        " --base {wildcards.base}"
        " --input dictionary={RESULTS}/dictionary/{wildcards.base}"
        " --out {output} > {log} 2>&1"
