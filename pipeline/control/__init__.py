"""Preference-based reinforcement learning on control tasks: environments, segments, teachers, reward ensembles, agents.

Nothing else imports this package. It needs the extra `control` (gymnasium, stable-baselines3); its settings do not.
"""
