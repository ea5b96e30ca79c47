# What each model answers.


rule vqa:
    """Ask every question, with and without the image, and score the answers."""
    input:
        model="<results>/model/{base}/{arm}/seed{seed}",
        questions="<results>/items/seed{seed}",
        code=code("vqa"),
    output:
        out=directory("<results>/vqa/{base}/{arm}/seed{seed}"),
    log:
        "<logs>/vqa/{base}/{arm}/seed{seed}.log",
    benchmark:
        "<benchmarks>/vqa/{base}/{arm}/seed{seed}.tsv"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
        gpu=1,
    params:
        **PLAN.reads("vqa"),
    message:
        "vqa: {wildcards.base}, arm {wildcards.arm}, seed {wildcards.seed}"
    shell:
        "python -m steps vqa --params {PARAMS} --keys {params.reads}"
        " --base {wildcards.base} --arm {wildcards.arm} --seed {wildcards.seed}"
        " --input model={input.model} --input items={input.questions}"
        " --out {output} > {log} 2>&1"


rule sharpen:
    """Draw answers by chance: what a model could say, and what its majority says."""
    input:
        model="<results>/model/{base}/{arm}/seed{seed}",
        questions="<results>/items/seed{seed}",
        code=code("sharpen"),
    output:
        out=directory("<results>/sharpen/{base}/{arm}/seed{seed}"),
    log:
        "<logs>/sharpen/{base}/{arm}/seed{seed}.log",
    benchmark:
        "<benchmarks>/sharpen/{base}/{arm}/seed{seed}.tsv"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
        gpu=1,
    params:
        **PLAN.reads("sharpen"),
    message:
        "sharpen: {wildcards.base}, arm {wildcards.arm}, seed {wildcards.seed}"
    shell:
        "python -m steps sharpen --params {PARAMS} --keys {params.reads}"
        " --base {wildcards.base} --arm {wildcards.arm} --seed {wildcards.seed}"
        " --input model={input.model} --input items={input.questions}"
        " --out {output} > {log} 2>&1"


rule tokens:
    """Measure which words of reference answers are tied to the image."""
    input:
        model="<results>/model/{base}/{arm}/seed{seed}",
        questions="<results>/items/seed{seed}",
        code=code("tokens"),
    output:
        out=directory("<results>/tokens/{base}/{arm}/seed{seed}"),
    log:
        "<logs>/tokens/{base}/{arm}/seed{seed}.log",
    benchmark:
        "<benchmarks>/tokens/{base}/{arm}/seed{seed}.tsv"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
        gpu=1,
    params:
        **PLAN.reads("tokens"),
    message:
        "tokens: {wildcards.base}, arm {wildcards.arm}, seed {wildcards.seed}"
    shell:
        "python -m steps tokens --params {PARAMS} --keys {params.reads}"
        " --base {wildcards.base} --arm {wildcards.arm} --seed {wildcards.seed}"
        " --input model={input.model} --input items={input.questions}"
        " --out {output} > {log} 2>&1"


rule gaze:
    """Measure where heads look, and what blocking, silencing and hiding costs."""
    input:
        model="<results>/model/{base}/{arm}/seed{seed}",
        questions="<results>/items/seed{seed}",
        code=code("gaze"),
    output:
        out=directory("<results>/gaze/{base}/{arm}/seed{seed}"),
    log:
        "<logs>/gaze/{base}/{arm}/seed{seed}.log",
    benchmark:
        "<benchmarks>/gaze/{base}/{arm}/seed{seed}.tsv"
    wildcard_constraints:
        seed=one_of(P.gaze.seeds),
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
        gpu=1,
    params:
        **PLAN.reads("gaze"),
    message:
        "gaze: {wildcards.base}, arm {wildcards.arm}, seed {wildcards.seed}"
    shell:
        "python -m steps gaze --params {PARAMS} --keys {params.reads}"
        " --base {wildcards.base} --arm {wildcards.arm} --seed {wildcards.seed}"
        " --input model={input.model} --input items={input.questions}"
        " --out {output} > {log} 2>&1"


rule logged:
    """Read and rescore the answers to benchmarks that lmms-eval logged."""
    input:
        evals="<results>/evals/{base}/{arm}/seed{seed}.json",
        code=code("logged"),
    output:
        out=directory("<results>/logged/{base}/{arm}/seed{seed}"),
    log:
        "<logs>/logged/{base}/{arm}/seed{seed}.log",
    benchmark:
        "<benchmarks>/logged/{base}/{arm}/seed{seed}.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        **PLAN.reads("benchmarks"),
    message:
        "logged: {wildcards.base}, arm {wildcards.arm}, seed {wildcards.seed}"
    shell:
        "python -m steps logged --params {PARAMS} --keys {params.reads}"
        " --base {wildcards.base} --arm {wildcards.arm} --seed {wildcards.seed}"
        " --input evals={input.evals}"
        " --out {output} > {log} 2>&1"
