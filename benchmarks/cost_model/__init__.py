"""A model of what a job costs: hours, bytes and money from measured unit costs (docs/scaling.md).

python -m benchmarks.cost_model measure            # unit costs of this machine, into build/costs.json
python -m benchmarks.cost_model check              # a job ten times larger than those measured: within 20 %?
python -m benchmarks.cost_model plan --images 1e6 --judgments 1e5 --annotators 1000 --cores 64
"""
