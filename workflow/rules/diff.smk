# What visual tuning did inside the language model, on the seeds in diff.seeds and the bases that
# have a model from before it (a base from the hub has none).

FITTED = [f"diff.{key}" for key in ("kind", "on", "width", "k", "steps", "batch", "learning_rate")]
STARTS = {f"start_{site.replace('.', '_')}": path for site, path in P.diff.start.items()}


rule harvest:
    """Collect activations before and after visual tuning, with and without the image."""
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
    priority: 15  # much waits for it, in a long row
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
        gpu=1,
    params:
        **PLAN.reads("diff.layers", "diff.sites", "diff.tokens", "diff.store"),
    message:
        "harvest: {wildcards.base}, seed {wildcards.seed}"
    shell:
        "python -m steps harvest --params {PARAMS} --keys {params.reads}"
        " --base {wildcards.base} --seed {wildcards.seed}"
        " --input base={input.base}"
        " --input items={input.questions}"
        " --out {output} > {log} 2>&1"


rule dictionary:
    """Fit a dictionary before, and carry it along both orders and their nulls."""
    input:
        **STARTS,
        base="<results>/base/{base}",
        questions="<results>/items/seed{seed}",
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
    priority: 15  # much waits for it, in a long row
    threads: 1
    resources:
        mem_mb=3000,
        runtime=480,
        gpu=1,
    params:
        **PLAN.reads(*FITTED, "diff.start"),
    message:
        "dictionary: {wildcards.base}, seed {wildcards.seed}"
    shell:
        "python -m steps dictionary --params {PARAMS} --keys {params.reads}"
        " --base {wildcards.base} --seed {wildcards.seed}"
        " --input base={input.base}"
        " --input items={input.questions}"
        " --input harvest={input.harvest}"
        + "".join(f" --input {name}={path}" for name, path in STARTS.items())
        + " --out {output} > {log} 2>&1"


rule compare:
    """How far features turned along both orders, against same-budget continuations."""
    input:
        base="<results>/base/{base}",
        questions="<results>/items/seed{seed}",
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
        runtime=60,
        gpu=1,
    params:
        **PLAN.reads(),
    message:
        "compare: {wildcards.base}, seed {wildcards.seed}"
    shell:
        "python -m steps compare --params {PARAMS}"
        " --base {wildcards.base} --seed {wildcards.seed}"
        " --input base={input.base} --input items={input.questions}"
        " --input harvest={input.harvest}"
        " --input dictionary={input.dictionary}"
        " --out {output} > {log} 2>&1"
