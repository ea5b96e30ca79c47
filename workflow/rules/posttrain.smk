# From one base to a model for each arm and seed, all in model/<base>/<arm>/seed<k>.


rule pairs:
    """Sample the base's own wrong answers as the rejected halves of preference pairs."""
    input:
        base="<results>/base/{base}",
        questions="<results>/items/seed{seed}",
        code=code("pairs"),
    output:
        out=directory("<results>/pairs/{base}/seed{seed}"),
    log:
        "<logs>/pairs/{base}/seed{seed}.log",
    benchmark:
        "<benchmarks>/pairs/{base}/seed{seed}.tsv"
    priority: 20
    threads: 1
    resources:
        mem_mb=2500,
        runtime=60,
        gpu=1,
    params:
        **PLAN.reads("pairs"),
    message:
        "pairs: {wildcards.base}, seed {wildcards.seed}"
    shell:
        "python -m steps pairs --params {PARAMS} --keys {params.reads}"
        " --base {wildcards.base} --seed {wildcards.seed}"
        " --input base={input.base} --input items={input.questions}"
        " --out {output} > {log} 2>&1"


rule none:
    """The untouched base, in the place of a post-trained model."""
    input:
        base="<results>/base/{base}",
        code=code("none"),
    output:
        out=directory("<results>/model/{base}/{arm}/seed{seed}"),
    log:
        "<logs>/none/{base}/{arm}/seed{seed}.log",
    benchmark:
        "<benchmarks>/none/{base}/{arm}/seed{seed}.tsv"
    wildcard_constraints:
        arm=one_of(PLAN.arms("none")),
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        **PLAN.reads(),
    message:
        "none: {wildcards.base}, seed {wildcards.seed}"
    shell:
        "python -m steps none --params {PARAMS}"
        " --base {wildcards.base} --arm {wildcards.arm} --seed {wildcards.seed}"
        " --input base={input.base}"
        " --out {output} > {log} 2>&1"


rule sft:
    """Supervised fine-tuning on reference answers."""
    input:
        base="<results>/base/{base}",
        questions="<results>/items/seed{seed}",
        pairs="<results>/pairs/{base}/seed{seed}",
        code=code("sft"),
    output:
        out=directory("<results>/model/{base}/{arm}/seed{seed}"),
    log:
        "<logs>/sft/{base}/{arm}/seed{seed}.log",
    benchmark:
        "<benchmarks>/sft/{base}/{arm}/seed{seed}.tsv"
    wildcard_constraints:
        arm=one_of(PLAN.arms("sft")),
    priority: 10
    threads: P.train.processes
    resources:
        mem_mb=3000,
        runtime=120,
        gpu=P.train.processes,
    params:
        **PLAN.reads("train", "sft", "arms.{arm}"),
    message:
        "sft: {wildcards.base}, arm {wildcards.arm}, seed {wildcards.seed}"
    shell:
        "python -m steps sft --params {PARAMS} --keys {params.reads}"
        " --base {wildcards.base} --arm {wildcards.arm} --seed {wildcards.seed}"
        " --input base={input.base} --input items={input.questions} --input pairs={input.pairs}"
        " --out {output} > {log} 2>&1"


rule dpo:
    """Direct preference optimisation on the pairs."""
    input:
        base="<results>/base/{base}",
        questions="<results>/items/seed{seed}",
        pairs="<results>/pairs/{base}/seed{seed}",
        code=code("dpo"),
    output:
        out=directory("<results>/model/{base}/{arm}/seed{seed}"),
    log:
        "<logs>/dpo/{base}/{arm}/seed{seed}.log",
    benchmark:
        "<benchmarks>/dpo/{base}/{arm}/seed{seed}.tsv"
    wildcard_constraints:
        arm=one_of(PLAN.arms("dpo")),
    priority: 10
    threads: P.train.processes
    resources:
        mem_mb=3000,
        runtime=180,
        gpu=P.train.processes,
    params:
        **PLAN.reads("train", "dpo", "arms.{arm}"),
    message:
        "dpo: {wildcards.base}, arm {wildcards.arm}, seed {wildcards.seed}"
    shell:
        "python -m steps dpo --params {PARAMS} --keys {params.reads}"
        " --base {wildcards.base} --arm {wildcards.arm} --seed {wildcards.seed}"
        " --input base={input.base} --input items={input.questions} --input pairs={input.pairs}"
        " --out {output} > {log} 2>&1"


rule grpo:
    """Reinforcement learning on the same prompts, rewarded by the lenient parser."""
    input:
        base="<results>/base/{base}",
        questions="<results>/items/seed{seed}",
        pairs="<results>/pairs/{base}/seed{seed}",
        code=code("grpo"),
    output:
        out=directory("<results>/model/{base}/{arm}/seed{seed}"),
    log:
        "<logs>/grpo/{base}/{arm}/seed{seed}.log",
    benchmark:
        "<benchmarks>/grpo/{base}/{arm}/seed{seed}.tsv"
    wildcard_constraints:
        arm=one_of(PLAN.arms("grpo")),
    priority: 10
    threads: P.train.processes
    resources:
        mem_mb=3000,
        runtime=240,
        gpu=P.train.processes,
    params:
        **PLAN.reads("train", "grpo", "arms.{arm}"),
    message:
        "grpo: {wildcards.base}, arm {wildcards.arm}, seed {wildcards.seed}"
    shell:
        "python -m steps grpo --params {PARAMS} --keys {params.reads}"
        " --base {wildcards.base} --arm {wildcards.arm} --seed {wildcards.seed}"
        " --input base={input.base} --input items={input.questions} --input pairs={input.pairs}"
        " --out {output} > {log} 2>&1"


rule checkpoint:
    """Weights that were trained elsewhere, in the place of training."""
    input:
        base="<results>/base/{base}",
        questions="<results>/items/seed{seed}",
        weights="<results>/weights/{arm}/seed{seed}.json",
        code=code("checkpoint"),
    output:
        out=directory("<results>/model/{base}/{arm}/seed{seed}"),
    log:
        "<logs>/checkpoint/{base}/{arm}/seed{seed}.log",
    benchmark:
        "<benchmarks>/checkpoint/{base}/{arm}/seed{seed}.tsv"
    wildcard_constraints:
        arm=one_of(PLAN.arms("checkpoint")),
    priority: 10
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
        gpu=1,
    params:
        **PLAN.reads("arms.{arm}"),
    message:
        "checkpoint: {wildcards.base}, arm {wildcards.arm}, seed {wildcards.seed}"
    shell:
        "python -m steps checkpoint --params {PARAMS} --keys {params.reads}"
        " --base {wildcards.base} --arm {wildcards.arm} --seed {wildcards.seed}"
        " --input base={input.base} --input items={input.questions}"
        " --input weights={input.weights} --out {output} > {log} 2>&1"
