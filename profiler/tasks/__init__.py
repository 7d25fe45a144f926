"""What a model can still do: tasks of lm-evaluation-harness on our own engine, level by level.

lm_eval, an optional extra, is imported only in harness.py and what it uses, which run in a process of their own.
"""
