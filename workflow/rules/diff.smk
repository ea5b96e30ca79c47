# What visual tuning did inside the language model, on the seeds in diff.seeds and the bases that
# have a model from before it (a base from the hub has none).


rule harvest:
    """Collect one layer's activations before and after visual tuning."""
    input:
        base="<results>/base/{base}",
        questions="<results>/items/seed{seed}",
        code=code("harvest"),
    output:
        out=directory("<results>/harvest/{base}/seed{seed}"),
    log:
        "<logs>/harvest/{base}/seed{seed}.log",
    benchmark:
        "<benchmarks>/harvest/{base}/seed{seed}.tsv"
    wildcard_constraints:
        base=one_of(PLAN.diffed()),
        seed=one_of(P.diff.seeds),
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
        gpu=1,
    params:
        **PLAN.reads("diff.layer", "diff.tokens"),
    message:
        "harvest: {wildcards.base}, seed {wildcards.seed}"
    shell:
        "python -m steps harvest --params {PARAMS} --keys {params.reads}"
        " --base {wildcards.base} --seed {wildcards.seed}"
        " --input base={input.base} --input items={input.questions}"
        " --out {output} > {log} 2>&1"


rule dictionary:
    """Fit a TopK dictionary before, and carry it to after and to the null."""
    input:
        harvest="<results>/harvest/{base}/seed{seed}",
        code=code("dictionary"),
    output:
        out=directory("<results>/dictionary/{base}/seed{seed}"),
    log:
        "<logs>/dictionary/{base}/seed{seed}.log",
    benchmark:
        "<benchmarks>/dictionary/{base}/seed{seed}.tsv"
    wildcard_constraints:
        base=one_of(PLAN.diffed()),
        seed=one_of(P.diff.seeds),
    threads: 1
    resources:
        mem_mb=3000,
        runtime=120,
    params:
        **PLAN.reads("diff.width", "diff.k", "diff.steps", "diff.batch", "diff.learning_rate"),
    message:
        "dictionary: {wildcards.base}, seed {wildcards.seed}"
    shell:
        "python -m steps dictionary --params {PARAMS} --keys {params.reads}"
        " --base {wildcards.base} --seed {wildcards.seed}"
        " --input harvest={input.harvest}"
        " --out {output} > {log} 2>&1"


rule compare:
    """How far features turned, against a same-budget continuation."""
    input:
        harvest="<results>/harvest/{base}/seed{seed}",
        dictionary="<results>/dictionary/{base}/seed{seed}",
        code=code("compare"),
    output:
        out=directory("<results>/compare/{base}/seed{seed}"),
    log:
        "<logs>/compare/{base}/seed{seed}.log",
    benchmark:
        "<benchmarks>/compare/{base}/seed{seed}.tsv"
    wildcard_constraints:
        base=one_of(PLAN.diffed()),
        seed=one_of(P.diff.seeds),
    threads: 1
    resources:
        mem_mb=3000,
        runtime=30,
    params:
        **PLAN.reads("diff.k"),
    message:
        "compare: {wildcards.base}, seed {wildcards.seed}"
    shell:
        "python -m steps compare --params {PARAMS} --keys {params.reads}"
        " --base {wildcards.base} --seed {wildcards.seed}"
        " --input harvest={input.harvest} --input dictionary={input.dictionary}"
        " --out {output} > {log} 2>&1"
