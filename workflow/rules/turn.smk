# Other tunings than the base's own: control models made by the recipe, and every arm.


rule tuned:
    """Tune the aligned model on images, on words alone, and on other scenes' images."""
    input:
        **PLAN.scenery,
        base="<results>/base/{base}",
        code=code("tuned"),
    output:
        out=directory("<results>/tuned/{base}"),
    log:
        "<logs>/tuned/{base}.log",
    benchmark:
        "<benchmarks>/tuned/{base}.tsv"
    wildcard_constraints:
        base=one_of(PLAN.diffed()),
    threads: 1
    resources:
        mem_mb=4000,
        runtime=480,
        gpu=1,
    params:
        **PLAN.reads("world", "recipe", "tuned"),
    message:
        "tuned: {wildcards.base}"
    shell:
        "python -m steps tuned --params {PARAMS} --keys {params.reads}"
        " --base {wildcards.base}"
        " --input base={input.base}" + SCENERY + " --out {output} > {log} 2>&1"


rule controls:
    """How far features turned in the control models."""
    input:
        tuned="<results>/tuned/{base}",
        base="<results>/base/{base}",
        questions="<results>/items/seed{seed}",
        harvest="<results>/harvest/{base}/seed{seed}",
        dictionary="<results>/dictionary/{base}/seed{seed}",
        code=code("controls"),
    output:
        out=directory("<results>/controls/{base}/seed{seed}"),
    log:
        "<logs>/controls/{base}/seed{seed}.log",
    benchmark:
        "<benchmarks>/controls/{base}/seed{seed}.tsv"
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
        "controls: {wildcards.base}, seed {wildcards.seed}"
    shell:
        "python -m steps controls --params {PARAMS} --keys {params.reads}"
        " --base {wildcards.base} --seed {wildcards.seed}"
        " --input tuned={input.tuned}"
        " --input base={input.base} --input items={input.questions}"
        " --input harvest={input.harvest}"
        " --input dictionary={input.dictionary}"
        " --out {output} > {log} 2>&1"


rule turned:
    """How far features turned in an arm, beyond what more steps turn."""
    input:
        model="<results>/model/{base}/{arm}/seed{seed}",
        base="<results>/base/{base}",
        questions="<results>/items/seed{seed}",
        harvest="<results>/harvest/{base}/seed{seed}",
        dictionary="<results>/dictionary/{base}/seed{seed}",
        code=code("turned"),
    output:
        out=directory("<results>/turned/{base}/{arm}/seed{seed}"),
    log:
        "<logs>/turned/{base}/{arm}/seed{seed}.log",
    benchmark:
        "<benchmarks>/turned/{base}/{arm}/seed{seed}.tsv"
    wildcard_constraints:
        base=one_of(PLAN.diffed()),
        arm=one_of(PLAN.trained()),
        seed=one_of(P.diff.seeds),
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
        gpu=1,
    params:
        **PLAN.reads(*FITTED),
    message:
        "turned: {wildcards.base}, arm {wildcards.arm}, seed {wildcards.seed}"
    shell:
        "python -m steps turned --params {PARAMS} --keys {params.reads}"
        " --base {wildcards.base} --arm {wildcards.arm} --seed {wildcards.seed}"
        " --input model={input.model}"
        " --input base={input.base} --input items={input.questions}"
        " --input harvest={input.harvest}"
        " --input dictionary={input.dictionary}"
        " --out {output} > {log} 2>&1"
