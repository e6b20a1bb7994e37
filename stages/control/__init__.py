"""Preference-based reinforcement learning on control tasks: ask about segments, train the reward, train the agent."""
